package file

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
)

// What comes byte by byte, a header first, is read as soon as there is a record, and nothing of it is an error. Each kind of following is opened while there is no whole header.
func TestFollowedHeadersComeInPieces(t *testing.T) {
	t.Parallel()
	columns := func(path string) *File[[]byte] {
		return &File[[]byte]{path: path, kind: kindCSV, fsys: Lines(path).fsys, format: func(f *File[[]byte]) (format[[]byte], error) {
			made, err := newLines(f)
			made.decoder = headedLines{made.decoder}
			return made, err
		}}
	}
	for name, tt := range map[string]struct {
		open    func(string) *File[[]byte]
		content string
	}{
		"lines":  {columns, "a header\nrecord 1\nrecord 2\nrecord 3\n"},
		"blocks": {tinyBlocks, tinyFile(tinyMark, tinyRecords(1, 2), tinyRecords(3, 1))},
	} {
		for _, buckets := range []int{0, 1} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				path := realFile(t, filepath.Join(t.TempDir(), "in.log"), "")
				f := tt.open(path)
				f.Follow, f.Buckets, f.PollEvery = true, buckets, 10*time.Millisecond
				written := make(chan error, 1)
				go func() { written <- trickle(path, tt.content) }()
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				splits, err := f.Splits(ctx)
				require.NoError(t, err)
				defer func() { require.NoError(t, splits.Close()) }()
				change, err := splits.Next(ctx)
				require.NoError(t, err)
				require.Len(t, change.Add, 1)
				var got []item
				var at weaver.Position
				for range 3 { // a reader for each record
					r, err := f.OpenReader(ctx, weaver.Lane{Split: change.Add[0], Position: at})
					require.NoError(t, err)
					b := weaver.NewBatch[[]byte](1, 0)
					for len(b.Records)+len(b.Rejects()) == 0 {
						p, err := r.Read(ctx, b)
						require.NoError(t, err, "%v", got)
						at = append(weaver.Position{}, p...)
					}
					got = append(got, itemsOf(b)...)
					require.NoError(t, r.Close())
				}
				require.Equal(t, tinyRecords(1, 3), values(got))
				require.NoError(t, <-written)
			})
		}
	}
}

// headedLines has a header, as a CSV does.
type headedLines struct{ decoder[[]byte] }

func (headedLines) headed() headerUse { return ownRecord }

func trickle(path, content string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	for i := range len(content) {
		if _, err := f.WriteString(content[i : i+1]); err != nil {
			return err
		}
		time.Sleep(time.Millisecond)
	}
	return nil
}
