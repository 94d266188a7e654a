package avro

import (
	"errors"

	"github.com/twmb/avro"
)

// resolve returns a schema that reads the writer's data as the reader's, and which integers become floats on the way.
func resolve(writer, reader *schema) (*avro.Schema, map[*node]int, error) {
	c := comparison{seen: map[nodes]bool{}, lossy: map[*node]int{}}
	c.compare(writer.root, reader.root, "")
	var breaking []Change
	for _, change := range c.changes {
		if change.Breaks {
			breaking = append(breaking, change)
		}
	}
	if len(breaking) > 0 {
		return nil, nil, &IncompatibleError{breaking}
	}
	wire, err := avro.Resolve(writer.compiled, reader.compiled)
	if err != nil {
		var e *avro.CompatibilityError
		if !errors.As(err, &e) {
			return nil, nil, err
		}
		return nil, nil, &IncompatibleError{[]Change{{IncompatibleType, e.Path, true, e.Detail}}}
	}
	return wire, c.lossy, nil
}
