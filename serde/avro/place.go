package avro

import (
	"errors"
	"strings"
)

// placed is an error with the path to where it is.
type placed struct {
	path string
	err  error
}

func (e *placed) Error() string {
	return "avro: " + e.path + ": " + strings.TrimPrefix(e.err.Error(), "avro: ")
}

func (e *placed) Unwrap() error { return e.err }

// within puts a step in front of the path of an error: a field, or an element as [3].
func within(step string, err error) error {
	var p *placed
	if errors.As(err, &p) {
		return &placed{join(step, p.path), p.err}
	}
	return &placed{step, err}
}

func join(path, step string) string {
	if path == "" || strings.HasPrefix(step, "[") {
		return path + step
	}
	return path + "." + step
}

// placedAt makes an error that has no path yet one of this package.
func placedAt(err error) error {
	var p *placed
	if errors.As(err, &p) {
		return p
	}
	return &placed{"datum", err}
}
