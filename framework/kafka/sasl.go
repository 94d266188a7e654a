package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/segmentio/kafka-go/sasl/scram"

	"github.com/bohica-labs/dataweaver/retry"
)

// Plain authenticates by user and password in clear text (RFC 4616): use it with Framework.TLS alone.
func Plain(user, password string) sasl.Mechanism {
	return &hidden{plain.Mechanism{Username: user, Password: password}}
}

// ScramSHA256 authenticates by user and password without sending the password (RFC 7677). A user or password that
// SASLprep (RFC 4013) refuses is a fatal error at the first connection.
func ScramSHA256(user, password string) sasl.Mechanism { return scramOf(scram.SHA256, user, password) }

// ScramSHA512 is ScramSHA256 with a longer hash.
func ScramSHA512(user, password string) sasl.Mechanism { return scramOf(scram.SHA512, user, password) }

func scramOf(a scram.Algorithm, user, password string) sasl.Mechanism {
	m, err := scram.Mechanism(a, user, password)
	if err != nil {
		return refused{a.Name()}
	}
	return &hidden{m}
}

// hidden is a mechanism that is printed, logged and marshaled as its name alone.
type hidden struct{ mechanism sasl.Mechanism }

func (h *hidden) Name() string { return h.mechanism.Name() }

// Start implements sasl.Mechanism.
func (h *hidden) Start(ctx context.Context) (sasl.StateMachine, []byte, error) {
	return h.mechanism.Start(ctx)
}

// Format implements fmt.Formatter.
func (h *hidden) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, h.Name()) }

// refused is a mechanism whose credentials can't be used. What was wrong with them would show them.
type refused struct{ name string }

func (r refused) Name() string { return r.name }

func (r refused) Start(context.Context) (sasl.StateMachine, []byte, error) {
	return nil, nil, retry.Fatal(errors.New("user or password contain characters that SASLprep (RFC 4013) forbids"))
}

// OAuthBearer authenticates by a token (RFC 7628, KIP-255), which is asked for at each connection. The token function
// may be called from several goroutines at once; it should return soon, and a token that lives for a while. Extensions
// are the optional key=value pairs of KIP-342; nil: none.
func OAuthBearer(token func(ctx context.Context) (string, error), extensions map[string]string) sasl.Mechanism {
	return &hidden{bearer{token, extensions}}
}

type bearer struct {
	token      func(context.Context) (string, error)
	extensions map[string]string
}

func (bearer) Name() string { return "OAUTHBEARER" }

// Start implements sasl.Mechanism.
func (m bearer) Start(ctx context.Context) (sasl.StateMachine, []byte, error) {
	token, err := m.token(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("no token: %w", err)
	}
	if token == "" || strings.ContainsAny(token, "\x01\r\n ") {
		return nil, nil, retry.Fatal(errors.New("the token is empty, or contains white space"))
	}
	message := "n,,\x01auth=Bearer " + token
	for k, v := range m.extensions {
		if k == "auth" || strings.ContainsAny(k+v, "\x01") {
			return nil, nil, retry.Fatal(fmt.Errorf("the extension %q can't be sent", k))
		}
		message += "\x01" + k + "=" + v
	}
	return bearerState{}, []byte(message + "\x01\x01"), nil
}

// bearerState is what follows: a broker that refuses a token says why, as JSON, and wants that acknowledged.
type bearerState struct{}

// Next implements sasl.StateMachine.
func (bearerState) Next(_ context.Context, challenge []byte) (bool, []byte, error) {
	if len(challenge) == 0 {
		return true, nil, nil
	}
	return false, nil, fmt.Errorf("the broker refuses the token: %s", challenge)
}
