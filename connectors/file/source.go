package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/retry"
)

// OpenReader implements weaver.Source. A file that is missing, a pattern that matches none, a folder, a file that may not be read, one that took the place of
// the file that at.Position is about: all these are fatal.
func (f *File[T]) OpenReader(ctx context.Context, at weaver.Lane) (weaver.Reader[T], error) {
	made, err := f.open()
	if err != nil {
		return nil, err
	}
	r := &reader[T]{
		file:     f,
		format:   made,
		maxBytes: or(f.MaxRecordBytes, defaultRecordBytes),
		in:       input{chunk: or(f.chunk, readBytes)},
	}
	if err := r.start(ctx, at); err != nil {
		return nil, fmt.Errorf("%s: %w", f, err)
	}
	return r, nil
}

// Splits implements weaver.Splitter. With Parallel and a pattern, each file is a split with its path, as the pattern gives it, as ID. Otherwise there is
// one split.
func (f *File[T]) Splits(context.Context) (weaver.Splits, error) {
	if err := f.validate(); err != nil {
		return nil, err
	}
	if !f.Parallel || !f.isPattern() {
		return &splits{all: []weaver.Split{{Bounded: true}}}, nil
	}
	paths, err := f.match()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f, err)
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("%s: %w", f, errNoMatch)
	}
	s := &splits{}
	for _, path := range paths {
		s.all = append(s.all, weaver.Split{ID: filepath.ToSlash(path), Bounded: true, Handle: path})
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

// meta are the characters that make a path a pattern of filepath.Match.
const meta = `*?[`

// isPattern reports whether the path is one. A file that has such a character in its name and is there is meant itself.
func (f *File[T]) isPattern() bool {
	if !strings.ContainsAny(f.path, meta) {
		return false
	}
	_, err := f.fsys.Stat(f.path)
	return err != nil
}

// match returns the paths that match, without folders.
func (f *File[T]) match() ([]string, error) {
	paths, err := filepath.Glob(f.path)
	if err != nil {
		return nil, retry.Fatal(fmt.Errorf("%w: see path/filepath.Match for what a pattern may be", err))
	}
	paths = slices.DeleteFunc(paths, func(path string) bool {
		info, err := f.fsys.Stat(path)
		return err == nil && info.IsDir()
	})
	return paths, nil
}

// found is a file that is read: its path, and what positions call it.
type found struct{ name, path string }

// files returns those of the split at, in the order they are read in.
func (f *File[T]) files(at weaver.Lane) ([]found, error) {
	if at.Split.ID != "" {
		return []found{{path: filepath.FromSlash(at.Split.ID)}}, nil
	}
	if !f.isPattern() {
		return []found{{path: f.path}}, nil
	}
	paths, err := f.match()
	if err != nil {
		return nil, err
	}
	files := make([]found, len(paths))
	for i, path := range paths {
		files[i] = found{name: filepath.ToSlash(strings.TrimPrefix(path, f.folder())), path: path}
	}
	slices.SortFunc(files, func(a, b found) int { return strings.Compare(a.name, b.name) })
	return files, nil
}

// folder returns the part of the matching paths that comes before any special character of the pattern: names in positions are relative to it, so that it may
// be moved.
func (f *File[T]) folder() string {
	folder, _ := filepath.Split(f.path[:strings.IndexAny(f.path, meta)])
	folder = filepath.Clean(folder)
	switch {
	case folder == ".":
		return ""
	case strings.HasSuffix(folder, string(filepath.Separator)):
		return folder
	}
	return folder + string(filepath.Separator)
}

// regular is what a path must be that is read.
func regular(info fs.FileInfo, path string) error {
	switch {
	case info.IsDir():
		return retry.Fatal(fmt.Errorf("%s is a folder: give the path of a file, or a pattern such as %s", path, filepath.Join(path, "*.csv")))
	case !info.Mode().IsRegular():
		return retry.Fatal(fmt.Errorf("%s is no regular file (%s): it can't be read again from a position", path, info.Mode().Type()))
	}
	return nil
}
