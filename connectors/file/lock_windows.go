package file

import (
	"errors"
	"syscall"
	"unsafe"
)

const (
	lockfileFailImmediately = 1
	lockfileExclusive       = 2
	errorLockViolation      = syscall.Errno(33)
)

// region is the byte that stands for the file. It lies far behind any content, since Windows lets nobody else read what is locked.
func region() *syscall.Overlapped { return &syscall.Overlapped{OffsetHigh: 1 << 30} }

func procedure(name string) *syscall.LazyProc {
	return syscall.NewLazyDLL("kernel32.dll").NewProc(name)
}

// lockHandle uses LockFileEx.
func lockHandle(fd uintptr) (bool, error) {
	ok, _, err := procedure("LockFileEx").Call(fd, lockfileExclusive|lockfileFailImmediately, 0, 1, 0, uintptr(unsafe.Pointer(region())))
	switch {
	case ok != 0:
		return true, nil
	case errors.Is(err, errorLockViolation):
		return false, nil
	}
	return false, err
}

func unlockHandle(fd uintptr) error {
	if ok, _, err := procedure("UnlockFileEx").Call(fd, 0, 1, 0, uintptr(unsafe.Pointer(region()))); ok == 0 {
		return err
	}
	return nil
}
