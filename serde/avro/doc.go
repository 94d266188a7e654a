// Package avro is the serde codec for Avro: data as specification 1.12 has it, without a header in front, and object container files.
//
//	codec, err := avro.New[Order](schema)
//	old, err := codec.WithWriter(schemaTheDataWasWrittenWith)
//
// [Codec] is for Go types. It is built on github.com/twmb/avro, whose struct tags (avro:"name", avro:"-", avro:",inline", avro:",omitzero") it takes.
// [Generic] is for values without a type, in the forms of github.com/linkedin/goavro: map[string]any for records and maps, []any for arrays, and nil or
// map[string]any{"branch": value} for unions. goavro has no schema resolution; where a Generic has another writer's schema the first library decodes, in the same
// forms.
//
// # Go types
//
// New holds T against the schema, and refuses what would lose something, with the path of it: a field on one side only, a type that holds less (float32 for a
// double, a plain string for what may be null), a type that is rounded to (float64 or a string for a decimal, an integer for a double). What may be null is a
// pointer, a slice or a map; a plain type is allowed with omitzero, which makes zero and null the same. A union of more is an any, which holds
// nil or map[string]any{"branch": value} as above, or one type that takes all that comes.
//
//	boolean             bool
//	int, long           any integer, or json.Number; one that is too small for a value is an error when it comes
//	float               float32, or float64, of which a value that no float is equal to is an error
//	double              float64
//	string, enum        string, []byte (not for an enum), or what marshals itself as a text; an integer for the index of a symbol
//	bytes, fixed        []byte, string, or [n]byte for a fixed
//	array, map, record  slice or array, map with strings as keys, struct or map[string]any
//	decimal             *big.Rat
//	date, timestamp-*, local-timestamp-*   time.Time, or an integer for the count
//	time-millis, -micros                   time.Duration since midnight, or an integer for the count
//	uuid                string, or [16]byte
//	duration            [12]byte, or Duration of the library
//
// # Exact, or an error
//
// What is decoded is what was encoded, or there is an error:
//
//   - A decimal with more decimals or digits than its schema has, in what is written and in what is read.
//   - A time that is finer than the unit of its schema, or out of range. A date is a time.Time at midnight in UTC. A local timestamp keeps what the clock shows, and not
//     the zone. What is read is in UTC.
//   - An integer that is promoted to a float of the reader's schema and has no equal there.
//   - Logical types of writer and reader that don't mean the same, such as timestamp-millis and timestamp-micros: the schemas are incompatible, although the
//     specification ignores it.
//   - Anything behind the datum. DecodeNext returns it instead.
//
// NaN with its bits, infinities, -0 and all 64 bits of a long are kept. A string is kept as it is, be it UTF-8 or not. A boolean that is neither 0 nor 1, a map that has a name
// twice and a block of items that isn't as long as it says are errors; where the library decodes for a Codec (see below), they are false, the last value, and not
// looked at.
//
// # Who does what
//
// Plain types are read and written by this package, where the data's schema is T's: structs, slices, maps and pointers of booleans, numbers, strings,
// bytes, enums, decimals and times. One field of any other kind (any, a union of more, a uuid, a local timestamp, a text marshaler, an omitzero) and the library
// reads and writes all of T, with the checks above, in two to four times the time. So it does where schemas have to be resolved.
//
// # Hostile data
//
// Truncated or damaged data is an error, or other values. Lengths are held against the data before memory is taken for them, so that a Codec takes
// memory in proportion to len(data) and the size of T, and elements that take no bytes are counted (MaxItems). More than 1000 levels are an error. A Generic
// goes over all data itself before goavro sees it, because goavro allocates what a count declares and recurses without an end. Neither library panics, as far
// as is known, and nothing is recovered from. Schemas count as trusted up to the cost of parsing them, and are bounded at 16 MiB.
//
// # Containers
//
// [BlockReader] reads the blocks of an object container file, also from an offset in the midst of it, and [BlockWriter] makes them; Header and Compression are
// the parts that they are made of. A record's position is the offset of its block and its index there:
//
//	r, err := avro.NewBlockReaderAt(file, offset, avro.Limits{})
//	reads, err := codec.WithWriter(r.Header().Schema)
//	block, err := r.Next()
//	err = block.Records(index, reads.Skip, func(index int, data []byte) ([]byte, error) {
//		rest, err := reads.DecodeNext(data, &order)
//		...
//	})
package avro
