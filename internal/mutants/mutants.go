package main

// edit replaces one text of one file; the text must occur there exactly once.
type edit struct{ file, from, to string }

// mutant is an engine with one mistake that respected systems have shipped, and the test that must not let it pass.
type mutant struct {
	name  string
	test  string
	edits []edit
}

var mutants = []mutant{
	{
		"acknowledged before it is written", "TestDrainAfterCancel|TestStopTimeout",
		[]edit{{"send.go", `	x := l.theWriter()
	some := len(u.view.Records) > 0
`, `	l.mu.Lock()
	l.accept(u)
	var early mark
	early.set(&l.accepted)
	l.mu.Unlock()
	_ = l.ack(&early, false)
	x := l.theWriter()
	some := len(u.view.Records) > 0
`}},
	},
	{
		"acknowledged past a hole", "TestNoAckPastAHole",
		[]edit{{"send.go", `			u.done = true
			if l.head == u {
				l.advance()
			}
`, `			u.done = true
			l.accept(u)
			if l.head == u {
				l.advance()
			}
`}},
	},
	{
		"position saved before the flush", "TestOutagePausesWithoutDeadLetters",
		[]edit{{"settle.go", `	if err := e.flushAll(); err != nil && only != nil && only.hasFailed() {
		return err
	}
	return e.saveAll(points, only)
`, `	err := e.saveAll(points, only)
	_ = e.flushAll()
	return err
`}},
	},
	{
		"the drain uses the cancelled context", "TestDrainAfterCancel",
		[]edit{{"deliver.go", `	return w.w.Write(w.e.working, &w.batch)
`, `	return w.w.Write(w.e.reading, &w.batch)
`}},
	},
	{
		"the tail is lost at the end of the input", "TestCleanEndWhileStopping",
		[]edit{{"read.go", `	if u.inputs > 0 || u.has {
		if !l.underLimit(u) {
`, `	if (u.inputs > 0 || u.has) && !eof {
		if !l.underLimit(u) {
`}},
	},
	{
		"the tail without a position is not flushed", "TestTailWithoutPositions",
		[]edit{{"read.go", `	if !l.exact && err == nil {
`, `	if !l.exact && err == nil && l.writer != nil {
`}},
	},
	{
		"a dead letter that can't be written is ignored", "TestDeadLetterSinkIsOut|TestPoisonInDeadLettersStops",
		[]edit{{"deadletter.go", `		if retry.ClassOf(err) == retry.ClassPoison && spellOut(rejected) {
`, `		if err != nil {
			return nil
		}
		if retry.ClassOf(err) == retry.ClassPoison && spellOut(rejected) {
`}},
	},
	{
		"a batch is used again before it is written", "TestMemoryIsNotUsedTooEarly",
		[]edit{{"send.go", `		if ok = x.writeSolo(u); w.on {
`, `		u.in.arena.reset(e.cfg.scribble)
		if ok = x.writeSolo(u); w.on {
`}},
	},
	{
		"acknowledged after the split was given up", "TestNoAckAfterTheDeadline",
		[]edit{{"settle.go", `	ok := l.isOpen && !l.abandoned
`, `	ok := l.isOpen
`}},
	},
	{
		"a retry changes the order of a key", "TestRetryKeepsOrderPerKey",
		[]edit{{"deliver.go", `(batch.RolledBack || again[i] || behindSameKey(todo, again, i)) {
`, `(batch.RolledBack || again[i]) {
`}},
	},
	{
		"a filtered record blocks the position", "TestFilteredRecordsAreSettled",
		[]edit{{"read.go", `	if u.has {
		l.accepted.seq++
`, `	if u.has && len(u.view.Records) > 0 {
		l.accepted.seq++
`}},
	},
	{
		"a record that became several is acknowledged with the first", "TestASplitRecordIsSettledWhole",
		[]edit{{"send.go", `		if u.pending--; u.pending == 0 {
`, `		if u.pending--; u.pending >= 0 {
`}},
	},
	{
		"a retry after a split skips the rest", "TestASplitRecordIsSettledWhole",
		[]edit{{"writer.go", `	for from := 0; from < len(p.records); from += size {
`, `	for from := 0; from < min(1, len(p.records)); from += size {
`}},
	},
	{
		"the wrong sibling is blamed", "TestTheRightRecordIsBlamed",
		[]edit{{"deadletter.go", `			from := u.emit.From(o.part.out(o.i))
`, `			from := min(o.part.out(o.i), len(u.in.Records)-1)
`}},
	},
	{
		"a lost batch is saved while the lane opens", "TestLostBatchIsNotSavedWhileTheLaneOpens|TestPropertyAnything",
		[]edit{{"lane.go", `	l.beginLocked() // what was`, `	// what was`}},
	},
	{
		"what is staged of a failed batch is committed", "TestWithoutDeadLetterPoisonStops",
		[]edit{{"deliver.go", `			harm = lost
`, `			harm = broken
			defer func(open Writer[Out]) { w.w = open }(w.w)
			w.w = nil
`}},
	},
	{
		"a worker and the lane share a stage", "TestStageTurnsQuick|TestPropertyAnything",
		[]edit{{"process.go", `	slow := l.clock.slow || l.work != nil && l.unsent != u`, `	slow := l.clock.slow`}},
	},
	{
		"a search spins while the store is out", "TestSearchDoesNotSpinInAnOutage",
		[]edit{{"careful.go", `		first := !s.tried // where`, `		first := true // where`}},
	},
	{
		"a silent snapshot is never committed", "TestSilentStateIsCommitted|TestPropertyAnything",
		[]edit{{"read.go", `	if u.tick && !u.cut && len(u.view.Records) == 0 {
`, `	if u.tick && !u.cut && len(u.view.Records) < 0 {
`}},
	},
}
