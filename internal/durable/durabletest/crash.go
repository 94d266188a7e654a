package durabletest

import (
	"bytes"
	"maps"
	"math/rand/v2"
	"slices"
)

// sector is what a disk writes as a whole or not at all.
const sector = 512

// Crash ends the Disk, and returns what a machine finds that starts again: everything that was durable, and of the rest what seed says. From now on
// all operations on this Disk and on its open files return [ErrPowerLoss]. It can be called again for what another seed leaves.
//
// One seed in four loses all that was not durable, one keeps all of it, and the others choose for each file and folder: nothing, everything, the first so many
// changes, or any of them, in which case a file may also keep single sectors of what was written, and have the new length but zeros in
// place of what was to be there. A name may come to be for which nothing of the file is there.
func (d *Disk) Crash(seed uint64) *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dead = true
	c := crash{rng: rand.New(rand.NewPCG(seed, 0x6c62272e07bb0142)), done: map[*node]*node{}}
	switch seed % 4 {
	case 0:
		c.always, c.fate = true, nothing
	case 1:
		c.always, c.fate = true, everything
	}
	after := New()
	after.root = c.node(d.root)
	return after
}

// fate is what becomes of the changes to one file or folder.
type fate int

const (
	nothing fate = iota
	everything
	first // so many of them
	some  // any of them
	fates
)

type crash struct {
	rng    *rand.Rand
	done   map[*node]*node // by what they were, as a file can have several names
	always bool            // the same fate for all
	fate   fate
}

func (c *crash) choose() fate {
	if c.always {
		return c.fate
	}
	return fate(c.rng.IntN(int(fates)))
}

// node returns what a node is after the crash.
func (c *crash) node(n *node) *node {
	if after, ok := c.done[n]; ok {
		return after
	}
	after := &node{mode: n.mode, modTime: n.modTime}
	c.done[n] = after
	if n.names == nil {
		after.data = c.file(n)
		after.durable = bytes.Clone(after.data)
		return after
	}
	names := maps.Clone(n.durableNames)
	for _, m := range survivors(c, n.moves) {
		m.apply(names)
	}
	after.names, after.durableNames = map[string]*node{}, map[string]*node{}
	for _, base := range slices.Sorted(maps.Keys(names)) { // in order, so that a seed always means the same
		after.names[base] = c.node(names[base])
		after.durableNames[base] = after.names[base]
	}
	return after
}

// survivors returns which of the changes that were not durable happened.
func survivors[T any](c *crash, all []T) []T {
	switch c.choose() {
	case everything:
		return all
	case first:
		return all[:c.rng.IntN(len(all)+1)]
	case some:
		var kept []T
		for _, one := range all {
			if c.rng.IntN(2) == 0 {
				kept = append(kept, one)
			}
		}
		return kept
	default:
		return nil
	}
}

// file returns what a file holds after the crash.
func (c *crash) file(n *node) []byte {
	data := bytes.Clone(n.durable)
	if len(n.changes) == 0 {
		return data
	}
	for _, change := range survivors(c, n.changes) {
		data = change.apply(data)
	}
	if c.always {
		return data
	}
	switch c.rng.IntN(4) {
	case 0: // single sectors, of either age, in either length
		data = c.torn(data, n.data)
	case 1: // the length was written before what was to be there
		if len(n.data) > len(data) {
			data = resize(data, len(data)+1+c.rng.IntN(len(n.data)-len(data)))
		}
	}
	return data
}

// torn returns a file of which some sectors are those of a and some those of b, which is cut somewhere.
func (c *crash) torn(a, b []byte) []byte {
	data := resize(bytes.Clone(a), max(len(a), len(b)))
	for i := 0; i < len(b); i += sector {
		if c.rng.IntN(2) == 0 {
			copy(data[i:min(i+sector, len(b))], b[i:])
		}
	}
	if shortest := min(len(a), len(b)); len(data) > shortest {
		data = data[:shortest+c.rng.IntN(len(data)-shortest+1)]
	}
	return data
}
