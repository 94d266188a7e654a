package weavertest_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/weavertest"
)

// labSink is a sink that can have one bug. Its writers are a Checkpointer, or plain.
type labSink struct {
	bug   string
	plain bool
	stuck chan struct{}

	mu       sync.Mutex
	durable  []weaver.Record[[]byte]
	envelope map[string][]byte
	owner    map[string]int
	open     int
}

func (s *labSink) OpenWriter(_ context.Context, at weaver.Lane) (weaver.Writer[[]byte], error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open++
	if s.bug == "truncates" {
		s.durable = nil
	}
	w := &labWriter{s: s, id: at.Split.ID, first: s.open == 1}
	switch {
	case s.bug == "leaks":
		go func() { <-s.stuck }()
	case s.plain:
		return struct{ weaver.Writer[[]byte] }{w}, nil
	case s.bug == "no flusher":
		return struct {
			weaver.Writer[[]byte]
			weaver.Checkpointer
		}{w, w}, nil
	}
	return w, nil
}

type labWriter struct {
	s      *labSink
	id     string
	first  bool
	owner  int
	staged []weaver.Record[[]byte]
}

func keep(r weaver.Record[[]byte]) weaver.Record[[]byte] {
	r.Value, r.Key, r.Headers = slices.Clone(r.Value), slices.Clone(r.Key), r.Headers.Clone()
	return r
}

func (w *labWriter) Write(ctx context.Context, b *weaver.Batch[[]byte]) error {
	if ctx.Err() != nil {
		if w.s.bug == "ignores ctx" {
			<-w.s.stuck
		}
		return ctx.Err()
	}
	var failed []weaver.RecordError
	for i, r := range b.Records {
		if string(r.Value) == "poison" {
			failed = append(failed, weaver.RecordError{Index: i, Err: errBroken})
			continue
		}
		if w.s.bug != "keeps the batch" {
			r = keep(r)
		}
		if w.s.bug != "loses one" || string(r.Value) != "value 5" {
			w.staged = append(w.staged, r)
		}
	}
	if w.s.bug == "writes for an empty batch" && len(b.Records) == 0 {
		w.staged = append(w.staged, weaver.Record[[]byte]{})
	}
	if w.s.plain || w.s.bug == "durable too early" {
		w.save()
	}
	if failed == nil {
		return nil
	}
	return w.fail(failed)
}

func (w *labWriter) fail(failed []weaver.RecordError) error {
	switch w.s.bug {
	case "index beyond":
		failed[0].Index = 17
	case "blames another":
		failed[0].Index = 0
	case "names it twice":
		failed = append(failed, failed[0])
	case "poison as an outage":
		return errBroken
	case "poison is dropped":
		return nil
	case "says rolled back":
		return &weaver.BatchError{Records: failed, RolledBack: true}
	}
	return &weaver.BatchError{Records: failed}
}

func (w *labWriter) save() {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	w.s.durable = append(w.s.durable, w.staged...)
	w.staged = nil
}

// shelf is where the envelope is.
func (w *labWriter) shelf() string {
	if w.s.bug == "one envelope for all" {
		return ""
	}
	return w.id
}

func (w *labWriter) Due() bool { return false }

func (w *labWriter) Flush(context.Context) error {
	if w.s.bug == "flush needs Restore" && w.owner == 0 {
		return errBroken
	}
	w.save()
	return nil
}

func (w *labWriter) Restore(context.Context) ([]byte, error) {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	w.s.owner[w.id]++
	w.owner = w.s.owner[w.id]
	e := w.s.envelope[w.shelf()]
	switch {
	case w.s.bug == "first envelope is empty" && e == nil:
		return []byte{}, nil
	case w.s.bug == "envelope cut":
		e = e[:min(len(e), 1<<16)]
	}
	return e, nil
}

func (w *labWriter) Commit(_ context.Context, envelope []byte) error {
	w.s.mu.Lock()
	fenced := w.owner != w.s.owner[w.id]
	w.s.mu.Unlock()
	switch {
	case fenced && w.s.bug == "fence is silent":
		return nil
	case fenced && w.s.bug == "fence is late":
		w.save()
		return errors.New("fenced")
	case fenced && w.s.bug != "no fence":
		return errors.New("fenced")
	case w.s.bug == "commit of nothing fails" && len(w.staged) == 0:
		return errBroken
	case w.s.bug == "commit of nothing is skipped" && len(w.staged) == 0:
		return nil
	}
	w.save()
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	if w.s.bug != "keeps the envelope" {
		envelope = slices.Clone(envelope)
	}
	if w.s.bug != "envelope once" || w.s.envelope[w.shelf()] == nil {
		w.s.envelope[w.shelf()] = envelope
	}
	return nil
}

func (w *labWriter) Close() error {
	if w.s.bug == "close saves" {
		w.save()
	}
	if w.s.bug == "close fails" {
		return errBroken
	}
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	w.s.open--
	if w.s.bug == "close takes all" && w.s.open > 0 {
		w.s.durable = nil
	}
	return nil
}

func TestSinkSuiteFindsBugs(t *testing.T) {
	t.Parallel()
	const plain, both = "plain", "both"
	for _, m := range []struct{ bug, rule, mode string }{
		{"", "", both},
		{"loses one", "write", both},
		{"writes for an empty batch", "empty", both},
		{"keeps the batch", "memory", both},
		{"keeps the envelope", "memory", ""},
		{"close saves", "close", ""},
		{"close fails", "write", both},
		{"truncates", "reopen", plain},
		{"index beyond", "partial", both},
		{"blames another", "partial", both},
		{"names it twice", "partial", both},
		{"poison as an outage", "partial", both},
		{"poison is dropped", "partial", both},
		{"says rolled back", "partial", both},
		{"ignores ctx", "cancel", both},
		{"close takes all", "concurrent", plain},
		{"no flusher", "flush", ""},
		{"flush needs Restore", "flush", ""},
		{"first envelope is empty", "restore", ""},
		{"envelope once", "restore", ""},
		{"commit of nothing fails", "commit", ""},
		{"commit of nothing is skipped", "commit", ""},
		{"durable too early", "close", ""},
		{"envelope cut", "envelope", ""},
		{"no fence", "fence", ""},
		{"fence is silent", "fence", ""},
		{"fence is late", "fence", ""},
		{"one envelope for all", "splits", ""},
		{"leaks", "leak", both},
	} {
		for _, mode := range []string{plain, ""} {
			if m.mode != both && m.mode != mode {
				continue
			}
			t.Run(fmt.Sprintf("%s/%s", m.bug, mode), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					stuck := make(chan struct{})
					err := weavertest.TestSink(t.Context(), weavertest.SinkCase[[]byte]{
						New: func(context.Context) (weaver.Sink[[]byte], func(context.Context) ([]weaver.Record[[]byte], error), error) {
							s := &labSink{bug: m.bug, plain: mode == plain, stuck: stuck, envelope: make(map[string][]byte), owner: make(map[string]int)}
							return s, func(context.Context) ([]weaver.Record[[]byte], error) {
								s.mu.Lock()
								defer s.mu.Unlock()
								return slices.Clone(s.durable), nil
							}, nil
						},
						Record: sample,
						Poison: func() weaver.Record[[]byte] { return weaver.Record[[]byte]{Value: []byte("poison")} },
					})
					close(stuck)
					requireRule(t, m.rule, err)
				})
			})
		}
	}
}
