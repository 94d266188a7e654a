package weaver

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// ErrFull is returned by Read, with or without records in the batch, when the origin sends nothing more before
// something is acknowledged (a prefetch window, a replication slot). The engine then makes durable and acknowledges
// what it has, and reads again.
var ErrFull = errors.New("weaver: the origin waits for an acknowledgement")

// ErrStopTimeout is returned by Run when what was in flight could not be made durable within StopTimeout. What is not
// saved is read again by the next Run.
var ErrStopTimeout = errors.New("weaver: StopTimeout is over before everything in flight was durable")

// ErrFenced is what a Checkpointer's Commit or Write returns, as it is or wrapped, when a later Restore has taken over its
// split: somebody else owns it now. The lane doesn't take it back. It ends where its Splits session revokes the split
// within StopTimeout; otherwise two pipelines write to one place, and Run fails.
var ErrFenced = errors.New("weaver: another owner has taken over this split")

// BatchError is what Write returns when some records of a batch failed and the Writer is well. It is complete: a
// record it doesn't name was written, or, where RolledBack is set, could be.
type BatchError struct {
	Err        error         // what the records have in common; may be nil where Records say it all
	Records    []RecordError // which failed, each named once
	RolledBack bool          // none was written; Records say why (nil: unknown, poison is bisected)
}

// RecordError is the failure of one record of a batch. The class of Err decides what becomes of the record.
type RecordError struct {
	Index int // in Batch.Records
	Err   error
}

// Error names the number of failed records and the first of them.
func (e *BatchError) Error() string {
	if len(e.Records) == 0 {
		return fmt.Sprintf("batch failed: %v", e.Err)
	}
	first := e.Records[0]
	return fmt.Sprintf("%d records failed, record %d: %v", len(e.Records), first.Index, first.Err)
}

// Unwrap lets errors.Is and errors.As see Err; those of single records are found in Records.
func (e *BatchError) Unwrap() error { return e.Err }

// Stages of a pipeline, as errors, statistics and hooks name them.
const (
	StageSplits     = "splits"     // the source's Splits session
	StageRead       = "read"       // opening and reading a Reader
	StageProcess    = "process"    // the Processor's Stage
	StageWrite      = "write"      // opening and writing a Writer
	StageFlush      = "flush"      // Flusher.Flush
	StageCommit     = "commit"     // Checkpointer.Commit and Restore
	StageCheckpoint = "checkpoint" // the checkpoint.Store
	StageAck        = "ack"        // Acker.Ack
	StageDeadLetter = "deadletter" // the dead-letter sink
)

// Error says where in a pipeline something failed. It is wrapped around a connector's or a user's error once, by the
// pipeline; errors.Is and errors.As see through it.
type Error struct {
	Pipeline  string
	Stage     string   // one of the Stage constants
	Connector string   // the type of the source, processor, sink or store
	Split     string   // empty where the split is not known, or is the only one
	Position  Position // the checkpoint before the failure; nil if there is none
	Index     int      // of the record in its batch; -1 if it concerns no single record
	Seq       int64    // the record's Seq, where Index is not negative
	Err       error
}

// Error is one line: pipeline, stage, connector, split, record, cause.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("weaver: ")
	if e.Pipeline != "" {
		b.WriteString("pipeline " + strconv.Quote(e.Pipeline) + ": ")
	}
	b.WriteString(e.Stage)
	if e.Connector != "" {
		b.WriteString(" (" + e.Connector + ")")
	}
	if e.Split != "" {
		b.WriteString(" split " + strconv.Quote(e.Split))
	}
	if e.Index >= 0 {
		fmt.Fprintf(&b, " record %d of its batch, seq %d", e.Index, e.Seq)
	}
	b.WriteString(": ")
	b.WriteString(e.Err.Error())
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// PanicError is what a panic in a user's function or a connector becomes: poison, with its stack.
type PanicError struct {
	Value any
	Stack []byte
}

// Error names the value, not the stack.
func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// Unwrap returns the value a panic was called with, if it is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}
