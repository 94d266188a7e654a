package weaver

import (
	"time"

	"github.com/bohica-labs/dataweaver/retry"
)

// Observer is a set of hooks into a pipeline; nil ones cost nothing. They are called from the engine's goroutines,
// several at once, must not block, and must not keep what they are given: positions point into the engine's memory.
// Each is called once a batch or less, never once a record.
type Observer struct {
	Batch      func(BatchInfo)      // a connector's or a stage's call has returned
	Retry      func(RetryInfo)      // something failed and will be tried again
	Checkpoint func(CheckpointInfo) // a position has become durable, or acknowledged
	Lane       func(LaneInfo)       // a lane was opened, closed or recovered
	Progress   func(ProgressInfo)   // every CheckpointInterval for each open lane, and when it closes
}

// BatchInfo is one call: of Read, Process, Write, Flush, Commit or a dead-letter sink.
type BatchInfo struct {
	Pipeline string
	Split    string // empty for a call on behalf of several lanes
	Stage    string // one of the Stage constants
	Records  int    // read, processed, written
	Bytes    int    // that the batch holds beside the records themselves
	Duration time.Duration
	Timed    bool  // Duration is known: of tiny batches that are quick only a sample is timed
	Err      error // what the call returned
	Class    retry.Class
}

// RetryInfo is a failure that will be tried again.
type RetryInfo struct {
	Pipeline string
	Split    string
	Stage    string
	Records  int           // how many records are tried again; 0: what failed was no record
	Failures int           // in a row
	Wait     time.Duration // before the next attempt
	Err      error
	Class    retry.Class
}

// CheckpointInfo is a position that has become durable in the sink or the store, or acknowledged, or all of it.
type CheckpointInfo struct {
	Pipeline string
	Split    string
	Position Position
	Records  int64 // settled in this lane since it was first opened in this Run
	Saved    bool  // by a Checkpointer or a checkpoint.Store
	Acked    bool  // by the Reader
}

// LaneInfo is what happened to a lane.
type LaneInfo struct {
	Pipeline string
	Split    string
	Event    LaneEvent
	Err      error // Recovered, Abandoned
}

// LaneEvent names what happened to a lane.
type LaneEvent string

// The events of a lane's life.
const (
	LaneOpened    LaneEvent = "opened"
	LaneRecovered LaneEvent = "recovered" // closed, to be opened again at its last durable checkpoint
	LaneClosed    LaneEvent = "closed"    // ended, stopped or revoked in good order
	LaneAbandoned LaneEvent = "abandoned" // revoked and not drained in time: its new owner reads again what wasn't saved
)

// ProgressInfo is how far a lane is.
type ProgressInfo struct {
	Pipeline        string
	Split           string
	Lag             Lag
	Progress        Progress
	Settled         int64 // records settled since the lane was first opened in this Run
	InFlightBatches int
}
