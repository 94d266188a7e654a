package main

import (
	"context"
	"fmt"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/retry"
)

// Alerts is a sink that posts many alerts at once to a service that answers for each of them.
//
// It doesn't try again either. It says which records failed and how: a refused one is poison and goes to the dead
// letters, one that the service has no time for is written again, after a while, and the others are done.
type Alerts struct{ Service Service }

// OpenWriter returns a writer, which needs nothing to be opened here.
func (a Alerts) OpenWriter(context.Context, weaver.Lane) (weaver.Writer[Alert], error) {
	return bulk{a.Service}, nil
}

type bulk struct{ service Service }

func (w bulk) Write(ctx context.Context, b *weaver.Batch[Alert]) error {
	alerts := make([]Alert, len(b.Records))
	for i := range b.Records {
		alerts[i] = b.Records[i].Value
	}
	var answers []Answer
	if err := w.service.Call(ctx, "POST", "/alerts", alerts, &answers); err != nil {
		return err // all of the batch: an outage
	}
	if len(answers) != len(alerts) {
		return retry.Fatal(fmt.Errorf("%d answers to %d alerts", len(answers), len(alerts)))
	}
	var failed []weaver.RecordError
	for i, a := range answers {
		if err := classify(a.Status, a.Reason); err != nil {
			failed = append(failed, weaver.RecordError{Index: i, Err: err})
		}
	}
	if failed != nil {
		return &weaver.BatchError{Records: failed}
	}
	return nil
}

func (w bulk) Close() error { return nil }
