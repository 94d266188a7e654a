package postgres

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/bohica-labs/dataweaver/internal/tables"
	"github.com/bohica-labs/dataweaver/retry"
)

// maxIdentifier is how many bytes a name has at most: what is longer, the server cuts off (NAMEDATALEN).
const maxIdentifier = 63

// quote returns a name as an identifier of SQL. It is for names that checkName has seen, or that came from the catalog.
func quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// qualified returns a name in a schema as an identifier; "": in the search path.
func qualified(schema, name string) string {
	if schema == "" {
		return quote(name)
	}
	return quote(schema) + "." + quote(name)
}

// quoteAll returns names as identifiers with commas between them.
func quoteAll(names []string) string {
	var b strings.Builder
	for i, name := range names {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(quote(name))
	}
	return b.String()
}

// literal returns a text as a literal of SQL, where standard_conforming_strings is on: in every session that is connected here.
func literal(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }

// checkName refuses what can't be a name in the database. What says which name it is.
func checkName(what, name string) error {
	var err error
	switch {
	case name == "":
		err = errors.New("is empty")
	case strings.IndexByte(name, 0) >= 0:
		err = errors.New("has a NUL")
	case !utf8.ValidString(name):
		err = errors.New("is no UTF-8")
	case len(name) > maxIdentifier:
		err = fmt.Errorf("has %d bytes, and PostgreSQL takes %d", len(name), maxIdentifier)
	default:
		return nil
	}
	return retry.Fatal(fmt.Errorf("postgres: %s %s %w", what, tables.Brief(name), err))
}

// checkNames is checkName for several, each of which may stand once.
func checkNames(what string, names []string) error {
	seen := make(map[string]bool, len(names))
	for _, name := range names {
		if err := checkName(what, name); err != nil {
			return err
		}
		if seen[name] {
			return retry.Fatal(fmt.Errorf("postgres: %s %s stands twice", what, tables.Brief(name)))
		}
		seen[name] = true
	}
	return nil
}
