package file

import (
	"errors"
	"fmt"
	"io"
	"sort"

	"github.com/bohica-labs/dataweaver/retry"
)

// unpacker unpacks the members of one format, from what unpacked reads.
type unpacker interface {
	name() string
	// begins reports whether head, headBytes long unless the file ends, is how a file of the format begins, and if not, whether it may be with what is still to come.
	begins(head []byte) (yes, open bool)
	// begin reads the beginning of a member.
	begin(in *storedBuffer) error
	// Read returns content of the member. io.EOF: it ended, and was whole; what comes next in the file is the next one. io.ErrUnexpectedEOF: the file ended before. It may
	// return 0 and no error.
	io.Reader
	// pass goes on, by about stepBytes, to the next member that can be relied on, behind damage in the one that begins at start. It reports whether it is there.
	// io.EOF: there is none.
	pass(start int64, growing bool) (bool, error)
	// rest lets go of the file.
	rest()
	release()
}

const (
	stepBytes  = 1 << 20 // of the stored file, after which Read comes back
	minMembers = 4 << 10 // bytes of content between members that are remembered, at least
	maxMembers = 512     // that are remembered
	padding    = 0       // what may follow the last member, as tapes and tar have it
)

// phase is what unpacked.Read does next.
type phase uint8

const (
	between phase = iota // a member begins
	inside               // a member goes on
	lost                 // the next member is looked for, behind damage
	waiting              // a member that is not all there begins again, as soon as there is more of it
	over                 // nothing is read any more
)

// unpacked is the content of a compressed file: that of its members, one after the other. The format's own checks come at the end of a member or of a block, so what
// a damaged one holds is returned up to where its damage shows.
type unpacked struct {
	in      storedBuffer
	idle    *unpackers
	format  unpacker
	growing bool

	phase   phase
	current member // the one that is read, or was read last
	offset  int64  // in the content, of what is unpacked next
	drop    int64  // how much of that is not wanted, up to the place to go on at
	cut     int64  // how long the file was when its last member was found not to be all there
	placed  bool   // a position says that a member begins here

	known   []member // which may be asked for, the oldest first, spacing bytes of content apart at least
	spacing int64
	oldest  int64 // offset that member may be asked for
	gap     bool  // nothing was unpacked since damage: known is of what lies before
}

// Read implements io.Reader.
func (u *unpacked) Read(p []byte) (n int, err error) {
	if u.in.file.skip > 0 {
		return 0, u.in.file.pass(p)
	}
	stop := u.in.at() + stepBytes
	for n < len(p) && u.in.at() < stop && u.in.file.skip == 0 {
		switch u.phase {
		case between:
			err = u.begin()
		case inside:
			var k int
			k, err = u.unpack(p[n:])
			n += k
		case lost:
			err = u.pass()
		case waiting:
			err = u.again()
		case over:
			err = io.EOF
		}
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// begin begins the next member. io.EOF: there is none.
func (u *unpacked) begin() error {
	head, err := u.in.Peek(headBytes)
	switch {
	case u.in.file.failed != nil:
		return u.in.file.failed
	case len(head) == 0:
		if u.gap {
			u.remember(member{u.in.at(), u.offset})
		}
		return err
	}
	u.current = member{u.in.at(), u.offset}
	switch yes, open := u.format.begins(head); {
	case !u.placed || yes:
	case open && u.growing:
		return io.EOF
	default:
		return retry.Fatal(fmt.Errorf("no %s data begins at byte %d of the compressed file, where reading is to go on: it was replaced or changed since; put it back, or remove the checkpoint to read this one",
			u.format.name(), u.current.stored))
	}
	u.placed = false
	if head[0] == padding && u.current.stored > 0 {
		return u.skipPadding()
	}
	if err := u.format.begin(&u.in); err != nil {
		return u.fail(err)
	}
	u.phase = inside
	return nil
}

// skipPadding goes on to what isn't padding, as far as that is in memory.
func (u *unpacked) skipPadding() error {
	data, _ := u.in.Peek(u.in.Buffered())
	n := 0
	for n < len(data) && data[n] == padding {
		n++
	}
	_, err := u.in.Discard(n)
	return err
}

// unpack returns content of the current member.
func (u *unpacked) unpack(p []byte) (int, error) {
	if u.drop > 0 {
		p = p[:min(int64(len(p)), u.drop)]
	}
	n, err := u.format.Read(p)
	if n > 0 {
		u.remember(u.current)
		u.offset += int64(n)
	}
	if u.drop > 0 {
		u.drop -= int64(n)
		n = 0
	}
	if err == io.EOF { //nolint:errorlint // only as it is does it say that the member is whole
		u.phase, err = between, nil
	}
	if err != nil {
		err = u.fail(err)
	}
	return n, err
}

// fail returns what to make of an error of the format.
func (u *unpacked) fail(err error) error {
	if u.in.file.failed != nil {
		return u.in.file.failed
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = errTruncated
		if u.growing && u.in.file.seeks() {
			if u.gap {
				u.remember(u.current)
			}
			u.phase, u.cut = waiting, u.in.file.offset
			return io.EOF
		}
	}
	d := &damage{u.format.name(), u.current.stored, u.offset, err}
	if u.drop > 0 {
		return retry.Fatal(fmt.Errorf("reading is to go on at byte %d, which can't be found any more: %s", u.offset+u.drop, d.Error()))
	}
	u.phase, u.gap = lost, true
	return d
}

// again begins the current member again, which was not all there, and goes on where its content ended.
func (u *unpacked) again() error {
	if u.growing {
		size, err := u.in.file.size()
		if err != nil {
			return err
		}
		if size <= u.cut {
			return io.EOF
		}
	}
	u.drop += u.offset - u.current.offset
	u.offset = u.current.offset
	u.phase = between
	return u.in.goTo(u.current.stored)
}

// pass looks for the next member behind damage. If there is none that can be relied on, what is left is given up.
func (u *unpacked) pass() error {
	there, err := u.format.pass(u.current.stored, u.growing)
	switch {
	case u.in.file.failed != nil:
		return u.in.file.failed
	case err == io.EOF: //nolint:errorlint // made by pass
		return u.giveUp()
	case err != nil:
		return err
	case there:
		u.phase = between
	}
	return nil
}

func (u *unpacked) giveUp() error {
	size, err := u.in.file.size()
	if err != nil {
		return err
	}
	end := max(size, u.in.at())
	u.phase, u.gap = over, true
	u.remember(member{end, u.offset})
	if !u.in.file.seeks() {
		return nil
	}
	u.phase = between
	return u.in.goTo(end)
}

// remember notes that m is the member of what is unpacked next.
func (u *unpacked) remember(m member) {
	last := len(u.known) - 1
	switch {
	case u.gap: // nobody asks for what lies before
		u.known, u.spacing, u.gap = append(u.known[:0], m), minMembers, false
		return
	case last >= 0 && m.offset < u.known[last].offset+u.spacing: // unpacking a little more does no harm
		return
	case last+1 == maxMembers: // every other one will do
		kept := u.known[:1]
		for i := 2; i <= last; i += 2 {
			kept = append(kept, u.known[i])
		}
		u.known, u.spacing = kept, 2*u.spacing
	}
	u.known = append(u.known, m)
	u.forget()
}

// forget drops what lies before the member of the oldest offset.
func (u *unpacked) forget() {
	i := sort.Search(len(u.known), func(i int) bool { return u.known[i].offset > u.oldest }) - 1
	if i > 0 {
		u.known = u.known[:copy(u.known, u.known[i:])]
	}
	if len(u.known) == 1 {
		u.spacing = minMembers
	}
}

func (u *unpacked) member(offset int64) member {
	u.oldest = offset
	u.forget()
	if len(u.known) == 0 || u.known[0].offset > offset {
		return member{}
	}
	return u.known[0]
}

func (u *unpacked) seek(m mark) error {
	at := m.member
	if at.stored < u.in.at() && !u.seeks() {
		if m.offset < u.offset {
			return errNoSeek
		}
		u.drop, u.oldest = m.offset-u.offset, m.offset
		return nil
	}
	size, err := u.in.file.size()
	if err != nil {
		return err
	}
	if at.stored > size {
		return io.ErrUnexpectedEOF
	}
	if err := u.in.goTo(at.stored); err != nil {
		return err
	}
	u.phase, u.placed = between, true
	u.current, u.offset, u.drop = at, at.offset, m.offset-at.offset
	u.known, u.spacing, u.gap, u.oldest = append(u.known[:0], at), minMembers, false, m.offset
	return nil
}

func (u *unpacked) stored(int64) int64 { return u.in.at() }
func (u *unpacked) grow(may bool)      { u.growing = may }
func (u *unpacked) seeks() bool        { return u.in.file.seeks() }
func (u *unpacked) release()           { u.idle.release() }

// hasMagic reports whether head begins with magic, and if not, whether it may with what is still to come.
func hasMagic(head []byte, magic string) (yes, open bool) {
	n := min(len(head), len(magic))
	same := string(head[:n]) == magic[:n]
	return same && n == len(magic), same && n < len(magic)
}
