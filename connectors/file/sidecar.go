package file

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"math"
	"os"

	"github.com/bohica-labs/dataweaver/internal/durable"
)

// sidecarSuffix is added to the path of a file that is written exactly once, for the file beside it that says how much of it counts.
const sidecarSuffix = ".checkpoint"

// sidecar says how much of a data file counts, and what the checkpoint is at that length.
type sidecar struct {
	epoch    uint64 // how often the file was taken over
	owner    uint64 // of the writer that did last: random, so that it tells also after the sidecar was removed
	length   int64  // of the data file; whatever is behind it doesn't count
	tail     uint64 // checksum of the last bytes before that, see fingerprintBytes
	pipeline string
	split    string
	envelope []byte // nil: none
}

// A sidecar is a file of its own, with numbers in big-endian order:
//
//	 0  8  magic
//	 8  2  format, 1
//	10  2  1 where there is an envelope, or 0
//	12  4  length of the pipeline's name
//	16  8  epoch
//	24  8  owner
//	32  8  length of the data file
//	40  8  checksum of its tail, CRC-64 (ECMA)
//	48  4  length of the split's ID
//	52  4  0
//	56  8  length of the envelope
//	64     pipeline, split, envelope
//	    4  CRC-32C of everything before
const (
	sidecarMagic  = "\x89wvfile\n"
	sidecarFormat = 1
	sidecarHeader = 64
	ownerEnd      = 32
)

func (s sidecar) encode() []byte {
	var flags uint16
	if s.envelope != nil {
		flags = 1
	}
	out := make([]byte, 0, sidecarHeader+len(s.pipeline)+len(s.split)+len(s.envelope)+4)
	out = append(out, sidecarMagic...)
	out = binary.BigEndian.AppendUint16(out, sidecarFormat)
	out = binary.BigEndian.AppendUint16(out, flags)
	out = binary.BigEndian.AppendUint32(out, uint32(len(s.pipeline))) //nolint:gosec // names are short
	out = binary.BigEndian.AppendUint64(out, s.epoch)
	out = binary.BigEndian.AppendUint64(out, s.owner)
	out = binary.BigEndian.AppendUint64(out, uint64(s.length)) //nolint:gosec // never negative
	out = binary.BigEndian.AppendUint64(out, s.tail)
	out = binary.BigEndian.AppendUint32(out, uint32(len(s.split))) //nolint:gosec // names are short
	out = binary.BigEndian.AppendUint32(out, 0)
	out = binary.BigEndian.AppendUint64(out, uint64(len(s.envelope)))
	out = append(append(append(out, s.pipeline...), s.split...), s.envelope...)
	return sealed(out)
}

// sealed appends the checksum of all that is there.
func sealed(body []byte) []byte {
	return binary.BigEndian.AppendUint32(body, crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)))
}

// decodeSidecar reads what encode made, and refuses everything else.
func decodeSidecar(data []byte) (sidecar, error) {
	switch {
	case len(data) < sidecarHeader+4:
		return sidecar{}, fmt.Errorf("it ends after %d bytes", len(data))
	case string(data[:8]) != sidecarMagic:
		return sidecar{}, errors.New("it is no checkpoint of a file")
	}
	if format := binary.BigEndian.Uint16(data[8:]); format != sidecarFormat {
		return sidecar{}, fmt.Errorf("its format is %d, known is %d", format, sidecarFormat)
	}
	body := data[:len(data)-4]
	if got, want := crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)), binary.BigEndian.Uint32(data[len(body):]); got != want {
		return sidecar{}, fmt.Errorf("its checksum is %08x instead of %08x", got, want)
	}
	flags := binary.BigEndian.Uint16(data[10:])
	pipeline, split := uint64(binary.BigEndian.Uint32(data[12:])), uint64(binary.BigEndian.Uint32(data[48:]))
	envelope := binary.BigEndian.Uint64(data[56:])
	length := binary.BigEndian.Uint64(data[32:])
	rest := uint64(len(body) - sidecarHeader)
	if flags > 1 || binary.BigEndian.Uint32(data[52:]) != 0 || length > math.MaxInt64 || envelope > rest || pipeline+split+envelope != rest || flags == 0 && envelope > 0 {
		return sidecar{}, errors.New("its header makes no sense")
	}
	s := sidecar{
		epoch:  binary.BigEndian.Uint64(data[16:]),
		owner:  binary.BigEndian.Uint64(data[24:]),
		length: int64(length), //nolint:gosec // checked above
		tail:   binary.BigEndian.Uint64(data[40:]),
	}
	tail := body[sidecarHeader:]
	s.pipeline, tail = string(tail[:pipeline]), tail[pipeline:]
	s.split, tail = string(tail[:split]), tail[split:]
	if flags == 1 {
		s.envelope = tail[:len(tail):len(tail)]
		if s.envelope == nil {
			s.envelope = []byte{}
		}
	}
	return s, nil
}

// readSidecar returns false if there is none.
func readSidecar(fsys durable.FS, path string) (sidecar, bool, error) {
	data, err := durable.ReadFile(fsys, path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return sidecar{}, false, nil
	case err != nil:
		return sidecar{}, false, err
	}
	s, err := decodeSidecar(data)
	if err != nil {
		return sidecar{}, true, &damagedError{path, err}
	}
	return s, true, nil
}

// damagedError says that a sidecar can't be read.
type damagedError struct {
	path string
	err  error
}

func (e *damagedError) Error() string {
	return fmt.Sprintf("%s is damaged: %v: restore it from a backup, or remove it and the file it is about to begin anew", e.path, e.err)
}

func (e *damagedError) Unwrap() error { return e.err }

// readOwner returns the owner that a sidecar names, without reading a large envelope; 0 if there is none.
func readOwner(fsys durable.FS, path string) (owner, epoch uint64, err error) {
	f, err := fsys.OpenFile(path, os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, 0, nil
	}
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	var head [ownerEnd]byte
	if _, err := f.ReadAt(head[:], 0); err != nil {
		if errors.Is(err, io.EOF) {
			return 0, 0, nil
		}
		return 0, 0, err
	}
	return binary.BigEndian.Uint64(head[24:]), binary.BigEndian.Uint64(head[16:]), nil
}
