package kafka

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl"
	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/retry"
	"github.com/bohica-labs/dataweaver/weavertest"
)

func TestSecuredRoundTrip(t *testing.T) {
	t.Parallel()
	s := security(t)
	user, password := s.user(t)
	scrammer, scrammed := s.scram(t)
	for name, how := range map[string]struct {
		listener string
		tls      *tls.Config
		sasl     sasl.Mechanism
	}{
		"PLAIN":         {"sasl_plaintext", nil, Plain(user, password)},
		"SCRAM-SHA-256": {"sasl_plaintext", nil, ScramSHA256(scrammer, scrammed)},
		"SCRAM-SHA-512": {"sasl_plaintext", nil, ScramSHA512(scrammer, scrammed)},
		"OAUTHBEARER":   {"sasl_plaintext", nil, OAuthBearer(token("somebody", time.Hour), map[string]string{"tenant": "weaver"})},
		"TLS":           {"ssl", s.trust(t), nil},
		"mTLS":          {"mtls", s.mutual(t), nil},
		"SASL over TLS": {"sasl_ssl", s.trust(t), ScramSHA512(scrammer, scrammed)},
		"PLAIN and TLS": {"sasl_ssl", s.trust(t), Plain(user, password)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fw := New(s.listener(t, how.listener))
			fw.TLS, fw.SASL = how.tls, how.sasl
			defer fw.Close()
			topic := unique(t)
			require.NoError(t, fw.CreateStream(t.Context(), weaver.Stream{Name: topic, Partitions: 3}))
			require.NoError(t, fw.CheckHealth(t.Context()))
			require.NoError(t, fw.Consumer(topic, topic).CheckHealth(t.Context()))
			require.NoError(t, fw.Producer(topic).CheckHealth(t.Context()))

			const n = 500
			in := weaver.Copy[[]byte](weavertest.NewSource(numbered(n)...), fw.Produce(topic))
			sink := weavertest.NewSink[[]byte]()
			out := weaver.Copy(fw.Consume(topic, topic), sink)
			in.Log, out.Log, out.After = quiet, quiet, in
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			require.NoError(t, weaver.Run(ctx, in, out))
			require.ElementsMatch(t, numbered(n), sink.Values())
			require.EqualValues(t, n, position(t, s.admin, topic, topic, 3), "the group remembers where it is")
		})
	}
}

// numbered returns values that are all different.
func numbered(n int) [][]byte {
	values := make([][]byte, n)
	for i := range values {
		values[i] = fmt.Appendf(nil, "value %d", i)
	}
	return values
}

// position returns the sum of a group's offsets, as the broker tells them to somebody else.
func position(t testing.TB, c *kafkago.Client, topic, group string, partitions int) (sum int64) {
	t.Helper()
	req := &kafkago.OffsetFetchRequest{GroupID: group, Topics: map[string][]int{topic: nil}}
	for i := range partitions {
		req.Topics[topic] = append(req.Topics[topic], i)
	}
	res, err := c.OffsetFetch(t.Context(), req)
	require.NoError(t, err)
	require.NoError(t, res.Error)
	for _, p := range res.Topics[topic] {
		require.NoError(t, p.Error)
		sum += max(p.CommittedOffset, 0)
	}
	return sum
}

// A mechanism that no broker offers.
type odd struct{ sasl.Mechanism }

func (odd) Name() string { return "SCRAM-SHA-1" }

// silent accepts connections and never says a word.
func silent(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String()
}

// unhealthy is a cluster that can't be used, and what is to be said about it.
type unhealthy struct {
	addr  string
	tls   *tls.Config
	sasl  sasl.Mechanism
	class retry.Class
	says  []string

	silent bool // nobody answers there
}

func (u unhealthy) framework() *Framework {
	fw := New(u.addr)
	fw.TLS, fw.SASL, fw.DialTimeout = u.tls, u.sasl, 5*time.Second
	if u.silent {
		fw.DialTimeout = 300 * time.Millisecond
	}
	return fw
}

// unusable lists what may be wrong with a connection, and the secrets that must not be told.
func unusable(t *testing.T, s *secured) (cases map[string]unhealthy, secrets []string) {
	const wrong = "Sesame-0pen-The-Door"
	user, password := s.user(t)
	scrammer, scrammed := s.scram(t)
	expired, err := token("somebody", -time.Minute)(t.Context())
	require.NoError(t, err)
	impostor := s.trust(t)
	impostor.Certificates = []tls.Certificate{stranger(t)}
	elsewhere := s.trust(t)
	elsewhere.ServerName = "kafka.example.com"
	outdated := s.trust(t)
	outdated.Time = func() time.Time { return time.Now().AddDate(1, 0, 0) }
	impossible := s.trust(t)
	impossible.MinVersion, impossible.MaxVersion = tls.VersionTLS13, tls.VersionTLS12
	early := s.trust(t)
	early.MinVersion, early.MaxVersion = tls.VersionTLS10, tls.VersionTLS10
	closed := silent(t)
	web := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(web.Close)
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, gone.Close())

	const waits, stops = retry.ClassUnmarked, retry.ClassFatal
	plainAddr, saslAddr, tlsAddr, mtlsAddr := s.addr, s.listener(t, "sasl_plaintext"), s.listener(t, "ssl"), s.listener(t, "mtls")
	cases = map[string]unhealthy{
		"wrong password of PLAIN":          {saslAddr, nil, Plain(user, wrong), stops, []string{"authenticating by PLAIN", "refuses these credentials"}, false},
		"wrong password of SCRAM-SHA-256":  {saslAddr, nil, ScramSHA256(scrammer, wrong), stops, []string{"authenticating by SCRAM-SHA-256", "refuses these credentials"}, false},
		"wrong password of SCRAM-SHA-512":  {saslAddr, nil, ScramSHA512(scrammer, wrong), stops, []string{"authenticating by SCRAM-SHA-512", "refuses these credentials"}, false},
		"unknown user":                     {saslAddr, nil, ScramSHA256("nobody", wrong), stops, []string{"authenticating by SCRAM-SHA-256", "refuses these credentials"}, false},
		"password that SASLprep forbids":   {saslAddr, nil, ScramSHA256(scrammer, wrong+"\u0007"), stops, []string{"SASLprep"}, false},
		"unknown mechanism":                {saslAddr, nil, odd{Plain(user, password)}, stops, []string{"authenticating by SCRAM-SHA-1", "the broker offers", "SCRAM-SHA-512"}, false},
		"expired token":                    {saslAddr, nil, OAuthBearer(func(context.Context) (string, error) { return expired, nil }, nil), stops, []string{"authenticating by OAUTHBEARER", "refuses the token"}, false},
		"no token to be had":               {saslAddr, nil, OAuthBearer(func(context.Context) (string, error) { return "", errors.New("the identity provider is down") }, nil), waits, []string{"no token", "the identity provider is down"}, false},
		"empty token":                      {saslAddr, nil, OAuthBearer(func(context.Context) (string, error) { return "", nil }, nil), stops, []string{"the token is empty"}, false},
		"SASL to a listener without":       {plainAddr, nil, Plain(user, password), stops, []string{"authenticating by PLAIN", "wants no authentication"}, false},
		"no SASL to a listener with":       {saslAddr, nil, nil, stops, []string{"wants authentication", "PLAIN", "Framework.SASL"}, false},
		"untrusted CA":                     {tlsAddr, &tls.Config{MinVersion: tls.VersionTLS12}, nil, stops, []string{"certificate is not accepted", "Framework.TLS"}, false},
		"certificate of another host":      {tlsAddr, elsewhere, nil, stops, []string{"certificate is not accepted", "kafka.example.com"}, false},
		"outdated certificate":             {tlsAddr, outdated, nil, stops, []string{"certificate is not accepted", "expired"}, false},
		"impossible TLS":                   {tlsAddr, impossible, nil, stops, []string{"this client can't", "Framework.TLS"}, false},
		"TLS of another age":               {tlsAddr, early, nil, stops, []string{"refuses this client", "version"}, false},
		"no client certificate":            {mtlsAddr, s.trust(t), nil, stops, []string{"refuses this client", "certificate"}, false},
		"client certificate of a stranger": {mtlsAddr, impostor, nil, stops, []string{"refuses this client", "certificate"}, false},
		"TLS to a plain port":              {plainAddr, s.trust(t), nil, stops, []string{"doesn't speak TLS", "Framework.TLS"}, false},
		"no TLS to a TLS port":             {tlsAddr, nil, nil, stops, []string{"expects TLS", "Framework.TLS"}, false},
		"no TLS but a password":            {s.listener(t, "sasl_ssl"), nil, Plain(user, password), stops, []string{"expects TLS", "Framework.TLS"}, false},
		"a web server":                     {web.Listener.Addr().String(), nil, nil, stops, []string{"no Kafka broker", "HTTP"}, false},
		"nobody listens":                   {gone.Addr().String(), nil, nil, waits, []string{"no connection", "refused"}, false},
		"unresolvable host":                {"no-such-host.invalid:9092", nil, nil, waits, []string{"no connection", "no-such-host.invalid"}, false},
		"nobody answers":                   {closed, nil, nil, waits, []string{closed, "deadline exceeded"}, true},
		"nobody answers in TLS":            {closed, s.trust(t), nil, waits, []string{closed, "TLS"}, true},
		"an address without port":          {"localhost", nil, nil, stops, []string{"not host:port"}, false},
	}
	key := s.read(t, "client.key")
	return cases, []string{wrong, password, scrammed, expired, key[len(key)/3 : 2*len(key)/3]}
}

func TestUnusableConnections(t *testing.T) {
	t.Parallel()
	s := security(t)
	cases, secrets := unusable(t, s)
	for name, u := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			seen := &watched{}
			fw := u.framework()
			defer fw.Close()
			for what, part := range map[string]weaver.HealthChecker{
				"the framework": fw, "a consumer": fw.Consumer("orders", "billing"), "a producer": fw.Producer("orders"),
			} {
				start := time.Now()
				err := part.CheckHealth(t.Context())
				require.Error(t, err, what)
				seen.see(err)
				require.Equal(t, u.class, retry.ClassOf(err), "%s: %v", what, err)
				for _, words := range u.says {
					require.ErrorContains(t, err, words, what)
				}
				require.Less(t, time.Since(start), 30*time.Second, what)
			}
			expect(t, u.class, seen, weaver.Copy(fw.Consume("orders", "billing"), weaver.Sink[[]byte](weavertest.NewSink[[]byte]())))
			expect(t, u.class, seen, weaver.Copy[[]byte](weavertest.NewSource([]byte("x")), fw.Produce("orders")))
			seen.check(t, secrets...)
		})
	}
}

// expect runs a pipeline that can't work: it stops where only a person can change that, and waits otherwise.
func expect(t *testing.T, class retry.Class, seen *watched, p *weaver.Pipeline[[]byte, []byte]) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	tries := 0
	p.Log, p.StopTimeout = seen.log(), 100*time.Millisecond
	p.Retry = retry.Policy{Initial: 10 * time.Millisecond, Max: 20 * time.Millisecond}
	p.Observer = &weaver.Observer{Retry: func(i weaver.RetryInfo) {
		seen.see(i.Err)
		if tries++; tries == 2 {
			cancel()
		}
	}}
	err := p.Run(ctx)
	if class == retry.ClassFatal {
		require.Error(t, err)
		require.Equal(t, retry.ClassFatal, retry.ClassOf(err), "%v", err)
		require.NoError(t, ctx.Err())
		seen.see(err)
		return
	}
	require.ErrorIs(t, ctx.Err(), context.Canceled, "it has tried again: %v", err)
	require.NotEqual(t, retry.ClassFatal, retry.ClassOf(err), "%v", err)
}

// hanging is a connection whose other side hangs up instead of answering the n-th request.
type hanging struct {
	net.Conn
	n int
}

func (h *hanging) Write(p []byte) (int, error) {
	h.n--
	return h.Conn.Write(p)
}

func (h *hanging) Read(p []byte) (int, error) {
	if h.n <= 0 {
		return 0, io.EOF
	}
	return h.Conn.Read(p)
}

// A broker that stops while a client logs in says nothing about its credentials.
func TestBrokerStopsWhileAuthenticating(t *testing.T) {
	t.Parallel()
	s := security(t)
	user, password := s.scram(t)
	for n, says := range map[int]string{1: "expect TLS", 2: "authenticating by SCRAM-SHA-256", 3: "authenticating by SCRAM-SHA-256", 4: "authenticating by SCRAM-SHA-256", 5: "EOF"} {
		t.Run(fmt.Sprint("request ", n), func(t *testing.T) {
			t.Parallel()
			fw := New(s.listener(t, "sasl_plaintext"))
			defer fw.Close()
			fw.SASL = ScramSHA256(user, password)
			fw.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
				c, err := (&net.Dialer{}).DialContext(ctx, network, address)
				return &hanging{c, n}, err
			}
			err := fw.CheckHealth(t.Context())
			require.ErrorIs(t, err, io.ErrUnexpectedEOF)
			require.ErrorContains(t, err, says)
			require.Equal(t, retry.ClassUnmarked, retry.ClassOf(err), "%v", err)
		})
	}
}

// The same while a member of a group logs in, which is kafka-go's part: the member joins all the same.
func TestBrokerStopsWhileAMemberAuthenticates(t *testing.T) {
	t.Parallel()
	s := security(t)
	user, password := s.scram(t)
	for n := 2; n <= 4; n++ {
		t.Run(fmt.Sprint("request ", n), func(t *testing.T) {
			t.Parallel()
			topic := s.topic(t, 1)
			s.allow(t, acl{user, toRead, onTopic, topic}, acl{user, toRead, onGroup, topic})
			fw := New(s.listener(t, "sasl_plaintext"))
			defer fw.Close()
			fw.SASL = ScramSHA256(user, password)
			var connections atomic.Int64
			fw.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
				c, err := (&net.Dialer{}).DialContext(ctx, network, address)
				if connections.Add(1) == 3 { // the first is this package's, the second finds the coordinator
					c = &hanging{c, n}
				}
				return c, err
			}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			p := weaver.Copy(fw.Consume(topic, topic), weaver.Sink[[]byte](weavertest.NewSink[[]byte]()))
			p.Log, p.Observer = quiet, &weaver.Observer{Lane: func(weaver.LaneInfo) { cancel() }}
			require.NoError(t, p.Run(ctx))
			require.ErrorIs(t, ctx.Err(), context.Canceled, "it has joined")
		})
	}
}

// Who logs or prints a Framework doesn't tell its secrets.
func TestSecretsAreNotPrinted(t *testing.T) {
	t.Parallel()
	const secret = "Sesame-0pen-The-Door"
	for name, m := range map[string]sasl.Mechanism{
		"PLAIN":         Plain("user", secret),
		"SCRAM-SHA-256": ScramSHA256("user", secret),
		"SCRAM-SHA-512": ScramSHA512("user", secret),
		"OAUTHBEARER":   OAuthBearer(func(context.Context) (string, error) { return secret, nil }, map[string]string{"key": secret}),
		"refused":       ScramSHA256("user", secret+"\u0007"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fw := New("127.0.0.1:9092")
			fw.SASL = m
			seen := &watched{}
			for _, v := range []any{m, fw, fw.Consumer("a", "b"), fw.Producer("a"), struct{ V any }{fw}, struct{ V any }{m}, []any{m}} {
				_, _ = fmt.Fprintf(seen, "%v %+v %#v %s %q\n", v, v, v, v, v)
				seen.log().Info("logged", "v", v)
				slog.New(slog.NewTextHandler(seen, nil)).Info("logged", "v", v)
				text, _ := json.Marshal(v)
				_, _ = seen.Write(text)
			}
			seen.check(t, secret, fmt.Sprintf("%d", []byte(secret)), fmt.Sprintf("%x", secret))
		})
	}
}
