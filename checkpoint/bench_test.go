package checkpoint

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// The time is that of the disk under the temporary folder: two syncs a save.
func BenchmarkFileSave(b *testing.B) {
	store, value := NewFile(b.TempDir()), make([]byte, 100)
	var v Version
	b.ReportAllocs()
	for b.Loop() {
		next, err := store.Save(b.Context(), "orders", value, v)
		require.NoError(b, err)
		v = next
	}
}

func BenchmarkFileLoad(b *testing.B) {
	store := NewFile(b.TempDir())
	_, err := store.Save(b.Context(), "orders", make([]byte, 100), 0)
	require.NoError(b, err)
	b.ReportAllocs()
	for b.Loop() {
		_, _, err := store.Load(b.Context(), "orders")
		require.NoError(b, err)
	}
}
