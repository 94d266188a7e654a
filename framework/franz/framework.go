package franz

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/retry"
)

const (
	defaultClientID       = "dataweaver"
	defaultDialTimeout    = 10 * time.Second
	defaultRequestTimeout = 10 * time.Second
	defaultRetryTimeout   = 30 * time.Second
)

// ErrClosed is what everything that a Framework opened returns once the Framework is closed. It is fatal.
var ErrClosed = retry.Fatal(errors.New("franz: the framework is closed"))

// Framework is a Kafka cluster. It is safe for concurrent use; its fields are set before that. It connects when it is
// first used.
type Framework struct {
	ClientID       string           // what brokers call this client in logs and quotas; default "dataweaver"
	TLS            *tls.Config      // nil: no TLS
	SASL           []sasl.Mechanism // the first that the broker knows is used (Plain, ScramSHA256, ScramSHA512, OAuthBearer, or another of franz-go's); nil: no authentication
	DialTimeout    time.Duration    // to connect; default 10 s
	RequestTimeout time.Duration    // for an answer, beyond what a request waits for by itself; default 10 s
	RetryTimeout   time.Duration    // how long the client tries a request again before the outage becomes the pipeline's; default 30 s
	Log            *slog.Logger     // the client's warnings and errors; nil: none

	// Options go to every client that is made, after this package's own. They can break what this package promises:
	// those about groups, offsets, fetching, partitioning and transactions are its business.
	Options []kgo.Opt

	brokers []string

	mu     sync.Mutex
	closed bool
	shared *kgo.Client // for what belongs to no session or writer; nil: not needed yet
	open   map[io.Closer]struct{}
}

// New returns a Framework of the cluster that the brokers, as host:port, are part of. One of them that answers is enough.
func New(brokers ...string) *Framework {
	return &Framework{brokers: slices.Clone(brokers), open: make(map[io.Closer]struct{})}
}

// Consume is Consumer with all its defaults.
func (f *Framework) Consume(stream, group string) weaver.Source[[]byte] {
	return f.Consumer(stream, group)
}

// Produce is Producer with all its defaults.
func (f *Framework) Produce(stream string) weaver.Sink[[]byte] { return f.Producer(stream) }

// Close closes the connections of all that was opened; it returns ErrClosed from now on, also from calls that wait. It can
// be called twice.
func (f *Framework) Close() error {
	f.mu.Lock()
	f.closed = true
	open := f.open
	shared := f.shared
	f.open, f.shared = nil, nil
	f.mu.Unlock()
	var wg sync.WaitGroup
	for c := range open {
		wg.Go(func() { _ = c.Close() })
	}
	wg.Wait()
	if shared != nil {
		shared.Close()
	}
	return nil
}

// own makes Close close c as well, until disown.
func (f *Framework) own(c io.Closer) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return ErrClosed
	}
	f.open[c] = struct{}{}
	return nil
}

func (f *Framework) disown(c io.Closer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.open, c)
}

// isClosed returns ErrClosed in place of err if the framework was closed, which is then the reason for it.
func (f *Framework) isClosed(err error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return ErrClosed
	}
	return err
}

// client returns the client for what belongs to no session or writer.
func (f *Framework) client() (*kgo.Client, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.closed:
		return nil, ErrClosed
	case f.shared == nil:
		cl, err := f.newClient()
		if err != nil {
			return nil, err
		}
		f.shared = cl
	}
	return f.shared, nil
}

// newClient makes a client. It doesn't connect.
func (f *Framework) newClient(opts ...kgo.Opt) (*kgo.Client, error) {
	if err := f.validate(); err != nil {
		return nil, err
	}
	all := []kgo.Opt{
		kgo.SeedBrokers(f.brokers...),
		kgo.ClientID(orDefault(f.ClientID, defaultClientID)),
		kgo.DialTimeout(orDefault(f.DialTimeout, defaultDialTimeout)),
		kgo.RequestTimeoutOverhead(orDefault(f.RequestTimeout, defaultRequestTimeout)),
		kgo.RetryTimeout(orDefault(f.RetryTimeout, defaultRetryTimeout)),
		kgo.DisableClientMetrics(), // they keep Close waiting
		kgo.MetadataMinAge(250 * time.Millisecond),
	}
	if f.TLS != nil {
		all = append(all, kgo.DialTLSConfig(f.TLS.Clone()))
	}
	if len(f.SASL) > 0 {
		all = append(all, kgo.SASL(f.SASL...))
	}
	if f.Log != nil {
		all = append(all, kgo.WithLogger(logger{f.Log}))
	}
	all = append(all, opts...)
	cl, err := kgo.NewClient(append(all, f.Options...)...)
	if err != nil {
		return nil, retry.Fatal(errors.New("franz: the client refuses its configuration: " + err.Error()))
	}
	return cl, nil
}

func orDefault[T comparable](v, standard T) T {
	var zero T
	if v == zero {
		return standard
	}
	return v
}

// logger hands the client's warnings and errors on.
type logger struct{ to *slog.Logger }

// Level is what the client asks before it makes a message.
func (l logger) Level() kgo.LogLevel { return kgo.LogLevelWarn }

// Log writes one message.
func (l logger) Log(level kgo.LogLevel, msg string, keyvals ...any) {
	to := slog.LevelWarn
	if level == kgo.LogLevelError {
		to = slog.LevelError
	}
	l.to.Log(context.Background(), to, "franz: "+msg, keyvals...)
}

var _ weaver.Framework = (*Framework)(nil)
