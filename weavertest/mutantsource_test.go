package weavertest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/weavertest"
)

// labSource is a source that can have one bug.
type labSource struct {
	bug     string
	records []weaver.Record[[]byte]
	endless bool

	mu      sync.Mutex
	acked   int
	started int // Splits sessions
	open    int
	shared  []byte
	more    chan struct{}
}

func newLabSource(bug string, endless bool) *labSource {
	return &labSource{bug: bug, records: samples(6), endless: endless, more: make(chan struct{})}
}

func (s *labSource) Splits(context.Context) (weaver.Splits, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.started++
	id := "a"
	if s.bug == "splits change" && s.started > 1 {
		id = "b"
	}
	return &labSession{s, []string{id}}, nil
}

type labSession struct {
	s    *labSource
	left []string
}

func (l *labSession) Next(ctx context.Context) (weaver.Change, error) {
	if len(l.left) == 0 {
		switch l.s.bug {
		case "splits wrap EOF":
			return weaver.Change{}, fmt.Errorf("no more: %w", io.EOF)
		case "splits go on":
			return weaver.Change{}, nil
		}
		return weaver.Change{}, io.EOF
	}
	id := l.left[0]
	l.left = l.left[1:]
	return weaver.Change{Add: []weaver.Split{{ID: id}}}, nil
}

func (l *labSession) Close() error { return nil }

func (s *labSource) OpenReader(_ context.Context, at weaver.Lane) (weaver.Reader[[]byte], error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open++
	r := &labReader{s: s, finish: -1, position: make([]byte, 1), finished: make(chan struct{}), reading: make(chan struct{}, 1)}
	r.next = s.acked
	if at.Position != nil {
		r.next = int(at.Position[0])
		if s.bug == "resume skips" {
			r.next = min(r.next+1, len(s.records))
		}
	}
	if s.bug == "readers share" {
		if s.open > 1 {
			r.next = 1
		}
	}
	if s.bug == "leaks" {
		go func() { <-s.more }()
	}
	return r, nil
}

type labReader struct {
	s        *labSource
	next     int
	finish   int
	finished chan struct{}
	position []byte
	reading  chan struct{} // a lock
	kept     []byte
	eof      bool
}

func (r *labReader) Read(ctx context.Context, b *weaver.Batch[[]byte]) (weaver.Position, error) {
	s := r.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bug == "ack waits for Read" {
		r.reading <- struct{}{}
		defer func() { <-r.reading }()
	}
	n := 0
	for ; r.next < len(s.records) && (!b.Full() || s.bug == "ignores Full"); n++ {
		rec := &s.records[r.next]
		if s.bug == "loses one" && r.next == 3 {
			rec = &s.records[4]
		}
		to := b.Add()
		*to = *rec
		switch s.bug {
		case "lends its memory":
		case "keeps the batch":
			if r.kept == nil {
				r.kept = b.Copy(rec.Value)
			}
			to.Value = append(b.Copy(r.kept[:len("value ")]), rec.Value[len("value "):]...)
		default:
			to.Value = b.Copy(rec.Value)
		}
		if s.bug != "lends its memory" {
			to.Key, to.Headers = b.Copy(rec.Key), rec.Headers.Clone()
		}
		r.next++
	}
	if s.bug == "acks by itself" {
		s.acked = r.next
	}
	var p weaver.Position = []byte{byte(r.next)}
	switch s.bug {
	case "empty position":
		p = weaver.Position{}
	case "no position at the end":
		if r.next == len(s.records) {
			p = nil
		}
	case "one position buffer":
		if s.shared == nil {
			s.shared = make([]byte, 1)
		}
		s.shared[0] = byte(r.next)
		p = s.shared
	}
	if n > 0 {
		return p, nil
	}
	if !s.endless || r.finish >= 0 {
		switch {
		case s.bug == "wraps EOF":
			return p, fmt.Errorf("read: %w", io.EOF)
		case s.bug == "EOF once" && r.eof:
			return nil, errors.New("read after the end")
		}
		r.eof = true
		return p, io.EOF
	}
	s.mu.Unlock()
	defer s.mu.Lock()
	if s.bug == "ignores ctx" {
		<-s.more
		return nil, nil
	}
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-r.finished:
		return p, io.EOF
	}
}

func (r *labReader) Ack(_ context.Context, p weaver.Position) error {
	if r.s.bug == "ack waits for Read" {
		r.reading <- struct{}{}
		defer func() { <-r.reading }()
	}
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	r.s.acked = int(p[0])
	return nil
}

func (r *labReader) Finish(context.Context) error {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	if r.finish < 0 {
		r.finish = len(r.s.records)
		close(r.finished)
	}
	if r.s.bug == "finish drops" {
		r.next = max(r.next, 2)
	}
	return nil
}

func (r *labReader) Lag() weaver.Lag {
	if r.s.bug == "lag unknown is 0" {
		return weaver.Lag{}
	}
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	return weaver.Lag{Records: int64(len(r.s.records) - r.next), Bytes: -1, Time: -1}
}

func (r *labReader) Progress() weaver.Progress {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	p := weaver.Progress{Records: int64(r.next), TotalRecords: int64(len(r.s.records)), Bytes: -1, TotalBytes: -1}
	if r.s.bug == "progress stands still" {
		p.Records = 0
	}
	return p
}

func (r *labReader) Close() error {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	r.s.open--
	if r.s.bug == "close without Read fails" && r.next == 0 {
		return errBroken
	}
	return nil
}

func TestSourceSuiteFindsBugs(t *testing.T) {
	t.Parallel()
	for bug, rule := range map[string]string{
		"":                         "",
		"splits change":            "splits",
		"splits wrap EOF":          "splits",
		"splits go on":             "splits",
		"loses one":                "read",
		"wraps EOF":                "eof",
		"EOF once":                 "eof",
		"ignores Full":             "full",
		"lends its memory":         "memory",
		"keeps the batch":          "memory",
		"empty position":           "position",
		"no position at the end":   "position",
		"one position buffer":      "position",
		"resume skips":             "resume",
		"ack waits for Read":       "ack",
		"acks by itself":           "redeliver",
		"ignores ctx":              "cancel",
		"finish drops":             "finish",
		"lag unknown is 0":         "lag",
		"progress stands still":    "progress",
		"close without Read fails": "close",
		"readers share":            "independent",
		"leaks":                    "leak",
	} {
		for _, endless := range []bool{true, false} {
			if !endless && (bug == "ack waits for Read" || bug == "ignores ctx") || endless && (bug == "wraps EOF" || bug == "EOF once") {
				continue // shows only where Read waits, or ends
			}
			t.Run(fmt.Sprintf("%s/%v", bug, endless), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) { // waiting for what never comes takes no time
					var sources []*labSource
					err := weavertest.TestSource(t.Context(), weavertest.SourceCase[[]byte]{
						New: func(context.Context) (weaver.Source[[]byte], error) {
							s := newLabSource(bug, endless)
							sources = append(sources, s)
							return s, nil
						},
						Want:    map[string][]weaver.Record[[]byte]{"a": samples(6)},
						Endless: endless,
					})
					for _, s := range sources {
						close(s.more)
					}
					requireRule(t, rule, err)
				})
			})
		}
	}
}

func requireRule(t *testing.T, rule string, err error) {
	t.Helper()
	if rule == "" {
		require.NoError(t, err)
		return
	}
	var broken *weavertest.RuleError
	require.ErrorAs(t, err, &broken)
	require.Equal(t, rule, broken.Rule, broken.Detail)
	t.Log(err)
}
