package postgres

import (
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/bohica-labs/dataweaver/row"
)

// form is how a type's values look on the wire in binary format. Each is a type's send and receive function of the server.
type form uint8

const (
	formOther       form = iota // not known here: such values go and come as text
	formBool                    // 1 byte
	formInt2                    // big-endian, as all numbers
	formInt4                    //
	formInt8                    //
	formOID                     // unsigned 32 bits
	formFloat4                  // IEEE 754
	formFloat8                  //
	formNumeric                 // digits to the base of 10,000
	formText                    // the bytes of its text: text, varchar, enums, json, citext, xml
	formBytea                   // the bytes
	formJSONB                   // a version, 1, and the text
	formUUID                    // 16 bytes
	formDate                    // days since 2000-01-01, 32 bits
	formTime                    // microseconds since midnight
	formTimestamp               // microseconds since 2000-01-01
	formTimestamptz             // likewise, UTC
	formArray                   // dimensions and elements
)

// builtin returns the form of a type of the server's own that is no array, and the kind of its values. An enum, citext and
// other types of extensions have numbers that differ from one database to the next: see columnType.
func builtin(oid uint32) (form, row.Kind) {
	switch oid {
	case pgtype.BoolOID:
		return formBool, row.KindBool
	case pgtype.Int2OID:
		return formInt2, row.KindInt
	case pgtype.Int4OID:
		return formInt4, row.KindInt
	case pgtype.Int8OID:
		return formInt8, row.KindInt
	case pgtype.OIDOID:
		return formOID, row.KindInt
	case pgtype.Float4OID:
		return formFloat4, row.KindFloat32
	case pgtype.Float8OID:
		return formFloat8, row.KindFloat
	case pgtype.NumericOID:
		return formNumeric, row.KindDecimal
	case pgtype.TextOID, pgtype.VarcharOID, pgtype.BPCharOID, pgtype.NameOID, pgtype.XMLOID, pgtype.UnknownOID:
		return formText, row.KindText
	case pgtype.JSONOID:
		return formText, row.KindJSON
	case pgtype.JSONBOID:
		return formJSONB, row.KindJSON
	case pgtype.ByteaOID:
		return formBytea, row.KindBytes
	case pgtype.UUIDOID:
		return formUUID, row.KindUUID
	case pgtype.DateOID:
		return formDate, row.KindDate
	case pgtype.TimeOID:
		return formTime, row.KindClock
	case pgtype.TimestampOID:
		return formTimestamp, row.KindDateTime
	case pgtype.TimestamptzOID:
		return formTimestamptz, row.KindTime
	}
	return formOther, row.KindText
}

// columnType is what a type is behind the domains it is made of.
type columnType struct {
	oid      uint32 // of the type behind domains
	form     form
	kind     row.Kind
	elem     uint32 // of an array: the type of its elements, behind domains
	elemForm form
	elemKind row.Kind
}

// typeRow is a type as the catalog has it.
type typeRow struct {
	oid      uint32
	typtype  string // b: base, c: composite, e: enum, r: range, m: multirange, p: pseudo
	category string // A: array
	name     string
}

func (t typeRow) form() (form, row.Kind) {
	if t.typtype == "e" || t.typtype == "b" && t.name == "citext" {
		return formText, row.KindText
	}
	return builtin(t.oid)
}

// typeOf returns the type of a column by what it is behind domains, and what its elements are if it is an array.
func typeOf(base, elem typeRow) columnType {
	c := columnType{oid: base.oid}
	if elem.oid != 0 {
		c.elem = elem.oid
		c.elemForm, c.elemKind = elem.form()
		if c.elemForm != formOther {
			c.form, c.kind = formArray, row.KindArray
			return c
		}
		c.elemForm, c.elemKind = formOther, row.KindNull
		c.form, c.kind = formOther, row.KindText // its text, in braces
		return c
	}
	c.form, c.kind = base.form()
	return c
}
