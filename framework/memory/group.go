package memory

import (
	"slices"
	"strconv"
	"time"

	weaver "github.com/bohica-labs/dataweaver"
)

// group consumes a stream: every partition is read by one of its members. The stream's lock guards it.
type group struct {
	positions []int64 // by partition, the next to consume
	owners    []ownership
	members   []*member // in the order in which they joined
	changed   signal
}

// ownership is who reads a partition, and who will.
type ownership struct {
	target, owner *member
	generation    int64     // counts owners
	by            time.Time // when an owner that isn't the target loses it; zero where there is none
}

// member is a Splits session of a group.
type member struct {
	holds  []int64 // by partition, the generation it was told to read; 0: none
	giving []int   // partitions of the last Revoke: given up with the next call of Next
	final  bool    // it was told that nothing comes or goes any more
}

// assignment is the Handle of a split: on whose behalf it is read.
type assignment struct {
	group      *group // nil without a group
	partition  int
	generation int64 // 0: opened outside of a session
	start      int64 // without a group: where the session began
}

// ended reports whether the partition has another owner by now. One that has none yet may still acknowledge.
func (a *assignment) ended() bool {
	return a.group != nil && a.generation != 0 && a.group.owners[a.partition].generation != a.generation
}

// group returns a group, made at the given start if there is none.
func (s *stream) group(name string, start Start) *group {
	g := s.groups[name]
	if g != nil {
		return g
	}
	g = &group{owners: make([]ownership, len(s.partitions))}
	for _, p := range s.partitions {
		g.positions = append(g.positions, p.offset(start))
	}
	s.groups[name] = g
	s.settle()
	s.room.wake() // a Write that waits may have to think again
	return g
}

func (g *group) join(now time.Time, timeout time.Duration) *member {
	m := &member{holds: make([]int64, len(g.owners))}
	g.members = append(g.members, m)
	g.assign(now, timeout)
	return m
}

func (g *group) leave(m *member, now time.Time, timeout time.Duration) {
	g.members = slices.DeleteFunc(g.members, func(o *member) bool { return o == m })
	for i := range g.owners {
		if o := &g.owners[i]; o.owner == m {
			o.owner = nil
		}
	}
	g.assign(now, timeout)
}

// assign decides who shall read what: as evenly as can be, moving as little as can be, in an order that is the same
// each time. A member that is final keeps what it has: it won't ask again before it leaves.
func (g *group) assign(now time.Time, timeout time.Duration) {
	count := make(map[*member]int)
	var takers []*member
	for _, m := range g.members {
		if !m.final {
			takers = append(takers, m)
		}
	}
	var open []int // partitions to be shared
	for i := range g.owners {
		if o := &g.owners[i]; o.owner == nil || !o.owner.final {
			open = append(open, i)
		}
	}
	if len(takers) > 0 {
		each, extra := len(open)/len(takers), len(open)%len(takers)
		open = slices.DeleteFunc(open, func(i int) bool {
			t := g.owners[i].target
			switch {
			case !slices.Contains(takers, t) || count[t] > each || count[t] == each && extra == 0:
				return false
			case count[t] == each:
				extra--
			}
			count[t]++
			return true
		})
	}
	for _, i := range open {
		g.owners[i].target = nil
		if len(takers) > 0 {
			least := slices.MinFunc(takers, func(a, b *member) int { return count[a] - count[b] })
			count[least]++
			g.owners[i].target = least
		}
	}
	for i := range g.owners {
		o := &g.owners[i]
		switch {
		case o.owner == nil || o.owner == o.target:
			o.by = time.Time{}
		case o.by.IsZero():
			o.by = now.Add(timeout)
		}
	}
	g.changed.wake()
}

// giveUp lets go of what the last change revoked: it has been carried out.
func (g *group) giveUp(m *member) {
	for _, i := range m.giving {
		if o := &g.owners[i]; o.owner == m {
			o.owner, o.by = nil, time.Time{}
		}
	}
	if len(m.giving) > 0 {
		m.giving = nil
		g.changed.wake()
	}
}

// change returns what m is to be told now, whether more is to come, and when at the latest; zero: when something
// changes.
func (g *group) change(m *member, now time.Time) (c weaver.Change, more bool, next time.Time) {
	for i := range g.owners {
		o := &g.owners[i]
		mine := o.owner == m && o.generation == m.holds[i]
		if m.holds[i] == 0 || mine && o.target == m {
			continue
		}
		by := now // somebody else has it already
		if mine {
			by = o.by
		}
		if c.By.IsZero() || by.Before(c.By) {
			c.By = by
		}
		c.Revoke = append(c.Revoke, strconv.Itoa(i))
		m.giving = append(m.giving, i)
		m.holds[i] = 0
	}
	for i := range g.owners {
		o := &g.owners[i]
		switch {
		case o.target != m || m.holds[i] != 0:
		case o.owner == nil, o.owner != m && !now.Before(o.by):
			o.owner, o.by = m, time.Time{}
			o.generation++
			m.holds[i] = o.generation
			c.Add = append(c.Add, weaver.Split{ID: strconv.Itoa(i), Handle: &assignment{group: g, partition: i, generation: o.generation}})
		default:
			more = true
			if o.owner != m && (next.IsZero() || o.by.Before(next)) {
				next = o.by
			}
		}
	}
	return c, more, next
}
