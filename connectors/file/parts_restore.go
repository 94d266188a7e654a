package file

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/bohica-labs/dataweaver/internal/durable"
	"github.com/bohica-labs/dataweaver/retry"
)

// partClaim is what a writer takes parts over with.
type partClaim struct {
	pipeline, split string
	splits          bool // each has parts of its own
	shared          bool // by writers that keep no checkpoint
}

// begin takes the parts over from whoever had them: from then on nobody else changes anything. Then it brings them to what the state says.
func (s *partSet) begin(ctx context.Context, c partClaim) (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer func() { s.err = err }()
	if err := lockFile(ctx, s.guard, s.show(s.in(lockName))); err != nil {
		return err
	}
	if s.shared = c.shared; !s.shared {
		defer func() { err = errors.Join(err, unlock(s.guard)) }()
	}
	if err := s.alone(c); err != nil {
		return err
	}
	next, err := s.standing(c)
	if err != nil {
		return err
	}
	if err := durable.RemoveTemps(s.fsys, s.in(stateName)); err != nil {
		return err
	}
	reshaped := next.Shape != s.shape
	next.epoch++
	next.owner = rand.Uint64() | 1 // 0 is nobody
	next.Pipeline, next.Split, next.Shape = []byte(c.pipeline), []byte(c.split), s.shape
	if err := s.save(next, !s.lazy); err != nil {
		return err
	}
	s.added = s.lazy
	s.next, s.manifest, s.restored = next.Next, next.Manifest, next.envelope
	if err := s.publish(next.Done); err != nil {
		return err
	}
	if err := s.restore(next.Open); err != nil {
		return err
	}
	if err := s.tidy(); err != nil {
		return err
	}
	if (reshaped || s.shared) && len(s.all) > 0 {
		if err := s.settle(settling{all: true}); err != nil {
			return err
		}
	}
	s.arm()
	return nil
}

// alone finds out whether an earlier run kept its splits apart in another way: then what that one had done wouldn't be known.
func (s *partSet) alone(c partClaim) error {
	if c.shared {
		return nil
	}
	entries, err := s.fsys.ReadDir(ownFolder)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		name := path.Join(ownFolder, entry.Name(), stateName)
		if ofSplit := strings.HasPrefix(entry.Name(), splitSet); ofSplit == c.splits || !ofSplit && entry.Name() != oneSet {
			continue
		}
		_, err := s.fsys.Stat(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return err
		case c.splits:
			return retry.Fatal(fmt.Errorf("an earlier run wrote here without {split} in the path (there is %s): take it out again, or take another root folder", s.show(name)))
		default:
			return retry.Fatal(fmt.Errorf("an earlier run wrote here with {split} in the path (there is %s): put it back, or take another root folder", s.show(name)))
		}
	}
	return nil
}

// standing returns what counts.
func (s *partSet) standing(c partClaim) (partState, error) {
	name := s.in(stateName)
	was, found, err := readState(s.fsys, name)
	switch {
	case found && err != nil:
		return was, retry.Fatal(fmt.Errorf("%s is damaged: %w: restore it from a backup, or take another root folder to begin anew", s.show(name), err))
	case err != nil || !found:
		return was, err
	case string(was.Split) != c.split:
		return was, retry.Fatal(fmt.Errorf("%s has the parts of split %q, and %q comes: put {split} into the path, so that each has its own (in another root folder, as this one keeps a position "+
			"for one), or read the source as one split", s.show(s.dir), was.Split, c.split))
	case string(was.Pipeline) != c.pipeline && len(was.Pipeline) > 0:
		return was, retry.Fatal(fmt.Errorf("%s has the parts of pipeline %q, and this is %q: give this one a root folder of its own", s.show(s.dir), was.Pipeline, c.pipeline))
	}
	return was, nil
}

// restore takes up parts that were not complete, as far as they count.
func (s *partSet) restore(open []partEntry) error {
	now := time.Now()
	for i := range open {
		p := &part{partEntry: open[i], counts: open[i], temp: s.temp(open[i].Number), made: true}
		info, err := s.fsys.Stat(p.temp)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return s.changed(p, "it is gone")
		case err != nil:
			return err
		case info.Size() < p.Bytes:
			return s.changed(p, fmt.Sprintf("it has %d bytes instead of at least %d", info.Size(), p.Bytes))
		case info.Size() > p.Bytes:
			if err := s.cutBack(p); err != nil {
				return err
			}
		}
		p.dirty = true // whoever was here before may have cut it without coming to the sync
		// The clock of the wall may have been set since; a part is never older than that says, nor younger than 0.
		p.begun = now.Add(-max(0, time.Duration(now.UnixNano()-p.Begin)))
		s.parts[p.Key] = p
		s.all = append(s.all, p)
	}
	return nil
}

func (s *partSet) changed(p *part, how string) error {
	return retry.Fatal(fmt.Errorf("%s was changed by somebody else, or lost with the power, since it was written: %s: put it back as it was, or take another root folder to begin anew",
		s.show(p.temp), how))
}

// temp is the name of a part that is not complete.
func (s *partSet) temp(number uint64) string {
	return s.in(strconv.FormatUint(number, 10) + partSuffix)
}

// tidy removes parts that nothing of counts.
func (s *partSet) tidy() error {
	entries, err := s.fsys.ReadDir(s.dir)
	if err != nil {
		return err
	}
	known := map[string]bool{}
	for _, p := range s.all {
		known[path.Base(p.temp)] = true
	}
	for _, entry := range entries {
		if strings.HasSuffix(entry.Name(), partSuffix) && !known[entry.Name()] {
			if err := s.fsys.Remove(s.in(entry.Name())); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}
