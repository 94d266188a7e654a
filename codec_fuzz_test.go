package weaver

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// FuzzEnvelope: what was encoded is decoded, and what wasn't is refused without a panic.
func FuzzEnvelope(f *testing.F) {
	f.Add([]byte("position"), []byte("state"))
	f.Add([]byte(nil), []byte(nil))
	f.Add(appendEnvelope(nil, Position("p"), []byte("s")), []byte{0})
	f.Fuzz(func(t *testing.T, a, b []byte) {
		env := appendEnvelope([]byte("before"), a, b)[len("before"):]
		pos, state, err := decodeEnvelope(env)
		require.NoError(t, err)
		require.True(t, bytes.Equal(a, pos) && bytes.Equal(b, state))
		require.NotNil(t, pos)
		if pos, state, err := decodeEnvelope(a); err == nil { // rarely
			require.Equal(t, a, appendEnvelope(nil, pos, state), "there is one encoding")
		}
		for i := range env { // any one damaged byte is noticed
			env[i] ^= 1 + b1(b, i)
			_, _, err := decodeEnvelope(env)
			require.Error(t, err)
			env[i] ^= 1 + b1(b, i)
		}
		for i := range env {
			_, _, err := decodeEnvelope(env[:i])
			require.Error(t, err)
		}
	})
}

func b1(p []byte, i int) byte {
	if len(p) == 0 {
		return 0
	}
	return p[i%len(p)] & 0x7F
}

// FuzzState: the same for the states that Then joins.
func FuzzState(f *testing.F) {
	f.Add([]byte("a"), []byte("b"))
	f.Add([]byte(nil), []byte(nil))
	f.Add([]byte{1, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1}, []byte{1, 200})
	f.Fuzz(func(t *testing.T, a, b []byte) {
		x, y, err := splitState(joinState(a, b))
		require.NoError(t, err)
		require.True(t, bytes.Equal(a, x) && bytes.Equal(b, y))
		if x, y, err := splitState(a); err == nil {
			require.LessOrEqual(t, len(x)+len(y), len(a))
		}
	})
}

// FuzzHeaders: a dead letter is the same when it was written as JSON and read back, whatever bytes it holds.
func FuzzHeaders(f *testing.F) {
	f.Add("key", []byte("value"), []byte("raw"), []byte(nil), uint8(3), int64(1), int64(7))
	f.Add("", []byte{}, []byte{0xFF}, []byte{0}, uint8(0), int64(-1), int64(0))
	f.Fuzz(func(t *testing.T, name string, value, raw, key []byte, op uint8, seq, nano int64) {
		if !json.Valid([]byte(`"` + name + `"`)) {
			name = "name"
		}
		v := "value"
		in := Rejected[string]{
			Value: &v, Raw: raw, Key: key, Op: Op(op % 4), Seq: seq,
			Headers: Headers{}.With(name, value).With("", nil),
			Time:    time.Unix(0, nano).UTC(), Stage: StageRead, Error: "e", Attempts: 1, At: time.Unix(0, seq).UTC(),
		}
		p, err := json.Marshal(in)
		require.NoError(t, err)
		var out Rejected[string]
		require.NoError(t, json.Unmarshal(p, &out))
		require.Equal(t, v, *out.Value)
		require.True(t, bytes.Equal(in.Raw, out.Raw) && bytes.Equal(in.Key, out.Key))
		require.Len(t, out.Headers, 2)
		require.True(t, bytes.Equal(value, out.Headers[0].Value))
		require.Equal(t, in.Op, out.Op)
		require.Equal(t, in.Seq, out.Seq)
		require.True(t, in.Time.Equal(out.Time) && in.At.Equal(out.At))
		again, err := json.Marshal(out)
		require.NoError(t, err)
		require.JSONEq(t, string(p), string(again))
	})
}
