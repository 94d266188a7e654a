package file_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/connectors/file"
)

// A log is followed while it is rotated.
func ExampleFile_follow() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir) //nolint:errcheck // an example
	path := filepath.Join(dir, "app.log")
	lines := [][]byte{[]byte("started\n"), []byte("working\n"), []byte("stopped\n")}
	_ = os.WriteFile(path, lines[0], 0o600)

	log := file.Lines(path)
	log.Follow = true
	ctx, stop := context.WithCancel(context.Background())
	n := 0
	p := weaver.NewPipeline(log, weaver.Pass[[]byte](), weaver.SinkFunc[[]byte](func(_ context.Context, b *weaver.Batch[[]byte]) error {
		for _, r := range b.Records {
			fmt.Printf("%s\n", r.Value)
			if n++; n == len(lines) {
				stop()
				continue
			}
			_ = os.Rename(path, fmt.Sprint(path, ".", 9-n)) // rotated, by whoever writes it
			_ = os.WriteFile(path, lines[n], 0o600)
		}
		return nil
	}))
	_ = p.Run(ctx)
	// Output:
	// started
	// working
	// stopped
}
