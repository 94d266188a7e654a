package file

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/retry"
)

func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, data := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		realFile(t, path, data)
	}
	return dir
}

func TestPatternIsReadInOrder(t *testing.T) {
	t.Parallel()
	dir := folder(t, map[string]string{
		"b.csv": "name,id,price\nB,1,1\nB,2,2\n", "a.csv": "id,name,price\n1,A,1\n2,A,2", "c.csv": "", "d.csv": "id,name,price\n1,D,1\n", "x.txt": "no",
	})
	require.NoError(t, os.Mkdir(filepath.Join(dir, "folder.csv"), 0o700))
	f := CSV[order](filepath.Join(dir, "*.csv"))
	want := []string{
		"{ID:1 Name:A Price:1}", "{ID:2 Name:A Price:2}", "{ID:1 Name:B Price:1}", "{ID:2 Name:B Price:2}", "{ID:1 Name:D Price:1}",
	}
	for _, size := range []int{1, 2, 3, 100} {
		items, positions := drain(t, f, nil, size)
		require.Equal(t, want, values(items))
		for i, p := range positions {
			rest, _ := drain(t, f, p, size)
			require.Equal(t, want[min((i+1)*size, len(want)):], values(rest))
		}
	}

	// What was read to the end may be tidied away, and what comes later by name is read.
	_, positions := drain(t, f, nil, 100)
	end := positions[len(positions)-1]
	for _, name := range []string{"a.csv", "b.csv", "c.csv", "d.csv"} {
		require.NoError(t, os.Remove(filepath.Join(dir, name)))
	}
	items, positions := drain(t, f, end, 100)
	require.Empty(t, items)
	realFile(t, filepath.Join(dir, "e.csv"), "id,name,price\n1,E,1\n")
	items, _ = drain(t, f, positions[0], 100)
	require.Equal(t, []string{"{ID:1 Name:E Price:1}"}, values(items))
}

func TestPatternMayBeMoved(t *testing.T) {
	t.Parallel()
	files := map[string]string{"in/x/1": "a\nb\n", "in/y/1": "c\n"}
	first, second := folder(t, files), folder(t, files)
	_, positions := drain(t, Lines(filepath.Join(first, "in", "*", "1")), nil, 1)
	items, _ := drain(t, Lines(second+"/./in/*/1"), positions[0], 100)
	require.Equal(t, []string{"b", "c"}, values(items))

	require.NoError(t, os.Remove(filepath.Join(first, "in", "x", "1")))
	_, err := Lines(filepath.Join(first, "in", "*", "1")).OpenReader(t.Context(), weaver.Lane{Position: positions[0]})
	require.ErrorContains(t, err, `"x/1", which was read up to byte 2, is gone`)
	require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
}

func TestAFileWithSpecialCharactersInItsName(t *testing.T) {
	t.Parallel()
	dir := folder(t, map[string]string{"a[1].txt": "x\n", "a1.txt": "y\n"})
	items, _ := drain(t, Lines(filepath.Join(dir, "a[1].txt")), nil, 1)
	require.Equal(t, []string{"x"}, values(items))
	require.NoError(t, os.Remove(filepath.Join(dir, "a[1].txt")))
	items, _ = drain(t, Lines(filepath.Join(dir, "a[1].txt")), nil, 1)
	require.Equal(t, []string{"y"}, values(items))
}

func TestSplits(t *testing.T) {
	t.Parallel()
	dir := folder(t, map[string]string{"b": "b\n", "a": "a\n"})
	all := func(f *File[[]byte]) []weaver.Split {
		s, err := f.Splits(t.Context())
		require.NoError(t, err)
		c, err := s.Next(t.Context())
		require.NoError(t, err)
		require.Empty(t, c.Revoke)
		_, err = s.Next(t.Context())
		require.Equal(t, io.EOF, err)
		require.NoError(t, s.Close())
		return c.Add
	}
	f := Lines(filepath.Join(dir, "*"))
	require.Equal(t, []weaver.Split{{Bounded: true}}, all(f))
	f.Parallel = true
	splits := all(f)
	require.Len(t, splits, 2)
	for i, name := range []string{"a", "b"} {
		require.Equal(t, filepath.ToSlash(filepath.Join(dir, name)), splits[i].ID)
		require.True(t, splits[i].Bounded)
		r, err := f.OpenReader(t.Context(), weaver.Lane{Split: splits[i]})
		require.NoError(t, err)
		b := weaver.NewBatch[[]byte](0, 0)
		_, err = r.Read(t.Context(), b)
		require.Equal(t, io.EOF, err)
		require.Equal(t, name, string(b.Records[0].Value))
		require.NoError(t, r.Close())
	}
	f = Lines(filepath.Join(dir, "a"))
	f.Parallel = true
	require.Equal(t, []weaver.Split{{Bounded: true}}, all(f))

	f = Lines(filepath.Join(dir, "none*"))
	f.Parallel = true
	_, err := f.Splits(t.Context())
	require.ErrorIs(t, err, errNoMatch)
	require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
}

func TestParallelFilesThroughAPipeline(t *testing.T) {
	t.Parallel()
	dir := folder(t, map[string]string{"1.txt": "a\nb\n", "2.txt": "c\n", "3.txt": "d\n"})
	f := Lines(filepath.Join(dir, "*.txt"))
	f.Parallel = true
	var got []string
	sink := weaver.SinkFunc[[]byte](func(_ context.Context, b *weaver.Batch[[]byte]) error {
		for _, r := range b.Records {
			got = append(got, string(r.Value))
		}
		return nil
	})
	require.NoError(t, weaver.Copy(f, sink).Run(t.Context()))
	require.ElementsMatch(t, strings.Split("abcd", ""), got)

	// One file can't hold several positions.
	err := weaver.Copy(f, Lines(filepath.Join(dir, "out"))).Run(t.Context())
	require.ErrorContains(t, err, "one file takes one split")
}
