// Package memory is a message system inside the process: a weaver.Framework with named, partitioned, retained streams
// that consumer groups share, rebalance and replay. An application can be developed and tested as a whole before there
// is a broker, and switches to one by another constructor.
//
//	fw := memory.New()
//	err := fw.CreateStream(ctx, weaver.Stream{Name: "orders", Partitions: 4})
//	err = weaver.Run(ctx,
//		weaver.NewPipeline(orders, encode, fw.Produce("orders")),
//		weaver.NewPipeline(fw.Consume("orders", "billing"), bill, invoices),
//	)
//
// # What is promised
//
// Writing and reading are at-least-once; with a sink that is a weaver.Checkpointer, reading is exactly-once. A record is
// in the stream when Write returns, and gone with the process. Key, operation, headers and time are kept, a nil key
// stays nil and an empty one empty; a Delete has no value. Seq is the record's place in its partition. Records with a
// key go to the partition that the FNV-1a hash of the key names; those without take turns.
//
// # Groups
//
// A session of Splits is a member of its group, and the partitions are shared among the members, as evenly as can be
// and moving as few as can be. A partition that moves is first revoked; its new owner gets it when the old one has
// carried that out, or when RebalanceTimeout is over. What the old one acknowledges after that is dropped. A group
// exists from its first member on, with a position in every partition, and stays without members until RemoveGroup.
//
// # Memory
//
// A stream keeps its records to be read again until it needs the room (MaxBytes). Then those go that all groups have
// consumed, and those older than the stream's Retention, consumed or not: a reader that comes too late is told, by an
// error or as its OutOfRange says. When neither makes room, Write waits until a group acknowledges; when there is no
// group at all that could, it fails with a throttled error that says so. Nothing is dropped silently.
package memory
