package crash

import (
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
)

// Record is one numbered record of a Ledger. Its Data has in it what formats have to escape: commas, quotation marks,
// line ends, other letters than ASCII.
type Record struct {
	N    int64  `json:"n" csv:"n"` // the first is 1
	Key  string `json:"key" csv:"key"`
	Data string `json:"data" csv:"data"`
	Sum  uint32 `json:"sum" csv:"sum"` // of the other fields
}

// sum is CRC-32C of the fields, with a zero byte between them.
func (r *Record) sum() uint32 {
	p := strconv.AppendInt(make([]byte, 0, 64+len(r.Data)), r.N, 10)
	p = append(append(p, 0), r.Key...)
	p = append(append(p, 0), r.Data...)
	return crc32.Checksum(p, crc32.MakeTable(crc32.Castagnoli))
}

// Verify returns an error that is ErrAltered if the other fields are not those that Sum was made of.
func (r *Record) Verify() error {
	if sum := r.sum(); sum != r.Sum {
		return fmt.Errorf("record %d: its checksum is %08x instead of %08x: %w", r.N, r.Sum, sum, ErrAltered)
	}
	return nil
}

// AppendLine appends the record as one line of ASCII, without a line end, for formats that have lines and no fields.
func (r Record) AppendLine(b []byte) []byte {
	b = strconv.AppendInt(b, r.N, 10)
	b = append(append(b, ' '), r.Key...)
	b = fmt.Appendf(b, " %08x ", r.Sum)
	return strconv.AppendQuoteToASCII(b, r.Data)
}

// ParseLine reads what AppendLine wrote.
func ParseLine(line []byte) (Record, error) {
	fields := strings.SplitN(string(line), " ", 4)
	if len(fields) != 4 {
		return Record{}, errors.New("crash: a record is a number, a key, a checksum and data")
	}
	n, err := strconv.ParseInt(fields[0], 10, 64)
	if err != nil {
		return Record{}, fmt.Errorf("crash: number of a record: %w", err)
	}
	sum, err := strconv.ParseUint(fields[2], 16, 32)
	if err != nil {
		return Record{}, fmt.Errorf("crash: checksum of a record: %w", err)
	}
	data, err := strconv.Unquote(fields[3])
	if err != nil {
		return Record{}, fmt.Errorf("crash: data of a record: %w", err)
	}
	return Record{N: n, Key: fields[1], Data: data, Sum: uint32(sum)}, nil
}
