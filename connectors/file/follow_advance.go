package file

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"syscall"
	"time"

	"github.com/bohica-labs/dataweaver/internal/durable"
)

// advance opens the next file there is something to read of: the one that known is about, or the one after it. Where there is none, none is open afterwards.
func (r *follower[T]) advance(ctx context.Context) error {
	if err := r.lookBack(time.Now()); err != nil {
		return err
	}
	var now generation
	info, err := r.file.fsys.Stat(r.path)
	switch {
	case err == nil:
		now = r.file.generationAt(r.path, info, nil)
	case !gone(err):
		return err
	}
	after := r.file.FinishedAfter
	due := after > 0 && !r.known.done && time.Since(r.grew) >= after
	if r.skips && now == r.memo && !r.finishing.Load() && !due {
		return nil
	}
	r.woken = false
	all, err := r.file.generations(r.lineage)
	if err != nil {
		return err
	}
	next, err := r.resume(ctx, all)
	if err == nil && r.handle == nil {
		err = r.succeed(ctx, all, next)
	}
	if err != nil {
		return err
	}
	r.memo, r.skips = now, r.handle == nil
	if r.handle == nil {
		r.later = 0
		r.behind.Store(0)
		return nil
	}
	r.later = 0
	for i := len(all) - 1; i >= 0 && all[i].path != r.open.path; i-- {
		r.later += all[i].size
	}
	return nil
}

// shortPrint is below how many bytes two different files may well begin alike.
const shortPrint = 64

// resume looks among all generations for the one that known is about, and opens it if there may be more to read. Otherwise it returns which of them
// comes after it.
func (r *follower[T]) resume(ctx context.Context, all []generation) (next int, err error) {
	at := &r.known
	if at.none {
		for i, g := range all {
			if at.id.known() && at.id == g.id && !g.current {
				return i + 1, nil
			}
		}
		for next < len(all) && !all[next].current && all[next].time <= at.time {
			next++
		}
		return next, nil
	}
	// The one with the same inode first, then what is at the path, then copies, of which the youngest is the likeliest.
	candidates := make([]int, 0, len(all))
	for i, g := range all {
		if at.id.known() && g.id == at.id {
			candidates = append(candidates, i)
		}
	}
	for i := len(all) - 1; i >= 0; i-- {
		if g := all[i]; !at.id.known() || g.id != at.id {
			if at.print.size == 0 && (g.id.differs(at.id) || !g.current) || at.print.size < shortPrint && g.id.differs(at.id) && g.current {
				continue
			}
			candidates = append(candidates, i)
		}
	}
	for _, i := range candidates {
		g := all[i]
		unchanged := at.done && g.size == at.size && g.time == at.time
		if unchanged && at.id.known() && g.id == at.id {
			return i + 1, nil
		}
		err := r.openAt(ctx, g, at.mark, at.tail)
		other := (*replacedError)(nil)
		switch {
		case err == nil && unchanged:
			r.shut()
			return i + 1, nil
		case err == nil:
			return i, nil
		case !errors.As(err, &other):
			return 0, err
		case other.short && !g.current && at.print.size >= shortPrint:
			// A copy that was made before the last lines were written and read: nothing in it is new.
			return i + 1, nil
		}
	}
	for next < len(all) && !all[next].current && all[next].time < at.time {
		next++
	}
	if !at.done {
		if err := r.lost(all); err != nil {
			return 0, err
		}
		at.done = true
	}
	return next, nil
}

// lost tells of a file that is gone, perhaps with something in it that was not read.
func (r *follower[T]) lost(all []generation) error {
	attrs := []any{slog.String("path", r.path), slog.Int64("read up to byte", r.known.offset), slog.Int("generations found", len(all))}
	if r.known.time > 0 && r.known.time < 1<<62 {
		attrs = append(attrs, slog.Time("last modified", time.Unix(0, r.known.time)))
	}
	if r.seen.id == r.known.id && r.seen.size >= r.known.offset && r.seen.path != "" {
		attrs = append(attrs, slog.Int64("bytes known to be unread", r.seen.size-r.known.offset))
	}
	return r.file.vanished(r.log, "a followed file was cut, or deleted, and no copy of it is found: what it held behind the last byte that was read is lost (if it was renamed, File.Rotated must match its new name)", attrs...)
}

// succeed opens the first of all generations from next on that holds something.
func (r *follower[T]) succeed(ctx context.Context, all []generation, next int) error {
	for _, g := range all[min(next, len(all)):] {
		if g.size == 0 {
			continue
		}
		// A copy may have been read before the file itself was cut: that is then still the same.
		if at := &r.known; !at.none && at.print.size >= 4*shortPrint && at.tail.size > 0 && g.size >= at.offset {
			err := r.openAt(ctx, g, at.mark, at.tail)
			if other := (*replacedError)(nil); err == nil || !errors.As(err, &other) {
				return err
			}
		}
		err := r.openAt(ctx, g, mark{line: 1}, fingerprint{})
		if err == errPending { //nolint:errorlint // made here: not even the header is there
			if g.current {
				return nil
			}
			continue
		}
		if err != nil || !g.current && g.id.known() {
			return err
		}
		// Nothing of this file was known, so nothing would tell if it was cut or replaced before it was opened: look whether it still comes next.
		again, err := r.file.generations(r.lineage)
		if err == nil && !sameGenerations(all, again) {
			err = errUnsettled
		}
		if err != nil {
			r.shut()
		}
		return err
	}
	return nil
}

// sameGenerations reports whether nothing was rotated between two looks.
func sameGenerations(a, b []generation) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !a[i].same(b[i]) || b[i].size < a[i].size {
			return false
		}
	}
	return true
}

// openAt opens a generation to be read from m on. The error is a *replacedError if it isn't the file that m is about.
func (r *follower[T]) openAt(ctx context.Context, g generation, m mark, tail fingerprint) error {
	hub := &r.file.following.hub
	if err := hub.acquire(ctx, or(r.file.MaxOpen, defaultMaxOpen)); err != nil {
		return err
	}
	h, err := r.openHandle(ctx, g, m, tail)
	if err != nil {
		hub.release()
		return err
	}
	if g.path != r.seen.path || g.size != r.seen.size || g.time != r.seen.time {
		r.grew = time.Now()
	}
	r.handle, r.open, r.seen = h, g, generation{}
	r.rotated, r.withdrawn = time.Time{}, time.Time{}
	return nil
}

func (r *follower[T]) openHandle(ctx context.Context, g generation, m mark, tail fingerprint) (*handle, error) {
	file, err := r.file.fsys.OpenFile(g.path, syscall.O_NONBLOCK, 0)
	if gone(err) {
		return nil, errUnsettled
	}
	if err != nil {
		return nil, err
	}
	h, err := r.begin(ctx, file, g, m, tail)
	if err != nil {
		_ = file.Close() // it may be closed already
		return nil, err
	}
	return h, nil
}

func (r *follower[T]) begin(ctx context.Context, file durable.File, g generation, m mark, tail fingerprint) (*handle, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if g.id.differs(r.file.identify(info, g.path, file)) {
		return nil, errUnsettled
	}
	h := &handle{File: file}
	r.stream.in.growing = !r.finishing.Load()
	err = r.stream.open(ctx, h, g.path, m)
	switch {
	case err == errPending && m.offset > 0, errors.Is(err, errCut): //nolint:errorlint // made here
		return nil, &replacedError{error: err}
	case err != nil:
		return nil, err
	}
	if m.offset == 0 || !isPlain(r.stream.contents) {
		return h, nil
	}
	// Whatever was read until now came before this: if the tail is there, the file was not cut meanwhile.
	ok, err := h.has(tail, m.offset)
	if err == nil && !ok {
		err = &replacedError{error: fmt.Errorf("%s was written anew", g.path)}
	}
	if err != nil {
		_ = r.stream.close()
	}
	return h, err
}

// late is a file that was left though somebody may still write to it.
type late struct {
	file  durable.File
	g     generation
	until time.Time
}

// keepAnEyeOn makes lookBack watch a file that was left.
func (r *follower[T]) keepAnEyeOn(file durable.File, g generation) {
	if r.left != nil {
		_ = r.left.file.Close()
	}
	r.left = &late{file: file, g: g, until: time.Now().Add(r.pace.patience)}
}

// lookBack tells if something was appended to a file after it was left.
func (r *follower[T]) lookBack(now time.Time) error {
	l := r.left
	if l == nil {
		return nil
	}
	info, err := l.file.Stat()
	if err != nil || info.Size() != l.g.size || now.After(l.until) {
		_ = l.file.Close()
		r.left = nil
	}
	if err != nil || info.Size() <= l.g.size {
		return nil
	}
	return r.file.vanished(r.log, "a rotated file was written to after it was left for the next one: these bytes are not read",
		"path", r.path, "from byte", l.g.size, "bytes", info.Size()-l.g.size)
}
