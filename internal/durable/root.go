package durable

import (
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Root is an FS of what is in one folder, of which names are relative. No name leads out of it, whatever it is made of: with "..", absolute, or by a
// symbolic link. Close gives back what the folder is held by; files that are open stay so.
type Root interface {
	FS
	io.Closer
}

// rooter is an FS that has its own way to stay within a folder.
type rooter interface {
	openRoot(name string) (Root, error)
}

// OpenRoot returns the folder name of fsys, which must exist. That of [OS] is an [os.Root], which also symbolic links can't lead out of; of any other FS, which has to have none,
// names are looked at.
func OpenRoot(fsys FS, name string) (Root, error) {
	if r, ok := fsys.(rooter); ok {
		return r.openRoot(name)
	}
	info, err := fsys.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, &fs.PathError{Op: "open", Path: name, Err: syscall.ENOTDIR}
	}
	return subFS{fsys, name}, nil
}

func (osFS) openRoot(name string) (Root, error) {
	r, err := os.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	return rootFS{r}, nil
}

// rootFS is an os.Root.
type rootFS struct{ root *os.Root }

func (r rootFS) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	f, err := r.root.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (r rootFS) Mkdir(name string, perm fs.FileMode) error    { return r.root.Mkdir(name, perm) }
func (r rootFS) MkdirAll(name string, perm fs.FileMode) error { return r.root.MkdirAll(name, perm) }
func (r rootFS) Link(oldname, newname string) error           { return r.root.Link(oldname, newname) }

func (r rootFS) Rename(oldname, newname string) error  { return r.root.Rename(oldname, newname) }
func (r rootFS) Remove(name string) error              { return r.root.Remove(name) }
func (r rootFS) Stat(name string) (fs.FileInfo, error) { return r.root.Stat(name) }
func (r rootFS) SyncDir(name string) error             { return syncDir(r.root.Open, name) }
func (r rootFS) Close() error                          { return r.root.Close() }

func (r rootFS) ReadDir(name string) ([]fs.DirEntry, error) {
	return fs.ReadDir(r.root.FS(), filepath.ToSlash(filepath.Clean(name)))
}

// subFS has the names in a folder of an FS without symbolic links.
type subFS struct {
	fsys FS
	dir  string
}

// in returns the whole name, or what is wrong with it.
func (s subFS) in(op, name string) (string, error) {
	if !filepath.IsLocal(name) {
		return "", &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	return filepath.Join(s.dir, name), nil
}

func (s subFS) one(op, name string, do func(string) error) error {
	whole, err := s.in(op, name)
	if err != nil {
		return err
	}
	return do(whole)
}

func (s subFS) two(op, oldname, newname string, do func(_, _ string) error) error {
	from, err := s.in(op, oldname)
	if err != nil {
		return err
	}
	to, err := s.in(op, newname)
	if err != nil {
		return err
	}
	return do(from, to)
}

func (s subFS) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	whole, err := s.in("open", name)
	if err != nil {
		return nil, err
	}
	return s.fsys.OpenFile(whole, flag, perm)
}

func (s subFS) Mkdir(name string, perm fs.FileMode) error {
	return s.one("mkdir", name, func(n string) error { return s.fsys.Mkdir(n, perm) })
}

func (s subFS) MkdirAll(name string, perm fs.FileMode) error {
	return s.one("mkdir", name, func(n string) error { return s.fsys.MkdirAll(n, perm) })
}

func (s subFS) Link(oldname, newname string) error {
	return s.two("link", oldname, newname, s.fsys.Link)
}

func (s subFS) Rename(oldname, newname string) error {
	return s.two("rename", oldname, newname, s.fsys.Rename)
}

func (s subFS) Remove(name string) error  { return s.one("remove", name, s.fsys.Remove) }
func (s subFS) SyncDir(name string) error { return s.one("sync", name, s.fsys.SyncDir) }
func (s subFS) Close() error              { return nil }

func (s subFS) ReadDir(name string) ([]fs.DirEntry, error) {
	whole, err := s.in("open", name)
	if err != nil {
		return nil, err
	}
	return s.fsys.ReadDir(whole)
}

func (s subFS) Stat(name string) (fs.FileInfo, error) {
	whole, err := s.in("stat", name)
	if err != nil {
		return nil, err
	}
	return s.fsys.Stat(whole)
}
