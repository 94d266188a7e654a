package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/internal/durable"
	"github.com/bohica-labs/dataweaver/retry"
)

// isTidied reports whether path lies in the folder that finished files are moved to.
func (f *File[T]) isTidied(path string) bool {
	if f.MoveTo == "" {
		return false
	}
	rest, err := filepath.Rel(f.MoveTo, path)
	return err == nil && rest != ".." && !strings.HasPrefix(rest, ".."+string(filepath.Separator))
}

// Ack implements weaver.Acker: what was finished before p is moved or deleted.
func (r *follower[T]) Ack(_ context.Context, at weaver.Position) error {
	if r.file.Finished == Leave {
		return nil
	}
	p, err := parsePlace(at)
	if err != nil {
		return retry.Fatal(err)
	}
	r.mu.Lock()
	due := slices.Clone(r.due)
	r.mu.Unlock()
	due = slices.DeleteFunc(due, func(l leftover) bool { return l.seq > p.seq })
	if len(due) == 0 {
		return nil
	}
	all, err := r.file.generations(r.lineage)
	if errors.Is(err, errUnsettled) {
		return nil // the next one sees to it
	}
	if err != nil {
		return cause(err)
	}
	for _, l := range due {
		for _, g := range all {
			if g.size != l.size || g.id.differs(l.id) {
				continue
			}
			if err := r.file.tidy(g.path, filepath.Base(g.path), l, l.id.folded()); err != nil {
				return fmt.Errorf("%s: %w", r.file, err)
			}
		}
	}
	r.mu.Lock()
	r.due = slices.DeleteFunc(slices.Clone(r.due), func(l leftover) bool { return l.seq <= p.seq })
	r.mu.Unlock()
	return nil
}

// tidy moves or deletes the file at path, to be called name, if it is still l, whose folded identity is id, and has not grown.
func (f *File[T]) tidy(path, name string, l leftover, folded uint64) error {
	same, id, err := f.isStill(path, l, folded)
	if err != nil || !same {
		return advice(err, "")
	}
	if f.Finished == Delete {
		if err := f.fsys.Remove(path); err != nil && !gone(err) {
			return advice(err, "")
		}
		return advice(f.fsys.SyncDir(filepath.Dir(path)), "")
	}
	return f.moveAway(path, filepath.Join(f.MoveTo, name), id)
}

// isStill reports whether the file at path is l.
func (f *File[T]) isStill(path string, l leftover, folded uint64) (bool, identity, error) {
	file, err := f.fsys.OpenFile(path, syscall.O_NONBLOCK, 0)
	if gone(err) {
		return false, identity{}, nil
	}
	if err != nil {
		return false, identity{}, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return false, identity{}, err
	}
	g := f.generationAt(path, info, file)
	if id := g.id.folded(); g.size != l.size || id != 0 && folded != 0 && id != folded {
		return false, identity{}, nil
	}
	c, err := contentsOf(file, nil)
	if err != nil {
		return false, identity{}, err
	}
	head := make([]byte, l.print.size)
	n, err := io.ReadFull(c, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return false, identity{}, err
	}
	if n < len(head) || fingerprintOf(head) != l.print {
		return false, identity{}, nil
	}
	at, err := f.fsys.Stat(path) // nothing was put there since it was opened
	if err != nil {
		return false, identity{}, ignoreGone(err)
	}
	return at.Size() == l.size && !g.id.differs(f.identify(at, path, nil)), g.id, nil
}

func ignoreGone(err error) error {
	if gone(err) {
		return nil
	}
	return err
}

// moveAway gives a file another name. A link that is made first keeps whatever has that name from being overwritten; a crash in between leaves the file with both
// names, which is mended when it is done again.
func (f *File[T]) moveAway(path, to string, id identity) error {
	if err := durable.MkdirAll(f.fsys, filepath.Dir(to), 0o755); err != nil {
		return advice(err, "")
	}
	ext := filepath.Ext(to)
	for n := 1; ; n++ {
		target := to
		if n > 1 {
			target = strings.TrimSuffix(to, ext) + "~" + strconv.Itoa(n) + ext
		}
		err := f.fsys.Link(path, target)
		switch {
		case err == nil:
		case errors.Is(err, fs.ErrExist):
			if info, serr := f.fsys.Stat(target); serr != nil || !id.known() || f.identify(info, target, nil) != id {
				continue
			}
		case gone(err):
			return nil
		case errors.Is(err, syscall.EXDEV):
			return retry.Fatal(fmt.Errorf("%w: MoveTo must be on the file system of the files", err))
		case errors.Is(err, errors.ErrUnsupported), errors.Is(err, syscall.EPERM), errors.Is(err, syscall.ENOTSUP):
			if _, serr := f.fsys.Stat(target); serr == nil {
				continue
			}
			// A file system without links. Nobody else has business in MoveTo, so the name is still free.
			if err := f.fsys.Rename(path, target); err != nil {
				return advice(err, "")
			}
			return f.moved(path, target)
		default:
			return advice(err, "")
		}
		if err := f.fsys.SyncDir(filepath.Dir(target)); err != nil {
			return advice(err, "")
		}
		if err := f.fsys.Remove(path); err != nil && !gone(err) {
			return advice(err, "")
		}
		return f.moved(path, target)
	}
}

func (f *File[T]) moved(from, to string) error {
	return advice(errors.Join(f.fsys.SyncDir(filepath.Dir(to)), f.fsys.SyncDir(filepath.Dir(from))), "")
}
