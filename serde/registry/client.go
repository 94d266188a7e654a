package registry

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/sr"

	"github.com/bohica-labs/dataweaver/retry"
)

// Client asks a schema registry. It is safe for concurrent use; its fields are set before it is used. One is enough for all codecs of a program, which share
// what it remembers.
//
// A schema that has an id never changes, so it is looked up once and remembered, as long as Schemas is large enough. Lookups of the same at the same time are
// one request. The latest schema of a subject is asked for again after a minute, and what the registry doesn't have after Missing; other failures are not
// remembered. Nothing is tried again here: a pipeline does that.
type Client struct {
	// HTTP makes the requests. Default: one with TLS, which follows no redirects, and the proxy of the environment.
	HTTP *http.Client
	// TLS is for the default of HTTP. Default: the system's roots.
	TLS *tls.Config
	// User and Password are sent with each request (basic authentication). Default: those in the URLs, or none.
	User, Password string
	// Token returns a bearer token for a request, in place of User. It is called for each, possibly at the same time, so it keeps a token as long as that is
	// valid. An error that is not marked is an outage. Default: none.
	Token func(ctx context.Context) (string, error)
	// Timeout bounds a lookup, with the schemas that are referred to and all URLs. A stop of the pipeline doesn't end it sooner. Default: 10s.
	Timeout time.Duration
	// Missing is how long an answer that there is no such schema is believed. Default: 10s.
	Missing time.Duration
	// Schemas is how many lookups are remembered. Default: 1000.
	Schemas int

	addresses []string
	once      sync.Once
	err       error // of the configuration
	servers   []server
	own       *http.Transport // nil where HTTP is set
	cache     cache
}

// server is one of the addresses.
type server struct {
	host           string
	user, password string
	client         *sr.Client
}

// New returns a Client for a registry that is at all of the URLs: the next one is asked where one can't be reached, or is out of order or too busy. A URL has
// the path that the registry's API begins at, if any: for Apicurio that is http://host:8080/apis/ccompat/v7.
func New(urls ...string) *Client { return &Client{addresses: urls} }

const (
	defaultTimeout = 10 * time.Second
	defaultMissing = 10 * time.Second
	defaultSchemas = 1000
)

// setup checks the configuration, once.
func (c *Client) setup() error {
	c.once.Do(func() {
		if err := c.configure(); err != nil {
			c.err = retry.Fatal(fmt.Errorf("registry.Client: %w", err))
		}
	})
	return c.err
}

func (c *Client) configure() error {
	switch {
	case len(c.addresses) == 0:
		return errors.New("there is no URL")
	case c.Timeout < 0 || c.Missing < 0 || c.Schemas < 0:
		return fmt.Errorf("field Timeout is %v, Missing is %v, Schemas is %d: none may be below 0", c.Timeout, c.Missing, c.Schemas)
	case c.HTTP != nil && c.TLS != nil:
		return errors.New("fields HTTP and TLS are both set: the TLS configuration is that of HTTP's transport")
	case c.Token != nil && c.User != "":
		return errors.New("fields Token and User are both set: a request has one or the other")
	case c.User == "" && c.Password != "":
		return errors.New("field Password is set, and User is not")
	}
	c.cache.size, c.cache.missing = orDefault(c.Schemas, defaultSchemas), orDefault(c.Missing, defaultMissing)
	httpClient := c.httpClient()
	for i, address := range c.addresses {
		s, err := c.server(address, httpClient)
		if err != nil {
			return fmt.Errorf("URL %d: %w", i+1, err)
		}
		c.servers = append(c.servers, s)
	}
	return nil
}

func orDefault[T int | time.Duration](v, otherwise T) T {
	if v == 0 {
		return otherwise
	}
	return v
}

// server takes an address apart. Its errors don't show it: it may have a password in it.
func (c *Client) server(address string, httpClient *http.Client) (server, error) {
	u, err := url.Parse(address)
	if err != nil {
		return server{}, errors.New("it is no URL")
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return server{}, errors.New("it doesn't begin with http:// or https:// and a host")
	}
	if u.RawQuery != "" || u.Fragment != "" {
		return server{}, fmt.Errorf("of host %s: it has a query or a fragment, which is not sent", u.Host)
	}
	s := server{host: u.Host, user: c.User, password: c.Password}
	if u.User != nil {
		if c.User != "" || c.Token != nil {
			return server{}, fmt.Errorf("of host %s: it has a user in it, and field User or Token is set as well", u.Host)
		}
		s.user = u.User.Username()
		s.password, _ = u.User.Password()
		u.User = nil
	}
	s.client, err = sr.NewClient(sr.URLs(u.String()), sr.HTTPClient(httpClient), sr.UserAgent("dataweaver"), sr.PreReq(func(r *http.Request) error {
		return c.authorize(r, s.user, s.password)
	}))
	return s, err
}

// authorize sets the credentials, and takes a note of what has to be kept out of errors.
func (c *Client) authorize(r *http.Request, user, password string) error {
	a := attemptOf(r.Context())
	if c.Token != nil {
		token, err := c.Token(r.Context())
		if err != nil {
			return fmt.Errorf("field Token: %w", err)
		}
		a.hide(token)
		r.Header.Set("Authorization", "Bearer "+token)
		return nil
	}
	if user != "" {
		r.SetBasicAuth(user, password)
		a.hide(strings.TrimPrefix(r.Header.Get("Authorization"), "Basic "))
		a.hide(user + ":" + password)
		a.hide(password)
	}
	return nil
}

// Close lets go of idle connections, of a Client whose HTTP isn't set. It may be used again.
func (c *Client) Close() {
	if c.setup() == nil && c.own != nil {
		c.own.CloseIdleConnections()
	}
}

// within returns ctx with the timeout.
func (c *Client) within(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, orDefault(c.Timeout, defaultTimeout))
}

// request asks one server after the other until one answers, and returns the host of that.
func (c *Client) request(ctx context.Context, op, method, path string, body, into any) (host string, last error) {
	for _, s := range c.servers {
		a := &attempt{}
		err := s.client.Do(context.WithValue(ctx, attemptKey{}, a), method, path, body, into)
		if err == nil {
			return s.host, nil
		}
		last = a.failed(op, s.host, err)
		class := retry.ClassOf(last)
		if class != retry.ClassTransient && class != retry.ClassThrottled || ctx.Err() != nil {
			break
		}
	}
	return "", last
}
