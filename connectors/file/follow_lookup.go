package file

import (
	"cmp"
	"errors"
	"hash/fnv"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/bohica-labs/dataweaver/retry"
)

// entry is what a position has of one file.
type entry struct {
	mark
	name uint64 // hash of the file's name
	id   uint64 // folded identity; 0: unknown
	size int64  // of the file as it is stored, when it was last read
	was  int64  // when it was last modified before that, in milliseconds since 1970
	done bool   // it is finished
	kept bool   // and not to be tidied away: it was read when there were no entries yet
	seq  int64  // of the position in which it was done first; not stored

	path, called string // as it was last found; not stored
	time, found  int64  // of its last modification at that time, and its size
	there        bool
	settled      bool // it is in turns.body
}

// unread reports whether there was something in the file, when it was last looked at, that is not read.
func (e *entry) unread() bool {
	return !e.done && (e.size < 0 || e.offset < e.size) || e.path != "" && e.size >= 0 && e.found > e.size
}

// chore is a file that is to be moved or deleted.
type chore struct {
	leftover
	folded     uint64
	path, name string
}

func hashOf(name string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(name))
	return h.Sum64()
}

func (f *File[T]) folderOrParent() string {
	if f.isPattern() {
		return f.folder()
	}
	return filepath.Dir(f.path)
}

// bucketFiles returns the files that fall to bucket i.
func (f *File[T]) bucketFiles(i int) ([]found, error) {
	if !f.isPattern() {
		info, err := f.fsys.Stat(f.path)
		if gone(err) || bucket(filepath.Base(f.path), f.Buckets) != i {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		return []found{{name: filepath.Base(f.path), path: f.path, size: info.Size(), info: info}}, nil
	}
	files, err := f.match()
	return slices.DeleteFunc(files, func(x found) bool { return bucket(bucketName(x.name), f.Buckets) != i }), err
}

// bucketName is what of a name says which bucket a followed file falls to: without what rotation adds to it, so that it stays in its bucket.
func bucketName(name string) string {
	from := strings.LastIndexByte(name, '/') + 2
	for i := from; i < len(name); i++ {
		if strings.IndexByte(".-_~", name[i]) >= 0 && strings.Contains(name[from-1:i], ".") && isRotationSuffix(name[i:]) {
			return name[:i]
		}
	}
	return name
}

// look looks up the files, and makes the queue of those there is something to read of.
func (r *turns[T]) look() error {
	began := time.Now()
	files, err := r.list()
	r.took = time.Since(began)
	r.looked = time.Now()
	if err != nil {
		if r.follow && !r.first {
			return retry.Transient(err)
		}
		return err
	}
	if !r.follow && r.first && len(files) == 0 && !r.bucketed {
		return errNoMatch
	}
	for _, e := range r.entries {
		e.there = false
	}
	var fresh []*entry
	r.queue, r.later = r.queue[:0], 0
	for _, x := range files {
		e, err := r.find(x)
		if err != nil {
			return err
		}
		if e == nil {
			continue
		}
		if e.size < 0 {
			fresh = append(fresh, e)
		}
		if r.wants(e) {
			r.queue = append(r.queue, e)
			r.later += max(e.found-e.offset, 0)
		}
	}
	r.below = nil
	if err := r.match(fresh); err != nil {
		return err
	}
	r.queue = slices.DeleteFunc(r.queue, func(e *entry) bool { return e.done && e.size == e.found && e.was == e.time/1e6 })
	if err := r.forget(len(files) > 0); err != nil {
		return err
	}
	if r.file.Order == ByTime {
		slices.SortStableFunc(r.queue, func(a, b *entry) int { return cmp.Or(cmp.Compare(a.time, b.time), strings.Compare(a.called, b.called)) })
	}
	r.first = false
	r.behind.Store(r.later)
	return nil
}

// find returns the entry of a file, which it makes if there is none; nil if the file isn't one to be read.
func (r *turns[T]) find(x found) (*entry, error) {
	if r.file.isTidied(x.path) {
		return nil, nil
	}
	info := x.info
	if info == nil {
		var err error
		if info, err = r.file.lister().Stat(x.path); gone(err) && !r.first {
			return nil, nil // tidied away
		} else if err != nil {
			return nil, advice(err, "check the path, and the folder the program runs in")
		}
	}
	if !info.Mode().IsRegular() {
		if r.follow {
			return nil, nil
		}
		return nil, regular(info, x.path)
	}
	name := hashOf(x.name)
	id := r.file.identify(info, x.path, nil).folded()
	e := r.entries[name]
	if e != nil && (e.id != 0 && id != 0 && e.id != id || info.Size() < e.size && e.size == e.offset) {
		if e.path != "" && e.unread() {
			if err := r.file.vanished(r.log, "a file was replaced before it was read to its end: what came behind is lost", "path", x.path, "read up to byte", e.offset); err != nil {
				return nil, err
			}
		}
		// The file that had this name may have another one now.
		delete(r.entries, name)
		r.dirty = true
		if e.id != 0 && e.id != id {
			e.there = false
			e.name = ^name
			for r.entries[e.name] != nil {
				e.name--
			}
			r.entries[e.name] = e
		}
		e = nil
	}
	if e == nil {
		e = &entry{name: name, id: id, size: -1, mark: mark{line: 1}}
		if p := r.below; p != nil && strings.Compare(x.name, p.name) < 0 {
			e.done, e.kept, e.size, e.offset, e.was = true, true, x.size, x.size, info.ModTime().UnixMilli()
			r.dirty = true
		} else if p != nil && x.name == p.name {
			e.mark, e.done, e.kept, e.size = p.mark, p.done, p.done, x.size
			if p.done { // otherwise it is wanted
				e.was = info.ModTime().UnixMilli()
			}
			r.dirty = true
		}
		r.entries[name] = e
	}
	e.path, e.called, e.there = x.path, x.name, true
	if e.id == 0 {
		e.id = id
	}
	e.time, e.found = info.ModTime().UnixNano(), x.size
	if x.info == nil {
		e.found = info.Size()
	}
	return e, nil
}

// wants reports whether there may be something to read.
func (r *turns[T]) wants(e *entry) bool {
	switch {
	case e.size < 0, e.found != e.size, e.time/1e6 != e.was:
		return true
	case e.done:
		return false
	case !r.follow, r.finishing.Load():
		return true
	}
	after := r.file.FinishedAfter
	return after > 0 && time.Since(time.Unix(0, e.time)) >= after
}

// match finds those fresh files that have only been given another name.
func (r *turns[T]) match(fresh []*entry) error {
	var left []*entry // entries without a file
	for _, e := range r.entries {
		if !e.there {
			left = append(left, e)
		}
	}
	if len(left) == 0 || len(fresh) == 0 {
		return nil
	}
	slices.SortFunc(left, func(a, b *entry) int { return cmp.Compare(a.name, b.name) })
	for _, e := range fresh {
		var head []byte
		for i, old := range left {
			if old == nil || old.id != 0 && e.id != 0 && old.id != e.id || old.print.size == 0 {
				continue
			}
			if old.id == 0 && old.print.size < shortPrint {
				continue
			}
			if head == nil {
				var err error
				if head, err = r.file.headOf(e.path); err != nil {
					return ignoreGone(err)
				}
			}
			if old.print.size > len(head) || fingerprintOf(head[:old.print.size]) != old.print {
				continue
			}
			left[i] = nil
			delete(r.entries, old.name)
			e.mark, e.done, e.kept, e.size, e.was, e.seq = old.mark, old.done, old.kept, old.size, old.was, old.seq
			r.dirty = true
			break
		}
	}
	return nil
}

// headOf returns how the content of a file begins.
func (f *File[T]) headOf(path string) ([]byte, error) {
	file, err := f.openToRead(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	c, err := contentsOf(file, nil)
	if err != nil {
		return nil, err
	}
	head := make([]byte, fingerprintBytes)
	n, err := io.ReadFull(c, head)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return head[:n], err
}

// forget drops entries of files that are gone. A folder in which nothing is left may be one that isn't mounted: then none is dropped.
func (r *turns[T]) forget(some bool) error {
	if !some && (r.follow || len(r.entries) > 1) {
		return nil
	}
	for name, e := range r.entries {
		if e.there || e == r.cur {
			continue
		}
		if e.unread() {
			err := r.file.vanished(r.log, "a file is gone before it was read to its end: what came behind is lost", "path", cmp.Or(e.path, "unknown, an earlier run has read from it"), "read up to byte", e.offset)
			if err != nil {
				return err
			}
		}
		delete(r.entries, name)
		r.dirty, r.moved = true, true
	}
	return nil
}

func (r *turns[T]) chore(e *entry, seq int64) chore {
	return chore{leftover: leftover{print: e.print, size: e.size, seq: seq}, folded: e.id, path: e.path, name: e.called}
}
