package avrofile_test

import (
	"context"
	"io"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/connectors/avrofile"
)

// What is appended byte by byte is read block by block, also from a position within one, and after the file was turned.
func TestFollow(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f := avrofile.New(in(t, "made.avro"), orderCodec(t), avrofile.Options{Compression: avrofile.Deflate})
	store(t, f, 5, orders(0, 20)...)
	first := slurp(t, f.String()[len(`avrofile.New "`):len(f.String())-1])
	g := avrofile.New(in(t, "made.avro"), orderCodec(t), avrofile.Options{})
	store(t, g, 4, orders(20, 8)...)
	second := slurp(t, g.String()[len(`avrofile.New "`):len(g.String())-1])

	path := dir + "/x.avro"
	put(t, path, "")
	follow := avrofile.New(path, orderCodec(t), avrofile.Options{})
	follow.Follow = true
	follow.PollEvery = 20 * time.Millisecond
	done := make(chan error, 1)
	go func() {
		done <- func() error {
			out, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
			if err != nil {
				return err
			}
			for i := 0; i < len(first); i += 97 {
				if _, err := out.WriteString(first[i:min(len(first), i+97)]); err != nil {
					return err
				}
				time.Sleep(time.Millisecond)
			}
			return out.Close()
		}()
	}()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var got []order
	var at weaver.Position
	read := func(want int) {
		t.Helper()
		r, err := follow.OpenReader(ctx, weaver.Lane{Split: weaver.Split{ID: path}, Position: at})
		require.NoError(t, err)
		defer func() { require.NoError(t, r.Close()) }()
		b := weaver.NewBatch[order](2, 0)
		for len(got) < want {
			b.Reset()
			p, err := r.Read(ctx, b)
			require.NotErrorIs(t, err, io.EOF)
			require.NoError(t, err)
			require.Empty(t, b.Rejects())
			for _, rec := range b.Records {
				got = append(got, rec.Value)
			}
			at = append(weaver.Position{}, p...)
		}
	}
	read(3)
	read(4) // from the middle of a block
	read(20)
	require.NoError(t, <-done)
	require.NoError(t, os.Rename(path, path+".1"))
	put(t, path, second)
	read(28)
	require.Equal(t, orders(0, 28), got)
}
