package file

import (
	"bytes"
	"errors"
	"io"

	"github.com/klauspost/compress/gzip"
)

// gunzip unpacks members of gzip (RFC 1952).
type gunzip struct {
	reader gzip.Reader
	in     *storedBuffer

	searching bool
	tries     int
	tried     []byte
}

const (
	gzipMagic = "\x1f\x8b"
	gzipStart = gzipMagic + "\x08" // deflate is the only method there is

	// A member behind damage can be relied on if so much of it, or all, can be unpacked: what only looks like one can't.
	gzipProof = 64 << 10
	// gzipTries is how many beginnings of members are looked at behind damage. In data at random there is one in 2²⁷ bytes.
	gzipTries = 100
)

func (*gunzip) name() string                        { return "gzip" }
func (*gunzip) begins(head []byte) (yes, open bool) { return hasMagic(head, gzipMagic) }

func (g *gunzip) begin(in *storedBuffer) error {
	g.in, g.searching, g.tries = in, false, 0
	return g.reset()
}

func (g *gunzip) reset() error {
	if err := g.reader.Reset(g.in.Reader); err != nil { // which has ReadByte, so not a byte more is read than the member has
		return noEOF(err)
	}
	g.reader.Multistream(false)
	return nil
}

func (g *gunzip) Read(p []byte) (int, error) { return g.reader.Read(p) }

// pass looks for what begins as a member does, from the beginning of the damaged one on: where its data is wrong, so may be what was taken for its end.
func (g *gunzip) pass(start int64, growing bool) (bool, error) {
	if !g.in.file.seeks() || g.tries == gzipTries {
		return false, io.EOF
	}
	if !g.searching {
		g.searching = true
		if err := g.in.goTo(start + 1); err != nil {
			return false, err
		}
	}
	data, err := g.in.Peek(storedBytes)
	i := bytes.Index(data, []byte(gzipStart))
	if i < 0 {
		if err != nil {
			return false, err
		}
		_, err = g.in.Discard(len(data) - len(gzipStart) + 1)
		return false, err
	}
	if _, err := g.in.Discard(i); err != nil {
		return false, err
	}
	if head, _ := g.in.Peek(len(gzipStart) + 1); len(head) > len(gzipStart) && head[len(gzipStart)]&0xe0 != 0 { // reserved flags
		_, err := g.in.Discard(1)
		return false, err
	}
	return g.try(growing)
}

// try unpacks some of what begins here, and goes back. If it can't be unpacked it goes on to the next byte.
func (g *gunzip) try(growing bool) (bool, error) {
	g.tries++
	at := g.in.at()
	err := g.reset()
	if g.tried == nil {
		g.tried = make([]byte, 4<<10)
	}
	for n := 0; err == nil && n < gzipProof; {
		var k int
		k, err = g.reader.Read(g.tried)
		n += k
	}
	there := err == nil || err == io.EOF || growing && errors.Is(err, io.ErrUnexpectedEOF) //nolint:errorlint // the end of a whole member, as it is
	if there {
		return true, g.in.goTo(at)
	}
	return false, g.in.goTo(at + 1)
}

func (g *gunzip) rest()    { g.in = nil }
func (g *gunzip) release() { *g = gunzip{} }
