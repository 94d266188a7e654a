package file

import "io"

// contents is what a file holds, unpacked where it is compressed. Offsets are of the unpacked content unless they are said to be stored.
//
// Read may return 0 and no error: it comes back from long work now and then, so that its caller can give up. After [io.EOF] it goes on where it was if the file grew
// since. After a *damage it goes on behind that, and the content goes on there as if nothing were missing.
type contents interface {
	io.Reader
	// seek makes Read go on at m.offset. io.ErrUnexpectedEOF: the content ends before that, which Read may also find out.
	seek(m mark) error
	// member returns where the compressed member begins that offset, which is not further back than what Read was asked to forget, lies in. Behind damage, the
	// member that begins at offset itself.
	member(offset int64) member
	// stored returns about where offset is in the file as it is stored.
	stored(offset int64) int64
}

// grower is for contents to which it makes a difference whether the file may still grow: a member that is cut short is then the end, for now, and no damage.
type grower interface{ grow(may bool) }

// quitter is for contents that can be damaged. GiveUp makes the content end here; what is appended to the file later belongs to it again.
type quitter interface{ giveUp() error }

// releaser is for contents that keep something for the next file. Nothing may be called after release.
type releaser interface{ release() }

// member is a part of a compressed file that can be unpacked without what lies before. The zero value is the whole file.
type member struct {
	stored int64 // where it begins in the file as it is stored
	offset int64 // and in the content
}

// headBytes is how many bytes tell how a file is stored.
const headBytes = 10

// contentsOf returns what f holds, by how it begins. Old, which may be nil, is another file's that isn't needed any more.
//
// What begins as gzip does, with 1f 8b, or as a frame of zstd, is taken for that whatever comes behind: neither is text in any common encoding. Of bzip2, which
// begins with letters, it takes the ten bytes up to the end of the first block's magic number. While a file that may grow is too short to tell, it has no content.
func contentsOf(f opened, old contents) (contents, error) {
	u := unpackersOf(old)
	n, err := u.readHead(f, 0)
	if err != nil {
		return nil, err
	}
	c, open := u.choose(f, u.head[:n])
	if open {
		return &undecided{contents: c, idle: u, file: f, head: n}, nil
	}
	return c, nil
}

// plain is content as it is stored.
type plain struct {
	storedFile
	idle *unpackers // for the next file
}

func (p *plain) Read(b []byte) (int, error) {
	if p.skip > 0 {
		return 0, p.pass(b)
	}
	return p.storedFile.Read(b)
}

func (p *plain) seek(m mark) error         { return p.goTo(m.offset) }
func (p *plain) member(int64) member       { return member{} }
func (p *plain) stored(offset int64) int64 { return offset }
func (p *plain) release()                  { p.idle.release() }
