package file

import (
	"errors"
	"fmt"
	"io"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/internal/durable"
	"github.com/bohica-labs/dataweaver/internal/durable/durabletest"
)

// put makes or replaces a file on a disk, durably.
func put(t testing.TB, disk durable.FS, name, content string) {
	t.Helper()
	require.NoError(t, durable.WriteFile(disk, name, []byte(content), 0o600))
}

// content returns what a file holds.
func content(t testing.TB, disk durable.FS, name string) string {
	t.Helper()
	data, err := durable.ReadFile(disk, name)
	require.NoError(t, err)
	return string(data)
}

// on returns f with its files on a disk in memory.
func on[T any](f *File[T], disk durable.FS) *File[T] {
	f.fsys = disk
	return f
}

// item is a record or a reject, as a test sees it.
type item struct {
	Seq   int64
	Value string
	Err   string
	Raw   string

	Offset int64 // of a reject of a record with a number
}

// drain reads from a position to the end, in batches of a size, and returns what came and the position after each batch.
func drain[T any](t testing.TB, src weaver.Source[T], from weaver.Position, size int) ([]item, []weaver.Position) {
	t.Helper()
	r, err := src.OpenReader(t.Context(), weaver.Lane{Position: from})
	require.NoError(t, err)
	defer func() { require.NoError(t, r.Close()) }()
	var items []item
	var positions []weaver.Position
	b := weaver.NewBatch[T](size, 0)
	for {
		b.Reset()
		p, err := r.Read(t.Context(), b)
		if err != nil {
			require.ErrorIs(t, err, io.EOF)
			require.Equal(t, io.EOF, err, "io.EOF is returned as it is")
		}
		require.NotNil(t, p)
		items = append(items, itemsOf(b)...)
		positions = append(positions, append(weaver.Position{}, p...))
		if err != nil {
			return items, positions
		}
	}
}

func itemsOf[T any](b *weaver.Batch[T]) []item {
	var items []item
	for _, r := range b.Records {
		items = append(items, item{Seq: r.Seq, Value: show(r.Value)})
	}
	for _, x := range b.Rejects() {
		i := item{Raw: string(x.Raw), Err: x.Err.Error()}
		var re *RecordError
		if errors.As(x.Err, &re) {
			i.Seq, i.Err = re.Line, re.Err.Error()
			if re.Record > 0 {
				i.Seq, i.Offset = re.Record, re.Offset
			}
		}
		items = append(items, i)
	}
	return items
}

func show(v any) string {
	switch v := v.(type) {
	case []byte:
		return string(v)
	case []string:
		return fmt.Sprintf("%q", v)
	}
	return fmt.Sprintf("%+v", v)
}

func values(items []item) []string {
	out := []string{}
	for _, i := range items {
		out = append(out, i.Value)
	}
	return out
}

func newDisk(t testing.TB, files map[string]string) *durabletest.Disk {
	t.Helper()
	disk := durabletest.New()
	for name, data := range files {
		put(t, disk, name, data)
	}
	return disk
}

// realFile makes a file for what needs the operating system.
func realFile(t testing.TB, path, data string) string {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte(data), 0o600))
	return path
}
