package file

import (
	"context"
	"errors"
	"fmt"
	"sync"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/internal/durable"
	"github.com/bohica-labs/dataweaver/retry"
)

// errOneSplit says what to do about a second split.
var errOneSplit = errors.New("one file takes one split, as it keeps one position: read the source as one split (a pattern without Parallel), " +
	"or have a pipeline and a file for each split, or let the file be appended to, at-least-once: put weaver.Tee around it and set Pipeline.Checkpoint")

// sinkState is what the writers of a File know of each other, guarded by File.mu.
type sinkState[T any] struct {
	anew     bool       // IfExists is Overwrite, and a Run has begun that has not emptied the file yet
	keeper   *writer[T] // that keeps the checkpoint and is not closed
	split    *string    // for which checkpoints were kept in this process; nil: none yet
	shared   *appender  // of the writers that keep none; nil: nobody has it open
	sharedBy int
	packers  sync.Pool // of *packer
}

// OpenWriter implements weaver.Sink. A folder, one that is missing, one that may not be written to: all these are fatal. The file itself is made, or looked at,
// when it is known what for, at Restore or the first Write.
func (f *File[T]) OpenWriter(_ context.Context, at weaver.Lane) (weaver.Writer[T], error) {
	made, err := f.open()
	if err != nil {
		return nil, err
	}
	stored, err := f.packing()
	if err != nil {
		return nil, retry.Fatal(fmt.Errorf("%s: %w", f, err))
	}
	header, err := made.encoder.header()
	if err != nil {
		return nil, retry.Fatal(fmt.Errorf("%s: %w", f, err))
	}
	if f.path == stdio {
		return f.openStdout(made, header, stored)
	}
	if err := writable(f.disk(), f.path); err != nil {
		return nil, fmt.Errorf("%s: %w", f, err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.oneSplit(at.Split.ID); err != nil {
		return nil, err
	}
	if f.IfExists == Overwrite && !at.Resume && f.sink.shared == nil {
		f.sink.anew = true
	}
	return &writer[T]{
		file:    f,
		encoder: made.encoder,
		ahead:   aheadOf(made),
		header:  header,
		late:    lateOf(made.encoder),
		at:      at,
		limit:   f.bufferBytes(stored),
		stored:  stored,
		blocks:  unblockedOf(made.encoder),
	}, nil
}

// disk is where a sink's files are.
func (f *File[T]) disk() durable.FS {
	if f.Sync == SyncNever {
		return durable.Unsynced(f.fsys)
	}
	return f.fsys
}

// oneSplit refuses a second split while, or after, this File keeps the checkpoints of another.
func (f *File[T]) oneSplit(id string) error {
	s := &f.sink
	if s.split == nil || *s.split == id {
		return nil
	}
	return retry.Fatal(fmt.Errorf("%s: %w: it has %q, and %q comes", f, errOneSplit, *s.split, id))
}

// keep makes w the one that keeps the checkpoint, and reports whether it is to begin anew.
func (f *File[T]) keep(w *writer[T]) (anew bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	id := w.at.Split.ID
	if err := f.oneSplit(id); err != nil {
		return false, err
	}
	if f.sink.shared != nil {
		return false, retry.Fatal(fmt.Errorf("%s: dead letters, or the records of another pipeline, are being appended to it: give them a file of their own", f))
	}
	f.sink.split, f.sink.keeper = &id, w
	return f.sink.anew, nil
}

// begun notes that the file was emptied, where it was to be.
func (f *File[T]) begun() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sink.anew = false
}
