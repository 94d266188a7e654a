package durable_test

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/bohica-labs/dataweaver/internal/durable"
)

func Example() {
	root, err := os.MkdirTemp("", "durable")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(root) //nolint:errcheck // an example

	disk := durable.OS()
	dir := filepath.Join(root, "state", "orders")
	if err := durable.MkdirAll(disk, dir, 0o700); err != nil {
		fmt.Println(err)
		return
	}
	name := filepath.Join(dir, "position")
	for _, position := range []string{"41", "42"} {
		if err := durable.WriteFile(disk, name, []byte(position), 0o600); err != nil {
			fmt.Println(err)
			return
		}
	}
	b, err := durable.ReadFile(disk, name)
	fmt.Println(string(b), err)
	// Output: 42 <nil>
}
