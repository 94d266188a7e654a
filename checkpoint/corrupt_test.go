package checkpoint

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bohica-labs/dataweaver/internal/durable"
	"github.com/bohica-labs/dataweaver/internal/durable/durabletest"
)

func TestCorrupt(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		damage func([]byte) []byte
		want   string
	}{
		"empty":     {func([]byte) []byte { return nil }, "it is empty"},
		"cut":       {func(b []byte) []byte { return b[:len(b)-1] }, "it has 47 bytes instead of 48"},
		"cut short": {func(b []byte) []byte { return b[:20] }, "it ends after 20 bytes"},
		"zeros":     {func(b []byte) []byte { return make([]byte, len(b)) }, "it is not a checkpoint"},
		"a bit":     {func(b []byte) []byte { b[40] ^= 8; return b }, "its checksum is"},
		"other key": {func([]byte) []byte { return encoded(content{key: "x", version: 3}) }, `it belongs to key "x"`},
		"older one": {func([]byte) []byte { return encoded(content{key: "k", version: 2}) }, "it holds version 2"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			store := NewFile(dir)
			for v := range Version(3) {
				_, err := store.Save(t.Context(), "k", []byte("some value "), v)
				require.NoError(t, err)
			}
			current, previous := filepath.Join(dir, "key-k", versionName(3)), filepath.Join(dir, "key-k", versionName(2))
			b, err := os.ReadFile(current)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(current, test.damage(b), 0o600))

			_, _, err = store.Load(t.Context(), "k")
			var corrupt *CorruptError
			require.ErrorAs(t, err, &corrupt)
			why := corrupt.Err
			require.ErrorContains(t, why, test.want)
			require.ErrorIs(t, err, why)
			require.Equal(t, &CorruptError{Key: "k", Path: current, Version: 3, Previous: previous, PreviousVersion: 2, Err: why}, corrupt)
			require.ErrorContains(t, err, current)
			require.ErrorContains(t, err, "to go back to version 2, which is good, remove that file")

			require.NoError(t, os.Remove(current))
			_, v, err := store.Load(t.Context(), "k")
			require.NoError(t, err)
			require.Equal(t, Version(2), v)
			v, err = store.Save(t.Context(), "k", nil, 2)
			require.NoError(t, err)
			require.Equal(t, Version(3), v)
		})
	}
}

func TestCorruptPrevious(t *testing.T) {
	t.Parallel()
	disk := filled(t, 2)
	path := func(v Version) string { return filepath.Join("data", "positions", "key-k", versionName(v)) }
	load := func() *CorruptError {
		_, _, err := on(disk, "data/positions").Load(t.Context(), "k")
		var corrupt *CorruptError
		require.ErrorAs(t, err, &corrupt)
		return corrupt
	}
	overwrite := func(v Version) { require.NoError(t, durable.WriteFile(disk, path(v), []byte("x"), 0o600)) }
	overwrite(3)
	overwrite(2)
	require.Equal(t, path(1), load().Previous)
	require.ErrorContains(t, load(), "remove all files of later versions")
	overwrite(1)
	require.Empty(t, load().Previous)
	require.ErrorContains(t, load(), "no older version is there")
	require.ErrorContains(t, load(), filepath.Dir(path(1)))
}

func TestTooLarge(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	_, err := NewFile(dir).Save(t.Context(), "k", nil, 0)
	require.NoError(t, err)
	require.NoError(t, os.Truncate(filepath.Join(dir, "key-k", versionName(1)), maxFileSize+1)) // a sparse file
	_, _, err = NewFile(dir).Load(t.Context(), "k")
	require.ErrorContains(t, err, "more than any checkpoint")
}

// An error of the disk is none of the file's.
func TestUnreadableIsNotCorrupt(t *testing.T) {
	t.Parallel()
	disk := filled(t, 2)
	disk.Fail(func(o durabletest.Op) error {
		if o.Kind == durabletest.Read {
			return syscall.EIO
		}
		return nil
	})
	_, _, err := on(disk, "data/positions").Load(t.Context(), "k")
	require.ErrorIs(t, err, syscall.EIO)
	require.ErrorContains(t, err, versionName(2))
	var corrupt *CorruptError
	require.False(t, errors.As(err, &corrupt))
}
