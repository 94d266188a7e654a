package file

import (
	"errors"
	"fmt"
	"io"

	"github.com/bohica-labs/dataweaver/retry"
)

// contents is what a file holds, unpacked where it is compressed. Offsets are of the unpacked content unless they are said to be stored.
type contents interface {
	io.Reader
	// seek makes Read go on at m.offset. io.ErrUnexpectedEOF: the content ends before that.
	seek(m mark) error
	// member returns where the compressed member begins that offset, which is not further back than what Read was asked to forget, lies in.
	member(offset int64) member
	// stored returns about where offset is in the file as it is stored.
	stored(offset int64) int64
}

// member is a part of a compressed file that can be unpacked without what lies before. The zero value is the whole file.
type member struct {
	stored int64 // where it begins in the file as it is stored
	offset int64 // and in the content
}

// contentsOf returns what f holds. Old, which may be nil, is another file's that isn't needed any more.
func contentsOf(f opened, _ contents) (contents, error) {
	return &plain{opened: f}, nil
}

// plain is content as it is stored.
type plain struct{ opened }

func (p *plain) member(int64) member       { return member{} }
func (p *plain) stored(offset int64) int64 { return offset }

func (p *plain) seek(m mark) error {
	s, ok := p.opened.(io.Seeker)
	if !ok {
		return retry.Fatal(errors.New("this file system's files can't be read from a position: it lacks Seek"))
	}
	if _, err := s.Seek(m.offset, io.SeekStart); err != nil {
		return fmt.Errorf("going to byte %d: %w", m.offset, err)
	}
	return nil
}
