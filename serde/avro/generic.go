package avro

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/linkedin/goavro/v2"
	"github.com/twmb/avro"

	"github.com/bohica-labs/dataweaver/serde"
)

// Generic is a serde.Codec for one Avro datum a record, without a header, and values of no type of their own, in the forms of linkedin/goavro: see
// the package's comment for them. NewGeneric makes one; its fields may be set before it is used, and not afterwards.
//
// Its methods are safe for concurrent use. They go over the data before it is decoded, and over what can be inexact before it is encoded.
type Generic struct {
	// MaxBytes is how long the data of one Decode may be. Longer data is an error. Default: 64 MiB.
	MaxBytes int
	// MaxItems is how many elements the arrays and maps of one datum may have in all. More are an error. Default: 2^20.
	MaxItems int

	schema *schema
	writer *schema
	codec  *goavro.Codec
	wire   *avro.Schema // reads writer's data as schema's; nil: it is the same
	lossy  map[*node]int
}

var _ serde.Codec[any] = (*Generic)(nil)

// NewGeneric returns a codec for a schema, which is JSON. References are the schemas of types that it names and doesn't define, each after those that it
// names itself. A schema that isn't valid is an error that says where.
func NewGeneric(schemaText string, references ...string) (*Generic, error) {
	s, err := parseGeneric(schemaText, references)
	if err != nil {
		return nil, err
	}
	text, err := forGoavro(s.text)
	if err != nil {
		return nil, fmt.Errorf("avro: schema: %w", err)
	}
	codec, err := goavro.NewCodec(text)
	if err != nil {
		return nil, fmt.Errorf("avro: schema: %w", err)
	}
	return &Generic{schema: s, writer: s, codec: codec}, nil
}

// forGoavro returns the text of a schema without defaults, of which goavro alters some (see Append), and with a scale for every decimal, as it panics
// where that is left out of two.
func forGoavro(text string) (string, error) {
	var s any
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return "", err
	}
	var change func(s any)
	change = func(s any) {
		switch s := s.(type) {
		case map[string]any:
			delete(s, "default")
			if _, has := s["scale"]; s["logicalType"] == "decimal" && !has {
				s["scale"] = 0
			}
			for _, inside := range s {
				change(inside)
			}
		case []any:
			for _, inside := range s {
				change(inside)
			}
		}
	}
	change(s)
	changed, err := json.Marshal(s)
	return string(changed), err
}

// parseGeneric is parse without those logical types that goavro doesn't know, so that both libraries make the same of the rest.
func parseGeneric(text string, references []string) (*schema, error) {
	s, err := parse(text, references)
	if err != nil {
		return nil, err
	}
	top := s.compiled.Root()
	edit(top, func(n *avro.SchemaNode) {
		if !means(n) || !goavroKnows(n.LogicalType) {
			n.LogicalType, n.Precision, n.Scale = "", 0, 0
		}
		delete(n.Props, "logicalType")
		for i := range n.Fields {
			delete(n.Fields[i].Props, "logicalType") // goavro would take it for the type's, where it is already
		}
	})
	plain, err := top.Schema()
	if err != nil {
		return nil, fmt.Errorf("avro: schema: %w", err)
	}
	return newSchema(plain)
}

// goavroKnows reports whether goavro has a form of its own for a logical type.
func goavroKnows(logical string) bool {
	switch logical {
	case "date", "time-millis", "time-micros", "timestamp-millis", "timestamp-micros", "decimal":
		return true
	}
	return false
}

// edit calls change for n and all that is in it.
func edit(n *avro.SchemaNode, change func(*avro.SchemaNode)) {
	change(n)
	for i := range n.Fields {
		edit(&n.Fields[i].Type, change)
	}
	for i := range n.Branches {
		edit(&n.Branches[i], change)
	}
	if n.Items != nil {
		edit(n.Items, change)
	}
	if n.Values != nil {
		edit(n.Values, change)
	}
}

// WithWriter returns a codec that decodes data that was written with another schema, as the specification resolves the two; see Codec.WithWriter. goavro
// can't do that, so where the schemas differ the library for types does it, in goavro's forms.
func (g *Generic) WithWriter(schemaText string, references ...string) (*Generic, error) {
	writer, err := parseGeneric(schemaText, references)
	if err != nil {
		return nil, err
	}
	wire, lossy, err := resolve(writer, g.schema)
	if err != nil {
		return nil, err
	}
	other := *g
	other.writer, other.wire, other.lossy = writer, wire, lossy
	if wire == g.schema.compiled && bytes.Equal(writer.compiled.Canonical(), g.schema.compiled.Canonical()) {
		other.wire = nil
	}
	return &other, nil
}

// Schema returns the text of the schema that g appends by, with everything it refers to. Logical types that goavro has no form for are left out.
func (g *Generic) Schema() string { return g.schema.text }

// Append implements serde.Codec. A record may lack fields that have a default.
//
// What goavro refuses although the schema allows it, such as those and a decimal of zero in a fixed, the library for types writes.
func (g *Generic) Append(dst []byte, v any) ([]byte, error) {
	if err := g.schema.root.exactly(v, 0); err != nil {
		return dst, placedAt(err)
	}
	out, err := g.codec.BinaryFromNative(dst, v)
	if err == nil {
		return out, nil
	}
	if out, other := g.schema.compiled.AppendEncode(dst, v); other == nil {
		return out, nil
	}
	return dst, fmt.Errorf("avro: %w", err)
}

// Decode implements serde.Codec.
func (g *Generic) Decode(data []byte, v *any) error {
	if most := orDefault(g.MaxBytes, defaultMaxBytes); len(data) > most {
		return tooLong(len(data), most)
	}
	rest, err := g.DecodeNext(data, v)
	if err == nil && len(rest) > 0 {
		err = behind(len(rest))
	}
	return err
}

// DecodeNext is Decode for data with more behind the datum, such as the block of a container, and returns that. MaxBytes doesn't count.
func (g *Generic) DecodeNext(data []byte, v *any) ([]byte, error) {
	*v = nil
	rest, err := g.Skip(data) // goavro trusts counts, and recurses without end
	if err != nil {
		return nil, err
	}
	datum := data[:len(data)-len(rest)]
	if g.wire != nil {
		_, err = g.wire.Decode(datum, v, avro.TaggedUnions(), avro.TagLogicalTypes())
		return rest, err
	}
	if g.writer.root.views {
		datum = bytes.Clone(datum)
	}
	*v, _, err = g.codec.NativeFromBinary(datum)
	if err != nil {
		return nil, fmt.Errorf("avro: %w", err)
	}
	return rest, nil
}

// Skip returns what is behind the datum that data begins with. It makes no value of it, so it is several times as fast as DecodeNext, and finds
// whatever the format forbids.
func (g *Generic) Skip(data []byte) ([]byte, error) {
	return g.writer.skip(data, orDefault(g.MaxItems, defaultMaxItems), g.lossy)
}
