// Package avrofile reads and writes files of Avro: object container files, as specification 1.12 has them.
//
//	codec, err := avro.New[Order](schema)
//	avrofile.New("orders.avro", codec, avrofile.Options{Compression: avrofile.Zstandard}) // a source and a sink of Orders
//	avrofile.NewGeneric("in/*.avro", nil, avrofile.Options{})                             // of values, each file by its own schema
//
// They are Files of package file, with all that it promises: exact positions, an exactly-once sink, patterns, parts, following. See its documentation; here is only
// what is special.
//
// # Reading
//
// Each file is read by the schema in its header, and resolved to the codec's as the specification says, so the files of a pattern may have been written with
// schemas of different age. One that the codec's can't read ends the pipeline, with the path and what doesn't fit.
//
// A position is the offset of a block and how many of its records were read, so that a pipeline goes on at any record; the records before it in the block are skipped.
// The sync marker in front of the position must be that of the file, or the file was replaced. Record.Seq counts the records of a file, from 1 on.
//
// # Damage
//
// A block that can't be unpacked (a checksum of snappy or zstandard, data of deflate that makes no sense, more data than Limits allow) is rejected as one record, and reading goes
// on with the next. Where not even the end of a block can be found, because its size is damaged or no sync marker follows, reading goes on behind the next sync marker;
// where there is none, the rest of the file is rejected. So is a file that ends within a block, and is read on from there when it is completed; and one whose header
// is damaged. A datum that can't be decoded, or loses something (see package avro), is rejected alone if its end is known, and otherwise with the rest of its block.
//
// Null and deflate have no checksum: damage there may also be other values, as in any file without one. What a file says of itself never takes more memory than Limits.
//
// # Writing
//
// A block is as large as BufferBytes, 256 KiB by default, before it is packed; and it is ended whenever the sink commits or flushes. So frequent commits of few records make small blocks, which
// take more room and time to read. A file has one sync marker, random, and one schema, the codec's. A file that is continued keeps its marker, its Compression and
// Meta; if its schema is another than the codec's, that is an error: give the new schema a new file, or write parts, of which each has one schema.
//
// What a crash has left of a block is taken back, and readers that don't know the sidecar see whole blocks, though more of them than count: see package file.
//
// A record may have up to a quarter of a block's limit, 16 MiB by default; a larger one is poison. To read one of more than 1 MiB, File.MaxRecordBytes must be set.
//
// # Following
//
// A file that grows is followed block by block. A block whose size is damaged shows only when the file has grown by so much, or is rotated away.
package avrofile
