package durable

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
)

const (
	tempPrefix = ".weaver-"
	tempSuffix = ".tmp"
)

// WriteFile replaces, or makes, the file name with data, in one step that is durable on return: it writes a temporary file beside it, syncs that, renames
// it into place and syncs the folder, which must exist.
//
// On an error what was there before is still there and the temporary file is gone. One exception: if only the last step fails, the new content is in
// place but may not survive a loss of power.
// A loss of power leaves the old file or the new one, whole, and perhaps a temporary file, see [IsTemp]. perm is for a file that is made, before umask.
func WriteFile(fsys FS, name string, data []byte, perm fs.FileMode) error {
	dir := filepath.Dir(name)
	f, err := CreateTemp(fsys, dir, perm)
	if err != nil {
		return err
	}
	if err := writeSyncClose(f, data); err != nil {
		return errors.Join(err, fsys.Remove(f.Name()))
	}
	if err := fsys.Rename(f.Name(), name); err != nil {
		return errors.Join(err, fsys.Remove(f.Name()))
	}
	return fsys.SyncDir(dir)
}

func writeSyncClose(f File, data []byte) error {
	_, err := f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	// A file that was synced cannot lose anything by a failed Close, but a system that reports one is not to be trusted.
	return errors.Join(err, f.Close())
}

// CreateTemp makes an empty file in dir, open to read and write, whose name is new and for which [IsTemp] is true. Renaming or removing it is the
// caller's business.
func CreateTemp(fsys FS, dir string, perm fs.FileMode) (File, error) {
	for try := 0; ; try++ {
		name := filepath.Join(dir, fmt.Sprintf("%s%016x%s", tempPrefix, rand.Uint64(), tempSuffix))
		f, err := fsys.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, perm)
		if errors.Is(err, fs.ErrExist) && try < 100 {
			continue
		}
		return f, err
	}
}

// IsTemp reports whether a name without its folder is one that [CreateTemp] and [WriteFile] make. Found where nobody is at work, it is left over from a
// crash and may be removed.
func IsTemp(base string) bool {
	middle, ok := strings.CutPrefix(base, tempPrefix)
	if !ok {
		return false
	}
	middle, ok = strings.CutSuffix(middle, tempSuffix)
	return ok && len(middle) == 16 && strings.Trim(middle, "0123456789abcdef") == ""
}

// ReadFile returns all that the file name holds.
func ReadFile(fsys FS, name string) ([]byte, error) {
	f, err := fsys.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var b bytes.Buffer
	if info, err := f.Stat(); err == nil && info.Size() < 1<<30 {
		b.Grow(int(info.Size()) + bytes.MinRead)
	}
	if _, err := b.ReadFrom(f); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
