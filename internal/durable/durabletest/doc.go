// Package durabletest has a file system in memory that loses what was not made durable, to find out what code on package durable loses with it.
//
// A [Disk] keeps apart what was written and what is durable: what a file holds becomes durable only by Sync, and a name in a folder only by SyncDir. After
// [Disk.Crash] everything else has happened, or not, or in part, as a seed says.
//
// A test first runs its sequence once to count the operations, then once for each of them with [Disk.CrashAt], and looks at what several seeds leave:
//
//	for n := range total {
//		disk := durabletest.New()
//		disk.CrashAt(n)
//		acknowledged := run(disk) // until an error
//		for seed := range uint64(10) {
//			check(disk.Crash(seed), acknowledged)
//		}
//	}
//
// [Disk.Fail] makes single operations fail, as a full or a broken disk does, or gives a test the moment between two operations to do something else.
package durabletest
