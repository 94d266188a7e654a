package registry

import (
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/bohica-labs/dataweaver/retry"
)

// maxAnswer is how long an answer may be, in bytes. Registries keep schemas in Kafka, in records of a MiB.
const maxAnswer = 16 << 20

func (c *Client) httpClient() *http.Client {
	if c.HTTP != nil {
		own := *c.HTTP
		if own.Transport == nil {
			own.Transport = http.DefaultTransport
		}
		own.Transport = transport{own.Transport}
		return &own
	}
	c.own = &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSClientConfig: c.TLS.Clone(), ForceAttemptHTTP2: true,
		MaxIdleConnsPerHost: 4, IdleConnTimeout: 90 * time.Second, TLSHandshakeTimeout: 10 * time.Second, MaxResponseHeaderBytes: 1 << 20,
	}
	return &http.Client{Transport: transport{c.own}, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse // it might lead anywhere, with the credentials
	}}
}

// transport bounds answers, and sees for how long the registry wants to be left alone.
type transport struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := t.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if d, ok := retry.ParseRetryAfter(resp.Header.Get("Retry-After"), time.Now()); ok {
		attemptOf(r.Context()).delay = d
	}
	resp.Body = &bounded{ReadCloser: resp.Body, left: maxAnswer}
	return resp, nil
}

type bounded struct {
	io.ReadCloser
	left int
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, retry.Permanent(fmt.Errorf("the answer has more than %d bytes", maxAnswer))
	}
	if len(p) > b.left {
		p = p[:b.left]
	}
	n, err := b.ReadCloser.Read(p)
	b.left -= n
	return n, err
}
