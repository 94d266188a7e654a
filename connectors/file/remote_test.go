package file

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/internal/durable/durabletest"
	"github.com/bohica-labs/dataweaver/retry"
	"github.com/bohica-labs/dataweaver/serde"
)

// remoteDigits is a codec of numbers of three digits. It has a server, which is out for a while: for more calls than any record is tried.
type remoteDigits struct {
	mu    sync.Mutex
	calls int
	mark  func(error) error
}

const remoteOut, remoteBack = 50, 70 // in calls

var (
	errOut = errors.New("the server is out")
	errBad = errors.New("no number of three digits")
)

func (*remoteDigits) Remote() bool { return true }

func (r *remoteDigits) ask() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.calls++; r.calls > remoteOut && r.calls <= remoteBack {
		return r.mark(errOut)
	}
	return nil
}

func (r *remoteDigits) Append(dst []byte, v int) ([]byte, error) {
	if err := r.ask(); err != nil {
		return append(dst, "half"...), err
	}
	if v < 100 || v > 999 {
		return append(dst, "half"...), errBad
	}
	return strconv.AppendInt(dst, int64(v), 10), nil
}

func (r *remoteDigits) Decode(data []byte, v *int) (err error) {
	if err := r.ask(); err != nil {
		return err
	}
	if *v, err = strconv.Atoi(string(data)); err != nil || len(data) != 3 {
		return errBad
	}
	return nil
}

// throughOutage sets a pipeline up that gives up on a record sooner than the server is back.
func throughOutage(p *weaver.Pipeline[int, int], dead *[]string) *weaver.Pipeline[int, int] {
	p.Name, p.BatchSize, p.Log, p.Scribble = "p", 16, slog.New(slog.DiscardHandler), true
	p.Retry = retry.Policy{Initial: time.Microsecond, Max: time.Millisecond, MaxAttempts: 2}
	p.DeadLetter = weaver.SinkFunc[weaver.Rejected[int]](func(_ context.Context, b *weaver.Batch[weaver.Rejected[int]]) error {
		for _, r := range b.Records {
			*dead = append(*dead, r.Value.Error)
		}
		return nil
	})
	return p
}

// outages are how a codec says that its server is out.
var outages = map[string]func(error) error{
	"transient": retry.Transient,
	"throttled": func(err error) error { return retry.After(err, time.Microsecond) },
}

// While the server of a codec is out, nothing is rejected: what is wrong is, before and after.
func TestRemoteCodecReads(t *testing.T) {
	t.Parallel()
	const n = 200
	var raw []string
	var want []int
	for i := range n {
		if i%20 == 7 {
			raw = append(raw, `"x"`)
			continue
		}
		raw = append(raw, strconv.Itoa(100+i))
		want = append(want, 100+i)
	}
	lines, array := strings.Join(raw, "\n")+"\n", "["+strings.Join(raw, " , ")+"]"
	for name, source := range map[string]func(t *testing.T) *File[int]{
		"NDJSON": func(t *testing.T) *File[int] {
			return on(NDJSON[int]("in"), newDisk(t, map[string]string{"in": lines}))
		},
		"NDJSON with blanks": func(t *testing.T) *File[int] {
			return on(NDJSON[int]("in"), newDisk(t, map[string]string{"in": strings.ReplaceAll(lines, "\n", "\n\n")}))
		},
		"JSONArray": func(t *testing.T) *File[int] {
			return on(JSONArray[int]("in"), newDisk(t, map[string]string{"in": array}))
		},
		"Fixed": func(t *testing.T) *File[int] {
			return on(Fixed[int]("in", 3), newDisk(t, map[string]string{"in": strings.Join(raw, "")}))
		},
		"Prefixed": func(t *testing.T) *File[int] {
			return on(Prefixed[int]("in", Uvarint), newDisk(t, map[string]string{"in": "\x03" + strings.Join(raw, "\x03")}))
		},
		"many files by time": func(t *testing.T) *File[int] {
			files := map[string]string{}
			for i := range 10 {
				files["in"+strconv.Itoa(i)] = strings.Join(raw[20*i:20*i+20], "\n")
			}
			f := on(NDJSON[int]("in*"), newDisk(t, files))
			f.Order = ByTime
			return f
		},
		"many files": func(t *testing.T) *File[int] {
			files := map[string]string{}
			for i := range 10 {
				files["in"+strconv.Itoa(i)] = strings.Join(raw[20*i:20*i+20], "\n")
			}
			return on(NDJSON[int]("in*"), newDisk(t, files))
		},
		"followed": func(t *testing.T) *File[int] {
			f := NDJSON[int](realFile(t, t.TempDir()+"/in", lines))
			f.Follow = true
			return f
		},
		"standard input": func(*testing.T) *File[int] {
			return from(NDJSON[int]("-"), io.Reader(strings.NewReader(lines)))
		},
	} {
		for marked, mark := range outages {
			t.Run(name+" "+marked, func(t *testing.T) {
				t.Parallel()
				codec := &remoteDigits{mark: mark}
				f := source(t)
				f.Codec = codec
				var mu sync.Mutex
				var got []int
				var dead []string
				p := throughOutage(weaver.Copy[int](f, weaver.SinkFunc[int](func(_ context.Context, b *weaver.Batch[int]) error {
					mu.Lock()
					defer mu.Unlock()
					for _, r := range b.Records {
						got = append(got, r.Value)
					}
					return nil
				})), &dead)
				p.Bounded = true
				require.NoError(t, p.Run(t.Context()))
				if name == "many files by time" {
					require.ElementsMatch(t, want, got) // all of one time
				} else {
					require.Equal(t, want, got)
				}
				require.Len(t, dead, n/20)
				for _, why := range dead {
					require.Contains(t, why, errBad.Error())
				}
				require.Greater(t, codec.calls, n+remoteBack-remoteOut)
			})
		}
	}
	t.Run("says where", func(t *testing.T) {
		t.Parallel()
		f := on(NDJSON[int]("in"), newDisk(t, map[string]string{"in": "100\n101\n"}))
		f.Codec = &remoteDigits{mark: retry.Transient, calls: remoteOut - 1}
		r, err := f.OpenReader(t.Context(), weaver.Lane{})
		require.NoError(t, err)
		defer func() { require.NoError(t, r.Close()) }()
		_, err = r.Read(t.Context(), weaver.NewBatch[int](0, 0))
		var at *RecordError
		require.ErrorAs(t, err, &at)
		require.Equal(t, RecordError{Path: "in", Line: 2, Offset: 4, Excerpt: `""`, Err: at.Err}, *at, "an outage doesn't tell what the record holds")
		require.Equal(t, retry.ClassTransient, retry.ClassOf(err))
	})
	t.Run("one that is not remote", func(t *testing.T) {
		t.Parallel()
		f := on(NDJSON[int]("in"), newDisk(t, map[string]string{"in": lines}))
		f.Codec = serde.Funcs[int]{DecodeFunc: (&remoteDigits{mark: retry.Transient}).Decode}
		items, _ := drain(t, f, nil, 16)
		require.Len(t, items, n)
		rejected := 0
		for _, i := range items {
			if i.Err != "" {
				rejected++
			}
		}
		require.GreaterOrEqual(t, rejected, n/20+remoteBack-remoteOut-1)
	})
}

// While the server of a codec is out, nothing of a batch is written, and in the end each record is, once.
func TestRemoteCodecWrites(t *testing.T) {
	t.Parallel()
	const n = 200
	var want []string
	for i := range n {
		if i%20 != 7 && i%20 != 9 {
			want = append(want, strconv.Itoa(100+i))
		}
	}
	type sink struct {
		to   weaver.Sink[int]
		text func() string // what was written
	}
	alone := func(t *testing.T, f *File[int], codec *remoteDigits) sink {
		disk := durabletest.New()
		f.Codec, f.BufferBytes = codec, 20 // a batch is more
		return sink{on(f, disk), func() string { return content(t, disk, f.path) }}
	}
	prefixed := "\x03" + strings.Join(want, "\x03")
	lines := strings.Join(want, "\n") + "\n"
	for name, c := range map[string]struct {
		sink func(t *testing.T, codec *remoteDigits) sink
		want string
	}{
		"NDJSON":   {func(t *testing.T, codec *remoteDigits) sink { return alone(t, NDJSON[int]("out"), codec) }, lines},
		"Fixed":    {func(t *testing.T, codec *remoteDigits) sink { return alone(t, Fixed[int]("out", 3), codec) }, strings.Join(want, "")},
		"Prefixed": {func(t *testing.T, codec *remoteDigits) sink { return alone(t, Prefixed[int]("out", Uvarint), codec) }, prefixed},
		"at least once": {func(t *testing.T, codec *remoteDigits) sink {
			s := alone(t, NDJSON[int]("out"), codec)
			s.to = weaver.Tee(s.to) // keeps no checkpoint
			return s
		}, lines},
		"parts": {func(t *testing.T, codec *remoteDigits) sink {
			disk := durabletest.New()
			each := on(NDJSON[int]("out/{part}"), disk)
			each.Codec, each.BufferBytes = codec, 20
			parts := Parts(each)
			return sink{parts, func() string { return content(t, disk, "out/000001") }}
		}, lines},
		"standard output": {func(_ *testing.T, codec *remoteDigits) sink {
			var out bytes.Buffer
			f := NDJSON[int]("-")
			f.Codec, f.BufferBytes, f.std.output = codec, 20, &out
			return sink{f, out.String}
		}, lines},
	} {
		for marked, mark := range outages {
			t.Run(name+" "+marked, func(t *testing.T) {
				t.Parallel()
				codec := &remoteDigits{mark: mark}
				s := c.sink(t, codec)
				var dead []string
				numbers := weaver.FromSeq(func(yield func(int, error) bool) {
					for i := range n {
						v := 100 + i
						if i%20 == 7 {
							v = 7
						}
						if !yield(v, nil) {
							return
						}
					}
				})
				deleting := weaver.MapRecord(func(_ context.Context, in *weaver.Record[int], out *weaver.Record[int]) error {
					if out.Value = in.Value; out.Value%20 == 9 {
						out.Op = weaver.Delete
					}
					return nil
				})
				p := throughOutage(weaver.NewPipeline(numbers, deleting, s.to), &dead)
				require.NoError(t, p.Run(t.Context()))
				require.Equal(t, c.want, s.text())
				require.Len(t, dead, 2*n/20)
				for _, why := range dead {
					if !strings.Contains(why, errDelete.Error()) {
						require.Contains(t, why, errBad.Error())
					}
				}
				require.Greater(t, codec.calls, n-n/20+remoteBack-remoteOut)
			})
		}
	}
}
