package registry_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/bohica-labs/dataweaver/retry"
	"github.com/bohica-labs/dataweaver/serde/avro"
	"github.com/bohica-labs/dataweaver/serde/protobuf"
	"github.com/bohica-labs/dataweaver/serde/registry"
)

// realRegistry returns a Client of a registry that runs, and what begins the name of a topic that nobody else has.
func realRegistry(t *testing.T) (*registry.Client, string) {
	url := os.Getenv("WEAVER_TEST_REGISTRY")
	if url == "" {
		const missing = "WEAVER_TEST_REGISTRY is not set to the URL of a schema registry: run internal/services/with registry -- go test ./serde/registry"
		if os.Getenv("CI") == "true" {
			t.Fatal(missing)
		}
		t.Skip(missing)
	}
	c := registry.New(url)
	t.Cleanup(c.Close)
	return c, fmt.Sprintf("%s-%x", strings.ToLower(t.Name()), time.Now().UnixNano())
}

func TestRealAvro(t *testing.T) {
	t.Parallel()
	client, topic := realRegistry(t)
	// Whoever has registered the same text shares its id, so the texts are this run's own.
	text := func(fields string) string {
		return fmt.Sprintf(`{"type":"record","name":"Order","namespace":"shop","doc":%q,"fields":[%s]}`, topic, fields)
	}
	old, err := avro.New[order](text(`{"name":"id","type":"long"}`))
	require.NoError(t, err)

	c := registry.Avro(client, old)
	c.Subject = registry.TopicName(topic)
	_, err = c.Append(nil, order{})
	require.ErrorIs(t, err, registry.ErrNotFound)
	require.Equal(t, retry.ClassFatal, retry.ClassOf(err))

	c = registry.Avro(client, old)
	c.Subject, c.AutoRegister = registry.TopicName(topic), true
	data := written(t, c, order{ID: 7})
	require.Equal(t, order{ID: 7}, read(t, c, data))

	another := registry.New(os.Getenv("WEAVER_TEST_REGISTRY")) // that remembers nothing
	defer another.Close()
	for _, latest := range []bool{false, true} {
		c = registry.Avro(another, old)
		c.Subject, c.Latest = registry.TopicName(topic), latest
		require.Equal(t, data, written(t, c, order{ID: 7}))
	}

	type newer struct {
		ID   int64  `avro:"id"`
		Note string `avro:"note"`
	}
	next, err := avro.New[newer](text(`{"name":"id","type":"long"},{"name":"note","type":"string","default":""}`))
	require.NoError(t, err)
	n := registry.Avro(client, next)
	n.Subject, n.AutoRegister = registry.TopicName(topic), true
	fresh := written(t, n, newer{ID: 7, Note: "x"})
	require.NotEqual(t, data[:5], fresh[:5])
	require.Equal(t, newer{ID: 7}, read(t, n, data), "old data by the new schema")
	c = registry.Avro(client, old)
	require.Equal(t, order{ID: 7}, read(t, c, fresh), "new data by the old schema")
	c = registry.Avro(client, old)
	c.Drift = registry.Stop
	require.Equal(t, retry.ClassFatal, retry.ClassOf(c.Decode(fresh, new(order))))

	err = c.Decode([]byte{0, 0x7f, 0xff, 0xff, 0xff, 0}, new(order))
	require.ErrorIs(t, err, registry.ErrNotFound)
	require.Equal(t, retry.ClassPoison, retry.ClassOf(err))
	wrong := registry.New(strings.TrimSuffix(os.Getenv("WEAVER_TEST_REGISTRY"), "7") + "8")
	defer wrong.Close()
	_, err = wrong.Schema(t.Context(), 1)
	require.Equal(t, retry.ClassFatal, retry.ClassOf(err), "%v", err)
}

func TestRealProtobuf(t *testing.T) {
	t.Parallel()
	client, topic := realRegistry(t)
	now := timestamppb.Now()
	c := registry.Protobuf(client, protobuf.Codec[*timestamppb.Timestamp]{})
	c.Subject, c.AutoRegister = registry.TopicName(topic), true
	c.Schema = "// " + topic + "\n" + `syntax = "proto3"; package google.protobuf; message A { string x = 1; } message Timestamp { int64 seconds = 1; int32 nanos = 2; }`
	data := written(t, c, now)
	require.Equal(t, []byte{2, 2}, data[5:7])
	require.True(t, proto.Equal(now, read(t, c, data)))
	c = registry.Protobuf(client, protobuf.Codec[*timestamppb.Timestamp]{})
	c.Subject = registry.TopicName(topic)
	require.Equal(t, data, written(t, c, now), "by the latest one")

	common, err := client.Register(t.Context(), topic+"-common", registry.Schema{Type: registry.TypeProtobuf, Text: "// " + topic + "\n" + `syntax = "proto3"; message Zone { string name = 1; }`})
	require.NoError(t, err)
	require.Positive(t, common.ID)
	c = registry.Protobuf(client, protobuf.Codec[*timestamppb.Timestamp]{})
	c.Subject, c.AutoRegister = registry.TopicName(topic+"-zoned"), true
	c.Schema = "// " + topic + "\n" + `syntax = "proto3"; package google.protobuf; import "zone.proto"; message Timestamp { int64 seconds = 1; int32 nanos = 2; Zone zone = 3; }`
	c.References = []registry.Reference{{Name: "zone.proto", Subject: topic + "-common", Version: 1}}
	data = written(t, c, now)
	another := registry.New(os.Getenv("WEAVER_TEST_REGISTRY"))
	defer another.Close()
	require.True(t, proto.Equal(now, read(t, registry.Protobuf(another, protobuf.Codec[*timestamppb.Timestamp]{}), data)), "what it refers to is fetched")
}

func TestRealJSON(t *testing.T) {
	t.Parallel()
	client, topic := realRegistry(t)
	c := registry.JSON[order](client, nil, strings.Replace(orderJSON, "Order", topic, 1))
	c.Subject, c.AutoRegister = registry.TopicRecordName(topic), true
	data := written(t, c, order{ID: 7})
	c.Drift = registry.Stop
	require.Equal(t, order{ID: 7}, read(t, c, data))
	s, err := client.Latest(t.Context(), topic+"-"+topic)
	require.NoError(t, err)
	require.Equal(t, registry.TypeJSON, s.Type)
}
