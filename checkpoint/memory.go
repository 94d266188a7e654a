package checkpoint

import (
	"bytes"
	"context"
	"sync"
)

// Memory is a Store that lives as long as the process: for tests, and for pipelines that start over when the process does. It is safe for concurrent use.
type Memory struct {
	mu     sync.Mutex
	values map[string]saved
}

type saved struct {
	value   []byte
	version Version
}

var _ Store = (*Memory)(nil)

// NewMemory returns an empty Memory.
func NewMemory() *Memory { return &Memory{values: make(map[string]saved)} }

// Load returns the value that was saved last for key.
func (m *Memory) Load(ctx context.Context, key string) ([]byte, Version, error) {
	if err := check(ctx, key, nil); err != nil {
		return nil, 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.values[key]
	return bytes.Clone(s.value), s.version, nil
}

// Save replaces the value of key, if v is its version.
func (m *Memory) Save(ctx context.Context, key string, value []byte, v Version) (Version, error) {
	if err := check(ctx, key, value); err != nil {
		return 0, err
	}
	value = append(make([]byte, 0, len(value)), value...) // not bytes.Clone: an empty value is not none
	m.mu.Lock()
	defer m.mu.Unlock()
	if current := m.values[key].version; current != v {
		return 0, conflict(key, v, current)
	}
	m.values[key] = saved{value: value, version: v + 1}
	return v + 1, nil
}
