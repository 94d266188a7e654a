package kafkatest

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
	"time"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/framework/kafka"
)

// writeAssorted writes records of all kinds to a topic with one partition, packed in every way, and returns them.
func writeAssorted(t *testing.T, c connected) (topic string, written []weaver.Record[[]byte]) {
	t.Helper()
	topic = c.topic(t, 1)
	packed := make(map[kafka.Compression]int)
	for _, by := range compressions {
		records := assorted(uint64(by))
		c.write(t, topic, by, records)
		written = append(written, records...)
		packed[by] = len(records)
	}
	require.Equal(t, packed, packedBy(t, topic), "the broker has kept what was sent")
	return topic, written
}

// byEach runs a test for each client.
func byEach(t *testing.T, test func(t *testing.T, c connected)) {
	t.Helper()
	addr := broker(t)
	for _, c := range clients {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			test(t, c.connect(t, addr))
		})
	}
}

func TestKcatReads(t *testing.T) {
	t.Parallel()
	byEach(t, kcatReads)
}

func kcatReads(t *testing.T, c connected) {
	topic, written := writeAssorted(t, c)
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
func foreign(c kafka.Compression) (input string, want []weaver.Record[[]byte]) {
	var text strings.Builder
	for i := range 200 {
		key, value := fmt.Sprintf("%s-key-%d", c, i), fmt.Sprintf("value %d %s", i, strings.Repeat("weaver ", 20+i))
		fmt.Fprintf(&text, "%s|%s\n", key, value)
		want = append(want, weaver.Record[[]byte]{Key: []byte(key), Value: []byte(value)})
	}
	return text.String(), want
}

// wrote compares records that others wrote with what they were given.
func wrote(t *testing.T, topic string, want, got []weaver.Record[[]byte]) {
	t.Helper()
	require.Len(t, got, len(want))
	times := lines(kcat(t, "", "-C", "-t", topic, "-o", "beginning", "-e", "-q", "-f", `%T\n`))
	require.Len(t, times, len(want))
	for i, w := range want {
		g := got[i]
		require.Equal(t, times[i], strconv.FormatInt(g.Time.UnixMilli(), 10), "time of record %d", i)
		require.EqualValues(t, i, g.Seq)
		require.Equal(t, w.Key, g.Key, "key of record %d", i)
		require.Equal(t, w.Value, g.Value, "value of record %d", i)
		require.Equal(t, w.Headers, g.Headers, "headers of record %d", i)
		require.Equal(t, w.Key == nil, g.Key == nil, "nil and empty are two things")
		require.Equal(t, w.Value == nil, g.Value == nil, "nil and empty are two things")
		require.Equal(t, w.Value == nil, g.Op == weaver.Delete)
		require.Less(t, time.Since(g.Time).Abs(), time.Hour)
	}
}

func TestKcatWrites(t *testing.T) {
	t.Parallel()
	byEach(t, kcatWrites)
}

func kcatWrites(t *testing.T, c connected) {
	topic := c.topic(t, 1)
	packed := make(map[kafka.Compression]int)
	var want []weaver.Record[[]byte]
	for _, by := range compressions {
		input, records := foreign(by)
		header := weaver.Headers{{Key: "packed", Value: []byte(by.String())}, {Key: "empty", Value: []byte{}}}
		for i := range records {
			records[i].Headers = header
		}
		// What is too long packed to be worth it librdkafka sends as it is: the batches here are not, whatever is in them.
		kcat(t, input, "-P", "-t", topic, "-p", "0", "-z", by.String(), "-X", "linger.ms=500", "-K", "|", "-H", "packed="+by.String(), "-H", "empty=")
		want = append(want, records...)
		packed[by] = len(records)
	}
	kcat(t, "|a\nb|\n|\n", "-P", "-t", topic, "-p", "0", "-K", "|", "-Z")
	kcat(t, "|a\nb|\n", "-P", "-t", topic, "-p", "0", "-K", "|")
	packed[kafka.Uncompressed] += 5
	want = append(want,
		weaver.Record[[]byte]{Value: []byte("a")}, weaver.Record[[]byte]{Key: []byte("b")}, weaver.Record[[]byte]{},
		weaver.Record[[]byte]{Key: []byte{}, Value: []byte("a")}, weaver.Record[[]byte]{Key: []byte("b"), Value: []byte{}})
	require.Equal(t, packed, packedBy(t, topic))
	wrote(t, topic, want, recordsOf(t, c.source(topic, reading{})))
	fromAnywhere(t, c.source(topic, reading{}), 31)
}

func TestJava(t *testing.T) {
	t.Parallel()
	j := startJava(t)
	for _, c := range clients { // it takes one command at a time
		c := c.connect(t, j.broker)
		for name, test := range map[string]func(*testing.T, *java, connected){
			"reads": javaReads, "writes": javaWrites, "partitions": javaPartitions, "transactions": javaTransactions,
		} {
			t.Run(c.name+" "+name, func(t *testing.T) { test(t, j, c) })
		}
	}
}

func javaReads(t *testing.T, j *java, c connected) {
	topic, written := writeAssorted(t, c)
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

func javaWrites(t *testing.T, j *java, c connected) {
	topic := c.topic(t, 1)
	packed := make(map[kafka.Compression]int)
	var want []weaver.Record[[]byte]
	for _, by := range compressions {
		input, records := foreign(by)
		var text strings.Builder
		for i, line := range lines(input) {
			records[i].Headers = weaver.Headers{{Key: "packed", Value: []byte(by.String())}, {Key: "empty", Value: []byte{}}, {Key: "null"}}
			fmt.Fprintf(&text, "packed:%s,empty:,null:<null>|%s\n", by, line)
		}
		// No headers, no key, no value; an empty key and value.
		text.WriteString("<null>|<null>|<null>\n<null>||\n")
		records = append(records, weaver.Record[[]byte]{}, weaver.Record[[]byte]{Key: []byte{}, Value: []byte{}})
		j.produce(t, text.String(), "--topic", topic, "--compression-codec", by.String(),
			"--reader-property", "parse.key=true", "--reader-property", "parse.headers=true", "--reader-property", "null.marker=<null>",
			"--reader-property", "key.separator=|", "--reader-property", "headers.delimiter=|")
		want = append(want, records...)
		packed[by] = len(records)
	}
	require.Equal(t, packed, packedBy(t, topic))
	wrote(t, topic, want, recordsOf(t, c.source(topic, reading{})))
}

func javaPartitions(t *testing.T, j *java, c connected) {
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
	theirs, ours := c.topic(t, partitions), c.topic(t, partitions)
	j.produce(t, text.String(), "--topic", theirs, "--reader-property", "parse.key=true", "--reader-property", "key.separator=|")
	var records []weaver.Record[[]byte]
	for _, k := range keys {
		records = append(records, weaver.Record[[]byte]{Key: []byte(k), Value: []byte("x")})
	}
	c.write(t, ours, kafka.Uncompressed, records)
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

func javaTransactions(t *testing.T, j *java, c connected) {
	topic := c.topic(t, 1)
	file := filepath.Join(t.TempDir(), "records")
	seed := strconv.FormatUint(rand.Uint64()>>1, 10)
	t.Logf("seed %s", seed)
	j.do(t, "transactions", file, j.broker, topic, seed)
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	read := func(uncommitted bool) (got []string) {
		for _, r := range recordsOf(t, c.source(topic, reading{uncommitted, 4096})) { // in many responses
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
	// That a transaction is committed the broker says a little before it is so.
	committed := func(want []string, what string) {
		t.Helper()
		var got []string
		for range 100 {
			if got = read(false); slices.Equal(want, got) {
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
		require.Equal(t, want, got, what)
	}
	require.NotEmpty(t, is("aborted"))
	require.Len(t, is("open", "behind"), 2)
	require.Equal(t, is("committed", "aborted", "open", "behind"), read(true))
	committed(is("committed"), "nothing of a transaction that is open, nor behind it")
	j.do(t, "end")
	committed(is("committed", "open", "behind"), "all of it")
	for _, maxBytes := range []int{0, 2000} {
		fromAnywhere(t, c.source(topic, reading{maxBytes: maxBytes}), 5)
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
	byEach(t, readsCompacted)
}

func readsCompacted(t *testing.T, c connected) {
	topic := compactedTopic(t, c)
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
		c.write(t, topic, compressions[r.IntN(len(compressions))], batch)
		now = now.Add(1e9)
	}
	// One that begins a new segment: the newest one isn't compacted.
	last := weaver.Record[[]byte]{Key: []byte("last"), Value: []byte("last"), Time: now.Add(1e12)}
	c.write(t, topic, kafka.Uncompressed, []weaver.Record[[]byte]{last})
	newest["last"] = len(written)
	written = append(written, last)

	var kept []int
	for _, i := range newest {
		kept = append(kept, i)
	}
	slices.Sort(kept)
	require.Eventually(t, func() bool {
		sum := 0
		for _, n := range packedBy(t, topic) {
			sum += n
		}
		return sum == len(kept)
	}, time.Minute, 50*time.Millisecond, "the cleaner has come by")
	for _, maxBytes := range []int{0, 1} { // all at once, and a batch at a time
		source := c.source(topic, reading{maxBytes: maxBytes})
		got := recordsOf(t, source)
		require.Len(t, got, len(kept))
		for i, want := range kept {
			require.EqualValues(t, want, got[i].Seq)
			require.True(t, bytes.Equal(written[want].Key, got[i].Key))
			require.Equal(t, written[want].Value, got[i].Value)
			require.Equal(t, written[want].Time, got[i].Time)
		}
		fromAnywhere(t, source, 13)
	}
}
