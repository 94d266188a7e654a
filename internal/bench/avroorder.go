package main

import (
	"fmt"
	"math/big"
	"time"
)

// avroSchema is of a record as a shop has it: strings, numbers, a nested record, arrays, what may be null, times and an amount of money.
const avroSchema = `{"type":"record","name":"Order","namespace":"shop","fields":[
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

type avroOrder struct {
	ID       int64       `avro:"id"`
	Customer string      `avro:"customer"`
	Email    *string     `avro:"email"`
	Quantity int32       `avro:"quantity"`
	Weight   float64     `avro:"weight"`
	Paid     bool        `avro:"paid"`
	Status   string      `avro:"status"`
	Amount   *big.Rat    `avro:"amount"`
	Created  time.Time   `avro:"created"`
	Updated  time.Time   `avro:"updated"`
	Address  avroAddress `avro:"address"`
	Lines    []avroLine  `avro:"lines"`
	Tags     []string    `avro:"tags"`
}

type avroAddress struct {
	Street string `avro:"street"`
	City   string `avro:"city"`
	Zip    int32  `avro:"zip"`
}

type avroLine struct {
	SKU   string  `avro:"sku"`
	Count int32   `avro:"count"`
	Price float64 `avro:"price"`
}

// avroOrders are different ones, to be used in turn.
func avroOrders() []avroOrder {
	orders := make([]avroOrder, 64)
	for i := range orders {
		o := &orders[i]
		*o = avroOrder{
			ID: 1<<40 + int64(i), Customer: "Jones and " + names[i&15], Quantity: int32(i), Weight: 0.25 * float64(i), Paid: i&1 == 0,
			Status: []string{"NEW", "SENT", "DONE"}[i%3], Amount: big.NewRat(int64(12995+i), 100),
			Created: time.UnixMilli(1700000000123 + int64(i)).UTC(), Updated: time.UnixMicro(1700000000123456 + int64(i)).UTC(),
			Address: avroAddress{"Main Street " + names[i&15], "Springfield", int32(10000 + i)},
			Tags:    []string{"new", "gift", names[i&15]},
		}
		if i&3 > 0 {
			email := names[i&15] + "@example.org"
			o.Email = &email
		}
		for line := range 1 + i%5 {
			o.Lines = append(o.Lines, avroLine{fmt.Sprintf("%s-%d", names[line], i), int32(line), 9.5 * float64(line)})
		}
	}
	return orders
}

// avroSum is what is held against what went in.
type avroSum struct {
	count, ids, lines int64
}

func (s *avroSum) add(o *avroOrder) {
	s.count++
	s.ids += o.ID
	s.lines += int64(len(o.Lines) + len(o.Tags))
}

// verify holds the sum over n orders against what it must be.
func (s *avroSum) verify(n int, orders []avroOrder) func() error {
	return func() error {
		var want avroSum
		for i := range n {
			want.add(&orders[i%len(orders)])
		}
		if *s != want {
			return fmt.Errorf("the sums over %d orders are %+v, want %+v", n, *s, want)
		}
		return nil
	}
}
