package file

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/internal/durable"
	"github.com/bohica-labs/dataweaver/retry"
)

// bucketNumber is the Handle of a split that is a bucket of a followed pattern.
type bucketNumber int

// entry is what a position has of one file.
type entry struct {
	mark
	name uint64 // hash of the file's name
	id   uint64 // folded identity; 0: unknown
	size int64  // of the file as it is stored, when it was last read
	was  int64  // when it was last modified before that, in milliseconds since 1970
	done bool   // it is finished
	kept bool   // and not to be tidied away: it was read when there were no entries yet
	seq  int64  // of the position in which it was done first; not stored

	path, called string // as it was last found; not stored
	time, found  int64  // of its last modification at that time, and its size
	there        bool
	settled      bool // it is in turns.body
}

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

// chore is a file that is to be moved or deleted.
type chore struct {
	leftover
	folded     uint64
	path, name string
}

var (
	_ weaver.LagReporter = (*turns[int])(nil)
	_ weaver.Finisher    = (*turns[int])(nil)
	_ weaver.Acker       = (*turns[int])(nil)
)

func hashOf(name string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(name))
	return h.Sum64()
}

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

func (f *File[T]) folderOrParent() string {
	if f.isPattern() {
		return f.folder()
	}
	return filepath.Dir(f.path)
}

// bucketFiles returns the files that fall to bucket i.
func (f *File[T]) bucketFiles(i int) ([]found, error) {
	if !f.isPattern() {
		info, err := f.fsys.Stat(f.path)
		if gone(err) || bucket(filepath.Base(f.path), f.Buckets) != i {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		return []found{{name: filepath.Base(f.path), path: f.path, size: info.Size(), info: info}}, nil
	}
	files, err := f.match()
	return slices.DeleteFunc(files, func(x found) bool { return bucket(bucketName(x.name), f.Buckets) != i }), err
}

// bucketName is what of a name says which bucket a followed file falls to: without what rotation adds to it, so that it stays in its bucket.
func bucketName(name string) string {
	from := strings.LastIndexByte(name, '/') + 2
	for i := from; i < len(name); i++ {
		if strings.IndexByte(".-_~", name[i]) >= 0 && strings.Contains(name[from-1:i], ".") && isRotationSuffix(name[i:]) {
			return name[:i]
		}
	}
	return name
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

// look looks up the files, and makes the queue of those there is something to read of.
func (r *turns[T]) look() error {
	began := time.Now()
	files, err := r.list()
	r.took = time.Since(began)
	r.looked = time.Now()
	if err != nil {
		if r.follow && !r.first {
			return retry.Transient(err)
		}
		return err
	}
	if !r.follow && r.first && len(files) == 0 && !r.bucketed {
		return errNoMatch
	}
	for _, e := range r.entries {
		e.there = false
	}
	var fresh []*entry
	r.queue, r.later = r.queue[:0], 0
	for _, x := range files {
		e, err := r.find(x)
		if err != nil {
			return err
		}
		if e == nil {
			continue
		}
		if e.size < 0 {
			fresh = append(fresh, e)
		}
		if r.wants(e) {
			r.queue = append(r.queue, e)
			r.later += max(e.found-e.offset, 0)
		}
	}
	r.below = nil
	if err := r.match(fresh); err != nil {
		return err
	}
	r.queue = slices.DeleteFunc(r.queue, func(e *entry) bool { return e.done && e.size == e.found && e.was == e.time/1e6 })
	r.forget(len(files) > 0)
	if r.file.Order == ByTime {
		slices.SortStableFunc(r.queue, func(a, b *entry) int { return cmp.Or(cmp.Compare(a.time, b.time), strings.Compare(a.called, b.called)) })
	}
	r.first = false
	r.behind.Store(r.later)
	return nil
}

// find returns the entry of a file, which it makes if there is none; nil if the file isn't one to be read.
func (r *turns[T]) find(x found) (*entry, error) {
	if r.file.isTidied(x.path) {
		return nil, nil
	}
	info := x.info
	if info == nil {
		var err error
		if info, err = r.file.lister().Stat(x.path); gone(err) && !r.first {
			return nil, nil // tidied away
		} else if err != nil {
			return nil, advice(err, "check the path, and the folder the program runs in")
		}
	}
	if !info.Mode().IsRegular() {
		if r.follow {
			return nil, nil
		}
		return nil, regular(info, x.path)
	}
	name := hashOf(x.name)
	id := r.file.identify(info, x.path, nil).folded()
	e := r.entries[name]
	if e != nil && (e.id != 0 && id != 0 && e.id != id || info.Size() < e.size && e.size == e.offset) {
		if e.path != "" && !e.done && e.time != 0 && e.offset < e.size {
			r.log.Warn("a file was replaced before it was read to its end: what came behind is lost", "path", x.path, "read up to byte", e.offset)
		}
		// The file that had this name may have another one now.
		delete(r.entries, name)
		r.dirty = true
		if e.id != 0 && e.id != id {
			e.there = false
			e.name = ^name
			for r.entries[e.name] != nil {
				e.name--
			}
			r.entries[e.name] = e
		}
		e = nil
	}
	if e == nil {
		e = &entry{name: name, id: id, size: -1, mark: mark{line: 1}}
		if p := r.below; p != nil && strings.Compare(x.name, p.name) < 0 {
			e.done, e.kept, e.size, e.offset, e.was = true, true, x.size, x.size, info.ModTime().UnixMilli()
			r.dirty = true
		} else if p != nil && x.name == p.name {
			e.mark, e.done, e.kept, e.size, e.was = p.mark, p.done, p.done, x.size, info.ModTime().UnixMilli()
			r.dirty = true
		}
		r.entries[name] = e
	}
	e.path, e.called, e.there = x.path, x.name, true
	if e.id == 0 {
		e.id = id
	}
	e.time, e.found = info.ModTime().UnixNano(), x.size
	if x.info == nil {
		e.found = info.Size()
	}
	return e, nil
}

// wants reports whether there may be something to read.
func (r *turns[T]) wants(e *entry) bool {
	switch {
	case e.size < 0, e.found != e.size, e.time/1e6 != e.was:
		return true
	case e.done:
		return false
	case !r.follow, r.finishing.Load():
		return true
	}
	after := r.file.FinishedAfter
	return after > 0 && time.Since(time.Unix(0, e.time)) >= after
}

// match finds those fresh files that have only been given another name.
func (r *turns[T]) match(fresh []*entry) error {
	var left []*entry // entries without a file
	for _, e := range r.entries {
		if !e.there {
			left = append(left, e)
		}
	}
	if len(left) == 0 || len(fresh) == 0 {
		return nil
	}
	slices.SortFunc(left, func(a, b *entry) int { return cmp.Compare(a.name, b.name) })
	for _, e := range fresh {
		var head []byte
		for i, old := range left {
			if old == nil || old.id != 0 && e.id != 0 && old.id != e.id || old.print.size == 0 {
				continue
			}
			if old.id == 0 && old.print.size < shortPrint {
				continue
			}
			if head == nil {
				var err error
				if head, err = r.file.headOf(e.path); err != nil {
					return ignoreGone(err)
				}
			}
			if old.print.size > len(head) || fingerprintOf(head[:old.print.size]) != old.print {
				continue
			}
			left[i] = nil
			delete(r.entries, old.name)
			e.mark, e.done, e.kept, e.size, e.was, e.seq = old.mark, old.done, old.kept, old.size, old.was, old.seq
			r.dirty = true
			break
		}
	}
	return nil
}

// headOf returns how the content of a file begins.
func (f *File[T]) headOf(path string) ([]byte, error) {
	file, err := f.openToRead(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	c, err := contentsOf(file, nil)
	if err != nil {
		return nil, err
	}
	head := make([]byte, fingerprintBytes)
	n, err := io.ReadFull(c, head)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return head[:n], err
}

// forget drops entries of files that are gone. A folder in which nothing is left may be one that isn't mounted: then none is dropped.
func (r *turns[T]) forget(some bool) {
	if !some && (r.follow || len(r.entries) > 1) {
		return
	}
	for name, e := range r.entries {
		if e.there || e == r.cur {
			continue
		}
		if !e.done && e.path != "" && (e.size < 0 || e.offset < e.size) {
			r.log.Warn("a file is gone before it was read to its end: what came behind is lost", "path", e.path, "read up to byte", e.offset)
		}
		delete(r.entries, name)
		r.dirty, r.moved = true, true
	}
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
			r.log.Warn("a file was cut or written anew while it was read: what it held behind the last byte that was read is lost", "path", r.cur.path, "read up to byte", r.stream.in.offset)
			r.cur.mark, r.cur.size = mark{line: 1}, -1
			r.shut()
			err = nil
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
		r.log.Warn("a file was replaced, or cut: what it held behind the last byte that was read is lost, and what it holds now is read", "path", e.path, "read up to byte", e.offset)
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

func (r *turns[T]) chore(e *entry, seq int64) chore {
	return chore{leftover: leftover{print: e.print, size: e.size, seq: seq}, folded: e.id, path: e.path, name: e.called}
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
		e.mark, e.size, e.was = r.stream.mark(), r.info.Size(), r.info.ModTime().UnixMilli()
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
