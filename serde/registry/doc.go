// Package registry has the serde codecs for data whose schemas are in a schema registry: Confluent's, or one that speaks its REST API and framing, such as
// Apicurio, Karapace or Redpanda.
//
//	client := registry.New("http://registry:8081")
//	schema, err := avro.New[Order](orderSchema)
//	orders := registry.Avro(client, schema)
//	p := weaver.NewPipeline(fw.Consume("orders", "billing"), weaver.Then(serde.Decode(orders), weaver.Map(bill)), sink)
//
// To write, a codec has to know which subject its schema is in:
//
//	invoices := registry.Protobuf(client, protobuf.Codec[*billing.Invoice]{})
//	invoices.Subject = registry.TopicName("invoices")
//
// # On the wire
//
// A value has a header in front of it: a byte 0 and the id of the schema that it was written with, in four bytes. With [Protobuf] it also says which message
// of that schema it is. [JSON] is plain JSON behind the header; it is not validated against its schema. Ids in a header of the record, as some newer
// serializers write them, are not read.
//
// # What is which error
//
//   - The registry is out: it doesn't answer within Timeout, the connection breaks, it answers 5xx or 429. The codecs are serde.Remote, so the lane waits as the
//     pipeline's Retry says, and nothing is dead-lettered. That holds in serde.Decode, Encode, Source and Sink, and in File.Codec of
//     package connectors/file. Schemas that were met before need no registry.
//   - Poison, of one record: no header, or half of one, an id that the registry doesn't have, a schema in another language, one that can't be used or isn't
//     compatible with the reader's, and of course a payload that is damaged. An id that is newer than what a replica of the registry has is poison too.
//   - Fatal: wrong credentials, an address at which there is no registry, and when writing a schema that isn't registered (unless AutoRegister is set), or that the
//     registry refuses.
//
// # Schemas that change
//
// Data is read by the reader's schema: the one that T was made for. What was written by another one is read too if the two are compatible; [Drift] is for
// those who would rather stop, or see such records among their dead letters:
//
//	                        Accept   Stop    DeadLetter
//	the same                read     read    read
//	differs, is compatible  read     fatal   poison
//	is not compatible       poison   fatal   poison
//
// For Avro and Protobuf, packages serde/avro and serde/protobuf say what is compatible. For JSON that isn't known, so everything counts as compatible.
//
// # Secrets
//
// Passwords and tokens are in no error, not even where the registry's answer repeats them, and nothing is logged. They are sent to the given URLs only:
// redirects are not followed.
package registry
