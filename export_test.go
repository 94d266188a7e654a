package weaver

// DecodeEnvelope lets the simulated world look into what it is given to keep.
var DecodeEnvelope = decodeEnvelope
