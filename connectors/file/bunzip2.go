package file

import (
	"compress/bzip2"
	"io"
)

// bunzip2 unpacks bzip2. Its streams, which don't begin where bytes do inside a file, are read as one member; behind damage nothing is looked for.
type bunzip2 struct{ reader io.Reader }

const (
	bzip2Magic = "BZh" // then the level, 1 to 9
	bzip2Block = "\x31\x41\x59\x26\x53\x59"
	bzip2End   = "\x17\x72\x45\x38\x50\x90" // of a stream without blocks
)

func (*bunzip2) name() string { return "bzip2" }

func (*bunzip2) begins(head []byte) (yes, open bool) {
	yes, open = hasMagic(head, bzip2Magic)
	if !yes || len(head) == len(bzip2Magic) {
		return false, yes || open
	}
	level, block := head[len(bzip2Magic)], head[len(bzip2Magic)+1:]
	if level < '1' || level > '9' {
		return false, false
	}
	if yes, open = hasMagic(block, bzip2Block); yes || open && len(block) > 0 {
		return yes, open
	}
	return hasMagic(block, bzip2End)
}

func (b *bunzip2) begin(in *storedBuffer) error {
	b.reader = bzip2.NewReader(in.Reader)
	return nil
}

func (b *bunzip2) Read(p []byte) (int, error)   { return b.reader.Read(p) }
func (*bunzip2) pass(int64, bool) (bool, error) { return false, io.EOF }
func (b *bunzip2) rest()                        { b.reader = nil }
func (b *bunzip2) release()                     { b.reader = nil }
