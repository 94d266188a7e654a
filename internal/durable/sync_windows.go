package durable

import "os"

// syncDir does nothing: FlushFileBuffers wants a handle that can write, and a folder has none to give.
func syncDir(func(string) (*os.File, error), string) error { return nil }
