package weaver

// Chunks grow from small to large: an idle lane holds little, a busy one rarely asks for another.
const (
	firstChunk = 1 << 10
	maxChunk   = 256 << 10 // measured: lines copied through 64 KiB chunks cost a fifth more
)

// arena hands out memory that is given back all at once. One owner.
type arena struct {
	cur  []byte   // len is what is handed out of it
	full [][]byte // chunks before cur
	free [][]byte // chunks of an earlier use, the next is the last
	used int
}

func (a *arena) bytes(n int) []byte {
	if n == 0 {
		return []byte{} // empty is not nil
	}
	if n > cap(a.cur)-len(a.cur) {
		a.grow(n)
	}
	m := len(a.cur)
	a.cur = a.cur[:m+n]
	a.used += n
	return a.cur[m : m+n : m+n]
}

func (a *arena) grow(n int) {
	size := firstChunk
	if cap(a.cur) > 0 {
		a.full = append(a.full, a.cur)
		size = min(2*cap(a.cur), maxChunk)
	}
	if k := len(a.free) - 1; k >= 0 && cap(a.free[k]) >= n {
		a.cur = a.free[k][:0]
		a.free = a.free[:k]
		return
	}
	a.cur = make([]byte, 0, max(size, n))
}

// reset takes everything back. It keeps the current chunk and as many full-sized ones as were needed, but nothing
// that one huge record asked for.
func (a *arena) reset(scribble bool) {
	if scribble {
		for _, c := range append(a.full, a.cur) {
			for i := range c {
				c[i] = 0xDB
			}
		}
	}
	for i, c := range a.full {
		if cap(c) == maxChunk {
			a.free = append(a.free, c)
		}
		a.full[i] = nil
	}
	a.full = a.full[:0]
	if cap(a.cur) > maxChunk {
		a.cur = nil
	}
	a.cur = a.cur[:0]
	a.used = 0
}
