package file_test

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/connectors/file"
)

type Sale struct {
	Shop string    `json:"shop"`
	At   time.Time `json:"at"`
	Cent int64     `json:"cent"`
}

// Records are written to a folder a day and a file a shop, compressed, with at most two records in each. The manifest tells a reader which files are complete.
func ExampleParts() {
	path, remove := folder()
	defer remove()
	write(path("sales.ndjson"), `{"shop":"Bonn","at":"2026-05-01T23:59:00Z","cent":100}
{"shop":"Bonn","at":"2026-05-01T23:59:10Z","cent":200}
{"shop":"../Köln","at":"2026-05-01T23:59:30Z","cent":300}
{"shop":"Bonn","at":"2026-05-01T23:59:59Z","cent":400}
{"shop":"Bonn","at":"2026-05-02T00:00:01Z","cent":500}
`)
	parts := file.Parts(file.NDJSON[Sale](path("out/{time:2006-01-02}/{shop}-{part}.ndjson.zst")))
	parts.MaxRecords = 2

	p := weaver.NewPipeline(
		file.NDJSON[Sale](path("sales.ndjson")),
		weaver.MapRecord(func(_ context.Context, in, out *weaver.Record[Sale]) error {
			out.Value, out.Time = in.Value, in.Value.At
			return nil
		}),
		parts,
	)
	if err := p.Run(context.Background()); err != nil {
		fmt.Println(err)
	}

	complete, err := file.ReadManifest(path("out"))
	if err != nil {
		fmt.Println(err)
	}
	for _, part := range complete {
		name, _ := filepath.Rel(path("out"), part.Path)
		fmt.Println(filepath.ToSlash(name), part.Records)
	}
	// Output:
	// 2026-05-01/Bonn-000001.ndjson.zst 2
	// 2026-05-01/%2E.%2FK%C3%B6ln-000002.ndjson.zst 1
	// 2026-05-01/Bonn-000003.ndjson.zst 1
	// 2026-05-02/Bonn-000004.ndjson.zst 1
}
