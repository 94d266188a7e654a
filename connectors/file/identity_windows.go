package file

import (
	"io/fs"
	"syscall"
)

// identityOf asks for the volume and the file index, which NTFS keeps as long as a file lives.
func identityOf(_ fs.FileInfo, path string, handle any) identity {
	if f, ok := handle.(interface{ Fd() uintptr }); ok {
		return identityOfHandle(syscall.Handle(f.Fd()))
	}
	name, err := syscall.UTF16PtrFromString(path)
	if err != nil {
		return identity{}
	}
	const share = syscall.FILE_SHARE_READ | syscall.FILE_SHARE_WRITE | syscall.FILE_SHARE_DELETE
	h, err := syscall.CreateFile(name, 0, share, nil, syscall.OPEN_EXISTING, syscall.FILE_FLAG_BACKUP_SEMANTICS, 0)
	if err != nil {
		return identity{}
	}
	defer syscall.CloseHandle(h) //nolint:errcheck // nothing was written
	return identityOfHandle(h)
}

func identityOfHandle(h syscall.Handle) identity {
	var info syscall.ByHandleFileInformation
	if syscall.GetFileInformationByHandle(h, &info) != nil {
		return identity{}
	}
	return identity{uint64(info.VolumeSerialNumber), uint64(info.FileIndexHigh)<<32 | uint64(info.FileIndexLow)}
}
