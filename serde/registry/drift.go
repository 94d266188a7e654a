package registry

import (
	"fmt"

	"github.com/bohica-labs/dataweaver/retry"
)

// Drift says what happens to data whose schema isn't the one that the reader has.
type Drift uint8

// The policies. Whatever the policy, data whose schema can't be read as the reader's is never read: with the first one it is poison.
const (
	Accept     Drift = iota // a schema that differs and is compatible is read; the default
	Stop                    // a schema that differs ends the pipeline
	DeadLetter              // what was written with a schema that differs is poison, compatible or not
)

// String returns the name of the constant.
func (d Drift) String() string {
	switch d {
	case Accept:
		return "Accept"
	case Stop:
		return "Stop"
	case DeadLetter:
		return "DeadLetter"
	}
	return fmt.Sprintf("Drift(%d)", uint8(d))
}

// DriftError is the error of data whose schema the policy doesn't let pass. It is marked fatal where the policy is Stop, and poison otherwise.
type DriftError struct {
	ID           int    // of the schema that the data was written with
	Record       string // the full name of what the reader has
	Incompatible bool   // it could not be read as the reader's; otherwise it merely differs
	Detail       string // what differs, as far as that is known
	Policy       Drift
}

// Error is one line.
func (e *DriftError) Error() string {
	s := fmt.Sprintf("schema %d differs from the one of %s", e.ID, e.Record)
	if e.Incompatible {
		s = fmt.Sprintf("schema %d is not compatible with the one of %s", e.ID, e.Record)
	}
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	if !e.Incompatible || e.Policy == Stop {
		s += fmt.Sprintf(" (the policy is registry.%s)", e.Policy)
	}
	return s
}

// RetryClass tells package retry what to do about it.
func (e *DriftError) RetryClass() retry.Class {
	if e.Policy == Stop {
		return retry.ClassFatal
	}
	return retry.ClassPoison
}

// judge applies a policy to a schema that differs (detail says how) or, where incompatible isn't nil, can't be read. It returns nil for what may be read.
func (d Drift) judge(id int, record string, differs bool, detail string, incompatible error) error {
	switch {
	case incompatible != nil:
		return &DriftError{ID: id, Record: record, Incompatible: true, Detail: incompatible.Error(), Policy: d}
	case differs && d != Accept:
		return &DriftError{ID: id, Record: record, Detail: detail, Policy: d}
	}
	return nil
}
