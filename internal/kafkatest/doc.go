// Package kafkatest has the tests of framework/kafka that need a cluster which answers as it is told: kfake, of franz-go. It
// is a module of its own so that nobody else gets that client.
package kafkatest
