package weaver

import "time"

// Rejected is what a dead-letter sink gets: a value, so any sink that writes values can write it, and any source can
// read it back. Dead letters are at-least-once. Like all of a batch, Value and the slices are good until Write returns.
//
// A letter that its sink can't take for good is written once more with the value as text in Raw (fmt's %+v), since what
// a Writer can't encode, as JSON can't NaN, may be the very reason why it is here.
type Rejected[T any] struct {
	Value    *T        `json:"value,omitempty"` // what was read; nil if it never became a T
	Raw      []byte    `json:"raw,omitempty"`   // what was read, where it never became a T
	Key      []byte    `json:"key,omitempty"`
	Op       Op        `json:"op,omitempty"`
	Headers  Headers   `json:"headers,omitempty"`
	Time     time.Time `json:"time,omitzero"` // the record's event time
	Seq      int64     `json:"seq,omitempty"` // where in the split, as the origin counts
	Pipeline string    `json:"pipeline,omitempty"`
	Split    string    `json:"split,omitempty"`
	Position []byte    `json:"position,omitempty"` // a resume point before the record; nil: none was known
	Stage    string    `json:"stage"`              // where it failed, one of the Stage constants
	Error    string    `json:"error"`
	Stack    string    `json:"stack,omitempty"` // of a panic
	Attempts int       `json:"attempts"`        // how often it was tried
	At       time.Time `json:"at"`              // when it was given up

	err   error // what Error says
	index int   // in its batch
}
