package kafka

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
)

var compressions = []Compression{Uncompressed, Gzip, Snappy, Lz4, Zstd}

// someRecords are records of all kinds.
func someRecords(random *rand.Rand, n int) []weaver.Record[[]byte] {
	data := func(most int) []byte {
		p := make([]byte, random.IntN(most))
		for i := range p {
			p[i] = byte(random.IntN(5)) + 'a'
		}
		return p
	}
	out := make([]weaver.Record[[]byte], n)
	for i := range out {
		r := &out[i]
		r.Seq = int64(i)
		r.Time = time.UnixMilli(1_700_000_000_000 + random.Int64N(100_000) - 50_000).UTC()
		switch random.IntN(4) {
		case 0:
		case 1:
			r.Key = []byte{}
		default:
			r.Key = data(30)
		}
		if random.IntN(10) == 0 {
			r.Op = weaver.Delete
		} else {
			r.Value = data(200)
		}
		for range random.IntN(3) {
			r.Headers = append(r.Headers, weaver.Header{Key: string(data(4)), Value: data(10)})
		}
		if random.IntN(20) == 0 {
			r.Headers = append(r.Headers, weaver.Header{Key: "null"})
		}
	}
	return out
}

func encoded(t testing.TB, c Compression, base int64, recs []weaver.Record[[]byte]) []byte {
	t.Helper()
	var w batchWriter
	w.reset()
	for i := range recs {
		w.add(&recs[i], 0)
	}
	b, err := w.finish(c)
	require.NoError(t, err)
	binary.BigEndian.PutUint64(b, uint64(base))
	return bytes.Clone(b)
}

// decodedAll is what a reader makes of a record set, from an offset on, the rejects included.
func decodedAll(t testing.TB, set []byte, from int64, limit int) ([]weaver.Record[[]byte], []weaver.Reject, int64, error) {
	t.Helper()
	r := newReader(&Consumer{fw: New("x:1"), MaxBatchBytes: limit}, newAssignment(nil, "t", 0, none), quiet)
	r.next.Store(from)
	r.set = set
	b := weaver.NewBatch[[]byte](1<<20, 1<<30)
	for {
		more, err := r.add(b)
		if err != nil {
			return b.Records, b.Rejects(), r.next.Load(), err
		}
		if more {
			continue
		}
		if r.damaged == r.next.Load() && len(set) > 0 { // fetched again, and damaged again
			if _, rest, ok, _ := cutBatch(set); ok && len(rest) < len(set) {
				set, r.set = nil, set
				continue
			}
		}
		return b.Records, b.Rejects(), r.next.Load(), nil
	}
}

func TestBatchesComeBack(t *testing.T) {
	t.Parallel()
	for _, c := range compressions {
		t.Run(c.String(), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(1, uint64(c)))
			var set []byte
			var want []weaver.Record[[]byte]
			for range 20 {
				recs := someRecords(random, 1+random.IntN(50))
				set = append(set, encoded(t, c, int64(len(want)), recs)...)
				want = append(want, recs...)
			}
			for i := range want {
				want[i].Seq = int64(i)
			}
			for _, from := range []int64{0, 1, int64(len(want) / 2), int64(len(want) - 1), int64(len(want))} {
				cut := append(bytes.Clone(set), set[:100]...) // as a broker does where the fetch is full
				got, rejects, next, err := decodedAll(t, cut, from, 0)
				require.NoError(t, err)
				require.Empty(t, rejects)
				require.Equal(t, int64(len(want)), next)
				require.Len(t, got, len(want)-int(from))
				for i := range got {
					require.Equal(t, want[int(from)+i], got[i])
				}
			}
		})
	}
}

// TestBatchesAsKafkaGoReadsThem has another implementation read what is written here.
func TestBatchesAsKafkaGoReadsThem(t *testing.T) {
	t.Parallel()
	for _, c := range compressions {
		random := rand.New(rand.NewPCG(2, uint64(c)))
		want := someRecords(random, 300)
		data := encoded(t, c, 7, want)
		framed := append(binary.BigEndian.AppendUint32(nil, uint32(len(data))), data...)
		var set protocol.RecordSet
		_, err := set.ReadFrom(bytes.NewReader(framed))
		require.NoError(t, err)
		for i := range want {
			got, err := set.Records.ReadRecord()
			require.NoError(t, err)
			require.Equal(t, int64(7+i), got.Offset)
			require.Equal(t, want[i].Time.UnixMilli(), got.Time.UnixMilli())
			require.Equal(t, want[i].Key, allOf(t, got.Key))
			require.Equal(t, want[i].Value, allOf(t, got.Value))
			require.Len(t, got.Headers, len(want[i].Headers))
			for j, h := range got.Headers {
				require.Equal(t, want[i].Headers[j].Key, h.Key)
				require.Equal(t, string(want[i].Headers[j].Value), string(h.Value))
			}
		}
		_, err = set.Records.ReadRecord()
		require.ErrorIs(t, err, io.EOF)
	}
}

func allOf(t testing.TB, b protocol.Bytes) []byte {
	t.Helper()
	if b == nil {
		return nil
	}
	p, err := protocol.ReadAll(b)
	require.NoError(t, err)
	if p == nil {
		p = []byte{}
	}
	return p
}

// TestBatchesOfKafkaGo reads what another implementation has written.
func TestBatchesOfKafkaGo(t *testing.T) {
	t.Parallel()
	for _, c := range compressions {
		random := rand.New(rand.NewPCG(3, uint64(c)))
		want := someRecords(random, 300)
		in := make([]protocol.Record, len(want))
		for i := range want {
			in[i].Time = want[i].Time
			if want[i].Key != nil {
				in[i].Key = protocol.NewBytes(want[i].Key)
			}
			if want[i].Value != nil {
				in[i].Value = protocol.NewBytes(want[i].Value)
			}
			for _, h := range want[i].Headers {
				in[i].Headers = append(in[i].Headers, protocol.Header{Key: h.Key, Value: h.Value})
			}
		}
		set := protocol.RecordSet{Version: 2, Attributes: protocol.Attributes(c), Records: protocol.NewRecordReader(in...)}
		var out bytes.Buffer
		_, err := set.WriteTo(&out)
		require.NoError(t, err)
		got, rejects, _, err := decodedAll(t, out.Bytes()[4:], 0, 0)
		require.NoError(t, err)
		require.Empty(t, rejects)
		require.Equal(t, want, got)
	}
}

// TestFlippedBits breaks each byte of a batch: no record is made of it, and none behind it is lost.
func TestFlippedBits(t *testing.T) {
	t.Parallel()
	for _, c := range []Compression{Uncompressed, Zstd} {
		random := rand.New(rand.NewPCG(4, uint64(c)))
		first, second := someRecords(random, 20), someRecords(random, 20)
		good := encoded(t, c, 0, first)
		behind := encoded(t, c, 20, second)
		for at := 12; at < len(good); at++ { // the base offset and the length have no checksum: see below
			if at >= 12 && at < 16 {
				continue // nor has the leader epoch
			}
			bad := bytes.Clone(good)
			bad[at] ^= 1 << random.IntN(8)
			got, rejects, next, err := decodedAll(t, append(bad, behind...), 0, 0)
			if err != nil {
				require.ErrorIs(t, err, errOldFormat, "byte %d", at)
				continue
			}
			require.NotEmpty(t, rejects, "byte %d", at)
			require.LessOrEqual(t, next, int64(40), "byte %d", at)
			for i := range got {
				require.GreaterOrEqual(t, got[i].Seq, int64(20), "byte %d: a record of the damaged batch", at)
				require.Equal(t, second[got[i].Seq-20].Value, got[i].Value)
			}
			require.Contains(t, rejects[0].Err.Error(), `topic "t", partition 0`)
		}
	}
}

// TestBadBatches have the right checksum, and nonsense in them.
func TestBadBatches(t *testing.T) {
	t.Parallel()
	plain := func(change func(b []byte) []byte) []byte {
		random := rand.New(rand.NewPCG(5, 5))
		b := change(encoded(t, Uncompressed, 0, someRecords(random, 3)))
		binary.BigEndian.PutUint32(b[8:], uint32(len(b)-batchLengthEnd))
		binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[21:], castagnoli))
		return b
	}
	for name, c := range map[string]struct {
		batch []byte
		want  string
	}{
		"no record though one is announced": {plain(func(b []byte) []byte { return b[:batchHeaderBytes] }), "length that can't be"},
		"a record cut short":                {plain(func(b []byte) []byte { return b[:len(b)-2] }), "length that can't be"},
		"a length beyond the batch":         {plain(func(b []byte) []byte { b[61] = 0xfe; b[62] |= 0x7f; return b }), ""},
		"a compression nobody knows":        {plain(func(b []byte) []byte { b[22] = 7; return b }), "not known"},
		"text as gzip":                      {plain(func(b []byte) []byte { b[22] = 1; return b }), "unpacking gzip"},
		"text as snappy":                    {plain(func(b []byte) []byte { b[22] = 2; return b }), "unpacking snappy"},
		"text as lz4":                       {plain(func(b []byte) []byte { b[22] = 3; return b }), "unpacking lz4"},
		"text as zstd":                      {plain(func(b []byte) []byte { b[22] = 4; return b }), "unpacking zstd"},
		"2^31-1 records":                    {plain(func(b []byte) []byte { binary.BigEndian.PutUint32(b[57:], 1<<31-1); return b }), "can't be"},
		"-1 records":                        {plain(func(b []byte) []byte { binary.BigEndian.PutUint32(b[57:], ^uint32(0)); return b }), "can't be"},
		"a negative delta":                  {plain(func(b []byte) []byte { binary.BigEndian.PutUint32(b[23:], ^uint32(0)); return b }), "can't be"},
		"another format":                    {plain(func(b []byte) []byte { b[16] = 3; return b }), "the format 3"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, rejects, next, err := decodedAll(t, c.batch, 0, 0)
			require.NoError(t, err)
			require.NotEmpty(t, rejects)
			require.Contains(t, rejects[0].Err.Error(), c.want)
			require.Positive(t, next)
		})
	}
}

// TestBombs unpack to far more than they are.
func TestBombs(t *testing.T) {
	t.Parallel()
	for _, c := range compressions[1:] {
		t.Run(c.String(), func(t *testing.T) {
			t.Parallel()
			data := encoded(t, c, 0, []weaver.Record[[]byte]{{Value: make([]byte, 64<<20)}})
			require.Less(t, len(data), 8<<20)
			_, rejects, next, err := decodedAll(t, data, 0, 1<<20)
			require.NoError(t, err)
			require.Equal(t, int64(1), next)
			require.Len(t, rejects, 1)
			require.Contains(t, rejects[0].Err.Error(), "MaxBatchBytes, 1048576")
		})
	}
}

func FuzzRecordSet(f *testing.F) {
	random := rand.New(rand.NewPCG(6, 6))
	for _, c := range compressions {
		f.Add(encoded(f, c, 0, someRecords(random, 5)), true)
	}
	f.Add([]byte{}, false)
	f.Fuzz(func(t *testing.T, set []byte, mend bool) {
		if mend { // make the checksum right, to get further
			for rest := set; ; {
				batch, behind, ok, err := cutBatch(rest)
				if err != nil || !ok || len(batch) < batchHeaderBytes {
					break
				}
				binary.BigEndian.PutUint32(batch[17:], crc32.Checksum(batch[21:], castagnoli))
				rest = behind
			}
		}
		got, rejects, next, err := decodedAll(t, set, 0, 1<<20)
		if err == nil && next == 0 && len(got)+len(rejects) > 0 {
			t.Fatalf("%d records and %d rejects, and the position is %d", len(got), len(rejects), next)
		}
		last := int64(-1)
		for i := range got {
			if got[i].Seq <= last && !errorsIn(rejects) {
				t.Fatalf("record %d has the offset %d, after %d", i, got[i].Seq, last)
			}
			last = got[i].Seq
		}
	})
}

func errorsIn(r []weaver.Reject) bool { return len(r) > 0 }

func FuzzFetchResponse(f *testing.F) {
	frame := binary.BigEndian.AppendUint32(nil, 1) // correlation id
	frame = binary.BigEndian.AppendUint32(frame, 0)
	frame = append(frame, 0, 0, 0, 0, 0, 0)
	frame = binary.BigEndian.AppendUint32(frame, 1)
	frame = append(frame, 0, 1, 't', 0, 0, 0, 1, 0, 0, 0, 0, 0, 0)
	frame = append(frame, make([]byte, 24)...)
	frame = append(frame, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 2, 'a', 'b')
	f.Add(frame)
	f.Fuzz(func(t *testing.T, frame []byte) {
		fe := &fetcher{topic: "t", id: 1}
		out, err := fe.parse(frame)
		if err == nil && len(out.set) > len(frame) {
			t.Fatal("more than there was")
		}
	})
}

func TestPositions(t *testing.T) {
	t.Parallel()
	p := encodePosition(nil, 1<<40, 7)
	offset, epoch, err := decodePosition(p)
	require.NoError(t, err)
	require.Equal(t, int64(1<<40), offset)
	require.Equal(t, int32(7), epoch)
	for _, bad := range []weaver.Position{{}, {1}, p[:12], append(bytes.Clone(p), 0), append([]byte{2}, p[1:]...), append([]byte{1, 0xff}, p[2:]...)} {
		_, _, err := decodePosition(bad)
		require.ErrorContains(t, err, "no position of this source")
	}
	for _, bad := range []string{"", "t", "/1", "t/", "t/-1", "t/01", "t/1/2", "t/x"} {
		_, _, ok := parseSplit(bad)
		require.False(t, ok, bad)
	}
}

// TestMurmur2 has what Java's Utils.murmur2 gives, from UtilsTest of Apache Kafka.
func TestMurmur2(t *testing.T) {
	t.Parallel()
	for key, want := range map[string]int32{
		"21": -973932308, "foobar": -790332482, "a-little-bit-long-string": -985981536,
		"a-little-bit-longer-string": -1486304829, "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971, "abc": 479470107,
	} {
		require.Equal(t, want, int32(murmur2([]byte(key))), key)
	}
}

// TestAbortedTransactions hides what read_committed hides.
func TestAbortedTransactions(t *testing.T) {
	t.Parallel()
	batch := func(base, producer int64, transactional bool) *batchHeader {
		h := &batchHeader{base: base, producer: producer, records: 1}
		if transactional {
			h.attributes = attrTransactional
		}
		return h
	}
	marker := func(base, producer int64, abort bool) (*batchHeader, []byte) {
		h := batch(base, producer, true)
		h.attributes |= attrControl
		kind := byte(1)
		if abort {
			kind = 0
		}
		body := []byte{0, 0, 0}
		body = appendNullable(body, []byte{0, 0, 0, kind})
		body = append(appendNullable(body, []byte{0, 0, 0, 0, 0, 0}), 0)
		return h, append(binary.AppendVarint(nil, int64(len(body))), body...)
	}
	var c committed
	c.begin([]abortedTransaction{{producer: 2, first: 7}, {producer: 1, first: 1}})
	require.False(t, c.hides(batch(0, -1, false), nil))
	require.True(t, c.hides(batch(1, 1, true), nil))
	require.False(t, c.hides(batch(2, -1, false), nil), "not part of a transaction")
	require.False(t, c.hides(batch(3, 2, true), nil), "committed below")
	require.True(t, c.hides(marker(4, 1, true)))
	require.False(t, c.hides(batch(5, 1, true), nil), "the next transaction of the producer")
	require.True(t, c.hides(marker(6, 2, false)))
	require.True(t, c.hides(batch(7, 2, true), nil))
	require.True(t, c.hides(marker(8, 2, true)))
	require.False(t, c.hides(batch(9, 2, true), nil))
}

// TestReadCommitted reads what a producer commits after a transaction that it has aborted, within one response and from
// the middle of one.
func TestReadCommitted(t *testing.T) {
	t.Parallel()
	const producer = 7
	made := func(base int64, attributes int16, recs ...weaver.Record[[]byte]) []byte {
		b := encoded(t, Uncompressed, base, recs)
		binary.BigEndian.PutUint16(b[21:], uint16(attributes))
		binary.BigEndian.PutUint64(b[43:], producer)
		binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[21:], castagnoli))
		return b
	}
	text := func(s string) weaver.Record[[]byte] { return weaver.Record[[]byte]{Value: []byte(s)} }
	marker := func(kind byte) weaver.Record[[]byte] {
		return weaver.Record[[]byte]{Key: []byte{0, 0, 0, kind}, Value: []byte{0, 0, 0, 0, 0, 0}}
	}
	var set []byte
	for _, b := range [][]byte{
		made(0, attrTransactional, text("aborted"), text("aborted, too")),
		made(2, attrTransactional|attrControl, marker(0)),
		made(3, attrTransactional, text("committed")),
		made(4, attrTransactional|attrControl, marker(1)),
		made(5, attrTransactional, text("aborted again")),
		made(6, attrTransactional|attrControl, marker(0)),
		made(7, 0, text("outside")),
	} {
		set = append(set, b...)
	}
	for from := range int64(8) {
		r := newReader(&Consumer{fw: New("x:1")}, newAssignment(nil, "t", 0, none), quiet)
		r.next.Store(from)
		r.set = set
		r.committed.begin([]abortedTransaction{{producer, 0}, {producer, 5}})
		b := weaver.NewBatch[[]byte](0, 0)
		for more := true; more; {
			var err error
			more, err = r.add(b)
			require.NoError(t, err)
		}
		want := []string{"committed", "outside"}
		if from > 3 {
			want = want[1:]
		}
		var got []string
		for i := range b.Records {
			got = append(got, string(b.Records[i].Value))
		}
		require.Equal(t, want, got, "from %d", from)
		require.Equal(t, int64(8), r.next.Load())
	}
}

func TestErrorsHaveClasses(t *testing.T) {
	t.Parallel()
	for code := int16(1); code < 110; code++ {
		err := codeError(code, "what it said")
		require.Error(t, err)
		require.Contains(t, err.Error(), "what it said")
		require.Contains(t, err.Error(), fmt.Sprintf("[%d]", code))
	}
	require.NoError(t, codeError(0, ""))
}
