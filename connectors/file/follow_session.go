package file

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/retry"
)

// tracked is the split of a path that may go, between the session and its reader.
type tracked struct {
	ended atomic.Bool // the reader has come to its end
}

func splitOfPath(path string) string { return filepath.ToSlash(path) }
func pathOfSplit(id string) string   { return filepath.FromSlash(id) }
func bucketOfSplit(i, n int) string  { return fmt.Sprintf("%d-of-%d", i+1, n) }

// followSplits opens the session of a File that is followed.
func (f *File[T]) followSplits() weaver.Splits {
	switch {
	case f.Buckets > 0:
		s := &splits{}
		for i := range f.Buckets {
			s.all = append(s.all, weaver.Split{ID: bucketOfSplit(i, f.Buckets), Handle: bucketNumber(i)})
		}
		return s
	case !f.isPattern():
		return &splits{all: []weaver.Split{{}}}
	}
	return &discovery[T]{
		file: f, known: make(map[string]*tracked), finish: make(chan struct{}),
		sub: f.following.hub.join(filepath.Clean(f.folder()), true),
	}
}

// discovery tells which paths match, as they come. A path that is gone is no business of it: its reader finds that out, and ends the split.
type discovery[T any] struct {
	file  *File[T]
	sub   *subscriber
	known map[string]*tracked // by ID of the split
	held  bool                // what looks rotated was held back once
	found bool                // a look has succeeded
	took  time.Duration       // the last look
	ended bool

	finishing atomic.Bool
	finish    chan struct{}
	once      sync.Once
}

var _ weaver.Finisher = (*discovery[int])(nil)

// Next implements weaver.Splits.
func (d *discovery[T]) Next(ctx context.Context) (weaver.Change, error) {
	for !d.ended {
		last := d.finishing.Load()
		change, again, err := d.look()
		if err != nil {
			err = fmt.Errorf("%s: %w", d.file, err)
			if d.found {
				err = retry.Transient(err) // it could be done before
			}
			return weaver.Change{}, err
		}
		d.ended = last && !again
		if len(change.Add) > 0 {
			return change, nil
		}
		if d.ended {
			break
		}
		if err := d.wait(ctx); err != nil {
			return weaver.Change{}, err
		}
	}
	return weaver.Change{}, io.EOF
}

// wait waits until it is time to look again.
func (d *discovery[T]) wait(ctx context.Context) error {
	finish := d.finish
	if d.finishing.Load() {
		finish = nil
	}
	busy := 19 * d.took
	_, err := d.file.following.hub.await(ctx, d.sub, max(or(d.file.PollEvery, defaultPollEvery), busy), max(d.file.following.pace.filled().poll, busy), finish)
	return err
}

// look returns the paths that are new. Again says that some were held back.
func (d *discovery[T]) look() (change weaver.Change, again bool, err error) {
	began := time.Now()
	files, err := d.file.match()
	d.took = time.Since(began)
	if err != nil {
		return change, false, err
	}
	d.found = true
	there := make(map[string]bool, len(files))
	for _, file := range files {
		there[file.path] = true
	}
	hold := !d.held
	for _, file := range files {
		id := splitOfPath(file.path)
		known := d.known[id]
		if known != nil && !known.ended.Load() || file.info != nil && !file.info.Mode().IsRegular() || d.file.isTidied(file.path) {
			continue
		}
		switch of, rotated := d.rotatedFrom(file.path, there); {
		case rotated:
			continue
		case of && hold && known == nil:
			again, d.held = true, true // in the middle of a rotation, its path may be missing for a moment
			continue
		}
		if known != nil {
			change.Revoke = append(change.Revoke, id)
		}
		t := &tracked{}
		d.known[id] = t
		change.Add = append(change.Add, weaver.Split{ID: id, Handle: t})
	}
	d.held = true
	return change, again, nil
}

// rotatedFrom reports whether a path looks like an older generation of some other, and whether it is one: of a path that is there, or was.
func (d *discovery[T]) rotatedFrom(path string, there map[string]bool) (looks, is bool) {
	followed := func(p string) bool { return there[p] || d.known[splitOfPath(p)] != nil }
	if d.file.Rotated != "" {
		for p := range there {
			if p != path && filepath.Dir(p) == filepath.Dir(path) {
				if l := d.file.lineageOf(p); l.folder == filepath.Dir(path) && l.has(filepath.Base(path)) {
					return true, true
				}
			}
		}
		return false, false
	}
	folder, name := filepath.Split(path)
	for i := 1; i < len(name); i++ {
		if strings.IndexByte(".-_~", name[i]) >= 0 && isRotationSuffix(name[i:]) {
			looks = true
			if followed(folder + name[:i]) {
				return true, true
			}
		}
	}
	return looks, false
}

// Finish implements weaver.Finisher.
func (d *discovery[T]) Finish(context.Context) error {
	d.finishing.Store(true)
	d.once.Do(func() { close(d.finish) })
	return nil
}

// Close implements weaver.Splits.
func (d *discovery[T]) Close() error {
	d.file.following.hub.leave(d.sub)
	return nil
}
