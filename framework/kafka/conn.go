package kafka

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/saslauthenticate"
	"github.com/segmentio/kafka-go/protocol/saslhandshake"
	"github.com/segmentio/kafka-go/sasl"

	"github.com/bohica-labs/dataweaver/retry"
)

// conn is a connection to one broker, authenticated and with the versions of its requests negotiated. It has one owner;
// Framework.Close may close it at any time.
type conn struct {
	fw       *Framework
	addr     string
	pc       *protocol.Conn
	versions map[protocol.ApiKey][2]int16 // what the broker offers
	broken   atomic.Bool                  // a request was cut off: what comes next would be its response
	served   bool                         // the broker has answered a request as this client
}

// dialAny connects to the first of the named brokers that answers.
func (f *Framework) dialAny(ctx context.Context) (*conn, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	var errs []error
	for _, i := range rand.Perm(len(f.brokers)) { // not always the same first
		b := f.brokers[i]
		c, err := f.dial(ctx, b)
		if err == nil {
			return c, nil
		}
		if c := retry.ClassOf(err); c == retry.ClassFatal { // wrong credentials are wrong everywhere
			return nil, err
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// dial connects to a broker. An error says at which step it happened.
func (f *Framework) dial(ctx context.Context, addr string) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, f.dialTimeout())
	defer cancel()
	nc, err := f.connect(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("kafka: no connection to broker %s: %w", addr, err)
	}
	if f.TLS != nil {
		config := f.TLS
		if config.ServerName == "" {
			config = config.Clone()
			config.ServerName, _, _ = net.SplitHostPort(addr)
		}
		t := tls.Client(nc, config)
		if err := t.HandshakeContext(ctx); err != nil {
			_ = nc.Close()
			return nil, f.withoutTLS(ctx, addr, tlsError(addr, err))
		}
		nc = t
	}
	c := &conn{fw: f, addr: addr, pc: protocol.NewConn(nc, f.clientID())}
	if err := f.adopt(c); err != nil {
		_ = nc.Close()
		return nil, err
	}
	if err := c.handshake(ctx); err != nil {
		_ = c.close()
		return nil, err
	}
	return c, nil
}

// adopt makes Close close c.
func (f *Framework) adopt(c *conn) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return ErrClosed
	}
	if f.conns == nil {
		f.conns = make(map[*conn]struct{})
	}
	f.conns[c] = struct{}{}
	return nil
}

func (c *conn) close() error {
	c.fw.mu.Lock()
	delete(c.fw.conns, c)
	c.fw.mu.Unlock()
	if c.broken.Swap(true) {
		_ = c.pc.Close() // whatever it says, the reason is known
		return nil
	}
	return c.pc.Close()
}

// handshake negotiates versions (KIP-35) and authenticates (KIP-43, KIP-152).
func (c *conn) handshake(ctx context.Context) error {
	res, err := c.hello(ctx)
	if err != nil {
		return plainTextError(c.addr, c.fw.TLS != nil, fmt.Errorf("kafka: broker %s: %w", c.addr, err))
	}
	if res.ErrorCode != 0 {
		return fmt.Errorf("kafka: broker %s, negotiating versions: %w", c.addr, codeError(res.ErrorCode, ""))
	}
	c.versions = make(map[protocol.ApiKey][2]int16, len(res.ApiKeys))
	chosen := make(map[protocol.ApiKey]int16, len(res.ApiKeys))
	for _, k := range res.ApiKeys {
		key := protocol.ApiKey(k.ApiKey)
		c.versions[key] = [2]int16{k.MinVersion, k.MaxVersion}
		chosen[key] = key.SelectVersion(k.MinVersion, k.MaxVersion)
	}
	c.pc.SetVersions(chosen)
	if c.fw.SASL == nil {
		return nil
	}
	if err := c.authenticate(ctx, c.fw.SASL); err != nil {
		return fmt.Errorf("kafka: broker %s, authenticating by %s: %w", c.addr, c.fw.SASL.Name(), err)
	}
	return nil
}

func (c *conn) authenticate(ctx context.Context, mechanism sasl.Mechanism) error {
	msg, err := c.exchange(ctx, &saslhandshake.Request{Mechanism: mechanism.Name()}, 0)
	if err != nil {
		return err
	}
	if res := msg.(*saslhandshake.Response); res.ErrorCode != 0 {
		return fmt.Errorf("%w (the broker offers %v)", codeError(res.ErrorCode, ""), res.Mechanisms)
	}
	host, port, err := net.SplitHostPort(c.addr)
	if err != nil {
		return err
	}
	number, err := net.DefaultResolver.LookupPort(ctx, "tcp", port)
	if err != nil {
		return err
	}
	state, out, err := mechanism.Start(sasl.WithMetadata(ctx, &sasl.Metadata{Host: host, Port: number}))
	if err != nil {
		return err
	}
	for done := false; !done; {
		msg, err := c.exchange(ctx, &saslauthenticate.Request{AuthBytes: out}, 0)
		if err != nil {
			return err // also io.EOF: a broker that refuses credentials says so (KIP-152), and one that stops doesn't
		}
		res := msg.(*saslauthenticate.Response)
		if res.ErrorCode != 0 {
			return codeError(res.ErrorCode, res.ErrorMessage)
		}
		if done, out, err = state.Next(ctx, res.AuthBytes); err != nil {
			return retry.Fatal(err)
		}
	}
	return nil
}

// roundTrip sends a request and returns its response. Wait is how long the broker is asked to take at most.
func (c *conn) roundTrip(ctx context.Context, req protocol.Message, wait time.Duration) (protocol.Message, error) {
	res, err := c.exchange(ctx, req, wait)
	if err != nil && !c.served {
		err = c.fw.withoutSASL(ctx, c.addr, err)
	}
	c.served = c.served || err == nil
	return res, err
}

// exchange is roundTrip that doesn't look for reasons.
func (c *conn) exchange(ctx context.Context, req protocol.Message, wait time.Duration) (protocol.Message, error) {
	done, err := c.guard(ctx, wait)
	if err != nil {
		return nil, err
	}
	res, err := c.pc.RoundTrip(req)
	if err = done(err); err != nil {
		c.broken.Store(true)
		return nil, fmt.Errorf("kafka: broker %s: %w", c.addr, err)
	}
	return res, nil
}

// guard makes what c does end with ctx, and in time. Done tells the reason.
func (c *conn) guard(ctx context.Context, wait time.Duration) (done func(error) error, err error) {
	if c.broken.Load() {
		if c.fw.isClosed() {
			return nil, ErrClosed
		}
		return nil, fmt.Errorf("kafka: the connection to broker %s is closed", c.addr)
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err := c.pc.SetDeadline(time.Now().Add(c.fw.requestTimeout() + wait)); err != nil {
		return nil, c.reason(ctx, err)
	}
	interrupted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(interrupted)
		_ = c.pc.SetDeadline(time.Unix(1, 0))
	})
	return func(err error) error {
		if !stop() {
			<-interrupted // or it would interrupt the next request
		}
		return c.reason(ctx, err)
	}, nil
}

// reason says why a request failed.
func (c *conn) reason(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case c.fw.isClosed():
		return ErrClosed
	case ctx.Err() != nil && errors.Is(err, os.ErrDeadlineExceeded):
		return context.Cause(ctx)
	}
	return err
}
