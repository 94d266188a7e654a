package sqldb

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/bohica-labs/dataweaver/internal/tables"
	"github.com/bohica-labs/dataweaver/retry"
)

// CheckName refuses what is a name in no database: nothing, a NUL, what is no UTF-8, and more than so many bytes. It is for
// Dialects.
func CheckName(name string, most int) error {
	switch {
	case name == "":
		return errors.New("is empty")
	case strings.IndexByte(name, 0) >= 0:
		return errors.New("has a NUL")
	case !utf8.ValidString(name):
		return errors.New("is no UTF-8")
	case len(name) > most:
		return fmt.Errorf("has %d bytes, and %d are allowed", len(name), most)
	}
	return nil
}

// quote returns a name as an identifier. What says which name it is.
func (db *Database) quote(what, name string) (string, error) {
	quoted, err := db.dialect.Quote(name)
	if err != nil {
		return "", retry.Fatal(fmt.Errorf("sqldb: %s %s %w", what, tables.Brief(name), err))
	}
	return quoted, nil
}

// qualified returns a name in a schema as an identifier; "": where the connection looks.
func (db *Database) qualified(schema, name string) (string, error) {
	quoted, err := db.quote("the table", name)
	if err != nil || schema == "" {
		return quoted, err
	}
	before, err := db.quote("the schema", schema)
	return before + "." + quoted, err
}

// quoteAll returns names as identifiers.
func (db *Database) quoteAll(what string, names []string) ([]string, error) {
	quoted := make([]string, len(names))
	for i, name := range names {
		var err error
		if quoted[i], err = db.quote(what, name); err != nil {
			return nil, err
		}
		if slices.Contains(names[:i], name) {
			return nil, retry.Fatal(fmt.Errorf("sqldb: %s %s stands twice", what, tables.Brief(name)))
		}
	}
	return quoted, nil
}

// briefs quotes names for an error.
func briefs(names []string) string {
	all := make([]string, len(names))
	for i, name := range names {
		all[i] = tables.Brief(name)
	}
	return strings.Join(all, ", ")
}
