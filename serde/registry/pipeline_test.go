package registry_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/sr"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/connectors/file"
	"github.com/bohica-labs/dataweaver/retry"
	"github.com/bohica-labs/dataweaver/serde"
	"github.com/bohica-labs/dataweaver/serde/registry"
)

// kept is what arrived at a sink.
type kept[T any] struct {
	mu     sync.Mutex
	values []T
}

func (k *kept[T]) sink(clone func(T) T) weaver.Sink[T] {
	return weaver.SinkFunc[T](func(_ context.Context, b *weaver.Batch[T]) error {
		k.mu.Lock()
		defer k.mu.Unlock()
		for _, r := range b.Records {
			k.values = append(k.values, clone(r.Value))
		}
		return nil
	})
}

func from[T any](values []T) weaver.Source[T] {
	return weaver.FromSeq(func(yield func(T, error) bool) {
		for _, v := range values {
			if !yield(v, nil) {
				return
			}
		}
	})
}

func self[T any](v T) T { return v }

func copied(p []byte) []byte { return append([]byte(nil), p...) }

// outage makes the fake fail so many requests that nothing that counts attempts would survive it.
func (f *fake) outage() {
	left := 30
	f.fail(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		left--
		n := left
		f.mu.Unlock()
		switch {
		case n < 0:
			f.Handler().ServeHTTP(w, r)
		case n%3 == 0:
			cut(w, r)
		case n%3 == 1:
			status(429, 0)(w, r)
		default:
			status(503, 50301)(w, r)
		}
	})
}

// While the registry is out the pipeline waits, wherever its codec is, and goes on where it was: no record is a dead letter for it, and only what makes no sense is.
func TestOutagePauses(t *testing.T) {
	t.Parallel()
	policy := retry.Policy{Initial: time.Microsecond, Max: time.Millisecond, MaxAttempts: 3}
	var values []order
	var data [][]byte
	for i := range 50 {
		values = append(values, order{ID: int64(i)})
		data = append(data, []byte{0, 0, 0, 0, 1, byte(2 * i)})
	}
	data[20], data[30] = []byte("no header"), []byte("\x00\x00\x00\x00\x09\x00")

	for name, run := range map[string]func(t *testing.T, c *registry.Codec[order]) (arrived, dead int, err error){
		"Decode": func(t *testing.T, c *registry.Codec[order]) (int, int, error) {
			var out kept[order]
			var letters kept[weaver.Rejected[[]byte]]
			p := weaver.NewPipeline(from(data), weaver.Then(serde.Decode(c), weaver.Map(func(o order) (order, error) { return o, nil })), out.sink(self))
			p.Retry, p.DeadLetter, p.Log = policy, letters.sink(self), slog.New(slog.DiscardHandler)
			err := p.Run(t.Context())
			return len(out.values) + 2, len(letters.values) - 2, err
		},
		"Source": func(t *testing.T, c *registry.Codec[order]) (int, int, error) {
			var out kept[order]
			var letters kept[weaver.Rejected[order]]
			p := weaver.Copy(serde.Source(from(data), c), out.sink(self))
			p.Retry, p.DeadLetter, p.Log = policy, letters.sink(self), slog.New(slog.DiscardHandler)
			err := p.Run(t.Context())
			return len(out.values) + 2, len(letters.values) - 2, err
		},
		"Encode": func(t *testing.T, c *registry.Codec[order]) (int, int, error) {
			var out kept[[]byte]
			var letters kept[weaver.Rejected[order]]
			p := weaver.NewPipeline(from(values), serde.Encode(c), out.sink(copied))
			p.Retry, p.DeadLetter, p.Log = policy, letters.sink(self), slog.New(slog.DiscardHandler)
			err := p.Run(t.Context())
			return len(out.values), len(letters.values), err
		},
		"Sink": func(t *testing.T, c *registry.Codec[order]) (int, int, error) {
			var out kept[[]byte]
			var letters kept[weaver.Rejected[order]]
			p := weaver.Copy(from(values), serde.Sink(out.sink(copied), c))
			p.Retry, p.DeadLetter, p.Log = policy, letters.sink(self), slog.New(slog.DiscardHandler)
			err := p.Run(t.Context())
			return len(out.values), len(letters.values), err
		},
		"File that is read": func(t *testing.T, c *registry.Codec[order]) (int, int, error) {
			path := filepath.Join(t.TempDir(), "orders")
			var text []byte
			for _, d := range data {
				text = append(append(text, byte(len(d))), d...)
			}
			require.NoError(t, os.WriteFile(path, text, 0o600))
			from := file.Prefixed[order](path, file.Uvarint)
			from.Codec = c
			var out kept[order]
			var letters kept[weaver.Rejected[order]]
			p := weaver.Copy(weaver.Source[order](from), out.sink(self))
			p.Retry, p.DeadLetter, p.Log = policy, letters.sink(self), slog.New(slog.DiscardHandler)
			err := p.Run(t.Context())
			return len(out.values) + 2, len(letters.values) - 2, err
		},
		"File that is written": func(t *testing.T, c *registry.Codec[order]) (int, int, error) {
			path := filepath.Join(t.TempDir(), "orders")
			to := file.Prefixed[order](path, file.Uvarint)
			to.Codec = c
			var letters kept[weaver.Rejected[order]]
			p := weaver.Copy(from(values), weaver.Sink[order](to))
			p.Name, p.Retry, p.DeadLetter, p.Log = "p", policy, letters.sink(self), slog.New(slog.DiscardHandler)
			err := p.Run(t.Context())
			text, readErr := os.ReadFile(path)
			n := 0
			for ; len(text) > 0; n++ {
				text = text[1+text[0]:]
			}
			return n, len(letters.values), errors.Join(err, readErr)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			f.add(t, "s", sr.TypeAvro, orderAvro)
			codec := func() *registry.Codec[order] {
				c := registry.Avro(f.client(t), avroOrder(t))
				c.Subject = fixed("s")
				return c
			}
			f.outage()
			arrived, dead, err := run(t, codec())
			require.NoError(t, err)
			require.Equal(t, 50, arrived)
			require.Zero(t, dead)

			for _, fault := range []http.HandlerFunc{status(401, 40101), status(403, 40301)} {
				f.fail(fault)
				_, _, err = run(t, codec())
				require.ErrorContains(t, err, "credentials")
				require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
			}
		})
	}
}

// A stop doesn't wait for a registry that is out.
func TestStopInAnOutage(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.fail(status(503, 0))
	ctx, cancel := context.WithCancel(t.Context())
	var out kept[order]
	p := weaver.NewPipeline(from([][]byte{{0, 0, 0, 0, 1, 14}}), serde.Decode(registry.Avro(f.client(t), avroOrder(t))), out.sink(self))
	p.Retry, p.Log = retry.Policy{Initial: time.Hour, Max: time.Hour}, slog.New(slog.DiscardHandler)
	time.AfterFunc(50*time.Millisecond, cancel)
	began := time.Now()
	err := p.Run(ctx)
	require.Less(t, time.Since(began), 5*time.Second)
	require.Empty(t, out.values)
	if err != nil {
		require.ErrorIs(t, err, context.Canceled)
	}
}
