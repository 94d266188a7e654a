package weaver

import (
	"context"
	"io"
	"log/slog"
	"time"
)

// Lane is what a Reader, a Stage or a Writer is opened for: one split of one pipeline, and where to go on.
type Lane struct {
	Pipeline string
	Split    Split        // of a Writer that is shared by lanes: the first it was opened for, not to be relied on
	Position Position     // Reader: resume after it; nil: from where the source's options say
	State    []byte       // Stage: its last snapshot; nil: empty
	Resume   bool         // Writer: continues an earlier one (reopened, or a store had a position): never truncate; a Checkpointer learns from Restore
	Log      *slog.Logger // never nil in a Pipeline
}

// Split is one part of a source that is read in order: a file, a partition, a shard.
type Split struct {
	ID      string // stable across restarts and releases; "" is the only split
	Bounded bool   // it ends by itself (MaxLanes applies to these alone)
	Handle  any    // travels back to the connector (a group generation); never stored
}

// Source is where records come from. It is immutable configuration, safe for concurrent use, and can be opened again
// and again: start, resume, reconnect, rebalance and recovery are all OpenReader at a position.
//
// A Source without a [Splitter] has one split with the ID "".
type Source[T any] interface {
	// OpenReader opens the split at.Split to be read after at.Position. An error marked poison or fatal stops the
	// pipeline (a missing file); any other is an outage: the engine waits and opens again.
	OpenReader(ctx context.Context, at Lane) (Reader[T], error)
}

// Reader reads one split. It has one owner and is called one call at a time, except for Acker, Finisher and
// LagReporter and ProgressReporter, which may run beside Read.
type Reader[T any] interface {
	// Read adds records until b is full or nothing more is ready, blocking for the first record or the first new
	// position. It returns the position after them; nil where no checkpoint may fall (mid-transaction, mid-snapshot).
	// The engine copies the position before the next Read.
	//
	// io.EOF, with or without records, ends the split. ErrFull asks for an acknowledgement. After any other error b is
	// dropped and the lane recovers: everything is closed and opened again at the last durable checkpoint.
	//
	// Read returns soon after ctx ends; what it had added by then may be returned with a nil error or dropped with
	// ctx's. Read may not be called for as long as an outage lasts: keep-alives are the Reader's own goroutine, which
	// Close waits for.
	Read(ctx context.Context, b *Batch[T]) (Position, error)
	io.Closer
}

// Sink is where records go. It is immutable configuration and safe for concurrent use.
type Sink[T any] interface {
	// OpenWriter opens a Writer. A Writer that is a Checkpointer serves the one split at.Split; any other is shared
	// by lanes. Errors are classed as in Source.OpenReader.
	OpenWriter(ctx context.Context, at Lane) (Writer[T], error)
}

// Writer makes records durable. It has one owner and is called one call at a time.
type Writer[T any] interface {
	// Write returns nil once all of b is durable (Flusher, Checkpointer: accepted) and keeps nothing of it. A
	// *BatchError names what failed and leaves the Writer well. After any other error the Writer is closed and opened
	// again. Close never makes anything durable.
	Write(ctx context.Context, b *Batch[T]) error
	io.Closer
}

// Splitter is implemented by a Source of several splits, or of splits that come and go.
type Splitter interface {
	// Splits opens the session that tells which splits there are, one a Run.
	Splits(ctx context.Context) (Splits, error)
}

// Splits tells a Run which splits are its own.
type Splits interface {
	// Next blocks for the next change. io.EOF: the set is final. It is called also during an outage, and again only
	// when the last change is carried out: a revoked split is then drained, saved, acknowledged and closed; past
	// Change.By it is abandoned: neither saved nor acknowledged any more. After an error that is neither poison nor
	// fatal, Next is called again on the same session, after a wait.
	Next(ctx context.Context) (Change, error)
	io.Closer
}

// Change is what became different about the set of splits. Revoke is carried out before Add, so that one change may
// hand a split back with another Handle.
type Change struct {
	Add    []Split
	Revoke []string  // IDs; unknown ones are ignored
	By     time.Time // when a revoked split must be given up at the latest; zero: no bound but StopTimeout
}

// Acker is implemented by a Reader whose origin keeps what is not acknowledged.
type Acker interface {
	// Ack says that everything up to p is durable. Calls come in order, coalesced, with positions this Reader returned or
	// was opened at, never after Close; one may run beside Read. An error recovers the lane.
	Ack(ctx context.Context, p Position) error
}

// Queue is implemented by a Source whose positions are marks for its Acker and mean nothing to a later Reader (AMQP,
// SQS, MQTT): they are never stored, and exactly-once is refused.
type Queue interface {
	Queue() bool // whether it is one; a wrapper asks what it wraps
}

// Finisher is implemented by a Reader or a Splits that can end on request.
type Finisher interface {
	// Finish makes Read (Next) end with io.EOF after what is there now. It may run beside Read (Next), and twice.
	Finish(ctx context.Context) error
}

// Flusher is implemented by a Writer that buffers: what Write accepted is durable only after Flush.
type Flusher interface {
	// Due reports whether it wants to be flushed now. It is asked after every Write and every BatchDelay.
	Due() bool
	// Flush makes durable all that was accepted. The engine also flushes before each checkpoint, at the end, on stop,
	// on revoke and on ErrFull. After an error what was accepted since the last Flush counts as lost: the Writer is
	// closed and the lanes recover. An error marked poison makes the engine find the record by replaying in halves.
	Flush(ctx context.Context) error
}

// Checkpointer is implemented by a Writer that keeps the checkpoint itself, together with the records, which makes
// the pipeline exactly-once. Such a Writer serves one split. It is a Flusher as well where it has no envelope to keep
// (dead letters, inside Tee or Route): there it is flushed and is at-least-once.
type Checkpointer interface {
	// Due reports whether it wants to commit now. It is asked after every Write.
	Due() bool
	// Restore fences any earlier owner of the split, then returns the envelope of the last commit; nil: there is none.
	// It is called once, before the first Write.
	Restore(ctx context.Context) ([]byte, error)
	// Commit makes the records staged by Write (perhaps none) and the envelope durable in one transaction. It doesn't
	// keep envelope. What a Write has staged can't be staged again, so a BatchError with records that may be tried again
	// should be RolledBack: without it the lane recovers. After an error the Writer is closed, and Restore on the next one tells whether it came through; an
	// earlier owner that was fenced returns ErrFenced.
	Commit(ctx context.Context, envelope []byte) error
}

// Snapshotter is implemented by a Stage that keeps state from one batch to the next. It is never run in parallel
// within a lane, and sees empty batches as ticks and at the End.
type Snapshotter interface {
	// Snapshot returns the state after the last Process, to be given back as Lane.State. The engine copies it. It is asked
	// once a CheckpointInterval, or as seldom as keeps snapshots below a tenth of the lane's time: the checkpoints of a
	// huge state are further apart.
	Snapshot() ([]byte, error)
}

// HealthChecker is implemented by a Source or a Sink that can tell whether it is reachable with these credentials,
// moving nothing. Pipeline.Check asks.
type HealthChecker interface {
	CheckHealth(ctx context.Context) error
}

// LagReporter is implemented by a Reader that knows how far behind the origin it is. It may be called beside Read and
// must not block.
type LagReporter interface {
	Lag() Lag
}

// Lag is how far a reader is behind. Unknown is negative, never 0.
type Lag struct {
	Records int64
	Bytes   int64
	Time    time.Duration
}

// UnknownLag is the Lag of which nothing is known.
var UnknownLag = Lag{Records: -1, Bytes: -1, Time: -1}

// ProgressReporter is implemented by a Reader that knows how much of its split it has read. It may be called beside Read
// and must not block.
type ProgressReporter interface {
	Progress() Progress
}

// Progress is how much of a split has been read, of how much there was when it was looked at last. Unknown is negative,
// never 0.
type Progress struct {
	Records, TotalRecords int64
	Bytes, TotalBytes     int64 // as the origin stores them
}

// UnknownProgress is the Progress of which nothing is known.
var UnknownProgress = Progress{Records: -1, TotalRecords: -1, Bytes: -1, TotalBytes: -1}

// As finds the capability C in v or in what v wraps: v itself, then what its Unwrap() any returns, and so on. A wrapper
// may have such an Unwrap only if it passes every call straight on: one that buffers, splits or drops may not.
func As[C any](v any) (C, bool) {
	for v != nil {
		if c, ok := v.(C); ok {
			return c, true
		}
		w, ok := v.(interface{ Unwrap() any })
		if !ok {
			break
		}
		v = w.Unwrap()
	}
	var none C
	return none, false
}
