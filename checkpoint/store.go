package checkpoint

import (
	"context"
	"errors"
	"fmt"

	"github.com/bohica-labs/dataweaver/retry"
)

// Version counts the saves of one key. 0 is before the first.
type Version int64

// What every Store takes, and no more.
const (
	MaxKeyBytes   = 64 << 10 // 64 KiB
	MaxValueBytes = 1 << 30  // 1 GiB
)

// ErrConflict says that somebody else has saved since the version was loaded.
var ErrConflict = errors.New("somebody else has saved since")

// Store keeps values by key. It is safe for concurrent use, also by other processes where they share what it is kept in.
type Store interface {
	// Load returns the value that was saved last for key, and its version; nil and 0 if none was. What it returns is durable, whoever saved it, and
	// belongs to the caller.
	Load(ctx context.Context, key string) (value []byte, v Version, err error)

	// Save replaces the value of key, of version v, and returns the new version, v+1. The value is durable on return; the store keeps no
	// reference to it. Unless v is the current version it changes nothing and returns an error that is ErrConflict: of several who save upon one
	// version, one succeeds.
	//
	// After any other error the value may be saved or not: Load tells.
	Save(ctx context.Context, key string, value []byte, v Version) (Version, error)
}

// check returns the error for a call that must not be carried out.
func check(ctx context.Context, key string, value []byte) error {
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case len(key) > MaxKeyBytes:
		return retry.Fatal(fmt.Errorf("checkpoint: key %s has %d bytes, %d are allowed", quote(key), len(key), MaxKeyBytes))
	case len(value) > MaxValueBytes:
		return retry.Fatal(fmt.Errorf("checkpoint: value of key %s has %d bytes, %d are allowed", quote(key), len(value), MaxValueBytes))
	}
	return nil
}

// conflict is the error for a save upon version v where current is another.
func conflict(key string, v, current Version) error {
	return fmt.Errorf("checkpoint: save %s upon version %d, but the current one is %d: %w", quote(key), v, current, ErrConflict)
}

// quote makes a key fit for an error, whatever it consists of.
func quote(key string) string {
	const limit = 100
	if len(key) <= limit {
		return fmt.Sprintf("%q", key)
	}
	return fmt.Sprintf("%q…", key[:limit])
}
