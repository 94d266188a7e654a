package durable

import (
	"io/fs"
	"os"
)

// Unsynced returns fsys without the steps that make anything durable: Sync and SyncDir do nothing. What is written reaches the disk when the operating system thinks
// fit. The end of a process costs nothing of it, a loss of power may cost all, in any order.
func Unsynced(fsys FS) FS { return unsynced{fsys} }

type unsynced struct{ FS }

func (unsynced) SyncDir(string) error { return nil }

func (u unsynced) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	f, err := u.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	if of, ok := f.(*os.File); ok { // which can be locked
		return unsyncedOS{of}, nil
	}
	return unsyncedFile{f}, nil
}

func (u unsynced) openRoot(name string) (Root, error) {
	r, err := OpenRoot(u.FS, name)
	if err != nil {
		return nil, err
	}
	return unsyncedRoot{unsynced{r}, r}, nil
}

type unsyncedRoot struct {
	unsynced
	root Root
}

func (u unsyncedRoot) Close() error { return u.root.Close() }

type unsyncedFile struct{ File }

func (unsyncedFile) Sync() error { return nil }

type unsyncedOS struct{ *os.File }

func (unsyncedOS) Sync() error { return nil }
