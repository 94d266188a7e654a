package postgres

import (
	"fmt"
	"strings"
)

// checkSQL is a query that fails, with a division by zero, unless the table's name still means the table and columns still have
// the types that rows are encoded for.
func checkSQL(tab *table, targets []target) string {
	var b strings.Builder
	fmt.Fprintf(&b, "SELECT 1 / (CASE WHEN count(*) = %d AND pg_catalog.to_regclass(%s) = %d::oid THEN 1 ELSE 0 END) FROM pg_catalog.pg_attribute a "+
		"WHERE a.attrelid = %[3]d::oid AND a.attnum > 0 AND NOT a.attisdropped AND (a.attname, a.atttypid, a.atttypmod) IN (", len(targets), literal(tab.sql()), tab.oid)
	for i, t := range targets {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "(%s, %d::oid, %d)", literal(t.name), t.oid, t.declared)
	}
	b.WriteString(")")
	return b.String()
}
