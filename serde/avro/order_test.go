package avro_test

import (
	"math/big"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	twmb "github.com/twmb/avro"
)

const orderSchema = `{"type":"record","name":"Order","namespace":"shop","fields":[
	{"name":"id","type":"long"},
	{"name":"customer","type":"string"},
	{"name":"email","type":["null","string"],"default":null},
	{"name":"quantity","type":"int"},
	{"name":"weight","type":"double"},
	{"name":"paid","type":"boolean"},
	{"name":"status","type":{"type":"enum","name":"Status","symbols":["NEW","SENT","DONE"]}},
	{"name":"amount","type":{"type":"bytes","logicalType":"decimal","precision":12,"scale":2}},
	{"name":"created","type":{"type":"long","logicalType":"timestamp-millis"}},
	{"name":"updated","type":{"type":"long","logicalType":"timestamp-micros"}},
	{"name":"address","type":{"type":"record","name":"Address","fields":[
		{"name":"street","type":"string"},{"name":"city","type":"string"},{"name":"zip","type":"int"}]}},
	{"name":"lines","type":{"type":"array","items":{"type":"record","name":"Line","fields":[
		{"name":"sku","type":"string"},{"name":"count","type":"int"},{"name":"price","type":"double"}]}}},
	{"name":"tags","type":{"type":"array","items":"string"}}]}`

type order struct {
	ID       int64     `avro:"id"`
	Customer string    `avro:"customer"`
	Email    *string   `avro:"email"`
	Quantity int32     `avro:"quantity"`
	Weight   float64   `avro:"weight"`
	Paid     bool      `avro:"paid"`
	Status   string    `avro:"status"`
	Amount   *big.Rat  `avro:"amount"`
	Created  time.Time `avro:"created"`
	Updated  time.Time `avro:"updated"`
	Address  address   `avro:"address"`
	Lines    []line    `avro:"lines"`
	Tags     []string  `avro:"tags"`
}

type address struct {
	Street string `avro:"street"`
	City   string `avro:"city"`
	Zip    int32  `avro:"zip"`
}

type line struct {
	SKU   string  `avro:"sku"`
	Count int32   `avro:"count"`
	Price float64 `avro:"price"`
}

func sampleOrder() order {
	email := "ann@example.org"
	return order{
		ID: 9007199254740993, Customer: "Jones and Sons", Email: &email, Quantity: 12, Weight: 3.25, Paid: true, Status: "SENT", Amount: big.NewRat(12995, 100),
		Created: time.UnixMilli(1700000000123).UTC(), Updated: time.UnixMicro(1700000000123456).UTC(),
		Address: address{"Main Street 1", "Springfield", 12345},
		Lines:   []line{{"A-1", 2, 9.5}, {"B-22", 1, 110.95}, {"C-333", 7, 0.5}},
		Tags:    []string{"new", "gift", "express"},
	}
}

func libSchema(t testing.TB) *twmb.Schema {
	t.Helper()
	s, err := twmb.Parse(orderSchema)
	require.NoError(t, err)
	return s
}
