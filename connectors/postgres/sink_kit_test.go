package postgres

import (
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/retry"
	"github.com/bohica-labs/dataweaver/row"
)

// rowOf makes a row of names and values in turn. Its columns are of the values' kinds.
func rowOf(t testing.TB, pairs ...any) row.Row {
	t.Helper()
	var cols []row.Column
	var values []row.Value
	for i := 0; i < len(pairs); i += 2 {
		v, ok := pairs[i+1].(row.Value)
		if !ok {
			var err error
			v, err = row.Of(pairs[i+1])
			require.NoError(t, err)
		}
		c := row.Column{Name: pairs[i].(string), Kind: v.Kind(), Nullable: true}
		if a := v.Array(); a != nil {
			c.Elem = a.Elem
		}
		cols, values = append(cols, c), append(values, v)
	}
	c, err := row.NewColumns(cols...)
	require.NoError(t, err)
	return row.Row{Columns: c, Values: values}
}

// openWriter opens a writer that is restored.
func openWriter[T any](t testing.TB, s *Sink[T], pipeline string) (*writer[T], []byte) {
	t.Helper()
	opened, err := s.OpenWriter(t.Context(), weaver.Lane{Pipeline: pipeline, Log: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	w := opened.(*writer[T])
	t.Cleanup(func() { require.NoError(t, w.Close()) })
	envelope, err := w.Restore(t.Context())
	require.NoError(t, err)
	return w, envelope
}

func batchOf[T any](values ...T) *weaver.Batch[T] {
	b := weaver.NewBatch[T](0, 0)
	for _, v := range values {
		b.Add().Value = v
	}
	return b
}

// put writes and commits values.
func put[T any](t testing.TB, w *writer[T], values ...T) {
	t.Helper()
	require.NoError(t, w.Write(t.Context(), batchOf(values...)))
	require.NoError(t, w.Commit(t.Context(), []byte("e")))
}

// refused returns why a record is refused, which its index names, and checks that the writer is well.
func refused[T any](t testing.TB, w *writer[T], v T) string {
	t.Helper()
	err := w.Write(t.Context(), batchOf(v))
	var batch *weaver.BatchError
	require.ErrorAs(t, err, &batch)
	require.True(t, batch.RolledBack)
	require.Equal(t, retry.ClassPoison, retry.ClassOf(batch.Err))
	require.NoError(t, w.Write(t.Context(), batchOf[T]()))
	return batch.Err.Error()
}
