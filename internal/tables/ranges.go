package tables

import (
	"context"
	"errors"
	"fmt"

	"github.com/bohica-labs/dataweaver/checkpoint"
	"github.com/bohica-labs/dataweaver/retry"
	"github.com/bohica-labs/dataweaver/row"
)

// Ranges returns the ranges between boundaries, which ascend: one more than there are boundaries. The first has no beginning
// and the last no end.
func Ranges(boundaries [][]row.Value) []Range {
	ranges := make([]Range, len(boundaries)+1)
	for i, b := range boundaries {
		ranges[i].Last = b
		ranges[i+1].After = b
	}
	return ranges
}

// Plan returns the boundaries that are stored under a key. Where there are none, they are computed and stored: of several
// that do so at once, one wins, and all return what is stored. Without a store they are computed, each time anew.
func Plan(ctx context.Context, store checkpoint.Store, key string, compute func(context.Context) ([][]row.Value, error)) ([][]row.Value, error) {
	if store == nil {
		return compute(ctx)
	}
	for {
		value, version, err := store.Load(ctx, key)
		if err != nil {
			return nil, fmt.Errorf("loading the plan of ranges: %w", err)
		}
		if version > 0 {
			return parsePlan(key, value)
		}
		boundaries, err := compute(ctx)
		if err != nil {
			return nil, err
		}
		if value, err = appendPlan(nil, boundaries); err != nil {
			return nil, retry.Fatal(err)
		}
		_, err = store.Save(ctx, key, value, 0)
		switch {
		case err == nil:
			return boundaries, nil
		case !errors.Is(err, checkpoint.ErrConflict):
			return nil, fmt.Errorf("saving the plan of ranges: %w", err)
		}
	}
}

const planVersion = 1

func appendPlan(dst []byte, boundaries [][]row.Value) ([]byte, error) {
	dst = append(dst, planVersion)
	for _, b := range boundaries {
		var err error
		if dst, err = AppendValues(dst, b); err != nil {
			return nil, err
		}
	}
	return dst, nil
}

func parsePlan(key string, value []byte) ([][]row.Value, error) {
	if len(value) == 0 || value[0] != planVersion {
		return nil, retry.Fatal(fmt.Errorf("what is stored under %q is no plan of ranges that this release knows", key))
	}
	var boundaries [][]row.Value
	for rest := value[1:]; len(rest) > 0; {
		b, behind, err := ParseValues(rest)
		if err != nil {
			return nil, retry.Fatal(fmt.Errorf("the plan of ranges stored under %q: %w", key, err))
		}
		boundaries, rest = append(boundaries, b), behind
	}
	return boundaries, nil
}
