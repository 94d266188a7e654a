package kafka

import (
	"context"
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
	stop := context.AfterFunc(ctx, func() { _ = nc.Close() })
	defer stop()
	if _, perr := protocol.NewConn(nc, f.clientID()).RoundTrip(new(apiversions.Request)); perr != nil {
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
	defer c.close()
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
	defer c.close()
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
