package kafka

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
)

// missing skips a test for which something isn't there, and fails it where all has to be there.
func missing(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(what)
	}
	t.Skip(what)
}

// java is a process that runs Kafka's own clients, testdata/Interop.java. It takes one command at a time.
type java struct {
	in     io.WriteCloser
	out    *bufio.Reader
	broker string
}

func startJava(t testing.TB) *java {
	t.Helper()
	addr := broker(t)
	cache := os.Getenv("WEAVER_SERVICES_CACHE")
	if cache == "" {
		cache = filepath.Join("..", "..", "internal", "services", ".cache")
	}
	found, err := filepath.Glob(filepath.Join(cache, "kafka-*", "complete"))
	require.NoError(t, err)
	if len(found) == 0 {
		missing(t, "needs Kafka's Java clients: run internal/services/with kafka -- go test ./framework/kafka, which fetches them")
	}
	if _, err := exec.LookPath("java"); err != nil {
		missing(t, "needs Java 17: install openjdk-17-jre-headless")
	}
	libs := filepath.Join(filepath.Dir(found[len(found)-1]), "*")
	cmd := exec.Command("java", "-XX:TieredStopAtLevel=1", "-Xmx256m", "-cp", libs, filepath.Join("testdata", "Interop.java"))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = in.Close()
		timer := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() })
		defer timer.Stop()
		if err := cmd.Wait(); err != nil || t.Failed() {
			t.Logf("java: %v\n%s", err, stderr.String())
		}
	})
	return &java{in, bufio.NewReader(out), addr}
}

// do carries out a command.
func (j *java) do(t testing.TB, words ...string) {
	t.Helper()
	_, err := io.WriteString(j.in, strings.Join(words, "\t")+"\n")
	require.NoError(t, err)
	answer, err := j.out.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "ok\n", answer)
}

// produce has ConsoleProducer write what is in input.
func (j *java) produce(t testing.TB, input string, args ...string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "in")
	require.NoError(t, os.WriteFile(file, []byte(input), 0o600))
	j.do(t, append([]string{"produce", file, "--bootstrap-server", j.broker}, args...)...)
}

// consume returns what ConsoleConsumer writes.
func (j *java) consume(t testing.TB, args ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "out")
	j.do(t, append([]string{"consume", file, "--bootstrap-server", j.broker}, args...)...)
	out, err := os.ReadFile(file)
	require.NoError(t, err)
	return string(out)
}

// kcat runs kcat with an input and returns its output.
func kcat(t testing.TB, input string, args ...string) string {
	t.Helper()
	addr := broker(t)
	path := os.Getenv("WEAVER_TEST_KCAT")
	if path == "" {
		var err error
		if path, err = exec.LookPath("kcat"); err != nil {
			missing(t, "needs kcat: run internal/services/with kafka kcat -- go test ./framework/kafka, or install it (Debian and Ubuntu: apt-get install kcat)")
		}
	}
	cmd := exec.CommandContext(t.Context(), path, append([]string{"-b", addr}, args...)...)
	cmd.Stdin = strings.NewReader(input)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, stderr.String())
	return string(out)
}

// assorted returns records of all kinds that Kafka knows. Text is what their headers hold, for clients that print it.
func assorted(seed uint64) []weaver.Record[[]byte] {
	r := rand.New(rand.NewPCG(seed, 0))
	noise := func(n int) []byte {
		p := make([]byte, n)
		for i := range p {
			p[i] = byte(r.Uint32())
		}
		return p
	}
	keys := [][]byte{nil, {}, []byte("key"), noise(1), noise(300), []byte("ключ\x00\n\t")}
	values := [][]byte{nil, {}, []byte("value"), noise(1), noise(20_000), bytes.Repeat([]byte("weaver "), 5_000)}
	headers := []weaver.Headers{
		nil,
		{{Key: "a", Value: []byte("1")}},
		{{Key: "a", Value: []byte("1")}, {Key: "a", Value: []byte("2")}, {Key: "", Value: []byte("no name")}},
		{{Key: "empty", Value: []byte{}}, {Key: "null", Value: nil}, {Key: "ключ", Value: []byte("значение")}},
	}
	times := []int64{0, 1, 1_700_000_000_123, time.Now().UnixMilli()}
	var out []weaver.Record[[]byte]
	for i, key := range keys {
		for j, value := range values {
			rec := weaver.Record[[]byte]{Key: key, Value: value, Headers: headers[(i+j)%len(headers)], Time: time.UnixMilli(times[(i+2*j)%len(times)]).UTC()}
			if value == nil {
				rec.Op = weaver.Delete
			}
			out = append(out, rec)
		}
	}
	return out
}

// packedBy returns how the batches of a partition are packed, as they lie at the broker.
func packedBy(t testing.TB, fw *Framework, topic string) map[Compression]int {
	t.Helper()
	r := newReader(fw.Consumer(topic, ""), newAssignment(nil, topic, 0, none), quiet)
	r.next.Store(0)
	require.NoError(t, r.open(t.Context()))
	defer r.Close()
	out := make(map[Compression]int)
	for next, end := int64(0), int64(1); next < end; {
		require.NoError(t, r.fetch.ask(t.Context(), next))
		res, err := r.fetch.answer(t.Context())
		require.NoError(t, err)
		require.NoError(t, res.err)
		end = res.high
		for set := res.set; ; {
			batch, rest, ok, err := cutBatch(set)
			require.NoError(t, err)
			if !ok {
				break
			}
			h, err := parseHeader(batch)
			require.NoError(t, err)
			out[Compression(h.attributes&attrCompression)] += int(h.records)
			next, set = h.next(), rest
		}
	}
	return out
}

// readFrom reads what partition 0 holds from an offset on.
func readFrom(t testing.TB, c *Consumer, offset int64) (got []weaver.Record[[]byte]) {
	t.Helper()
	at := weaver.Lane{Split: weaver.Split{ID: splitID(c.Topics[0], 0)}, Position: encodePosition(nil, offset, -1), Log: quiet}
	r, err := c.OpenReader(t.Context(), at)
	require.NoError(t, err)
	defer r.Close()
	require.NoError(t, r.(weaver.Finisher).Finish(t.Context()))
	for {
		b := weaver.NewBatch[[]byte](0, 0)
		_, err := r.Read(t.Context(), b)
		require.Empty(t, b.Rejects())
		got = append(got, b.Records...)
		if errors.Is(err, io.EOF) {
			return got
		}
		require.NoError(t, err)
	}
}

// fromAnywhere compares what is read from one offset after the other with what is read from the first.
func fromAnywhere(t testing.TB, c *Consumer, step int64) {
	t.Helper()
	all := readFrom(t, c, 0)
	require.NotEmpty(t, all)
	for offset := int64(1); offset <= all[len(all)-1].Seq; offset += step {
		i, _ := slices.BinarySearchFunc(all, offset, func(r weaver.Record[[]byte], o int64) int { return cmp.Compare(r.Seq, o) })
		got := readFrom(t, c, offset)
		require.Len(t, got, len(all)-i, "from offset %d", offset)
		for k := range got {
			require.Equal(t, all[i+k].Seq, got[k].Seq, "from offset %d", offset)
			require.True(t, bytes.Equal(all[i+k].Value, got[k].Value), "from offset %d", offset)
		}
	}
}

// lines are without the end of the last.
func lines(text string) []string { return strings.Split(strings.TrimSuffix(text, "\n"), "\n") }

// orNull is how kcat and the console tools print what may be missing.
func orNull(p []byte, null string) string {
	if p == nil {
		return null
	}
	return string(p)
}

// lengthOf is what kcat says about it.
func lengthOf(p []byte) string {
	if p == nil {
		return "-1"
	}
	return fmt.Sprint(len(p))
}

// compactedTopic makes a topic of one partition whose segments are of records within 10 s, and are compacted at once.
func compactedTopic(t testing.TB, fw *Framework) string {
	t.Helper()
	name := unique(t)
	res, err := client(t, broker(t)).CreateTopics(t.Context(), &kafkago.CreateTopicsRequest{Topics: []kafkago.TopicConfig{{
		Topic: name, NumPartitions: 1, ReplicationFactor: 1,
		ConfigEntries: []kafkago.ConfigEntry{
			{ConfigName: "cleanup.policy", ConfigValue: "compact"},
			{ConfigName: "segment.ms", ConfigValue: "10000"},
			{ConfigName: "min.cleanable.dirty.ratio", ConfigValue: "0.001"},
		},
	}}})
	require.NoError(t, err)
	require.NoError(t, res.Errors[name])
	require.NoError(t, fw.CreateStream(t.Context(), weaver.Stream{Name: name, Partitions: 1})) // waits for it
	return name
}
