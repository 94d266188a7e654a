package durable

import (
	"errors"
	"syscall"
)

// NoLinks reports whether err, from Link, says that the file system has no hard links at all: FAT and exFAT, some network and user-space file systems.
func NoLinks(err error) bool {
	// Linux says EPERM, which is 1, and Windows ERROR_INVALID_FUNCTION, which is 1 as well. Neither is EACCES, which would be a matter of rights.
	return errors.Is(err, errors.ErrUnsupported) || errors.Is(err, syscall.Errno(1))
}
