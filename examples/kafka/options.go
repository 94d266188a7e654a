package main

import (
	"crypto/tls"
	"fmt"
	"strings"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/framework/kafka"
	"github.com/bohica-labs/dataweaver/framework/memory"
)

// Options say which message system to use. All else in this program is the same with each.
type Options struct {
	Framework      string // "memory" or "kafka"
	Brokers        string // of Kafka, separated by commas
	User, Password string // of Kafka, for SCRAM-SHA-512; no user: none
	TLS            bool
	Prefix         string // of topics
}

// open returns the Framework that the options name.
func open(o Options) (weaver.Framework, error) {
	switch o.Framework {
	case "memory":
		return memory.New(), nil
	case "kafka":
		fw := kafka.New(strings.Split(o.Brokers, ",")...)
		if o.TLS {
			fw.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		if o.User != "" {
			fw.SASL = kafka.ScramSHA512(o.User, o.Password)
		}
		return fw, nil
	}
	return nil, fmt.Errorf("-framework is %q: want memory or kafka", o.Framework)
}
