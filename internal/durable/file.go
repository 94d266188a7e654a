package durable

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
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
// A loss of power leaves the old file or the new one, whole, and perhaps a temporary file, see [RemoveTemps]. perm is for a file that is made, before umask.
func WriteFile(fsys FS, name string, data []byte, perm fs.FileMode) error {
	dir := filepath.Dir(name)
	f, temp, err := createTemp(fsys, name, perm)
	if err != nil {
		return err
	}
	if err := writeSyncClose(f, data); err != nil {
		return errors.Join(err, fsys.Remove(temp))
	}
	if err := fsys.Rename(temp, name); err != nil {
		return errors.Join(err, fsys.Remove(temp))
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

// createTemp makes an empty file beside name, open to read and write, whose own name temp is new. Renaming or removing it is
// the caller's business.
func createTemp(fsys FS, name string, perm fs.FileMode) (f File, temp string, err error) {
	for try := 0; ; try++ {
		temp = filepath.Join(filepath.Dir(name), fmt.Sprintf("%s%016x%s", tempPrefixOf(name), rand.Uint64(), tempSuffix))
		f, err = fsys.OpenFile(temp, os.O_RDWR|os.O_CREATE|os.O_EXCL, perm)
		if errors.Is(err, fs.ErrExist) && try < 100 {
			continue
		}
		return f, temp, err
	}
}

// tempPrefixOf is how the temporary files of name begin: with a hash of it, as two long names may not fit into one.
func tempPrefixOf(name string) string {
	return fmt.Sprintf("%s%08x-", tempPrefix, crc32.ChecksumIEEE([]byte(filepath.Base(name))))
}

// RemoveTemps removes what a crash during WriteFile of name left behind. Nobody else may be writing name.
func RemoveTemps(fsys FS, name string) error {
	entries, err := fsys.ReadDir(filepath.Dir(name))
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), tempPrefixOf(name)) && strings.HasSuffix(e.Name(), tempSuffix) {
			errs = append(errs, fsys.Remove(filepath.Join(filepath.Dir(name), e.Name())))
		}
	}
	return errors.Join(errs...)
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
