package checkpoint_test

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/bohica-labs/dataweaver/checkpoint"
)

// Two who loaded the same version: the second to save learns that it is too late.
func Example() {
	dir, err := os.MkdirTemp("", "checkpoint")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir) //nolint:errcheck // an example

	ctx := context.Background()
	store := checkpoint.NewFile(dir)
	value, version, err := store.Load(ctx, "orders")
	fmt.Println(value == nil, version, err)

	next, err := store.Save(ctx, "orders", []byte("offset 41"), version)
	fmt.Println(next, err)
	_, err = store.Save(ctx, "orders", []byte("offset 17"), version)
	fmt.Println("conflict:", errors.Is(err, checkpoint.ErrConflict))

	value, version, err = checkpoint.NewFile(dir).Load(ctx, "orders")
	fmt.Printf("%s, version %d, %v\n", value, version, err)
	// Output:
	// true 0 <nil>
	// 1 <nil>
	// conflict: true
	// offset 41, version 1, <nil>
}
