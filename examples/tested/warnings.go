// Package tested is a pipeline and its tests: the tests are the example (warnings_test.go).
//
// The pipeline is made by a function that is given its source and its sink, so that a test can put others in their
// place. Nothing else is needed.
package tested

import (
	"fmt"

	weaver "github.com/bohica-labs/dataweaver"
)

// Day is what is read.
type Day struct {
	Date string  `csv:"date" json:"date"`
	Rain float64 `csv:"precipitation" json:"rain"` // mm
}

// Warning is what is written.
type Warning struct {
	Date string  `json:"date"`
	Rain float64 `json:"rain"`
}

// Warnings returns a pipeline that warns of days with much rain.
func Warnings(days weaver.Source[Day], warnings weaver.Sink[Warning], deadLetters weaver.Sink[weaver.Rejected[Day]]) *weaver.Pipeline[Day, Warning] {
	p := weaver.NewPipeline(days, weaver.Map(warn), warnings)
	p.Name = "warnings"
	p.DeadLetter = deadLetters
	return p
}

func warn(d Day) (Warning, error) {
	switch {
	case d.Rain < 0:
		return Warning{}, fmt.Errorf("it rained %v mm", d.Rain)
	case d.Rain < 30:
		return Warning{}, weaver.ErrSkip
	}
	return Warning(d), nil
}
