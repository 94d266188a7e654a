package file

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"

	"github.com/bohica-labs/dataweaver/retry"
)

// appender is a file that the writers of a File share which keep no checkpoint: at-least-once. It has the lock from the first to the last of them.
type appender struct {
	mu sync.Mutex // held over I/O: there is one file
	*tail
	err    error  // of the file: nothing is known about it any more
	header []byte // that the file begins with
}

// share returns the appender of all writers without a checkpoint. The first one opens the file.
func (f *File[T]) share(ctx context.Context, w *writer[T]) (*appender, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := &f.sink
	if s.keeper != nil {
		return nil, retry.Fatal(fmt.Errorf("%s: a writer of it keeps a checkpoint in it, and another would write past that: give them files of their own", f))
	}
	if s.shared == nil {
		a, err := f.openShared(ctx, w, s.anew)
		if err != nil {
			return nil, err
		}
		s.shared, s.anew = a, false
	}
	s.sharedBy++
	return s.shared, nil
}

// openShared opens the file to be appended to.
func (f *File[T]) openShared(ctx context.Context, w *writer[T], anew bool) (_ *appender, err error) {
	t, err := f.openTail(w.stored)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.file.Close())
		}
	}()
	if err := t.lock(ctx); err != nil {
		return nil, err
	}
	if err := f.notKept(anew); err != nil {
		return nil, err
	}
	if err := t.measure(); err != nil {
		return nil, err
	}
	maker, _ := w.encoder.(blockMaker)
	var loose []byte
	if maker != nil {
		loose = maker.mark()
	}
	torn, err := t.tornHeader(w.header, loose)
	if err != nil {
		return nil, err
	}
	if (anew || torn) && t.size > 0 {
		if err := t.cut(0); err != nil {
			return nil, err
		}
	}
	known, err := t.untorn(ctx)
	if err != nil {
		return nil, err
	}
	t.synced = t.size
	if t.size > 0 {
		if err := t.begins(w.header, w.encoder); err != nil {
			return nil, err
		}
		a := &appender{tail: t, header: w.header}
		if maker != nil {
			a.header = maker.begins()
		} else if late := lateOf(w.encoder); late != nil {
			if a.header, err = late.header(); err != nil {
				return nil, err
			}
		}
		return a, t.mend(w.encoder, known)
	}
	if err := f.syncFolder(); err != nil {
		return nil, err
	}
	if len(w.header) > 0 { // at once, so that no row is ever behind a header that is not all there
		if err := errors.Join(t.packed(w.header, t.write), t.sync()); err != nil {
			return nil, err
		}
	}
	return &appender{tail: t, header: w.header}, nil
}

// notKept sees to it that no pipeline keeps a checkpoint in the file: its next run would cut off what is appended here.
func (f *File[T]) notKept(anew bool) error {
	path := f.path + sidecarSuffix
	_, err := f.disk().Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !anew:
		return retry.Fatal(fmt.Errorf("%s keeps the checkpoint of a pipeline that writes %s, which would cut off what is appended here: give this one a path of its own", path, f.path))
	}
	if err := f.disk().Remove(path); err != nil {
		return err
	}
	return f.syncFolder()
}

// syncFolder makes durable that the file is there, or that its sidecar isn't.
func (f *File[T]) syncFolder() error { return f.disk().SyncDir(filepath.Dir(f.path)) }

// write appends p.
func (a *appender) write(p []byte) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.locked(func() error { return a.tail.write(p) })
}

// flush appends p and makes all durable that anybody has appended.
func (a *appender) flush(p []byte) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.locked(func() error {
		if err := a.tail.write(p); err != nil {
			return err
		}
		return a.sync()
	})
}

// locked does something unless something failed before: a failed sync may have lost what any of the writers wrote.
func (a *appender) locked(do func() error) error {
	if a.err == nil {
		a.err = do()
	}
	return a.err
}

// release gives up w's share. The last one cuts away what nobody flushed, which whoever wrote it writes again, and closes the file.
func (f *File[T]) release() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := &f.sink
	if s.sharedBy--; s.sharedBy > 0 {
		return nil
	}
	a := s.shared
	s.shared = nil
	return errors.Join(a.undo(), a.complete(), a.file.Close())
}

// undo cuts away what was not flushed, unless another program has appended to it.
func (a *appender) undo() error {
	if a.size <= a.synced {
		return nil
	}
	info, err := a.file.Stat()
	if err != nil || info.Size() != a.size {
		return err
	}
	return a.cut(a.synced)
}
