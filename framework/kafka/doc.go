// Package kafka is Apache Kafka as a weaver.Framework, on github.com/segmentio/kafka-go. Brokers from 2.3 on are
// supported; tests run against 4.2.
//
//	fw := kafka.New("broker-1:9092", "broker-2:9092")
//	fw.TLS, fw.SASL = &tls.Config{}, kafka.ScramSHA512(user, password)
//	defer fw.Close()
//	err := fw.CreateStream(ctx, weaver.Stream{Name: "orders", Partitions: 12, Replication: 3})
//	err = weaver.NewPipeline(fw.Consume("orders", "billing"), bill, fw.Produce("invoices")).Run(ctx)
//
// # What is promised
//
// Reading is at-least-once, and exactly-once with a sink that is a weaver.Checkpointer. The group's committed offset is the
// checkpoint: it is moved only when all that a record became is durable. A partition that moves to another member is
// drained, committed and closed before; what comes too late for that is dropped, and the next owner reads it again.
// Writing is at-least-once: acks=all, order kept per key, and after an error that leaves it open what was written,
// such as a reply that was lost, a batch is written again. Framework franz writes idempotently and in transactions.
//
// Key, value, headers and time (in milliseconds) are kept; a nil key stays nil and an empty one empty. A Delete has a null
// value, and a null value is a Delete. Whether a record is an Insert or an Update isn't kept. A record without Time gets
// the time of its Write. Seq is the offset.
//
// # Groups
//
// A session of Splits is a member; partitions are assigned by range or round-robin as its leader decides (Consumer.Balancers),
// each rebalance anew for all members: kafka-go knows neither cooperative rebalancing nor static members. When a
// rebalance begins, what is in flight is finished within three quarters of SessionTimeout, since heartbeats pause until
// the member is back. Where a partition has no committed offset, Consumer.Start says where to begin, and that is
// committed at once.
//
// # What differs from Java's consumer
//
// Reading is read_committed unless asked otherwise. An offset out of range is an error unless Consumer.OutOfRange says
// where to go on; there is no silent reset. Nothing is committed by a timer behind the application's back. A batch that
// is damaged is fetched once more and then rejected like any poison record: the pipeline's policy decides whether to go
// on. A topic that is deleted and made anew under the same name isn't noticed unless its offsets are out of range.
//
// # Cost
//
// A partition that is read has a connection of its own, one request ahead, and 1 MiB for a response (Consumer.MaxBytes)
// beside what is in flight; nothing is allocated for a record. For hundreds of partitions a process framework franz,
// which fetches many in one request, costs less.
package kafka
