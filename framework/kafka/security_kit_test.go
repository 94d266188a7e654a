package kafka

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl"
)

// secured is the other listeners of the broker that internal/services starts: internal/services/kafka-security.sh tells
// what is in the folder.
type secured struct {
	dir   string
	addr  string          // of the listener without security, where everybody is a super user
	admin *kafkago.Client // of that
}

func security(t testing.TB) *secured {
	t.Helper()
	dir := os.Getenv("WEAVER_TEST_KAFKA_SECURITY")
	if dir == "" {
		if os.Getenv("CI") != "" {
			t.Fatal("WEAVER_TEST_KAFKA_SECURITY is not set: run make test, or internal/services/with kafka -- go test ./framework/kafka")
		}
		t.Skip("needs a broker with secured listeners: run internal/services/with kafka -- go test ./framework/kafka, without WEAVER_TEST_KAFKA or with WEAVER_TEST_KAFKA_SECURITY beside it")
	}
	s := &secured{dir: dir}
	s.addr = s.listener(t, "plaintext")
	s.admin = client(t, s.addr)
	return s
}

// client is kafka-go's, for what this package has no use for.
func client(t testing.TB, addr string) *kafkago.Client {
	transport := &kafkago.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &kafkago.Client{Addr: kafkago.TCP(addr), Timeout: 20 * time.Second, Transport: transport}
}

func (s *secured) read(t testing.TB, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(s.dir, name))
	require.NoError(t, err)
	return strings.TrimSpace(string(text))
}

// listener returns a listener's address.
func (s *secured) listener(t testing.TB, name string) string { return s.read(t, name) }

// user returns a user of PLAIN.
func (s *secured) user(t testing.TB) (name, password string) {
	t.Helper()
	name, password, ok := strings.Cut(s.read(t, "users"), " ")
	require.True(t, ok)
	return name, password
}

// trust returns a TLS configuration that trusts the broker.
func (s *secured) trust(t testing.TB) *tls.Config {
	t.Helper()
	pool := x509.NewCertPool()
	require.True(t, pool.AppendCertsFromPEM([]byte(s.read(t, "ca.pem"))))
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
}

// mutual is trust with a certificate of the client.
func (s *secured) mutual(t testing.TB) *tls.Config {
	t.Helper()
	cert, err := tls.LoadX509KeyPair(filepath.Join(s.dir, "client.pem"), filepath.Join(s.dir, "client.key"))
	require.NoError(t, err)
	config := s.trust(t)
	config.Certificates = []tls.Certificate{cert}
	return config
}

// stranger is a certificate that nobody trusts.
func stranger(t testing.TB) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "stranger"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// scram makes a user, whose password is nowhere else, for both mechanisms.
func (s *secured) scram(t testing.TB) (user, password string) {
	t.Helper()
	user, password = strings.ToLower(rand.Text()), rand.Text()
	salt := []byte(rand.Text())
	const rounds = 4096
	short, err := pbkdf2.Key(sha256.New, password, salt, rounds, sha256.Size)
	require.NoError(t, err)
	long, err := pbkdf2.Key(sha512.New, password, salt, rounds, sha512.Size)
	require.NoError(t, err)
	for mechanism, salted := range map[kafkago.ScramMechanism][]byte{kafkago.ScramMechanismSha256: short, kafkago.ScramMechanismSha512: long} {
		s.alter(t, &kafkago.AlterUserScramCredentialsRequest{Upsertions: []kafkago.UserScramCredentialsUpsertion{
			{Name: user, Mechanism: mechanism, Iterations: rounds, Salt: salt, SaltedPassword: salted},
		}})
	}
	fw := New(s.listener(t, "sasl_plaintext"))
	for _, fw.SASL = range []sasl.Mechanism{ScramSHA256(user, password), ScramSHA512(user, password)} {
		await(t, func() bool { return fw.CheckHealth(t.Context()) == nil })
	}
	return user, password
}

func (s *secured) dropScram(t testing.TB, user string) {
	t.Helper()
	for _, mechanism := range []kafkago.ScramMechanism{kafkago.ScramMechanismSha256, kafkago.ScramMechanismSha512} {
		s.alter(t, &kafkago.AlterUserScramCredentialsRequest{Deletions: []kafkago.UserScramCredentialsDeletion{{Name: user, Mechanism: mechanism}}})
	}
}

func (s *secured) alter(t testing.TB, req *kafkago.AlterUserScramCredentialsRequest) {
	t.Helper()
	res, err := s.admin.AlterUserScramCredentials(t.Context(), req)
	require.NoError(t, err)
	for _, r := range res.Results {
		require.NoError(t, r.Error)
	}
}

// token makes tokens for a user that the broker takes without a signature, which live for so long.
func token(user string, lives time.Duration) func(context.Context) (string, error) {
	return func(context.Context) (string, error) {
		part := func(v any) string {
			text, err := json.Marshal(v)
			if err != nil {
				panic(err)
			}
			return base64.RawURLEncoding.EncodeToString(text)
		}
		now := time.Now()
		issued := min(now.Unix(), now.Add(lives).Unix()-1)
		return part(map[string]any{"alg": "none"}) + "." +
			part(map[string]any{"sub": user, "iat": issued, "exp": now.Add(lives).Unix()}) + ".", nil
	}
}

// acl is one thing that a user is allowed to do.
type acl struct {
	user string
	to   kafkago.ACLOperationType
	what kafkago.ResourceType
	name string
}

// allow makes ACLs: from then on nobody else may do anything with these topics and groups.
func (s *secured) allow(t testing.TB, acls ...acl) {
	t.Helper()
	req := &kafkago.CreateACLsRequest{}
	for _, a := range acls {
		req.ACLs = append(req.ACLs, kafkago.ACLEntry{
			ResourceType: a.what, ResourceName: a.name, ResourcePatternType: kafkago.PatternTypeLiteral,
			Principal: "User:" + a.user, Host: "*", Operation: a.to, PermissionType: kafkago.ACLPermissionTypeAllow,
		})
	}
	res, err := s.admin.CreateACLs(t.Context(), req)
	require.NoError(t, err)
	for _, err := range res.Errors {
		require.NoError(t, err)
	}
	for _, a := range acls {
		await(t, func() bool { return s.stands(t, a) })
	}
}

// forbid removes an ACL.
func (s *secured) forbid(t testing.TB, a acl) {
	t.Helper()
	res, err := s.admin.DeleteACLs(t.Context(), &kafkago.DeleteACLsRequest{Filters: []kafkago.DeleteACLsFilter{{
		ResourceTypeFilter: a.what, ResourceNameFilter: a.name, ResourcePatternTypeFilter: kafkago.PatternTypeLiteral,
		PrincipalFilter: "User:" + a.user, HostFilter: "*", Operation: a.to, PermissionType: kafkago.ACLPermissionTypeAllow,
	}}})
	require.NoError(t, err)
	require.Len(t, res.Results, 1)
	require.NoError(t, res.Results[0].Error)
	require.Len(t, res.Results[0].MatchingACLs, 1)
	await(t, func() bool { return !s.stands(t, a) })
}

// stands reports whether the broker knows of an ACL.
func (s *secured) stands(t testing.TB, a acl) bool {
	t.Helper()
	res, err := s.admin.DescribeACLs(t.Context(), &kafkago.DescribeACLsRequest{Filter: kafkago.ACLFilter{
		ResourceTypeFilter: a.what, ResourceNameFilter: a.name, ResourcePatternTypeFilter: kafkago.PatternTypeLiteral,
		PrincipalFilter: "User:" + a.user, HostFilter: "*", Operation: a.to, PermissionType: kafkago.ACLPermissionTypeAllow,
	}})
	require.NoError(t, err)
	require.NoError(t, res.Error)
	return len(res.Resources) > 0
}

// await waits until what the broker was told is so.
func await(t testing.TB, so func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !so() {
		if time.Now().After(deadline) {
			t.Fatal("it is not so after 20 s")
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// watched collects whatever is logged, at all levels, and fails the test where a secret is in it or in an error.
type watched struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements io.Writer.
func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(p)
}

func (w *watched) log() *slog.Logger {
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{AddSource: true, Level: slog.LevelDebug - 10}))
}

// see takes note of an error, in all the ways it can be printed.
func (w *watched) see(err error) {
	_, _ = fmt.Fprintf(w, "%v %+v %#v\n", err, err, err)
	w.log().Error("seen", "err", err)
}

func (w *watched) check(t testing.TB, secrets ...string) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	require.NotEmpty(t, w.text.String(), "nothing was seen")
	for i, s := range secrets {
		require.NotEmpty(t, s)
		require.False(t, strings.Contains(w.text.String(), s), "secret %d was told: %s", i, strings.ReplaceAll(w.text.String(), s, "<HERE>"))
	}
}
