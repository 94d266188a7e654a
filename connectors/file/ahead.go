package file

import (
	"fmt"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/serde"
)

// ahead encodes a batch before any of it is written, for a codec that may have to ask a server: while that is out, none of the batch is written, and the writer stays well.
// A nil ahead is of any other codec, and does nothing.
type ahead[T any] struct {
	codec   serde.Codec[T]
	encoder encoder[T]
	text    []byte // of all records of the batch
	made    []madeAhead[T]
	next    int // of made
}

// madeAhead is what a value became.
type madeAhead[T any] struct {
	of       *T
	from, to int // in text
	err      error
}

// aheadOf returns nil for a codec that isn't serde.Remote.
func aheadOf[T any](made format[T]) *ahead[T] {
	if r, ok := weaver.As[serde.Remote](made.codec); !ok || !r.Remote() {
		return nil
	}
	return &ahead[T]{codec: made.codec, encoder: made.encoder}
}

// maxAhead is what is kept for later of the memory that a huge batch asked for.
const maxAhead = 4 << 20

// encode encodes records, which must stay where they are until all of them were appended. It returns an error if one can't be encoded now.
func (a *ahead[T]) encode(records []weaver.Record[T]) error {
	if a == nil {
		return nil
	}
	if cap(a.text) > maxAhead {
		a.text = nil
	}
	clear(a.made)
	a.text, a.made, a.next = a.text[:0], a.made[:0], 0
	for i := range records {
		r := &records[i]
		if r.Op == weaver.Delete { // is never appended
			continue
		}
		from := len(a.text)
		out, err := a.encoder.append(a.text, &r.Value)
		if serde.Outage(a.codec, err) {
			return &serde.Error{Op: "encode", Seq: r.Seq, Err: err}
		}
		if err == nil {
			a.text = out
		}
		a.made = append(a.made, madeAhead[T]{&r.Value, from, len(a.text), err})
	}
	return nil
}

// append is e's. The values are those of the records that were encoded, in their order, but some of them may be left out.
func (a *ahead[T]) append(e encoder[T], dst []byte, v *T) ([]byte, error) {
	if a == nil {
		return e.append(dst, v)
	}
	for a.made[a.next].of != v {
		a.next++
	}
	m := &a.made[a.next]
	return append(dst, a.text[m.from:m.to]...), m.err
}

// notNow is what Write returns while a batch can't be encoded: none of it was written.
func notNow(sink fmt.Stringer, err error) error {
	return &weaver.BatchError{Err: fmt.Errorf("%s: %w", sink, err), RolledBack: true}
}
