package file

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
)

// benchVisits is a batch of records that look like a log, which makes up about 100 bytes of NDJSON each.
func benchVisits(n, keys int) *weaver.Batch[visit] {
	b := weaver.NewBatch[visit](n, 0)
	at := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	for i := range n {
		r := b.Add()
		r.Time = at.Add(time.Duration(i) * time.Millisecond)
		r.Value = visit{Country: fmt.Sprintf("country-%d", i%keys), Page: fmt.Sprintf("/products/%d/reviews?page=%d", i*7919%100_000, i%13), N: i * 31 % 1_000_003}
	}
	return b
}

// BenchmarkWrite is of one file and of parts, by compression, in ns and stored bytes a record.
func BenchmarkWrite(b *testing.B) {
	const n = 1000
	for _, ext := range []string{"", ".gz", ".zst"} {
		for _, keys := range []int{0, 1, 50, 1000} {
			b.Run(fmt.Sprintf("%s/%d names", "ndjson"+ext, keys), func(b *testing.B) {
				dir := b.TempDir()
				batch := benchVisits(n, max(keys, 1))
				var w weaver.Writer[visit]
				var err error
				if keys == 0 {
					w, err = NDJSON[visit](filepath.Join(dir, "out"+ext)).OpenWriter(b.Context(), weaver.Lane{})
				} else {
					w, err = Parts(NDJSON[visit](filepath.Join(dir, "out", "{time:2006-01-02}", "{country}-{part}"+ext))).OpenWriter(b.Context(), weaver.Lane{})
				}
				require.NoError(b, err)
				c := w.(weaver.Checkpointer)
				_, err = c.Restore(b.Context())
				require.NoError(b, err)
				records := 0
				b.ReportAllocs()
				for b.Loop() {
					if err := w.Write(b.Context(), batch); err != nil {
						b.Fatal(err)
					}
					records += n
				}
				require.NoError(b, c.Commit(b.Context(), nil))
				require.NoError(b, w.Close())
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(records), "ns/record")
				var stored int64
				require.NoError(b, filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
					if err == nil && !e.IsDir() {
						info, err := e.Info()
						stored += info.Size()
						return err
					}
					return err
				}))
				b.ReportMetric(float64(stored)/float64(records), "stored-B/record")
			})
		}
	}
}

// BenchmarkCommit is what a commit of one record costs on the disk under the temporary folder, with each policy.
func BenchmarkCommit(b *testing.B) {
	for _, policy := range []SyncPolicy{SyncCommits, SyncComplete, SyncNever} {
		for _, parts := range []int{0, 1, 20} {
			b.Run(fmt.Sprintf("%v/%d parts", policy, parts), func(b *testing.B) {
				dir := b.TempDir()
				batch := benchVisits(max(parts, 1), max(parts, 1))
				f := NDJSON[visit](filepath.Join(dir, "out"))
				var sink weaver.Sink[visit] = f
				if parts > 0 {
					f = NDJSON[visit](filepath.Join(dir, "{country}-{part}"))
					sink = Parts(f)
				}
				f.Sync = policy
				w, err := sink.OpenWriter(b.Context(), weaver.Lane{})
				require.NoError(b, err)
				c := w.(weaver.Checkpointer)
				_, err = c.Restore(b.Context())
				require.NoError(b, err)
				for b.Loop() {
					if err := w.Write(b.Context(), batch); err != nil {
						b.Fatal(err)
					}
					if err := c.Commit(b.Context(), nil); err != nil {
						b.Fatal(err)
					}
				}
				require.NoError(b, w.Close())
			})
		}
	}
}

// BenchmarkMembers is what opening a compressed file to append to it costs: all of it is unpacked.
func BenchmarkMembers(b *testing.B) {
	for ext, c := range compressions {
		b.Run(c.String(), func(b *testing.B) {
			f := NDJSON[visit](filepath.Join(b.TempDir(), "out"+ext))
			w, err := f.OpenWriter(b.Context(), weaver.Lane{})
			require.NoError(b, err)
			batch := benchVisits(1000, 10)
			for range 200 {
				require.NoError(b, w.Write(b.Context(), batch))
			}
			require.NoError(b, w.(weaver.Flusher).Flush(b.Context()))
			require.NoError(b, w.Close())
			file, err := os.Open(f.path)
			require.NoError(b, err)
			defer file.Close()
			info, err := file.Stat()
			require.NoError(b, err)
			b.SetBytes(info.Size())
			for b.Loop() {
				got, err := members(b.Context(), file, info.Size(), c)
				require.NoError(b, err)
				require.NoError(b, got.bad)
			}
		})
	}
}
