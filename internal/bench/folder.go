package main

import (
	"bufio"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"os/signal"
	"path/filepath"
)

// folder is where the scenarios with files have theirs. It is gone when the bench ends.
type folder struct {
	path string
	megs int            // how large the large inputs are
	made map[string]sum // inputs that are there, with what has to come out of them
	bags map[int]bag    // the same of the folders of small files, by the number of their lines
	runs int

	child bool // another process has made the inputs, and checks what comes out
}

func newFolder(megs int) *folder {
	return &folder{megs: megs, made: map[string]sum{}, bags: map[int]bag{}}
}

// make makes the folder.
func (d *folder) make() (err error) {
	d.path, err = os.MkdirTemp("", "weaver-bench-")
	return err
}

func (d *folder) remove() error { return os.RemoveAll(d.path) }

// removeIfInterrupted removes the folder and ends the program on Ctrl-C, until the function it returns is called: gigabytes don't stay.
func (d *folder) removeIfInterrupted() (stop func()) {
	interrupted, ended, gone := make(chan os.Signal, 1), make(chan struct{}), make(chan struct{})
	signal.Notify(interrupted, os.Interrupt)
	go func() {
		defer close(gone)
		select {
		case <-interrupted:
			_ = d.remove() // it was asked to end, and ends
			os.Exit(130)
		case <-ended:
		}
	}()
	return func() {
		signal.Stop(interrupted)
		close(ended)
		<-gone
	}
}

// records is how many records of so many bytes an input has.
func (d *folder) records(bytes int) int { return d.megs << 20 / bytes }

// file returns the path of a file in the folder.
func (d *folder) file(name string) string { return filepath.Join(d.path, name) }

// output returns the path of a file that isn't there yet.
func (d *folder) output(suffix string) string {
	d.runs++
	return d.file(fmt.Sprintf("out-%d-%d%s", os.Getpid(), d.runs, suffix))
}

// input returns the path of a file with n records, and what has to come out of it. Fill makes it, once: it writes the file to the first of two writers and
// what has to come out to the other.
func (d *folder) input(name string, n int, fill func(file, out *bufio.Writer) error) (path string, want sum, err error) {
	name = fmt.Sprintf("%d-%s", n, name)
	path = d.file(name)
	if want, ok := d.made[name]; ok || d.child {
		return path, want, nil
	}
	f, err := os.Create(path)
	if err != nil {
		return "", sum{}, err
	}
	file, out := bufio.NewWriterSize(f, copyBytes), bufio.NewWriterSize(&want, copyBytes)
	if err := errors.Join(fill(file, out), file.Flush(), out.Flush(), f.Sync(), f.Close()); err != nil {
		return "", sum{}, err
	}
	d.made[name] = want
	return path, want, nil
}

// sum is what is known of a stretch of bytes: if one record is missing, wrong or out of order, it is another.
type sum struct {
	bytes, lines int64
	crc          uint32
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (s *sum) Write(p []byte) (int, error) {
	s.bytes += int64(len(p))
	for _, c := range p {
		if c == '\n' {
			s.lines++
		}
	}
	s.crc = crc32.Update(s.crc, castagnoli, p)
	return len(p), nil
}

// checkFile holds what came out against what had to, and removes it. Unpack is for a file that is compressed; nil: it isn't.
func checkFile(who, path string, want sum, unpack func(io.Reader) (io.Reader, error)) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	var r io.Reader = f
	if unpack != nil {
		if r, err = unpack(f); err != nil {
			return err
		}
	}
	var got sum
	if _, err := io.CopyBuffer(struct{ io.Writer }{&got}, r, make([]byte, copyBytes)); err != nil {
		return err
	}
	if got != want {
		return fmt.Errorf("%s: %d lines, %d bytes, checksum %08x came out instead of %d, %d, %08x", who, got.lines, got.bytes, got.crc, want.lines, want.bytes, want.crc)
	}
	for _, name := range []string{path, path + ".checkpoint"} {
		if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// copyBytes is the size of the buffers of code written by hand.
const copyBytes = 256 << 10
