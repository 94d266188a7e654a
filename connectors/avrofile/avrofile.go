package avrofile

import (
	"errors"
	"maps"

	"github.com/bohica-labs/dataweaver/connectors/file"
	"github.com/bohica-labs/dataweaver/serde/avro"
)

// Compression is how the blocks of a file are stored: the codec of its header. It is not the Compression of file.File, which packs a file as a whole and leaves nothing that other programs
// know as a container.
type Compression string

// The codecs that are read and written. Bzip2 and xz, which the specification also names, are not.
const (
	Null      Compression = "null"      // as they are; the default
	Deflate   Compression = "deflate"   // RFC 1951: known to every reader
	Snappy    Compression = "snappy"    // quick, with a checksum
	Zstandard Compression = "zstandard" // smaller than Deflate, and several times as quick, with a checksum
)

// Options is what New and NewGeneric take. The zero value is good.
type Options struct {
	// Compression is how a new file is stored. One that is read or continued stays as it is. Default Null.
	Compression Compression

	// Meta is what the header of a new file says besides. Names that begin with "avro." are reserved. Default: nothing.
	Meta map[string][]byte

	// Limits bound what a file may ask for. See avro.Limits for the defaults, which are 64 MiB for a block. Of less than 1 MiB for a block, what is written has smaller ones.
	Limits avro.Limits
}

// New returns a File of T: a source and a sink, whose fields are options too. Codec and Compression of them are not for it.
//
// What is written has the codec's schema. What is read may have been written with any other that the codec's can read, each file with one of its own.
func New[T any](path string, codec *avro.Codec[T], o Options) *file.File[T] {
	c := &container[T]{options: o.copied()}
	if codec == nil {
		c.bad = errNoCodec
	} else {
		c.codec = codec
		c.with = func(schema string) (recordCodec[T], error) { return codec.WithWriter(schema) }
	}
	return c.file(path)
}

// NewGeneric is New for values without a type of their own, in the forms of package serde/avro. Without a codec each file is read by its own schema, and nothing can be written.
func NewGeneric(path string, codec *avro.Generic, o Options) *file.File[any] {
	c := &container[any]{options: o.copied()}
	if codec == nil {
		c.with = func(schema string) (recordCodec[any], error) { return avro.NewGeneric(schema) }
	} else {
		c.codec = codec
		c.with = func(schema string) (recordCodec[any], error) { return codec.WithWriter(schema) }
	}
	return c.file(path)
}

var errNoCodec = errors.New("there is no codec: make one with avro.New")

func (o Options) copied() Options {
	o.Meta = maps.Clone(o.Meta)
	for _, limit := range []struct {
		value    *int
		standard int
	}{{&o.Limits.MaxHeader, 16 << 20}, {&o.Limits.MaxBlock, 64 << 20}, {&o.Limits.MaxData, 64 << 20}, {&o.Limits.MaxEmpty, 1 << 20}} {
		if *limit.value <= 0 {
			*limit.value = limit.standard
		}
	}
	return o
}
