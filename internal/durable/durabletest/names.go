package durabletest

import (
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"

	"github.com/bohica-labs/dataweaver/internal/durable"
)

// OpenFile implements durable.FS.
func (d *Disk) OpenFile(name string, flag int, perm fs.FileMode) (durable.File, error) {
	o := Op{Kind: Open, Name: clean(name)}
	d.mu.Lock()
	if _, err := d.find(o.Name); err != nil && flag&os.O_CREATE != 0 || flag&os.O_TRUNC != 0 {
		o.Kind = Create
	}
	d.mu.Unlock()
	n, err := d.open(o, flag, perm)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return &file{disk: d, node: n, name: name, flag: flag}, nil
}

func (d *Disk) open(o Op, flag int, perm fs.FileMode) (*node, error) {
	if err := d.begin(o); err != nil {
		return nil, err
	}
	defer d.mu.Unlock()
	n, err := d.find(o.Name)
	switch {
	case err == nil && flag&os.O_CREATE != 0 && flag&os.O_EXCL != 0:
		return nil, syscall.EEXIST
	case err == nil && n.names != nil && flag&(os.O_WRONLY|os.O_RDWR) != 0:
		return nil, syscall.EISDIR
	case err == nil:
		if flag&os.O_TRUNC != 0 && len(n.data) > 0 {
			n.change(change{})
		}
		return n, nil
	case flag&os.O_CREATE == 0:
		return nil, err
	}
	dir, base, err := d.parent(o.Name)
	if err != nil {
		return nil, err
	}
	n = newFile(perm)
	dir.move(move{{base, n}})
	return n, nil
}

// Mkdir implements durable.FS.
func (d *Disk) Mkdir(name string, perm fs.FileMode) error {
	if err := d.mkdir(clean(name), perm); err != nil {
		return &fs.PathError{Op: "mkdir", Path: name, Err: err}
	}
	return nil
}

func (d *Disk) mkdir(name string, perm fs.FileMode) error {
	if err := d.begin(Op{Kind: Mkdir, Name: name}); err != nil {
		return err
	}
	defer d.mu.Unlock()
	if _, err := d.find(name); err == nil {
		return syscall.EEXIST
	}
	dir, base, err := d.parent(name)
	if err != nil {
		return err
	}
	dir.move(move{{base, newDir(perm)}})
	return nil
}

// MkdirAll implements durable.FS.
func (d *Disk) MkdirAll(name string, perm fs.FileMode) error {
	name = clean(name)
	d.mu.Lock()
	n, err := d.find(name)
	d.mu.Unlock()
	if err == nil {
		if n.names == nil {
			return &fs.PathError{Op: "mkdir", Path: name, Err: syscall.ENOTDIR}
		}
		return nil
	}
	if err := d.MkdirAll(path.Dir(name), perm); err != nil {
		return err
	}
	return d.Mkdir(name, perm)
}

// Link implements durable.FS.
func (d *Disk) Link(oldname, newname string) error {
	if err := d.link(clean(oldname), clean(newname)); err != nil {
		return &os.LinkError{Op: "link", Old: oldname, New: newname, Err: err}
	}
	return nil
}

func (d *Disk) link(oldname, newname string) error {
	if err := d.begin(Op{Kind: Link, Name: oldname, To: newname}); err != nil {
		return err
	}
	defer d.mu.Unlock()
	n, err := d.find(oldname)
	if err != nil {
		return err
	}
	dir, base, err := d.parent(newname)
	switch {
	case err != nil:
		return err
	case dir.names[base] != nil:
		return syscall.EEXIST
	case n.names != nil:
		return syscall.EPERM
	}
	dir.move(move{{base, n}})
	return nil
}

// Rename implements durable.FS.
func (d *Disk) Rename(oldname, newname string) error {
	if err := d.rename(clean(oldname), clean(newname)); err != nil {
		return &os.LinkError{Op: "rename", Old: oldname, New: newname, Err: err}
	}
	return nil
}

func (d *Disk) rename(oldname, newname string) error {
	if err := d.begin(Op{Kind: Rename, Name: oldname, To: newname}); err != nil {
		return err
	}
	defer d.mu.Unlock()
	from, oldbase, err := d.parent(oldname)
	if err != nil {
		return err
	}
	to, newbase, err := d.parent(newname)
	if err != nil {
		return err
	}
	n, there := from.names[oldbase], to.names[newbase]
	switch {
	case n == nil:
		return syscall.ENOENT
	case there != nil && there.names != nil: // package os takes no folder's place
		return syscall.EEXIST
	case n == there: // POSIX: two names of one file are left as they are
		return nil
	case n.names != nil && strings.HasPrefix(newname, oldname+"/"):
		return syscall.EINVAL
	case n.names != nil && there != nil:
		return syscall.ENOTDIR
	}
	if from == to {
		from.move(move{{oldbase, nil}, {newbase, n}})
	} else {
		to.move(move{{newbase, n}})
		from.move(move{{oldbase, nil}})
	}
	return nil
}

// Remove implements durable.FS.
func (d *Disk) Remove(name string) error {
	if err := d.remove(clean(name)); err != nil {
		return &fs.PathError{Op: "remove", Path: name, Err: err}
	}
	return nil
}

func (d *Disk) remove(name string) error {
	if err := d.begin(Op{Kind: Remove, Name: name}); err != nil {
		return err
	}
	defer d.mu.Unlock()
	dir, base, err := d.parent(name)
	if err != nil {
		return err
	}
	n := dir.names[base]
	switch {
	case n == nil:
		return syscall.ENOENT
	case len(n.names) > 0:
		return syscall.ENOTEMPTY
	}
	dir.move(move{{base, nil}})
	return nil
}

// SyncDir implements durable.FS.
func (d *Disk) SyncDir(name string) error {
	if err := d.syncDir(clean(name)); err != nil {
		return &fs.PathError{Op: "sync", Path: name, Err: err}
	}
	return nil
}

func (d *Disk) syncDir(name string) error {
	// If the test makes it fail, names stay in the journal, unlike what a file holds: a later SyncDir makes them durable.
	if err := d.begin(Op{Kind: SyncDir, Name: name}); err != nil {
		return err
	}
	defer d.mu.Unlock()
	n, err := d.find(name)
	if err != nil {
		return err
	}
	if n.names == nil {
		return syscall.ENOTDIR
	}
	n.sync()
	return nil
}
