package file

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"time"

	"github.com/bohica-labs/dataweaver/internal/durable"
)

// Part is a complete file that Parts has written.
type Part struct {
	Path     string    // with the root folder before it
	Records  int64     // in it
	Bytes    int64     // of the file
	RawBytes int64     // before they were compressed
	Begin    time.Time // when its first record was written
	End      time.Time // when it was complete
	CRC32C   uint32    // of the file (Castagnoli)
}

// manifestLine is a Part in a manifest.
type manifestLine struct {
	Path     string    `json:"path"` // in the root folder, with slashes
	Records  int64     `json:"records"`
	Bytes    int64     `json:"bytes"`
	RawBytes int64     `json:"raw_bytes"`
	Begin    time.Time `json:"begin"`
	End      time.Time `json:"end"`
	CRC32C   string    `json:"crc32c"`
}

// manifestName is the file beside the state of each split.
const manifestName = "manifest"

func manifestOf(done []partEntry) ([]byte, error) {
	var out []byte
	for i := range done {
		e := &done[i]
		line, err := json.Marshal(manifestLine{
			Path:     e.name(),
			Records:  e.Records,
			Bytes:    e.Bytes,
			RawBytes: e.Raw,
			Begin:    time.Unix(0, e.Begin).UTC(),
			End:      time.Unix(0, e.End).UTC(),
			CRC32C:   fmt.Sprintf("%08x", e.Sum),
		})
		if err != nil {
			return nil, err
		}
		out = append(append(out, line...), '\n')
	}
	return out, nil
}

// writeManifest makes lines what a manifest has from byte at on. If it has that already, nothing is touched: somebody may be reading it.
func writeManifest(fsys durable.FS, name string, at int64, lines []byte) (end int64, err error) {
	f, err := fsys.OpenFile(name, os.O_RDWR|os.O_CREATE, defaultPerm)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	at = min(at, info.Size()) // somebody has made it shorter, and may
	end = at + int64(len(lines))
	if info.Size() == end {
		there := make([]byte, len(lines))
		if _, err := f.ReadAt(there, at); err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		if bytes.Equal(there, lines) {
			return end, f.Sync()
		}
	}
	if info.Size() > at {
		if err := f.Truncate(at); err != nil {
			return 0, err
		}
	}
	if _, err := f.WriteAt(lines, at); err != nil {
		return 0, err
	}
	return end, f.Sync()
}

// ReadManifest returns the parts that are complete in the root folder of a file.Parts, those of one split in the order in which they were written. It disturbs nobody
// who writes there. A part that isn't in the manifest yet may be in its place already; one that is in it may have been moved away or removed since.
func ReadManifest(root string) ([]Part, error) {
	parts, err := readManifests(durable.OS(), root)
	if err != nil {
		return nil, fmt.Errorf("file.ReadManifest: %w", err)
	}
	return parts, nil
}

func readManifests(fsys durable.FS, root string) ([]Part, error) {
	r, err := durable.OpenRoot(fsys, root)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	entries, err := r.ReadDir(ownFolder)
	if err != nil {
		return nil, err
	}
	var parts []Part
	for _, entry := range entries {
		name := path.Join(ownFolder, entry.Name(), manifestName)
		data, err := durable.ReadFile(r, name)
		switch {
		case !entry.IsDir(), errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return nil, err
		}
		if parts, err = appendParts(parts, data, root, name); err != nil {
			return nil, err
		}
	}
	return parts, nil
}

// appendParts reads a manifest. A last line without an end is being written.
func appendParts(parts []Part, data []byte, root, name string) ([]Part, error) {
	for n := 1; ; n++ {
		line, rest, whole := bytes.Cut(data, []byte{'\n'})
		if !whole {
			return parts, nil
		}
		data = rest
		var l manifestLine
		err := json.Unmarshal(line, &l)
		var sum uint64
		if err == nil {
			sum, err = strconv.ParseUint(l.CRC32C, 16, 32)
		}
		local := filepath.FromSlash(l.Path)
		if err == nil && !filepath.IsLocal(local) {
			err = fmt.Errorf("the path %q leads out of the folder", l.Path)
		}
		if err != nil {
			return nil, fmt.Errorf("%s:%d is damaged: %w", filepath.Join(root, name), n, err)
		}
		parts = append(parts, Part{
			Path: filepath.Join(root, local), Records: l.Records, Bytes: l.Bytes, RawBytes: l.RawBytes, Begin: l.Begin, End: l.End, CRC32C: uint32(sum),
		})
	}
}
