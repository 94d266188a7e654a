package file

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/checkpoint"
	"github.com/bohica-labs/dataweaver/retry"
)

// from makes r the standard input of f.
func from[T any](f *File[T], r io.Reader) *File[T] {
	f.std.input = r
	return f
}

// pipe is standard input that somebody writes to.
func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	require.NoError(t, err)
	t.Cleanup(func() { _ = errors.Join(w.Close(), r.Close()) })
	return r, w
}

// flaky fails every so many writes, once all of them are in hand.
type flaky struct {
	mu    sync.Mutex
	calls int
	got   []string
}

func (f *flaky) sink() weaver.SinkFunc[[]byte] {
	return func(_ context.Context, b *weaver.Batch[[]byte]) error {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.calls++; f.calls%3 == 0 {
			return errors.New("away for a moment")
		}
		for _, r := range b.Records {
			f.got = append(f.got, string(r.Value))
		}
		return nil
	}
}

func quick[T any](p *weaver.Pipeline[T, T]) *weaver.Pipeline[T, T] {
	p.Log = slog.New(slog.DiscardHandler)
	p.Retry = retry.Policy{Initial: time.Microsecond, Max: time.Microsecond}
	return p
}

func TestStandardInput(t *testing.T) {
	t.Parallel()
	var want []string
	for i := range 5000 {
		want = append(want, string(lineNumber(i)))
	}
	text := strings.Join(want, "\n") + "\n"
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, _ = io.WriteString(z, text)
	require.NoError(t, z.Close())
	for name, in := range map[string]string{"plain": text, "gzip": packed.String()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, w := pipe(t)
			go func() {
				_, _ = io.WriteString(w, in)
				_ = w.Close()
			}()
			f := from(Lines(stdio), r)
			sink := &flaky{}
			p := quick(weaver.Copy(f, sink.sink()))
			p.BatchSize = 100
			require.NoError(t, p.Run(t.Context()))
			require.Equal(t, want, sink.got, "nothing was lost, and nothing written twice, as each failure was of a whole batch")
			require.LessOrEqual(t, len(f.std.in.buf), 2, "what was acknowledged is forgotten")

			// All has been read: another Run finds nothing.
			require.NoError(t, p.Run(t.Context()))
			require.Len(t, sink.got, len(want))
		})
	}
}

func lineNumber(i int) []byte { return append([]byte("line "), strings.Repeat("x", i%50)...) }

// A header, a byte order mark: each reader needs what comes before the first record, although it was acknowledged long ago.
func TestStandardInputIsReadAgainFromWhatWasAcknowledged(t *testing.T) {
	t.Parallel()
	var rows strings.Builder
	rows.WriteString("\ufeffprice,name,id\n")
	var want []string
	for i := range 300 {
		rows.WriteString("1.5,\"a\nb\"," + string(rune('0'+i%10)) + "\n")
		want = append(want, "{ID:"+string(rune('0'+i%10))+" Name:a\nb Price:1.5}")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for _, chunk := range []int{1, 10, 1 << 10, 1 << 20} {
		f := from(CSV[order](stdio), strings.NewReader(rows.String()))
		f.chunk = chunk
		var got []string
		for lives := 0; len(got) < len(want); lives++ {
			require.Less(t, lives, len(want), "what was not acknowledged never comes")
			r, err := f.OpenReader(t.Context(), weaver.Lane{})
			require.NoError(t, err)
			_, err = f.OpenReader(t.Context(), weaver.Lane{})
			require.ErrorContains(t, err, "it can have one reader")
			var acked weaver.Position
			var more []string
			for range 7 { // of which five are acknowledged
				b := weaver.NewBatch[order](3, 0)
				p, err := r.Read(ctx, b)
				more = append(more, values(itemsOf(b))...)
				if len(more) <= 15 {
					acked = bytes.Clone(p)
					got = append(got, values(itemsOf(b))...)
				}
				if errors.Is(err, io.EOF) {
					break
				}
				require.NoError(t, err)
			}
			if acked != nil {
				require.NoError(t, r.(weaver.Acker).Ack(t.Context(), acked))
			}
			require.NoError(t, r.Close())
		}
		require.Equal(t, want, got, "chunk %d", chunk)
		require.LessOrEqual(t, len(f.std.in.buf), 2*(chunk+len(rows.String())/10)+64)
	}
}

// An Ack frees what comes before its position and no byte more: after each of them, the next reader begins with the record behind it.
func TestStandardInputFreesNoMoreThanWasAcknowledged(t *testing.T) {
	t.Parallel()
	const n = 40
	var want []string
	for i := range n {
		want = append(want, fmt.Sprintf("line %d", i))
	}
	text := strings.Join(want, "\r\n") + "\r\n"
	for acked := 1; acked < n; acked++ {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		f := from(Lines(stdio), strings.NewReader(text))
		f.chunk = 10
		r, err := f.OpenReader(ctx, weaver.Lane{})
		require.NoError(t, err)
		var at weaver.Position
		b := weaver.NewBatch[[]byte](1, 0)
		for i := range n {
			b.Reset()
			p, err := r.Read(ctx, b)
			require.NoError(t, err)
			if i == acked-1 {
				at = bytes.Clone(p)
			}
		}
		require.NoError(t, r.(weaver.Acker).Ack(ctx, at)) // all is read, and some of it acknowledged
		require.NoError(t, r.Close())
		if acked > n/2+1 {
			require.Less(t, len(f.std.in.buf), len(text), "it does free something")
		}

		r, err = f.OpenReader(ctx, weaver.Lane{})
		require.NoError(t, err)
		got := []string{}
		for !errors.Is(err, io.EOF) {
			require.NoError(t, err, "acknowledged: %d", acked)
			b.Reset()
			_, err = r.Read(ctx, b)
			got = append(got, values(itemsOf(b))...)
		}
		require.Equal(t, want[acked:], got, "acknowledged: %d", acked)
		require.NoError(t, r.Close())
		cancel()
	}
}

// What there is comes at once, however little, and a Read that waits ends with its context: the next reader gets what comes later.
func TestStandardInputThatIsTyped(t *testing.T) {
	t.Parallel()
	in, w := pipe(t)
	f := from(NDJSON[order](stdio), in)
	r, err := f.OpenReader(t.Context(), weaver.Lane{})
	require.NoError(t, err)
	b := weaver.NewBatch[order](0, 0)
	for i, line := range []string{`{"id":1}`, `{"id":2}`} {
		_, err = io.WriteString(w, line+"\n{\"i") // and the beginning of the next
		require.NoError(t, err)
		b.Reset()
		_, err = r.Read(t.Context(), b)
		require.NoError(t, err)
		require.Len(t, b.Records, 1)
		require.Equal(t, int64(i+1), b.Records[0].Value.ID)
		_, err = io.WriteString(w, "d\":9}\n")
		require.NoError(t, err)
		b.Reset()
		_, err = r.Read(t.Context(), b)
		require.NoError(t, err)
		require.Equal(t, int64(9), b.Records[0].Value.ID)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	b.Reset()
	_, err = r.Read(ctx, b)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NoError(t, r.Close())

	// Nothing was acknowledged, so all comes again.
	r, err = f.OpenReader(t.Context(), weaver.Lane{})
	require.NoError(t, err)
	_, err = io.WriteString(w, `{"id":3}`)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	var ids []int64
	for !errors.Is(err, io.EOF) {
		b.Reset()
		_, err = r.Read(t.Context(), b)
		for _, rec := range b.Records {
			ids = append(ids, rec.Value.ID)
		}
	}
	require.Equal(t, []int64{1, 9, 2, 9, 3}, ids)
	require.NoError(t, r.Close())
}

// What an earlier process read says nothing about this one's input.
func TestStandardInputAndCheckpoints(t *testing.T) {
	t.Parallel()
	store := checkpoint.NewMemory()
	out := filepath.Join(t.TempDir(), "out")
	for i, want := range []string{"a\nb\n", "a\nb\na\nb\n"} { // as two processes
		p := quick(weaver.Copy(from(Lines(stdio), strings.NewReader("a\nb\n")), Lines(out)))
		p.Name = "p"
		require.NoError(t, p.Run(t.Context()))
		data, err := os.ReadFile(out)
		require.NoError(t, err)
		require.Equal(t, want, string(data), i)
		var got []string
		p = quick(weaver.Copy(from(Lines(stdio), strings.NewReader("c\n")), weaver.SinkFunc[[]byte](func(_ context.Context, b *weaver.Batch[[]byte]) error {
			for _, r := range b.Records {
				got = append(got, string(r.Value))
			}
			return nil
		})))
		p.Name, p.Checkpoint = "q", store
		require.NoError(t, p.Run(t.Context()))
		require.Equal(t, []string{"c"}, got)
	}
	p := weaver.Copy(from(Lines(stdio), strings.NewReader("")), Lines(out))
	p.Require = weaver.ExactlyOnce
	require.ErrorContains(t, p.Run(t.Context()), "is a queue")

	f := Lines(stdio)
	f.Parallel = true
	require.ErrorContains(t, weaver.Copy(f, Lines(out)).Run(t.Context()), "standard input, which is one split")
}

// output is standard output that does what a test says.
type output struct {
	got   bytes.Buffer
	calls int
	write func(call int, p []byte) (int, error)
}

func (o *output) Write(p []byte) (int, error) {
	o.calls++
	n, err := len(p), error(nil)
	if o.write != nil {
		n, err = o.write(o.calls, p)
	}
	o.got.Write(p[:n])
	return n, err
}

func to[T any](f *File[T], w io.Writer) *File[T] {
	f.std.output = w
	return f
}

func TestStandardOutput(t *testing.T) {
	t.Parallel()
	in := "id,name,price\n1,a,2\n2,\"b\nc\",3\n3,d,4\n"
	disk := newDisk(t, map[string]string{"in": in})
	for name, c := range map[string]struct {
		write func(call int, p []byte) (int, error)
		want  string
	}{
		"well":        {nil, in},
		"torn header": {func(call int, p []byte) (int, error) { return torn(call == 1, 4, p) }, in},
		"no header":   {func(call int, p []byte) (int, error) { return torn(call == 1, 0, p) }, in},
		"no row":      {func(call int, p []byte) (int, error) { return torn(call == 2, 0, p) }, in},
		"torn row":    {func(call int, p []byte) (int, error) { return torn(call == 2, 1, p) }, "id,name,price\n1,a,2\n1,a,2\n2,\"b\nc\",3\n3,d,4\n"},
		"torn twice":  {func(call int, p []byte) (int, error) { return torn(call == 3 || call == 4, 3, p) }, "id,name,price\n1,a,2\n2,\"b\nc\",3\n2,\"b\nc\",3\n3,d,4\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out := &output{write: c.write}
			f := to(CSV[order](stdio), out)
			p := quick(weaver.Copy(on(CSV[order]("in"), disk), f))
			p.Checkpoint = checkpoint.NewMemory()
			p.Name = "p"
			p.BatchSize = 1
			require.NoError(t, p.Run(t.Context()))
			require.Equal(t, c.want, out.got.String())
		})
	}
}

func torn(now bool, n int, p []byte) (int, error) {
	if now {
		return n, syscall.ENOSPC
	}
	return len(p), nil
}

func TestStandardOutputThatNobodyReads(t *testing.T) {
	t.Parallel()
	r, w := pipe(t)
	require.NoError(t, r.Close())
	p := quick(weaver.Copy(on(Lines("in"), newDisk(t, map[string]string{"in": "a\n"})), to(Lines(stdio), w)))
	err := p.Run(t.Context())
	require.ErrorIs(t, err, syscall.EPIPE)
	require.ErrorContains(t, err, "the program that reads it has ended")
	require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
}

func TestStandardOutputNamesPoison(t *testing.T) {
	t.Parallel()
	out := &output{}
	f := to(Fixed[[]byte](stdio, 2), out)
	f.BufferBytes = 3
	f.Compression = Gzip
	w, err := f.OpenWriter(t.Context(), weaver.Lane{})
	require.NoError(t, err)
	b := weaver.NewBatch[[]byte](0, 0)
	for _, v := range []string{"ab", "x", "cd", "ef", "gh", "ij"} {
		b.Add().Value = []byte(v)
	}
	b.Records[4].Op = weaver.Delete
	var be *weaver.BatchError
	require.ErrorAs(t, w.Write(t.Context(), b), &be)
	require.Len(t, be.Records, 2)
	require.Equal(t, []int{1, 4}, []int{be.Records[0].Index, be.Records[1].Index})
	require.NoError(t, w.Close())
	require.Equal(t, 2, out.calls)
	z, err := gzip.NewReader(&out.got)
	require.NoError(t, err)
	data, err := io.ReadAll(z)
	require.NoError(t, err)
	require.Equal(t, "abcdefij", string(data))
}

// A pipe from one to the other, as in a shell.
func TestFilter(t *testing.T) {
	t.Parallel()
	r, w := pipe(t)
	f := from(to(Lines(stdio), w), strings.NewReader(strings.Repeat("a line\n", 10_000)))
	done := make(chan error, 1)
	go func() {
		err := weaver.Copy(f, f).Run(t.Context())
		done <- errors.Join(err, w.Close())
	}()
	data, err := io.ReadAll(r)
	require.NoError(t, err)
	require.NoError(t, <-done)
	require.Equal(t, strings.Repeat("a line\n", 10_000), string(data))
}
