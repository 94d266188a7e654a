package weavertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/bohica-labs/dataweaver/checkpoint"
)

// StoreCase is what TestCheckpointStore needs to know about a store.
type StoreCase struct {
	// New returns an empty store. It is called before each rule.
	New func(ctx context.Context) (checkpoint.Store, error)
	// Reopen returns a store of what s keeps, as another process would open it. Default: s itself.
	Reopen func(ctx context.Context, s checkpoint.Store) (checkpoint.Store, error)

	Patience time.Duration // how long a rule may take; default 10 s
	Skip     []string      // names of rules that don't apply; default: none
	Idle     func()        // lets go of what may outlive a call, such as idle connections; default: nothing
}

// TestCheckpointStore checks that a store keeps its contract, and returns nil or a *RuleError that names the first rule
// it breaks:
//
//   - missing: a key that was never saved is nil, version 0, no error
//   - round trip: what was saved is loaded, also after the store is opened again; an empty value is saved too
//   - version: each Save adds one
//   - conflict: Save upon another version is a checkpoint.ErrConflict and changes nothing
//   - keys: keys are independent, whatever they consist of
//   - memory: what happens to a value after Save or Load changes nothing
//   - one wins: of several that save upon one version at once, one succeeds
//   - leak: no goroutine is left (checked after each of the others)
func TestCheckpointStore(ctx context.Context, c StoreCase) error {
	if c.New == nil {
		return errors.New("weavertest: StoreCase needs New")
	}
	return suite[*storeRun]{
		rules: []rule[*storeRun]{
			{"missing", (*storeRun).ruleMissing},
			{"round trip", (*storeRun).ruleRoundTrip},
			{"version", (*storeRun).ruleVersion},
			{"conflict", (*storeRun).ruleConflict},
			{"keys", (*storeRun).ruleKeys},
			{"memory", (*storeRun).ruleMemory},
			{"one wins", (*storeRun).ruleOneWins},
		},
		skip:     c.Skip,
		patience: c.Patience,
		idle:     c.Idle,
		begin: func(ctx context.Context) (*storeRun, error) {
			s, err := c.New(ctx)
			return &storeRun{StoreCase: c, store: s}, err
		},
	}.run(ctx)
}

// storeRun is the check of one rule.
type storeRun struct {
	StoreCase
	store checkpoint.Store
}

// reopen replaces the store by one that another process would see.
func (r *storeRun) reopen(ctx context.Context) error {
	if r.Reopen == nil {
		return nil
	}
	s, err := r.Reopen(ctx, r.store)
	if err != nil {
		return fmt.Errorf("reopen: %w", err)
	}
	r.store = s
	return nil
}

func (r *storeRun) save(ctx context.Context, key, value string, v checkpoint.Version) error {
	got, err := r.store.Save(ctx, key, []byte(value), v)
	if err != nil {
		return fmt.Errorf("save of key %q upon version %d: %w", key, v, err)
	}
	if got != v+1 {
		return fmt.Errorf("save of key %q upon version %d returns version %d, want %d", key, v, got, v+1)
	}
	return nil
}

func (r *storeRun) holds(ctx context.Context, key, value string, v checkpoint.Version) error {
	got, gotV, err := r.store.Load(ctx, key)
	switch {
	case err != nil:
		return fmt.Errorf("load of key %q: %w", key, err)
	case string(got) != value || gotV != v:
		return fmt.Errorf("load of key %q returns %s, version %d, want %s, version %d", key, short(got), gotV, short(value), v)
	case v == 0 && got != nil:
		return fmt.Errorf("load of key %q, which was never saved, returns an empty value, want nil", key)
	}
	return nil
}

func (r *storeRun) ruleMissing(ctx context.Context) error {
	if err := r.holds(ctx, "pipeline/0", "", 0); err != nil {
		return err
	}
	if err := r.save(ctx, "pipeline/1", "other", 0); err != nil {
		return err
	}
	return r.holds(ctx, "pipeline/0", "", 0)
}

func (r *storeRun) ruleRoundTrip(ctx context.Context) error {
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	for i, value := range []string{"v", "", string(every), strings.Repeat("large ", 1<<16), "small"} {
		v := checkpoint.Version(i)
		if err := r.save(ctx, "k", value, v); err != nil {
			return err
		}
		if err := r.holds(ctx, "k", value, v+1); err != nil {
			return err
		}
		if err := r.reopen(ctx); err != nil {
			return err
		}
		if err := r.holds(ctx, "k", value, v+1); err != nil {
			return fmt.Errorf("after it was opened again: %w", err)
		}
	}
	return nil
}

func (r *storeRun) ruleVersion(ctx context.Context) error {
	for v := range checkpoint.Version(5) {
		if err := r.save(ctx, "k", fmt.Sprint(v), v); err != nil { // the same value or another: it is a save
			return err
		}
		if err := r.save(ctx, "same", "value", v); err != nil {
			return err
		}
		if err := r.holds(ctx, "same", "value", v+1); err != nil {
			return err
		}
	}
	return nil
}

func (r *storeRun) ruleConflict(ctx context.Context) error {
	refused := func(key, holds string, current checkpoint.Version, upon ...checkpoint.Version) error {
		for _, v := range upon {
			_, err := r.store.Save(ctx, key, []byte("intruder"), v)
			if !errors.Is(err, checkpoint.ErrConflict) {
				return fmt.Errorf("save upon version %d, when %d is current, returns %w, want an error that is checkpoint.ErrConflict", v, current, orNil(err))
			}
			if err := r.holds(ctx, key, holds, current); err != nil {
				return fmt.Errorf("after a Save that was refused: %w", err)
			}
		}
		return nil
	}
	if err := refused("k", "", 0, 1, 7, -1); err != nil {
		return err
	}
	if err := r.save(ctx, "k", "one", 0); err != nil {
		return err
	}
	if err := refused("k", "one", 1, 0, 2, -1); err != nil {
		return err
	}
	if err := r.save(ctx, "k", "two", 1); err != nil {
		return err
	}
	if err := refused("k", "two", 2, 0, 1, 3); err != nil {
		return err
	}
	return r.save(ctx, "k", "three", 2)
}

func (r *storeRun) ruleKeys(ctx context.Context) error {
	keys := []string{
		"k", "K", "k ", " k", "k/", "/k", "k/k", "../k", "..", ".", "k.tmp", "", "\x00", "k\x00", "'; --", `"\`, "%2e", "%", "con", "ü", "u\u0308",
		"\xff\xfe", "a:b", "a\nb", "*", "~", strings.Repeat("long", 1000), strings.Repeat("long", 1000) + "er", strings.Repeat("ü/", 500),
	}
	for i, key := range keys {
		if err := r.holds(ctx, key, "", 0); err != nil {
			return fmt.Errorf("after Saves of other keys: %w", err)
		}
		for v := range checkpoint.Version(i%2 + 1) {
			if err := r.save(ctx, key, "of "+key, v); err != nil {
				return err
			}
		}
	}
	if err := r.reopen(ctx); err != nil {
		return err
	}
	for i, key := range keys {
		if err := r.holds(ctx, key, "of "+key, checkpoint.Version(i%2+1)); err != nil {
			return err
		}
	}
	return nil
}

func (r *storeRun) ruleMemory(ctx context.Context) error {
	value := []byte("value")
	if _, err := r.store.Save(ctx, "k", value, 0); err != nil {
		return fmt.Errorf("save: %w", err)
	}
	if !bytes.Equal(value, []byte("value")) {
		return errors.New("save has changed the value it was given")
	}
	clear(value)
	if err := r.holds(ctx, "k", "value", 1); err != nil {
		return fmt.Errorf("the value was overwritten after Save: %w", err)
	}
	loaded, _, err := r.store.Load(ctx, "k")
	if err != nil {
		return fmt.Errorf("load: %w", err)
	}
	clear(loaded[:cap(loaded)])
	if err := r.holds(ctx, "k", "value", 1); err != nil {
		return fmt.Errorf("the value was overwritten after Load: %w", err)
	}
	return nil
}

func (r *storeRun) ruleOneWins(ctx context.Context) error {
	const savers, rounds = 8, 5
	for round := range checkpoint.Version(rounds) {
		errs := make([]error, savers)
		start := make(chan struct{})
		var wg sync.WaitGroup
		for i := range savers {
			wg.Go(func() {
				<-start
				_, errs[i] = r.store.Save(ctx, "k", []byte{byte('a' + i)}, round)
			})
		}
		close(start)
		wg.Wait()
		winner := slices.Index(errs, nil)
		if winner < 0 {
			return fmt.Errorf("%d saved upon version %d at once, and none succeeded: %w", savers, round, errs[0])
		}
		for i, err := range errs {
			if err == nil && i != winner {
				return fmt.Errorf("%d saved upon version %d at once, and more than one succeeded", savers, round)
			}
			if err != nil && !errors.Is(err, checkpoint.ErrConflict) {
				return fmt.Errorf("%d saved upon version %d at once: %w, want checkpoint.ErrConflict", savers, round, err)
			}
		}
		if err := r.holds(ctx, "k", string(rune('a'+winner)), round+1); err != nil {
			return fmt.Errorf("after %d saved at once: %w", savers, err)
		}
	}
	return nil
}
