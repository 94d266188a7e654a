package durabletest

import (
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/bohica-labs/dataweaver/internal/durable"
)

// Disk is a durable.FS in memory that tells what is durable from what is not. It is safe for concurrent use.
//
// Names are rooted: "a", "./a" and "/a" are the same, and "/" is there from the start. Permissions are kept but not enforced, and there are no symbolic links.
//
// What becomes durable is what POSIX promises and no more: a Sync of a file says nothing about its name, a SyncDir nothing about what the files hold
// or what is in the folders below. Within one folder a rename is one step, as on every file system with a journal; from one folder to another it is two,
// each durable with its own folder. After a Sync that was made to fail, what was to be synced never becomes durable, though it can be read: a
// later Sync succeeds without it.
type Disk struct {
	mu   sync.Mutex
	root *node
	ops  []Op
	fail func(Op) error
	end  int // the operation at which the power goes; less than 0: none
	dead bool
}

var _ durable.FS = (*Disk)(nil)

// New returns an empty Disk.
func New() *Disk { return &Disk{root: newDir(0o755), end: -1} }

// Fail makes f decide about each operation before it happens: an error that f returns is what it fails with, without any effect (but see [ShortWrite] and
// Sync), within the *fs.PathError or *os.LinkError that package os would return. It replaces the f before; nil lets all succeed.
//
// f is called without a lock, so it may use the Disk itself, for which it is called again: that is how a test puts something between two operations.
func (d *Disk) Fail(f func(Op) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fail = f
}

// CrashAt makes the power go at operation n: it and all later ones return [ErrPowerLoss] and have no effect.
func (d *Disk) CrashAt(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.end = n
}

// Ops returns all operations so far, in order, those that failed too.
func (d *Disk) Ops() []Op {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.ops)
}

// Count returns how many operations there were so far.
func (d *Disk) Count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.ops)
}

// begin takes note of an operation, lets the test have its say and, if it is to happen, returns with the lock held.
func (d *Disk) begin(o Op) error {
	d.mu.Lock()
	if d.dead {
		d.mu.Unlock()
		return ErrPowerLoss
	}
	o.N = len(d.ops)
	d.ops = append(d.ops, o)
	fail := d.fail
	if d.end >= 0 && o.N >= d.end {
		d.dead = true
		fail = func(Op) error { return ErrPowerLoss }
	}
	if fail == nil {
		return nil
	}
	d.mu.Unlock()
	if err := fail(o); err != nil {
		return err
	}
	d.mu.Lock()
	if d.dead { // f has crashed it
		d.mu.Unlock()
		return ErrPowerLoss
	}
	return nil
}

// clean returns name as the Disk knows it.
func clean(name string) string {
	return path.Clean("/" + filepath.ToSlash(name[len(filepath.VolumeName(name)):]))
}

// find returns what has a clean name.
func (d *Disk) find(name string) (*node, error) {
	n := d.root
	for part := range strings.SplitSeq(strings.TrimPrefix(name, "/"), "/") {
		if part == "" {
			break
		}
		if n.names == nil {
			return nil, syscall.ENOTDIR
		}
		next, ok := n.names[part]
		if !ok {
			return nil, syscall.ENOENT
		}
		n = next
	}
	return n, nil
}

// parent returns the folder in which a clean name is, or would be, and the last part of the name.
func (d *Disk) parent(name string) (*node, string, error) {
	dir, base := path.Split(name)
	if base == "" {
		return nil, "", syscall.EBUSY // the root
	}
	n, err := d.find(path.Clean(dir))
	if err == nil && n.names == nil {
		err = syscall.ENOTDIR
	}
	return n, base, err
}
