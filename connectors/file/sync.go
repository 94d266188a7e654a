package file

import "strconv"

// SyncPolicy is when what is written is made durable against a loss of power. With each of them the end of a process, however it comes, costs nothing: what was
// handed to the operating system is there, and a pipeline that starts again is exactly-once.
type SyncPolicy uint8

const (
	// SyncCommits makes each commit and each flush durable before it returns. It costs a sync of each file that was written to, and two more for the checkpoint: some
	// milliseconds a commit on a solid-state disk, some tens on one that turns. The engine commits once a CheckpointInterval, so that this is seldom much.
	SyncCommits SyncPolicy = iota
	// SyncComplete makes durable what is complete: a part before it is published, a single file when its writer is closed. In between nothing waits for the disk. After a loss of
	// power a part that was published is whole. What was not complete may be lost although it was committed, and the next start then most likely refuses to go on: the file and its
	// checkpoint don't agree any more.
	SyncComplete
	// SyncNever leaves it to the operating system, which on Linux takes about half a minute. After a loss of power also complete files may be cut short, or hold zeros. It is for what can be
	// made again.
	SyncNever
)

// String returns the name of the constant.
func (s SyncPolicy) String() string {
	switch s {
	case SyncCommits:
		return "SyncCommits"
	case SyncComplete:
		return "SyncComplete"
	case SyncNever:
		return "SyncNever"
	}
	return "SyncPolicy(" + strconv.Itoa(int(s)) + ")"
}
