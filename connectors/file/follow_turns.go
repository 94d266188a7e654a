package file

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/internal/durable"
	"github.com/bohica-labs/dataweaver/retry"
)

// bucketNumber is the Handle of a split that is a bucket of a followed pattern.
type bucketNumber int

// turns reads the files of one split in turn, and knows of each that is there how far it is read. So files may come in any order and be taken away.
type turns[T any] struct {
	file     *File[T]
	stream   stream[T]
	log      *slog.Logger
	list     func() ([]found, error)
	follow   bool
	bucketed bool        // there may be no file
	sub      *subscriber // nil without follow
	pace     pace

	entries map[uint64]*entry // by name
	queue   []*entry
	cur     *entry
	info    fs.FileInfo // of cur, when it was opened
	first   bool        // all files are there for the first time
	body    []byte      // of the entries that are settled
	count   int         // how many these are
	dirty   bool        // body must be made anew
	looked  time.Time
	took    time.Duration
	woken   bool // it is time to look
	moved   bool // since the last position
	seq     int64
	encoded []byte
	below   *position // of a Reader that had no entries; nil: it was one of these

	behind    atomic.Int64
	later     int64
	finishing atomic.Bool
	finish    chan struct{}
	once      sync.Once

	mu  sync.Mutex
	due []chore // by seq
}

var (
	_ weaver.LagReporter = (*turns[int])(nil)
	_ weaver.Finisher    = (*turns[int])(nil)
	_ weaver.Acker       = (*turns[int])(nil)
)

// openTurns returns a reader of the files of the split at.
func (f *File[T]) openTurns(at weaver.Lane) (weaver.Reader[T], error) {
	s, err := f.newStream()
	if err != nil {
		return nil, err
	}
	r := &turns[T]{
		file: f, stream: s, log: at.Log, follow: f.Follow, pace: f.following.pace.filled(), finish: make(chan struct{}),
		entries: make(map[uint64]*entry), first: true, bucketed: at.Split.ID != "",
	}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	r.list = func() ([]found, error) { return f.files(at) }
	if f.Follow {
		number, ok := at.Split.Handle.(bucketNumber)
		if !ok {
			return nil, retry.Fatal(fmt.Errorf("%s: split %q has no handle of this source", f, at.Split.ID))
		}
		r.list = func() ([]found, error) { return f.bucketFiles(int(number)) }
	}
	if err := r.start(at.Position); err != nil {
		return nil, fmt.Errorf("%s: %w", f, err)
	}
	if f.Follow {
		r.sub = f.following.hub.join(filepath.Clean(f.folderOrParent()), true)
	}
	return r, nil
}

func (r *turns[T]) start(at weaver.Position) error {
	if at == nil {
		return r.look()
	}
	bad := func(err error) error {
		return retry.Fatal(fmt.Errorf("the checkpoint has a position that this source can't have made: %w", err))
	}
	if len(at) > 0 && at[0] == positionVersion {
		p, err := parsePosition(at)
		if err != nil {
			return bad(err)
		}
		r.below = &p
	} else {
		seq, all, err := parseEntries(at)
		if err != nil {
			return bad(err)
		}
		r.seq = seq
		for i := range all {
			all[i].seq = seq
			r.entries[all[i].name] = &all[i]
		}
	}
	r.first, r.dirty = false, true
	if err := r.look(); err != nil {
		return err
	}
	if r.file.Finished == Leave {
		return nil
	}
	// What a crash kept from being tidied away is so when the position is acknowledged that was read here.
	for _, e := range r.entries {
		if e.done && !e.kept && e.there {
			r.due = append(r.due, r.chore(e, r.seq))
		}
	}
	return nil
}

// Read implements weaver.Reader.
func (r *turns[T]) Read(ctx context.Context, b *weaver.Batch[T]) (weaver.Position, error) {
	p, err := r.read(ctx, b)
	if err != nil && err != io.EOF && ctx.Err() == nil { //nolint:errorlint // io.EOF counts only as it is
		err = fmt.Errorf("%s: %w", r.file, err)
	}
	return p, err
}

func (r *turns[T]) read(ctx context.Context, b *weaver.Batch[T]) (weaver.Position, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if r.cur == nil {
			last := r.finishing.Load() || !r.follow
			if err := r.openNext(ctx); err != nil {
				return nil, err
			}
			switch {
			case r.cur != nil:
			case last:
				return r.encode(), io.EOF
			case r.moved || len(b.Records)+len(b.Rejects()) > 0:
				return r.encode(), nil
			default:
				if err := r.wait(ctx); err != nil {
					return nil, err
				}
				continue
			}
		}
		ended, err := r.stream.fill(ctx, b)
		switch {
		case err == nil && !ended:
			if r.stream.skipping {
				return nil, nil
			}
			r.moved = true
			return r.encode(), nil
		case err == nil:
			r.leave(true)
		case err == errPending: //nolint:errorlint // made here
			r.leave(false)
			err = nil
		case errors.Is(err, errCut):
			err = r.file.vanished(r.log, "a file was cut or written anew while it was read: what it held behind the last byte that was read is lost", "path", r.cur.path, "read up to byte", r.stream.in.offset)
			if err != nil {
				return nil, err
			}
			r.cur.mark, r.cur.size = mark{line: 1}, -1
			r.shut()
		}
		if err != nil {
			return nil, err
		}
	}
}

// openNext opens the next file of the queue. Where that is empty, files are looked up first; with follow alone.
func (r *turns[T]) openNext(ctx context.Context) error {
	if len(r.queue) == 0 && r.follow && (r.finishing.Load() || time.Since(r.looked) >= r.every() || r.woken) {
		r.woken = false
		if err := r.look(); err != nil {
			return err
		}
	}
	for r.cur == nil && len(r.queue) > 0 {
		e := r.queue[0]
		r.queue = r.queue[1:]
		if err := r.open(ctx, e); err != nil {
			return err
		}
	}
	return nil
}

// open opens a file. One that is gone is passed over.
func (r *turns[T]) open(ctx context.Context, e *entry) error {
	file, err := r.file.openToRead(e.path)
	switch {
	case gone(err) && (r.follow || e.size >= 0):
		return nil
	case err != nil && r.follow:
		return cause(errors.Unwrap(err))
	case err != nil:
		return err
	}
	info, err := file.Stat()
	if err != nil {
		return errors.Join(err, file.Close())
	}
	id := r.file.identify(info, e.path, file).folded()
	if e.id != 0 && id != 0 && id != e.id {
		r.looked = time.Time{} // it was renamed: look again
		return file.Close()
	}
	e.id = id
	r.stream.in.growing = r.follow
	if after := r.file.FinishedAfter; r.finishing.Load() || after > 0 && time.Since(info.ModTime()) >= after {
		r.stream.in.growing = false
	}
	if d, ok := file.(durable.File); ok && r.follow {
		file = &handle{File: d}
	}
	err = r.stream.open(ctx, file, e.path, e.mark)
	other := (*replacedError)(nil)
	switch {
	case err == errPending: //nolint:errorlint // made here: not even the header is there
		e.size, e.was = info.Size(), info.ModTime().UnixMilli()
		return nil
	case errors.As(err, &other) && (r.follow || e.done):
		err = r.file.vanished(r.log, "a file was replaced, or cut: what it held behind the last byte that was read is lost, and what it holds now is read", "path", e.path, "read up to byte", e.offset)
		if err != nil {
			return err
		}
		e.mark, e.size, e.done, e.kept = mark{line: 1}, -1, false, false
		r.queue = append([]*entry{e}, r.queue...)
		return nil
	case err != nil:
		return err
	}
	if e.settled {
		e.settled, r.dirty = false, true
	}
	e.done = false
	r.cur, r.info = e, info
	r.later = max(r.later-info.Size()+e.offset, 0)
	return nil
}

// leave closes the open file, of which nothing more is there.
func (r *turns[T]) leave(done bool) {
	e := r.cur
	before := e.offset
	e.mark, e.size, e.was = r.stream.mark(), r.info.Size(), r.info.ModTime().UnixMilli()
	r.moved = r.moved || e.offset != before || done
	if done {
		e.done = true
		if r.file.Finished != Leave && !e.kept {
			r.seq++
			r.mu.Lock()
			r.due = append(r.due, r.chore(e, r.seq))
			r.mu.Unlock()
		}
	}
	r.shut()
}

// shut closes the open file and puts its entry to the others.
func (r *turns[T]) shut() {
	e := r.cur
	if e == nil {
		return
	}
	_ = r.stream.close() // it was read
	r.cur = nil
	if e.size >= 0 && !r.dirty {
		r.body = e.append(r.body)
		r.count++
		e.settled = true
	} else {
		r.dirty = true
	}
}

// encode returns the position. It is good until the next call.
func (r *turns[T]) encode() weaver.Position {
	if r.dirty {
		r.body, r.count = r.body[:0], 0
		for _, e := range r.entries {
			if e.settled = e != r.cur && e.size >= 0; e.settled {
				r.body = e.append(r.body)
				r.count++
			}
		}
		r.dirty = false
	}
	r.moved = false
	count := r.count
	if r.cur != nil {
		count++
	}
	dst := r.encoded[:0]
	dst = append(dst, entriesVersion)
	dst = binary.AppendUvarint(dst, uint64(r.seq)) //nolint:gosec // never negative
	dst = binary.AppendUvarint(dst, uint64(count)) //nolint:gosec // never negative
	dst = append(dst, r.body...)
	behind := r.later
	if e := r.cur; e != nil {
		e.mark, e.size, e.was = r.stream.mark(), r.info.Size(), 0 // it is in the middle: wanted, even if nothing comes any more
		dst = e.append(dst)
		behind += r.stream.left()
	}
	r.behind.Store(behind)
	r.encoded = dst
	return dst
}

// every is how often files are looked up.
func (r *turns[T]) every() time.Duration {
	return max(or(r.file.PollEvery, defaultPollEvery), 19*r.took)
}

// wait waits until it is time to look again.
func (r *turns[T]) wait(ctx context.Context) error {
	finish := r.finish
	if r.finishing.Load() {
		finish = nil
	}
	due, err := r.file.following.hub.await(ctx, r.sub, max(r.every()-time.Since(r.looked), time.Millisecond), max(r.pace.poll/2, 19*r.took), finish)
	r.woken = r.woken || due
	return err
}

// Lag implements weaver.LagReporter.
func (r *turns[T]) Lag() weaver.Lag {
	return weaver.Lag{Records: -1, Bytes: r.behind.Load(), Time: -1}
}

// Finish implements weaver.Finisher.
func (r *turns[T]) Finish(context.Context) error {
	r.finishing.Store(true)
	r.once.Do(func() { close(r.finish) })
	return nil
}

// Close implements weaver.Reader.
func (r *turns[T]) Close() error {
	err := r.stream.close()
	if r.sub != nil {
		r.file.following.hub.leave(r.sub)
	}
	return err
}

// Ack implements weaver.Acker: what was finished before p is moved or deleted.
func (r *turns[T]) Ack(_ context.Context, at weaver.Position) error {
	if r.file.Finished == Leave || len(at) == 0 || at[0] != entriesVersion {
		return nil
	}
	seq, _ := binary.Uvarint(at[1:])
	r.mu.Lock()
	n := 0
	for n < len(r.due) && r.due[n].seq <= int64(seq) { //nolint:gosec // it was one
		n++
	}
	due := slices.Clone(r.due[:n])
	r.mu.Unlock()
	for _, c := range due {
		if err := r.file.tidy(c.path, filepath.FromSlash(c.name), c.leftover, c.folded); err != nil {
			return fmt.Errorf("%s: %w", r.file, err)
		}
	}
	r.mu.Lock()
	r.due = slices.Delete(r.due, 0, n)
	r.mu.Unlock()
	return nil
}
