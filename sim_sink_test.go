package weaver_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/checkpoint"
	"github.com/bohica-labs/dataweaver/retry"
)

func unmarshalCounts(p []byte, to *map[string][2]int) error { return json.Unmarshal(p, to) }
func marshalCounts(c map[string][2]int) ([]byte, error)     { return json.Marshal(c) }

type simSink struct{ w *simWorld }

func (w *simWorld) sinkOf() weaver.Sink[simItem] { return simSink{w} }

// simWriter is a plain Writer; what it stages is used by the kinds that buffer.
type simWriter struct {
	owner
	staged []simItem
	split  int
	fence  int
	gone   bool // has failed: it must not be used again
}

type (
	simFlusher      struct{ *simWriter }
	simCheckpointer struct{ *simWriter }
)

func (s simSink) OpenWriter(_ context.Context, at weaver.Lane) (weaver.Writer[simItem], error) {
	w := s.w
	w.nap(w.c.slowWrite)
	if w.fails("open writer") {
		return nil, w.failure("open writer")
	}
	x := &simWriter{split: splitOf(at.Split.ID), fence: -1}
	x.owner = owner{w: w, name: fmt.Sprintf("writer of split %q", at.Split.ID)}
	w.opened(x, x.name)
	w.mu.Lock()
	if !at.Resume && w.c.sink != sinkCheckpointer && w.c.splits == 1 && w.saved[x.split] >= 0 { // a Checkpointer asks Restore
		w.violate("%s: opened without Resume", x.name)
	}
	w.mu.Unlock()
	switch w.c.sink {
	case sinkFlusher:
		return simFlusher{x}, nil
	case sinkCheckpointer:
		return simCheckpointer{x}, nil
	}
	return x, nil
}

func (x *simWriter) Close() error {
	defer x.enter("Close")()
	x.w.closed(x, x.name)
	if x.w.fails("close") {
		return errors.New("closing failed")
	}
	return nil
}

func (x *simWriter) check(b *weaver.Batch[simItem]) {
	w := x.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if x.gone {
		w.violate("%s: used after a failure", x.name)
	}
	if len(b.Records) > w.c.batchSize || len(b.Records) == 0 {
		w.violate("%s: a batch of %d, BatchSize is %d", x.name, len(b.Records), w.c.batchSize)
	}
	for i := range b.Records {
		r := &b.Records[i]
		if split, n, ok := parseBody(r.Value.Body); !ok || split != r.Value.Split || n != r.Value.N || string(r.Key) != w.key(split, n) {
			w.violate("%s: record %d of split %d has body %q and key %q", x.name, r.Value.N, r.Value.Split, r.Value.Body, r.Key)
		}
		if w.c.sink == sinkCheckpointer && r.Value.Split != x.split {
			w.violate("%s: gets a record of split %d", x.name, r.Value.Split)
		}
	}
}

// take stages items, or makes them durable.
func (x *simWriter) take(items []simItem) {
	x.w.mu.Lock()
	defer x.w.mu.Unlock()
	if x.w.c.sink == sinkPlain {
		x.w.sink(items)
		return
	}
	x.staged = append(x.staged, items...)
}

// refusal is what the plan has against a record; nil: nothing.
func (w *simWorld) refusal(x *simItem) error {
	if w.c.stateful || x.Sub != 0 {
		return nil
	}
	switch w.fate[x.Split][x.N] {
	case fateWrite:
		return retry.Permanent(errors.New("refused for ever"))
	case fateWriteOut:
		return retry.Transient(errors.New("refused again and again"))
	case fateWriteTwice:
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.everCut[[2]int{x.Split, x.N}]++; w.everCut[[2]int{x.Split, x.N}] <= 2 {
			return errors.New("refused for now")
		}
	}
	return nil
}

func (x *simWriter) Write(ctx context.Context, b *weaver.Batch[simItem]) error {
	defer x.enter("Write")()
	w := x.w
	x.check(b)
	if ctx.Err() != nil && !w.calm {
		return ctx.Err()
	}
	w.nap(w.c.slowWrite)
	items := make([]simItem, 0, len(b.Records))
	for i := range b.Records {
		items = append(items, b.Records[i].Value)
		items[i].Body = nil
	}
	if w.fails("write") {
		n := w.intn(len(items) + 1)
		if k := slices.IndexFunc(items, func(x simItem) bool {
			f := w.fate[x.Split][x.N]
			return x.Sub == 0 && (f == fateWrite || f == fateWriteOut || f == fateWriteTwice)
		}); k >= 0 {
			n = min(n, k)
		}
		x.take(items[:n])
		w.mu.Lock()
		x.gone = true
		w.mu.Unlock()
		return w.failure("write")
	}
	return x.refuse(items)
}

func (x *simWriter) refuse(items []simItem) error {
	w := x.w
	var bad []weaver.RecordError
	var good []simItem
	var poison error
	again := false
	for i := range items {
		err := w.refusal(&items[i])
		if err == nil {
			good = append(good, items[i])
			continue
		}
		if retry.ClassOf(err) == retry.ClassPoison {
			poison = err
		} else {
			again = true // what is written again behind it would be staged twice: a Checkpointer rolls back
		}
		bad = append(bad, weaver.RecordError{Index: i, Err: err})
	}
	if len(bad) == 0 {
		x.take(items)
		return nil
	}
	if poison != nil {
		switch w.c.style {
		case stylePlain:
			x.gone = true
			return poison
		case stylePanic:
			x.gone = true
			panic("the writer chokes")
		case styleUnknown:
			return &weaver.BatchError{Err: poison, RolledBack: true}
		}
	}
	if w.c.style == styleRolledBack || w.c.sink == sinkCheckpointer && again {
		return &weaver.BatchError{Records: bad, RolledBack: true}
	}
	if len(bad) > 1 { // any order
		bad[0], bad[len(bad)-1] = bad[len(bad)-1], bad[0]
	}
	x.take(good)
	return &weaver.BatchError{Err: errors.New("some failed"), Records: bad}
}

func (x *simWriter) due() bool { return x.w.intn(5) == 0 }

func (x simFlusher) Due() bool      { return x.due() }
func (x simCheckpointer) Due() bool { return x.due() }

// choke reports poison that shows only when it is made durable.
func (x *simWriter) choke() error {
	if x.w.c.stateful {
		return nil
	}
	for i := range x.staged {
		if x.w.fate[x.staged[i].Split][x.staged[i].N] == fateFlush && x.staged[i].Sub == 0 {
			return retry.Permanent(errors.New("some record can't be made durable"))
		}
	}
	return nil
}

func (x simFlusher) Flush(context.Context) error {
	defer x.enter("Flush")()
	w := x.w
	w.nap(w.c.slowWrite)
	w.mu.Lock()
	defer w.mu.Unlock()
	if x.gone {
		w.violate("%s: flushed after a failure", x.name)
	}
	if err := x.choke(); err != nil {
		x.gone = true
		return err
	}
	w.mu.Unlock()
	fail := w.fails("flush")
	w.mu.Lock()
	if fail {
		x.gone = true
		if w.rng.IntN(2) == 0 { // the reply was lost, or it came half way
			w.sink(x.staged[:w.rng.IntN(len(x.staged)+1)])
		}
		w.mu.Unlock()
		err := w.failure("flush")
		w.mu.Lock()
		return err
	}
	w.sink(x.staged)
	x.staged = nil
	return nil
}

func (x simCheckpointer) Restore(context.Context) ([]byte, error) {
	defer x.enter("Restore")()
	w := x.w
	w.nap(w.c.slowWrite)
	if w.fails("restore") {
		return nil, w.failure("restore")
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fence[x.split]++
	x.fence = w.fence[x.split]
	return append([]byte(nil), w.envelope[x.split]...), nil
}

func (x simCheckpointer) Commit(_ context.Context, env []byte) error {
	defer x.enter("Commit")()
	w := x.w
	w.nap(w.c.slowWrite)
	fail := w.fails("commit")
	w.mu.Lock()
	if x.gone {
		w.violate("%s: Commit after a failure", x.name)
	}
	if err := x.choke(); err != nil {
		x.gone = true
		w.mu.Unlock()
		return err
	}
	if x.fence != w.fence[x.split] {
		x.gone = true
		w.mu.Unlock()
		return errors.New("fenced off")
	}
	if fail {
		x.gone = true
		if w.rng.IntN(2) == 0 {
			w.mu.Unlock()
			return w.failure("commit")
		}
	}
	pos, _, err := weaver.DecodeEnvelope(env)
	if n, ok := simPos(pos); err == nil && ok && !w.c.stateful {
		for _, s := range x.staged {
			if s.N >= n && !w.c.queue {
				w.violate("Commit of position %d of split %d with record %d staged", n, x.split, s.N)
			}
		}
	}
	w.sink(x.staged)
	x.staged = nil
	if !w.c.queue {
		w.checkpointed("Commit", x.split, env)
	}
	w.envelope[x.split] = append([]byte(nil), env...)
	w.mu.Unlock()
	if fail {
		return w.failure("commit, its reply was lost")
	}
	return nil
}

// The dead letters.

type simLetters struct{ w *simWorld }

type simLetterWriter struct {
	owner
	staged [][2]int
}

type simLetterFlusher struct{ *simLetterWriter }

func (s simLetters) OpenWriter(context.Context, weaver.Lane) (weaver.Writer[weaver.Rejected[simItem]], error) {
	w := s.w
	if w.fails("open letters") {
		return nil, w.failure("open letters")
	}
	x := &simLetterWriter{owner: owner{w: w, name: "letters"}}
	w.opened(x, "letters")
	if w.c.letters == sinkFlusher {
		return simLetterFlusher{x}, nil
	}
	return x, nil
}

func (x *simLetterWriter) Close() error {
	defer x.enter("Close")()
	x.w.closed(x, x.name)
	return nil
}

func (x *simLetterWriter) Write(_ context.Context, b *weaver.Batch[weaver.Rejected[simItem]]) error {
	defer x.enter("Write")()
	w := x.w
	w.nap(w.c.slowWrite)
	if w.fails("letters") {
		return w.failure("letters")
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range b.Records {
		r := &b.Records[i].Value
		body := r.Raw
		if r.Value != nil {
			body = r.Value.Body
		}
		split, n, ok := parseBody(body)
		if !ok || r.Value != nil && (r.Seq != int64(n) || string(r.Key) != w.key(split, n)) {
			w.violate("dead letter: body %q, seq %d, key %q", body, r.Seq, r.Key)
			continue
		}
		if f := w.fate[split][n]; !f.dead() {
			w.violate("dead letter: record %d of split %d (fate %d) is no poison: %s: %s", n, split, f, r.Stage, r.Error)
		} else if want := 5; f == fateExhaust && r.Attempts != want || r.Attempts < 1 {
			w.violate("dead letter: record %d of split %d (fate %d) was tried %d times", n, split, f, r.Attempts)
		}
		if r.Error == "" || r.Stage == "" || r.At.IsZero() || r.Pipeline != "sim" {
			w.violate("dead letter: incomplete: %+v", r)
		}
		x.staged = append(x.staged, [2]int{split, n})
	}
	if w.c.letters == sinkPlain {
		x.settle()
	}
	return nil
}

func (x *simLetterWriter) settle() {
	for _, s := range x.staged {
		x.w.dead[s[0]][s[1]]++
	}
	x.staged = x.staged[:0]
}

func (x simLetterFlusher) Due() bool { return x.w.intn(5) == 0 }

func (x simLetterFlusher) Flush(context.Context) error {
	defer x.enter("Flush")()
	w := x.w
	w.nap(w.c.slowWrite)
	if w.fails("letters flush") {
		return w.failure("letters flush")
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	x.settle()
	return nil
}

// simStore is a checkpoint.Store that fails and forgets to answer.
type simStore struct {
	w *simWorld
	checkpoint.Store
}

func (s simStore) Load(ctx context.Context, key string) ([]byte, checkpoint.Version, error) {
	s.w.nap(time.Millisecond)
	if s.w.fails("load") {
		return nil, 0, s.w.failure("load")
	}
	return s.Store.Load(ctx, key)
}

func (s simStore) Save(ctx context.Context, key string, value []byte, v checkpoint.Version) (checkpoint.Version, error) {
	w := s.w
	w.nap(time.Millisecond)
	fail := w.fails("save")
	if fail && w.intn(2) == 0 {
		return 0, w.failure("save")
	}
	w.mu.Lock()
	next, err := s.Store.Save(ctx, key, value, v)
	if err == nil {
		split := 0
		_, _ = fmt.Sscanf(key, "sim/s%d", &split)
		w.checkpointed("Save", split, value)
	}
	w.mu.Unlock()
	if fail {
		return 0, w.failure("save, its reply was lost")
	}
	return next, err
}
