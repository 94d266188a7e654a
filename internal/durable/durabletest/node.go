package durabletest

import (
	"io/fs"
	"time"
)

// node is a file or a folder, whatever names it has.
type node struct {
	mode    fs.FileMode
	modTime time.Time

	// A file. What Sync has made durable, and the changes since: what it holds now is the one with the other. After a Sync that failed they differ for
	// good, as on Linux, which drops the changes that it could not write and calls the rest synced.
	data    []byte
	durable []byte
	changes []change

	// A folder: likewise.
	names        map[string]*node
	durableNames map[string]*node
	moves        []move
}

// change is a write, or with no bytes a truncation to off.
type change struct {
	off  int64
	data []byte
}

// move gives names other nodes (nil: none), all at once.
type move []struct {
	name string
	to   *node
}

func newDir(mode fs.FileMode) *node {
	return &node{mode: mode | fs.ModeDir, modTime: time.Now(), names: map[string]*node{}, durableNames: map[string]*node{}}
}

func newFile(mode fs.FileMode) *node { return &node{mode: mode, modTime: time.Now()} }

// apply returns b changed by c. It may change b in place.
func (c change) apply(b []byte) []byte {
	if c.data == nil {
		return resize(b, int(c.off))
	}
	if end := int(c.off) + len(c.data); end > len(b) {
		b = resize(b, end)
	}
	copy(b[c.off:], c.data)
	return b
}

// resize cuts b or fills it with zeros.
func resize(b []byte, n int) []byte {
	if n <= len(b) {
		return b[:n:n] // so that growing it again cannot show what was cut
	}
	return append(b, make([]byte, n-len(b))...)
}

func (m move) apply(names map[string]*node) {
	for _, e := range m {
		if e.to == nil {
			delete(names, e.name)
		} else {
			names[e.name] = e.to
		}
	}
}

// change changes a file, not durably.
func (n *node) change(c change) {
	n.data = c.apply(n.data)
	n.changes = append(n.changes, c)
	n.modTime = time.Now()
}

// move changes names in a folder, not durably.
func (n *node) move(m move) {
	m.apply(n.names)
	n.moves = append(n.moves, m)
	n.modTime = time.Now()
}

// sync makes durable what has changed since the last time.
func (n *node) sync() {
	for _, c := range n.changes {
		n.durable = c.apply(n.durable)
	}
	for _, m := range n.moves {
		m.apply(n.durableNames)
	}
	n.forget()
}

// forget is what a failed sync does.
func (n *node) forget() { n.changes, n.moves = nil, nil }
