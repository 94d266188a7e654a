// Package protobuf is the serde codec for Protocol Buffers, with google.golang.org/protobuf.
//
// [Codec] is for messages that protoc has made Go types of:
//
//	weaver.Then(serde.Decode(protobuf.Codec[*orderpb.Order]{}), weaver.Map(bill))
//
// [Dynamic] is for those of which there is only a descriptor, such as protoc --descriptor_set_out --include_imports writes.
//
// # What is kept, and what is an error
//
// Fields that a message type doesn't know are kept and written again, byte for byte, unless DiscardUnknown is set. The same bytes always become the same
// message, but a message may be written in more than one way: set Deterministic where bytes are compared or hashed.
//
// These are errors, which make poison of their record: bytes that are cut short or malformed, text that isn't UTF-8 in a proto3 string, a required field of
// proto2 that is missing (see AllowPartial), messages nested more deeply than RecursionLimit, and a nil message to be written. An empty payload is no error: it
// is a message without any field set, just as such a message is written as no bytes at all. So a nil message, which means that somebody forgot it, isn't
// written as one.
//
// No more than the bytes at hand is ever allocated for what a length promises. What a message takes in memory may still be many times what it takes as
// bytes (two bytes make an empty message in a list), so the bound is that of the record's size, which whatever reads it has.
//
// # Files and streams of messages
//
// A message doesn't say where it ends. The usual way to have many in one file is a varint with the length before each: what Java calls writeDelimitedTo
// and package protodelim MarshalTo. Codecs know nothing of it; it is the framing of file.Prefixed with file.Uvarint, which reads and writes such files:
//
//	orders := file.Prefixed[*orderpb.Order]("orders.bin", file.Uvarint)
//	orders.Codec = protobuf.Codec[*orderpb.Order]{}
//
// # Schemas that change
//
// [Compatible] tells whether what was written as one version of a message is read as another without a value being changed or lost, and [Same] whether two are
// one. Package serde/registry uses them.
package protobuf
