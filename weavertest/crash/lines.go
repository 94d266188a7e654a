package crash

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
)

// Lines yields the records of a file of lines, for Ledger.Verified. Decode makes a record of a line without its end; its
// errors, and a last line that has no end, become errors that are ErrTorn. Decode doesn't keep the line.
func Lines(path string, decode func(line []byte) (Record, error)) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		f, err := os.Open(path)
		if err != nil {
			yield(Record{}, err)
			return
		}
		defer f.Close()
		in := bufio.NewReaderSize(f, 1<<16)
		var long []byte // a line that is longer than the buffer
		for number := 1; ; {
			line, err := in.ReadSlice('\n')
			if errors.Is(err, bufio.ErrBufferFull) {
				long = append(long, line...)
				continue
			}
			if len(long) > 0 {
				long = append(long, line...)
				line = long
			}
			if err != nil && !errors.Is(err, io.EOF) {
				yield(Record{}, err)
				return
			}
			if err != nil && len(line) == 0 {
				return
			}
			r, bad := oneLine(number, line, decode)
			if !yield(r, bad) || err != nil {
				return
			}
			long = long[:0]
			number++
		}
	}
}

func oneLine(number int, line []byte, decode func([]byte) (Record, error)) (Record, error) {
	whole := bytes.HasSuffix(line, []byte("\n"))
	line = bytes.TrimSuffix(line, []byte("\n"))
	r, err := decode(line)
	switch {
	case err != nil:
		return Record{}, fmt.Errorf("line %d: %w: %w: %.100q", number, ErrTorn, err, line)
	case !whole:
		return Record{}, fmt.Errorf("line %d: %w: it has no end: %.100q", number, ErrTorn, line)
	}
	return r, nil
}

// lookBack is how much of the end of a file LastLine reads.
const lookBack = 64 << 10

// LastLine returns a function for Plan.Progress that tells the number in the last line of a file that is whole and has
// one; 0 if there is none, or no file. Number's error says that a line has none. Only the last 64 KiB are looked at.
func LastLine(path string, number func(line []byte) (int64, error)) func() (int64, error) {
	return func() (int64, error) {
		end, cut, err := readEnd(path)
		if err != nil {
			return 0, err
		}
		for {
			i := bytes.LastIndexByte(end, '\n')
			if i < 0 {
				return 0, nil
			}
			end = end[:i]
			begin := bytes.LastIndexByte(end, '\n') + 1
			if begin == 0 && cut {
				return 0, nil
			}
			if n, err := number(end[begin:]); err == nil {
				return n, nil
			}
		}
	}
}

// readEnd returns the end of a file, and nothing for one that isn't there. Cut says that the file is longer.
func readEnd(path string) (end []byte, cut bool, err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, false, err
	}
	// Nearly always one short read is enough: a line is seldom longer.
	for size := int64(4 << 10); ; size = lookBack {
		size = min(size, info.Size())
		end = make([]byte, size)
		n, err := f.ReadAt(end, info.Size()-size)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, false, err
		}
		end = end[:n]
		if size == info.Size() || size == lookBack || bytes.Count(end, []byte("\n")) > 1 {
			return end, size < info.Size(), nil
		}
	}
}
