package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"

	"github.com/bohica-labs/dataweaver/internal/durable"
)

// File is a Store in a folder of a local file system. It is safe for concurrent use, and so are several on one folder, also in different processes.
//
// Each key has a folder inside, and in it one file for the current version and one for the version before. A save writes a temporary file, syncs it, gives it
// the next version's name with link(2), which one of several succeeds in, and syncs the folder: two syncs are what a save costs. Whatever moment
// the power goes, the current file is whole. Files are readable by their owner alone.
//
// On a file system without hard links (FAT, some network shares) rename takes the place of link, and then only one process may use the folder at a time.
// Network file systems are as good as their link, rename and fsync.
//
// An error after which nothing is known about the file system, a full disk among them, leaves the last good version readable. A damaged file is a
// [*CorruptError].
type File struct {
	dir      string
	fsys     durable.FS
	renaming sync.Mutex // held from looking for a name to taking it, where there are no links
}

var _ Store = (*File)(nil)

// NewFile returns a File that keeps everything in dir. Save makes dir, and what is missing above it; until then nothing is touched.
func NewFile(dir string) *File { return &File{dir: dir, fsys: durable.OS()} }

// Load returns the value that was saved last for key. A damaged file is a [*CorruptError]. It neither changes nor makes anything.
func (f *File) Load(ctx context.Context, key string) ([]byte, Version, error) {
	for tried := Version(0); ; {
		if err := check(ctx, key, nil); err != nil {
			return nil, 0, err
		}
		dir := f.folder(key)
		versions, err := dir.list()
		if err != nil {
			return nil, 0, fmt.Errorf("checkpoint: load %s: %w", quote(key), err)
		}
		current := versions.current()
		if current == 0 {
			return nil, 0, nil
		}
		c, err := dir.read(current)
		if err == nil {
			// Another process may have made this version a moment ago and not have come to syncing it: what is told here must not be lost later.
			err = dir.fsys.SyncDir(dir.path)
		}
		switch {
		case err == nil:
			return c.value, c.version, nil
		case current > tried:
			tried = current // saves may have gone on in the meantime and removed the file
			continue
		}
		var d damage
		if errors.As(err, &d) {
			return nil, 0, dir.corrupt(versions, d)
		}
		return nil, 0, fmt.Errorf("checkpoint: load %s: %w", quote(key), err)
	}
}

// Save replaces the value of key, if v is its version.
func (f *File) Save(ctx context.Context, key string, value []byte, v Version) (Version, error) {
	if err := check(ctx, key, value); err != nil {
		return 0, err
	}
	dir := f.folder(key)
	before, err := dir.list()
	if err == nil && before.current() != v {
		return 0, conflict(key, v, before.current())
	}
	if err == nil && v == 0 {
		err = durable.MkdirAll(f.fsys, dir.path, 0o700)
	}
	if err == nil {
		err = f.publish(dir, content{key: key, value: value, version: v + 1})
	}
	if errors.Is(err, fs.ErrExist) || errors.Is(err, fs.ErrNotExist) {
		// The name was taken, or whoever took it has removed the temporary files of all who were after it.
		if now, err := dir.list(); err == nil && now.current() > v {
			return 0, conflict(key, v, now.current())
		}
	}
	if err != nil {
		return 0, fmt.Errorf("checkpoint: save %s upon version %d: %w", quote(key), v, err)
	}

	// A version's name becomes free again when a save has made the version two after it. Had this save slept since it listed the folder, it could have taken a name
	// long gone, and then a version at least two after its own is there: the highest one never goes down. One after its own may be there if its own was
	// current and another has saved upon it already. (Two after its own is there as well if two others did so since the line above: then this
	// reports a conflict although its value was current for that moment. Whoever asked is overtaken either way.)
	after, err := dir.list()
	if err != nil {
		return 0, fmt.Errorf("checkpoint: save %s upon version %d: %w", quote(key), v, err)
	}
	if current := after.current(); current > v+2 {
		_ = f.fsys.Remove(dir.version(v + 1)) // it is behind the current one: nobody reads it, and the next save would remove it
		return 0, conflict(key, v, current)
	}
	if err := f.fsys.SyncDir(dir.path); err != nil {
		return 0, fmt.Errorf("checkpoint: save %s upon version %d: %w", quote(key), v, err)
	}
	dir.prune(before, v+1)
	return v + 1, nil
}

// publish writes c and gives it its version's name. The error is fs.ErrExist if that is taken, and may be fs.ErrNotExist if it was for a while.
func (f *File) publish(dir folder, c content) error {
	temp, err := dir.writeTemp(c)
	if err != nil {
		return err
	}
	name := dir.version(c.version)
	err = f.fsys.Link(temp, name)
	if err != nil && durable.NoLinks(err) {
		err = f.rename(temp, name)
		if err == nil {
			return nil
		}
	}
	_ = f.fsys.Remove(temp) // if it stays, a later save removes it
	return err
}

// rename gives a file a name that nobody has, in this File. A lock is held over two calls to the file system, because there is no one call that does it.
func (f *File) rename(oldname, newname string) error {
	f.renaming.Lock()
	defer f.renaming.Unlock()
	if _, err := f.fsys.Stat(newname); err == nil {
		return fs.ErrExist
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return f.fsys.Rename(oldname, newname)
}
