package file

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bohica-labs/dataweaver/retry"
)

// tiny is a layout for tests: a header of "TINY", a byte that stands for a schema and a mark of 8 random bytes; blocks of the count, the size and the checksum of their records, these, and
// the mark. A record is its length and so many bytes. One that begins with '!' can't be decoded, and one that begins with '?' not even be skipped.
type tiny struct {
	version byte
	mark    []byte
}

const tinyMax = 1 << 20

func tinyBlocks(path string) *File[[]byte] { return tinyVersion(path, '1') }

func tinyVersion(path string, version byte) *File[[]byte] {
	return Blocks(path, BlockLayout[[]byte]{
		Name: "tiny", MaxHeader: 1 << 10, MaxBlock: tinyMax,
		Decoder: func(head []byte) (BlockDecoder[[]byte], int, error) {
			x, n, err := parseTiny(head)
			if err == nil && x.version > '9' {
				return nil, 0, fmt.Errorf("version %c can't be read", x.version)
			}
			return x, n, err
		},
		Encoder: func(head []byte) (BlockEncoder[[]byte], error) {
			if len(head) == 0 {
				x := &tiny{version: version, mark: make([]byte, 8)}
				_, _ = rand.Read(x.mark)
				return x, nil
			}
			x, _, err := parseTiny(head)
			if err == nil && x.version != version {
				err = fmt.Errorf("it has version %c, and version %c is to be written", x.version, version)
			}
			return x, err
		},
	})
}

func parseTiny(head []byte) (*tiny, int, error) {
	const size = 4 + 1 + 8
	n := min(len(head), 4)
	switch {
	case string(head[:n]) != "TINY"[:n]:
		return nil, 0, retry.Permanent(errors.New("it doesn't begin with TINY"))
	case len(head) < size:
		return nil, 0, ErrMore
	}
	return &tiny{version: head[4], mark: bytes.Clone(head[5:size])}, size, nil
}

func (x *tiny) Header() []byte { return append([]byte{'T', 'I', 'N', 'Y', x.version}, x.mark...) }
func (x *tiny) Mark() []byte   { return x.mark }

func (x *tiny) Find(data []byte) (Block, error) {
	if len(data) < 12 {
		return Block{Size: 12}, ErrMore
	}
	count, size := binary.BigEndian.Uint32(data), binary.BigEndian.Uint32(data[4:])
	if size > tinyMax || count > tinyMax {
		return Block{}, errors.New("a block that is too large")
	}
	end := 12 + int(size)
	b := Block{Count: int(count), Size: end + len(x.mark)}
	if len(data) < b.Size {
		return b, ErrMore
	}
	if !bytes.Equal(data[end:b.Size], x.mark) {
		return Block{}, errors.New("no mark behind the block")
	}
	b.Stored = data[8:end:end]
	return b, nil
}

func (*tiny) Unpack(b Block) ([]byte, error) {
	if crc32.ChecksumIEEE(b.Stored[4:]) != binary.BigEndian.Uint32(b.Stored) {
		return nil, errors.New("the checksum is wrong")
	}
	return b.Stored[4:], nil
}

func (x *tiny) Decode(data []byte, v *[]byte) (int, error) {
	n, err := x.Skip(data)
	if err != nil {
		return 0, err
	}
	if n > 2 && data[2] == '!' {
		return 0, errors.New("it can't be decoded")
	}
	*v = bytes.Clone(data[2:n])
	return n, nil
}

func (*tiny) Skip(data []byte) (int, error) {
	if len(data) < 2 || len(data) < 2+int(binary.BigEndian.Uint16(data)) {
		return 0, errors.New("the record is cut short")
	}
	if len(data) > 2 && data[2] == '?' {
		return 0, errors.New("the record makes no sense")
	}
	return 2 + int(binary.BigEndian.Uint16(data)), nil
}

func (*tiny) Append(dst []byte, v *[]byte) ([]byte, error) {
	if len(*v) > 1<<15 {
		return dst, errors.New("the record is too long")
	}
	return append(binary.BigEndian.AppendUint16(dst, uint16(len(*v))), *v...), nil
}

func (x *tiny) Block(dst, records []byte, count int) ([]byte, error) {
	dst = binary.BigEndian.AppendUint32(dst, uint32(count))
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(records)))
	dst = binary.BigEndian.AppendUint32(dst, crc32.ChecksumIEEE(records))
	return append(append(dst, records...), x.mark...), nil
}

// tinyFile is a file as a writer would make it, of blocks with the records given.
func tinyFile(mark string, blocks ...[]string) string {
	x := &tiny{version: '1', mark: []byte(mark)}
	out := x.Header()
	for _, records := range blocks {
		out = append(out, x.blockOf(records...)...)
	}
	return string(out)
}

func (x *tiny) blockOf(records ...string) []byte {
	var data []byte
	for _, r := range records {
		v := []byte(r)
		data, _ = x.Append(data, &v)
	}
	out, _ := x.Block(nil, data, len(records))
	return out
}

// tinyLines returns the records of a file that has nothing but whole blocks, a line each.
func tinyLines(t testing.TB, content string) string {
	t.Helper()
	if content == "" {
		return ""
	}
	x, n, err := parseTiny([]byte(content))
	require.NoError(t, err)
	var out strings.Builder
	for data := []byte(content[n:]); len(data) > 0; {
		b, err := x.Find(data)
		require.NoError(t, err)
		records, err := x.Unpack(b)
		require.NoError(t, err)
		require.Positive(t, b.Count)
		for range b.Count {
			var v []byte
			n, err := x.Decode(records, &v)
			require.NoError(t, err)
			fmt.Fprintf(&out, "%s\n", v)
			records = records[n:]
		}
		require.Empty(t, records)
		data = data[b.Size:]
	}
	return out.String()
}
