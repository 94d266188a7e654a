package file

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"time"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/internal/durable"
)

// A commit is made in one order: what parts hold durable, the state, which says what counts and which parts are complete, then the complete ones into their places, and last
// the manifest. Whatever is cut short behind the state is done again by the next writer: it finds a part in its own folder, in its place, or in both.

// settling is how a state is made.
type settling struct {
	commit   bool   // all that was written counts from now on, with the envelope; otherwise what counted before
	envelope []byte // of a commit
	all      bool   // every part is complete
}

// commit makes durable what was written, with the envelope if it is one that keeps the checkpoint.
func (s *partSet) commit(ctx context.Context, envelope []byte, keeps bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil || !keeps && !s.pending() {
		return s.err
	}
	if keeps {
		envelope = append([]byte{}, envelope...)
	}
	s.err = s.locked(ctx, func() error { return s.settle(settling{commit: true, envelope: envelope}) })
	s.arm()
	return s.err
}

// pending reports whether there is anything to commit.
func (s *partSet) pending() bool {
	if s.sealed > 0 {
		return true
	}
	for _, p := range s.all {
		if !p.clean() || s.old(p) {
			return true
		}
	}
	return false
}

// clean reports whether all that the part has counts.
func (p *part) clean() bool { return p.counts.Number != 0 && p.Records == p.counts.Records }

func (s *partSet) old(p *part) bool { return time.Since(p.begun) >= s.age }

// settle saves what counts and publishes what is complete. The caller has the lock and is the owner.
func (s *partSet) settle(how settling) error {
	next := s.last
	next.Next, next.Manifest, next.Open, next.Done = s.next, s.manifest, nil, nil
	if how.commit {
		next.envelope = how.envelope
	}
	end := time.Now().UnixNano()
	var done []*part
	for _, p := range s.all {
		if how.commit {
			if err := s.spill(p); err != nil {
				return err
			}
		}
		whole := (p.sealed || how.all || s.old(p)) && (how.commit || p.clean())
		if p.dirty && (whole || how.commit && !s.lazy) {
			if err := s.sync(p); err != nil {
				return err
			}
		}
		switch {
		case whole:
			e := p.partEntry
			e.End = end
			next.Done = append(next.Done, e)
			done = append(done, p)
		case how.commit:
			next.Open = append(next.Open, p.partEntry)
		case p.counts.Number != 0:
			next.Open = append(next.Open, p.counts)
		}
	}
	if s.added && (!s.lazy || len(done) > 0) {
		if err := s.fsys.SyncDir(s.dir); err != nil {
			return err
		}
		s.added = false
	}
	if err := s.save(next, !s.lazy || len(done) > 0); err != nil {
		return err
	}
	for _, p := range s.all {
		if how.commit {
			p.counts = p.partEntry
		}
	}
	if err := s.leave(done); err != nil {
		return err
	}
	return s.publish(next.Done)
}

// sync makes durable what a part holds.
func (s *partSet) sync(p *part) error {
	if err := s.openPart(p); err != nil {
		return err
	}
	err := p.file.Sync()
	p.dirty = err != nil
	return err
}

// leave lets go of parts that are complete.
func (s *partSet) leave(done []*part) error {
	if len(done) == 0 {
		return nil
	}
	var errs []error
	for _, p := range done {
		errs = append(errs, s.shut(p))
		s.setBuffer(p, nil)
		if p.sealed {
			s.sealed--
		} else {
			p.sealed = true // for the writers that remember it
			delete(s.parts, p.Key)
		}
		p.Number = 0
	}
	s.all = slices.DeleteFunc(s.all, func(p *part) bool { return p.Number == 0 })
	s.active = 0
	return errors.Join(errs...)
}

// save makes next the state.
func (s *partSet) save(next partState, synced bool) error {
	data, err := next.encode()
	if err != nil {
		return err
	}
	var fsys durable.FS = s.fsys
	if !synced {
		fsys = durable.Unsynced(fsys)
	}
	if err := durable.WriteFile(fsys, s.in(stateName), data, sidecarPerm); err != nil {
		return err
	}
	s.last = next
	return nil
}

// publish brings complete parts to their places and writes them down in the manifest. It can be done again, from whatever point on. A part loses its name in the set's own folder
// only when the other one is durable.
func (s *partSet) publish(done []partEntry) error {
	if len(done) == 0 {
		return nil
	}
	folders := map[string]bool{}
	for i := range done {
		e := &done[i]
		if there, err := s.place(e, folders); err != nil {
			return err
		} else if there {
			folders[path.Dir(e.name())] = true
		}
	}
	for folder := range folders {
		if err := s.fsys.SyncDir(folder); err != nil {
			return err
		}
	}
	for i := range done {
		if err := s.fsys.Remove(s.temp(done[i].Number)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	lines, err := manifestOf(done)
	if err != nil {
		return err
	}
	if s.manifest, err = writeManifest(s.fsys, s.in(manifestName), s.manifest, lines); err != nil {
		return err
	}
	return s.fsys.SyncDir(s.dir)
}

// place gives a part its own name, beside the one it has; false: it has been there, and somebody has taken it away. Made are folders that are there.
func (s *partSet) place(e *partEntry, made map[string]bool) (there bool, err error) {
	name, temp := e.name(), s.temp(e.Number)
	from, err := s.fsys.Stat(temp)
	if errors.Is(err, fs.ErrNotExist) {
		_, err := s.fsys.Stat(name) // it may have been renamed and not have come to the sync
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		return err == nil, s.leads(err)
	}
	if err != nil {
		return false, err
	}
	if folder := path.Dir(name); !made[folder] {
		if err := durable.MkdirAll(s.fsys, folder, folderPerm); err != nil {
			return false, s.leads(err)
		}
	}
	err = s.fsys.Link(temp, name)
	if err == nil || !errors.Is(err, fs.ErrExist) && !durable.NoLinks(err) {
		return true, s.leads(err)
	}
	to, statErr := s.fsys.Stat(name)
	switch {
	case errors.Is(statErr, fs.ErrNotExist) && durable.NoLinks(err): // nobody else is to write here
		return true, s.leads(s.fsys.Rename(temp, name))
	case statErr != nil:
		return false, s.leads(statErr)
	case durable.SameFile(from, to):
		return true, nil
	}
	return false, s.taken(name)
}

// arm has parts that grow old published if nobody writes.
func (s *partSet) arm() {
	var first time.Time // of those that a commit isn't needed for
	s.oldest = time.Time{}
	for _, p := range s.all {
		if s.oldest.IsZero() || p.begun.Before(s.oldest) {
			s.oldest = p.begun
		}
		if p.clean() && (first.IsZero() || p.begun.Before(first)) {
			first = p.begun
		}
	}
	switch {
	case s.closed || s.err != nil:
	case first.IsZero():
		if s.timer != nil {
			s.timer.Stop()
		}
	case s.timer == nil:
		s.timer = time.AfterFunc(s.age-time.Since(first), s.ripen)
	default:
		s.timer.Reset(s.age - time.Since(first))
	}
}

// ripen publishes parts that have become old since the last commit and have nothing that doesn't count. It doesn't need the engine for that: the envelope stays the same.
func (s *partSet) ripen() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.err != nil {
		return
	}
	if slices.ContainsFunc(s.all, func(p *part) bool { return p.clean() && s.old(p) }) {
		s.err = s.locked(context.Background(), func() error { return s.settle(settling{}) })
	}
	s.arm()
}

// close publishes what counts, if it is all there is or nobody will come back for it, and lets go of everything.
func (s *partSet) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.timer != nil {
		s.timer.Stop()
	}
	var errs []error
	if s.err == nil && s.last.owner != 0 {
		err := s.locked(context.Background(), s.end)
		if !errors.Is(err, weaver.ErrFenced) { // then it is the other's business
			errs = append(errs, err)
		}
	}
	for _, p := range s.all {
		if p.file != nil {
			errs = append(errs, p.file.Close())
		}
	}
	s.parts, s.all, s.opened = nil, nil, nil
	errs = append(errs, s.guard.Close(), s.fsys.Close()) // which gives back the lock
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("%s: %w", s.show(s.dir), err)
	}
	return nil
}

func (s *partSet) end() error {
	for _, p := range s.all {
		if p.clean() {
			continue
		}
		if !s.shared {
			return nil
		}
		if err := errors.Join(s.shut(p), s.cutBack(p)); err != nil {
			return err
		}
	}
	s.all = slices.DeleteFunc(s.all, func(p *part) bool { return p.counts.Number == 0 })
	if len(s.all) == 0 {
		return nil
	}
	return s.settle(settling{all: true})
}

// cutBack takes from a part, which is not open, what doesn't count.
func (s *partSet) cutBack(p *part) error {
	p.partEntry = p.counts
	if !p.made {
		return nil
	}
	if p.counts.Number == 0 {
		return s.fsys.Remove(p.temp)
	}
	f, err := s.fsys.OpenFile(p.temp, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	p.dirty = true
	return errors.Join(f.Truncate(p.counts.Bytes), f.Close())
}
