package main

import (
	"bytes"
	"errors"
	"io"
	"sync"
)

// piece is a stretch of whole lines on its way from the reader over a worker to the writer, and the memory for it, which goes round.
type piece struct {
	lines []byte
	out   bytes.Buffer
	done  chan error // the worker has finished
}

// runNDJSONByHand is what one would write without a library: a reader that cuts at line ends, two workers, and a writer that takes the pieces in order.
func runNDJSONByHand(d *folder, n int, unmarshal func([]byte, any) error, encoder func(io.Writer) encodeTo) (outcome, error) {
	return runFile(d, "by hand", n, salesInput, func(in, out string) error {
		return throughFiles(in, out, func(r io.Reader, w io.Writer) error {
			return twoWorkers(r, w, unmarshal, encoder)
		})
	})
}

func twoWorkers(r io.Reader, w io.Writer, unmarshal func([]byte, any) error, encoder func(io.Writer) encodeTo) error {
	const workers, pieces = 2, 6
	idle := make(chan *piece, pieces)
	for range pieces {
		idle <- &piece{lines: make([]byte, 0, copyBytes), done: make(chan error, 1)}
	}
	work, inOrder := make(chan *piece, pieces), make(chan *piece, pieces)
	var running sync.WaitGroup
	for range workers {
		running.Go(func() {
			for p := range work {
				p.done <- p.sell(unmarshal, encoder)
			}
		})
	}
	var readErr error
	running.Go(func() {
		defer close(inOrder)
		defer close(work)
		readErr = readPieces(r, idle, func(p *piece) {
			inOrder <- p
			work <- p
		})
	})
	var err error
	for p := range inOrder {
		if failed := <-p.done; err == nil {
			err = failed
		}
		if err == nil {
			_, err = w.Write(p.out.Bytes())
		}
		idle <- p
	}
	running.Wait()
	return errors.Join(readErr, err)
}

// readPieces hands on stretches of whole lines.
func readPieces(r io.Reader, idle <-chan *piece, hand func(*piece)) error {
	p := <-idle
	for {
		n, err := io.ReadFull(r, p.lines[len(p.lines):cap(p.lines)])
		p.lines = p.lines[:len(p.lines)+n]
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			hand(p)
			return nil
		}
		if err != nil {
			return err
		}
		end := bytes.LastIndexByte(p.lines, '\n') + 1
		if end == 0 {
			return errors.New("a line is longer than a piece")
		}
		next := <-idle
		next.lines = append(next.lines[:0], p.lines[end:]...)
		p.lines = p.lines[:end]
		hand(p)
		p = next
	}
}

func (p *piece) sell(unmarshal func([]byte, any) error, encoder func(io.Writer) encodeTo) error {
	p.out.Reset()
	encode := encoder(&p.out)
	var from person // once: what unmarshal is given escapes
	var to sale
	for rest := p.lines; len(rest) > 0; {
		line := rest
		if end := bytes.IndexByte(rest, '\n'); end >= 0 {
			line, rest = rest[:end], rest[end+1:]
		} else {
			rest = nil
		}
		from = person{}
		if err := unmarshal(line, &from); err != nil {
			return err
		}
		var ok bool
		if to, ok = sold(&from); !ok {
			continue
		}
		if err := encode(&to); err != nil {
			return err
		}
	}
	return nil
}
