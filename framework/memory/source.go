package memory

import (
	"context"
	"fmt"
	"strconv"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/retry"
)

// Start is where reading begins that has no position.
type Start uint8

// The places to begin.
const (
	Earliest Start = iota // at the oldest record that is kept
	Latest                // behind the newest
)

// OutOfRange says what becomes of a position that the stream has no record for: those it had are dropped, or it is a
// position in another stream, such as the one of this name before the process was restarted.
type OutOfRange uint8

// What becomes of a position out of range.
const (
	Fail       OutOfRange = iota // a fatal error
	ToEarliest                   // go on at the oldest record that is kept: what was dropped in between is lost to this consumer
	ToLatest                     // go on behind the newest
)

// Consumer reads a stream as a member of a group. Its partitions are the splits; "0" is the first. It is at-least-once,
// or exactly-once with a sink that is a weaver.Checkpointer. Set its fields before it is used.
//
// A reader without a position starts where the group has acknowledged, and never at less because of an Ack of somebody
// who reads again from an earlier position. Without a group it starts where Start says, as of the Splits session.
type Consumer struct {
	Start      Start      // of a new group, and of a reader without group; default Earliest
	OutOfRange OutOfRange // default Fail

	fw            *Framework
	stream, group string
}

// Consumer returns a source that reads a stream as a member of a group. An empty group reads all partitions and
// remembers nothing: it doesn't keep records from being dropped, and can't make room for a Write that waits.
func (f *Framework) Consumer(stream, group string) *Consumer {
	return &Consumer{fw: f, stream: stream, group: group}
}

// String names stream and group.
func (c *Consumer) String() string { return fmt.Sprintf("memory.Consumer(%s, %s)", c.stream, c.group) }

// CheckHealth reports whether the stream is there.
func (c *Consumer) CheckHealth(context.Context) error {
	_, err := c.open()
	return err
}

func (c *Consumer) open() (*stream, error) {
	if c.Start > Latest {
		return nil, retry.Fatal(fmt.Errorf("memory: Consumer.Start is %d: want Earliest or Latest", c.Start))
	}
	if c.OutOfRange > ToLatest {
		return nil, retry.Fatal(fmt.Errorf("memory: Consumer.OutOfRange is %d: want Fail, ToEarliest or ToLatest", c.OutOfRange))
	}
	return c.fw.stream(c.stream)
}

// OpenReader opens a partition.
func (c *Consumer) OpenReader(_ context.Context, at weaver.Lane) (weaver.Reader[[]byte], error) {
	s, err := c.open()
	if err != nil {
		return nil, err
	}
	i, err := strconv.Atoi(at.Split.ID)
	if err != nil || i < 0 || i >= len(s.partitions) || strconv.Itoa(i) != at.Split.ID {
		return nil, retry.Fatal(fmt.Errorf("memory: stream %q has %d partitions and no split %q", c.stream, len(s.partitions), at.Split.ID))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.partitions[i]
	r := &reader{stream: s, partition: p, index: i, outOfRange: c.OutOfRange, fullAt: -1}
	r.finishAt.Store(-1)
	mine, _ := at.Split.Handle.(*assignment)
	switch {
	case mine == nil && c.group == "":
		mine = &assignment{partition: i, start: p.offset(c.Start)}
	case mine == nil: // opened outside of a session, by a test or by hand
		mine = &assignment{group: s.group(c.group, c.Start), partition: i}
	case mine.ended():
		return nil, errMoved(c.stream, i)
	}
	r.assignment = mine
	offset := mine.start
	if mine.group != nil {
		offset = mine.group.positions[i]
	}
	if at.Position != nil {
		life, o, err := decodePosition(at.Position)
		if err != nil {
			return nil, retry.Fatal(err)
		}
		if life != s.life {
			o = -1
		}
		offset = o
	}
	if offset, err = r.inRange(offset); err != nil {
		return nil, err
	}
	r.next.Store(offset)
	r.acked.Store(offset)
	if mine.group == nil {
		return r, nil
	}
	return groupReader{r}, nil
}

func errMoved(stream string, partition int) error {
	return fmt.Errorf("memory: partition %d of stream %q belongs to another member of the group by now", partition, stream)
}

func (p *partition) offset(s Start) int64 {
	if s == Latest {
		return p.end
	}
	return p.start
}

var (
	_ weaver.Source[[]byte] = (*Consumer)(nil)
	_ weaver.Splitter       = (*Consumer)(nil)
	_ weaver.HealthChecker  = (*Consumer)(nil)
)
