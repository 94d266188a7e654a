package crash_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bohica-labs/dataweaver/weavertest/crash"
)

func TestLedger(t *testing.T) {
	t.Parallel()
	l := crash.Ledger{Seed: 3, Records: 2000, Keys: 10, Bytes: 20}
	keys := make(map[string]int)
	all := ""
	n := int64(0)
	for r := range l.All() {
		n++
		require.Equal(t, n, r.N)
		require.Equal(t, r, l.Record(n))
		require.NoError(t, r.Verify())
		require.LessOrEqual(t, len(r.Data), 20)
		keys[r.Key]++
		all += r.Data
	}
	require.Equal(t, l.Records, n)
	require.Len(t, keys, 10)
	for key, n := range keys {
		require.InDelta(t, 200, n, 80, key)
	}
	require.True(t, strings.ContainsAny(all, "\n") && strings.ContainsAny(all, `,"'\`) && strings.Contains(all, "世"))
	require.NotEqual(t, l.Record(1), crash.Ledger{Seed: 4, Records: 1, Keys: 10, Bytes: 20}.Record(1))
	require.Panics(t, func() { l.Record(0) })
	require.Panics(t, func() { l.Record(2001) })
}

func TestRecordLine(t *testing.T) {
	t.Parallel()
	for r := range (crash.Ledger{Seed: 5, Records: 500, Keys: 3}).All() {
		text := r.AppendLine([]byte("x"))
		require.NotContains(t, string(text), "\n")
		got, err := crash.ParseLine(text[1:])
		require.NoError(t, err)
		require.Equal(t, r, got)
	}
	for _, bad := range []string{"", "1", "1 k 2", "x k0 00000000 \"\"", "1 k0 zz \"\"", "1 k0 00000000 x", `1 k0 00000000 "x`} {
		_, err := crash.ParseLine([]byte(bad))
		require.Error(t, err, bad)
	}
}

// Each field that is changed shows, and so does a record that is another one's.
func TestAltered(t *testing.T) {
	t.Parallel()
	l := crash.Ledger{Seed: 1, Records: 10, Keys: 2}
	other := crash.Ledger{Seed: 2, Records: 10, Keys: 2}
	for name, alter := range map[string]func(r *crash.Record){
		"number":           func(r *crash.Record) { r.N = 6 },
		"key":              func(r *crash.Record) { r.Key += "x" },
		"data":             func(r *crash.Record) { r.Data += "x" },
		"checksum":         func(r *crash.Record) { r.Sum++ },
		"of another list":  func(r *crash.Record) { *r = other.Record(5) },
		"nothing but zero": func(r *crash.Record) { *r = crash.Record{} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tally, err := l.Check(crash.Rules{}, l.Verified(func(yield func(crash.Record, error) bool) {
				for r := range l.All() {
					if r.N == 5 {
						alter(&r)
					}
					if !yield(r, nil) {
						return
					}
				}
			}))
			requireKinds(t, err, crash.ErrAltered, crash.ErrLost) // it isn't there as it was made
			require.EqualValues(t, 1, tally.Altered)
			require.EqualValues(t, 1, tally.Lost)
		})
	}
}

func TestTorn(t *testing.T) {
	t.Parallel()
	l := crash.Ledger{Seed: 1, Records: 20}
	var lines [][]byte
	for r := range l.All() {
		line, err := json.Marshal(r)
		require.NoError(t, err)
		lines = append(lines, append(line, '\n'))
	}
	decode := func(line []byte) (r crash.Record, err error) {
		err = json.Unmarshal(line, &r)
		return r, err
	}
	whole := bytes.Join(lines, nil)
	fragment := lines[7][:20]
	for _, tt := range []struct {
		name  string
		data  []byte
		rules crash.Rules
		want  []error
	}{
		{name: "whole", data: whole},
		{name: "without its last line end", data: whole[:len(whole)-1], want: []error{crash.ErrTorn, crash.ErrLost}},
		{name: "cut", data: whole[:len(whole)-30], want: []error{crash.ErrTorn, crash.ErrLost}},
		{name: "a hole", data: bytes.Replace(whole, lines[4][10:], make([]byte, len(lines[4])-10), 1), want: []error{crash.ErrTorn, crash.ErrLost}},
		{name: "a fragment before the whole", data: bytes.Join([][]byte{bytes.Join(lines[:7], nil), fragment, []byte("\n"), bytes.Join(lines[7:], nil)}, nil), want: []error{crash.ErrTorn}},
		{
			name: "a fragment before the whole, which is right", rules: crash.Rules{Torn: true},
			data: bytes.Join([][]byte{bytes.Join(lines[:7], nil), fragment, []byte("\n"), bytes.Join(lines[7:], nil)}, nil),
		},
		{name: "a fragment glued to the whole", rules: crash.Rules{Torn: true}, data: bytes.Join([][]byte{bytes.Join(lines[:7], nil), fragment, bytes.Join(lines[7:], nil)}, nil), want: []error{crash.ErrLost}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "out")
			require.NoError(t, os.WriteFile(path, tt.data, 0o600))
			_, err := l.Check(tt.rules, l.Verified(crash.Lines(path, decode)))
			requireKinds(t, err, tt.want...)
		})
	}
	_, err := l.Check(crash.Rules{}, l.Verified(crash.Lines(filepath.Join(t.TempDir(), "none"), decode)))
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestLinesOfAnyLength(t *testing.T) {
	t.Parallel()
	l := crash.Ledger{Records: 8, Bytes: 300_000}
	path := filepath.Join(t.TempDir(), "out")
	var data []byte
	for r := range l.All() {
		data = r.AppendLine(data)
		data = append(data, '\n')
	}
	require.NoError(t, os.WriteFile(path, data, 0o600))
	_, err := l.Check(crash.Rules{}, l.Verified(crash.Lines(path, crash.ParseLine)))
	require.NoError(t, err)
}

func TestLastLine(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "out")
	last := crash.LastLine(path, func(line []byte) (int64, error) {
		text, ok := strings.CutPrefix(string(line), "n=")
		if !ok {
			return 0, errors.New("no number")
		}
		return strconv.ParseInt(text[:max(strings.IndexByte(text, ' '), 1)], 10, 64)
	})
	for _, tt := range []struct {
		data string
		want int64
	}{
		{"", 0},
		{"n=1", 0},
		{"n=1 \n", 1},
		{"n=1 \nn=2 ", 1},
		{"n=1 \nn=22 \n", 22},
		{"n=1 \n\nx\n\n", 1},
		{"\n", 0},
		{"n=3 " + strings.Repeat("x", 10_000) + "\nn=4", 3},
		{"n=3 \nn=4 " + strings.Repeat("x", 10_000) + "\n", 4},
		{"n=3 \nn=4 " + strings.Repeat("x", 70_000) + "\n", 0},
		{"n=3 \n" + strings.Repeat("y\n", 3_000), 0},
		{"n=3 \n" + strings.Repeat("y\n", 1_000), 3},
	} {
		require.NoError(t, os.WriteFile(path, []byte(tt.data), 0o600))
		got, err := last()
		require.NoError(t, err)
		require.Equal(t, tt.want, got, "%.20q", tt.data)
	}
	require.NoError(t, os.Remove(path))
	got, err := last()
	require.NoError(t, err)
	require.Zero(t, got)
}
