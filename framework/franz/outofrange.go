package franz

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/bohica-labs/dataweaver/retry"
)

// outOfRange is the reason why a partition can't be read on where it should be.
type outOfRange struct {
	partition
	at  int64
	why string // more than that the log doesn't have it; empty: nothing more is known
}

// Error says where and why.
func (e *outOfRange) Error() string {
	why := e.why
	if why == "" {
		why = "the log doesn't reach it"
	}
	return fmt.Sprintf("franz: offset %d of %s is out of range: %s", e.at, e.partition, why)
}

// truncated is what a log that lost records tells.
func truncated(p partition, at place, end int64) *outOfRange {
	return &outOfRange{p, at.offset, fmt.Sprintf(
		"records from %d on, of leader epoch %d, are gone from the log (an unclean leader election?)", end, at.epoch)}
}

// resolve says where to go on in place of an offset that is out of range, as the policy wants it, and tells how much that
// skips or repeats.
func (e *outOfRange) resolve(ctx context.Context, cl *kgo.Client, policy OutOfRange, isolation int8, log *slog.Logger) (place, error) {
	start, err := listOffset(ctx, cl, isolation, e.partition, listStart)
	if err != nil {
		return place{}, err
	}
	end, err := listOffset(ctx, cl, isolation, e.partition, listEnd)
	if err != nil {
		return place{}, err
	}
	to := start
	switch policy {
	case Fail:
		return place{}, retry.Fatal(fmt.Errorf("%w; it is kept from %d to %d: remove the checkpoint or set Consumer.OutOfRange", e, start, end))
	case ToEarliest:
	case ToLatest:
		to = end
	}
	if log != nil {
		log.Warn("the position is out of range, as Consumer.OutOfRange says it goes on elsewhere",
			"topic", e.topic, "partition", e.index, "position", e.at, "to", to, "skipped", max(to-e.at, 0), "repeated", max(e.at-to, 0), "why", e.Error())
	}
	return place{to, -1}, nil
}
