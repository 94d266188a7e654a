//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package file

import (
	"errors"
	"syscall"
)

// lockHandle uses flock(2), which belongs to what was opened and not, as fcntl's locks do, to the process. A file system that has none is taken as it is.
func lockHandle(fd uintptr) (bool, error) {
	for {
		err := syscall.Flock(int(fd), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EWOULDBLOCK):
			return false, nil
		case errors.Is(err, errors.ErrUnsupported), errors.Is(err, syscall.ENOLCK):
			return true, nil
		}
		return err == nil, err
	}
}

func unlockHandle(fd uintptr) error {
	err := syscall.Flock(int(fd), syscall.LOCK_UN)
	if errors.Is(err, errors.ErrUnsupported) || errors.Is(err, syscall.ENOLCK) {
		return nil
	}
	return err
}
