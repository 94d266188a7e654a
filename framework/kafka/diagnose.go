package kafka

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/apiversions"
	"github.com/segmentio/kafka-go/protocol/describegroups"
	"github.com/segmentio/kafka-go/protocol/saslhandshake"

	kafkago "github.com/segmentio/kafka-go"

	"github.com/bohica-labs/dataweaver/retry"
)

// A broker hangs up without a word on whoever speaks TLS to a listener without, or doesn't authenticate where it should.
// The same shows when it restarts. So it is asked once more, in another way: an answer is a proof.

// hungUp reports whether err is the other side's end of a connection.
func hungUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// mostVersions is how large an answer about versions may be: brokers' have a few hundred bytes.
const mostVersions = 1 << 20

// hello asks which versions the broker knows, and looks at the answer's beginning before it is believed: what else listens
// on ports may say anything, and numbers in it would be taken for sizes.
func (c *conn) hello(ctx context.Context) (*apiversions.Response, error) {
	done, err := c.guard(ctx, 0)
	if err != nil {
		return nil, err
	}
	res, err := c.askVersions()
	if err = done(err); err != nil {
		c.broken.Store(true)
		return nil, err
	}
	return res, nil
}

func (c *conn) askVersions() (*apiversions.Response, error) {
	const id = 1 << 30 // behind those that protocol.Conn gives
	if err := protocol.WriteRequest(c.pc, 0, id, c.fw.clientID(), new(apiversions.Request)); err != nil {
		return nil, err
	}
	const tlsAlert, tlsMajor = 21, 3
	begin, err := c.pc.Peek(8)
	switch {
	case len(begin) >= 2 && begin[0] == tlsAlert && begin[1] == tlsMajor:
		return nil, retry.Fatal(errors.New("it expects TLS there, see Framework.TLS"))
	case err != nil:
		return nil, unexpected(err)
	case binary.BigEndian.Uint32(begin[4:]) != id || binary.BigEndian.Uint32(begin) > mostVersions:
		return nil, retry.Fatal(fmt.Errorf("what listens there is no Kafka broker: it answers %q", begin))
	}
	_, msg, err := protocol.ReadResponse(c.pc, protocol.ApiVersions, 0)
	if err != nil {
		return nil, unexpected(err)
	}
	return msg.(*apiversions.Response), nil
}

// unexpected makes an end in between what it is.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// withoutTLS returns a better error than err where a broker that ended a TLS handshake answers without TLS. Nothing
// secret is sent.
func (f *Framework) withoutTLS(ctx context.Context, addr string, err error) error {
	if !hungUp(err) {
		return err
	}
	nc, derr := f.connect(ctx, "tcp", addr)
	if derr != nil {
		return err
	}
	defer nc.Close()
	probe := &conn{fw: f, addr: addr, pc: protocol.NewConn(nc, f.clientID())}
	if _, perr := probe.hello(ctx); perr != nil {
		return err
	}
	return retry.Fatal(fmt.Errorf("kafka: TLS to broker %s: it doesn't speak TLS there, see Framework.TLS: %w", addr, err))
}

// withoutSASL returns a better error than err where a broker that ended a connection wants that clients authenticate.
func (f *Framework) withoutSASL(ctx context.Context, addr string, err error) error {
	if f.SASL != nil || !hungUp(err) {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, f.dialTimeout())
	defer cancel()
	c, derr := f.dial(ctx, addr)
	if derr != nil {
		return err
	}
	defer func() { _ = c.close() }()
	// No broker has a mechanism of that name: those with SASL tell which they have, others that it is out of place.
	msg, perr := c.exchange(ctx, &saslhandshake.Request{Mechanism: "NONE"}, 0)
	if perr != nil {
		return err
	}
	if offered := msg.(*saslhandshake.Response).Mechanisms; len(offered) > 0 {
		return retry.Fatal(fmt.Errorf("kafka: broker %s wants authentication, by %s: see Framework.SASL: %w", addr, strings.Join(offered, ", "), err))
	}
	return err
}

// mayFetchGroup returns an error where the coordinator of a group says that these credentials may see but not join it. An
// outage says nothing: whoever joins waits for it.
func (f *Framework) mayFetchGroup(ctx context.Context, coordinator, group string) error {
	c, err := f.dial(ctx, coordinator)
	if err != nil {
		return nil
	}
	defer func() { _ = c.close() }()
	msg, err := c.roundTrip(ctx, &describegroups.Request{Groups: []string{group}, IncludeAuthorizedOperations: true}, 0)
	if err != nil {
		return nil
	}
	for _, g := range msg.(*describegroups.Response).Groups {
		if g.GroupID == group && g.ErrorCode == 0 && g.AuthorizedOperations >= 0 && g.AuthorizedOperations&mayRead == 0 {
			return fmt.Errorf("kafka: group %q: %w", group, codeError(int16(kafkago.GroupAuthorizationFailed), ""))
		}
	}
	return nil
}
