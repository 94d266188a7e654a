package file

import (
	"reflect"
	"strconv"
	"testing"
	"time"

	"github.com/jszwec/csvutil"
	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
)

type (
	plainTypes struct {
		A string
		B int8    `csv:"b"`
		C uint16  `csv:"c"`
		D float32 `csv:"d"`
		E bool
		F int64  `csv:"-"`
		g string //nolint:unused // csvutil leaves it out too
		H name
		I int `csv:"i i"`
	}
	name     string
	optional struct {
		A int `csv:"A,omitempty"`
	}
	embedding struct{ optional }
	pointing  struct{ A *int }
	timed     struct{ A time.Time }
	twice     struct {
		A int
		B int `csv:"A"`
	}
)

// The quick way and csvutil's are the same for whatever is in the fields.
func FuzzPlainRow(f *testing.F) {
	for _, s := range []string{"", "1", "-1", "+1", "0x1", "1_0", "300", "1e3", "1e99", "NaN", "-inf", "true", "T", " 1", "1 ", "0b1", "\xff", "007"} {
		f.Add(s)
	}
	columns := []string{"c", "?", "A", "i i", "b", "d", "E", "H"}
	f.Fuzz(func(t *testing.T, text string) {
		plan := planRow(reflect.TypeFor[plainTypes](), columns)
		require.Len(t, plan, 7)
		for i := range columns {
			row := []string{"1", "1", "1", "1", "1", "1", "1", "1"}
			row[i] = text
			d := rowDecoder[plainTypes]{row: row}
			dec, err := csvutil.NewDecoder(&d, columns...)
			require.NoError(t, err)
			var slow, fast plainTypes
			err = dec.Decode(&slow)
			require.Equal(t, err == nil, plan.decode(row, reflect.ValueOf(&fast).Elem()), "%s %q", columns[i], text)
			if err == nil && slow.D == slow.D {
				require.Equal(t, slow, fast)
			}
		}
	})
}

func TestWhatIsLeftToCSVUtil(t *testing.T) {
	t.Parallel()
	for _, of := range []reflect.Type{
		reflect.TypeFor[optional](), reflect.TypeFor[embedding](), reflect.TypeFor[pointing](), reflect.TypeFor[timed](), reflect.TypeFor[twice](), reflect.TypeFor[*plainTypes](),
	} {
		require.Nil(t, planRow(of, []string{"A"}), of)
	}
	require.NotNil(t, planRow(reflect.TypeFor[plainTypes](), nil))
	items, _ := drain(t, on(CSV[optional]("in"), newDisk(t, map[string]string{"in": "A,B\n,\n7,\nx,\n"})), nil, 1)
	require.Equal(t, []string{"{A:0}", "{A:7}", ""}, values(items))
}

// A row that is wrong in its last field leaves nothing of the others behind, and one good row costs one allocation.
func TestRowsCostOneAllocation(t *testing.T) {
	made, err := newCSV(CSV[order]("in"))
	require.NoError(t, err)
	require.NoError(t, made.decoder.begin([]byte("id,name,price")))
	b := weaver.NewBatch[order](0, 0)
	body := []byte("12,some name,3.5")
	var v order
	require.InDelta(t, 1, testing.AllocsPerRun(100, func() {
		v = order{}
		if err := made.decoder.decode(b, body, &v); err != nil || v.Name != "some name" {
			panic(strconv.Quote(v.Name))
		}
	}), 0.1)
	require.ErrorContains(t, made.decoder.decode(b, []byte("1,x,?"), &v), `"price"`)
}
