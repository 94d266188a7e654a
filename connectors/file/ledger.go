package file

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/internal/durable"
	"github.com/bohica-labs/dataweaver/retry"
)

// ledger is a file whose sidecar says how much of it counts. Only what Commit made durable before it wrote the sidecar counts, so that both always agree.
//
// Everything that changes one of the two happens under the lock of the data file and after a look at who owns the sidecar. So a writer that was taken over
// can't change anything any more, however late it wakes up: before its look it has no lock, and as long as it has the lock nobody takes over. Where the
// file system has no locks, that look is all there is, and a writer that stands still between it and what it does next may do harm.
type ledger struct {
	*tail
	sidecarPath string
	last        sidecar // as this writer wrote it
}

// claim is what a writer takes a file over with.
type claim struct {
	pipeline, split string
	exists          IfExists
	anew            bool
	header          []byte
	mender          mender
}

// restore takes the file over, cuts it back to what counts and returns the envelope, nil if there is none.
func (l *ledger) restore(ctx context.Context, c claim) (envelope []byte, err error) {
	if err := l.lock(ctx); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.unlock()) }()
	if err := l.measure(); err != nil {
		return nil, err
	}
	next, err := l.standing(ctx, c)
	if err != nil {
		return nil, err
	}
	if err := durable.RemoveTemps(l.fsys, l.sidecarPath); err != nil {
		return nil, err
	}
	next.epoch++
	next.owner = rand.Uint64() | 1 // 0 is nobody
	next.pipeline, next.split = c.pipeline, c.split
	if err := l.save(next); err != nil {
		return nil, err
	}
	if l.size > next.length {
		if err := l.cut(next.length); err != nil {
			return nil, err
		}
	}
	l.synced = l.size
	return next.envelope, nil
}

// standing returns what counts, as the sidecar says or, without one, as IfExists does.
func (l *ledger) standing(ctx context.Context, c claim) (sidecar, error) {
	s, found, err := readSidecar(l.fsys, l.sidecarPath)
	var damaged *damagedError
	switch {
	case c.anew && (err == nil || errors.As(err, &damaged)):
		return sidecar{epoch: s.epoch}, nil
	case errors.As(err, &damaged):
		return sidecar{}, retry.Fatal(err)
	case err != nil:
		return sidecar{}, err
	case found:
		return s, l.agrees(s, c)
	case l.size == 0:
		return sidecar{}, nil
	case c.exists == Refuse:
		return sidecar{}, retry.Fatal(fmt.Errorf("%s is there already and holds what no earlier run of a pipeline wrote (there is no %s): remove it, or set IfExists to file.Append or file.Overwrite",
			l.path, l.sidecarPath))
	}
	known, err := l.untorn(ctx)
	if err != nil || l.size == 0 {
		return sidecar{}, err
	}
	if err := l.begins(c.header, c.mender); err != nil {
		return sidecar{}, err
	}
	if b, ok := c.mender.(cutter); ok && known == nil { // what a stranger wrote is not for us to cut
		if n, err := b.whole(l.file, l.size); err != nil {
			return sidecar{}, err
		} else if n < l.size {
			return sidecar{}, retry.Fatal(fmt.Errorf("%s ends within a record: %d bytes behind the last whole one: cut them off, or give this one a path of its own", l.path, l.size-n))
		}
	}
	if err := l.mend(c.mender, known); err != nil {
		return sidecar{}, err
	}
	l.synced = -1 // whoever wrote it may not have synced it
	if err := l.sync(); err != nil {
		return sidecar{}, err
	}
	s = sidecar{length: l.size}
	s.tail, err = l.sum(l.size)
	return s, err
}

// agrees finds out whether the file is the one that the sidecar is about, and the writer one that may continue it.
func (l *ledger) agrees(s sidecar, c claim) error {
	switch {
	case s.split != c.split:
		return retry.Fatal(fmt.Errorf("%s: %w: %s says that it has %q, and %q comes", l.path, errOneSplit, l.sidecarPath, s.split, c.split))
	case s.pipeline != c.pipeline && s.pipeline != "":
		return retry.Fatal(fmt.Errorf("%s was written by pipeline %q (%s says), and this is %q: give this one a file of its own, or set IfExists to file.Overwrite",
			l.path, s.pipeline, l.sidecarPath, c.pipeline))
	}
	changed := func(how string) error {
		return retry.Fatal(fmt.Errorf("%s was changed by somebody else since a pipeline wrote it: %s: put it back as it was, or remove it and %s to begin anew", l.path, how, l.sidecarPath))
	}
	if l.size < s.length {
		return changed(fmt.Sprintf("it has %d bytes instead of at least %d", l.size, s.length))
	}
	if s.length == 0 {
		return nil
	}
	sum, err := l.sum(s.length)
	if err != nil {
		return err
	}
	if sum != s.tail {
		return changed(fmt.Sprintf("the bytes before %d are others", s.length))
	}
	return l.begins(c.header, c.mender)
}

// write appends p, if the file is still this writer's.
func (l *ledger) write(ctx context.Context, p []byte) (err error) {
	if err := l.lock(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.unlock()) }()
	if err := l.owned(); err != nil {
		return err
	}
	return l.tail.write(p)
}

// commit appends p and makes it durable, and then the envelope together with the length.
func (l *ledger) commit(ctx context.Context, p, envelope []byte) (err error) {
	if err := l.lock(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.unlock()) }()
	if err := l.owned(); err != nil {
		return err
	}
	if err := l.tail.write(p); err != nil {
		return err
	}
	if err := l.sync(); err != nil {
		return err
	}
	// The open file may be one that has no name any more.
	info, err := l.fsys.Stat(l.path)
	if err != nil {
		return err
	}
	if info.Size() != l.size {
		return retry.Fatal(fmt.Errorf("%s was replaced while it was written: put it back, or remove it and %s to begin anew", l.path, l.sidecarPath))
	}
	next := l.last
	next.length = l.size
	if next.tail, err = l.sum(l.size); err != nil {
		return err
	}
	next.envelope = append([]byte{}, envelope...)
	return l.save(next)
}

// close cuts away what was not committed, where that can be done at once, for those who read the file meanwhile. It counts for nothing anyway.
func (l *ledger) close() error { return errors.Join(l.tidy(), l.file.Close()) }

func (l *ledger) tidy() (err error) {
	if l.last.owner == 0 {
		return nil // it never was this writer's
	}
	ok, err := tryLock(l.file)
	if !ok || err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.unlock()) }()
	// The length comes from the sidecar: a commit that failed may have come through.
	s, found, err := readSidecar(l.fsys, l.sidecarPath)
	if err != nil || !found || s.owner != l.last.owner {
		return err
	}
	if l.behind {
		if err := l.complete(); err != nil {
			return err
		}
		if err := durable.WriteFile(l.fsys, l.sidecarPath, s.encode(), sidecarPerm); err != nil {
			return err
		}
	}
	info, err := l.file.Stat()
	if err != nil || info.Size() != l.size || l.size <= s.length { // somebody else has appended to it
		return err
	}
	return l.cut(s.length)
}

// save makes s the sidecar.
func (l *ledger) save(s sidecar) error {
	fsys := l.fsys
	if l.lazy {
		fsys = durable.Unsynced(fsys)
	}
	if err := durable.WriteFile(fsys, l.sidecarPath, s.encode(), sidecarPerm); err != nil {
		return err
	}
	l.last = s
	return nil
}

// owned finds out whether the sidecar is still as this writer left it.
func (l *ledger) owned() error {
	owner, epoch, err := readOwner(l.fsys, l.sidecarPath)
	switch {
	case err != nil:
		return err
	case owner == 0:
		return retry.Fatal(fmt.Errorf("%s is gone: it was there when this writer began", l.sidecarPath))
	case owner != l.last.owner:
		return fmt.Errorf("%s: %w: its epoch is %d, this writer's %d", l.path, weaver.ErrFenced, epoch, l.last.epoch)
	}
	return nil
}

// sidecarPerm lets nobody else read positions and the state of stages.
const sidecarPerm = 0o600
