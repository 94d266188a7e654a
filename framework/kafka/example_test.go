package kafka_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"os"
	"regexp"
	"time"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/framework/kafka"
	"github.com/bohica-labs/dataweaver/retry"
)

// What Framework.Consume can't say are fields of the concrete type.
func ExampleFramework_Consumer() {
	fw := kafka.New("broker-1:9093", "broker-2:9093")
	fw.TLS = &tls.Config{MinVersion: tls.VersionTLS13}
	fw.SASL = kafka.ScramSHA512("billing", os.Getenv("KAFKA_PASSWORD"))

	orders := fw.Consumer("", "billing")
	orders.Pattern = regexp.MustCompile(`orders-[a-z]+`)
	orders.Start, orders.StartAt = kafka.AtTime, time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	orders.OutOfRange = kafka.ToEarliest
	fmt.Println(orders)
	// Output: kafka.Consumer(/orders-[a-z]+/, billing)
}

// A pipeline between topics; Check asks beforehand whether both ends can be used.
func Example() {
	fw := kafka.New("localhost:9092")
	defer fw.Close()
	invoices := fw.Producer("invoices")
	invoices.Compression = kafka.Zstd

	p := weaver.Copy(fw.Consume("orders", "billing"), weaver.Sink[[]byte](invoices))
	p.BatchSize = 5000 // a Write is one request to each broker
	ctx := context.Background()
	if err := p.Check(ctx); err != nil {
		fmt.Println("not yet:", retry.ClassOf(err) == retry.ClassFatal)
		return
	}
	if err := p.Run(ctx); err != nil {
		fmt.Println(err)
	}
}
