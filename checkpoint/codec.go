package checkpoint

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
)

// A file holds, with numbers in big-endian order:
//
//	 0  8  magic
//	 8  2  format, 1
//	10  2  0
//	12  4  length of the key
//	16  8  length of the value
//	24  8  version of the value
//	32     key, value
//	    4  CRC-32C of everything before
//
// The magic has a byte that is no ASCII and a line end, so that a copy made as text shows (as in PNG, RFC 2083 §12.12).
const (
	magic       = "\x89weaver\n"
	format      = 1
	headerSize  = 32
	trailerSize = 4
	maxFileSize = headerSize + MaxKeyBytes + MaxValueBytes + trailerSize
)

// content is what a file says.
type content struct {
	key     string
	value   []byte
	version Version
}

// encode returns the file that holds c as the parts before the value and after it, so that a large value need not be copied.
func (c content) encode() (head, tail []byte) {
	head = make([]byte, 0, headerSize+len(c.key))
	head = append(head, magic...)
	head = binary.BigEndian.AppendUint16(head, format)
	head = binary.BigEndian.AppendUint16(head, 0)
	head = binary.BigEndian.AppendUint32(head, uint32(len(c.key)))
	head = binary.BigEndian.AppendUint64(head, uint64(len(c.value)))
	head = binary.BigEndian.AppendUint64(head, uint64(c.version))
	head = append(head, c.key...)
	table := crc32.MakeTable(crc32.Castagnoli) // made once, by the library
	sum := crc32.Update(crc32.Update(0, table, head), table, c.value)
	return head, binary.BigEndian.AppendUint32(nil, sum)
}

// decode reads what encode made, and refuses everything else. The value is a part of file.
func decode(file []byte) (content, error) {
	switch {
	case len(file) == 0:
		return content{}, errors.New("it is empty")
	case len(file) < headerSize+trailerSize:
		return content{}, fmt.Errorf("it ends after %d bytes", len(file))
	case string(file[:8]) != magic:
		return content{}, errors.New("it is not a checkpoint")
	}
	if f := binary.BigEndian.Uint16(file[8:]); f != format {
		return content{}, fmt.Errorf("its format is %d, known is %d", f, format)
	}
	keyLen, valueLen := uint64(binary.BigEndian.Uint32(file[12:])), binary.BigEndian.Uint64(file[16:])
	if keyLen > MaxKeyBytes || valueLen > MaxValueBytes {
		return content{}, errors.New("its lengths make no sense")
	}
	if want := headerSize + keyLen + valueLen + trailerSize; uint64(len(file)) != want {
		return content{}, fmt.Errorf("it has %d bytes instead of %d", len(file), want)
	}
	body, sum := file[:len(file)-trailerSize], binary.BigEndian.Uint32(file[len(file)-trailerSize:])
	if got := crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)); got != sum {
		return content{}, fmt.Errorf("its checksum is %08x instead of %08x", got, sum)
	}
	version := binary.BigEndian.Uint64(file[24:])
	if binary.BigEndian.Uint16(file[10:]) != 0 || version == 0 || version > math.MaxInt64 {
		return content{}, errors.New("its header makes no sense")
	}
	value := body[headerSize+keyLen:]
	return content{
		key:     string(body[headerSize : headerSize+keyLen]),
		value:   value[:len(value):len(value)],
		version: Version(version),
	}, nil
}
