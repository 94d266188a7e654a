package franz

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/oauth"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// Plain authenticates by user and password in clear text (RFC 4616): use it with Framework.TLS alone.
func Plain(user, password string) sasl.Mechanism {
	return hidden{plain.Auth{User: user, Pass: password}.AsMechanism()}
}

// ScramSHA256 authenticates by user and password without sending the password (RFC 7677).
func ScramSHA256(user, password string) sasl.Mechanism {
	return hidden{scram.Auth{User: user, Pass: password}.AsSha256Mechanism()}
}

// ScramSHA512 is ScramSHA256 with a longer hash.
func ScramSHA512(user, password string) sasl.Mechanism {
	return hidden{scram.Auth{User: user, Pass: password}.AsSha512Mechanism()}
}

// OAuthBearer authenticates by a token (RFC 7628, KIP-255), which is asked for at each connection, and again before the
// session that the broker grants ends. The token function may be called from several goroutines at once; it should return
// soon. Extensions are the optional pairs of KIP-342; nil: none.
func OAuthBearer(token func(ctx context.Context) (string, error), extensions map[string]string) sasl.Mechanism {
	return hidden{bearer{oauth.Oauth(func(ctx context.Context) (oauth.Auth, error) {
		t, err := token(ctx)
		if err != nil {
			return oauth.Auth{}, fmt.Errorf("no token: %w", err)
		}
		if t == "" {
			return oauth.Auth{}, errors.New("the token is empty")
		}
		return oauth.Auth{Token: t, Extensions: extensions}, nil
	})}}
}

// bearer is the client's OAUTHBEARER, with an error that says what the broker does.
type bearer struct{ sasl.Mechanism }

// Authenticate begins to authenticate a connection.
func (b bearer) Authenticate(ctx context.Context, host string) (sasl.Session, []byte, error) {
	s, first, err := b.Mechanism.Authenticate(ctx, host)
	return bearerSession{s}, first, err
}

type bearerSession struct{ sasl.Session }

// Challenge takes the broker's answer: empty, or why it refuses the token, as JSON (RFC 7628, section 3.2.2).
func (s bearerSession) Challenge(answer []byte) (bool, []byte, error) {
	if len(answer) > 0 {
		return false, nil, &refusedToken{string(answer)}
	}
	return s.Session.Challenge(answer)
}

// refusedToken is a broker's answer to a token.
type refusedToken struct{ answer string }

// Error tells the answer, in which there is no token.
func (e *refusedToken) Error() string { return "the token is refused: " + e.answer }

// hidden is a mechanism that is printed and logged as its name alone.
type hidden struct{ mechanism sasl.Mechanism }

// Name is how brokers call it.
func (h hidden) Name() string { return h.mechanism.Name() }

// Authenticate begins to authenticate a connection.
func (h hidden) Authenticate(ctx context.Context, host string) (sasl.Session, []byte, error) {
	return h.mechanism.Authenticate(ctx, host)
}

// Format writes the name, whatever is asked for.
func (h hidden) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, h.Name()) }
