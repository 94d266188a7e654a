package file

import (
	"bufio"
	"errors"
	"io"
)

// unpackers are what files of any format are unpacked with, one after the other. Each is made when the first file needs it.
type unpackers struct {
	formats []unpacker
	head    [headBytes]byte // of the file
	plain   plain
	content unpacked
}

// unpackersOf returns those that old has, or new ones.
func unpackersOf(old contents) *unpackers {
	switch old := old.(type) {
	case *plain:
		return old.idle
	case *unpacked:
		old.format.rest()
		return old.idle
	case *undecided:
		return unpackersOf(old.contents)
	}
	return &unpackers{formats: []unpacker{&gunzip{}, &unzstd{}, &bunzip2{}}}
}

// readHead reads how a file begins, of which n bytes are read, into head.
func (a *unpackers) readHead(f opened, n int) (int, error) {
	k, err := io.ReadFull(f, a.head[n:])
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return n + k, err
}

// choose returns the content of a file that begins with head, and whether head is too short to tell.
func (a *unpackers) choose(f opened, head []byte) (_ contents, open bool) {
	file := storedFile{opened: f, head: head}
	for _, one := range a.formats {
		yes, maybe := one.begins(head)
		if yes {
			return a.unpack(file, one), false
		}
		open = open || maybe
	}
	a.plain = plain{storedFile: file, idle: a}
	return &a.plain, open
}

// unpack returns the content of a file.
func (a *unpackers) unpack(file storedFile, format unpacker) contents {
	u := &a.content
	buffer := u.in.Reader
	if buffer == nil {
		buffer = bufio.NewReaderSize(nil, storedBytes)
	}
	*u = unpacked{in: storedBuffer{Reader: buffer, file: file}, idle: a, format: format, known: u.known[:0], spacing: minMembers}
	buffer.Reset(&u.in.file)
	return u
}

func (a *unpackers) release() {
	for _, one := range a.formats {
		one.release()
	}
	a.plain, a.content = plain{}, unpacked{}
}

// undecided is a file that is so short that it may become one of several kinds, if it may grow.
type undecided struct {
	contents // plain, and not asked for anything up to the decision
	idle     *unpackers
	file     opened
	head     int // bytes of the file in idle.head
	growing  bool
	decided  bool
}

func (u *undecided) Read(p []byte) (int, error) {
	if !u.decided {
		n, err := u.idle.readHead(u.file, u.head)
		u.head = n
		if err != nil {
			return 0, err
		}
		c, open := u.idle.choose(u.file, u.idle.head[:n])
		if open && u.growing {
			return 0, io.EOF
		}
		u.contents, u.decided = c, true
		u.grow(u.growing)
	}
	return u.contents.Read(p)
}

// seek is a decision: there is a position.
func (u *undecided) seek(m mark) error {
	u.decided = true
	return u.contents.seek(m)
}

func (u *undecided) grow(may bool) {
	u.growing = may
	if c, ok := u.contents.(grower); ok {
		c.grow(may)
	}
}

func (u *undecided) giveUp() error {
	if c, ok := u.contents.(quitter); ok {
		return c.giveUp()
	}
	return nil
}

func (u *undecided) release() { u.idle.release() }
