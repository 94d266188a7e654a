package durabletest

import (
	"io/fs"
	"maps"
	"path"
	"slices"
	"syscall"
	"time"
)

// ReadDir implements durable.FS.
func (d *Disk) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := d.readDir(clean(name))
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return entries, nil
}

func (d *Disk) readDir(name string) ([]fs.DirEntry, error) {
	if err := d.begin(Op{Kind: ReadDir, Name: name}); err != nil {
		return nil, err
	}
	defer d.mu.Unlock()
	n, err := d.find(name)
	if err != nil {
		return nil, err
	}
	if n.names == nil {
		return nil, syscall.ENOTDIR
	}
	var entries []fs.DirEntry
	for _, base := range slices.Sorted(maps.Keys(n.names)) {
		entries = append(entries, fs.FileInfoToDirEntry(n.names[base].info(base)))
	}
	return entries, nil
}

// Stat implements durable.FS.
func (d *Disk) Stat(name string) (fs.FileInfo, error) {
	info, err := d.stat(clean(name))
	if err != nil {
		return nil, &fs.PathError{Op: "stat", Path: name, Err: err}
	}
	return info, nil
}

func (d *Disk) stat(name string) (fs.FileInfo, error) {
	if err := d.begin(Op{Kind: Stat, Name: name}); err != nil {
		return nil, err
	}
	defer d.mu.Unlock()
	n, err := d.find(name)
	if err != nil {
		return nil, err
	}
	return n.info(path.Base(name)), nil
}

func (n *node) info(base string) fs.FileInfo {
	return info{name: base, size: int64(len(n.data)), mode: n.mode, modTime: n.modTime, node: n}
}

// info is a node as it was when asked.
type info struct {
	name    string
	size    int64
	mode    fs.FileMode
	modTime time.Time
	node    *node
}

func (i info) Name() string       { return i.name }
func (i info) Size() int64        { return i.size }
func (i info) Mode() fs.FileMode  { return i.mode }
func (i info) ModTime() time.Time { return i.modTime }
func (i info) IsDir() bool        { return i.mode.IsDir() }
func (i info) Sys() any           { return i.node } // the same for two names of one file

// SameFile is what durable.SameFile asks.
func (i info) SameFile(other fs.FileInfo) bool {
	o, ok := other.(info)
	return ok && o.node == i.node
}
