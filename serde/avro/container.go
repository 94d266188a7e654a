package avro

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Header is what an object container file begins with (Avro specification 1.12, "Object Container Files").
type Header struct {
	Schema string            // what its data was written with: JSON
	Codec  string            // how its blocks are compressed: null, deflate, snappy or zstandard. Default: null
	Sync   [16]byte          // what follows each block; see NewSync
	Meta   map[string][]byte // whatever else it says; names that begin with "avro." are reserved
}

// Limits bound the memory that a container takes, whatever it says of itself.
type Limits struct {
	MaxHeader int // bytes of a header. Default: 16 MiB
	MaxBlock  int // bytes of a block as it is stored. Default: 64 MiB
	MaxData   int // bytes of a block's records. Default: 64 MiB
	MaxEmpty  int // how many records that take no bytes a block may have, where there are no others. Default: 2^20
}

func (l Limits) withDefaults() Limits {
	return Limits{orDefault(l.MaxHeader, 16<<20), orDefault(l.MaxBlock, 64<<20), orDefault(l.MaxData, 64<<20), orDefault(l.MaxEmpty, 1<<20)}
}

// ErrMore says that the data ends before what is to be read of it does.
var ErrMore = errors.New("avro: more data is needed")

var (
	magic = []byte("Obj\x01")

	errMagic     = errors.New("avro: no object container file: it doesn't begin with Obj and 1")
	errSync      = errors.New("avro: a block isn't followed by the sync marker of the file: it is damaged, or no block begins here")
	errHeader    = errors.New("avro: header larger than MaxHeader")
	errBlockSize = errors.New("avro: block larger than MaxBlock")
)

const (
	syncSize  = 16
	schemaKey = "avro.schema"
	codecKey  = "avro.codec"
)

// NewSync returns a sync marker: random bytes, which blocks don't contain but by a chance that doesn't come.
func NewSync() (sync [16]byte) {
	_, _ = rand.Read(sync[:]) // it never fails
	return sync
}

// ParseHeader reads the header that data begins with, and returns how long it is. ErrMore: data ends within it. Nothing of data is kept.
//
// Whether the schema is one, New and WithWriter tell.
func ParseHeader(data []byte, limits Limits) (*Header, int, error) {
	most := limits.withDefaults().MaxHeader
	h, rest, err := parseHeader(data[:min(len(data), most)])
	if errors.Is(err, errShort) {
		if len(data) >= most {
			return nil, 0, errHeader
		}
		return nil, 0, ErrMore
	}
	if err != nil {
		return nil, 0, err
	}
	return h, min(len(data), most) - len(rest), nil
}

func parseHeader(data []byte) (*Header, []byte, error) {
	if n := min(len(data), len(magic)); !bytes.Equal(data[:n], magic[:n]) {
		return nil, nil, errMagic
	}
	if len(data) < len(magic) {
		return nil, nil, errShort
	}
	data = data[len(magic):]
	h := &Header{Meta: map[string][]byte{}}
	for {
		count, rest, err := long(data)
		if err != nil {
			return nil, nil, headerError(err)
		}
		data = rest
		if count == 0 {
			break
		}
		if count < 0 {
			if count = -count; count < 0 {
				return nil, nil, headerError(errBlock)
			}
			if _, data, err = long(data); err != nil {
				return nil, nil, headerError(err)
			}
		}
		for range count {
			if data, err = h.entry(data); err != nil {
				return nil, nil, headerError(err)
			}
		}
	}
	if len(data) < syncSize {
		return nil, nil, errShort
	}
	copy(h.Sync[:], data)
	schemaText, has := h.Meta[schemaKey]
	if !has {
		return nil, nil, errors.New("avro: header without " + schemaKey)
	}
	h.Schema, h.Codec = string(schemaText), string(h.Meta[codecKey])
	if h.Codec == "" {
		h.Codec = "null"
	}
	delete(h.Meta, schemaKey)
	delete(h.Meta, codecKey)
	return h, data[syncSize:], nil
}

func headerError(err error) error {
	if errors.Is(err, errShort) {
		return err
	}
	return fmt.Errorf("avro: header: %w", err)
}

func (h *Header) entry(data []byte) ([]byte, error) {
	key, data, err := text(data)
	if err != nil {
		return nil, err
	}
	value, data, err := text(data)
	if err != nil {
		return nil, err
	}
	if _, twice := h.Meta[string(key)]; twice {
		return nil, errors.New("a name that it has twice")
	}
	h.Meta[string(key)] = bytes.Clone(value)
	return data, nil
}

// Append appends the header as it is stored. Equal headers are stored alike.
func (h *Header) Append(dst []byte) ([]byte, error) {
	if h.Schema == "" {
		return dst, errors.New("avro: Header.Schema is empty")
	}
	codec := h.Codec
	if codec == "" {
		codec = "null"
	}
	out := dst
	out = append(out, magic...)
	out = binary.AppendVarint(out, int64(2+len(h.Meta)))
	out = appendText(appendText(out, schemaKey), h.Schema)
	out = appendText(appendText(out, codecKey), codec)
	for _, key := range slices.Sorted(maps.Keys(h.Meta)) {
		if strings.HasPrefix(key, "avro.") {
			return dst, fmt.Errorf("avro: Header.Meta has %q: names that begin with avro. are reserved", key)
		}
		out = appendText(appendText(out, key), string(h.Meta[key]))
	}
	out = append(out, 0)
	return append(out, h.Sync[:]...), nil
}

func appendText(dst []byte, s string) []byte {
	return append(binary.AppendVarint(dst, int64(len(s))), s...)
}

// NextBlock finds the block that data begins with: how many records it has, and what is stored of them, which is a part of data. Size is how long the whole block
// is. With ErrMore data ends within it, and size is how much is needed at least.
func (h *Header) NextBlock(data []byte, limits Limits) (count int, stored []byte, size int, err error) {
	limits = limits.withDefaults()
	many, rest, err := long(data)
	if errors.Is(err, errShort) {
		return 0, nil, len(data) + 1, ErrMore
	}
	if err != nil {
		return 0, nil, 0, fmt.Errorf("avro: block: %w", err)
	}
	length, rest, err := long(rest)
	if errors.Is(err, errShort) {
		return 0, nil, len(data) + 1, ErrMore
	}
	switch {
	case err != nil:
		return 0, nil, 0, fmt.Errorf("avro: block: %w", err)
	case many < 0 || length < 0:
		return 0, nil, 0, fmt.Errorf("avro: block of %d records in %d bytes", many, length)
	case length > int64(limits.MaxBlock):
		return 0, nil, 0, errBlockSize
	case many > int64(max(limits.MaxData, limits.MaxEmpty)):
		return 0, nil, 0, fmt.Errorf("avro: block of %d records, more than MaxData has bytes", many)
	}
	size = len(data) - len(rest) + int(length) + syncSize
	if len(data) < size {
		return 0, nil, size, ErrMore
	}
	if !bytes.Equal(rest[length:length+syncSize], h.Sync[:]) {
		return 0, nil, 0, errSync
	}
	return int(many), rest[:length:length], size, nil
}

// appendBlock appends a block whose records are stored as they are.
func (h *Header) appendBlock(dst []byte, count int, stored []byte) []byte {
	dst = binary.AppendVarint(dst, int64(count))
	dst = binary.AppendVarint(dst, int64(len(stored)))
	dst = append(dst, stored...)
	return append(dst, h.Sync[:]...)
}
