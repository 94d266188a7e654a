package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/serde"
)

// payloads is how many different ones a scenario of a codec has. They are dealt out in turn, so it is a power of two.
const payloads = 1024

// bare is a codec's work without a pipeline: it appends to dst the encoding of what it has decoded from data.
type bare func(dst, data []byte) ([]byte, error)

// throughCodec compares records that are decoded and encoded again by two steps of a pipeline with a loop that does the same to the same bytes. Value makes
// the i-th value, whose encoding is one and the same each time.
func throughCodec[T any](s scenario, codec serde.Codec[T], value func(i int) T, loop bare) scenario {
	all := make([][]byte, payloads)
	prepare := func() (err error) {
		for i := range all {
			if all[i], err = codec.Append(nil, value(i)); err != nil {
				return err
			}
		}
		return nil
	}
	s.ours = func(n int) (outcome, error) {
		if err := prepare(); err != nil {
			return outcome{}, err
		}
		source, sink := &memoryBytes{n: n, all: all}, &sameBytes{all: all}
		p := weaver.NewPipeline[[]byte, []byte](source, weaver.Then(serde.Decode(codec), serde.Encode(codec)), sink)
		err := p.Run(context.Background())
		return outcome{verify: func() error { return checkRun("weaver", n, sink.count, source.acked) }}, err
	}
	s.baseline = func(n int) (outcome, error) {
		if err := prepare(); err != nil {
			return outcome{}, err
		}
		var dst []byte
		var err error
		sink := &sameBytes{all: all}
		for i := range n {
			if dst, err = loop(dst[:0], all[i%payloads]); err != nil {
				return outcome{}, err
			}
			if err := sink.take(dst); err != nil {
				return outcome{}, err
			}
		}
		return outcome{verify: func() error { return checkRun("the loop", n, sink.count, uint64(n)) }}, nil
	}
	return s
}

// memoryBytes is a source of n records in one split, and its only Reader.
type memoryBytes struct {
	n, next  int
	all      [][]byte
	position [8]byte
	acked    uint64 // the last position
}

func (m *memoryBytes) OpenReader(_ context.Context, at weaver.Lane) (weaver.Reader[[]byte], error) {
	if at.Position != nil {
		return nil, fmt.Errorf("opened again at %x: a benchmark must not recover", at.Position)
	}
	return m, nil
}

func (m *memoryBytes) Read(_ context.Context, b *weaver.Batch[[]byte]) (weaver.Position, error) {
	for !b.Full() && m.next < m.n {
		r := b.Add()
		r.Value = m.all[m.next%payloads]
		r.Seq = int64(m.next)
		m.next++
	}
	binary.BigEndian.PutUint64(m.position[:], uint64(m.next))
	if m.next == m.n {
		return m.position[:], io.EOF
	}
	return m.position[:], nil
}

// Ack may run beside Read; acked is looked at after the pipeline has ended.
func (m *memoryBytes) Ack(_ context.Context, p weaver.Position) error {
	m.acked = binary.BigEndian.Uint64(p)
	return nil
}

func (m *memoryBytes) Close() error { return nil }

// sameBytes is a sink that counts, and insists on what it is given and in which order. It is its own, only Writer.
type sameBytes struct {
	count int
	all   [][]byte
}

func (s *sameBytes) OpenWriter(context.Context, weaver.Lane) (weaver.Writer[[]byte], error) {
	return s, nil
}

func (s *sameBytes) Write(_ context.Context, b *weaver.Batch[[]byte]) error {
	for i := range b.Records {
		if err := s.take(b.Records[i].Value); err != nil {
			return err
		}
	}
	return nil
}

func (s *sameBytes) take(data []byte) error {
	if want := s.all[s.count%payloads]; !bytes.Equal(data, want) {
		return fmt.Errorf("record %d is %q, want %q", s.count, data, want)
	}
	s.count++
	return nil
}

func (s *sameBytes) Close() error { return nil }
