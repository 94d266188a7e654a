package avrofile

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/bohica-labs/dataweaver/connectors/file"
	"github.com/bohica-labs/dataweaver/serde/avro"
)

// decoder reads the blocks of one file.
type decoder[T any] struct {
	container *container[T]
	codec     recordCodec[T]
	header    *avro.Header
	records   []byte // memory for those of a block
}

func (d *decoder[T]) Mark() []byte { return d.header.Sync[:] }

func (d *decoder[T]) Find(data []byte) (file.Block, error) {
	count, stored, size, err := d.header.NextBlock(data, d.container.options.Limits)
	if errors.Is(err, avro.ErrMore) {
		err = file.ErrMore
	}
	return file.Block{Count: count, Size: size, Stored: stored}, err
}

func (d *decoder[T]) Unpack(b file.Block) (records []byte, err error) {
	err = d.container.borrow(d.header.Codec, func(p *packer) error {
		records, err = p.Expand(d.records, b.Stored)
		return err
	})
	if err != nil {
		return nil, err
	}
	if d.header.Codec != string(Null) {
		d.records = records
	}
	if b.Count > max(len(records), d.container.options.Limits.MaxEmpty) {
		return nil, fmt.Errorf("it has %d bytes, which isn't enough for so many", len(records))
	}
	return records, nil
}

func (d *decoder[T]) Decode(data []byte, v *T) (int, error) {
	rest, err := d.codec.DecodeNext(data, v)
	return len(data) - len(rest), err
}

func (d *decoder[T]) Skip(data []byte) (int, error) {
	rest, err := d.codec.Skip(data)
	return len(data) - len(rest), err
}

// encoder writes the blocks of one file.
type encoder[T any] struct {
	container *container[T]
	header    *avro.Header
	begins    []byte
}

func (e *encoder[T]) Header() []byte { return e.begins }
func (e *encoder[T]) Mark() []byte   { return e.header.Sync[:] }

func (e *encoder[T]) Append(dst []byte, v *T) ([]byte, error) {
	return e.container.codec.Append(dst, *v)
}

// mostIdle is how much memory an idle packer may keep.
const mostIdle = 1 << 20

func (e *encoder[T]) Block(dst, records []byte, count int) ([]byte, error) {
	out := dst
	err := e.container.borrow(e.header.Codec, func(p *packer) error {
		stored := records
		if e.header.Codec != string(Null) {
			var err error
			if p.stored, err = p.Append(p.stored[:0], records); err != nil {
				return err
			}
			stored = p.stored
		}
		out = binary.AppendVarint(out, int64(count))
		out = binary.AppendVarint(out, int64(len(stored)))
		out = append(out, stored...)
		out = append(out, e.header.Sync[:]...)
		if cap(p.stored) > mostIdle {
			p.stored = nil
		}
		return nil
	})
	if err != nil {
		return dst, err
	}
	return out, nil
}
