package registry_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/sr"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/bohica-labs/dataweaver/retry"
	"github.com/bohica-labs/dataweaver/serde"
	"github.com/bohica-labs/dataweaver/serde/avro"
	"github.com/bohica-labs/dataweaver/serde/protobuf"
	"github.com/bohica-labs/dataweaver/serde/registry"
)

type order struct {
	ID int64 `avro:"id" json:"id"`
}

const (
	orderJSON     = `{"$schema":"http://json-schema.org/draft-07/schema#","title":"Order","type":"object","properties":{"id":{"type":"integer"}}}`
	timestampText = `syntax = "proto3"; package google.protobuf; message Timestamp { int64 seconds = 1; int32 nanos = 2; }`
)

func avroOrder(t testing.TB) *avro.Codec[order] {
	c, err := avro.New[order](orderAvro)
	require.NoError(t, err)
	return c
}

// fixed is a Subject that is always the same.
func fixed(subject string) registry.Subject { return func(string) string { return subject } }

func written[T any](t testing.TB, c serde.Codec[T], v T) []byte {
	t.Helper()
	data, err := c.Append([]byte("before "), v)
	require.NoError(t, err)
	data, ok := bytes.CutPrefix(data, []byte("before "))
	require.True(t, ok)
	return data
}

func read[T any](t testing.TB, c serde.Codec[T], data []byte) T {
	t.Helper()
	var v T
	require.NoError(t, c.Decode(data, &v))
	return v
}

func TestAvro(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.add(t, "other", sr.TypeAvro, `"int"`)
	id := f.add(t, "orders-value", sr.TypeAvro, orderAvro)
	c := registry.Avro(f.client(t), avroOrder(t))
	c.Subject = registry.TopicName("orders")
	data := written(t, c, order{ID: 7})
	require.Equal(t, []byte{0, 0, 0, 0, byte(id), 14}, data)
	require.Equal(t, order{ID: 7}, read(t, c, data))
	require.Equal(t, data, written(t, c, order{ID: 7}))
	require.Equal(t, 1, f.asked("POST /subjects/orders-value"))
	require.Equal(t, 1, f.asked("GET /schemas/ids/2"))

	c = registry.Avro(f.client(t), avroOrder(t))
	c.Subject, c.Latest = registry.TopicName("orders"), true
	require.Equal(t, data, written(t, c, order{ID: 7}))
	f.add(t, "orders-value", sr.TypeAvro, strings.Replace(orderAvro, "]", `,{"name":"x","type":"int","default":1}]`, 1))
	c = registry.Avro(f.client(t), avroOrder(t))
	c.Subject, c.Latest = registry.TopicName("orders"), true
	_, err := c.Append(nil, order{})
	require.ErrorContains(t, err, "schema 3: it is another one than the codec's")
	require.Equal(t, retry.ClassFatal, retry.ClassOf(err))

	type timed struct {
		ID time.Time `avro:"id"`
	}
	at := func(unit string) string {
		return strings.Replace(orderAvro, `"long"`, `{"type":"long","logicalType":"timestamp-`+unit+`"}`, 1)
	}
	millis, err := avro.New[timed](at("millis"))
	require.NoError(t, err)
	f.add(t, "meant-value", sr.TypeAvro, at("micros"))
	m := registry.Avro(f.client(t), millis)
	m.Subject, m.Latest = registry.TopicName("meant"), true
	_, err = m.Append(nil, timed{})
	require.ErrorContains(t, err, "schema 4: it is another one than the codec's")
}

func TestJSON(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.add(t, "Order", sr.TypeJSON, orderJSON)
	c := registry.JSON[order](f.client(t), nil, orderJSON)
	c.Subject = registry.RecordName
	data := written(t, c, order{ID: 7})
	require.Equal(t, "\x00\x00\x00\x00\x01{\"id\":7}", string(data))
	require.Equal(t, order{ID: 7}, read(t, c, data))
	require.ErrorContains(t, c.Decode(data[:5], new(order)), "there is no JSON")

	c = registry.JSON[order](f.client(t), nil, "")
	c.Subject = fixed("Order")
	require.Equal(t, data, written(t, c, order{ID: 7}), "by the latest schema")

	c = registry.JSON[order](f.client(t), nil, "{")
	c.Subject = fixed("Order")
	_, err := c.Append(nil, order{})
	require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
	c = registry.JSON[order](f.client(t), nil, "true")
	c.Subject, c.AutoRegister = fixed("anything"), true
	written(t, c, order{ID: 7})
}

func TestProtobuf(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	id := f.add(t, "times-value", sr.TypeProtobuf, timestampText)
	now := timestamppb.Now()
	payload, err := proto.Marshal(now)
	require.NoError(t, err)
	for name, set := range map[string]func(c *registry.Codec[*timestamppb.Timestamp]){
		"latest":   func(c *registry.Codec[*timestamppb.Timestamp]) {},
		"lookup":   func(c *registry.Codec[*timestamppb.Timestamp]) { c.Schema = timestampText },
		"register": func(c *registry.Codec[*timestamppb.Timestamp]) { c.Schema, c.AutoRegister = timestampText, true },
	} {
		c := registry.Protobuf(f.client(t), protobuf.Codec[*timestamppb.Timestamp]{})
		c.Subject = registry.TopicName("times")
		set(c)
		data := written(t, c, now)
		require.Equal(t, append([]byte{0, 0, 0, 0, byte(id), 0}, payload...), data, name)
		require.True(t, proto.Equal(now, read(t, c, data)), name)
	}

	f.add(t, "nested", sr.TypeProtobuf, `syntax = "proto3"; package google.protobuf; message A { message X {} message Duration { int64 seconds = 1; } } message Timestamp { int64 seconds = 1; int32 nanos = 2; }`)
	c := registry.Protobuf(f.client(t), protobuf.Codec[*timestamppb.Timestamp]{})
	c.Subject = fixed("nested")
	data := written(t, c, now)
	require.Equal(t, append([]byte{0, 0, 0, 0, 2, 2, 2}, payload...), data)
	require.True(t, proto.Equal(now, read(t, c, data)))
	for indexes, want := range map[string]string{
		"\x00":         "the message is a google.protobuf.A by schema 2, and this codec is for google.protobuf.Timestamp",
		"\x04\x00\x02": "the message is a google.protobuf.A.Duration by schema 2",
		"\x04\x00\x04": "there is no message [0 2] in schema 2",
		"\x02\x04":     "there is no message [2] in schema 2",
		"":             "cut short or malformed",
	} {
		v := now
		err := c.Decode([]byte("\x00\x00\x00\x00\x02"+indexes), &v)
		require.ErrorContains(t, err, want)
		require.Equal(t, retry.ClassUnmarked, retry.ClassOf(err), "which is poison")
	}

	c = registry.Protobuf(f.client(t), protobuf.Codec[*timestamppb.Timestamp]{})
	c.Subject, c.AutoRegister = fixed("nested"), true
	_, err = c.Append(nil, now)
	require.ErrorContains(t, err, "set field Schema")
	other := registry.Protobuf(f.client(t), protobuf.Codec[*wrapperspb.StringValue]{})
	other.Subject = fixed("nested")
	_, err = other.Append(nil, wrapperspb.String("x"))
	require.ErrorContains(t, err, "schema 2: there is no message google.protobuf.StringValue in it")
	require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
	narrow := f.add(t, "narrow", sr.TypeProtobuf, strings.Replace(timestampText, "int64", "int32", 1))
	c = registry.Protobuf(f.client(t), protobuf.Codec[*timestamppb.Timestamp]{})
	c.Subject = fixed("narrow")
	_, err = c.Append(nil, now)
	require.ErrorContains(t, err, fmt.Sprintf("schema %d: a google.protobuf.Timestamp as this program has it couldn't be read by it: field seconds (1) is written as int64 and read as int32", narrow))
}

// A schema that imports others: some that everybody has, and one that is registered.
func TestProtobufImports(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.add(t, "common.proto", sr.TypeProtobuf, `syntax = "proto3"; package google.protobuf; import "google/protobuf/any.proto"; message ListValue { Any a = 7; repeated Value values = 1; } message Value { }`)
	text := `syntax = "proto3"; package google.protobuf; import "common.proto"; import "google/protobuf/timestamp.proto"; message Struct { Timestamp t = 50; ListValue l = 51; }`
	c := registry.Protobuf(f.client(t), protobuf.Codec[*structpb.Struct]{})
	c.Subject, c.Schema, c.AutoRegister = fixed("s"), text, true
	c.References = []registry.Reference{{Name: "common.proto", Subject: "common.proto", Version: 1}}
	data := written(t, c, &structpb.Struct{})
	require.Equal(t, []byte{0, 0, 0, 0, 2, 0}, data)
	read(t, c, append(data, 0x9a, 3, 0))

	tagged := f.add(t, "tagged", sr.TypeProtobuf, `syntax = "proto3"; package google.protobuf; import "confluent/meta.proto"; import "confluent/type/decimal.proto";
		message Struct { option (confluent.message_meta).doc = "x"; confluent.type.Decimal d = 50 [(confluent.field_meta) = { tags: "PII" }]; }`)
	read(t, c, []byte{0, 0, 0, 0, byte(tagged), 0})
	deep := f.add(t, "deep", sr.TypeProtobuf, `syntax = "proto3"; `+strings.Repeat("message A {", 2000)+strings.Repeat("}", 2000))
	require.ErrorContains(t, c.Decode([]byte{0, 0, 0, 0, byte(deep), 0}, new(*structpb.Struct)), "nested more than 1000 deep")
	id := f.add(t, "broken", sr.TypeProtobuf, `syntax = "proto3"; import "nowhere.proto"; message X { Y y = 1; }`)
	v := &structpb.Struct{}
	err := c.Decode([]byte{0, 0, 0, 0, byte(id), 0}, &v)
	require.ErrorContains(t, err, "can't be used")
	require.Equal(t, retry.ClassPoison, retry.ClassOf(err))
}

func TestProtobufDynamic(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.add(t, "times-value", sr.TypeProtobuf, timestampText)
	c := registry.Protobuf(f.client(t), protobuf.Codec[*dynamicpb.Message]{Type: dynamicpb.NewMessageType((&timestamppb.Timestamp{}).ProtoReflect().Descriptor())})
	m := read(t, c, []byte{0, 0, 0, 0, 1, 0, 8, 42})
	require.EqualValues(t, 42, m.Get(m.Descriptor().Fields().ByNumber(1)).Int())

	c = registry.Protobuf(f.client(t), protobuf.Codec[*dynamicpb.Message]{})
	require.Equal(t, retry.ClassFatal, retry.ClassOf(c.Decode([]byte{0, 0, 0, 0, 1, 0}, &m)))
	_, err := c.Append(nil, m)
	require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
}

func TestWhatMakesNoSense(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.add(t, "j", sr.TypeJSON, `{"type":"object"}`)
	f.add(t, "a", sr.TypeAvro, orderAvro)
	f.add(t, "broken", sr.TypeAvro, `{"type":"record","name":"X","fields":"none"}`)
	f.add(t, "p", sr.TypeProtobuf, timestampText)
	c := registry.Avro(f.client(t), avroOrder(t))
	for data, want := range map[string]string{
		"":                               "the record is empty",
		"{}":                             "this wasn't written with a schema registry",
		"\x00\x00":                       "cut short",
		"\x00\x00\x00\x00\x63\x00":       "it was written by a schema that is not to be had: schema registry",
		"\x00\xff\xff\xff\xff":           "the schema id is 4294967295",
		"\x00\x00\x00\x00\x01\x00":       "schema 1 is of type JSON, and this codec is for AVRO",
		"\x00\x00\x00\x00\x02":           "written by schema 2: avro: ", // the payload is cut short
		"\x00\x00\x00\x00\x02\x02behind": "written by schema 2: avro: 6 bytes behind",
		"\x00\x00\x00\x00\x03\x00":       "schema 3 can't be used",
		"\x00\x00\x00\x00\x04\x00":       "schema 4 is of type PROTOBUF",
	} {
		var o order
		err := c.Decode([]byte(data), &o)
		require.Error(t, err, "%x", data)
		require.ErrorContains(t, err, want)
		require.Contains(t, []retry.Class{retry.ClassUnmarked, retry.ClassPoison}, retry.ClassOf(err), "%x", data)
	}

	f.fail(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"schema":"x","schemaType":"GRAPHQL\n"}`))
	})
	err := c.Decode([]byte{0, 0, 0, 1, 0}, new(order))
	require.ErrorContains(t, err, "schema 256 is of type GRAPHQL, and")

	for _, fault := range []http.HandlerFunc{status(401, 40101), status(403, 40301), status(404, 0)} {
		f.fail(fault)
		require.Equal(t, retry.ClassFatal, retry.ClassOf(c.Decode([]byte{0, 0, 0, 2, 0}, new(order))))
	}
	for _, fault := range []http.HandlerFunc{status(500, 0), cut} {
		f.fail(fault)
		require.Equal(t, retry.ClassTransient, retry.ClassOf(c.Decode([]byte{0, 0, 0, 2, 0}, new(order))))
	}
	require.NoError(t, c.Decode([]byte{0, 0, 0, 0, 2, 14}, new(order)), "what was met before needs no registry")
}

func TestSubjectsToWrite(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	for want, subject := range map[string]registry.Subject{
		"t-value": registry.TopicName("t"), "t-key": registry.TopicKey("t"), "shop.Order": registry.RecordName, "t-shop.Order": registry.TopicRecordName("t"),
	} {
		c := registry.Avro(f.client(t), avroOrder(t))
		c.Subject = subject
		_, err := c.Append(nil, order{})
		require.ErrorContains(t, err, fmt.Sprintf("the schema of shop.Order is not in subject %q: register it there, or set field AutoRegister", want))
		require.ErrorIs(t, err, registry.ErrNotFound)
		require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
		c = registry.Avro(f.client(t), avroOrder(t))
		c.Subject, c.Latest = subject, true
		_, err = c.Append(nil, order{})
		require.ErrorContains(t, err, fmt.Sprintf("there is no schema for shop.Order to write by: register one in subject %q", want))
		require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
		require.False(t, f.SubjectExists(want))

		c = registry.Avro(f.client(t), avroOrder(t))
		c.Subject, c.AutoRegister = subject, true
		written(t, c, order{})
		require.True(t, f.SubjectExists(want))
	}
	integers, err := avro.New[int](`"int"`)
	require.NoError(t, err)
	c := registry.Avro(f.client(t), integers)
	c.Subject, c.AutoRegister = registry.RecordName, true
	written(t, c, 7)
	require.True(t, f.SubjectExists("int"))
	p := registry.Protobuf(f.client(t), protobuf.Codec[*timestamppb.Timestamp]{})
	p.Subject, p.AutoRegister, p.Schema = registry.TopicRecordName("t"), true, timestampText
	written(t, p, timestamppb.Now())
	require.True(t, f.SubjectExists("t-google.protobuf.Timestamp"))
	j := registry.JSON[order](f.client(t), nil, orderJSON)
	j.Subject, j.AutoRegister = registry.TopicRecordName("t"), true
	written(t, j, order{})
	require.True(t, f.SubjectExists("t-Order"))

	f.fail(status(409, 40901))
	c = registry.Avro(f.client(t), integers)
	c.Subject, c.AutoRegister = registry.RecordName, true
	_, err = c.Append(nil, 7)
	require.ErrorContains(t, err, `registering a schema in subject "int": 409 Conflict (error code 40901): it says so`)
	require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
}

func TestWrongConfiguration(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.add(t, "p", sr.TypeProtobuf, timestampText)
	good := func() *registry.Codec[order] {
		c := registry.Avro(f.client(t), avroOrder(t))
		c.Subject = fixed("s")
		return c
	}
	latest := good()
	latest.Subject, latest.Latest = fixed("p"), true
	both := good()
	both.Latest, both.AutoRegister = true, true
	nowhere := good()
	nowhere.Subject = nil
	empty := good()
	empty.Subject = fixed("")
	drift := good()
	drift.Drift = 77
	for want, c := range map[string]*registry.Codec[order]{
		"the Client is nil":                       registry.Avro(nil, avroOrder(t)),
		"there is no codec":                       registry.Avro[order](f.client(t), nil),
		"field Subject is nil":                    nowhere,
		"fields AutoRegister and Latest are both": both,
		`"" can't be a subject`:                   empty,
		"field Drift is Drift(77)":                drift,
		"schema 1 is of type PROTOBUF":            latest,
	} {
		_, err := c.Append([]byte("kept"), order{})
		require.ErrorContains(t, err, want)
		require.Equal(t, retry.ClassFatal, retry.ClassOf(err), want)
	}
	require.Equal(t, retry.ClassFatal, retry.ClassOf(drift.Decode([]byte{0, 0, 0, 0, 1}, new(order))))

	f.fail(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"id":0}`)) })
	_, err := good().Append(nil, order{})
	require.ErrorContains(t, err, "the schema's id is 0")
	f.fail(status(500, 0))
	_, err = good().Append(nil, order{})
	require.Equal(t, retry.ClassTransient, retry.ClassOf(err))
}

func TestDrift(t *testing.T) {
	t.Parallel()
	avroWith := func(fields string) string {
		return `{"type":"record","name":"Order","namespace":"shop","fields":[` + fields + `]}`
	}
	timestamp := func(fields string) string {
		return `syntax = "proto3"; package google.protobuf; message Timestamp { ` + fields + ` }`
	}
	type outcome int
	const (
		same outcome = iota
		compatible
		incompatible
	)
	type reading struct {
		kind    sr.SchemaType
		text    string
		payload string
		is      outcome
		detail  string
	}
	for name, test := range map[string]reading{
		"avro, the same":             {sr.TypeAvro, orderAvro, "\x0e", same, ""},
		"avro, documented":           {sr.TypeAvro, avroWith(`{"name":"id","type":"long","doc":"x"}`), "\x0e", same, ""},
		"avro, a new field":          {sr.TypeAvro, avroWith(`{"name":"id","type":"long"},{"name":"new","type":"string"}`), "\x0e\x02x", compatible, "new"},
		"avro, a wider type to read": {sr.TypeAvro, avroWith(`{"name":"id","type":"int"}`), "\x0e", compatible, "id"},
		"avro, a removed field":      {sr.TypeAvro, avroWith(`{"name":"other","type":"long"}`), "\x0e", incompatible, "id"},
		"avro, another type":         {sr.TypeAvro, avroWith(`{"name":"id","type":"string"}`), "\x02x", incompatible, "id"},
		"avro, a widened type":       {sr.TypeAvro, avroWith(`{"name":"id","type":"double"}`), "12345678", incompatible, "id"},

		"protobuf, the same":             {sr.TypeProtobuf, timestampText, "\x00\x08\x07", same, ""},
		"protobuf, in other words":       {sr.TypeProtobuf, "// so\n" + timestamp("int32 nanos = 2; int64 seconds = 1;"), "\x00\x08\x07", same, ""},
		"protobuf, a new field":          {sr.TypeProtobuf, timestamp("int64 seconds = 1; int32 nanos = 2; string zone = 3;"), "\x00\x08\x07\x1a\x01x", compatible, ""},
		"protobuf, a removed field":      {sr.TypeProtobuf, timestamp("int64 seconds = 1;"), "\x00\x08\x07", compatible, ""},
		"protobuf, a wider type to read": {sr.TypeProtobuf, timestamp("int32 seconds = 1; int32 nanos = 2;"), "\x00\x08\x07", compatible, ""},
		"protobuf, a widened type":       {sr.TypeProtobuf, timestamp("int64 seconds = 1; int64 nanos = 2;"), "\x00\x08\x07", incompatible, "field nanos (2) is written as int64 and read as int32"},
		"protobuf, another type":         {sr.TypeProtobuf, timestamp("string seconds = 1; int32 nanos = 2;"), "\x00\x0a\x017", incompatible, "field seconds (1) is written as string and read as int64"},

		"json, the same":       {sr.TypeJSON, orderJSON, `{"id":7}`, same, ""},
		"json, in other words": {sr.TypeJSON, ` {"properties":{"id":{"type": "integer"}},"type":"object","title":"Order","$schema":"http://json-schema.org/draft-07/schema#"}`, `{"id":7}`, same, ""},
		"json, a new field":    {sr.TypeJSON, strings.Replace(orderJSON, `"id"`, `"new":{"type":"string"},"id"`, 1), `{"id":7}`, compatible, ""},
		"json, another type":   {sr.TypeJSON, strings.Replace(orderJSON, `"integer"`, `"string"`, 1), `{"id":7}`, compatible, ""}, // it isn't known
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, policy := range []registry.Drift{registry.Accept, registry.Stop, registry.DeadLetter} {
				f := newFake(t)
				id := f.add(t, "s", test.kind, test.text)
				data := append([]byte{0, 0, 0, 0, byte(id)}, test.payload...)
				var err error
				var got int64
				switch test.kind {
				case sr.TypeAvro:
					c := registry.Avro(f.client(t), avroOrder(t))
					c.Drift = policy
					var o order
					err = c.Decode(data, &o)
					got = o.ID
				case sr.TypeProtobuf:
					c := registry.Protobuf(f.client(t), protobuf.Codec[*timestamppb.Timestamp]{})
					c.Drift = policy
					var v *timestamppb.Timestamp
					err = c.Decode(data, &v)
					got = v.GetSeconds()
				case sr.TypeJSON:
					c := registry.JSON[order](f.client(t), nil, orderJSON)
					c.Drift = policy
					var o order
					err = c.Decode(data, &o)
					got = o.ID
				}
				if test.is == same || test.is == compatible && policy == registry.Accept {
					require.NoError(t, err)
					require.EqualValues(t, 7, got)
					continue
				}
				want := retry.ClassPoison
				if policy == registry.Stop {
					want = retry.ClassFatal
				}
				require.Equal(t, want, retry.ClassOf(err), "%s: %v", policy, err)
				var drift *registry.DriftError
				require.ErrorAs(t, err, &drift)
				require.Equal(t, id, drift.ID)
				require.Equal(t, policy, drift.Policy)
				require.Equal(t, test.is == incompatible, drift.Incompatible)
				require.ErrorContains(t, err, test.detail)
			}
		})
	}

	f := newFake(t)
	f.add(t, "s", sr.TypeJSON, orderJSON)
	c := registry.JSON[order](f.client(t), nil, "")
	c.Drift = registry.Stop
	err := c.Decode([]byte("\x00\x00\x00\x00\x01{}"), new(order))
	require.ErrorContains(t, err, "no schema that others could differ from")
	require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
}

func TestAvroReferences(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.add(t, "line", sr.TypeAvro, `{"type":"record","name":"Line","fields":[{"name":"n","type":"int"}]}`)
	id := f.add(t, "order", sr.TypeAvro, `{"type":"record","name":"Order","fields":[{"name":"l","type":"Line"}]}`, sr.SchemaReference{Name: "Line", Subject: "line", Version: 1})
	type line struct {
		N int64 `avro:"n"`
	}
	type withLine struct {
		L line `avro:"l"`
	}
	schema := `{"type":"record","name":"Order","fields":[{"name":"l","type":{"type":"record","name":"Line","fields":[{"name":"n","type":"%s"}]}}]}`
	longs, err := avro.New[withLine](fmt.Sprintf(schema, "long"))
	require.NoError(t, err)
	c := registry.Avro(f.client(t), longs)
	require.Equal(t, withLine{line{7}}, read(t, c, []byte{0, 0, 0, 0, byte(id), 14}))

	ints, err := avro.New[withLine](fmt.Sprintf(schema, "int"))
	require.NoError(t, err)
	c = registry.Avro(f.client(t), ints)
	c.Drift = registry.Stop
	require.Equal(t, withLine{line{7}}, read(t, c, []byte{0, 0, 0, 0, byte(id), 14}), "the same, but for who defines the line")
	c.Subject, c.Latest = fixed("order"), true
	require.Equal(t, []byte{0, 0, 0, 0, byte(id), 14}, written(t, c, withLine{line{7}}))
}

// One codec for all lanes: many schemas at once, of which each is looked up once.
func TestConcurrent(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	const schemas = 20
	for i := range schemas {
		f.add(t, fmt.Sprint(i), sr.TypeAvro, strings.Replace(orderAvro, "]", fmt.Sprintf(`,{"name":"x%d","type":"null"}]`, i), 1))
	}
	f.add(t, "orders", sr.TypeAvro, orderAvro)
	c := registry.Avro(f.client(t), avroOrder(t))
	c.Subject = fixed("orders")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 500 {
				var o order
				if err := c.Decode([]byte{0, 0, 0, 0, byte(1 + i%schemas), 14}, &o); err != nil || o.ID != 7 {
					t.Error(o, err)
					return
				}
				if data, err := c.Append(nil, o); err != nil || string(data) != "\x00\x00\x00\x00\x15\x0e" {
					t.Errorf("%q %v", data, err)
					return
				}
			}
		})
	}
	wg.Wait()
	for i := range schemas {
		require.Equal(t, 1, f.asked(fmt.Sprintf("GET /schemas/ids/%d", i+1)))
	}
	require.Equal(t, 1, f.asked("POST /subjects/orders"))
}

func TestAllocations(t *testing.T) { // not parallel: it counts allocations
	f := newFake(t)
	f.add(t, "s", sr.TypeAvro, orderAvro)
	f.add(t, "p", sr.TypeProtobuf, timestampText)
	a := registry.Avro(f.client(t), avroOrder(t))
	a.Subject = fixed("s")
	bare := avroOrder(t)
	p := registry.Protobuf(f.client(t), protobuf.Codec[*timestamppb.Timestamp]{})
	p.Subject = fixed("p")
	now, dst := timestamppb.Now(), make([]byte, 0, 100)
	data := written(t, p, now)
	var o order
	count := func(f func() error) float64 {
		return testing.AllocsPerRun(200, func() {
			if err := f(); err != nil {
				t.Error(err)
			}
		})
	}
	require.Equal(t, count(func() error { _, err := bare.Append(dst, order{7}); return err }), count(func() error { _, err := a.Append(dst, order{7}); return err }))
	require.Equal(t, count(func() error { return bare.Decode([]byte{14}, &o) }), count(func() error { return a.Decode([]byte{0, 0, 0, 0, 1, 14}, &o) }))
	require.Zero(t, count(func() error { _, err := p.Append(dst, now); return err }))
	var v *timestamppb.Timestamp
	require.Equal(t, 1.0, count(func() error { v = nil; return p.Decode(data, &v) }), "the message")
}

var errAny = errors.New("any")

func TestDriftError(t *testing.T) {
	t.Parallel()
	require.Equal(t, retry.ClassPoison, retry.ClassOf(fmt.Errorf("%w %w", errAny, &registry.DriftError{Policy: registry.DeadLetter})))
	require.EqualError(t, &registry.DriftError{ID: 7, Record: "shop.Order", Detail: "new: extra field", Policy: registry.Stop},
		"schema 7 differs from the one of shop.Order: new: extra field (the policy is registry.Stop)")
	require.EqualError(t, &registry.DriftError{ID: 7, Record: "shop.Order", Incompatible: true, Detail: "id: another type"},
		"schema 7 is not compatible with the one of shop.Order: id: another type")
}
