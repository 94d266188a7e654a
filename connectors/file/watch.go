package file

import (
	"context"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/bohica-labs/dataweaver/retry"
)

// hub is what all that follow files of one File share: what the operating system tells of changes, and how many files may be open. What it tells is a hint to
// look now and never relied on: everything is looked at from time to time anyway.
//
// It has one goroutine, from the first join to the last leave, which waits for it.
type hub struct {
	deaf bool // tests: the system tells nothing

	life sync.Mutex // of users and what they start and end; taken before mu
	done chan struct{}

	mu      sync.Mutex
	users   int
	notify  *fsnotify.Watcher // nil: the system tells nothing
	folders map[string]bool   // true: watched, false: it can't be
	subs    map[*subscriber]struct{}
	paths   map[string]map[*subscriber]struct{}
	open    int
	waiting atomic.Int32 // for one of the open files
	freed   chan struct{}
}

// mostFolders is how many folders are watched at most: systems have bounds on it, which others share.
const mostFolders = 4096

// subscriber is somebody to be woken.
type subscriber struct {
	wake   chan struct{} // has room for one
	folder string        // whatever changes in it; or
	path   string        // this file
	told   atomic.Bool   // the system tells of changes
}

func (s *subscriber) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// await waits until it is time to look at what s is about: wait is over, or the system tells of a change; then it waits a little longer, for changes come in
// crowds. It reports false if finish, which may be nil, was closed first.
func (h *hub) await(ctx context.Context, s *subscriber, wait, crowd time.Duration, finish <-chan struct{}) (due bool, err error) {
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false, ctx.Err()
	case <-finish:
		return false, nil
	case <-t.C:
		if !s.told.Load() {
			h.again(s)
		}
		return true, nil
	case <-s.wake:
	}
	return true, retry.Sleep(ctx, crowd)
}

// join makes a subscriber. The file at path, which needn't be there, or with folder whatever is in path, is watched from then on.
func (h *hub) join(path string, folder bool) *subscriber {
	s := &subscriber{wake: make(chan struct{}, 1)}
	path = filepath.Clean(path)
	dir := path
	if folder {
		s.folder = path
	} else {
		s.path, dir = path, filepath.Dir(path)
	}
	h.life.Lock()
	defer h.life.Unlock()
	h.mu.Lock()
	if h.users == 0 {
		h.folders, h.subs, h.paths = make(map[string]bool), make(map[*subscriber]struct{}), make(map[string]map[*subscriber]struct{})
		h.freed = make(chan struct{})
		if !h.deaf {
			h.notify, _ = fsnotify.NewWatcher() // without it, all is polled
		}
		if h.notify != nil {
			h.done = make(chan struct{})
			go h.listen(h.notify, h.done)
		}
	}
	h.users++
	h.subs[s] = struct{}{}
	if s.path != "" {
		if h.paths[s.path] == nil {
			h.paths[s.path] = make(map[*subscriber]struct{})
		}
		h.paths[s.path][s] = struct{}{}
	}
	h.mu.Unlock()
	h.watch(s, dir)
	return s
}

// watch makes the system tell of changes in a folder. life is held.
func (h *hub) watch(s *subscriber, dir string) {
	h.mu.Lock()
	n, known, count := h.notify, h.folders[dir], len(h.folders)
	h.mu.Unlock()
	if n == nil || !known && count >= mostFolders {
		return
	}
	if !known {
		known = n.Add(dir) == nil
		if !known {
			return
		}
		h.mu.Lock()
		h.folders[dir] = true
		h.mu.Unlock()
	}
	s.told.Store(true)
}

// again watches the folder of a subscriber that isn't watched, or was away.
func (h *hub) again(s *subscriber) {
	h.life.Lock()
	defer h.life.Unlock()
	dir := s.folder
	if dir == "" {
		dir = filepath.Dir(s.path)
	}
	h.watch(s, dir)
}

// leave ends a subscription.
func (h *hub) leave(s *subscriber) {
	h.life.Lock()
	defer h.life.Unlock()
	h.mu.Lock()
	delete(h.subs, s)
	if set := h.paths[s.path]; set != nil {
		delete(set, s)
		if len(set) == 0 {
			delete(h.paths, s.path)
		}
	}
	h.users--
	n, done := h.notify, h.done
	last := h.users == 0
	if last {
		h.notify, h.done = nil, nil
	}
	h.mu.Unlock()
	if last && n != nil {
		_ = n.Close() // it was a hint
		<-done
	}
}

// listen wakes subscribers until n is closed.
func (h *hub) listen(n *fsnotify.Watcher, done chan struct{}) {
	defer close(done)
	for {
		select {
		case e, ok := <-n.Events:
			if !ok {
				return
			}
			h.tell(e)
		case _, ok := <-n.Errors: // events were dropped, above all
			if !ok {
				return
			}
			h.wakeAll()
		}
	}
}

// tell wakes those whom an event concerns.
func (h *hub) tell(e fsnotify.Event) {
	const names = fsnotify.Create | fsnotify.Remove | fsnotify.Rename
	name := filepath.Clean(e.Name)
	h.mu.Lock()
	defer h.mu.Unlock()
	for s := range h.paths[name] {
		s.poke()
	}
	if e.Op&names == 0 && len(h.paths) > 0 {
		return
	}
	dir := filepath.Dir(name)
	for s := range h.subs {
		if s.folder != "" && (s.folder == dir || s.folder == name) {
			s.poke()
		}
	}
	if h.folders[name] && e.Op&(fsnotify.Remove|fsnotify.Rename) != 0 { // a folder that was watched is gone
		delete(h.folders, name)
		for s := range h.subs {
			if s.folder == name || s.path != "" && filepath.Dir(s.path) == name {
				s.told.Store(false)
				s.poke()
			}
		}
	}
}

func (h *hub) wakeAll() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for s := range h.subs {
		s.poke()
	}
}

// acquire waits until one more file may be open, of most. Those that are idle are asked to close theirs.
func (h *hub) acquire(ctx context.Context, most int) error {
	for first := true; ; first = false {
		h.mu.Lock()
		if h.open < most {
			h.open++
			h.mu.Unlock()
			return nil
		}
		freed := h.freed
		h.mu.Unlock()
		if first {
			h.waiting.Add(1)
			defer h.waiting.Add(-1)
			h.wakeAll()
		}
		select {
		case <-freed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// release gives back what acquire gave.
func (h *hub) release() {
	h.mu.Lock()
	h.open--
	if h.waiting.Load() > 0 {
		close(h.freed)
		h.freed = make(chan struct{})
	}
	h.mu.Unlock()
}
