package franz

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/retry"
)

const secret = "correct-horse-battery"

// certificate makes a server's, and the pool of who trusts it.
func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	self := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "broker"}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, self, self, &key.PublicKey, key)
	require.NoError(t, err)
	pool := x509.NewCertPool()
	leaf, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// TestHealth tells the ways apart in which a cluster can't be used.
func TestHealth(t *testing.T) {
	t.Parallel()
	cert, pool := certificate(t)
	secured := func(more ...kfake.Opt) func(t *testing.T) []string {
		return func(t *testing.T) []string {
			return fake(t, append(more, kfake.SeedTopics(1, "orders"))...).ListenAddrs()
		}
	}
	plain := secured()
	withTLS := secured(kfake.TLS(&tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}))
	withSASL := secured(kfake.EnableSASL(), kfake.EnableACLs(),
		kfake.Superuser("SCRAM-SHA-256", "admin", secret),
		kfake.User("PLAIN", "reader", secret,
			kfake.ACL{Resource: kmsg.ACLResourceTypeTopic, Name: "orders", Pattern: kmsg.ACLResourcePatternTypeLiteral, Operation: kmsg.ACLOperationRead, Allow: true},
			kfake.ACL{Resource: kmsg.ACLResourceTypeTopic, Name: "orders", Pattern: kmsg.ACLResourcePatternTypeLiteral, Operation: kmsg.ACLOperationDescribe, Allow: true}))
	trusting := &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	for name, tt := range map[string]struct {
		addrs    func(t *testing.T) []string
		tls      *tls.Config
		sasl     sasl.Mechanism
		consumer string // what it says; empty: healthy
		producer string
		fatal    bool
	}{
		"plain":            {addrs: plain},
		"TLS":              {addrs: withTLS, tls: trusting},
		"SCRAM":            {addrs: withSASL, sasl: ScramSHA256("admin", secret)},
		"nobody there":     {addrs: func(*testing.T) []string { return []string{"127.0.0.1:1"} }, consumer: "no broker can be reached", producer: "no broker can be reached"},
		"no such host":     {addrs: func(*testing.T) []string { return []string{"nowhere.invalid:9092"} }, consumer: "resolved", producer: "resolved"},
		"unknown CA":       {addrs: withTLS, tls: &tls.Config{MinVersion: tls.VersionTLS12}, consumer: "certificate is not trusted", producer: "certificate is not trusted", fatal: true},
		"plain to TLS":     {addrs: withTLS, consumer: "TLS", producer: "TLS"},
		"no credentials":   {addrs: withSASL, consumer: "SASL", producer: "SASL"},
		"no ACL to write":  {addrs: withSASL, sasl: Plain("reader", secret), consumer: "lacks the ACL Read on the group", producer: "lacks an ACL on the topic", fatal: true},
		"no token, no use": {addrs: withSASL, sasl: OAuthBearer(func(context.Context) (string, error) { return "", errors.New("the vault is closed") }, nil), consumer: "doesn't offer this mechanism", producer: "doesn't offer this mechanism", fatal: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fw := New(tt.addrs(t)...)
			fw.TLS = tt.tls
			fw.RequestTimeout, fw.DialTimeout = 2*time.Second, 2*time.Second
			if tt.sasl != nil {
				fw.SASL = []sasl.Mechanism{tt.sasl}
			}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			for what, says := range map[string]string{"consumer": tt.consumer, "producer": tt.producer} {
				err := fw.Consumer("orders", "group").CheckHealth(ctx)
				if what == "producer" {
					err = fw.Producer("orders").CheckHealth(ctx)
				}
				if says == "" {
					require.NoError(t, err)
					continue
				}
				require.ErrorContains(t, err, says, what)
				require.NotContains(t, err.Error(), secret)
				if tt.fatal {
					require.Equal(t, retry.ClassFatal, retry.ClassOf(err), err)
				}
			}
			require.NoError(t, fw.Close())
			require.ErrorIs(t, fw.Producer("orders").CheckHealth(ctx), ErrClosed)
		})
	}
}

// TestHealthOnSecuredKafka asks the listeners that internal/services/kafka-security.sh sets up.
func TestHealthOnSecuredKafka(t *testing.T) {
	t.Parallel()
	plaintext := broker(t)
	dir := os.Getenv("WEAVER_TEST_KAFKA_SECURITY")
	if dir == "" {
		const why = "there are no secured listeners: run internal/services/with kafka -- go test ./..."
		if os.Getenv("CI") == "true" {
			t.Fatal(why)
		}
		t.Skip(why)
	}
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		return strings.TrimSpace(string(text))
	}
	pool := x509.NewCertPool()
	require.True(t, pool.AppendCertsFromPEM([]byte(read("ca.pem"))))
	trusting := &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	user, password, _ := strings.Cut(strings.Split(read("users"), "\n")[0], " ")
	token := func(t string) func(context.Context) (string, error) {
		return func(context.Context) (string, error) { return t, nil }
	}
	part := base64.RawURLEncoding.EncodeToString
	unsecured := part([]byte(`{"alg":"none"}`)) + "." + part(fmt.Appendf(nil, `{"sub":%q,"exp":%d}`, user, time.Now().Add(time.Hour).Unix())) + "."
	topic := unique("secured")
	admin := open(t, plaintext)
	require.NoError(t, admin.CreateStream(t.Context(), weaver.Stream{Name: topic, Partitions: 1}))
	for name, tt := range map[string]struct {
		addr  string
		tls   *tls.Config
		sasl  sasl.Mechanism
		says  string
		fatal bool
	}{
		"plain":           {addr: plaintext},
		"password":        {addr: read("sasl_plaintext"), sasl: Plain(user, password)},
		"password, TLS":   {addr: read("sasl_ssl"), tls: trusting, sasl: Plain(user, password)},
		"token":           {addr: read("sasl_plaintext"), sasl: OAuthBearer(token(unsecured), nil)},
		"TLS":             {addr: read("ssl"), tls: trusting},
		"wrong password":  {addr: read("sasl_plaintext"), sasl: Plain(user, secret), says: "refuses these credentials", fatal: true},
		"wrong SCRAM":     {addr: read("sasl_plaintext"), sasl: ScramSHA512(user, secret), says: "refuses these credentials", fatal: true},
		"wrong token":     {addr: read("sasl_plaintext"), sasl: OAuthBearer(token(secret), nil), says: "refuses these credentials", fatal: true},
		"no credentials":  {addr: read("sasl_plaintext"), says: "TLS or SASL is wanted"},
		"unknown CA":      {addr: read("ssl"), tls: &tls.Config{MinVersion: tls.VersionTLS12}, says: "certificate is not trusted", fatal: true},
		"no certificate":  {addr: read("mtls"), tls: trusting, says: "client certificate", fatal: true},
		"TLS to plain":    {addr: plaintext, tls: trusting, says: "TLS"},
		"plain to TLS":    {addr: read("ssl"), says: "TLS"},
		"nobody there":    {addr: "127.0.0.1:1", says: "no broker can be reached"},
		"an odd password": {addr: read("sasl_plaintext"), sasl: Plain("weaver\nuser", secret), says: "refuses these credentials", fatal: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fw := open(t, tt.addr)
			fw.TLS = tt.tls
			if tt.sasl != nil {
				fw.SASL = []sasl.Mechanism{tt.sasl}
			}
			for _, err := range []error{fw.Consumer(topic, "group").CheckHealth(t.Context()), fw.Producer(topic).CheckHealth(t.Context())} {
				if tt.says == "" {
					require.NoError(t, err)
					continue
				}
				require.ErrorContains(t, err, tt.says)
				require.NotContains(t, err.Error(), secret)
				require.Equal(t, tt.fatal, retry.ClassOf(err) == retry.ClassFatal, err)
			}
			if tt.says == "" {
				write(t, fw.Produce(topic), batch("x"))
				got, err := committed(t.Context(), fw, topic)
				require.NoError(t, err)
				require.NotEmpty(t, got)
			}
		})
	}
}

func TestHealthOfMissing(t *testing.T) {
	t.Parallel()
	fw := open(t, fake(t).ListenAddrs()[0])
	for _, err := range []error{
		fw.Consumer("missing", "g").CheckHealth(t.Context()), fw.Producer("missing").CheckHealth(t.Context()), fw.Transactional("missing").CheckHealth(t.Context()),
	} {
		require.ErrorContains(t, err, `topic "missing": call CreateStream`)
		require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
	}
}

func TestSecretsStaySecret(t *testing.T) {
	t.Parallel()
	fw := New("localhost:9092")
	fw.SASL = []sasl.Mechanism{Plain("u", secret), ScramSHA512("u", secret), OAuthBearer(func(context.Context) (string, error) { return secret, nil }, nil)}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		for _, m := range fw.SASL {
			require.Equal(t, m.Name(), fmt.Sprintf(verb, m))
		}
	}
	require.NotContains(t, fmt.Sprintf("%+v %#v", fw.SASL, fw.SASL), secret)
}
