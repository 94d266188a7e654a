// Package tables holds what connectors of databases have in common and no one database decides: how values of keys are
// stored, positions within tables that are read by their keys, and the ranges that splits of a table are.
package tables
