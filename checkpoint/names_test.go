package checkpoint

import (
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// hostile are keys that file systems do not like, or take for one another.
var hostile = []string{
	"", ".", "..", "/", "../../etc/passwd", `..\..\x`, "a/b", "a\x00b", "a\nb", "con", "NUL", "aux.txt", "COM1", "a.", "a ", " a", ".hidden", "-rf", "~",
	"K", "k", "kK", "Kk", "%", "%2e", "%2E", "key-k", "hash-k", "a:b", "a*?<>|\"", "\xff\xfe", "ä", "a\u0308", "日本語", "00000000000000000001",
	strings.Repeat("x", 124), strings.Repeat("x", 125), strings.Repeat("X", 50), strings.Repeat("y", 300), strings.Repeat("y", 301), strings.Repeat("/", 5000),
}

func TestFolderName(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for _, key := range hostile {
		name := folderName(key)
		require.LessOrEqual(t, len(name), maxFolderName, key)
		require.True(t, filepath.IsLocal(name), name)
		require.Empty(t, strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-_.%"), name)
		require.False(t, strings.HasSuffix(name, "."), name)
		if other, ok := seen[name]; ok {
			t.Errorf("%q and %q are both %s", key, other, name)
		}
		seen[name] = key

		if escaped, ok := strings.CutPrefix(name, "key-"); ok {
			back, err := url.PathUnescape(escaped)
			require.NoError(t, err)
			require.Equal(t, key, back)
		} else {
			require.Regexp(t, "^hash-[0-9a-f]{64}$", name)
		}
	}
}

func TestHostileKeys(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	store := NewFile(filepath.Join(root, "store"))
	for i, key := range hostile {
		_, err := store.Save(t.Context(), key, fmt.Append(nil, i), 0)
		require.NoError(t, err, key)
	}
	for i, key := range hostile {
		value, v, err := store.Load(t.Context(), key)
		require.NoError(t, err, key)
		require.Equal(t, Version(1), v)
		require.Equal(t, fmt.Sprint(i), string(value))
	}
	outside, err := filepath.Glob(filepath.Join(root, "*"))
	require.NoError(t, err)
	require.Len(t, outside, 1)
	inside, err := filepath.Glob(filepath.Join(root, "store", "*"))
	require.NoError(t, err)
	require.Len(t, inside, len(hostile))
}

func TestNames(t *testing.T) {
	t.Parallel()
	for _, v := range []Version{1, 9, 10, 1<<63 - 1} {
		require.Equal(t, v, parseVersion(versionName(v)))
		require.Equal(t, v, parseTemp(tempName(v)))
		require.Zero(t, parseVersion(tempName(v)))
		require.Zero(t, parseTemp(versionName(v)))
	}
	for _, name := range []string{"", "1", "0000000000000000000x", "00000000000000000000", "99999999999999999999", "-0000000000000000001", ".tmp", "1-2.tmp"} {
		require.Zero(t, parseVersion(name), name)
		require.Zero(t, parseTemp(name), name)
	}
}
