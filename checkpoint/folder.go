package checkpoint

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/bohica-labs/dataweaver/internal/durable"
)

// damage is the error of a file that was read and is not what was written.
type damage struct{ error }

// folder is where the versions of one key are.
type folder struct {
	fsys durable.FS
	path string
	key  string
}

func (f *File) folder(key string) folder {
	return folder{fsys: f.fsys, path: filepath.Join(f.dir, folderName(key)), key: key}
}

func (d folder) version(v Version) string { return filepath.Join(d.path, versionName(v)) }

// listing is what a folder holds, in the order of ReadDir, which for versions is ascending.
type listing struct {
	versions []Version
	temps    []string // names without folder
}

func (l listing) current() Version {
	if len(l.versions) == 0 {
		return 0
	}
	return l.versions[len(l.versions)-1]
}

// list returns what is in the folder: nothing, if it does not exist. Names that are not this package's are left out.
func (d folder) list() (listing, error) {
	entries, err := d.fsys.ReadDir(d.path)
	if errors.Is(err, fs.ErrNotExist) {
		return listing{}, nil
	}
	if err != nil {
		return listing{}, err
	}
	var l listing
	for _, e := range entries {
		if v := parseVersion(e.Name()); v > 0 {
			l.versions = append(l.versions, v)
		} else if parseTemp(e.Name()) > 0 {
			l.temps = append(l.temps, e.Name())
		}
	}
	return l, nil
}

// writeTemp writes c to a temporary file, durably but for the file's name, and returns that.
func (d folder) writeTemp(c content) (string, error) {
	name := filepath.Join(d.path, tempName(c.version))
	file, err := d.fsys.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	head, tail := c.encode()
	for _, part := range [][]byte{head, c.value, tail} {
		if err == nil && len(part) > 0 {
			_, err = file.Write(part)
		}
	}
	if err == nil {
		err = file.Sync()
	}
	if err := errors.Join(err, file.Close()); err != nil {
		_ = d.fsys.Remove(name) // if it stays, a later save removes it
		return "", err
	}
	return name, nil
}

// read returns what the file of version v holds. The error is a damage if that is not what was written.
func (d folder) read(v Version) (content, error) {
	info, err := d.fsys.Stat(d.version(v))
	if err != nil {
		return content{}, err
	}
	if info.Size() > maxFileSize {
		return content{}, damage{fmt.Errorf("it has %d bytes, more than any checkpoint", info.Size())}
	}
	file, err := durable.ReadFile(d.fsys, d.version(v))
	if err != nil {
		return content{}, err
	}
	c, err := decode(file)
	switch {
	case err != nil:
		return content{}, damage{err}
	case c.key != d.key:
		return content{}, damage{fmt.Errorf("it belongs to key %s", quote(c.key))}
	case c.version != v:
		return content{}, damage{fmt.Errorf("it holds version %d", c.version)}
	}
	return c, nil
}

// corrupt returns the error for the current version of l, of which why is wrong.
func (d folder) corrupt(l listing, why damage) *CorruptError {
	e := &CorruptError{Key: d.key, Path: d.version(l.current()), Version: l.current(), Err: why.error}
	for _, v := range slices.Backward(l.versions[:len(l.versions)-1]) {
		if _, err := d.read(v); err == nil {
			e.Previous, e.PreviousVersion = d.version(v), v
			break
		}
	}
	return e
}

// prune removes what the save of version saved has made useless, of what was there before it: all versions but the one before it, and the temporary files of
// saves that wanted its place or an earlier one. Those of a later one may be somebody's who is at work. What cannot be removed now can be the
// next time.
func (d folder) prune(before listing, saved Version) {
	for _, v := range before.versions {
		if v < saved-1 {
			_ = d.fsys.Remove(d.version(v))
		}
	}
	for _, name := range before.temps {
		if parseTemp(name) <= saved {
			_ = d.fsys.Remove(filepath.Join(d.path, name))
		}
	}
}
