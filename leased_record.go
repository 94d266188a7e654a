package weaver

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/bohica-labs/dataweaver/retry"
)

// leaseRecord is what a group keeps in the store, as JSON. A split is in one list of one member, or free.
type leaseRecord struct {
	Version int                    `json:"version"`
	Members map[string]leaseMember `json:"members"`
}

const leaseVersion = 1

// leaseMember is one session. Only its own member writes it, until another strikes it out, but for Done.
type leaseMember struct {
	Session string        `json:"session"`
	Beat    uint64        `json:"beat"` // counts its saves
	TTL     time.Duration `json:"ttl_ns"`
	Holds   []leaseID     `json:"holds,omitempty"`
	Done    []leaseID     `json:"done,omitempty"` // have ended
}

// decodeLeases reads a record; nil is the first one.
func decodeLeases(data []byte) (leaseRecord, error) {
	rec := leaseRecord{Version: leaseVersion}
	if data != nil {
		if err := json.Unmarshal(data, &rec); err != nil {
			return rec, retry.Fatal(fmt.Errorf("this is no record of leases (is there a split \"leases\" in a pipeline of the same name?): %w", err))
		}
		if rec.Version != leaseVersion {
			return rec, retry.Fatal(fmt.Errorf("a record of leases of version %d, this release knows %d", rec.Version, leaseVersion))
		}
	}
	if rec.Members == nil {
		rec.Members = make(map[string]leaseMember)
	}
	return rec, nil
}

// leaseSets is what some members have together.
type leaseSets struct{ members, holds, done map[string]bool }

// sets returns what all members but one have.
func (r *leaseRecord) sets(except string) leaseSets {
	all := leaseSets{make(map[string]bool), make(map[string]bool), make(map[string]bool)}
	for owner, m := range r.Members {
		if owner == except {
			continue
		}
		all.members[owner] = true
		maps.Copy(all.holds, setOf(m.Holds))
		maps.Copy(all.done, setOf(m.Done))
	}
	return all
}

func setOf(ids []leaseID) map[string]bool {
	set := make(map[string]bool, len(ids))
	for _, id := range ids {
		set[string(id)] = true
	}
	return set
}

func listOf(set map[string]bool) []leaseID {
	list := make([]leaseID, 0, len(set))
	for id := range set {
		list = append(list, leaseID(id))
	}
	slices.Sort(list)
	return list
}

// leaseID is the ID of a split. JSON knows only text, file names are any bytes: what is no valid text, and what begins with
// a quotation mark, is written in quotation marks as in Go.
type leaseID string

// MarshalText quotes where need be.
func (id leaseID) MarshalText() ([]byte, error) {
	if utf8.ValidString(string(id)) && !strings.HasPrefix(string(id), `"`) {
		return []byte(id), nil
	}
	return strconv.AppendQuoteToASCII(nil, string(id)), nil
}

// UnmarshalText takes quotation marks off.
func (id *leaseID) UnmarshalText(text []byte) error {
	s := string(text)
	if strings.HasPrefix(s, `"`) {
		var err error
		if s, err = strconv.Unquote(s); err != nil {
			return fmt.Errorf("split %s: %w", text, err)
		}
	}
	*id = leaseID(s)
	return nil
}
