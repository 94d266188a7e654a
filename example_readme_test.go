package weaver_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/connectors/file"
)

type Order struct {
	ID       int     `csv:"id"`
	Customer string  `csv:"customer"`
	Price    float64 `csv:"price"`
}

type Invoice struct {
	Order int     `json:"order"`
	Total float64 `json:"total"`
}

func bill(o Order) (Invoice, error) {
	if o.Price < 0 {
		return Invoice{}, fmt.Errorf("order %d costs less than nothing", o.ID)
	}
	return Invoice{Order: o.ID, Total: o.Price * 1.25}, nil
}

// The example of the README: a CSV file becomes a file of JSON lines, and rows that can't be used end in another.
func Example() {
	defer inFolderOf("orders.csv", "id,customer,price\n1,Ann,10\n2,Bob,-1\n3,Cid,five\n4,Dee,20\n")()
	ctx := context.Background()

	p := weaver.NewPipeline(
		file.CSV[Order]("orders.csv"),
		weaver.Map(bill), // func(Order) (Invoice, error)
		file.NDJSON[Invoice]("invoices.ndjson"),
	)
	p.DeadLetter = file.NDJSON[weaver.Rejected[Order]]("rejected.ndjson")
	if err := p.Run(ctx); err != nil {
		fmt.Println(err)
	}

	show("invoices.ndjson")
	// Output:
	// {"order":1,"total":12.5}
	// {"order":4,"total":25}
}

// inFolderOf makes a folder with one file in it, and goes there. What it returns goes back and removes it.
func inFolderOf(name, content string) (leave func()) {
	dir, err := os.MkdirTemp("", "example-")
	if err != nil {
		panic(err)
	}
	home, err := os.Getwd()
	if err != nil {
		panic(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
		panic(err)
	}
	if err := os.Chdir(dir); err != nil {
		panic(err)
	}
	return func() {
		if err := os.Chdir(home); err != nil {
			panic(err)
		}
		_ = os.RemoveAll(dir)
	}
}

func show(path string) {
	content, err := os.ReadFile(path)
	if err != nil {
		panic(err)
	}
	fmt.Print(string(content))
}

// TestReadme compares the programs in the README with the example above, which is run.
func TestReadme(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	tested, err := os.ReadFile("example_readme_test.go")
	require.NoError(t, err)
	parts := strings.Split(string(readme), "```go\n")
	for _, part := range parts[1:3] {
		code, _, _ := strings.Cut(part, "```")
		from := strings.Index(code, "\tp := ")
		if from < 0 {
			from = 0 // the short one isn't indented
		}
		pipeline, _, found := strings.Cut(code[from:], "if err := p.Run(ctx)")
		require.True(t, found)
		require.Contains(t, dedent(string(tested)), dedent(pipeline))
		if _, types, found := strings.Cut(code, "type Order"); found {
			types, _, _ = strings.Cut(types, "func main")
			require.Contains(t, string(tested), types)
		}
	}
	for _, block := range []string{"csv", "json"} {
		_, content, found := strings.Cut(string(readme), "```"+block+"\n")
		require.True(t, found)
		content, _, _ = strings.Cut(content, "```")
		quoted := strings.ReplaceAll(strings.TrimSpace(content), "\n", map[string]string{"csv": `\n`, "json": "\n\t// "}[block])
		require.Contains(t, string(tested), quoted)
	}
}

func dedent(s string) string { return strings.ReplaceAll(s, "\t", "") }
