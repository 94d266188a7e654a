package durable

import (
	"errors"
	"io/fs"
	"path/filepath"
	"syscall"
)

// MkdirAll makes the folder name and those above it that are missing, so that they survive a loss of power: each is synced into its parent before
// anything is made inside it. perm is for those it makes, before umask. A folder that is there already is no error.
//
// The deepest folder that is there already is synced into its parent too: another process that uses MkdirAll may have made it a moment ago and not have
// come to that. So whoever found a folder by way of MkdirAll, or made it, can rely on all of its path.
func MkdirAll(fsys FS, name string, perm fs.FileMode) error {
	name = filepath.Clean(name)
	parent := filepath.Dir(name)
	info, err := fsys.Stat(name)
	switch {
	case err == nil && !info.IsDir():
		return &fs.PathError{Op: "mkdir", Path: name, Err: syscall.ENOTDIR}
	case err == nil && parent == name: // the root, or "."
		return nil
	case err == nil:
		// Whoever may not even open the parent has not made this folder: it was provided.
		if err := fsys.SyncDir(parent); err != nil && !errors.Is(err, fs.ErrPermission) {
			return err
		}
		return nil
	case !errors.Is(err, fs.ErrNotExist) || parent == name:
		return err
	}
	if err := MkdirAll(fsys, parent, perm); err != nil {
		return err
	}
	if err := fsys.Mkdir(name, perm); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return fsys.SyncDir(parent)
}
