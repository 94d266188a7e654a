//go:build !windows

package durable

import (
	"errors"
	"os"
	"syscall"
)

// syncDir opens the folder and syncs it. On Linux that is fsync(2), which asks for exactly this after a file was created; on macOS F_FULLFSYNC.
func syncDir(open func(string) (*os.File, error), name string) error {
	d, err := open(name)
	if err != nil {
		return err
	}
	err = d.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
		err = nil // the file system has no such thing
	}
	return errors.Join(err, d.Close())
}
