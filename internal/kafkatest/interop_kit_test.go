package kafkatest

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/binary"
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

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/framework/kafka"
)

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
		cache = filepath.Join("..", "services", ".cache")
	}
	found, err := filepath.Glob(filepath.Join(cache, "kafka-*", "complete"))
	require.NoError(t, err)
	if len(found) == 0 {
		missing(t, "needs Kafka's Java clients: run internal/services/with kafka -- bash -c 'cd internal/kafkatest && go test ./...', which fetches them")
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
			missing(t, "needs kcat: run internal/services/with kafka kcat -- bash -c 'cd internal/kafkatest && go test ./...', or install it (Debian and Ubuntu: apt-get install kcat)")
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

// packedBy returns how the batches of a topic's only partition are packed, as they lie at the broker.
func packedBy(t testing.TB, topic string) map[kafka.Compression]int {
	t.Helper()
	versions := kversion.Stable()
	versions.SetMaxKeyVersion(int16(kmsg.Fetch), 12) // the last one that has names
	cl, err := kgo.NewClient(kgo.SeedBrokers(broker(t)), kgo.MaxVersions(versions))
	require.NoError(t, err)
	defer cl.Close()
	out := make(map[kafka.Compression]int)
	for next, end := int64(0), int64(1); next < end; {
		req := kmsg.NewPtrFetchRequest()
		req.MaxWaitMillis, req.MaxBytes = 100, 1<<26
		of, part := kmsg.NewFetchRequestTopic(), kmsg.NewFetchRequestTopicPartition()
		part.FetchOffset, part.PartitionMaxBytes = next, 1<<25
		of.Topic, of.Partitions = topic, append(of.Partitions, part)
		req.Topics = append(req.Topics, of)
		res, err := req.RequestWith(t.Context(), cl)
		require.NoError(t, err)
		got := res.Topics[0].Partitions[0]
		require.NoError(t, kerr.ErrorForCode(got.ErrorCode))
		end = got.HighWatermark
		const head = 12 // an offset and a length
		for set := got.RecordBatches; len(set) > head; {
			size := head + int(binary.BigEndian.Uint32(set[8:]))
			if size > len(set) {
				break
			}
			var batch kmsg.RecordBatch
			require.NoError(t, batch.ReadFrom(set[:size]))
			out[kafka.Compression(batch.Attributes&7)] += int(batch.NumRecords)
			next, set = batch.FirstOffset+int64(batch.LastOffsetDelta)+1, set[size:]
		}
	}
	return out
}

// fromAnywhere compares what is read from one offset after the other with what is read from the first.
func fromAnywhere(t testing.TB, c weaver.Source[[]byte], step int64) {
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
func compactedTopic(t testing.TB, c connected) string {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(broker(t)))
	require.NoError(t, err)
	defer cl.Close()
	req := kmsg.NewPtrCreateTopicsRequest()
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = unique(t), 1, 1
	for name, value := range map[string]string{"cleanup.policy": "compact", "segment.ms": "10000", "min.cleanable.dirty.ratio": "0.001"} {
		config := kmsg.NewCreateTopicsRequestTopicConfig()
		config.Name, config.Value = name, &value
		topic.Configs = append(topic.Configs, config)
	}
	req.Topics = append(req.Topics, topic)
	res, err := req.RequestWith(t.Context(), cl)
	require.NoError(t, err)
	require.NoError(t, kerr.ErrorForCode(res.Topics[0].ErrorCode))
	require.NoError(t, c.fw.CreateStream(t.Context(), weaver.Stream{Name: topic.Topic, Partitions: 1})) // waits for it
	return topic.Topic
}
