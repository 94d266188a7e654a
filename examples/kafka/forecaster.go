package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/bohica-labs/dataweaver/retry"
)

// Forecaster stands for another service, which is not always well.
type Forecaster struct{ calls atomic.Int64 }

var errBusy = errors.New("the forecaster is busy")

// Assess says whether a day calls for an alert. Each seventh call fails, as calls do, and is tried again; what it will never accept is poison.
func (f *Forecaster) Assess(_ context.Context, d Day) (Alert, error) {
	if f.calls.Add(1)%7 == 0 {
		return Alert{}, errBusy
	}
	if d.Date == "2012-02-29" {
		return Alert{}, retry.Permanent(fmt.Errorf("the forecaster knows no leap day: %s", d.Date))
	}
	switch {
	case d.Wind >= 8:
		return Alert{Date: d.Date, Reason: fmt.Sprintf("storm, %.1f m/s", d.Wind)}, nil
	case d.Rain >= 40:
		return Alert{Date: d.Date, Reason: fmt.Sprintf("flood, %.1f mm", d.Rain)}, nil
	}
	return Alert{}, nil
}
