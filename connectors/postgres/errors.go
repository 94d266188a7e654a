package postgres

import (
	"crypto/x509"
	"errors"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/bohica-labs/dataweaver/retry"
)

// The codes that this package asks for (https://www.postgresql.org/docs/current/errcodes-appendix.html).
const (
	codeNotSupported    = "0A000" // a cached plan must not change its result's type, too
	codeDivisionByZero  = "22012"
	codeUndefinedColumn = "42703"
	codeUndefinedTable  = "42P01"
	codeDuplicateTable  = "42P07"
	codeDatatype        = "42804" // datatype_mismatch
	codeUnique          = "23505"
	codePrivilege       = "42501"
)

// classOf says what can be done about an error of the server. Unmarked is an outage: it is waited for, and tried again, and
// nothing is given up for it. That is also for what isn't listed: a code that nobody knows says nothing against the record.
func classOf(code string) retry.Class {
	switch code { // one code
	case
		"25P01",          // no_active_sql_transaction and
		"25P02",          // in_failed_sql_transaction: a transaction begun anew is fine
		"25006",          // read_only_sql_transaction: this was the primary before a failover
		"25P03", "25P04", // idle_in_transaction_session_timeout, transaction_timeout: likewise
		"26000", // invalid_sql_statement_name: a pooler has changed the session
		"55P03", // lock_not_available: LockTimeout
		"55006", // object_in_use
		"57014", // query_canceled: StatementTimeout, or an administrator
		"57P01", // admin_shutdown: pg_terminate_backend too
		"57P02", // crash_shutdown
		"57P03", // cannot_connect_now
		"57P05", // idle_session_timeout
		"53100", // disk_full
		"53200", // out_of_memory
		"58000", // system_error
		"58030", // io_error
		"XX000", // internal_error
		"72000": // snapshot_too_old
		return retry.ClassUnmarked
	case "53300": // too_many_connections
		return retry.ClassThrottled
	case
		"54000", // program_limit_exceeded: this value is too large for an index
		"54001", // statement_too_complex: this value is nested too deeply
		"42622", // name_too_long: in a column of type name
		"55P04": // unsafe_new_enum_value_usage
		return retry.ClassPoison
	case
		"55000", // object_not_in_prerequisite_state
		"57P04", // database_dropped
		"XX001", // data_corrupted
		"XX002", // index_corrupted
		"54011", // too_many_columns
		"54023": // too_many_arguments
		return retry.ClassFatal
	}
	if len(code) != 5 {
		return retry.ClassUnmarked
	}
	switch code[:2] { // the rest of a class of codes
	case
		"08", // connection_exception
		"40", // transaction_rollback: serialization_failure, deadlock_detected
		"53", // insufficient_resources
		"57", // operator_intervention
		"58": // system_error
		return retry.ClassUnmarked
	case
		"21", // cardinality_violation: two records of a batch have one key for the database; alone, each can be written
		"22", // data_exception
		"23", // integrity_constraint_violation
		"27", // triggered_data_change_violation
		"38", // external_routine_exception
		"39", // external_routine_invocation_exception
		"44", // with_check_option_violation
		"P0": // PL/pgSQL: a trigger refuses the row
		return retry.ClassPoison
	case
		"0A", // feature_not_supported
		"25", // invalid_transaction_state
		"28", // invalid_authorization_specification: password, role
		"2B", // dependent_privilege_descriptors_still_exist
		"3D", // invalid_catalog_name: no such database
		"3F", // invalid_schema_name
		"42", // syntax_error_or_access_rule_violation: no such table, no permission
		"F0": // config_file_error
		return retry.ClassFatal
	}
	return retry.ClassUnmarked
}

// classify marks an error of the server, or of connecting to it, by its class. What is marked already stays as it is.
func classify(err error) error {
	if err == nil || retry.ClassOf(err) != retry.ClassUnmarked {
		return err
	}
	var server *pgconn.PgError
	if errors.As(err, &server) {
		return retry.Mark(err, classOf(server.Code)) // unmarked is no mark
	}
	var (
		unknown  x509.UnknownAuthorityError
		hostname x509.HostnameError
	)
	if errors.As(err, &unknown) || errors.As(err, &hostname) {
		return retry.Fatal(err) // somebody must see to certificates
	}
	return err
}

// sqlState returns the code of the server's error; "": it is none.
func sqlState(err error) string {
	var server *pgconn.PgError
	if errors.As(err, &server) {
		return server.Code
	}
	return ""
}
