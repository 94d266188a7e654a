package checkpoint

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bohica-labs/dataweaver/internal/durable"
	"github.com/bohica-labs/dataweaver/internal/durable/durabletest"
)

// one is a save of a script.
type one struct {
	key    string
	value  []byte
	reopen bool // as after a restart
	load   bool // and look first
}

func randomScript(seed uint64) []one {
	rng := rand.New(rand.NewPCG(seed, 2))
	script := make([]one, 3+rng.IntN(6))
	for i := range script {
		value := make([]byte, []int{0, 5, 600, 3000}[rng.IntN(4)])
		for j := range value {
			value[j] = byte(rng.Uint32()) | 1 // no zeros, so that a hole is none of it
		}
		script[i] = one{key: []string{"a", "B"}[rng.IntN(2)], value: value, reopen: rng.IntN(4) == 0, load: rng.IntN(3) == 0}
	}
	return script
}

// known is what the oracle knows of a key: the values of the versions from 1, and up to which they were acknowledged.
type known struct {
	values       [][]byte
	acknowledged Version
}

// run saves what script says until it fails.
func run(fsys durable.FS, script []one) map[string]*known {
	ctx := context.Background()
	keys := map[string]*known{"a": {}, "B": {}}
	store := on(fsys, "data/positions")
	for _, o := range script {
		if o.reopen {
			store = on(fsys, "data/positions")
		}
		k := keys[o.key]
		if o.load {
			if _, _, err := store.Load(ctx, o.key); err != nil {
				break
			}
		}
		k.values = append(k.values, o.value)
		v, err := store.Save(ctx, o.key, o.value, k.acknowledged)
		if err != nil {
			break
		}
		k.acknowledged = v
	}
	return keys
}

// inspect returns what is wrong with a disk after a crash: of each key there must be the acknowledged value, or a later one.
func inspect(disk *durabletest.Disk, wrap func(durable.FS) durable.FS, keys map[string]*known) error {
	ctx := context.Background()
	for _, key := range []string{"a", "B"} {
		k := keys[key]
		store := on(wrap(disk), "data/positions")
		value, v, err := store.Load(ctx, key)
		if err != nil {
			return fmt.Errorf("load %s: %w", key, err)
		}
		if v < k.acknowledged || int(v) > len(k.values) {
			return fmt.Errorf("load %s: version %d, acknowledged is %d", key, v, k.acknowledged)
		}
		if v > 0 && !bytes.Equal(value, k.values[v-1]) {
			return fmt.Errorf("load %s: version %d holds something else", key, v)
		}
		// And life goes on.
		if next, err := store.Save(ctx, key, []byte("next"), v); err != nil || next != v+1 {
			return fmt.Errorf("save %s: %d, %w", key, next, err)
		}
		if err := tidy(disk, key); err != nil {
			return err
		}
	}
	return nil
}

// tidy returns an error if there is more in a key's folder than the current version and the one before, and perhaps what crashed saves of later versions left.
func tidy(disk *durabletest.Disk, key string) error {
	l, err := on(disk, "data/positions").folder(key).list()
	if err != nil {
		return err
	}
	if len(l.versions) > 2 {
		return fmt.Errorf("%s has the versions %v", key, l.versions)
	}
	for _, name := range l.temps {
		if parseTemp(name) <= l.current() {
			return fmt.Errorf("%s has version %d and still %s", key, l.current(), name)
		}
	}
	return nil
}

// crashEverywhere runs scripts with the power gone at each of their operations in turn, and returns the first thing that is wrong with what some seeds leave.
// wrap is what stands between store and disk.
func crashEverywhere(scripts uint64, wrap func(durable.FS) durable.FS, prepare func(*durabletest.Disk) *durabletest.Disk) error {
	for script := range scripts {
		all := randomScript(script)
		whole := prepare(durabletest.New())
		run(wrap(whole), all)
		for i, op := range append(whole.Ops(), durabletest.Op{N: whole.Count(), Kind: durabletest.SyncDir}) {
			if !op.Changes() {
				continue // the same as a crash before the next one
			}
			disk := prepare(durabletest.New())
			disk.CrashAt(i)
			keys := run(wrap(disk), all)
			for seed := range uint64(6) {
				if err := inspect(disk.Crash(seed), wrap, keys); err != nil {
					return fmt.Errorf("script %d, crash at %v, seed %d: %w", script, op, seed, err)
				}
			}
		}
	}
	return nil
}

func asIs[T any](x T) T { return x }

func TestFileSurvivesCrash(t *testing.T) {
	t.Parallel()
	require.NoError(t, crashEverywhere(15, asIs, asIs))
}

func TestFileSurvivesCrashWithoutLinks(t *testing.T) {
	t.Parallel()
	require.NoError(t, crashEverywhere(10, asIs, noLinks))
}

// careless leaves out what makes something durable, or does it too late.
type careless struct {
	durable.FS
	noSync, noSyncDir, noSyncParent, syncLate bool
	late                                      *[]durable.File // not synced yet
}

func (c careless) OpenFile(name string, flag int, perm fs.FileMode) (durable.File, error) {
	f, err := c.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return carelessFile{File: f, fsys: c}, nil
}

func (c careless) SyncDir(name string) error {
	if c.noSyncDir || c.noSyncParent && !strings.HasPrefix(filepath.Base(name), "key-") {
		return nil
	}
	err := c.FS.SyncDir(name)
	for _, f := range *c.late {
		err = errors.Join(err, f.Sync())
	}
	*c.late = nil
	return err
}

type carelessFile struct {
	durable.File
	fsys careless
}

func (f carelessFile) Sync() error {
	switch {
	case f.fsys.noSync:
		return nil
	case f.fsys.syncLate:
		*f.fsys.late = append(*f.fsys.late, f.File)
		return nil
	}
	return f.File.Sync()
}

// Close leaves the file open as long as it is to be synced.
func (f carelessFile) Close() error {
	if f.fsys.syncLate {
		return nil
	}
	return f.File.Close()
}

// TestCrashCheckCanFail leaves out one step after the other: each must show as a loss.
func TestCrashCheckCanFail(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]careless{
		"the file is not synced":              {noSync: true},
		"the folder is not synced":            {noSyncDir: true},
		"the folders above are not synced":    {noSyncParent: true},
		"the file is synced after it is seen": {syncLate: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := crashEverywhere(5, func(fsys durable.FS) durable.FS {
				c := c
				c.FS, c.late = fsys, new([]durable.File)
				return c
			}, asIs)
			require.Error(t, err)
			t.Log(err)
		})
	}
	c := careless{}
	require.NoError(t, crashEverywhere(5, func(fsys durable.FS) durable.FS {
		c.FS, c.late = fsys, new([]durable.File)
		return c
	}, asIs), "and with none left out there is none")
}
