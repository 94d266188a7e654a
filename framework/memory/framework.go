package memory

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/retry"
)

const (
	defaultMaxBytes         = 64 << 20
	defaultRebalanceTimeout = 10 * time.Second
)

// ErrClosed is what everything that a Framework opened returns once the Framework is closed. It is fatal.
var ErrClosed = retry.Fatal(errors.New("memory: the framework is closed"))

// Framework holds streams in memory. It is safe for concurrent use; its fields are set before that.
type Framework struct {
	MaxBytes         int64         // a stream's records that wait to be consumed by a group, or are kept to be read again; default 64 MiB
	RebalanceTimeout time.Duration // in which a revoked partition has to be given up; default 10 s

	mu      sync.Mutex
	streams map[string]*stream
	closed  bool
}

// New returns a Framework without streams.
func New() *Framework { return &Framework{} }

// CreateStream makes the stream exist, with one partition and no end of retention where s doesn't say. Replication is
// remembered and has no effect.
func (f *Framework) CreateStream(_ context.Context, s weaver.Stream) error {
	switch {
	case s.Name == "":
		return retry.Fatal(errors.New("memory: Stream.Name is empty"))
	case s.Partitions < 0:
		return retry.Fatal(fmt.Errorf("memory: Stream.Partitions of %q is %d: must not be negative", s.Name, s.Partitions))
	case s.Replication < 0:
		return retry.Fatal(fmt.Errorf("memory: Stream.Replication of %q is %d: must not be negative", s.Name, s.Replication))
	case f.MaxBytes < 0:
		return retry.Fatal(fmt.Errorf("memory: Framework.MaxBytes is %d: must not be negative", f.MaxBytes))
	case f.RebalanceTimeout < 0:
		return retry.Fatal(fmt.Errorf("memory: Framework.RebalanceTimeout is %v: must not be negative", f.RebalanceTimeout))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return ErrClosed
	}
	if there := f.streams[s.Name]; there != nil {
		return differs(there.config, s)
	}
	s.Partitions, s.Replication = max(s.Partitions, 1), max(s.Replication, 1)
	if s.Retention == 0 {
		s.Retention = -1
	}
	if f.streams == nil {
		f.streams = make(map[string]*stream)
	}
	f.streams[s.Name] = newStream(s, orDefault(f.MaxBytes, defaultMaxBytes), orDefault(f.RebalanceTimeout, defaultRebalanceTimeout))
	return nil
}

func orDefault[N int64 | time.Duration](v, standard N) N {
	if v == 0 {
		return standard
	}
	return v
}

// differs says how a stream that is there differs from the one asked for. What is zero asks for nothing.
func differs(is, want weaver.Stream) error {
	var how []string
	if want.Partitions != 0 && want.Partitions != is.Partitions {
		how = append(how, fmt.Sprintf("%d partitions, not %d", is.Partitions, want.Partitions))
	}
	if want.Replication != 0 && want.Replication != is.Replication {
		how = append(how, fmt.Sprintf("a replication of %d, not %d", is.Replication, want.Replication))
	}
	if want.Retention != 0 && want.Retention != is.Retention && (want.Retention > 0 || is.Retention > 0) {
		how = append(how, fmt.Sprintf("a retention of %s, not %s", retention(is.Retention), retention(want.Retention)))
	}
	if len(how) == 0 {
		return nil
	}
	return retry.Fatal(fmt.Errorf("memory: stream %q exists with %s", is.Name, strings.Join(how, " and ")))
}

func retention(d time.Duration) string {
	if d < 0 {
		return "for ever"
	}
	return d.String()
}

// Consume is Consumer with all its defaults.
func (f *Framework) Consume(stream, group string) weaver.Source[[]byte] {
	return f.Consumer(stream, group)
}

// Produce is Producer.
func (f *Framework) Produce(stream string) weaver.Sink[[]byte] { return f.Producer(stream) }

// RemoveGroup forgets a group's positions, and that the stream keeps records for it. It fails while the group has
// members; a group that isn't there is no error.
func (f *Framework) RemoveGroup(stream, group string) error {
	s, err := f.stream(stream)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.groups[group]
	if g == nil {
		return nil
	}
	if n := len(g.members); n > 0 {
		return fmt.Errorf("memory: group %q of stream %q has %d members", group, stream, n)
	}
	delete(s.groups, group)
	s.settle()
	return nil
}

// Close ends the framework: what it opened returns ErrClosed from now on, also calls that wait. It can be called twice.
func (f *Framework) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	for _, s := range f.streams {
		s.close()
	}
	f.streams = nil
	return nil
}

func (f *Framework) stream(name string) (*stream, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, ErrClosed
	}
	s := f.streams[name]
	if s == nil {
		return nil, retry.Fatal(fmt.Errorf("memory: there is no stream %q: call CreateStream before the pipeline runs", name))
	}
	return s, nil
}

var _ weaver.Framework = (*Framework)(nil)
