// Package durable is the seam between code that promises that its files survive a loss of power and the file system that has to keep the promise.
//
// [FS] is what such code needs of a file system, with the two steps that make a change durable as calls of their own: [File].Sync for what is in a
// file, and [FS].SyncDir for the names in a folder. [OS] is the real one. Package durabletest has one in memory that forgets whatever was not synced, so
// that a test can pull the plug at every single step.
//
// [OpenRoot] is an FS of one folder that no name leads out of, and [Unsynced] one that leaves out what makes changes durable.
//
// On it stand the usual sequences: [WriteFile] replaces a file as a whole, [MkdirAll] makes folders that stay.
package durable
