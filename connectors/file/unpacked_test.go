package file

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/internal/durable/durabletest"
	"github.com/bohica-labs/dataweaver/retry"
)

func TestCompressedFilesReadAsPlainOnes(t *testing.T) {
	t.Parallel()
	var long strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&long, "record %d %s\n", i, strings.Repeat("x", i%50))
	}
	bz, bzContent := bzipped(t, 0, 1, 2, 0, 1)
	for name, c := range map[string]struct{ stored, content string }{
		"gzip":                {gzipped(t, "a\nb\nc\n"), "a\nb\nc\n"},
		"gzip, crossing":      {gzipped(t, "a\nb", "b", "", "b\nc", "\n", "d"), "a\nbbb\nc\nd"},
		"gzip, empty":         {gzipped(t, ""), ""},
		"gzip, many empty":    {gzipped(t, "", "", "a", "", "", "\nb", "", ""), "a\nb"},
		"gzip, padded":        {gzipped(t, "a\n", "b\n") + strings.Repeat("\x00", 5000), "a\nb\n"},
		"gzip, long":          {gzipped(t, long.String()), long.String()},
		"gzip, long, members": {gzipped(t, sliced(long.String(), 1000, 17, 30_000)...), long.String()},
		"gzip, tiny members":  {gzipped(t, sliced(long.String()[:3000], 1)...), long.String()[:3000]},
		"zstd":                {zstandard(t, "a\nb\nc\n"), "a\nb\nc\n"},
		"zstd, crossing":      {zstandard(t, "a\nb", "b", "", "b\nc", "\n", "d"), "a\nbbb\nc\nd"},
		"zstd, skippable":     {skippable + zstandard(t, "a\nb") + skippable + skippable + zstandard(t, "\nc") + skippable, "a\nb\nc"},
		"zstd, nothing":       {skippable, ""},
		"zstd, padded":        {zstandard(t, "a\n") + "\x00\x00\x00", "a\n"},
		"zstd, long":          {zstandard(t, long.String()), long.String()},
		"zstd, long, frames":  {zstandard(t, sliced(long.String(), 1000, 17, 30_000)...), long.String()},
		"bzip2":               {bz, bzContent},
		"plain":               {long.String(), long.String()},
	} {
		for _, seeks := range []bool{true, false} {
			for _, chunk := range []int{1, 100, readBytes} {
				t.Run(fmt.Sprint(name, seeks, chunk), func(t *testing.T) {
					t.Parallel()
					f, _ := linesOf(c.stored, seeks)
					f.chunk = chunk
					want := []string{}
					for _, l := range plainLines(c.content, defaultRecordBytes) {
						want = append(want, l.value)
					}
					size := max(1, len(want)/30)
					all, at := collect(t, f, nil, size)
					require.Equal(t, want, all)
					for i, p := range at {
						rest, _ := collect(t, f, p, 100)
						require.Equal(t, want[min((i+1)*size, len(want)):], rest, "after batch %d", i)
					}
				})
			}
		}
	}
}

func TestHowAFileIsStoredShowsInItsBeginning(t *testing.T) {
	t.Parallel()
	for head, want := range map[string]string{
		"":                               "plain?",
		"a":                              "plain",
		"\x1f":                           "plain?",
		"\x1f\x8b":                       "gzip",
		"\x1f\x8cxxxxxxxxxxxxx":          "plain",
		"\x28\xb5\x2f":                   "plain?",
		"\x28\xb5\x2f\xfd":               "zstd",
		"P":                              "plain?",
		"P*M":                            "plain?",
		"P*M\x18":                        "zstd",
		"\x5f*M\x18":                     "zstd",
		"\x60*M\x18":                     "plain",
		"PK\x03\x04":                     "plain",
		"BZ":                             "plain?",
		"BZh":                            "plain?",
		"BZh9":                           "plain?",
		"BZh is how bzip2 begins":        "plain",
		"BZh0\x31\x41\x59\x26\x53\x59":   "plain",
		"BZh91AY&SY is how bzip2 begins": "bzip2",
		"BZh91AY&S":                      "plain?",
		"BZh9\x17\x72":                   "plain?",
		"BZh9\x17\x72\x45\x38\x50\x90":   "bzip2",
		"BZh9\x17\x72\x45\x38\x50\x91 and so on.": "plain",
	} {
		u := unpackersOf(nil)
		n := copy(u.head[:], head)
		c, open := u.choose(nil, u.head[:n])
		got := "plain"
		if x, ok := c.(*unpacked); ok {
			got = x.format.name()
		}
		if open {
			got += "?"
		}
		require.Equal(t, want, got, "%q", head)
	}
}

// A file is resumed with the member that the position lies in, and what lies before is not read.
func TestResumeReadsNotWhatLiesBefore(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	var parts []string
	for range 20 {
		var part strings.Builder
		for part.Len() < 300<<10 {
			fmt.Fprintf(&part, "%x\n", rng.Uint64())
		}
		parts = append(parts, part.String())
	}
	for name, data := range map[string]string{"gzip": gzipped(t, parts...), "zstd": zstandard(t, parts...)} {
		f, read := linesOf(data, true)
		all, at := collect(t, f, nil, 1000)
		require.InDelta(t, len(data), *read, headBytes)
		for _, i := range []int{len(at) / 2, len(at) * 3 / 4, len(at) - 3} {
			p, err := parsePosition(at[i])
			require.NoError(t, err)
			require.Positive(t, p.member.stored, name)
			require.LessOrEqual(t, p.offset-p.member.offset, int64(len(parts[0])))
			*read = 0
			rest, _ := collect(t, f, at[i], 1000)
			require.Equal(t, all[(i+1)*1000:], rest)
			// The beginning is read for its fingerprint, and then what comes from the member on.
			require.LessOrEqual(t, int64(*read), int64(len(data))-p.member.stored+2*readBytes+headBytes, name)
		}
	}
}

func TestAPositionThatFitsNoMember(t *testing.T) {
	t.Parallel()
	parts := sliced(strings.Repeat("0123456789abcde\n", 1000), 4000)
	bz, _ := bzipped(t, 0, 1, 3, 0, 1)
	for name, data := range map[string]string{"gzip": gzipped(t, parts...), "zstd": zstandard(t, parts...), "bzip2": bz} {
		for _, seeks := range []bool{true, false} {
			f, _ := linesOf(data, seeks)
			f.chunk = 2
			_, at := collect(t, f, nil, 1)
			for i, want := range map[int64]string{2: " data begins at byte 2 of the compressed file", int64(len(data)): "ends before byte", int64(len(data)) + 1: "ends before byte"} {
				p, err := parsePosition(at[len(at)-2])
				require.NoError(t, err)
				p.member = member{stored: i, offset: 3}
				r, err := f.OpenReader(t.Context(), weaver.Lane{Position: p.append(nil)})
				if err == nil {
					require.False(t, seeks, name)
					_, err = r.Read(t.Context(), weaver.NewBatch[[]byte](0, 0))
					require.NoError(t, r.Close())
				}
				if !seeks && i == 2 { // it is passed already, so it isn't asked for
					continue
				}
				require.ErrorContains(t, err, want, "%s %d %v", name, i, seeks)
				require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
			}
		}
	}
}

// A file that was damaged since has no place to go on at, and nothing of it is taken for the rest.
func TestAPositionBehindNewDamage(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(5, 6))
	var text strings.Builder
	for range 1000 {
		fmt.Fprintf(&text, "%015d\n", rng.Int64N(1e15))
	}
	data := gzipped(t, sliced(text.String(), 8000)...)
	f, _ := linesOf(data, true)
	f.chunk = 2
	_, at := collect(t, f, nil, 400)
	for damaged, want := range map[string]string{data[:2000]: "can't be found any more", flip(data, 2): "is damaged since"} {
		f, _ = linesOf(damaged, true)
		f.chunk = 2
		_, err := f.OpenReader(t.Context(), weaver.Lane{Position: at[0]})
		require.ErrorContains(t, err, want)
		require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
	}
}

// What was read of a file before it was compressed is not read again.
func TestAFileThatWasCompressedMeanwhile(t *testing.T) {
	t.Parallel()
	content := strings.Repeat("0123456789\n", 1000)
	stored := map[string]string{"gzip": gzipped(t, sliced(content, 3000)...), "zstd": zstandard(t, content)}
	for name, data := range stored {
		for _, read := range []int{1, 50, 500, 1000} {
			s, err := Lines("in").newStream()
			require.NoError(t, err)
			s.in.chunk = 100
			disk := newDisk(t, map[string]string{"log": content, "log.gz": data})
			open := func(path string, m mark) {
				file, err := disk.OpenFile(path, 0, 0)
				require.NoError(t, err)
				require.NoError(t, s.open(t.Context(), file, path, m))
			}
			open("log", mark{line: 1})
			b := weaver.NewBatch[[]byte](read, 0)
			_, err = s.fill(t.Context(), b)
			require.NoError(t, err)
			m := s.mark()
			require.Equal(t, member{}, m.member)
			require.NoError(t, s.close())

			open("log.gz", m)
			b = weaver.NewBatch[[]byte](5000, 0)
			ended, err := s.fill(t.Context(), b)
			require.NoError(t, err)
			require.True(t, ended)
			require.Len(t, b.Records, 1000-read, name)
			if read < 1000 {
				require.Equal(t, int64(read+1), b.Records[0].Seq)
			}
			require.NoError(t, s.close())
			s.release()
		}
	}
}

// A file that grows byte by byte is read as far as it goes, and never taken for damaged, whatever it turns out to be.
func TestACompressedFileThatGrows(t *testing.T) {
	t.Parallel()
	text := "alpha\nbeta\n" + strings.Repeat("0123456789\n", 20) + "end\n"
	bz, bzContent := bzipped(t, 0, 1, 1)
	for name, c := range map[string]struct{ stored, content string }{
		"plain":     {text, text},
		"like bz2":  {"BZh91AY&S\n", "BZh91AY&S\n"},
		"like zstd": {"P*M\n", "P*M\n"},
		"gzip":      {gzipped(t, sliced(text, 20, 0, 70)...), text},
		"zstd":      {skippable + zstandard(t, sliced(text, 20, 70)...), text},
		"bzip2":     {bz, bzContent},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			disk := newDisk(t, map[string]string{"in": ""})
			file, err := disk.OpenFile("in", 0, 0)
			require.NoError(t, err)
			content, err := contentsOf(file, nil)
			require.NoError(t, err)
			in := input{chunk: 64, growing: true}
			in.reset(content, 0)
			read := func() {
				in.mend()
				for err = nil; err == nil && !in.eof; {
					err = in.more()
				}
				require.True(t, err == nil || err == errPending, "%v", err) //nolint:errorlint // as it is
			}
			for i := range len(c.stored) {
				extend(t, disk, "in", c.stored[i:i+1])
				read()
				require.NoError(t, in.torn)
				require.Equal(t, c.content[:len(in.data())], string(in.data()))
			}
			require.Equal(t, c.content, string(in.data()))
			require.Equal(t, name == "plain" || strings.HasPrefix(name, "like"), isPlain(content))
			if isPlain(content) {
				return
			}
			require.Equal(t, int64(len(c.stored)), content.stored(0))

			// Once it doesn't grow any more, what is missing is missing.
			extend(t, disk, "in", c.stored[:len(c.stored)-1])
			for range 2 {
				read()
				require.NoError(t, in.torn)
			}
			in.growing = false
			read()
			require.ErrorIs(t, in.torn, errTruncated)
			require.Equal(t, c.content, string(in.data())[:len(c.content)])
			content.(releaser).release()
		})
	}
}

// extend appends to a file.
func extend(t testing.TB, disk *durabletest.Disk, name, data string) {
	t.Helper()
	old := content(t, disk, name)
	f, err := disk.OpenFile(name, os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.Seek(int64(len(old)), io.SeekStart)
	require.NoError(t, err)
	_, err = f.Write([]byte(data))
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

// What a file system fails with is no damage: nothing is rejected, and the next reader gets all of it.
func TestAFailingFileSystemIsNoDamage(t *testing.T) {
	t.Parallel()
	content := strings.Repeat("0123456789\n", 30_000)
	broken := errors.New("the disk is broken")
	rng := rand.New(rand.NewPCG(3, 4))
	noise := make([]byte, 600<<10)
	for i := range noise {
		noise[i] = byte(' ' + rng.IntN(64))
	}
	content += string(noise) + "\n"
	whole := gzipped(t, sliced(content, 100_000)...)
	for name, data := range map[string]string{"gzip": whole, "zstd": zstandard(t, sliced(content, 100_000)...), "damaged gzip": flip(whole, len(whole)/2)} {
		disk := newDisk(t, map[string]string{"in": data})
		f := on(Lines("in"), disk)
		for fails := 1; ; fails++ {
			reads, failed := 0, false
			disk.Fail(func(o durabletest.Op) error {
				if o.Kind == durabletest.Read {
					if reads++; reads == fails {
						failed = true
						return broken
					}
				}
				return nil
			})
			r, err := f.OpenReader(t.Context(), weaver.Lane{})
			if err == nil {
				b := weaver.NewBatch[[]byte](100_000, 1<<30)
				_, err = r.Read(t.Context(), b)
				require.NoError(t, r.Close())
				if !failed {
					require.Equal(t, io.EOF, err)
					require.Equal(t, name == "damaged gzip", len(b.Rejects()) > 0)
					break
				}
			}
			require.ErrorIs(t, err, broken, "%s %d", name, fails)
			require.Equal(t, retry.ClassUnmarked, retry.ClassOf(err))
		}
	}
}

// A gigabyte in a few kilobytes takes neither memory nor long.
func TestABombIsStreamedAway(t *testing.T) {
	if testing.Short() {
		t.Skip("a gigabyte is unpacked, several times")
	}
	var gz, zs bytes.Buffer
	w, err := gzip.NewWriterLevel(&gz, gzip.BestSpeed)
	require.NoError(t, err)
	z, err := zstd.NewWriter(&zs, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20))
	require.NoError(t, err)
	zeros := make([]byte, 1<<20)
	for range 1 << 10 {
		_, err := w.Write(zeros)
		require.NoError(t, err)
		_, err = z.Write(zeros)
		require.NoError(t, err)
	}
	for _, w := range []io.WriteCloser{w, z} {
		_, err := io.WriteString(w, "\nlast\n")
		require.NoError(t, err)
		require.NoError(t, w.Close())
	}
	for name, data := range map[string]string{"gzip": gz.String(), "zstd": zs.String()} {
		f, _ := linesOf(data, true)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		all, _ := collect(t, f, nil, 10)
		runtime.ReadMemStats(&after)
		require.Len(t, all, 2)
		require.Contains(t, all[0], "longer than MaxRecordBytes")
		require.Equal(t, "last", all[1])
		require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(12<<20), name)
	}
}

// Members that hold a byte or nothing are many, and take little memory.
func TestMembersWithoutNumber(t *testing.T) {
	t.Parallel()
	const records = 20_000
	files := []string{
		strings.Repeat(gzipped(t, "a", "", "", "b\n"), records),
		strings.Repeat(zstandard(t, "a", "", "b\n"), records),
		strings.Repeat(skippable, records) + zstandard(t, strings.Repeat("ab\n", records)),
		gzipped(t, strings.Repeat("x", 100)) + strings.Repeat(gzipped(t, strings.Repeat("x", minMembers)), 8*maxMembers), // a record too long
	}
	for i, data := range files {
		f, _ := linesOf(data, true)
		r, err := f.OpenReader(t.Context(), weaver.Lane{})
		require.NoError(t, err)
		b := weaver.NewBatch[[]byte](100_000, 1<<30)
		_, err = r.Read(t.Context(), b)
		require.Equal(t, io.EOF, err)
		require.LessOrEqual(t, cap(r.(*reader[[]byte]).stream.contents.(*unpacked).known), 2*maxMembers)
		require.NoError(t, r.Close())
		if i == len(files)-1 {
			require.Len(t, b.Rejects(), 1)
			continue
		}
		require.Len(t, b.Records, records)

		all, at := collect(t, f, nil, 999)
		for _, i := range []int{0, 1, len(at) / 2, len(at) - 1} {
			rest, _ := collect(t, f, at[i], 100_000)
			require.Equal(t, all[min((i+1)*999, records):], rest)
		}
	}
}

// One decoder reads one file after the other, of whatever kind.
func TestFilesOfAllKinds(t *testing.T) {
	t.Parallel()
	bz, _ := bzipped(t, 0, 1)
	disk := newDisk(t, map[string]string{
		"1": "one\n", "2": gzipped(t, "two\n"), "3": zstandard(t, "three\n"), "4": bz, "5": gzipped(t, "five\n")[:20], "6": zstandard(t, "six\n"), "7": "seven\n", "8": gzipped(t, "eight\n"),
	})
	f := on(Lines("*"), disk)
	items, at := drain(t, f, nil, 1)
	want := []string{"one", "two", "three", "alpha", "beta", "gamma", "delta", "five", "", "six", "seven", "eight"}
	require.Equal(t, want, values(items))
	require.Contains(t, items[8].Err, "cut short")
	for i, p := range at {
		rest, _ := drain(t, f, p, 1)
		require.Equal(t, want[min(i+1, len(want)):], values(rest))
	}
}
