package checkpoint

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func encoded(c content) []byte {
	head, tail := c.encode()
	return slices.Concat(head, c.value, tail)
}

func TestDecode(t *testing.T) {
	t.Parallel()
	for _, want := range []content{
		{key: "", value: []byte{}, version: 1},
		{key: "k", value: []byte("value"), version: 1<<63 - 1},
		{key: "a\x00/b", value: bytes.Repeat([]byte{0}, 5000), version: 7},
	} {
		got, err := decode(encoded(want))
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}

// TestDecodeDamage flips every bit of a file, cuts it at every length and fills it up with zeros.
func TestDecodeDamage(t *testing.T) {
	t.Parallel()
	good := encoded(content{key: "key", value: []byte("some value"), version: 3})
	for i := range good {
		for bit := range 8 {
			bad := bytes.Clone(good)
			bad[i] ^= 1 << bit
			_, err := decode(bad)
			require.Error(t, err, "bit %d of byte %d", bit, i)
		}
		_, err := decode(good[:i])
		require.Error(t, err, "cut to %d", i)
		zeros := append(bytes.Clone(good[:i]), make([]byte, len(good)-i)...)
		_, err = decode(zeros)
		require.Error(t, err, "zeros from %d", i)
	}
	_, err := decode(append(bytes.Clone(good), 0))
	require.ErrorContains(t, err, "bytes instead of")
	_, err = decode(nil)
	require.ErrorContains(t, err, "empty")
	_, err = decode(bytes.ReplaceAll(good, []byte("\n"), []byte("\r\n")))
	require.ErrorContains(t, err, "not a checkpoint")
	later := bytes.Clone(good)
	later[9] = 2
	_, err = decode(later)
	require.ErrorContains(t, err, "its format is 2, known is 1")
}

func FuzzDecode(f *testing.F) {
	good := encoded(content{key: "key", value: []byte("value"), version: 2})
	f.Add(good)
	f.Add(good[:len(good)-1])
	f.Add(encoded(content{version: 1}))
	f.Add(make([]byte, headerSize+trailerSize))
	f.Add([]byte(magic))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, file []byte) {
		files := [][]byte{file}
		if n := len(file) - trailerSize; n >= 0 { // and with a checksum that is right, to come to the checks behind it
			sum := crc32.Checksum(file[:n], crc32.MakeTable(crc32.Castagnoli))
			files = append(files, binary.BigEndian.AppendUint32(bytes.Clone(file[:n]), sum))
		}
		for _, file := range files {
			before := bytes.Clone(file)
			c, err := decode(file)
			if !bytes.Equal(before, file) {
				t.Fatal("decode changed the file")
			}
			if err == nil && !bytes.Equal(encoded(c), file) {
				t.Fatal("decode took what encode does not make")
			}
		}
	})
}
