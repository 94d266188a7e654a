package file

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/checkpoint"
	"github.com/bohica-labs/dataweaver/internal/durable/durabletest"
)

func TestManifest(t *testing.T) {
	t.Parallel()
	disk := durabletest.New()
	_, err := readManifests(disk, "out")
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.NoError(t, disk.MkdirAll("out/.weaver/parts", 0o700))
	require.NoError(t, disk.MkdirAll("out/.weaver/other", 0o700))
	put(t, disk, "out/.weaver/file", "x")
	name := "out/.weaver/parts/manifest"
	parts, err := readManifests(disk, "out")
	require.NoError(t, err)
	require.Empty(t, parts)

	one, err := manifestOf([]partEntry{{Number: 1, Key: "a/\x00", Records: 2, Bytes: 3, Raw: 4, Sum: 5, Begin: 6, End: 7}})
	require.NoError(t, err)
	require.Equal(t, `{"path":"a/000001","records":2,"bytes":3,"raw_bytes":4,"begin":"1970-01-01T00:00:00.000000006Z","end":"1970-01-01T00:00:00.000000007Z","crc32c":"00000005"}`+"\n", string(one))
	end, err := writeManifest(disk, name, 0, one)
	require.NoError(t, err)
	require.Equal(t, int64(len(one)), end)
	start := disk.Count()
	_, err = writeManifest(disk, name, 0, one)
	require.NoError(t, err)
	for _, o := range disk.Ops()[start:] {
		require.NotContains(t, []string{durabletest.Write, durabletest.Truncate}, o.Kind, "nothing is touched")
	}
	two := bytes.ReplaceAll(one, []byte("000001"), []byte("000002"))
	end, err = writeManifest(disk, name, end, two)
	require.NoError(t, err)
	require.Equal(t, string(one)+string(two), content(t, disk, name))
	_, err = writeManifest(disk, name, end, append(two, "something longer\n"...))
	require.NoError(t, err)
	_, err = writeManifest(disk, name, int64(len(one)), two)
	require.NoError(t, err)
	require.Equal(t, string(one)+string(two), content(t, disk, name), "what comes behind is of a commit that doesn't count")
	parts, err = readManifests(disk, "out")
	require.NoError(t, err)
	require.Len(t, parts, 2)
	require.Equal(t, filepath.Join("out", "a", "000002"), parts[1].Path)

	put(t, disk, name, string(one)+string(two[:20])) // being written
	parts, err = readManifests(disk, "out")
	require.NoError(t, err)
	require.Len(t, parts, 1)
	for _, bad := range []string{"x\n", "\n", `{"path":"../x","crc32c":"0"}` + "\n", `{"path":"/x","crc32c":"0"}` + "\n", `{"path":"x","crc32c":"y"}` + "\n"} {
		put(t, disk, name, string(one)+bad)
		_, err = readManifests(disk, "out")
		require.ErrorContains(t, err, "manifest:2 is damaged", bad)
	}
	_, err = ReadManifest(filepath.Join(t.TempDir(), "none"))
	require.ErrorIs(t, err, fs.ErrNotExist)
}

func testState() partState {
	return partState{
		epoch: 3, owner: 4, envelope: []byte("envelope"), Pipeline: []byte("p\xff"), Split: []byte("s"), Shape: "shape", Next: 10, Manifest: 5,
		Open: []partEntry{{Number: 2, Key: "a-\x00", Records: 1, Bytes: 2, Raw: 3, Sum: 4, Begin: 5}, {Number: 3, Key: "b/\x00", Records: 1, Bytes: 2, Raw: 3}},
		Done: []partEntry{{Number: 1, Key: "a-\x00", Records: 1, Bytes: 2, Raw: 3, End: 6}},
	}
}

func TestState(t *testing.T) {
	t.Parallel()
	want := testState()
	good, err := want.encode()
	require.NoError(t, err)
	got, err := decodeState(good)
	require.NoError(t, err)
	require.Equal(t, want, got)
	for _, envelope := range [][]byte{nil, {}} {
		s := partState{Next: 1, envelope: envelope}
		data, err := s.encode()
		require.NoError(t, err)
		got, err := decodeState(data)
		require.NoError(t, err)
		require.Equal(t, envelope, got.envelope)
	}
	for i := range good {
		for bit := range 8 {
			bad := bytes.Clone(good)
			bad[i] ^= 1 << bit
			_, err := decodeState(bad)
			require.Error(t, err, "bit %d of byte %d", bit, i)
		}
		_, err = decodeState(good[:i])
		require.Error(t, err, "cut to %d", i)
	}
	for name, change := range map[string]func(s *partState){
		"a number beyond the next": func(s *partState) { s.Next = 3 },
		"a number twice":           func(s *partState) { s.Done[0].Number = 2 },
		"no number":                func(s *partState) { s.Open[0].Number = 0 },
		"no records":               func(s *partState) { s.Open[0].Records = 0 },
		"negative":                 func(s *partState) { s.Open[0].Bytes = -1 },
		"a way out":                func(s *partState) { s.Done[0].Key = "../\x00" },
		"absolute":                 func(s *partState) { s.Done[0].Key = "/\x00" },
		"without a number":         func(s *partState) { s.Done[0].Key = "a" },
		"a name twice":             func(s *partState) { s.Open[1].Key = s.Open[0].Key },
		"manifest":                 func(s *partState) { s.Manifest = -1 },
	} {
		s := testState()
		change(&s)
		data, err := s.encode()
		require.NoError(t, err)
		_, err = decodeState(data)
		require.Error(t, err, name)
	}
}

func FuzzState(f *testing.F) {
	s := testState()
	good, err := s.encode()
	require.NoError(f, err)
	f.Add(good)
	f.Add(good[:len(good)-1])
	f.Fuzz(func(t *testing.T, data []byte) {
		inputs := [][]byte{data}
		if n := len(data) - 4; n >= 0 {
			inputs = append(inputs, sealed(bytes.Clone(data[:n])))
		}
		for _, data := range inputs {
			s, err := decodeState(data)
			if err != nil {
				continue
			}
			again, err := s.encode()
			require.NoError(t, err)
			back, err := decodeState(again)
			require.NoError(t, err)
			x, _ := json.Marshal(s)
			y, _ := json.Marshal(back)
			require.Equal(t, string(x), string(y))
		}
	})
}

func TestDamagedState(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(t *testing.T, disk *durabletest.Disk){
		"is damaged": func(t *testing.T, disk *durabletest.Disk) {
			t.Helper()
			put(t, disk, "out/.weaver/parts/state", "x")
		},
		"it is gone": func(t *testing.T, disk *durabletest.Disk) {
			t.Helper()
			require.NoError(t, disk.Remove("out/.weaver/parts/1.part"))
		},
		"it has 1 bytes instead of at least 2": func(t *testing.T, disk *durabletest.Disk) {
			t.Helper()
			put(t, disk, "out/.weaver/parts/1.part", "x")
		},
	} {
		disk := durabletest.New()
		w, _ := keepParts(t, Parts(on(Lines("out/{part}"), disk)), weaver.Lane{})
		require.NoError(t, w.Write(t.Context(), lines("a")))
		require.NoError(t, w.Commit(t.Context(), []byte("1")))
		require.NoError(t, w.Write(t.Context(), lines("b")))
		require.NoError(t, w.Close())
		change(t, disk)
		w = openParts(t, Parts(on(Lines("out/{part}"), disk)), weaver.Lane{})
		_, err := w.Restore(t.Context())
		require.ErrorContains(t, err, name)
		require.ErrorContains(t, err, "another root folder to begin anew")
		require.NoError(t, w.Close())
	}

	// While it is written.
	disk := durabletest.New()
	w, _ := keepParts(t, Parts(on(Lines("out/{part}"), disk)), weaver.Lane{})
	require.NoError(t, disk.Remove("out/.weaver/parts/state"))
	require.NoError(t, w.Write(t.Context(), lines("a")))
	require.ErrorContains(t, w.Commit(t.Context(), nil), "it was there when this writer began")
	require.NoError(t, w.Close())
}

// A conversion that ends leaves complete parts alone, and one that runs again adds nothing but what is new.
func TestPartsPipeline(t *testing.T) {
	t.Parallel()
	dir := folder(t, map[string]string{"a.ndjson": "{\"id\":1}\n{\"id\":2}\nbad\n", "b.ndjson": "{\"id\":3}\n"})
	run := func() []string {
		in := NDJSON[order](filepath.Join(dir, "*.ndjson"))
		in.Parallel = true
		p := weaver.Copy(in, Parts(CSV[order](filepath.Join(dir, "out", "{split}", "{part}.csv.gz"))))
		p.Name = "p"
		p.Require = weaver.ExactlyOnce
		p.DeadLetter = Parts(NDJSON[weaver.Rejected[order]](filepath.Join(dir, "dead", "{now:2006}-{part}.ndjson")))
		require.NoError(t, p.Run(t.Context()))
		parts, err := ReadManifest(filepath.Join(dir, "out"))
		require.NoError(t, err)
		var all []string
		for _, part := range parts {
			data, err := os.ReadFile(part.Path)
			require.NoError(t, err)
			all = append(all, unpack(t, part.Path, string(data)))
		}
		return all
	}
	for range 2 {
		require.Equal(t, []string{"id,name,price\n1,,0\n2,,0\n", "id,name,price\n3,,0\n"}, run())
		dead, err := ReadManifest(filepath.Join(dir, "dead"))
		require.NoError(t, err)
		require.Len(t, dead, 1)
		require.Equal(t, int64(1), dead[0].Records)
	}
	realFile(t, filepath.Join(dir, "b.ndjson"), "{\"id\":3}\n{\"id\":4}\n")
	require.Equal(t, []string{"id,name,price\n1,,0\n2,,0\n", "id,name,price\n3,,0\n", "id,name,price\n4,,0\n"}, run())
}

// Inside of Tee nobody keeps a checkpoint: the lanes share the parts.
func TestPartsInsideTee(t *testing.T) {
	t.Parallel()
	dir := folder(t, map[string]string{"a.txt": "a\nb\n", "b.txt": "c\n"})
	in := Lines(filepath.Join(dir, "*.txt"))
	in.Parallel = true
	p := weaver.Copy(in, weaver.Tee[[]byte](Parts(Lines(filepath.Join(dir, "out", "{part}.txt")))))
	p.Name, p.Checkpoint = "p", checkpoint.NewMemory()
	require.NoError(t, p.Run(t.Context()))
	parts, err := ReadManifest(filepath.Join(dir, "out"))
	require.NoError(t, err)
	require.Len(t, parts, 1)
	require.Equal(t, int64(3), parts[0].Records)
}
