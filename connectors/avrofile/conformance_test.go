package avrofile_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/connectors/avrofile"
	"github.com/bohica-labs/dataweaver/connectors/file"
	"github.com/bohica-labs/dataweaver/weavertest"
)

func TestSourceContract(t *testing.T) {
	t.Parallel()
	for _, compression := range compressions {
		path := in(t, "x.avro")
		f := avrofile.New(path, orderCodec(t), avrofile.Options{Compression: compression})
		store(t, f, 6, orders(0, 20)...)
		var want []weaver.Record[order]
		for _, o := range orders(0, 20) {
			want = append(want, weaver.Record[order]{Value: o})
		}
		require.NoError(t, weavertest.TestSource(t.Context(), weavertest.SourceCase[order]{
			New: func(context.Context) (weaver.Source[order], error) {
				return avrofile.New(path, orderCodec(t), avrofile.Options{}), nil
			},
			Want: map[string][]weaver.Record[order]{"": want},
		}), compression)
	}
}

func TestSinkContract(t *testing.T) {
	t.Parallel()
	for _, compression := range compressions {
		dir, n := t.TempDir(), 0
		require.NoError(t, weavertest.TestSink(t.Context(), weavertest.SinkCase[order]{
			New: func(context.Context) (weaver.Sink[order], func(context.Context) ([]weaver.Record[order], error), error) {
				n++
				path := filepath.Join(dir, fmt.Sprint(n))
				f := avrofile.New(path, orderCodec(t), avrofile.Options{Compression: compression})
				return f, func(ctx context.Context) ([]weaver.Record[order], error) { return durable(ctx, t, path) }, nil
			},
			Record: func(i int) weaver.Record[order] { return weaver.Record[order]{Value: orderOf(i)} },
			Poison: func() weaver.Record[order] {
				o := orderOf(1)
				o.At = o.At.Add(1) // a nanosecond, which milliseconds would lose
				return weaver.Record[order]{Value: o}
			},
			Skip: []string{"splits", "concurrent"}, // one file takes one split
		}), compression)
	}
}

// durable reads the part of a file that counts.
func durable(ctx context.Context, t *testing.T, path string) ([]weaver.Record[order], error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if c, err := file.ReadCheckpoint(path); err == nil {
		data = data[:c.Length]
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	r, err := avrofile.New(put(t, path+".part", string(data)), orderCodec(t), avrofile.Options{}).OpenReader(ctx, weaver.Lane{})
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b := weaver.NewBatch[order](0, 0)
	if _, err := r.Read(ctx, b); !errors.Is(err, io.EOF) {
		return nil, err
	}
	return b.Records, nil
}

// Each part has one record, so that all that counts is complete.
func TestPartsContract(t *testing.T) {
	t.Parallel()
	base, n := t.TempDir(), 0
	require.NoError(t, weavertest.TestSink(t.Context(), weavertest.SinkCase[order]{
		New: func(context.Context) (weaver.Sink[order], func(context.Context) ([]weaver.Record[order], error), error) {
			n++
			dir := filepath.Join(base, fmt.Sprint(n))
			parts := file.Parts(avrofile.New(filepath.Join(dir, "{split}-{part}.avro"), orderCodec(t), avrofile.Options{Compression: avrofile.Zstandard}))
			parts.MaxRecords = 1
			return parts, func(ctx context.Context) ([]weaver.Record[order], error) {
				complete, err := file.ReadManifest(dir)
				if errors.Is(err, fs.ErrNotExist) {
					return nil, nil
				}
				var all []weaver.Record[order]
				for _, p := range complete {
					one, err := durable(ctx, t, p.Path)
					if err != nil {
						return nil, err
					}
					all = append(all, one...)
				}
				return all, err
			}, nil
		},
		Record: func(i int) weaver.Record[order] { return weaver.Record[order]{Value: orderOf(i)} },
		Skip:   []string{"flush"}, // {split} means nothing where writers are shared
	}))
}
