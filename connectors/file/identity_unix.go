//go:build unix

package file

import (
	"io/fs"
	"syscall"
)

func identityOf(info fs.FileInfo, _ string, _ any) identity {
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return identity{}
	}
	return identity{uint64(s.Dev), uint64(s.Ino)} //nolint:gosec,unconvert // their types differ from system to system
}
