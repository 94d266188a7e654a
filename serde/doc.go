// Package serde gives types to bytes: a [Codec] says how one value is written, and the adapters here put it where a pipeline meets a system that only knows
// bytes, such as a stream of a weaver.Framework.
//
// As a step of a pipeline, which is the fast way (a step that follows is run in the same pass, and nothing is copied):
//
//	weaver.NewPipeline(fw.Consume("orders", "billing"), weaver.Then(serde.Decode(codec), weaver.Map(bill)), sink)
//
// As a source or a sink of values, where the types have to match, for instance to merge with another source or to write dead letters:
//
//	weaver.Copy(serde.Source(fw.Consume("orders", "billing"), codec), sink)
//	p.DeadLetter = serde.Sink(fw.Produce("rejected"), json.Codec[weaver.Rejected[Order]]{})
//
// Either way a record whose bytes make no sense is poison and nothing else: it is dead-lettered, or stops the pipeline, and its error, an [*Error], says
// which record it was and shows the beginning of it.
//
// Codecs are in the packages below: serde/json, serde/avro, serde/protobuf, and serde/registry for the latter with a schema registry.
package serde
