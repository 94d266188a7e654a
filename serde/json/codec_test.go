package json_test

import (
	stdjson "encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bohica-labs/dataweaver/serde"
	"github.com/bohica-labs/dataweaver/serde/json"
)

type order struct {
	ID       int64     `json:"id"`
	Customer string    `json:"customer"`
	Amount   float64   `json:"amount"`
	Lines    []line    `json:"lines,omitempty"`
	At       time.Time `json:"at"`
}

type line struct {
	SKU      string `json:"sku"`
	Quantity int    `json:"quantity"`
}

func Example() {
	var codec serde.Codec[order] = json.Codec[order]{}
	data, err := codec.Append(nil, order{ID: 9007199254740993, Customer: "Jones & Sons"})
	fmt.Println(string(data), err)

	var o order
	err = codec.Decode([]byte(`{"id":7,"customer":"Ann"}`), &o)
	fmt.Println(o.ID, o.Customer, err)
	// Output:
	// {"id":9007199254740993,"customer":"Jones & Sons","amount":0,"at":"0001-01-01T00:00:00Z"} <nil>
	// 7 Ann <nil>
}

// Any library with the two functions of encoding/json will do.
func ExampleCodec_faster() {
	codec := json.Codec[order]{Marshal: stdjson.Marshal, Unmarshal: stdjson.Unmarshal}
	var o order
	fmt.Println(codec.Decode([]byte(`{"id":7}`), &o), o.ID)
	// Output: <nil> 7
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	in := order{
		ID: math.MaxInt64, Customer: "<b>\u2028 \"x\"\n\x00", Amount: 0.1,
		Lines: []line{{SKU: "a", Quantity: -1}}, At: time.Date(2024, 2, 29, 1, 2, 3, 456, time.UTC),
	}
	for name, c := range map[string]json.Codec[order]{
		"default": {},
		"plugged": {Marshal: stdjson.Marshal, Unmarshal: stdjson.Unmarshal},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data, err := c.Append([]byte("before "), in)
			require.NoError(t, err)
			rest, ok := strings.CutPrefix(string(data), "before ")
			require.True(t, ok)
			require.NotContains(t, rest, "\n")
			var out order
			require.NoError(t, c.Decode([]byte(rest), &out))
			require.Equal(t, in, out)
		})
	}
}

func TestIntegersKeepTheirDigits(t *testing.T) {
	t.Parallel()
	const big = "9007199254740993" // 2^53 + 1, no float64

	var v any
	require.NoError(t, json.Codec[any]{}.Decode([]byte(big), &v))
	require.Equal(t, stdjson.Number(big), v)

	var m map[string]any
	require.NoError(t, json.Codec[map[string]any]{}.Decode([]byte(`{"id":`+big+`}`), &m))
	require.Equal(t, map[string]any{"id": stdjson.Number(big)}, m)

	type event struct {
		Payload struct {
			Fields []map[string]any `json:"fields"`
		} `json:"payload"`
	}
	var e event
	require.NoError(t, json.Codec[event]{}.Decode([]byte(`{"payload":{"fields":[{"id":`+big+`}]}}`), &e))
	require.Equal(t, stdjson.Number(big), e.Payload.Fields[0]["id"])
	data, err := json.Codec[event]{}.Append(nil, e)
	require.NoError(t, err)
	require.JSONEq(t, `{"payload":{"fields":[{"id":`+big+`}]}}`, string(data))
	require.Contains(t, string(data), big)

	var o order
	require.NoError(t, json.Codec[order]{}.Decode([]byte(`{"id":`+big+`}`), &o))
	require.Equal(t, int64(9007199254740993), o.ID)
}

func TestNothingStaleRemains(t *testing.T) {
	t.Parallel()
	o := order{ID: 1, Customer: "old", Lines: []line{{SKU: "old"}}}
	require.NoError(t, json.Codec[order]{}.Decode([]byte(`{"id":2}`), &o))
	require.Equal(t, order{ID: 2}, o)

	m := map[string]any{"old": true}
	require.NoError(t, json.Codec[map[string]any]{}.Decode([]byte(`{"new":1}`), &m))
	require.Equal(t, map[string]any{"new": stdjson.Number("1")}, m)
}

func TestUndecodable(t *testing.T) {
	t.Parallel()
	for _, data := range []string{"", " ", "{", `{"id":1} x`, `{"id":1}{"id":2}`, `{"id":"one"}`, `{"id":1.5}`, `{"id":9223372036854775808}`, "\x00\x00", "nul"} {
		require.Error(t, json.Codec[order]{}.Decode([]byte(data), new(order)), "%q", data)
	}
	for _, data := range []string{"", " ", "{", `{"id":1} x`, `{} {}`, "1 2", "]", "nul"} {
		require.Error(t, json.Codec[any]{}.Decode([]byte(data), new(any)), "%q", data)
	}
	require.NoError(t, json.Codec[any]{}.Decode([]byte(" {\"a\":1} \r\n\t"), new(any)))
}

func TestUnencodable(t *testing.T) {
	t.Parallel()
	for _, f := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		kept := append(make([]byte, 0, 1024), "kept"...)
		got, err := json.Codec[order]{}.Append(kept, order{Amount: f})
		var unsupported *stdjson.UnsupportedValueError
		require.ErrorAs(t, err, &unsupported)
		require.Equal(t, "kept", string(got))
	}
	_, err := json.Codec[order]{Marshal: func(any) ([]byte, error) { return nil, errors.New("no") }}.Append(nil, order{})
	require.EqualError(t, err, "no")
}

var sample = []byte(`{"id":9007199254740993,"customer":"Jones and Sons","amount":129.95,"lines":[{"sku":"A-1","quantity":2}],"at":"2024-02-29T01:02:03Z"}`)

func BenchmarkDecode(b *testing.B) {
	b.Run("plain", func(b *testing.B) {
		b.ReportAllocs()
		var o order
		for b.Loop() {
			o = order{}
			if err := stdjson.Unmarshal(sample, &o); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("codec", func(b *testing.B) {
		b.ReportAllocs()
		var c serde.Codec[order] = json.Codec[order]{}
		var o order
		for b.Loop() {
			if err := c.Decode(sample, &o); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	var o order
	if err := stdjson.Unmarshal(sample, &o); err != nil {
		b.Fatal(err)
	}
	b.Run("plain", func(b *testing.B) {
		b.ReportAllocs()
		var dst []byte
		for b.Loop() {
			data, err := stdjson.Marshal(o)
			if err != nil {
				b.Fatal(err)
			}
			dst = append(dst[:0], data...)
		}
	})
	b.Run("codec", func(b *testing.B) {
		b.ReportAllocs()
		var c serde.Codec[order] = json.Codec[order]{}
		var dst []byte
		for b.Loop() {
			var err error
			if dst, err = c.Append(dst[:0], o); err != nil {
				b.Fatal(err)
			}
		}
	})
}
