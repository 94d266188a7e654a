// Package file reads and writes files of records: CSV, one JSON value a line, and plain lines.
//
//	file.CSV[Order]("orders.csv")            // a source and a sink of Orders
//	file.NDJSON[Invoice]("invoices.ndjson")  // with json.Codec, or your own
//	file.Lines("access.log")                 // of []byte
//	file.JSONArray[Invoice]("invoices.json") // one array, read element by element; it can't be written
//	file.Fixed[[]byte]("ticks.bin", 24)      // records of so many bytes, or of any type with a codec
//	file.Prefixed[Event]("events.pb", file.Uvarint)
//	file.Lines("-")                          // standard input and output
//
// Package avrofile reads and writes containers of Avro in the same way, and [Blocks] is for other formats whose files are made of blocks.
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
// A file that is compressed with gzip, zstd or bzip2 is read as what it holds. That shows in its first bytes, whatever its name is, so a file that is
// compressed after a part of it was read goes on where it was. It may have many members (of zstd: frames), and a record may begin in one and end in another. Reading is
// resumed with the member that the position lies in; files of bzip2, and the first member after a file was compressed, are unpacked from their beginning. A decoder of
// zstd needs as much memory as the window of a frame, 128 MiB at most.
//
// A member that is damaged, cut short, or beyond that limit is rejected, and so is the record that it breaks off. What it holds before is read, up to where the
// damage shows: the checksum comes at the end. Reading goes on behind it with the next member that can be found, of which the first line is rejected as well,
// since it may be the rest of a record that began in the damage. Where none can be found, as in bzip2, the rest of the file is given up, and so is a CSV whose
// header is damaged. Zeros behind the last member of gzip or zstd are ignored. An error of the file system is no damage, and is tried again.
//
// What can't be read is rejected record by record, with file, line and byte in the error: lines that are no JSON, fields that don't convert, rows with too few or
// too many fields, quotation marks in the wrong place, records longer than MaxRecordBytes. After a wrong quotation mark the row is rejected up to the end of the
// line it begins on, and the next line is taken for a row. So a mark that is never closed doesn't take the rest of the file with it; lines in the middle
// of such a row are mostly rejected for their number of fields.
//
// Where nothing behind a mistake can be found, the rest of the file is rejected as one record, and reading goes on with the next file: a JSON array without a comma,
// a length in front of a record that is too large, a file that ends within a record. The position stays before what was rejected: a file that is completed later is
// read on from there. So are files rejected that have carriage returns for line ends and no line feed at all, and text in UTF-16 or UTF-32; with a header of CSV
// that is an error, as a wrong header is. Other bytes that are no UTF-8, and NUL, are a line's or a field's as any others, and are kept; in JSON they are rejected. A file
// that is cut while it is read is an error; one that is replaced or removed meanwhile is read to its end.
//
// Blocks are rejected as a whole, see there.
//
// Reading has the guarantees of the sink. Key and Time of records are empty, and Seq is the line; or the number of the record from 1 on, for JSONArray, Fixed, Prefixed and Blocks.
//
// # Standard input and output
//
// The path "-" is standard input for a source, and standard output for a sink.
//
// Standard input is a weaver.Queue: what was read and not yet written is kept in memory, so that nothing is lost if the sink fails for a while, and bounded as what is in
// flight is. Another process can't read it again, so no position of it is ever stored, a pipeline can't be exactly-once, and a stage can't keep state. It is
// unpacked as files are. Read returns what there is, and ends when the pipeline stops; one read of the operating system may stay under way until something comes or
// standard input is closed, and what it brings is there for the next Run of the same File.
//
// Standard output is at-least-once, and gets each batch at once. A record is never torn: what a failed write has begun is ended by the next one. If the program that
// reads it ends, that is an error, or the end of the process, as the Go runtime does by default (see os/signal). A write waits as long as nobody reads.
//
// # Following
//
// With Follow a source doesn't end. It goes on with what is appended to its files, and with new files that match, until the pipeline is stopped, or told to finish with
// what is there:
//
//	logs := file.Lines("/var/log/app/*.log")
//	logs.Follow = true
//
// Each path is a split of its own, and stays it when files are rotated below it: renamed (app.log becomes app.log.1, and there is a new app.log), or copied and cut to
// nothing; any number of times, also between two looks and while the pipeline is down. The file that is open is read to its end, and as long as somebody goes on
// writing to it; then the next younger one, up to the one at the path. So order is kept. Files that are named otherwise than app.log.1, app.log-20261123.gz or
// app.log.old are found with Rotated. When a path is followed for the first time, what was rotated before is not read.
//
// A file is told from others by how its content begins, by its inode where the file system has them, and by what lies right before the place up to which it was
// read. What was lost because a file was deleted or cut before it was read is told by a warning to Lane.Log, never silently, or ends the pipeline (Vanished). What can't be known: what was written
// between the last look and the cut if there is no copy; whether a file was cut and filled again with the same bytes; and where there are no inodes, which is which of
// files that begin alike in their first 64 bytes. A writer that doesn't append (O_APPEND) and whose file is cut leaves a hole of zero bytes, which is read.
//
// A path may be a link that a writer turns to its next file. What it points to is then the current one. Set Rotated to match the names of these files ("app.log.*"), or those that it
// pointed to only between two looks, or while the pipeline was down, are not found. A pattern must not match both.
//
// Half a line is no record until its end comes, however long that takes; unless the file is rotated away or finished (FinishedAfter). A line is read some milliseconds
// after it was written, and 25 ms later at most where the system doesn't tell of changes, on a network drive for instance; or up to 250 ms, if nothing came for half a minute.
//
// With Buckets the files are hashed to so many splits, each of which reads its files in turn. Positions then have some 40 bytes for each file that is there; a file that was
// renamed is recognised if it stays in its bucket, which it does where rotation adds something behind an extension.
//
// Finished moves or deletes files of which everything is durable, with Follow or without. A path that is gone and was read to its end is no lane any more; it may come back.
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
// what a crash left of a last record is ended, so that the next one is not part of it, or, of Fixed, Prefixed and Blocks, cut off. All writers of one File share it; others are kept out by a lock as
// long as it is open.
//
// A Delete can't be written: a line has no way to say it.
//
// # Rows
//
// A row.Row has whatever columns there are. Of CSV, each field is a Text under the name that the header has for it; one that is empty is NULL, and one that is "" is an empty text, as
// PostgreSQL's COPY has it (COPY, section CSV Format of its manual). Field Columns has the names where NoHeader is set. All rows of a file share their Columns.
//
// Rows are written as their values' text (row.Value.AppendText). The columns are those of Columns, else those of the file that is continued, else those of the first row. A row with the
// same columns in another order is put in that order; a column that it doesn't have is NULL; one that the file doesn't have is poison. So is a row whose one column is NULL: it would be an
// empty line. NoHeader and Parts need Columns.
//
// Of JSON, each member of an object is a column (row.JSONDecoder, row.Row.AppendJSON), and objects may differ from each other.
//
// # Compression
//
// A path that ends in ".gz" or ".zst" is written compressed, or what Compression says. Each commit and each flush, and BufferBytes of records in between, end a member of
// gzip (RFC 1952 §2.2) or a frame of zstd (RFC 8878 §3.1), of which a file may have any number: the file can be cut back to a commit, and can be unpacked at any time as far as it
// is written. So what is collected in a member is what makes it small; commits that come often, with few records each, make the file larger.
// Larger BufferBytes make it smaller, slightly. No writer holds a compressor while it has nothing to write.
//
// To append to a compressed file that has no sidecar, which is what at-least-once sinks do whenever they are opened, all of it is unpacked once: a last member that a crash has cut
// short is found, and cut off. That takes a second for some hundred megabytes.
//
// # Durability
//
// Sync says when a file is made durable against a loss of power: with each commit, when it is complete, or never by us. The end of a process costs nothing with any of them. A commit of
// one file takes three syncs, some 5 ms on a cloud disk, and about 1 ms without them.
//
// # Parts
//
// [Parts] writes to many files instead of one, by what records say, and begins new ones when they are large or old enough. It is exactly-once too, also with several splits:
//
//	logs := file.Parts(file.NDJSON[Event]("logs/{time:2006-01-02}/{split}-{part}.ndjson.zst"))
//	logs.MaxBytes = 64 << 20
//	logs.MaxAge = 10 * time.Minute
//
// A file under its own name is complete and never changes again, so whoever reads the folder needs no more than to leave out ".weaver". In there, each split has the parts that are
// not complete, a state that says how much of them counts, with the pipeline's checkpoint, and a manifest: what is complete, in order, for [ReadManifest]. A part that is in the
// manifest may be moved away or removed; one that is not yet in it could be put there again after a crash.
//
// Parts are complete, also, when the pipeline ends or is stopped, so that a conversion leaves nothing behind. If it fails, or the process dies, the next run continues them; dead letters and
// what is inside weaver.Tee are completed by the next opening. A part that is old is published also if nothing comes any more. Clocks may jump: a part is then published early
// or late, by no more than MaxAge.
//
// Memory and descriptors are bounded by MaxOpen, MaxParts and BufferBytes whatever records say, and no value leads out of the root folder. On a file system without hard
// links a part is renamed into its place, after a look whether that is free.
//
// Files and folders: the folder must exist (Parts makes it); new files have the permissions Perm, sidecars are for their owner alone.
package file
