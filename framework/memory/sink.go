package memory

import (
	"context"
	"errors"
	"fmt"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/retry"
)

// Producer writes to a stream. It is at-least-once.
type Producer struct {
	fw     *Framework
	stream string
}

// Producer returns a sink that writes to a stream.
func (f *Framework) Producer(stream string) *Producer { return &Producer{f, stream} }

// String names the stream.
func (p *Producer) String() string { return fmt.Sprintf("memory.Producer(%s)", p.stream) }

// OpenWriter opens a writer. A stream that isn't there is a fatal error.
func (p *Producer) OpenWriter(context.Context, weaver.Lane) (weaver.Writer[[]byte], error) {
	s, err := p.fw.stream(p.stream)
	if err != nil {
		return nil, err
	}
	return &writer{stream: s}, nil
}

// CheckHealth reports whether the stream is there.
func (p *Producer) CheckHealth(context.Context) error {
	_, err := p.fw.stream(p.stream)
	return err
}

type writer struct {
	stream *stream
	closed bool
}

// Write stores the batch. It waits while the stream is full, and then, if ctx ends, has stored nothing, unless the
// batch is larger than MaxBytes. A record that is larger by itself is poison.
func (w *writer) Write(ctx context.Context, b *weaver.Batch[[]byte]) error {
	if w.closed {
		return errors.New("memory: the writer is closed")
	}
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	var tooLarge []weaver.RecordError
	for from, first := 0, true; from < len(b.Records); {
		to, size := w.fit(b, from)
		if to == from {
			tooLarge = append(tooLarge, weaver.RecordError{Index: from, Err: retry.Permanent(fmt.Errorf(
				"memory: a record of %d bytes is more than stream %q ever holds (MaxBytes %d)", size, w.stream.config.Name, w.stream.maxBytes))})
			from++
			continue
		}
		if err := w.stream.append(ctx, b.Records[from:to], size, first); err != nil {
			return err
		}
		from, first = to, false
	}
	if tooLarge != nil {
		return &weaver.BatchError{Err: tooLarge[0].Err, Records: tooLarge}
	}
	return nil
}

// fit returns the end of the records from one on that fit into the stream together, and their size: all, as a rule. If
// the first doesn't fit by itself, the size is that of the first.
func (w *writer) fit(b *weaver.Batch[[]byte], from int) (to int, size int64) {
	for to = from; to < len(b.Records); to++ {
		n := sizeOf(&b.Records[to])
		if size+n > w.stream.maxBytes {
			if to == from {
				return from, n
			}
			break
		}
		size += n
	}
	return to, size
}

// Close ends the writer.
func (w *writer) Close() error {
	w.closed = true
	return nil
}

var (
	_ weaver.Sink[[]byte]  = (*Producer)(nil)
	_ weaver.HealthChecker = (*Producer)(nil)
)
