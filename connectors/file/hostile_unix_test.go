//go:build unix

package file

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/retry"
)

// What is no file is an error at once, and nothing waits for somebody at the other end of a pipe.
func TestWhatIsNoFile(t *testing.T) {
	t.Parallel()
	fifo := filepath.Join(t.TempDir(), "fifo")
	require.NoError(t, syscall.Mkfifo(fifo, 0o600))
	for _, path := range []string{fifo, "/dev/zero", "/dev/full", "/dev/null", os.TempDir()} {
		_, err := Lines(path).OpenReader(t.Context(), weaver.Lane{})
		require.ErrorContains(t, err, path)
		require.Equal(t, retry.ClassFatal, retry.ClassOf(err), path)
		f := Lines(path)
		f.IfExists = Append
		_, err = f.OpenWriter(t.Context(), weaver.Lane{})
		require.ErrorContains(t, err, path)
		require.Equal(t, retry.ClassFatal, retry.ClassOf(err), path)
	}
	// A pattern that matches it fails too, rather than leave it out.
	_, err := Lines(filepath.Join(filepath.Dir(fifo), "*")).OpenReader(t.Context(), weaver.Lane{})
	require.ErrorContains(t, err, "is no regular file")
}
