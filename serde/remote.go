package serde

import (
	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/retry"
)

// Remote is a Codec that may have to ask a server before it can read or write a value, as those of package serde/registry do. Where Remote returns true, an
// error that the codec marks transient or throttled is not about the value: the server is out. Then [Decode], [Encode], [Source] and [Sink], and a File of
// package connectors/file with that Codec, fail no record.
// The lane waits and tries again, for as long as the pipeline's Retry says, and goes on where it was.
//
// The price is that what follows [Decode] in a weaver.Then is not run in the same pass.
//
// A Codec that wraps a Remote one has to be Remote itself, or have an Unwrap() any that returns it.
type Remote interface{ Remote() bool }

// Outage reports whether err, of the codec c, says that what c needs is out: c is [Remote], and marks err transient or throttled. Then err is about no record. It is for
// whoever calls a Codec: a Source returns such an error from Read, and a Sink one from Write that has written nothing.
func Outage(c any, err error) bool {
	if err == nil || !isRemote(c) {
		return false
	}
	class := retry.ClassOf(err)
	return class == retry.ClassTransient || class == retry.ClassThrottled
}

// isRemote reports whether errors of c may be an outage.
func isRemote(c any) bool {
	r, ok := weaver.As[Remote](c)
	return ok && r.Remote()
}
