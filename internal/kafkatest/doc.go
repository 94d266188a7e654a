// Package kafkatest has the tests of framework/kafka and framework/franz that are the same for both: against kcat and Kafka's own clients,
// of groups whose members are killed, of a broker that is killed. It has those of framework/kafka, too, that need a cluster which answers as it is
// told: kfake, of franz-go. It is a module of its own so that nobody else gets that client.
package kafkatest
