package file

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/internal/durable"
	"github.com/bohica-labs/dataweaver/retry"
)

// faltering fails at every so manyth call.
type faltering struct {
	durable.FS
	opens, reads, looks *falter
}

type falter struct {
	every, calls, failed atomic.Int64
	err                  error
}

func (f *falter) now(op, name string) error {
	if every := f.every.Load(); every > 0 && f.calls.Add(1)%every == 0 {
		f.failed.Add(1)
		return &fs.PathError{Op: op, Path: name, Err: f.err}
	}
	return nil
}

func (f faltering) OpenFile(name string, flag int, perm fs.FileMode) (durable.File, error) {
	if err := f.opens.now("open", name); err != nil {
		return nil, err
	}
	file, err := f.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return falteringFile{file, f.reads}, nil
}

func (f faltering) ReadDir(name string) ([]fs.DirEntry, error) {
	if err := f.looks.now("readdir", name); err != nil {
		return nil, err
	}
	return f.FS.ReadDir(name)
}

type falteringFile struct {
	durable.File
	reads *falter
}

func (f falteringFile) Read(p []byte) (int, error) {
	if err := f.reads.now("read", f.Name()); err != nil {
		return 0, err
	}
	return f.File.Read(p)
}

func (f falteringFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.reads.now("read", f.Name()); err != nil {
		return 0, err
	}
	return f.File.ReadAt(p, off)
}

// Too few descriptors and a disk that fails now and then hold a follower up, and lose nothing.
func TestFollowOnABadDisk(t *testing.T) {
	t.Parallel()
	for name, pattern := range map[string]string{"path": "", "glob": "*"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const n = 300
			l := newLog(t, "app.log")
			l.write("0\n")
			disk := faltering{durable.OS(), &falter{err: syscall.EMFILE}, &falter{err: syscall.EIO}, &falter{err: syscall.EIO}}
			// Seldom enough that a reader comes through: it looks at all generations when it is opened.
			disk.opens.every.Store(11)
			disk.reads.every.Store(41)
			disk.looks.every.Store(19)
			var mu sync.Mutex
			var got []string
			all := make(chan struct{})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			p := weaver.Copy(brisk(on(Lines(l.path+pattern), disk)), weaver.SinkFunc[[]byte](func(_ context.Context, b *weaver.Batch[[]byte]) error {
				mu.Lock()
				defer mu.Unlock()
				for _, r := range b.Records {
					got = append(got, string(r.Value))
				}
				if len(got) == n {
					close(all)
				}
				return nil
			}))
			p.Log = slog.New(slog.DiscardHandler)
			p.Retry = retry.Policy{Initial: time.Millisecond, Max: 5 * time.Millisecond}
			done := make(chan error, 1)
			go func() { done <- p.Run(ctx) }()
			var want []string
			for i := range n {
				if i > 0 {
					l.write(fmt.Sprintln(i))
				}
				want = append(want, fmt.Sprint(i))
				if i%50 == 49 && pattern == "" {
					l.rename()
					l.reopen()
				}
				if i%10 == 9 {
					time.Sleep(2 * time.Millisecond)
				}
			}
			select {
			case <-all:
			case err := <-done:
				require.NoError(t, err)
			case <-time.After(30 * time.Second):
			}
			cancel()
			<-done // perhaps with the last failure
			require.Equal(t, want, got)
			require.Positive(t, disk.reads.failed.Load())
			require.Positive(t, disk.opens.failed.Load()+disk.looks.failed.Load())
		})
	}
}
