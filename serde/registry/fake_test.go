package registry_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"

	"github.com/bohica-labs/dataweaver/serde/registry"
)

// fake is a registry in this process that can be made to fail.
type fake struct {
	*srfake.Registry
	url string

	mu       sync.Mutex
	fault    http.HandlerFunc // answers instead, if it isn't nil
	requests map[string]int
}

func newFake(t testing.TB) *fake {
	f := &fake{Registry: srfake.NewRegistry(), requests: map[string]int{}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		fault := f.fault
		f.requests[r.Method+" "+r.URL.EscapedPath()]++
		f.mu.Unlock()
		if fault != nil {
			fault(w, r)
			return
		}
		f.Handler().ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	f.url = server.URL
	return f
}

// client returns a Client of the fake.
func (f *fake) client(t testing.TB) *registry.Client {
	c := registry.New(f.url)
	t.Cleanup(c.Close)
	return c
}

func (f *fake) fail(fault http.HandlerFunc) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault = fault
}

func (f *fake) asked(what string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.requests[what]
}

// add registers a schema.
func (f *fake) add(t testing.TB, subject string, kind sr.SchemaType, text string, references ...sr.SchemaReference) int {
	t.Helper()
	id, _, err := f.RegisterSchema(subject, sr.Schema{Type: kind, Schema: text, References: references})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// status answers with an error of the registry's.
func status(code, errorCode int, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(code)
		if errorCode != 0 {
			_, _ = fmt.Fprintf(w, `{"error_code":%d,"message":"it says so"}`, errorCode)
		}
	}
}

// cut closes the connection, in the middle of an answer.
func cut(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Length", "1000")
	_, _ = w.Write([]byte(`{"schema":`))
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

// slow answers too late.
func slow(w http.ResponseWriter, r *http.Request) {
	select {
	case <-r.Context().Done():
	case <-time.After(10 * time.Second):
	}
}
