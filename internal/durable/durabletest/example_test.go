package durabletest_test

import (
	"fmt"
	"os"

	"github.com/bohica-labs/dataweaver/internal/durable"
	"github.com/bohica-labs/dataweaver/internal/durable/durabletest"
)

// What looks written can be gone: nobody synced the folder.
func Example() {
	disk := durabletest.New()
	f, err := disk.OpenFile("positions", os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = f.Write([]byte("42"))
	fmt.Println(err, f.Sync(), f.Close())

	lost := 0
	for seed := range uint64(100) {
		if _, err := durable.ReadFile(disk.Crash(seed), "positions"); err != nil {
			lost++
		}
	}
	fmt.Println("lost now and then:", lost > 0 && lost < 100)

	for _, op := range disk.Ops() {
		if op.Changes() {
			fmt.Println(op)
		}
	}
	// Output:
	// <nil> <nil> <nil>
	// lost now and then: true
	// 0 create /positions
	// 1 write /positions (2)
	// 2 sync /positions
}
