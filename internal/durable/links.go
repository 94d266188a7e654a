package durable

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// NoLinks reports whether err, from Link, says that the file system has no hard links at all: FAT and exFAT, some network and user-space file systems.
func NoLinks(err error) bool {
	// Linux says EPERM, which is 1, and Windows ERROR_INVALID_FUNCTION, which is 1 as well. Neither is EACCES, which would be a matter of rights.
	return errors.Is(err, errors.ErrUnsupported) || errors.Is(err, syscall.Errno(1))
}

// SameFile reports whether a and b, both from Stat, are of one file that has two names.
func SameFile(a, b fs.FileInfo) bool {
	if os.SameFile(a, b) {
		return true
	}
	x, ok := a.(interface{ SameFile(fs.FileInfo) bool }) // of an FS that isn't the operating system's
	return ok && x.SameFile(b)
}
