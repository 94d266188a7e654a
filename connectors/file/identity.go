package file

import "io/fs"

// identity is what a file system calls a file by, whatever its name is: the device and the inode. The zero value is unknown: not all of them have one.
type identity struct{ device, inode uint64 }

func (i identity) known() bool { return i != identity{} }

// differs reports whether two files are certainly not the same.
func (i identity) differs(other identity) bool { return i.known() && other.known() && i != other }

// folded is 64 bits of i, 0 only if it is unknown.
func (i identity) folded() uint64 {
	if !i.known() {
		return 0
	}
	h := i.inode ^ i.device*0x9e3779b97f4a7c15
	if h == 0 {
		return 1
	}
	return h
}

// identify returns the identity of the file at path. Handle is that file where it is open, or nil.
func (f *File[T]) identify(info fs.FileInfo, path string, handle any) identity {
	if f.following.identify != nil {
		return f.following.identify(info)
	}
	return identityOf(info, path, handle)
}
