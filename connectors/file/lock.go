package file

import "syscall"

// locker is what of a file of the operating system is needed to lock it. A file of a test has no such thing: nobody else can open it.
type locker interface {
	SyscallConn() (syscall.RawConn, error)
}

// tryLock takes the lock of an open file, exclusively among all that were opened by anybody, unless somebody has it. It is advisory, is given back when the
// file is closed or the process ends, and doesn't keep anybody from reading.
func tryLock(f any) (bool, error) {
	l, ok := f.(locker)
	if !ok {
		return true, nil
	}
	conn, err := l.SyscallConn()
	if err != nil {
		return false, err
	}
	var got bool
	var lockErr error
	if err := conn.Control(func(fd uintptr) { got, lockErr = lockHandle(fd) }); err != nil {
		return false, err
	}
	return got, lockErr
}

func unlock(f any) error {
	l, ok := f.(locker)
	if !ok {
		return nil
	}
	conn, err := l.SyscallConn()
	if err != nil {
		return err
	}
	var unlockErr error
	if err := conn.Control(func(fd uintptr) { unlockErr = unlockHandle(fd) }); err != nil {
		return err
	}
	return unlockErr
}
