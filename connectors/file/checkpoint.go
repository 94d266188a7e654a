package file

import (
	"fmt"
	"io/fs"

	"github.com/bohica-labs/dataweaver/internal/durable"
)

// Checkpoint is what the sidecar of a file says that a pipeline writes.
type Checkpoint struct {
	Length   int64  // of the file, as far as it counts: what is behind it may be taken back
	Pipeline string // that writes it
	Split    string // that it holds
	Epoch    uint64 // how often a writer took the file over
	Envelope []byte // of the last commit; nil: there was none. It means nothing to others than the engine
}

// ReadCheckpoint reads the checkpoint of the file path, without disturbing who writes it. There may be none: the error then is fs.ErrNotExist to errors.Is.
func ReadCheckpoint(path string) (Checkpoint, error) {
	s, found, err := readSidecar(durable.OS(), path+sidecarSuffix)
	if err == nil && !found {
		err = &fs.PathError{Op: "open", Path: path + sidecarSuffix, Err: fs.ErrNotExist}
	}
	if err != nil {
		return Checkpoint{}, fmt.Errorf("file.ReadCheckpoint: %w", err)
	}
	return Checkpoint{Length: s.length, Pipeline: s.pipeline, Split: s.split, Epoch: s.epoch, Envelope: s.envelope}, nil
}
