package weaver

import (
	"context"
	"io"
	"time"
)

// Framework is a message system (Kafka, an in-memory stand-in) seen as bytes; package serde gives it types. It is safe
// for concurrent use. Close ends its connections: it is called after the pipelines that use it have returned.
type Framework interface {
	// CreateStream makes the stream exist. It is idempotent: a stream that exists as asked for is no error; one that
	// differs is an error that says how.
	CreateStream(ctx context.Context, s Stream) error
	// Consume reads a stream as one member of a group: its splits are the partitions that the group gives to this
	// member, its acknowledgements the group's positions. An empty group reads all partitions and remembers nothing.
	Consume(stream, group string) Source[[]byte]
	// Produce writes to a stream. Records with one key keep their order and share a partition.
	Produce(stream string) Sink[[]byte]
	io.Closer
}

// Stream describes a stream to be created. Zero fields leave the choice to the framework.
type Stream struct {
	Name        string
	Partitions  int
	Replication int
	Retention   time.Duration // how long records are kept; negative: for ever
}
