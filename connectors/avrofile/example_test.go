package avrofile_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/connectors/avrofile"
	"github.com/bohica-labs/dataweaver/connectors/file"
	"github.com/bohica-labs/dataweaver/serde/avro"
)

type Sale struct {
	Shop string `avro:"shop" json:"shop"`
	Cent int64  `avro:"cent" json:"cent"`
}

const saleSchema = `{"type":"record","name":"Sale","fields":[{"name":"shop","type":"string"},{"name":"cent","type":"long"}]}`

// Lines of JSON become a container, and that is read as a Go type.
func Example() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(dir) }()
	in, out := filepath.Join(dir, "sales.ndjson"), filepath.Join(dir, "sales.avro")
	if err := os.WriteFile(in, []byte(`{"shop":"Bonn","cent":100}
{"shop":"Köln","cent":250}
`), 0o600); err != nil {
		fmt.Println(err)
		return
	}
	codec, err := avro.New[Sale](saleSchema)
	if err != nil {
		fmt.Println(err)
		return
	}
	sales := avrofile.New(out, codec, avrofile.Options{Compression: avrofile.Zstandard})
	p := weaver.NewPipeline(file.NDJSON[Sale](in), weaver.Pass[Sale](), sales)
	p.Require = weaver.ExactlyOnce
	if err := p.Run(context.Background()); err != nil {
		fmt.Println(err)
	}

	r, err := sales.OpenReader(context.Background(), weaver.Lane{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer r.Close()
	b := weaver.NewBatch[Sale](0, 0)
	_, err = r.Read(context.Background(), b)
	for _, sale := range b.Records {
		fmt.Println(sale.Seq, sale.Value.Shop, sale.Value.Cent)
	}
	fmt.Println(err)
	// Output:
	// 1 Bonn 100
	// 2 Köln 250
	// EOF
}

// Without a codec each file of a pattern is read by its own schema.
func ExampleNewGeneric() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(dir) }()
	for name, schema := range map[string]string{"a": `"string"`, "b": `{"type":"map","values":"long"}`} {
		codec, err := avro.NewGeneric(schema)
		if err != nil {
			fmt.Println(err)
			return
		}
		value := map[string]any{"a": "hello", "b": map[string]any{"answer": int64(42)}}[name]
		w, err := avrofile.NewGeneric(filepath.Join(dir, name+".avro"), codec, avrofile.Options{}).OpenWriter(context.Background(), weaver.Lane{})
		if err != nil {
			fmt.Println(err)
			return
		}
		b := weaver.NewBatch[any](0, 0)
		b.Add().Value = value
		if err := w.Write(context.Background(), b); err != nil {
			fmt.Println(err)
		}
		if err := w.(weaver.Flusher).Flush(context.Background()); err != nil {
			fmt.Println(err)
		}
		if err := w.Close(); err != nil {
			fmt.Println(err)
		}
	}

	r, err := avrofile.NewGeneric(filepath.Join(dir, "*.avro"), nil, avrofile.Options{}).OpenReader(context.Background(), weaver.Lane{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer r.Close()
	b := weaver.NewBatch[any](0, 0)
	_, err = r.Read(context.Background(), b)
	for _, rec := range b.Records {
		fmt.Println(rec.Value)
	}
	fmt.Println(err)
	// Output:
	// hello
	// map[answer:42]
	// EOF
}
