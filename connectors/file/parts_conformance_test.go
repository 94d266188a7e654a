package file

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/internal/durable"
	"github.com/bohica-labs/dataweaver/internal/durable/durabletest"
	"github.com/bohica-labs/dataweaver/weavertest"
)

func TestPartsContract(t *testing.T) {
	t.Parallel()
	for _, template := range []struct {
		path string
		skip []string
	}{
		{"{split}-{part}", []string{"flush"}},        // {split} means nothing where writers are shared
		{"{part}", []string{"splits", "concurrent"}}, // and is required where there are several splits
	} {
		for _, ext := range []string{"", ".gz", ".zst"} {
			for _, most := range []int64{2, 0} {
				require.NoError(t, weavertest.TestSink(t.Context(), weavertest.SinkCase[[]byte]{
					New: func(context.Context) (weaver.Sink[[]byte], func(context.Context) ([]weaver.Record[[]byte], error), error) {
						disk := durabletest.New()
						p := Parts(on(Lines("out/"+template.path+ext), disk))
						p.MaxRecords = most
						return p, func(context.Context) ([]weaver.Record[[]byte], error) { return countedParts(disk, ext) }, nil
					},
					Record: func(i int) weaver.Record[[]byte] { return weaver.Record[[]byte]{Value: fmt.Appendf(nil, "line %d", i)} },
					Poison: func() weaver.Record[[]byte] { return weaver.Record[[]byte]{Value: []byte("a\nb")} },
					Skip:   template.skip,
				}), "%s%s, %d", template.path, ext, most)
			}
		}
	}
}

// countedParts returns what counts: the records of complete parts, and those that states name of the others.
func countedParts(disk durable.FS, ext string) ([]weaver.Record[[]byte], error) {
	var all []weaver.Record[[]byte]
	read := func(name string, size int64) error {
		data, err := durable.ReadFile(disk, name)
		if err != nil {
			return err
		}
		var r io.Reader = bytes.NewReader(data[:size])
		switch ext {
		case ".gz":
			r, err = gzip.NewReader(r)
		case ".zst":
			var z *zstd.Decoder
			if z, err = zstd.NewReader(r, zstd.WithDecoderConcurrency(1)); err == nil {
				defer z.Close()
				r = z
			}
		}
		if err != nil {
			return err
		}
		text, err := io.ReadAll(r)
		for line := range bytes.Lines(text) {
			all = append(all, weaver.Record[[]byte]{Value: bytes.TrimSuffix(line, []byte{'\n'})})
		}
		return err
	}
	parts, err := readManifests(disk, "out")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, p := range parts {
		err = errors.Join(err, read(p.Path, p.Bytes))
	}
	sets, dirErr := disk.ReadDir(filepath.Join("out", ownFolder))
	err = errors.Join(err, dirErr)
	for _, set := range sets {
		dir := path.Join("out", ownFolder, set.Name())
		state, _, stateErr := readState(disk, path.Join(dir, stateName))
		err = errors.Join(err, stateErr)
		for _, e := range state.Open {
			err = errors.Join(err, read(path.Join(dir, fmt.Sprintf("%d%s", e.Number, partSuffix)), e.Bytes))
		}
	}
	return all, err
}
