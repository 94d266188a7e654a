// Package file reads and writes files of records: CSV, one JSON value a line, and plain lines.
//
//	file.CSV[Order]("orders.csv")            // a source and a sink of Orders
//	file.NDJSON[Invoice]("invoices.ndjson")  // with json.Codec, or your own
//	file.Lines("access.log")                 // of []byte
//
// # Reading
//
// A path may be a pattern of path/filepath.Match. All files that match are read as one split, in the order of their names, or with Parallel as a split each.
// The set is looked up when reading begins and when it is resumed; names that sort before the current one are then not looked at, so give new files names
// that sort behind, by their date for instance, or use Parallel. A source is bounded: it ends where the last file ends. The next run of the pipeline reads
// what was added since.
//
// Positions are exact to the byte. They hold a checksum of how the file began, and a file that was replaced or cut since is an error, not a jump into the middle
// of something else. A last line without a line end is a record; should it be continued later, its rest is rejected.
//
// What can't be read is rejected record by record, with file, line and byte in the error: lines that are no JSON, fields that don't convert, rows with too few or
// too many fields, quotation marks in the wrong place, records longer than MaxRecordBytes. After a wrong quotation mark the row is rejected up to the end of the
// line it begins on, and the next line is taken for a row. So a mark that is never closed doesn't take the rest of the file with it; lines in the middle
// of such a row are mostly rejected for their number of fields.
//
// Reading has the guarantees of the sink. Key and Time of records are empty, and Seq is the line.
//
// # Writing
//
// A file is an exactly-once sink. Beside it lies another one, with ".checkpoint" added to its name, that says how many bytes of the file count and what the
// pipeline's checkpoint is at that length. A commit makes the file durable first and then, in one step, that sidecar. Whoever opens the file again, after a crash
// for instance, cuts it back to the length that counts and goes on from the checkpoint that belongs to it. Until then there may be more in the file
// than counts: who reads it while it is written should stop at what [ReadCheckpoint] says.
//
// So a pipeline that runs twice goes on where it was: the second run writes nothing if nothing is new. IfExists says what happens to a file without a sidecar, and
// Overwrite begins anew each time. To begin anew once, remove both files. Moved away together, both stay good.
//
// One file takes one split, since it has one position: give each split a file of its own, or have the file appended to (below). It also takes one pipeline at a time. A writer
// that opens the file takes it over, in whatever process the one before may be, which then fails with [weaver.ErrFenced] and can't change the file any
// more. That rests on a lock of the operating system (flock, LockFileEx), held for moments only. On a file system without locks the sidecar is looked at
// all the same before each change, but a writer that stands still between the look and the change isn't stopped.
//
// Where the engine keeps no checkpoint in it, for dead letters and inside weaver.Tee, a file is an at-least-once sink: it is appended to, durable after each flush, and
// what a crash left of a last record is ended, so that the next one is not part of it. All writers of one File share it; others are kept out by a lock as
// long as it is open.
//
// A Delete can't be written: a line has no way to say it.
//
// Files and folders: the folder must exist; new files have the permissions Perm, sidecars are for their owner alone.
package file
