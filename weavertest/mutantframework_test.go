package weavertest_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/framework/memory"
	"github.com/bohica-labs/dataweaver/weavertest"
)

// labFramework is package memory with one bug.
type labFramework struct {
	*memory.Framework
	bug     string
	stuck   chan struct{}
	created map[string]bool
	late    map[string]bool // splits that a session was given after its first ones
}

func (f *labFramework) CreateStream(ctx context.Context, s weaver.Stream) error {
	switch {
	case f.bug == "create twice fails" && f.created[s.Name]:
		return errBroken
	case f.bug == "create asks nothing" && f.created[s.Name]:
		return nil
	case f.bug == "create says little" && f.created[s.Name] && s.Partitions == 3:
		return errBroken
	case f.bug == "always one partition" && s.Partitions != 3:
		s.Partitions = 1
	}
	f.created[s.Name] = true
	return f.Framework.CreateStream(ctx, s)
}

func (f *labFramework) Close() error {
	if f.bug == "close is forgotten" {
		return nil
	}
	return f.Framework.Close()
}

func (f *labFramework) Consume(stream, group string) weaver.Source[[]byte] {
	switch f.bug {
	case "unknown stream is made":
		_ = f.Framework.CreateStream(context.Background(), weaver.Stream{Name: stream})
	case "groups are one":
		if group != "" {
			group = "g"
		}
	case "no group is one":
		if group == "" {
			group = "g"
		}
	case "every member is alone":
		if strings.Contains(group, "group") {
			group += string(rune('a' + len(f.created)))
			f.created[group] = true
		}
	}
	return &labConsumer{f.Consumer(stream, group), f}
}

type labConsumer struct {
	*memory.Consumer
	f *labFramework
}

func (c *labConsumer) Splits(ctx context.Context) (weaver.Splits, error) {
	s, err := c.Consumer.Splits(ctx)
	if c.f.bug == "unknown stream has no name" && err != nil {
		return nil, errBroken
	}
	if err != nil {
		return nil, err
	}
	return &labGroupSession{Splits: s, f: c.f}, nil
}

type labGroupSession struct {
	weaver.Splits
	f       *labFramework
	changes int
}

func (s *labGroupSession) Next(ctx context.Context) (weaver.Change, error) {
	c, err := s.Splits.Next(ctx)
	for _, sp := range c.Add {
		s.f.late[sp.ID] = s.changes > 0
	}
	s.changes++
	if s.f.bug == "revoke is forgotten" {
		c.Revoke = nil
	}
	return c, err
}

func (s *labGroupSession) Finish(ctx context.Context) error {
	return s.Splits.(weaver.Finisher).Finish(ctx)
}

func (c *labConsumer) OpenReader(ctx context.Context, at weaver.Lane) (weaver.Reader[[]byte], error) {
	if c.f.bug == "position is ignored" {
		at.Position = nil
	}
	if c.f.bug == "leaks" {
		go func() { <-c.f.stuck }()
	}
	r, err := c.Consumer.OpenReader(ctx, at)
	if err != nil {
		return nil, err
	}
	l := &labGroupReader{Reader: r, f: c.f, skips: c.f.bug == "hand over skips" && c.f.late[at.Split.ID]}
	if a, ok := r.(weaver.Acker); ok {
		l.acker = a
	}
	return l, nil
}

type labGroupReader struct {
	weaver.Reader[[]byte]
	f        *labFramework
	acker    weaver.Acker
	finished bool
	skips    bool
	last     weaver.Position
}

func (r *labGroupReader) Read(ctx context.Context, b *weaver.Batch[[]byte]) (weaver.Position, error) {
	if r.f.bug == "finish ends at once" && r.finished {
		return r.last, io.EOF
	}
	if r.f.bug == "finish wakes nobody" && r.finished {
		_ = r.Reader.(weaver.Finisher).Finish(ctx)
	}
	p, err := r.Reader.Read(ctx, b)
	if r.skips && err == nil {
		b.Reset()
		r.skips = false
		p, err = r.Reader.Read(ctx, b)
	}
	r.last = p
	for i := range b.Records {
		rec := &b.Records[i]
		switch r.f.bug {
		case "empty key is nil":
			if len(rec.Key) == 0 {
				rec.Key = nil
			}
		case "headers are sorted":
			slices.SortStableFunc(rec.Headers, func(a, b weaver.Header) int { return strings.Compare(a.Key, b.Key) })
		case "delete is an empty upsert":
			rec.Op = weaver.Upsert
		case "keys are mixed up":
			if strings.HasPrefix(string(rec.Key), "key-") {
				rec.Key = []byte("key-0")
			}
		case "time is lost":
			rec.Time = rec.Time.Add(1)
		}
	}
	if r.f.bug == "acks by itself" && err == nil && r.acker != nil {
		_ = r.acker.Ack(ctx, p)
	}
	return p, err
}

func (r *labGroupReader) Ack(ctx context.Context, p weaver.Position) error {
	if r.acker == nil || r.f.bug == "ack does nothing" {
		return nil
	}
	return r.acker.Ack(ctx, p)
}

func (r *labGroupReader) Finish(ctx context.Context) error {
	if r.finished = true; r.f.bug == "finish wakes nobody" {
		return nil
	}
	return r.Reader.(weaver.Finisher).Finish(ctx)
}

func (f *labFramework) Produce(stream string) weaver.Sink[[]byte] {
	return &labProducer{f.Producer(stream), f}
}

type labProducer struct {
	*memory.Producer
	f *labFramework
}

func (p *labProducer) OpenWriter(ctx context.Context, at weaver.Lane) (weaver.Writer[[]byte], error) {
	w, err := p.Producer.OpenWriter(ctx, at)
	if err != nil {
		return nil, err
	}
	return &labProducerWriter{w, p.f.bug}, nil
}

type labProducerWriter struct {
	weaver.Writer[[]byte]
	bug string
}

func (w *labProducerWriter) Write(ctx context.Context, b *weaver.Batch[[]byte]) error {
	switch w.bug {
	case "last comes first":
		slices.Reverse(b.Records)
	case "keys come last first":
		if len(b.Records) > 0 && strings.HasPrefix(string(b.Records[0].Key), "key-") {
			slices.Reverse(b.Records)
		}
	case "a batch of one is lost":
		if len(b.Records) == 1 {
			return nil
		}
	case "errors are swallowed":
		if err := w.Writer.Write(ctx, b); !errors.Is(err, memory.ErrClosed) {
			return err
		}
		return nil
	}
	return w.Writer.Write(ctx, b)
}

func TestFrameworkSuiteFindsBugs(t *testing.T) {
	t.Parallel()
	for bug, rule := range map[string]string{
		"":                           "",
		"create twice fails":         "create",
		"always one partition":       "create",
		"create asks nothing":        "differs",
		"create says little":         "differs",
		"unknown stream is made":     "unknown stream",
		"unknown stream has no name": "unknown stream",
		"empty key is nil":           "round trip",
		"headers are sorted":         "round trip",
		"delete is an empty upsert":  "round trip",
		"time is lost":               "round trip",
		"last comes first":           "round trip",
		"a batch of one is lost":     "close",
		"keys come last first":       "order",
		"keys are mixed up":          "order",
		"position is ignored":        "replay",
		"hand over skips":            "hand over",
		"finish wakes nobody":        "finish",
		"no group is one":            "no group",
		"groups are one":             "groups",
		"ack does nothing":           "positions",
		"acks by itself":             "positions",
		"every member is alone":      "positions",
		"revoke is forgotten":        "share",
		"finish ends at once":        "round trip",
		"close is forgotten":         "close",
		"errors are swallowed":       "close",
		"leaks":                      "leak",
	} {
		t.Run(bug, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				stuck := make(chan struct{})
				err := weavertest.TestFramework(t.Context(), weavertest.FrameworkCase{
					New: func(context.Context) (weaver.Framework, error) {
						return &labFramework{memory.New(), bug, stuck, make(map[string]bool), make(map[string]bool)}, nil
					},
				})
				close(stuck)
				requireRule(t, rule, err)
			})
		})
	}
}
