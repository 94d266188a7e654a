// Package json is the serde codec for JSON, by default with encoding/json.
//
// # Exact, or an error
//
// A value is read and written as it is, or its record is poison. Nothing is altered on the way without a word, as encoding/json alone would do. These are
// errors:
//
//   - A name that an object has twice, be it for a field of a struct, for a map or for an interface. A name is matched to a field whatever its upper
//     and lower case, as encoding/json does it, so two names that mean one field are such a case.
//   - Bytes that are no UTF-8, in what is read and in what is written, and an escape that is half of a surrogate pair.
//   - A number that lacks digits in the float that is to take it: written out to as many digits as it has, the float would be another number. So
//     9007199254740993 is an error for a float64, as is 1e-400, and 0.1 is none. Any number passes that a program has printed of such a float, to however many
//     digits. Where more is needed: json.Number, *big.Int, or a type that reads itself.
//   - Integers that are too large or have a fraction or an exponent, and floats that are too large. For an interface, a number is a json.Number, which is
//     its text.
//   - NaN and the infinities, which JSON has no words for.
//   - An array that is longer or shorter than the Go array it is for, and a key for a map with integers as keys that isn't written as an integer is ("01").
//   - Anything behind the value, and more than 10,000 levels.
//
// What has no place in T is skipped, and what reads or writes itself (json.Unmarshaler, json.Marshaler) is left to itself; json.RawMessage is kept as it
// is. As in encoding/json, null leaves a zero value, except where T has a pointer, and the integer -0 is 0.
//
// For a struct, checking takes about a tenth of the time that decoding takes, a quarter where most of a document has no place in it, and no allocations.
//
// # Rows
//
// A row.Row is read and written as row.JSONDecoder and its AppendJSON say, several times as fast as a map: each member of the object is a column. Rows of the
// same names in the same order mostly share their Columns, also those that different goroutines read.
//
// # A faster library
//
// It is plugged in by its two functions:
//
//	json.Codec[Order]{Marshal: sonic.Marshal, Unmarshal: sonic.Unmarshal}
//
// Then none of the above is checked: what is altered is up to the library, and most of them alter what encoding/json does, or more.
package json
