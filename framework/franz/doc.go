// Package franz makes Kafka a weaver.Framework, by the client franz-go (github.com/twmb/franz-go). It needs brokers of
// Kafka 2.5 or newer, or what speaks their protocol.
//
//	fw := franz.New("localhost:9092")
//	defer fw.Close()
//	err := fw.CreateStream(ctx, weaver.Stream{Name: "orders", Partitions: 12})
//	err = weaver.Run(ctx,
//		weaver.NewPipeline(orders, encode, fw.Produce("orders")),
//		weaver.NewPipeline(fw.Consume("orders", "billing"), bill, invoices),
//	)
//
// # What is promised
//
// A [Consumer] is at-least-once, and exactly-once with a sink that is a weaver.Checkpointer. A [Producer] is
// at-least-once: idempotent while a writer lives, but a writer that is opened again doesn't know what its predecessor
// had sent. A [Transactional] is exactly-once for any source that can be read again: records and the position behind
// them are one transaction of Kafka's, and readers with isolation.level=read_committed, as a Consumer is, see each
// record once.
//
// Key, value, headers and time are kept, the time in milliseconds; a nil key stays nil and an empty one empty. A null
// value is a Delete, and a Delete is written as one; every other record has a value, if an empty one. The operations
// Insert and Update come back as Upsert: Kafka has no place for them. Records with a key go to the partition that
// the Java client would choose (murmur2), those without stick to one for a batch.
//
// # Groups
//
// A Splits session is a member of its group, cooperative-sticky unless Consumer.NextGen is set. A partition that the
// group takes away is drained, saved, acknowledged and closed before the group hears that it is free; meanwhile
// heartbeats go on and the other partitions are read. Acknowledging commits offsets, of all partitions in one request
// at a time. What is acknowledged for a partition that has moved is dropped. A group can't mix cooperative members with
// eager ones, such as those of package kafka or of Java with the range assignor.
//
// # Memory
//
// A session holds at most Consumer.MaxQueued of fetched data, as compressed on the wire, plus a record batch for each
// partition; partitions whose reader is slow aren't fetched until they have room, the others are. Values point into
// what was fetched (or decompressed), which the garbage collector frees.
package franz
