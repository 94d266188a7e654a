package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/retry"
)

// OpenReader implements weaver.Source. A file that is missing, a pattern that matches none, a folder, a file that may not be read, one that took the place of
// the file that at.Position is about: all these are fatal.
func (f *File[T]) OpenReader(ctx context.Context, at weaver.Lane) (weaver.Reader[T], error) {
	switch {
	case f.tracks():
		return f.openTurns(at)
	case f.Follow:
		return f.openFollower(ctx, at)
	}
	if f.fromStdin() {
		return f.openStdin()
	}
	s, err := f.newStream()
	if err != nil {
		return nil, err
	}
	r := &reader[T]{file: f, stream: s}
	if err := r.start(ctx, at); err != nil {
		return nil, fmt.Errorf("%s: %w", f, err)
	}
	return r, nil
}

// newStream returns a stream that has no file yet.
func (f *File[T]) newStream() (stream[T], error) {
	made, err := f.open()
	if err != nil {
		return stream[T]{}, err
	}
	return stream[T]{
		format:   made,
		maxBytes: or(f.MaxRecordBytes, defaultRecordBytes),
		in:       input{chunk: or(f.chunk, readBytes)},
	}, nil
}

// Splits implements weaver.Splitter. With Parallel and a pattern, each file is a split with its path, as the pattern gives it, as ID. With Buckets their IDs
// are their number and how many there are, as 2-of-16. Otherwise there is one split.
func (f *File[T]) Splits(context.Context) (weaver.Splits, error) {
	if err := f.validate(); err != nil {
		return nil, err
	}
	if f.Follow {
		return f.followSplits(), nil
	}
	if f.Buckets == 0 && (!f.Parallel || !f.isPattern()) {
		return &splits{all: []weaver.Split{{Bounded: true}}}, nil
	}
	files, err := f.match()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f, err)
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%s: %w", f, errNoMatch)
	}
	s := &splits{}
	if f.Buckets > 0 {
		buckets := make([][]found, f.Buckets)
		for _, file := range files {
			i := bucket(file.name, f.Buckets)
			buckets[i] = append(buckets[i], file)
		}
		for i, files := range buckets {
			s.all = append(s.all, weaver.Split{ID: bucketOfSplit(i, f.Buckets), Bounded: true, Handle: files})
		}
		return s, nil
	}
	for _, file := range files {
		s.all = append(s.all, weaver.Split{ID: filepath.ToSlash(file.path), Bounded: true})
	}
	return s, nil
}

var errNoMatch = retry.Fatal(errors.New("no file matches the pattern: check the folder the program runs in, or give an absolute path"))

// splits is a set that is known from the beginning.
type splits struct{ all []weaver.Split }

func (s *splits) Next(context.Context) (weaver.Change, error) {
	if s.all == nil {
		return weaver.Change{}, io.EOF
	}
	c := weaver.Change{Add: s.all}
	s.all = nil
	return c, nil
}

func (s *splits) Close() error { return nil }

// files returns those of the split at, in the order they are read in.
func (f *File[T]) files(at weaver.Lane) ([]found, error) {
	if files, ok := at.Split.Handle.([]found); ok {
		return files, nil
	}
	path := f.path
	if at.Split.ID != "" {
		path = filepath.FromSlash(at.Split.ID)
	} else if f.isPattern() {
		return f.match()
	}
	one := found{path: path}
	if info, err := f.lister().Stat(path); err == nil {
		one.size = info.Size()
	}
	return []found{one}, nil
}

// regular is what a path must be that is read.
func regular(info fs.FileInfo, path string) error {
	switch {
	case info.IsDir():
		return retry.Fatal(fmt.Errorf("%s is a folder: give the path of a file, or a pattern such as %s", path, filepath.Join(path, "*.csv")))
	case !info.Mode().IsRegular():
		return retry.Fatal(fmt.Errorf("%s is no regular file (%s): it can't be read again from a position; standard input is read by the path %s", path, info.Mode().Type(), stdio))
	}
	return nil
}
