package file

import (
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/bohica-labs/dataweaver/retry"
)

// lister is what of a file system is needed to find files in it.
type lister interface {
	ReadDir(name string) ([]fs.DirEntry, error)
	Stat(name string) (fs.FileInfo, error)
}

// ioFS is an fs.FS as a lister.
type ioFS struct{ fs.FS }

func (f ioFS) ReadDir(name string) ([]fs.DirEntry, error) { return fs.ReadDir(f.FS, name) }
func (f ioFS) Stat(name string) (fs.FileInfo, error)      { return fs.Stat(f.FS, name) }

func (f *File[T]) lister() lister {
	if f.FS != nil {
		return ioFS{f.FS}
	}
	return f.fsys
}

// openToRead opens a file that is to be read. Opening a pipe doesn't block.
func (f *File[T]) openToRead(path string) (opened, error) {
	var file opened
	var err error
	if f.FS != nil {
		file, err = f.FS.Open(path)
	} else {
		file, err = f.fsys.OpenFile(path, syscall.O_NONBLOCK, 0)
	}
	if err != nil {
		return nil, advice(err, "check the path, and the folder the program runs in")
	}
	return file, nil
}

// meta are the characters that make a path a pattern.
const meta = `*?[`

// isPattern reports whether the path is one. A file that has such a character in its name and is there is meant itself.
func (f *File[T]) isPattern() bool {
	if !strings.ContainsAny(f.path, meta) {
		return false
	}
	_, err := f.lister().Stat(f.path)
	return err != nil
}

// found is a file that may be read: its path, what positions call it, and its size when it was found, -1 where nobody looked.
type found struct {
	name, path string
	size       int64
	info       fs.FileInfo // nil: it was not looked up
}

// ownFolder is where sinks keep what isn't complete. No pattern with ** looks into it.
const ownFolder = ".weaver"

// match returns the files that match the pattern, in the order of their names.
func (f *File[T]) match() ([]found, error) {
	w := walk{lister: f.lister(), quick: f.Buckets > 0 && !f.tracks(), join: filepath.Join, separator: string(filepath.Separator), seen: make(map[string]bool)}
	if f.FS != nil {
		w.join, w.separator = path.Join, "/"
	}
	elements := strings.Split(f.path, w.separator)
	for _, e := range elements {
		if _, err := path.Match(e, ""); err != nil {
			return nil, retry.Fatal(fmt.Errorf("%w: %s: see path.Match for what an element of a pattern may be", err, e))
		}
	}
	root := "."
	if rest, ok := strings.CutPrefix(f.path, filepath.VolumeName(f.path)+w.separator); ok && f.FS == nil {
		root = filepath.VolumeName(f.path) + w.separator
		elements = strings.Split(rest, w.separator)
	}
	if err := w.expand(root, elements); err != nil {
		return nil, err
	}
	folder := f.folder()
	for i := range w.files {
		w.files[i].name = filepath.ToSlash(strings.TrimPrefix(w.files[i].path, folder))
	}
	slices.SortFunc(w.files, func(a, b found) int { return strings.Compare(a.name, b.name) })
	return w.files, nil
}

// folder returns the part of the matching paths that comes before any special character of the pattern: names in positions are relative to it, so that it may
// be moved.
func (f *File[T]) folder() string {
	separator := string(filepath.Separator)
	if f.FS != nil {
		separator = "/"
	}
	before := f.path[:strings.IndexAny(f.path, meta)]
	i := strings.LastIndex(before, separator)
	if i < 0 {
		return ""
	}
	folder := filepath.Clean(before[:i+1])
	switch {
	case folder == ".":
		return ""
	case strings.HasSuffix(folder, separator):
		return folder
	}
	return folder + separator
}

// walk finds files. A folder that vanishes meanwhile has none.
type walk struct {
	lister
	quick     bool // don't look at files: with very many of them it takes a quarter of the time
	join      func(...string) string
	separator string
	seen      map[string]bool
	files     []found
}

// expand adds what elements match in folder.
func (w *walk) expand(folder string, elements []string) error {
	element, rest := elements[0], elements[1:]
	switch {
	case element == "" || element == ".":
		if len(rest) == 0 {
			return nil
		}
		return w.expand(folder, rest)
	case element == "**" && len(rest) == 0:
		return w.expand(folder, []string{"**", "*"})
	case element == "**":
		return w.below(folder, rest)
	case !strings.ContainsAny(element, meta+`\`):
		return w.take(w.join(folder, element), nil, rest)
	}
	entries, err := w.read(folder)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if ok, _ := path.Match(element, e.Name()); ok {
			if err := w.take(w.join(folder, e.Name()), e, rest); err != nil {
				return err
			}
		}
	}
	return nil
}

// below adds what rest matches in folder, and in all folders below it. It follows no symbolic link to a folder, so it comes to an end.
func (w *walk) below(folder string, rest []string) error {
	if err := w.expand(folder, rest); err != nil {
		return err
	}
	entries, err := w.read(folder)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.IsDir() || e.Name() == ownFolder {
			continue
		}
		if err := w.below(w.join(folder, e.Name()), rest); err != nil {
			return err
		}
	}
	return nil
}

// take adds the file at path, or what rest matches in the folder that it is. Entry may be nil.
func (w *walk) take(path string, entry fs.DirEntry, rest []string) error {
	var info fs.FileInfo
	var err error
	if entry != nil && entry.Type()&fs.ModeSymlink == 0 {
		if len(rest) > 0 {
			if entry.IsDir() {
				return w.expand(path, rest)
			}
			return nil
		}
		if w.quick {
			if !entry.IsDir() && !w.seen[path] {
				w.seen[path] = true
				w.files = append(w.files, found{path: path, size: -1})
			}
			return nil
		}
		info, err = entry.Info()
	} else {
		info, err = w.Stat(path)
	}
	switch {
	case gone(err):
		return nil
	case err != nil:
		return advice(err, "")
	case len(rest) > 0 && info.IsDir():
		return w.expand(path, rest)
	case len(rest) > 0 || info.IsDir() || w.seen[path]:
		return nil
	}
	w.seen[path] = true
	w.files = append(w.files, found{path: path, size: info.Size(), info: info})
	return nil
}

func (w *walk) read(folder string) ([]fs.DirEntry, error) {
	entries, err := w.ReadDir(folder)
	if gone(err) {
		return nil, nil
	}
	return entries, advice(err, "")
}

// gone reports whether an error says that there is no such file or folder.
func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ELOOP)
}

// bucket returns which of n splits the file called name falls to, by FNV-1a: it must never change.
func bucket(name string, n int) int {
	h := fnv.New64a()
	_, _ = h.Write([]byte(name))
	return int(h.Sum64() % uint64(n)) //nolint:gosec // n is positive, and the rest is below it
}
