package durable

import (
	"io"
	"io/fs"
)

// FS is a file system that says when a change is durable. Names are those of package os: relative to the working folder or absolute, with the
// separators of the system. Implementations are safe for concurrent use, and return errors like those of package os, which errors.Is compares to
// fs.ErrNotExist, fs.ErrExist and the system's own numbers.
//
// No call but SyncDir makes a name durable, and no call but File.Sync what a file holds: after a loss of power, everything else may have happened,
// or not, or in part, in any order.
type FS interface {
	// OpenFile is os.OpenFile.
	OpenFile(name string, flag int, perm fs.FileMode) (File, error)
	// Mkdir is os.Mkdir.
	Mkdir(name string, perm fs.FileMode) error
	// MkdirAll is os.MkdirAll. Nothing of it is durable: see the function MkdirAll.
	MkdirAll(name string, perm fs.FileMode) error
	// Link gives a file a second name, and fails with fs.ErrExist if that name is taken: of several who try, one succeeds.
	Link(oldname, newname string) error
	// Rename moves a file, in one step, in the place of whatever newname was.
	Rename(oldname, newname string) error
	// Remove is os.Remove.
	Remove(name string) error
	// ReadDir is os.ReadDir: sorted by name.
	ReadDir(name string) ([]fs.DirEntry, error)
	// Stat is os.Stat.
	Stat(name string) (fs.FileInfo, error)
	// SyncDir makes durable which names there are in a folder: what was created, linked, renamed and removed directly in it. It says nothing about what
	// the files hold, nor about the folder's own name in its parent.
	SyncDir(name string) error
}

// File is an open file: an *os.File, as far as it is needed. After a failed Sync nothing is known about what was written since the last one that
// succeeded, and a later Sync that succeeds does not change that: write it again, to a new file.
type File interface {
	io.Reader
	io.ReaderAt
	io.Writer
	io.WriterAt
	io.Seeker
	io.Closer
	// Sync makes what the file holds, and its length, durable.
	Sync() error
	// Truncate is os.File.Truncate.
	Truncate(size int64) error
	// Stat is os.File.Stat.
	Stat() (fs.FileInfo, error)
	// Name returns the name that the file was opened by; of a file in a Root it may be the whole path.
	Name() string
}
