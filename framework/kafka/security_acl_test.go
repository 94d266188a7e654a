package kafka

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/retry"
	"github.com/bohica-labs/dataweaver/weavertest"
)

// Short names for what ACLs are about.
const (
	onTopic    = kafkago.ResourceTypeTopic
	onGroup    = kafkago.ResourceTypeGroup
	toRead     = kafkago.ACLOperationTypeRead
	toWrite    = kafkago.ACLOperationTypeWrite
	toDescribe = kafkago.ACLOperationTypeDescribe
)

// as returns the cluster as a user of the test's own sees it, and that user's name.
func (s *secured) as(t testing.TB) (fw *Framework, user string) {
	user = "user-" + unique(t)
	fw = New(s.listener(t, "sasl_plaintext"))
	fw.SASL = OAuthBearer(token(user, time.Hour), nil)
	t.Cleanup(func() { _ = fw.Close() })
	return fw, user
}

// topic makes a topic on which nobody has a right but a user who doesn't exist.
func (s *secured) topic(t testing.TB, partitions int) string {
	t.Helper()
	name := unique(t)
	fw := New(s.addr)
	defer fw.Close()
	require.NoError(t, fw.CreateStream(t.Context(), weaver.Stream{Name: name, Partitions: partitions}))
	s.allow(t, acl{"nobody", toDescribe, onTopic, name}, acl{"nobody", toDescribe, onGroup, name})
	return name
}

func TestMissingRights(t *testing.T) {
	t.Parallel()
	s := security(t)
	for name, c := range map[string]struct {
		rights   []acl // of the user, with topic and group not named yet
		consumer []string
		producer []string // what is said; nil: all is well
	}{
		"none": {
			nil,
			[]string{"topic", "lack the ACL for the topic"},
			[]string{"topic", "lack the ACL for the topic"},
		},
		"to see the topic": {
			[]acl{{to: toDescribe, what: onTopic}, {to: toRead, what: onGroup}},
			[]string{"topic", "lack the ACL for the topic"},
			[]string{"topic", "lack the ACL for the topic"},
		},
		"to read and not to write": {
			[]acl{{to: toRead, what: onTopic}, {to: toRead, what: onGroup}},
			nil,
			[]string{"topic", "lack the ACL for the topic"},
		},
		"to write and not to read": {
			[]acl{{to: toWrite, what: onTopic}, {to: toRead, what: onGroup}},
			[]string{"topic", "lack the ACL for the topic"},
			nil,
		},
		"not the group": {
			[]acl{{to: toRead, what: onTopic}, {to: toWrite, what: onTopic}},
			[]string{"group", "lack the ACL for the group"},
			nil,
		},
		"to see the group": {
			[]acl{{to: toRead, what: onTopic}, {to: toDescribe, what: onGroup}},
			[]string{"group", "lack the ACL for the group"},
			[]string{"topic", "lack the ACL for the topic"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fw, user := s.as(t)
			topic := s.topic(t, 2)
			for _, a := range c.rights {
				a.user, a.name = user, topic
				s.allow(t, a)
			}
			seen := &watched{}
			require.NoError(t, fw.CheckHealth(t.Context()))
			look := func(what string, err error, says []string) {
				if says == nil {
					require.NoError(t, err, what)
					return
				}
				require.Error(t, err, what)
				require.Equal(t, retry.ClassFatal, retry.ClassOf(err), "%s: %v", what, err)
				for _, words := range append(says, topic) {
					require.ErrorContains(t, err, words, what)
				}
			}
			look("a consumer", fw.Consumer(topic, topic).CheckHealth(t.Context()), c.consumer)
			look("a producer", fw.Producer(topic).CheckHealth(t.Context()), c.producer)
			if c.consumer != nil {
				expect(t, retry.ClassFatal, seen, weaver.Copy(fw.Consume(topic, topic), weaver.Sink[[]byte](weavertest.NewSink[[]byte]())))
			}
			if c.producer != nil {
				source := weavertest.NewSource([]byte("x"))
				expect(t, retry.ClassFatal, seen, weaver.Copy[[]byte](source, fw.Produce(topic)))
				require.Zero(t, source.Acked(""))
			}
		})
	}
}

func TestMissingTopic(t *testing.T) {
	t.Parallel()
	fw := New(broker(t))
	defer fw.Close()
	topic, seen := unique(t), &watched{}
	for _, part := range []weaver.HealthChecker{fw.Consumer(topic, topic), fw.Producer(topic)} {
		err := part.CheckHealth(t.Context())
		require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
		require.ErrorContains(t, err, topic)
		require.ErrorContains(t, err, "CreateStream")
	}
	expect(t, retry.ClassFatal, seen, weaver.Copy(fw.Consume(topic, topic), weaver.Sink[[]byte](weavertest.NewSink[[]byte]())))
	expect(t, retry.ClassFatal, seen, weaver.Copy[[]byte](weavertest.NewSource([]byte("x")), fw.Produce(topic)))
}

// A right to write that is taken away while a pipeline writes.
func TestRightToWriteIsTakenAway(t *testing.T) {
	t.Parallel()
	s := security(t)
	fw, user := s.as(t)
	topic := s.topic(t, 3)
	right := acl{user, toWrite, onTopic, topic}
	s.allow(t, right)
	source := feed(t)
	p := weaver.Copy[[]byte](source, fw.Produce(topic))
	err := whileRunning(t, p, func() {
		require.NoError(t, source.WaitAcked(t.Context(), "", 200))
		s.forbid(t, right)
	})
	require.ErrorContains(t, err, "lack the ACL for the topic")
	s.allAcknowledgedIsThere(t, topic, source)
}

// A user that is deleted while a pipeline writes. The broker ends sessions after two seconds, and the next one isn't let in.
func TestUserIsDeletedUnderWay(t *testing.T) {
	t.Parallel()
	s := security(t)
	user, password := s.scram(t)
	topic := s.topic(t, 3)
	s.allow(t, acl{user, toWrite, onTopic, topic}, acl{user, toRead, onTopic, topic}, acl{user, toRead, onGroup, topic})
	fw := New(s.listener(t, "sasl_expiring"))
	fw.SASL = ScramSHA256(user, password)
	defer fw.Close()
	seen := &watched{}

	source := feed(t)
	in := weaver.Copy[[]byte](source, fw.Produce(topic))
	sink := weavertest.NewSink[[]byte]()
	out := weaver.Copy(fw.Consume(topic, topic), weaver.Sink[[]byte](sink))
	in.Log, out.Log = seen.log(), seen.log()
	reading := make(chan error, 1)
	go func() { reading <- whileRunning(t, out, func() {}) }()
	err := whileRunning(t, in, func() {
		require.NoError(t, source.WaitAcked(t.Context(), "", 200))
		require.NoError(t, sink.Wait(t.Context(), 200))
		s.dropScram(t, user)
	})
	require.ErrorContains(t, err, "refuses these credentials")
	require.ErrorContains(t, <-reading, "refuses these credentials")
	seen.see(err)
	seen.check(t, password)
	written := s.allAcknowledgedIsThere(t, topic, source)
	position := position(t, s.admin, topic, topic, 3)
	require.LessOrEqual(t, position, int64(len(sink.Written())), "nothing is committed that was not written")
	require.LessOrEqual(t, position, int64(written))
}

// Sessions that end again and again, as brokers with connections.max.reauth.ms do it, cost time alone.
func TestSessionsExpire(t *testing.T) {
	t.Parallel()
	s := security(t)
	user, password := s.user(t)
	fw := New(s.listener(t, "sasl_expiring"))
	fw.SASL = Plain(user, password)
	defer fw.Close()
	topic := unique(t)
	require.NoError(t, fw.CreateStream(t.Context(), weaver.Stream{Name: topic, Partitions: 3}))
	source := weavertest.NewSource(numbered(100)...)
	source.Endless = true
	in := weaver.Copy[[]byte](source, fw.Produce(topic))
	sink := weavertest.NewSink[[]byte]()
	out := weaver.Copy(fw.Consume(topic, topic), weaver.Sink[[]byte](sink))
	in.Log, out.Log = quiet, quiet
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- weaver.Run(ctx, in, out) }()
	for n := 100; n <= 600; n += 100 { // beyond the end of two sessions
		await(t, func() bool { return len(distinct(sink.Values())) == n })
		source.Add("", counted(n, 100)...)
		time.Sleep(time.Second)
	}
	await(t, func() bool { return len(distinct(sink.Values())) == 700 })
	cancel()
	require.NoError(t, <-done)
}

func counted(from, n int) []weaver.Record[[]byte] {
	out := make([]weaver.Record[[]byte], n)
	for i := range out {
		out[i].Value = fmt.Appendf(nil, "value %d", from+i)
	}
	return out
}

func distinct(values [][]byte) map[string]bool {
	out := make(map[string]bool)
	for _, v := range values {
		out[string(v)] = true
	}
	return out
}

// A right to read that is taken away, of the topic or of the group, while a pipeline reads.
func TestRightToReadIsTakenAway(t *testing.T) {
	t.Parallel()
	s := security(t)
	for name, what := range map[string]kafkago.ResourceType{"topic": onTopic, "group": onGroup} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fw, user := s.as(t)
			topic := s.topic(t, 3)
			s.allow(t, acl{user, toRead, onTopic, topic}, acl{user, toRead, onGroup, topic})
			source, sink := feed(t), weavertest.NewSink[[]byte]()
			everybody := New(s.addr)
			defer everybody.Close()
			in := weaver.Copy[[]byte](source, everybody.Produce(topic))
			in.Log = quiet
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			writing := make(chan error, 1)
			go func() { writing <- in.Run(ctx) }()
			err := whileRunning(t, weaver.Copy(fw.Consume(topic, topic), weaver.Sink[[]byte](sink)), func() {
				require.NoError(t, sink.Wait(t.Context(), 200))
				s.forbid(t, acl{user, toRead, what, topic})
			})
			require.ErrorContains(t, err, "lack the ACL for the "+name)
			require.LessOrEqual(t, position(t, s.admin, topic, topic, 3), int64(len(sink.Written())), "nothing is committed that was not written")
			cancel()
			require.NoError(t, <-writing)
		})
	}
}

// feed is a source that has a record every few milliseconds for as long as the test runs.
func feed(t *testing.T) *weavertest.Source[[]byte] {
	source := &weavertest.Source[[]byte]{Endless: true}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	t.Cleanup(func() { cancel(); <-done })
	go func() {
		defer close(done)
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for n := 0; ; n++ {
			source.Add("", counted(n, 1)...)
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	}()
	return source
}

// whileRunning runs a pipeline, does something meanwhile, and returns the fatal error with which the pipeline then stops.
func whileRunning(t *testing.T, p *weaver.Pipeline[[]byte, []byte], do func()) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 45*time.Second)
	defer cancel()
	if p.Log == nil {
		p.Log = quiet
	}
	p.CheckpointInterval, p.StopTimeout = 20*time.Millisecond, time.Second
	p.Retry = retry.Policy{Initial: 10 * time.Millisecond, Max: 100 * time.Millisecond}
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	do()
	err := <-done
	require.NoError(t, ctx.Err(), "it doesn't stop by itself: %v", err)
	require.Equal(t, retry.ClassFatal, retry.ClassOf(err), "%v", err)
	return err
}

// allAcknowledgedIsThere compares what a source was told with what a topic holds, and returns how many records that is.
func (s *secured) allAcknowledgedIsThere(t *testing.T, topic string, source *weavertest.Source[[]byte]) int {
	t.Helper()
	acked := source.Acked("")
	require.Positive(t, acked)
	values := all(t, s.addr, topic)
	there := distinct(values)
	for i := range acked {
		v := fmt.Sprintf("value %d", i)
		require.True(t, there[v], "%s was acknowledged and isn't there", v)
	}
	require.Less(t, acked, source.Delivered("")+1)
	return len(values)
}

// all reads what a topic holds now, without a group.
func all(t testing.TB, addr, topic string) [][]byte {
	t.Helper()
	fw := New(addr)
	defer fw.Close()
	sink := weavertest.NewSink[[]byte]()
	before, out := weaver.Copy[[]byte](weavertest.NewSource[[]byte](), weaver.Sink[[]byte](weavertest.NewSink[[]byte]())), weaver.Copy(fw.Consume(topic, ""), weaver.Sink[[]byte](sink))
	before.Log, out.Log, out.After = quiet, quiet, before
	require.NoError(t, weaver.Run(t.Context(), before, out))
	return slices.DeleteFunc(sink.Values(), func(v []byte) bool { return !strings.HasPrefix(string(v), "value") })
}
