package file

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"path"
	"path/filepath"
	"slices"

	"github.com/bohica-labs/dataweaver/internal/durable"
)

// partState is what a split's parts are at a commit: the sidecar of all of them.
type partState struct {
	epoch, owner uint64
	envelope     []byte // nil: none

	Pipeline []byte      `json:"pipeline"`
	Split    []byte      `json:"split"`
	Shape    string      `json:"shape"`    // of the files: parts of another are not continued
	Next     uint64      `json:"next"`     // number
	Manifest int64       `json:"manifest"` // bytes of it, without what Done adds
	Open     []partEntry `json:"open"`     // unfinished, in the order of numbers
	Done     []partEntry `json:"done"`     // complete; they may not be in their places yet
}

// partEntry is one part, as far as it counts.
type partEntry struct {
	Number  uint64 `json:"n"`
	Key     string `json:"k"` // the name, with partMark in it
	Records int64  `json:"c"`
	Bytes   int64  `json:"b"`
	Raw     int64  `json:"r"` // bytes before they are compressed
	Sum     uint32 `json:"s"` // CRC-32C of the bytes
	Begin   int64  `json:"t"` // Unix time in nanoseconds
	End     int64  `json:"e,omitempty"`
}

// name is that of the part when it is complete.
func (e *partEntry) name() string { return numbered(e.Key, e.Number) }

// The state is a file, with numbers in big-endian order:
//
//	 0  8  magic
//	 8  2  format, 1
//	10  2  1 where there is an envelope, or 0
//	12  4  length of the JSON of a partState
//	16  8  epoch
//	24  8  owner
//	32  8  length of the envelope
//	40     JSON, envelope
//	    4  CRC-32C of everything before
//
// Epoch and owner are where a sidecar has them.
const (
	stateMagic  = "\x89wvpart\n"
	stateFormat = 1
	stateHeader = 40
)

func (s *partState) encode() ([]byte, error) {
	text, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	var flags uint16
	if s.envelope != nil {
		flags = 1
	}
	out := make([]byte, 0, stateHeader+len(text)+len(s.envelope)+4)
	out = append(out, stateMagic...)
	out = binary.BigEndian.AppendUint16(out, stateFormat)
	out = binary.BigEndian.AppendUint16(out, flags)
	out = binary.BigEndian.AppendUint32(out, uint32(len(text))) //nolint:gosec // some hundred bytes a part
	out = binary.BigEndian.AppendUint64(out, s.epoch)
	out = binary.BigEndian.AppendUint64(out, s.owner)
	out = binary.BigEndian.AppendUint64(out, uint64(len(s.envelope)))
	return sealed(append(append(out, text...), s.envelope...)), nil
}

// decodeState reads what encode made, and refuses what isn't that.
func decodeState(data []byte) (partState, error) {
	switch {
	case len(data) < stateHeader+4:
		return partState{}, fmt.Errorf("it ends after %d bytes", len(data))
	case string(data[:8]) != stateMagic:
		return partState{}, errors.New("it is no state of parts")
	}
	if format := binary.BigEndian.Uint16(data[8:]); format != stateFormat {
		return partState{}, fmt.Errorf("its format is %d, known is %d", format, stateFormat)
	}
	body := data[:len(data)-4]
	if got, want := crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)), binary.BigEndian.Uint32(data[len(body):]); got != want {
		return partState{}, fmt.Errorf("its checksum is %08x instead of %08x", got, want)
	}
	flags, text, envelope := binary.BigEndian.Uint16(data[10:]), uint64(binary.BigEndian.Uint32(data[12:])), binary.BigEndian.Uint64(data[32:])
	rest := uint64(len(body) - stateHeader)
	if flags > 1 || envelope > rest || text+envelope != rest || flags == 0 && envelope > 0 {
		return partState{}, errors.New("its header makes no sense")
	}
	var s partState
	if err := json.Unmarshal(body[stateHeader:stateHeader+text], &s); err != nil {
		return partState{}, err
	}
	s.epoch, s.owner = binary.BigEndian.Uint64(data[16:]), binary.BigEndian.Uint64(data[24:])
	if flags == 1 {
		s.envelope = slices.Clip(body[stateHeader+text:])
		if s.envelope == nil {
			s.envelope = []byte{}
		}
	}
	return s, s.check()
}

// check finds what no encode can have made, so that nothing below relies on a file that somebody has edited.
func (s *partState) check() error {
	seen, keys := map[uint64]bool{}, map[string]bool{}
	for _, list := range [][]partEntry{s.Open, s.Done} {
		for i := range list {
			e := &list[i]
			name := e.name()
			switch {
			case e.Number == 0 || e.Number >= s.Next || seen[e.Number]:
				return fmt.Errorf("part %d makes no sense", e.Number)
			case e.Records <= 0 || e.Bytes <= 0 || e.Raw <= 0:
				return fmt.Errorf("part %d is empty", e.Number)
			case name == e.Key || name != path.Clean(name) || !filepath.IsLocal(filepath.FromSlash(name)):
				return fmt.Errorf("part %d has the name %q", e.Number, e.Key)
			}
			seen[e.Number] = true
		}
	}
	for _, e := range s.Open {
		if keys[e.Key] {
			return fmt.Errorf("two parts have the name %q", e.Key)
		}
		keys[e.Key] = true
	}
	if s.Next == 0 || s.Manifest < 0 {
		return errors.New("its numbers make no sense")
	}
	return nil
}

// readState returns false if there is none.
func readState(fsys durable.FS, name string) (partState, bool, error) {
	data, err := durable.ReadFile(fsys, name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return partState{Next: 1}, false, nil
	case err != nil:
		return partState{}, false, err
	}
	s, err := decodeState(data)
	return s, true, err
}
