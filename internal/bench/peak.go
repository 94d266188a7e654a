package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
)

// The names of the environment variables that make of this program one that runs one side of one scenario and says how much memory that took.
const (
	peakOf      = "WEAVER_BENCH_PEAK"
	peakFolder  = "WEAVER_BENCH_FOLDER"
	peakRecords = "WEAVER_BENCH_RECORDS"
)

// peak runs our side of a scenario in a process of its own and returns the most memory that was resident there, in bytes; 0 where the system doesn't tell.
//
// The process is asked for VmHWM and not wait4 for ru_maxrss: in that a child begins with what its parent had.
func (s scenario) peak(d *folder) (int64, error) {
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	var stderr bytes.Buffer
	cmd := exec.Command(self) //nolint:noctx // it ends as the scenario does
	cmd.Env = append(os.Environ(), peakOf+"="+s.name, peakFolder+"="+d.path, peakRecords+"="+strconv.Itoa(s.records))
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return 0, fmt.Errorf("a process of its own: %w: %s", err, stderr.Bytes())
	}
	return strconv.ParseInt(string(bytes.TrimSpace(out)), 10, 64)
}

// peakChild does what a process of its own is for, and reports whether this is one. The inputs are there already.
func peakChild() (bool, error) {
	name := os.Getenv(peakOf)
	if name == "" {
		return false, nil
	}
	n, err := strconv.Atoi(os.Getenv(peakRecords))
	if err != nil {
		return true, err
	}
	d := newFolder(0)
	d.path, d.child = os.Getenv(peakFolder), true
	for _, s := range scenarios(d) {
		if s.name != name {
			continue
		}
		if _, err := s.ours(n); err != nil {
			return true, err
		}
		fmt.Println(highWater())
		return true, nil
	}
	return true, errors.New("no such scenario: " + name)
}

var vmHWM = regexp.MustCompile(`(?m)^VmHWM:\s*(\d+) kB$`)

// highWater is the most memory of this process that was resident, as Linux counts; 0: unknown.
func highWater() int64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	found := vmHWM.FindSubmatch(status)
	if found == nil {
		return 0
	}
	kib, _ := strconv.ParseInt(string(found[1]), 10, 64)
	return kib << 10
}
