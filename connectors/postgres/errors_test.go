package postgres

import (
	"crypto/x509"
	"errors"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/bohica-labs/dataweaver/retry"
)

func TestClasses(t *testing.T) {
	t.Parallel()
	for class, codes := range map[retry.Class][]string{
		retry.ClassUnmarked: {
			"08000", "08006", "08P01", "25006", "25P02", "25P03", "26000", "40001", "40P01", "53100", "53200", "55P03", "55006", "57014", "57P01", "57P02", "57P03", "57P05", "58030", "72000", "XX000",
			"", "x", "ZZ999", // which nobody knows: nothing is given up for it
		},
		retry.ClassThrottled: {"53300"},
		retry.ClassPoison:    {"21000", "22001", "22003", "22007", "22021", "22P02", "22P05", "23502", "23503", "23505", "23514", "23P01", "27000", "38000", "39000", "42622", "44000", "54000", "54001", "55P04", "P0001", "P0004"},
		retry.ClassFatal:     {"0A000", "25000", "28000", "28P01", "2BP01", "3D000", "3F000", "42501", "42601", "42703", "42804", "42P01", "42P10", "54011", "54023", "55000", "57P04", "F0000", "XX001", "XX002"},
	} {
		for _, code := range codes {
			err := fmt.Errorf("x: %w", &pgconn.PgError{Code: code, Message: "m"})
			require.Equal(t, class, retry.ClassOf(classify(err)), code)
			require.Equal(t, code, sqlState(classify(err)))
		}
	}
	require.NoError(t, classify(nil))
	require.Equal(t, retry.ClassFatal, retry.ClassOf(classify(x509.UnknownAuthorityError{})))
	require.Equal(t, retry.ClassUnmarked, retry.ClassOf(classify(errors.New("connection reset"))))
	marked := retry.Fatal(&pgconn.PgError{Code: "22001"})
	require.Equal(t, marked, classify(marked), "what is marked stays so")
	require.Empty(t, sqlState(errors.New("x")))
}

func TestNames(t *testing.T) {
	t.Parallel()
	require.Equal(t, `"a""b"."c;"`, qualified(`a"b`, "c;"))
	require.Equal(t, `"a", "b"`, quoteAll([]string{"a", "b"}))
	require.Equal(t, `'it''s \'`, literal(`it's \`))
	for _, name := range []string{"", "a\x00", "\xff", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"} {
		err := checkName("the table", name)
		require.Equal(t, retry.ClassFatal, retry.ClassOf(err), "%q", name)
	}
	require.NoError(t, checkNames("column", []string{"a", "A"}))
	require.ErrorContains(t, checkNames("column", []string{"a", "a"}), "stands twice")
}
