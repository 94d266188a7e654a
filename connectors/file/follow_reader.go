package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/retry"
)

// follower reads one followed path: what is at it now, what was before and was rotated away since, one generation after the other. At any time it reads one of them.
type follower[T any] struct {
	file    *File[T]
	stream  stream[T]
	log     *slog.Logger
	path    string
	lineage lineage
	tracked *tracked // nil: the split doesn't end because its path is gone
	sub     *subscriber
	pace    pace

	known  place // behind the last record that was returned
	first  bool  // known is to be returned although there is no record
	ended  bool
	handle *handle    // of the file that is open; nil: none
	open   generation // as it was found
	skips  bool       // memo is what the path was when nothing more could be read
	memo   generation
	left   *late

	seen      generation // the open file at the last look
	grew      time.Time  // when it was last seen to have grown, or was opened
	rotated   time.Time  // when it was first seen that it isn't at the path any more
	passed    bool       // and by then the next one had been rotated as well
	listed    time.Time  // when its younger generations were last looked for
	withdrawn time.Time  // when it was first seen that there is nothing at the path and nothing left to read
	later     int64      // sizes of younger generations
	woken     bool       // the last wait ended because the system told of a change
	slept     time.Duration
	misses    int // how often a change wasn't told of

	behind    atomic.Int64
	finishing atomic.Bool
	finish    chan struct{} // closed by Finish
	once      sync.Once

	encoded []byte
	mu      sync.Mutex
	due     []leftover
}

var (
	_ weaver.LagReporter = (*follower[int])(nil)
	_ weaver.Finisher    = (*follower[int])(nil)
	_ weaver.Acker       = (*follower[int])(nil)
)

// openFollower returns a reader of the split at, which is one path.
func (f *File[T]) openFollower(ctx context.Context, at weaver.Lane) (weaver.Reader[T], error) {
	s, err := f.newStream()
	if err != nil {
		return nil, err
	}
	path := f.path
	if at.Split.ID != "" {
		path = pathOfSplit(at.Split.ID)
	}
	r := &follower[T]{
		file: f, stream: s, log: at.Log, path: path, lineage: f.lineageOf(path), pace: f.following.pace.filled(),
		finish: make(chan struct{}), grew: time.Now(),
	}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	if r.tracked, _ = at.Split.Handle.(*tracked); r.tracked != nil {
		r.tracked.ended.Store(false)
	}
	if err := r.start(ctx, at.Position); err != nil {
		return nil, fmt.Errorf("%s: %w", f, err)
	}
	r.sub = f.following.hub.join(path, false)
	return r, nil
}

// start finds out where to begin. Files are opened by Read.
func (r *follower[T]) start(ctx context.Context, at weaver.Position) error {
	if at != nil {
		p, err := parsePlace(at)
		if err != nil {
			return retry.Fatal(fmt.Errorf("the checkpoint has a position that this source can't have made: %w", err))
		}
		r.known, r.due = p, p.due
		r.encode()
		return nil
	}
	var all []generation
	err := errUnsettled
	for errors.Is(err, errUnsettled) {
		if all, err = r.file.generations(r.lineage); errors.Is(err, errUnsettled) {
			if err := retry.Sleep(ctx, r.pace.poll); err != nil {
				return err
			}
		}
	}
	if err != nil {
		return cause(err)
	}
	r.first = true
	r.known = place{mark: mark{line: 1}, none: true, done: true}
	n := len(all)
	if n == 0 || !all[n-1].current {
		r.log.Warn("there is no such file yet: waiting for it", "path", r.path)
	} else {
		n--
		if r.file.From == End {
			p, err := r.file.endOf(all[n])
			if err != nil {
				return cause(err)
			}
			r.known = p
			return nil
		}
	}
	if n > 0 {
		r.known.id, r.known.time = all[n-1].id, max(all[n-1].time, 0)
	}
	return nil
}

// endOf returns the place behind the last line end of a file.
func (f *File[T]) endOf(g generation) (place, error) {
	file, err := f.fsys.OpenFile(g.path, syscall.O_NONBLOCK, 0)
	if err != nil {
		return place{}, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return place{}, err
	}
	g = f.generationAt(g.path, info, file)
	p := place{mark: mark{line: 1}, id: g.id, time: max(g.time, 0)}
	part := make([]byte, readBytes)
	for end := g.size; end > 0 && p.offset == 0; {
		from := max(end-int64(len(part)), 0)
		n, err := file.ReadAt(part[:end-from], from)
		if err != nil && !errors.Is(err, io.EOF) {
			return place{}, err
		}
		for i := n - 1; i >= 0; i-- {
			if part[i] == '\n' {
				p.offset = from + int64(i) + 1
				break
			}
		}
		end = from
	}
	head := make([]byte, min(p.offset, fingerprintBytes))
	tail := make([]byte, min(p.offset, pastBytes))
	if _, err := file.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return place{}, err
	}
	if _, err := file.ReadAt(tail, p.offset-int64(len(tail))); err != nil && !errors.Is(err, io.EOF) {
		return place{}, err
	}
	p.print, p.tail = fingerprintOf(head), fingerprintOf(tail)
	return p, nil
}

// cause says what is to be done about an error. All of them may pass while a path is followed: files come and go.
func cause(err error) error {
	switch {
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return retry.Transient(fmt.Errorf("%w: set a smaller File.MaxOpen, or raise the limit of the process (ulimit -n)", err))
	case errors.Is(err, fs.ErrPermission):
		return retry.Transient(fmt.Errorf("%w: give the user that this program runs as the right to read it", err))
	}
	return err
}

// Read implements weaver.Reader. It returns nothing but records that it knows to be of one generation.
func (r *follower[T]) Read(ctx context.Context, b *weaver.Batch[T]) (weaver.Position, error) {
	p, err := r.read(ctx, b)
	if err != nil && err != io.EOF && ctx.Err() == nil { //nolint:errorlint // io.EOF counts only as it is
		err = fmt.Errorf("%s: %s: %w", r.file, r.path, cause(err))
	}
	return p, err
}

func (r *follower[T]) read(ctx context.Context, b *weaver.Batch[T]) (weaver.Position, error) {
	if r.first {
		r.first = false
		return r.encode(), nil
	}
	for !r.ended {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if r.handle == nil {
			switch err := r.advance(ctx); {
			case errors.Is(err, errUnsettled):
				if err := retry.Sleep(ctx, r.pace.poll/4); err != nil {
					return nil, err
				}
				continue
			case err != nil:
				return nil, err
			case r.handle == nil && (r.finishing.Load() || r.isWithdrawn()):
				r.end()
				continue
			case r.handle == nil:
				if err := r.wait(ctx); err != nil {
					return nil, err
				}
				continue
			}
		}
		ended, err := r.stream.fill(ctx, b)
		some := len(b.Records)+len(b.Rejects()) > 0
		switch {
		case err == nil && !ended:
			return r.moved()
		case err == nil:
			if err := r.leave(); err != nil {
				return nil, err
			}
			if some {
				return r.encode(), nil
			}
		case err == errPending && some, errors.Is(err, errCut) && some: //nolint:errorlint // made here
			return r.moved()
		case err == errPending: //nolint:errorlint // made here
			again, err := r.look()
			if err == nil && !again {
				err = r.wait(ctx)
			}
			if err != nil {
				return nil, err
			}
		case errors.Is(err, errCut):
			r.shut() // what it held is elsewhere, or gone: advance finds out
		default:
			return nil, err
		}
	}
	return r.encoded, io.EOF
}

// moved returns the position behind the records that were just read; nil in the middle of one that is too long.
func (r *follower[T]) moved() (weaver.Position, error) {
	if r.stream.skipping {
		return nil, nil
	}
	info, err := r.handle.Stat()
	if err != nil {
		return nil, err
	}
	r.note(r.file.generationAt(r.open.path, info, r.handle.File), false)
	return r.encode(), nil
}

// note makes the end of what was read of the open file, which is g, the known place.
func (r *follower[T]) note(g generation, done bool) {
	p := place{mark: r.stream.mark(), id: g.id, time: max(g.time, 0), size: g.size, done: done, seq: r.known.seq}
	if isPlain(r.stream.contents) && p.offset == r.stream.in.offset {
		p.tail = fingerprintOf(r.stream.in.past())
	}
	r.known = p
	r.behind.Store(max(g.size-r.stream.contents.stored(p.offset), 0) + r.later)
}

// isPlain reports whether a file holds its content as it is.
func isPlain(c contents) bool {
	if u, ok := c.(*undecided); ok {
		c = u.contents
	}
	_, ok := c.(*plain)
	return ok
}

// encode returns the position. It is good until the next call.
func (r *follower[T]) encode() weaver.Position {
	p := r.known
	r.mu.Lock()
	p.due = r.due
	r.encoded = p.append(r.encoded[:0])
	r.mu.Unlock()
	return r.encoded
}

// leave closes the open file, which was read to its end and is finished.
func (r *follower[T]) leave() error {
	info, err := r.handle.Stat()
	if err != nil {
		return err
	}
	g := r.file.generationAt(r.open.path, info, r.handle.File)
	r.note(g, true)
	if r.file.Finished != Leave {
		r.known.seq++
		r.mu.Lock()
		r.due = append(r.due, leftover{id: g.id, print: r.known.print, size: g.size, seq: r.known.seq})
		r.mu.Unlock()
	}
	watch := !r.rotated.IsZero() && !r.finishing.Load()
	file := r.handle.File
	if watch {
		r.stream.file = nil // it stays open
	}
	r.shut()
	if watch {
		r.keepAnEyeOn(file, g)
	}
	return nil
}

// shut closes the open file.
func (r *follower[T]) shut() {
	if r.handle != nil {
		_ = r.stream.close() // it was read
		r.handle = nil
		r.file.following.hub.release()
	}
	r.skips = false
	r.rotated, r.withdrawn = time.Time{}, time.Time{}
}

// end ends the split.
func (r *follower[T]) end() {
	r.ended = true
	r.encode()
	if r.tracked != nil && !r.finishing.Load() {
		r.tracked.ended.Store(true)
	}
}

// isWithdrawn reports whether the path has been gone for so long that the split comes to its end. Nothing is open.
func (r *follower[T]) isWithdrawn() bool {
	if r.tracked == nil || r.memo.path != "" {
		r.withdrawn = time.Time{}
		return false
	}
	if r.withdrawn.IsZero() {
		r.withdrawn = time.Now()
	}
	return time.Since(r.withdrawn) >= r.pace.withdrawn
}

// look finds out what became of the open file, of which nothing more can be read now. It reports whether to read again.
func (r *follower[T]) look() (again bool, err error) {
	info, err := r.handle.Stat()
	if err != nil {
		return false, err
	}
	now := time.Now()
	g := r.file.generationAt(r.open.path, info, r.handle.File)
	if changed := g != r.seen; changed || g.size != r.handle.at {
		first := r.seen.path == ""
		r.seen = g
		if !first {
			r.grew = now
			r.count()
		}
		return true, nil
	}
	r.woken = false
	if err := r.lookBack(now); err != nil {
		return false, err
	}
	r.behind.Store(max(g.size-r.stream.contents.stored(r.stream.in.offset), 0) + r.later)
	at, current, err := r.current(g)
	switch {
	case err != nil:
		return false, err
	case current:
		r.rotated, r.later = time.Time{}, 0
		if after := r.file.FinishedAfter; r.finishing.Load() || after > 0 && now.Sub(r.grew) >= after {
			return r.final()
		}
		return false, nil
	case r.rotated.IsZero():
		r.rotated = now
		r.passed, err = r.hasYounger(g, true)
		return true, err // it may have grown before it was renamed
	case r.finishing.Load(), r.passed:
		return r.final()
	}
	quiet := now.Sub(r.grew) >= r.pace.quiet && now.Sub(r.rotated) >= r.pace.quiet
	if !quiet && now.Sub(r.rotated) < r.pace.patience {
		return false, nil
	}
	if at.size > 0 {
		return r.final()
	}
	if now.Sub(r.listed) < min(4*r.pace.quiet, r.pace.withdrawn) {
		return false, nil
	}
	r.listed = now
	next, err := r.hasYounger(g, false)
	if next || err == nil && r.tracked != nil && at.path == "" && now.Sub(r.rotated) >= r.pace.withdrawn {
		return r.final()
	}
	return false, err
}

// count takes down whether the system told of a change that was found after a long wait.
func (r *follower[T]) count() {
	switch {
	case r.woken:
		r.misses = 0
	case r.slept > r.pace.rest:
		r.misses++
	}
	r.woken = false
}

// final makes the end of the open file its end for good, up to which it is then read.
func (r *follower[T]) final() (again bool, err error) {
	r.stream.in.growing = false
	return true, nil
}

// current returns what is at the path, with an empty path if nothing is, and whether that is the open file, which was g a moment ago.
func (r *follower[T]) current(g generation) (at generation, same bool, err error) {
	info, err := r.file.fsys.Stat(r.path)
	switch {
	case gone(err):
		return generation{}, false, nil
	case err != nil:
		return generation{}, false, err
	}
	at = r.file.generationAt(r.path, info, nil)
	if g.id.known() && at.id.known() {
		return at, g.id == at.id, nil
	}
	// Files can't be told by their inode. One that only grows was, when the path was looked at, between what it was before and what it is now.
	if info, err = r.handle.Stat(); err != nil {
		return at, false, err
	}
	later := r.file.generationAt(r.path, info, r.handle.File)
	return at, g.size <= at.size && at.size <= later.size && g.time <= at.time && at.time <= later.time, nil
}

// hasYounger reports whether there are younger generations than the open file, which is g, that hold something; with rotated, not counting what is at the path.
func (r *follower[T]) hasYounger(g generation, rotated bool) (bool, error) {
	all, err := r.file.generations(r.lineage)
	if errors.Is(err, errUnsettled) {
		return false, nil
	}
	for i, x := range all {
		switch {
		case x.id.known() && x.id == g.id:
			for _, y := range all[i+1:] {
				if y.size > 0 && (!rotated || !y.current) {
					return true, err
				}
			}
			return false, err
		case x.time > g.time && !g.id.known() && x.size > 0 && (!rotated || !x.current):
			return true, err
		}
	}
	return false, err
}

// wait waits until it is time to look again.
func (r *follower[T]) wait(ctx context.Context) error {
	hub := &r.file.following.hub
	if r.handle != nil && hub.waiting.Load() > 0 {
		r.shut() // it is opened again when it has changed
		r.memo, r.skips = r.seen, r.seen.path == r.path
		r.open.path = ""
	}
	interval, finish := r.interval(), r.finish
	if r.finishing.Load() {
		finish = nil
	}
	t := time.NewTimer(interval)
	defer t.Stop()
	began := time.Now()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-r.sub.wake:
		r.woken = true
	case <-finish:
	case <-t.C:
	}
	r.slept = time.Since(began)
	return nil
}

// interval is how long to wait: the longer, the longer nothing has happened.
func (r *follower[T]) interval() time.Duration {
	idle := time.Since(r.grew)
	switch {
	case !r.rotated.IsZero():
		return r.pace.poll
	case r.sub.told.Load() && r.misses < 3:
		return min(max(idle/8, r.pace.poll), r.pace.restTold)
	}
	if idle > time.Minute && r.misses < 3 {
		r.file.following.hub.again(r.sub)
	}
	return min(max(idle/100, r.pace.poll), r.pace.rest)
}

// Lag implements weaver.LagReporter: what of the path and its older generations is not read.
func (r *follower[T]) Lag() weaver.Lag {
	return weaver.Lag{Records: -1, Bytes: r.behind.Load(), Time: -1}
}

// Finish implements weaver.Finisher. A last line without an end is then a record.
func (r *follower[T]) Finish(context.Context) error {
	r.finishing.Store(true)
	r.once.Do(func() { close(r.finish) })
	return nil
}

// Close implements weaver.Reader.
func (r *follower[T]) Close() error {
	r.shut()
	if r.left != nil {
		_ = r.left.file.Close()
		r.left = nil
	}
	r.file.following.hub.leave(r.sub)
	return nil
}
