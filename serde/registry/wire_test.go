package registry

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestHeader(t *testing.T) {
	t.Parallel()
	require.Equal(t, []byte("before\x00\x00\x01\xe2\x40"), appendHeader([]byte("before"), 123456))
	id, rest, err := header([]byte("\x00\x00\x01\xe2\x40payload"))
	require.NoError(t, err)
	require.Equal(t, 123456, id)
	require.Equal(t, "payload", string(rest))
	_, rest, err = header([]byte("\x00\x7f\xff\xff\xff"))
	require.NoError(t, err)
	require.Empty(t, rest)
	for data, want := range map[string]string{
		"":                     "the record is empty",
		"{\"a\":1}":            "the first byte is 0x7b instead of 0",
		"\x00":                 "cut short: there are 1 bytes of 5",
		"\x00\x00\x00\x01":     "cut short: there are 4 bytes of 5",
		"\x00\x80\x00\x00\x00": "the schema id is 2147483648",
	} {
		_, _, err := header([]byte(data))
		require.ErrorContains(t, err, want)
	}
}

// The bytes are those of Confluent's documentation.
func TestIndexes(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		path []int
		data string
	}{{[]int{0}, "\x00"}, {[]int{1}, "\x02\x02"}, {[]int{1, 0}, "\x04\x02\x00"}, {[]int{0, 0}, "\x04\x00\x00"}, {[]int{300}, "\x02\xd8\x04"}} {
		require.Equal(t, test.data, string(appendIndexes(nil, test.path)))
		path, rest, err := indexes([]byte(test.data+"rest"), make([]int, 1))
		require.NoError(t, err)
		require.Equal(t, test.path, path)
		require.Equal(t, "rest", string(rest))
	}
	path, rest, err := indexes([]byte("\x02\x00"), nil)
	require.NoError(t, err)
	require.Equal(t, []int{0}, path, "the long form")
	require.Empty(t, rest)
	for data, want := range map[string]string{
		"":                         "cut short",
		"\x80":                     "cut short",
		"\x02":                     "cut short",
		"\x02\x80":                 "cut short",
		"\x01":                     "malformed", // -1 of them
		"\x02\x01":                 "malformed", // index -1
		"\x02\xff\xff\xff\xff\x7f": "malformed", // index beyond 2^31
		"\x82\x01":                 "64 are the most",
		"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01":     "64 are the most",
		"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01": "malformed",
	} {
		_, _, err := indexes([]byte(data), nil)
		require.ErrorContains(t, err, want, "%x", data)
	}
}

func FuzzWire(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x00\x07\x00payload"))
	f.Add([]byte("\x00\x00\x00\x00\x07\x04\x02\x00payload"))
	f.Add([]byte("\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		id, rest, err := header(data)
		if err != nil {
			return
		}
		require.Equal(t, data, append(appendHeader(nil, id), rest...))
		path, payload, err := indexes(rest, nil)
		if err != nil {
			return
		}
		require.NotEmpty(t, path)
		require.LessOrEqual(t, len(path), maxIndexes)
		require.True(t, bytes.HasSuffix(rest, payload))
		again, none, err := indexes(appendIndexes(nil, path), nil)
		require.NoError(t, err)
		require.Equal(t, path, again)
		require.Empty(t, none)
	})
}
