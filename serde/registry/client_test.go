package registry_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/sr"

	"github.com/bohica-labs/dataweaver/retry"
	"github.com/bohica-labs/dataweaver/serde/registry"
)

const orderAvro = `{"type":"record","name":"Order","namespace":"shop","fields":[{"name":"id","type":"long"}]}`

func TestFailures(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		fault http.HandlerFunc
		class retry.Class
		want  string
		delay time.Duration
	}{
		"500":              {fault: status(500, 50001), class: retry.ClassTransient, want: "500 Internal Server Error (error code 50001): it says so"},
		"503 without text": {fault: status(503, 0), class: retry.ClassTransient, want: "503 Service Unavailable"},
		"503 and when":     {fault: status(503, 0, "Retry-After", "7"), class: retry.ClassThrottled, want: "503", delay: 7 * time.Second},
		"429":              {fault: status(429, 42901, "Retry-After", "3"), class: retry.ClassThrottled, want: "429", delay: 3 * time.Second},
		"429 without when": {fault: status(429, 0), class: retry.ClassThrottled, want: "429"},
		"408":              {fault: status(408, 0), class: retry.ClassTransient, want: "408"},
		"cut":              {fault: cut, class: retry.ClassTransient, want: "unexpected EOF"},
		"slow":             {fault: slow, class: retry.ClassTransient, want: "no answer in time"},
		"401":              {fault: status(401, 40101), class: retry.ClassFatal, want: "wants other credentials"},
		"403":              {fault: status(403, 40301), class: retry.ClassFatal, want: "don't allow this"},
		"404 of nobody":    {fault: status(404, 0), class: retry.ClassFatal, want: "no schema registry at this URL"},
		"404 of a path":    {fault: status(404, 404), class: retry.ClassFatal, want: "no schema registry at this URL"},
		"404":              {fault: status(404, 40403), class: retry.ClassUnmarked, want: "404 Not Found (error code 40403): it says so"},
		"422":              {fault: status(422, 42201), class: retry.ClassFatal, want: "422"},
		"redirect":         {fault: status(307, 0, "Location", "http://127.0.0.1:1/"), class: retry.ClassFatal, want: "redirects"},
		"no JSON":          {fault: func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>log in")) }, class: retry.ClassTransient, want: "unable to decode"},
		"no schema":        {fault: func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("{}")) }, class: retry.ClassTransient, want: "the answer is no schema"},
		"too large": {fault: func(w http.ResponseWriter, _ *http.Request) {
			for range 20 {
				if _, err := w.Write(make([]byte, 1<<20)); err != nil {
					return
				}
			}
		}, class: retry.ClassPoison, want: "more than 16777216 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			id := f.add(t, "s", sr.TypeAvro, orderAvro)
			c := f.client(t)
			if name == "slow" {
				c.Timeout = 50 * time.Millisecond
			}
			f.fail(test.fault)
			_, err := c.Schema(t.Context(), id)
			require.ErrorContains(t, err, test.want)
			require.ErrorContains(t, err, "schema registry "+strings.TrimPrefix(f.url, "http://")+": schema 1: ", "it says what of whom")
			require.Equal(t, test.class, retry.ClassOf(err))
			require.Equal(t, name == "404", errors.Is(err, registry.ErrNotFound))
			require.Equal(t, name == "slow", errors.Is(err, context.DeadlineExceeded))
			d, _ := retry.Delay(err)
			require.Equal(t, test.delay, d)
			require.Less(t, len(err.Error()), 700)

			f.fail(nil)
			c.Timeout = 0 // the default: a busy machine is given the time it needs
			s, err := c.Schema(t.Context(), id)
			if name == "404" {
				require.ErrorIs(t, err, registry.ErrNotFound, "for a while")
				return
			}
			require.NoError(t, err, "a failure is not remembered")
			require.Equal(t, &registry.Schema{ID: id, Type: registry.TypeAvro, Text: orderAvro}, s)
		})
	}
}

func TestNobodyThere(t *testing.T) {
	t.Parallel()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	c := registry.New(gone.URL)
	defer c.Close()
	_, err := c.Schema(t.Context(), 1)
	require.ErrorContains(t, err, "connection refused")
	require.Equal(t, retry.ClassTransient, retry.ClassOf(err))
}

// Another server is asked where one is out, but not where it has answered.
func TestSeveral(t *testing.T) {
	t.Parallel()
	a, b := newFake(t), newFake(t)
	id := b.add(t, "s", sr.TypeAvro, orderAvro)
	for name, fault := range map[string]http.HandlerFunc{"500": status(500, 0), "cut": cut, "429": status(429, 0)} {
		a.fail(fault)
		c := registry.New(a.url, b.url)
		s, err := c.Schema(t.Context(), id)
		c.Close()
		require.NoError(t, err, name)
		require.Equal(t, orderAvro, s.Text)
	}
	a.fail(nil)
	c := registry.New(a.url, b.url)
	defer c.Close()
	_, err := c.Schema(t.Context(), id)
	require.ErrorIs(t, err, registry.ErrNotFound)
}

func TestAsksOnce(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	id := f.add(t, "s", sr.TypeAvro, orderAvro)
	c := f.client(t)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if _, err := c.Schema(t.Context(), id); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for range 3 {
		_, err := c.Latest(t.Context(), "s")
		require.NoError(t, err)
		_, err = c.Find(t.Context(), "s", registry.Schema{Type: registry.TypeAvro, Text: orderAvro})
		require.NoError(t, err)
		_, err = c.Schema(t.Context(), 99)
		require.ErrorIs(t, err, registry.ErrNotFound)
		_, err = c.Latest(t.Context(), "none")
		require.ErrorIs(t, err, registry.ErrNotFound)
	}
	for _, what := range []string{"GET /schemas/ids/1", "GET /schemas/ids/99", "GET /subjects/s/versions/latest", "POST /subjects/s", "GET /subjects/none/versions/latest"} {
		require.Equal(t, 1, f.asked(what), what)
	}
}

func TestSubjectsInURLs(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	c := f.client(t)
	for _, subject := range []string{"a/b", "a b?c#d", "../x", "ü%2F"} {
		s, err := c.Register(t.Context(), subject, registry.Schema{Type: registry.TypeAvro, Text: orderAvro})
		require.NoError(t, err, subject)
		found, err := c.Latest(t.Context(), subject)
		require.NoError(t, err, subject)
		require.Equal(t, s.ID, found.ID)
	}
	for _, subject := range []string{"", ".", ".."} {
		_, err := c.Latest(t.Context(), subject)
		require.ErrorContains(t, err, "can't be a subject")
		require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
	}
}

func TestConfiguration(t *testing.T) {
	t.Parallel()
	const secret = "canary"
	for want, c := range map[string]*registry.Client{
		"there is no URL":                       registry.New(),
		"URL 2: it is no URL":                   registry.New("http://a", "http://u:"+secret+"@a:port"),
		"URL 1: it doesn't begin with http://":  registry.New(secret + ":8081"),
		"it has a query":                        registry.New("http://a/?key=" + secret),
		"field Timeout is -1ns":                 {Timeout: -1},
		"fields Token and User are both set":    {User: "u", Token: func(context.Context) (string, error) { return secret, nil }},
		"field Password is set, and User is no": {Password: secret},
	} {
		if want != "there is no URL" && !strings.HasPrefix(want, "URL") && want != "it has a query" {
			other := registry.New("http://a")
			other.Timeout, other.User, other.Password, other.Token = c.Timeout, c.User, c.Password, c.Token
			c = other
		}
		_, err := c.Schema(t.Context(), 1)
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), secret)
		require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
	}
}

// echo is a server that tells everybody what it was told, as badly written ones do.
func echo(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(code)
		user, password, _ := r.BasicAuth()
		_, _ = fmt.Fprintf(w, `{"error_code":%d,"message":"you sent %s, which is %s:%s\n or %q"}`, code*100+1, r.Header.Get("Authorization"), user, password, r.URL)
	}
}

func TestSecrets(t *testing.T) {
	t.Parallel()
	const secret = "canary/ &\"x"
	wrong := func(f *fake, c *registry.Client, fault http.HandlerFunc) {
		t.Helper()
		f.fail(fault)
		_, err := c.Schema(t.Context(), 1)
		require.Error(t, err)
		for text := range strings.SplitSeq(fmt.Sprintf("%v %+v %#v %s", err, err, err, errors.Unwrap(err)), "\n") {
			require.NotContains(t, text, "canary")
			require.NotContains(t, text, base64.StdEncoding.EncodeToString([]byte("user:"+secret)))
			require.NotContains(t, text, base64.StdEncoding.EncodeToString([]byte(secret)))
		}
	}
	for _, fault := range []http.HandlerFunc{echo(401), echo(403), echo(500), echo(404), echo(422), cut, status(302, 0, "Location", "/x")} {
		f := newFake(t)
		c := f.client(t)
		c.User, c.Password = "user", secret
		wrong(f, c, fault)

		c = registry.New(strings.Replace(f.url, "http://", "http://user:canary@", 1))
		t.Cleanup(c.Close)
		wrong(f, c, fault)

		c = f.client(t)
		c.Token = func(context.Context) (string, error) { return "canary.token", nil }
		wrong(f, c, fault)
	}
}

type talkative struct{}

func (talkative) RoundTrip(r *http.Request) (*http.Response, error) {
	return nil, fmt.Errorf("could not send %q", r.Header)
}

// Errors of a transport are no better than answers.
func TestSecretsInTransport(t *testing.T) {
	t.Parallel()
	c := registry.New("http://host")
	c.HTTP = &http.Client{Transport: talkative{}}
	c.Token = func(context.Context) (string, error) { return "canary", nil }
	_, err := c.Schema(t.Context(), 1)
	require.EqualError(t, err, `schema registry host: schema 1: could not send map["Accept":["application/vnd.schemaregistry.v1+json"] "Authorization":["Bearer [hidden]"] `+
		`"Content-Type":["application/vnd.schemaregistry.v1+json"] "User-Agent":["dataweaver"]]`)
	for err != nil {
		require.NotContains(t, err.Error(), "canary")
		err = errors.Unwrap(err)
	}
}

func TestCredentials(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	id := f.add(t, "s", sr.TypeAvro, orderAvro)
	allow := func(header string) {
		f.fail(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != header {
				status(401, 40101)(w, r)
				return
			}
			f.Handler().ServeHTTP(w, r)
		})
	}
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("user:pass"))
	allow(basic)
	c := f.client(t)
	c.User, c.Password = "user", "pass"
	_, err := c.Schema(t.Context(), id)
	require.NoError(t, err)

	c = registry.New(strings.Replace(f.url, "http://", "http://user:pass@", 1))
	defer c.Close()
	_, err = c.Schema(t.Context(), id)
	require.NoError(t, err)

	c = f.client(t)
	c.User, c.Password = "user", "wrong"
	_, err = c.Schema(t.Context(), id)
	require.Equal(t, retry.ClassFatal, retry.ClassOf(err))

	allow("Bearer second")
	c = f.client(t)
	calls := 0
	c.Token = func(context.Context) (string, error) {
		calls++
		switch calls {
		case 1:
			return "", errors.New("the identity provider is out")
		case 2:
			return "", retry.Fatal(errors.New("no such client"))
		}
		return "second", nil
	}
	_, err = c.Schema(t.Context(), id)
	require.ErrorContains(t, err, "field Token: the identity provider is out")
	require.Equal(t, retry.ClassTransient, retry.ClassOf(err))
	_, err = c.Schema(t.Context(), id)
	require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
	_, err = c.Schema(t.Context(), id)
	require.NoError(t, err)
}

// A redirect doesn't carry the credentials elsewhere, nor is it followed.
func TestRedirect(t *testing.T) {
	t.Parallel()
	elsewhere, f := newFake(t), newFake(t)
	c := f.client(t)
	c.User, c.Password = "user", "pass"
	f.fail(status(308, 0, "Location", elsewhere.url+"/schemas/ids/1"))
	_, err := c.Schema(t.Context(), 1)
	require.ErrorContains(t, err, "redirects")
	require.Zero(t, elsewhere.asked("GET /schemas/ids/1"))
}

func TestTLS(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	id := f.add(t, "s", sr.TypeAvro, orderAvro)
	server := httptest.NewUnstartedServer(f.Handler())
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.StartTLS()
	defer server.Close()
	c := registry.New(server.URL)
	defer c.Close()
	_, err := c.Schema(t.Context(), id)
	require.ErrorContains(t, err, "certificate")

	c = registry.New(server.URL)
	defer c.Close()
	c.TLS = server.Client().Transport.(*http.Transport).TLSClientConfig
	_, err = c.Schema(t.Context(), id)
	require.NoError(t, err)

	c = registry.New(server.URL)
	c.HTTP = server.Client()
	_, err = c.Schema(t.Context(), id)
	require.NoError(t, err)
	require.IsType(t, &http.Transport{}, server.Client().Transport, "the caller's client is left alone")
}

func TestReferences(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.add(t, "line", sr.TypeAvro, `{"type":"record","name":"Line","fields":[{"name":"n","type":"int"}]}`)
	f.add(t, "lines", sr.TypeAvro, `{"type":"record","name":"Lines","fields":[{"name":"all","type":{"type":"array","items":"Line"}}]}`, sr.SchemaReference{Name: "Line", Subject: "line", Version: 1})
	id := f.add(t, "order", sr.TypeAvro, `{"type":"record","name":"Order","fields":[{"name":"l","type":"Lines"},{"name":"one","type":"Line"}]}`,
		sr.SchemaReference{Name: "Lines", Subject: "lines", Version: 1}, sr.SchemaReference{Name: "Line", Subject: "line", Version: 1})
	c := f.client(t)
	s, err := c.Schema(t.Context(), id)
	require.NoError(t, err)
	require.Len(t, s.References, 2)
	require.Len(t, s.Resolved, 2)
	require.Equal(t, "Line", s.Resolved[0].Name)
	require.Equal(t, "Lines", s.Resolved[1].Name)
	require.Equal(t, 1, f.asked("GET /subjects/line/versions/1"))

	f.fail(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasPrefix(r.URL.Path, "/schemas"): // refers to itself by way of another one
			_, _ = w.Write([]byte(`{"schema":"x","references":[{"name":"a","subject":"a","version":1}]}`))
		case strings.HasPrefix(r.URL.Path, "/subjects/a/"):
			_, _ = w.Write([]byte(`{"schema":"x","references":[{"name":"b","subject":"b","version":1}]}`))
		case strings.HasPrefix(r.URL.Path, "/subjects/b/"):
			_, _ = w.Write([]byte(`{"schema":"x","references":[{"name":"a","subject":"a","version":1}]}`))
		}
	})
	s, err = c.Schema(t.Context(), 1000)
	require.NoError(t, err, "it ends")
	require.Len(t, s.Resolved, 2)

	var n atomic.Int64
	f.fail(func(w http.ResponseWriter, _ *http.Request) { // refers to others without end
		i := n.Add(1)
		_, _ = fmt.Fprintf(w, `{"schema":"x","references":[{"name":"r%d","subject":"without%d","version":1}]}`, i, i)
	})
	_, err = c.Schema(t.Context(), 1001)
	require.ErrorContains(t, err, "more than 200 others")
	require.EqualValues(t, 201, n.Load())

	f.fail(func(w http.ResponseWriter, r *http.Request) {
		var refs []string
		for i := range 300 {
			refs = append(refs, fmt.Sprintf(`{"name":"r%d","subject":"r","version":1}`, i))
		}
		if strings.HasPrefix(r.URL.Path, "/subjects") {
			refs = nil
		}
		_, _ = fmt.Fprintf(w, `{"schema":"x","references":[%s]}`, strings.Join(refs, ","))
	})
	_, err = c.Schema(t.Context(), 1002)
	require.ErrorContains(t, err, "more than 200 others")
	require.Equal(t, retry.ClassPoison, retry.ClassOf(err))

	f.fail(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/subjects") {
			status(404, 40401)(w, r)
			return
		}
		_, _ = w.Write([]byte(`{"schema":"x","references":[{"name":"gone","subject":"gone","version":1}]}`))
	})
	_, err = c.Schema(t.Context(), 1003)
	require.ErrorContains(t, err, `reference "gone"`)
	require.ErrorIs(t, err, registry.ErrNotFound)
}
