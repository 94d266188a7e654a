package kafka

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
)

// writeAssorted writes records of all kinds to a topic with one partition, packed in every way, and returns them.
func writeAssorted(t *testing.T, fw *Framework) (topic string, written []weaver.Record[[]byte]) {
	t.Helper()
	topic = newTopic(t, fw, 1)
	packed := make(map[Compression]int)
	for _, c := range compressions {
		p := fw.Producer(topic)
		p.Compression = c
		w, err := p.OpenWriter(t.Context(), weaver.Lane{Log: quiet})
		require.NoError(t, err)
		b := weaver.NewBatch[[]byte](0, 0)
		records := assorted(uint64(c))
		b.Records = append(b.Records, records...)
		require.NoError(t, w.Write(t.Context(), b))
		require.NoError(t, w.Close())
		written = append(written, records...)
		packed[c] = len(records)
	}
	require.Equal(t, packed, packedBy(t, fw, topic), "the broker has kept what was sent")
	return topic, written
}

func TestKcatReads(t *testing.T) {
	t.Parallel()
	fw := connect(t, broker(t))
	topic, written := writeAssorted(t, fw)
	var want strings.Builder
	for i, r := range written {
		var headers []string
		for _, h := range r.Headers {
			headers = append(headers, h.Key+"="+orNull(h.Value, "NULL"))
		}
		fmt.Fprintf(&want, "0|%d|%d|%s|%s|%s|%s|%s\n", i, r.Time.UnixMilli(), lengthOf(r.Key), r.Key, lengthOf(r.Value), r.Value, strings.Join(headers, ","))
	}
	got := kcat(t, "", "-C", "-t", topic, "-p", "0", "-o", "beginning", "-e", "-q", "-f", `%p|%o|%T|%K|%k|%S|%s|%h\n`)
	same(t, want.String(), got)
}

// same compares long texts without printing them whole.
func same(t *testing.T, want, got string) {
	t.Helper()
	if want == got {
		return
	}
	at := 0
	for at < min(len(want), len(got)) && want[at] == got[at] {
		at++
	}
	around := func(s string) string { return s[max(min(at, len(s))-200, 0):min(at+200, len(s))] }
	t.Fatalf("differs at byte %d of %d and %d:\nwant %q\ngot  %q", at, len(want), len(got), around(want), around(got))
}

// foreign is what another client is given to write: a line a record.
func foreign(c Compression) (input string, want []weaver.Record[[]byte]) {
	var text strings.Builder
	for i := range 200 {
		key, value := fmt.Sprintf("%s-key-%d", c, i), fmt.Sprintf("value %d %s", i, strings.Repeat("weaver ", i))
		fmt.Fprintf(&text, "%s|%s\n", key, value)
		want = append(want, weaver.Record[[]byte]{Key: []byte(key), Value: []byte(value)})
	}
	return text.String(), want
}

// wrote compares records that others wrote with what they were given.
func wrote(t *testing.T, want, got []weaver.Record[[]byte]) {
	t.Helper()
	require.Len(t, got, len(want))
	for i, w := range want {
		g := got[i]
		require.EqualValues(t, i, g.Seq)
		require.Equal(t, w.Key, g.Key, "key of record %d", i)
		require.Equal(t, w.Value, g.Value, "value of record %d", i)
		require.Equal(t, w.Headers, g.Headers, "headers of record %d", i)
		require.Equal(t, w.Key == nil, g.Key == nil, "nil and empty are two things")
		require.Equal(t, w.Value == nil, g.Value == nil, "nil and empty are two things")
		require.Equal(t, w.Value == nil, g.Op == weaver.Delete)
		require.False(t, g.Time.IsZero())
	}
}

func TestKcatWrites(t *testing.T) {
	t.Parallel()
	fw := connect(t, broker(t))
	topic := newTopic(t, fw, 1)
	packed := make(map[Compression]int)
	var want []weaver.Record[[]byte]
	for _, c := range compressions {
		input, records := foreign(c)
		header := weaver.Headers{{Key: "packed", Value: []byte(c.String())}, {Key: "empty", Value: []byte{}}}
		for i := range records {
			records[i].Headers = header
		}
		// What is too long packed to be worth it librdkafka sends as it is: the batches here are not.
		kcat(t, input, "-P", "-t", topic, "-p", "0", "-z", c.String(), "-K", "|", "-H", "packed="+c.String(), "-H", "empty=")
		want = append(want, records...)
		packed[c] = len(records)
	}
	kcat(t, "|a\nb|\n|\n", "-P", "-t", topic, "-p", "0", "-K", "|", "-Z")
	kcat(t, "|a\nb|\n", "-P", "-t", topic, "-p", "0", "-K", "|")
	packed[Uncompressed] += 5
	want = append(want,
		weaver.Record[[]byte]{Value: []byte("a")}, weaver.Record[[]byte]{Key: []byte("b")}, weaver.Record[[]byte]{},
		weaver.Record[[]byte]{Key: []byte{}, Value: []byte("a")}, weaver.Record[[]byte]{Key: []byte("b"), Value: []byte{}})
	require.Equal(t, packed, packedBy(t, fw, topic))
	wrote(t, want, readAll(t, fw.Consumer(topic, unique(t))))
	fromAnywhere(t, fw.Consumer(topic, ""), 31)
}

func TestJava(t *testing.T) {
	t.Parallel()
	j := startJava(t)
	fw := connect(t, j.broker)
	t.Run("reads", func(t *testing.T) { javaReads(t, j, fw) })
	t.Run("writes", func(t *testing.T) { javaWrites(t, j, fw) })
	t.Run("partitions", func(t *testing.T) { javaPartitions(t, j, fw) })
	t.Run("transactions", func(t *testing.T) { javaTransactions(t, j, fw) })
}

func javaReads(t *testing.T, j *java, fw *Framework) {
	topic, written := writeAssorted(t, fw)
	const apart, end, null = "<|>", "<end>", "<null>"
	var want strings.Builder
	for i, r := range written {
		headers := "NO_HEADERS"
		if len(r.Headers) > 0 {
			var all []string
			for _, h := range r.Headers {
				all = append(all, h.Key+":"+orNull(h.Value, null))
			}
			headers = strings.Join(all, ",")
		}
		fmt.Fprint(&want, "CreateTime:", r.Time.UnixMilli(), apart, "Partition:0", apart, "Offset:", i, apart, headers, apart, orNull(r.Key, null), apart, orNull(r.Value, null), end)
	}
	args := []string{"--topic", topic, "--partition", "0", "--offset", "earliest", "--max-messages", strconv.Itoa(len(written)), "--timeout-ms", "30000"}
	for _, p := range []string{"timestamp", "partition", "offset", "headers", "key", "value"} {
		args = append(args, "--formatter-property", "print."+p+"=true")
	}
	for name, v := range map[string]string{"key": apart, "line": end, "headers": ","} {
		args = append(args, "--formatter-property", name+".separator="+v)
	}
	same(t, want.String(), j.consume(t, append(args, "--formatter-property", "null.literal="+null)...))
}

func javaWrites(t *testing.T, j *java, fw *Framework) {
	topic := newTopic(t, fw, 1)
	packed := make(map[Compression]int)
	var want []weaver.Record[[]byte]
	for _, c := range compressions {
		input, records := foreign(c)
		var text strings.Builder
		for i, line := range lines(input) {
			records[i].Headers = weaver.Headers{{Key: "packed", Value: []byte(c.String())}, {Key: "empty", Value: []byte{}}, {Key: "null"}}
			fmt.Fprintf(&text, "packed:%s,empty:,null:<null>|%s\n", c, line)
		}
		// No headers, no key, no value; an empty key and value.
		text.WriteString("<null>|<null>|<null>\n<null>||\n")
		records = append(records, weaver.Record[[]byte]{}, weaver.Record[[]byte]{Key: []byte{}, Value: []byte{}})
		j.produce(t, text.String(), "--topic", topic, "--compression-codec", c.String(),
			"--reader-property", "parse.key=true", "--reader-property", "parse.headers=true", "--reader-property", "null.marker=<null>",
			"--reader-property", "key.separator=|", "--reader-property", "headers.delimiter=|")
		want = append(want, records...)
		packed[c] = len(records)
	}
	require.Equal(t, packed, packedBy(t, fw, topic))
	wrote(t, want, readAll(t, fw.Consumer(topic, unique(t))))
}

func javaPartitions(t *testing.T, j *java, fw *Framework) {
	const n, partitions = 1000, 7
	r := rand.New(rand.NewPCG(1, 2))
	var keys []string
	var text strings.Builder
	for i := range n {
		key := make([]rune, r.IntN(12))
		for k := range key {
			key[k] = []rune("abcxyz0189-_ äöüжщ世界😀")[r.IntN(21)]
		}
		keys = append(keys, string(key)+strconv.Itoa(i))
		fmt.Fprintf(&text, "%s|x\n", keys[i])
	}
	keys = append(keys, "")
	text.WriteString("|x\n")
	theirs, ours := newTopic(t, fw, partitions), newTopic(t, fw, partitions)
	j.produce(t, text.String(), "--topic", theirs, "--reader-property", "parse.key=true", "--reader-property", "key.separator=|")
	var records []weaver.Record[[]byte]
	for _, k := range keys {
		records = append(records, weaver.Record[[]byte]{Key: []byte(k), Value: []byte("x")})
	}
	put(t, fw, ours, records...)
	of := func(topic string) map[string]string {
		out := make(map[string]string)
		for _, line := range lines(kcat(t, "", "-C", "-t", topic, "-o", "beginning", "-e", "-q", "-f", `%p|%k\n`)) {
			partition, key, ok := strings.Cut(line, "|")
			require.True(t, ok)
			out[key] = partition
		}
		require.Len(t, out, len(keys))
		return out
	}
	require.Equal(t, of(theirs), of(ours))
}

func javaTransactions(t *testing.T, j *java, fw *Framework) {
	topic := newTopic(t, fw, 1)
	file := filepath.Join(t.TempDir(), "records")
	seed := strconv.FormatUint(rand.Uint64()>>1, 10)
	t.Logf("seed %s", seed)
	j.do(t, "transactions", file, j.broker, topic, seed)
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	read := func(uncommitted bool) (got []string) {
		c := fw.Consumer(topic, unique(t))
		c.ReadUncommitted, c.MaxBytes = uncommitted, 4096 // in many responses
		for _, r := range readAll(t, c) {
			got = append(got, fmt.Sprint(r.Seq, " ", strings.TrimRight(string(r.Value), "x")))
		}
		return got
	}
	is := func(states ...string) (want []string) {
		for _, line := range lines(string(text)) {
			words := strings.SplitN(line, " ", 3)
			if slices.Contains(states, words[1]) {
				want = append(want, words[0]+" "+strings.TrimRight(words[2], "x"))
			}
		}
		slices.SortFunc(want, func(a, b string) int { return offsetOf(t, a) - offsetOf(t, b) })
		return want
	}
	require.NotEmpty(t, is("aborted"))
	require.Len(t, is("open", "behind"), 2)
	require.Equal(t, is("committed", "aborted", "open", "behind"), read(true))
	require.Equal(t, is("committed"), read(false), "nothing of a transaction that is open, nor behind it")
	j.do(t, "end")
	require.Equal(t, is("committed", "open", "behind"), read(false))
	for _, maxBytes := range []int{0, 2000} {
		c := fw.Consumer(topic, "")
		c.MaxBytes = maxBytes
		fromAnywhere(t, c, 5)
	}
}

func offsetOf(t *testing.T, line string) int {
	number, _, _ := strings.Cut(line, " ")
	n, err := strconv.Atoi(number)
	require.NoError(t, err)
	return n
}

// A topic of which the cleaner has left the newest record a key.
func TestCompactedTopic(t *testing.T) {
	t.Parallel()
	fw := connect(t, broker(t))
	topic := compactedTopic(t, fw)
	r := rand.New(rand.NewPCG(3, 4))
	newest := make(map[string]int)
	var written []weaver.Record[[]byte]
	now := assorted(0)[0].Time // long ago
	for range 30 {
		var batch []weaver.Record[[]byte]
		for range 20 {
			key := fmt.Sprint("key ", r.IntN(40))
			rec := weaver.Record[[]byte]{Key: []byte(key), Value: fmt.Appendf(nil, "value %d", len(written)), Time: now}
			if r.IntN(10) == 0 {
				rec.Value, rec.Op = nil, weaver.Delete
			}
			newest[key] = len(written)
			batch, written = append(batch, rec), append(written, rec)
		}
		p := fw.Producer(topic)
		p.Compression = compressions[r.IntN(len(compressions))]
		w, err := p.OpenWriter(t.Context(), weaver.Lane{Log: quiet})
		require.NoError(t, err)
		b := weaver.NewBatch[[]byte](0, 0)
		b.Records = batch
		require.NoError(t, w.Write(t.Context(), b))
		require.NoError(t, w.Close())
		now = now.Add(1e9)
	}
	// One that begins a new segment: the newest one isn't compacted.
	last := weaver.Record[[]byte]{Key: []byte("last"), Value: []byte("last"), Time: now.Add(1e12)}
	put(t, fw, topic, last)
	newest["last"] = len(written)
	written = append(written, last)

	var kept []int
	for _, i := range newest {
		kept = append(kept, i)
	}
	slices.Sort(kept)
	eventually(t, "the cleaner has come by", func() bool {
		sum := 0
		for _, n := range packedBy(t, fw, topic) {
			sum += n
		}
		return sum == len(kept)
	})
	for _, maxBytes := range []int{0, 1} { // all at once, and a batch at a time
		c := fw.Consumer(topic, unique(t))
		c.MaxBytes = maxBytes
		got := readAll(t, c)
		require.Len(t, got, len(kept))
		for i, want := range kept {
			require.EqualValues(t, want, got[i].Seq)
			require.True(t, bytes.Equal(written[want].Key, got[i].Key))
			require.Equal(t, written[want].Value, got[i].Value)
			require.Equal(t, written[want].Time, got[i].Time)
		}
		fromAnywhere(t, c, 13)
	}
}
