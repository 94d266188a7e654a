package weavertest_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bohica-labs/dataweaver/checkpoint"
	"github.com/bohica-labs/dataweaver/weavertest"
)

// labStore is a store that can have one bug.
type labStore struct {
	bug   string
	stuck chan struct{}

	mu       sync.Mutex
	values   map[string][]byte
	versions map[string]checkpoint.Version
}

func (s *labStore) key(k string) string {
	switch s.bug {
	case "keys fold":
		return strings.ToLower(k)
	case "keys are cut":
		return k[:min(len(k), 255)]
	}
	return k
}

func (s *labStore) Load(_ context.Context, key string) ([]byte, checkpoint.Version, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.values[s.key(key)]
	if !ok {
		switch s.bug {
		case "missing is an error":
			return nil, 0, errBroken
		case "missing is empty":
			return []byte{}, 0, nil
		}
	}
	if s.bug != "lends its value" {
		v = append([]byte(nil), v...)
	}
	return v, s.versions[s.key(key)], nil
}

func (s *labStore) Save(_ context.Context, key string, value []byte, v checkpoint.Version) (checkpoint.Version, error) {
	if s.bug == "leaks" {
		go func() { <-s.stuck }()
	}
	key = s.key(key)
	s.mu.Lock()
	current := s.versions[key]
	if s.bug == "checks, then saves" {
		s.mu.Unlock()
		time.Sleep(time.Millisecond) // on the virtual clock: all others have checked by then, too
		s.mu.Lock()
	}
	defer s.mu.Unlock()
	if s.bug == "empty deletes" && len(value) == 0 {
		delete(s.values, key)
		delete(s.versions, key)
		return v + 1, nil
	}
	if current != v && s.bug != "no conflict" && (s.bug != "newer wins" || v < current) {
		if s.bug == "conflict saves" {
			s.values[key] = append([]byte(nil), value...)
		}
		if s.bug == "conflict has another name" {
			return 0, errBroken
		}
		return 0, fmt.Errorf("version %d: %w", current, checkpoint.ErrConflict)
	}
	next := v + 1
	if s.bug == "same value, same version" && string(s.values[key]) == string(value) && v > 0 {
		return v, nil
	}
	if s.bug != "keeps the value" {
		value = append([]byte(nil), value...)
	}
	s.values[key], s.versions[key] = value, next
	return next, nil
}

func TestStoreSuiteFindsBugs(t *testing.T) {
	t.Parallel()
	for bug, rule := range map[string]string{
		"":                          "",
		"missing is an error":       "missing",
		"missing is empty":          "missing",
		"empty deletes":             "round trip",
		"same value, same version":  "version",
		"no conflict":               "conflict",
		"newer wins":                "conflict",
		"conflict saves":            "conflict",
		"conflict has another name": "conflict",
		"keys fold":                 "keys",
		"keys are cut":              "keys",
		"keeps the value":           "memory",
		"lends its value":           "memory",
		"checks, then saves":        "one wins",
		"leaks":                     "leak",
	} {
		t.Run(bug, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				stuck := make(chan struct{})
				err := weavertest.TestCheckpointStore(t.Context(), weavertest.StoreCase{
					New: func(context.Context) (checkpoint.Store, error) {
						return &labStore{bug: bug, stuck: stuck, values: make(map[string][]byte), versions: make(map[string]checkpoint.Version)}, nil
					},
				})
				close(stuck)
				requireRule(t, rule, err)
			})
		})
	}
}
