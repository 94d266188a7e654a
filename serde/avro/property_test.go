package avro_test

import (
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/linkedin/goavro/v2"
	"github.com/stretchr/testify/require"
	twmb "github.com/twmb/avro"

	"github.com/bohica-labs/dataweaver/serde/avro"
)

// random makes schemas, and values of them in goavro's forms.
type random struct {
	*rand.Rand
	names int
}

func (r *random) name(prefix string) string {
	r.names++
	return fmt.Sprintf("%s%d", prefix, r.names)
}

// made is a schema and how a value of it is made.
type made struct {
	schema any
	name   string // as a branch of a union
	value  func() any
}

func (r *random) leaf() made {
	named := func(k string, v func() any) made { return made{k, k, v} }
	marked := func(base, l string, v func() any) made {
		return made{map[string]any{"type": base, "logicalType": l}, base + "." + l, v}
	}
	switch r.IntN(17) {
	case 0:
		return named("null", func() any { return nil })
	case 1:
		return named("boolean", func() any { return r.IntN(2) == 1 })
	case 2:
		return named("int", func() any { return int32(r.Uint32()) >> r.IntN(32) })
	case 3:
		return named("long", func() any { return int64(r.Uint64()) >> r.IntN(64) })
	case 4:
		return named("float", func() any { return math.Float32frombits(r.Uint32() &^ (1 << 23)) })
	case 5:
		return named("double", func() any { return math.Float64frombits(r.Uint64() &^ (1 << 52)) })
	case 6:
		return named("string", func() any { return r.text() })
	case 7:
		return named("bytes", func() any { return []byte(r.text()) })
	case 8:
		name, size := r.name("F"), 1+r.IntN(9)
		return made{map[string]any{"type": "fixed", "name": name, "size": size}, name, func() any {
			b := make([]byte, size)
			for i := range b {
				b[i] = byte(r.Uint32())
			}
			return b
		}}
	case 9:
		name := r.name("E")
		return made{map[string]any{"type": "enum", "name": name, "symbols": []string{"A", "B", "C"}}, name, func() any { return string(rune('A' + r.IntN(3))) }}
	case 10:
		p := 1 + r.IntN(30)
		scale := r.IntN(p + 1)
		return made{map[string]any{"type": "bytes", "logicalType": "decimal", "precision": p, "scale": scale}, "bytes.decimal", func() any { return r.decimal(p, scale) }}
	case 11:
		name, p := r.name("D"), 1+r.IntN(18)
		scale := r.IntN(p + 1)
		return made{map[string]any{"type": "fixed", "name": name, "size": 8, "logicalType": "decimal", "precision": p, "scale": scale}, name, func() any { return r.decimal(p, scale) }}
	case 12:
		return marked("long", "timestamp-millis", func() any { return time.UnixMilli(r.Int64N(1<<42) - 1<<41).UTC() })
	case 13:
		return marked("long", "timestamp-micros", func() any { return time.UnixMicro(r.Int64N(1<<52) - 1<<51).UTC() })
	case 14:
		return marked("int", "date", func() any { return time.Unix(86400*(r.Int64N(100000)-50000), 0).UTC() })
	case 15:
		return marked("int", "time-millis", func() any { return time.Duration(r.IntN(86400000)) * time.Millisecond })
	}
	return marked("long", "time-micros", func() any { return time.Duration(r.Int64N(86400000000)) * time.Microsecond })
}

func (r *random) text() string {
	b := make([]rune, r.IntN(12))
	for i := range b {
		b[i] = rune(r.IntN(0x300))
	}
	return string(b)
}

func (r *random) decimal(precision, scale int) any {
	most := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(1+r.IntN(precision))), nil)
	i := new(big.Int).Rem(new(big.Int).SetUint64(r.Uint64()), most)
	if r.IntN(2) == 0 {
		i.Neg(i)
	}
	return new(big.Rat).SetFrac(i, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(scale)), nil))
}

func (r *random) schema(depth int) made {
	if depth == 0 || r.IntN(3) == 0 {
		return r.leaf()
	}
	switch r.IntN(4) {
	case 0:
		inside := r.schema(depth - 1)
		return made{map[string]any{"type": "array", "items": inside.schema}, "array", func() any {
			list := make([]any, r.IntN(4))
			for i := range list {
				list[i] = inside.value()
			}
			return list
		}}
	case 1:
		inside := r.schema(depth - 1)
		return made{map[string]any{"type": "map", "values": inside.schema}, "map", func() any {
			m := map[string]any{}
			if r.IntN(3) > 0 {
				m[r.text()] = inside.value() // one, as Go maps have no order
			}
			return m
		}}
	case 2:
		branches := []made{{"null", "null", func() any { return nil }}}
		schemas := []any{"null"}
		kinds := map[string]bool{"null": true}
		for range 1 + r.IntN(3) {
			b := r.schema(depth - 1)
			if _, isUnion := b.schema.([]any); isUnion || kinds[baseOf(b.schema)] {
				continue
			}
			kinds[baseOf(b.schema)] = true
			branches, schemas = append(branches, b), append(schemas, b.schema)
		}
		return made{schemas, "", func() any {
			b := branches[r.IntN(len(branches))]
			if v := b.value(); v != nil {
				return map[string]any{b.name: v}
			}
			return nil
		}}
	}
	name := r.name("R")
	var list []any
	inside := map[string]made{}
	for range r.IntN(5) {
		m := r.schema(depth - 1)
		field := r.name("f")
		inside[field] = m
		list = append(list, map[string]any{"name": field, "type": m.schema})
	}
	if list == nil {
		list = []any{}
	}
	return made{map[string]any{"type": "record", "name": name, "fields": list}, name, func() any {
		v := map[string]any{}
		for field, m := range inside {
			v[field] = m.value()
		}
		return v
	}}
}

// baseOf returns the type of a schema: a union has each unnamed type once.
func baseOf(schema any) string {
	switch s := schema.(type) {
	case string:
		return s
	case map[string]any:
		if name, ok := s["name"].(string); ok {
			return name
		}
		return s["type"].(string)
	}
	return ""
}

// Random values of random schemas are the same for goavro, for the library for types, and for both codecs, in both directions and between them.
func TestRandomSchemas(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	r := &random{Rand: rand.New(rand.NewPCG(seed, 1))}
	for i := range 500 {
		m := r.schema(4)
		raw, err := json.Marshal(m.schema)
		require.NoError(t, err)
		schema := string(raw)
		hint := fmt.Sprintf("seed %d, schema %d: %s", seed, i, schema)
		g, err := avro.NewGeneric(schema)
		require.NoError(t, err, hint)
		typed, err := avro.New[any](schema)
		require.NoError(t, err, hint)
		linkedin, err := goavro.NewCodec(schema)
		require.NoError(t, err, hint)
		lib, err := twmb.Parse(schema)
		require.NoError(t, err, hint)
		resolved, err := g.WithWriter(schema)
		require.NoError(t, err, hint)
		for range 5 {
			v := m.value()
			data, err := g.Append(nil, v)
			require.NoError(t, err, "%s\n%#v", hint, v)
			if theirs, err := linkedin.BinaryFromNative(nil, v); err == nil {
				require.Equal(t, theirs, data, hint)
			}
			back, rest, err := linkedin.NativeFromBinary(data)
			require.NoError(t, err, hint)
			require.Empty(t, rest)
			require.Equal(t, printable(v), printable(back), hint)

			for _, c := range []*avro.Generic{g, resolved} {
				var own any
				require.NoError(t, c.Decode(data, &own), hint)
				require.Equal(t, printable(v), printable(own), hint)
			}
			var loose, theirs any
			require.NoError(t, typed.Decode(data, &loose), hint)
			_, err = lib.Decode(data, &theirs, twmb.TaggedUnions())
			require.NoError(t, err, hint)
			require.Equal(t, printable(theirs), printable(loose), hint)
			again, err := typed.Append(nil, loose)
			require.NoError(t, err, "%s\n%#v", hint, loose)
			var twice any
			require.NoError(t, typed.Decode(again, &twice), hint)
			require.Equal(t, printable(loose), printable(twice), hint)
			for n := range data {
				require.Error(t, g.Decode(data[:n], new(any)), hint)
				require.Error(t, typed.Decode(data[:n], new(any)), hint)
			}
		}
	}
}

// printable is a value as a text that tells all of it: NaN is not equal to itself, and big.Rat has several forms of one number.
func printable(v any) string {
	switch v := v.(type) {
	case map[string]any:
		return fmt.Sprint(mapped(v))
	case []any:
		texts := make([]string, len(v))
		for i := range v {
			texts[i] = printable(v[i])
		}
		return fmt.Sprint(texts)
	case float64:
		return fmt.Sprintf("double %x", math.Float64bits(v))
	case float32:
		return fmt.Sprintf("float %x", math.Float32bits(v))
	case *big.Rat:
		return "decimal " + v.RatString()
	}
	return fmt.Sprintf("%T %v", v, v)
}

func mapped(v map[string]any) map[string]string {
	texts := map[string]string{}
	for k, inside := range v {
		texts[k] = printable(inside)
	}
	return texts
}

// Whether two random schemas are compatible is what the library says, other than of logical types.
func TestRandomEvolution(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	r := &random{Rand: rand.New(rand.NewPCG(seed, 2))}
	kinds := []any{
		"null", "boolean", "int", "long", "float", "double", "string", "bytes",
		map[string]any{"type": "fixed", "name": "F", "size": 2},
		map[string]any{"type": "fixed", "name": "F", "size": 3},
		map[string]any{"type": "enum", "name": "E", "symbols": []string{"A", "B"}},
		map[string]any{"type": "enum", "name": "E", "symbols": []string{"B"}},
		map[string]any{"type": "enum", "name": "E", "symbols": []string{"A"}, "default": "A"},
		map[string]any{"type": "array", "items": "int"},
		map[string]any{"type": "array", "items": "long"},
		map[string]any{"type": "map", "values": "int"},
	}
	pick := func() any { return kinds[r.IntN(len(kinds))] }
	oneOrUnion := func() any {
		if r.IntN(2) == 0 {
			return pick()
		}
		var union []any
		seen := map[string]bool{}
		for range 1 + r.IntN(4) {
			if k := pick(); !seen[baseOf(k)] {
				seen[baseOf(k)] = true
				union = append(union, k)
			}
		}
		return union
	}
	record := func() string {
		list := []any{}
		for i := range 3 {
			name := string(rune('a' + i))
			if r.IntN(4) == 0 {
				continue
			}
			field := map[string]any{"name": name, "type": oneOrUnion()}
			if r.IntN(4) == 0 {
				field["type"], field["default"] = "int", 5
			}
			if r.IntN(6) == 0 {
				field["aliases"] = []string{string(rune('a' + r.IntN(4)))}
			}
			if len(list) > 0 && r.IntN(8) == 0 {
				field["name"] = "d"
			}
			list = append(list, field)
			if field["name"] == "d" {
				break
			}
		}
		raw, err := json.Marshal(map[string]any{"type": "record", "name": "R", "fields": list})
		require.NoError(t, err)
		return string(raw)
	}
	both := 0
	for range 2000 {
		writer, reader := record(), record()
		w, err := twmb.Parse(writer)
		if err != nil {
			continue // names that F or E are defined twice by
		}
		rd, err := twmb.Parse(reader)
		if err != nil {
			continue
		}
		want := twmb.CheckCompatibility(w, rd) == nil
		changes, err := avro.Compare(writer, reader)
		require.NoError(t, err)
		got, strict := true, false
		for _, c := range changes {
			got = got && !c.Breaks
			strict = strict || c.Breaks && c.Kind == avro.MissingField
		}
		if want && strict {
			continue // the library takes null for the default of what may be null; the specification doesn't
		}
		require.Equal(t, want, got, "seed %d\nwriter %s\nreader %s\n%v\n%v", seed, writer, reader, changes, twmb.CheckCompatibility(w, rd))
		require.Equal(t, want, avro.Compatible(writer, reader) == nil)
		if want {
			both++
		}
	}
	require.Greater(t, both, 50)
}
