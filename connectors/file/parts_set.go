package file

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/internal/durable"
	"github.com/bohica-labs/dataweaver/retry"
)

// partRules is what the fields of a PartSink and its File say, defaults included.
type partRules struct {
	bytes, records int64 // records 0: any number
	age            time.Duration
	open, parts    int
	buffer         int
	perm           fs.FileMode
	lazy           bool // what isn't complete has time to become durable
	plain          bool // not compressed: what is in a buffer is as long as what becomes of it
	stored         Compression
	header         []byte
	blocks         blockMaker // of parts that are begun, of files of blocks; nil: of any other
	shape          string     // of the files: parts of another are not continued
	packed         func(raw []byte, use func([]byte) error) error
}

// partSet is the parts of one split, or of all writers that keep no checkpoint. It is in a folder of its own within ownFolder: the state, the parts that are not complete,
// the manifest, and a file to lock.
//
// As with one file, whoever changes anything has the lock and has looked at who owns the state. So a writer that was taken over changes nothing any more.
type partSet struct {
	partRules
	root     string // for errors
	fsys     durable.Root
	dir      string
	guard    durable.File // to lock
	shared   bool         // it has the lock from begin to close
	skips    bool         // takes the next number where a name is taken
	restored []byte       // the envelope it was begun with

	mu       sync.Mutex // held over I/O
	last     partState  // as it was saved
	parts    map[string]*part
	all      []*part // not complete, in the order of numbers
	active   int     // place in all before which no part takes records
	opened   []*part // that have a descriptor
	held     int     // memory of all buffers
	next     uint64
	manifest int64 // bytes of it
	uses     uint64
	sealed   int       // parts that are complete at the next commit
	oldest   time.Time // when the oldest part was begun; zero: there is none
	added    bool      // files since the folder was synced
	timer    *time.Timer
	closed   bool
	err      error // after which nothing is known of the files
}

// part is a file that is not complete.
type part struct {
	partEntry           // as it is; Raw and Records with what is in buf
	counts    partEntry // as it was committed; Number 0: not at all
	temp      string
	file      durable.File // nil: not open
	made      bool         // the file is there
	dirty     bool         // it has what was not synced
	buf       []byte       // whole records it has not got yet
	blocks    *unblocked   // of a file of blocks; nil: of any other, or nothing was written to it yet
	fresh     int          // records in buf
	used      uint64
	begun     time.Time // with a clock that doesn't jump
	sealed    bool      // takes no more records
}

const (
	oneSet     = "parts"  // of a template without {split}
	splitSet   = "split-" // and the ID, with {split}
	sharedSet  = "shared"
	stateName  = "state"
	lockName   = "lock"
	partSuffix = ".part"
	folderPerm = 0o755
)

// openSet opens the folder of a set, which it makes if it is missing.
func (p *PartSink[T]) openSet(_ context.Context, root, name string, rules partRules) (_ *partSet, err error) {
	disk := p.each.disk()
	if err := durable.MkdirAll(disk, root, folderPerm); err != nil {
		return nil, advice(err, "")
	}
	s := &partSet{partRules: rules, root: root, dir: path.Join(ownFolder, name), parts: map[string]*part{}}
	if s.fsys, err = durable.OpenRoot(disk, root); err != nil {
		return nil, advice(err, "")
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.fsys.Close())
		}
	}()
	if err := durable.MkdirAll(s.fsys, s.dir, folderPerm); err != nil {
		return nil, s.leads(err)
	}
	s.guard, err = s.fsys.OpenFile(s.in(lockName), os.O_RDWR|os.O_CREATE, sidecarPerm)
	return s, s.leads(err)
}

// in returns the name of a file in the set's own folder.
func (s *partSet) in(name string) string { return path.Join(s.dir, name) }

// show returns a name for errors.
func (s *partSet) show(name string) string { return filepath.Join(s.root, filepath.FromSlash(name)) }

// leads marks what somebody has to do something about: among the others, a symbolic link out of the root folder. Package os has no value for that to compare with.
func (s *partSet) leads(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) && at.Err != nil && at.Err.Error() == "path escapes from parent" {
		return retry.Fatal(fmt.Errorf("%s: a symbolic link below the root folder leads out of it: remove it (%w)", s.root, err))
	}
	return advice(err, "it was moved or removed while it was written")
}

// locked does something with the lock, if the state is still this writer's.
func (s *partSet) locked(ctx context.Context, do func() error) (err error) {
	if !s.shared {
		if err := lockFile(ctx, s.guard, s.show(s.in(lockName))); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, unlock(s.guard)) }()
	}
	name := s.in(stateName)
	owner, epoch, err := readOwner(s.fsys, name)
	switch {
	case err != nil:
		return err
	case owner == 0:
		return retry.Fatal(fmt.Errorf("%s is gone: it was there when this writer began", s.show(name)))
	case owner != s.last.owner:
		return fmt.Errorf("%s: %w: its epoch is %d, this writer's %d", s.show(s.dir), weaver.ErrFenced, epoch, s.last.epoch)
	}
	return do()
}

// create begins a part. mu is held, as in all that follows.
func (s *partSet) create(ctx context.Context, key string, now time.Time) (*part, error) {
	for {
		name := numbered(key, s.next)
		_, err := s.fsys.Stat(name)
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
		switch {
		case err != nil:
			return nil, s.leads(err)
		case !s.skips:
			return nil, s.taken(name)
		}
		s.next++
	}
	if len(s.parts) >= s.partRules.parts {
		if err := s.sealOldest(ctx); err != nil {
			return nil, err
		}
	}
	p := &part{begun: now, temp: s.in(strconv.FormatUint(s.next, 10) + partSuffix)}
	p.partEntry = partEntry{Number: s.next, Key: key, Begin: now.UnixNano()}
	s.next++
	s.parts[key] = p
	s.all = append(s.all, p)
	if s.oldest.IsZero() || now.Before(s.oldest) {
		s.oldest = now
	}
	return p, nil
}

func (s *partSet) taken(name string) error {
	return retry.Fatal(fmt.Errorf("%s is there already, and %s knows nothing of it: move it away, or set IfExists to file.Append to take the next number", s.show(name), s.show(s.dir)))
}

// sealOldest makes complete the part that was begun first of those that take records.
func (s *partSet) sealOldest(ctx context.Context) error {
	for ; s.active < len(s.all); s.active++ {
		if p := s.all[s.active]; !p.sealed {
			return s.seal(ctx, p)
		}
	}
	return nil
}

// setBuffer gives a part another buffer, or none, or what its own has become.
func (s *partSet) setBuffer(p *part, buf []byte) {
	s.held += cap(buf) - cap(p.buf)
	p.buf = buf
}

// makeRoom hands the largest buffers to the operating system until the rest is no more than it may be.
func (s *partSet) makeRoom(ctx context.Context) error {
	for s.held > s.open*s.buffer {
		var largest *part
		for _, p := range s.all[s.active:] {
			if largest == nil || cap(p.buf) > cap(largest.buf) {
				largest = p
			}
		}
		if largest == nil {
			break
		}
		if err := s.locked(ctx, func() error { return s.spill(largest) }); err != nil {
			return err
		}
		s.setBuffer(largest, nil)
	}
	return nil
}

// shut takes away the descriptor of a part.
func (s *partSet) shut(p *part) error {
	if p.file == nil {
		return nil
	}
	i := slices.Index(s.opened, p)
	s.opened = slices.Delete(s.opened, i, i+1)
	err := p.file.Close()
	p.file = nil
	return err
}

// wrote counts a record in the part's buffer, and does what is due for it.
func (s *partSet) wrote(ctx context.Context, p *part) error {
	p.Records++
	p.fresh++
	if len(p.buf) >= s.buffer || s.blocks != nil && p.fresh >= maxBlockRecords {
		if err := s.locked(ctx, func() error { return s.spill(p) }); err != nil {
			return err
		}
	}
	if err := s.makeRoom(ctx); err != nil {
		return err
	}
	size := p.Bytes
	if s.plain {
		size += int64(len(p.buf))
	}
	if s.records > 0 && p.Records >= s.records || size >= s.bytes {
		return s.seal(ctx, p)
	}
	return nil
}

// seal ends a part: the next commit makes it complete.
func (s *partSet) seal(ctx context.Context, p *part) error {
	if p.sealed {
		return nil
	}
	p.sealed = true
	s.sealed++
	delete(s.parts, p.Key)
	if p.fresh > 0 {
		if err := s.locked(ctx, func() error { return s.spill(p) }); err != nil {
			return err
		}
	}
	s.setBuffer(p, nil)
	return s.shut(p)
}

// spill hands the buffer of a part to the operating system, as a member of its own if it is compressed. The caller has the lock.
func (s *partSet) spill(p *part) error {
	if p.fresh == 0 {
		return nil
	}
	raw, err := s.blocked(p)
	if err != nil {
		return err
	}
	err = s.packed(raw, func(stored []byte) error {
		if err := s.openPart(p); err != nil {
			return err
		}
		p.dirty = true
		n, err := p.file.WriteAt(stored, p.Bytes)
		p.Bytes += int64(n)
		if err == nil && n < len(stored) {
			err = io.ErrShortWrite
		}
		p.Sum = crc32.Update(p.Sum, crc32.MakeTable(crc32.Castagnoli), stored)
		return err
	})
	p.Raw += int64(len(raw))
	p.fresh = 0
	if cap(p.buf) > 4*s.buffer { // of one huge record
		s.setBuffer(p, nil)
	}
	p.buf = p.buf[:0]
	return err
}

// openPart gives a part its descriptor, which another may have to do without.
func (s *partSet) openPart(p *part) error {
	s.uses++
	p.used = s.uses
	if p.file != nil {
		return nil
	}
	if len(s.opened) >= s.open {
		idle := s.opened[0]
		for _, o := range s.opened {
			if o.used < idle.used {
				idle = o
			}
		}
		if err := s.shut(idle); err != nil {
			return err
		}
	}
	flag := os.O_RDWR
	if !p.made {
		flag |= os.O_CREATE | os.O_EXCL
	}
	f, err := s.fsys.OpenFile(p.temp, flag, s.perm)
	if err != nil {
		return err
	}
	p.file = f
	s.opened = append(s.opened, p)
	if !p.made {
		p.made, s.added = true, true
	}
	return nil
}

// due reports whether a commit would make a part complete.
func (s *partSet) due() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sealed > 0 || !s.oldest.IsZero() && time.Since(s.oldest) >= s.age
}
