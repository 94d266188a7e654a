package registry

import (
	"fmt"
)

// Subject names the subject that a schema is registered under, from the full name of the record that it describes. Confluent's strategies are [TopicName],
// [TopicKey], [RecordName] and [TopicRecordName]; a fixed name is what TopicName and its like are made of:
//
//	codec.Subject = func(string) string { return "orders-v2" }
type Subject func(record string) string

// TopicName is the default strategy of Kafka's serializers for the values of a topic: the topic and "-value".
func TopicName(topic string) Subject { return func(string) string { return topic + "-value" } }

// TopicKey is TopicName for the keys of a topic: the topic and "-key".
func TopicKey(topic string) Subject { return func(string) string { return topic + "-key" } }

// RecordName is a Subject: the full name of the record, wherever it is written to.
func RecordName(record string) string { return record }

// TopicRecordName is for topics with several types of records: the topic, "-", and the full name of the record.
func TopicRecordName(topic string) Subject {
	return func(record string) string { return topic + "-" + record }
}

// checkSubject refuses what can't be part of a URL.
func checkSubject(subject string) error {
	if subject == "" || subject == "." || subject == ".." {
		return fmt.Errorf("%q can't be a subject", subject)
	}
	return nil
}
