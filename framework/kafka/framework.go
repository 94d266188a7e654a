package kafka

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/segmentio/kafka-go/protocol/metadata"
	"github.com/segmentio/kafka-go/sasl"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/retry"
)

const (
	defaultClientID       = "dataweaver"
	defaultDialTimeout    = 10 * time.Second
	defaultRequestTimeout = 30 * time.Second
	defaultMaxBatchBytes  = 64 << 20
)

// ErrClosed is what everything that a Framework opened returns once the Framework is closed. It is fatal.
var ErrClosed = retry.Fatal(errors.New("kafka: the framework is closed"))

// Framework is a Kafka cluster. It is safe for concurrent use; its fields are set before that.
type Framework struct {
	ClientID       string         // what brokers call this client in logs and quotas; default "dataweaver"
	TLS            *tls.Config    // nil: no encryption; a ServerName that is empty is the broker's host
	SASL           sasl.Mechanism // how to authenticate: Plain, ScramSHA256, ScramSHA512, OAuthBearer or another one; nil: not at all
	DialTimeout    time.Duration  // of a connection, with TLS and authentication; default 10 s
	RequestTimeout time.Duration  // of a request, beyond what it is meant to wait; default 30 s

	// Dial makes connections: to the brokers that New was given, and to the addresses at which these say that they are.
	// It is called from several goroutines. Default: net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	brokers []string

	mu     sync.Mutex
	conns  map[*conn]struct{}
	groups map[*session]struct{}
	closed bool
}

// New returns the Framework of a cluster, of which one or more brokers, host:port, are named to begin with. It connects
// when it is used.
func New(brokers ...string) *Framework { return &Framework{brokers: brokers} }

// Consume is Consumer with all its defaults.
func (f *Framework) Consume(stream, group string) weaver.Source[[]byte] {
	return f.Consumer(stream, group)
}

// Produce is Producer with all its defaults.
func (f *Framework) Produce(stream string) weaver.Sink[[]byte] { return f.Producer(stream) }

// Close ends all connections and leaves all groups: what was opened returns ErrClosed from now on, also calls that wait.
// It can be called twice.
func (f *Framework) Close() error {
	f.mu.Lock()
	f.closed = true
	conns, groups := f.conns, f.groups
	f.conns, f.groups = nil, nil
	f.mu.Unlock()
	for c := range conns {
		_ = c.pc.Close()
	}
	for s := range groups {
		s.leave()
	}
	return nil
}

func (f *Framework) isClosed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.closed
}

func (f *Framework) clientID() string {
	if f.ClientID == "" {
		return defaultClientID
	}
	return f.ClientID
}

func (f *Framework) connect(ctx context.Context, network, address string) (net.Conn, error) {
	if f.Dial != nil {
		return f.Dial(ctx, network, address)
	}
	return (&net.Dialer{}).DialContext(ctx, network, address)
}

func (f *Framework) dialTimeout() time.Duration { return orDefault(f.DialTimeout, defaultDialTimeout) }

func (f *Framework) requestTimeout() time.Duration {
	return orDefault(f.RequestTimeout, defaultRequestTimeout)
}

func orDefault[N int | time.Duration](v, standard N) N {
	if v == 0 {
		return standard
	}
	return v
}

// check returns an error that names the first field that makes no sense.
func (f *Framework) check() error {
	if len(f.brokers) == 0 {
		return retry.Fatal(errors.New("kafka: New was given no broker: want host:port"))
	}
	for _, b := range f.brokers {
		if host, port, err := net.SplitHostPort(b); err != nil || host == "" || port == "" {
			return retry.Fatal(fmt.Errorf("kafka: broker %q is not host:port", b))
		}
	}
	if f.DialTimeout < 0 {
		return retry.Fatal(fmt.Errorf("kafka: Framework.DialTimeout is %v: must not be negative", f.DialTimeout))
	}
	if f.RequestTimeout < 0 {
		return retry.Fatal(fmt.Errorf("kafka: Framework.RequestTimeout is %v: must not be negative", f.RequestTimeout))
	}
	return nil
}

// String names the brokers.
func (f *Framework) String() string { return "kafka " + strings.Join(f.brokers, ",") }

// CheckHealth reports whether one of the brokers answers, with these credentials.
func (f *Framework) CheckHealth(ctx context.Context) error {
	c, err := f.dialAny(ctx)
	if err != nil {
		return err
	}
	_, err = c.roundTrip(ctx, &metadata.Request{TopicNames: []string{}}, 0)
	return errors.Join(err, c.close())
}

var (
	_ weaver.Framework     = (*Framework)(nil)
	_ weaver.HealthChecker = (*Framework)(nil)
)
