// Package checkpoint keeps small values durably under a key, each with a version, so that whoever saves learns whether somebody else has saved since:
// the positions that pipelines resume from.
//
// [Store] is the contract. [Memory] keeps values as long as the process lives. [File] keeps them in a folder and survives a loss of power at any moment: a
// value whose Save has returned is there afterwards, whole, or a later one is. A damaged file is never passed over in silence: Load returns a
// [*CorruptError] that names it and says how to go back to the value before.
package checkpoint
