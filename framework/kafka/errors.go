package kafka

import (
	"crypto/tls"
	"errors"
	"fmt"
	"strings"

	kafkago "github.com/segmentio/kafka-go"

	"github.com/bohica-labs/dataweaver/retry"
)

// classes says what can be done about Kafka's error codes. What isn't in it, or ClassUnmarked, is an outage to whoever
// opened the thing: it waits and tries again. See https://kafka.apache.org/protocol#protocol_error_codes.
var classes = map[kafkago.Error]struct {
	class  retry.Class
	advice string
}{
	kafkago.Unknown: {retry.ClassUnmarked, ""},

	// Leaders, coordinators and replicas move, and brokers restart.
	kafkago.LeaderNotAvailable:           {retry.ClassUnmarked, ""},
	kafkago.NotLeaderForPartition:        {retry.ClassUnmarked, ""},
	kafkago.RequestTimedOut:              {retry.ClassUnmarked, ""},
	kafkago.BrokerNotAvailable:           {retry.ClassUnmarked, ""},
	kafkago.ReplicaNotAvailable:          {retry.ClassUnmarked, ""},
	kafkago.NetworkException:             {retry.ClassUnmarked, ""},
	kafkago.GroupLoadInProgress:          {retry.ClassUnmarked, ""},
	kafkago.GroupCoordinatorNotAvailable: {retry.ClassUnmarked, ""},
	kafkago.NotCoordinatorForGroup:       {retry.ClassUnmarked, ""},
	kafkago.NotEnoughReplicas:            {retry.ClassUnmarked, ""},
	kafkago.NotEnoughReplicasAfterAppend: {retry.ClassUnmarked, ""},
	kafkago.NotController:                {retry.ClassUnmarked, ""},
	kafkago.KafkaStorageError:            {retry.ClassUnmarked, ""},
	kafkago.FencedLeaderEpoch:            {retry.ClassUnmarked, ""},
	kafkago.UnknownLeaderEpoch:           {retry.ClassUnmarked, ""},
	kafkago.OffsetNotAvailable:           {retry.ClassUnmarked, ""},
	kafkago.PreferredLeaderNotAvailable:  {retry.ClassUnmarked, ""},
	kafkago.InvalidMessage:               {retry.ClassUnmarked, "what arrived at the broker, or lies there, is damaged"},

	// Groups rebalance.
	kafkago.IllegalGeneration:   {retry.ClassUnmarked, ""},
	kafkago.UnknownMemberId:     {retry.ClassUnmarked, ""},
	kafkago.RebalanceInProgress: {retry.ClassUnmarked, ""},
	kafkago.MemberIDRequired:    {retry.ClassUnmarked, ""},

	kafkago.ThrottlingQuotaExceeded: {retry.ClassThrottled, ""},

	// What one record did.
	kafkago.MessageSizeTooLarge: {retry.ClassPoison, "the broker takes none so large: see max.message.bytes of the topic"},
	kafkago.RecordListTooLarge:  {retry.ClassPoison, "the broker takes no batch so large: see segment.bytes of the topic"},
	kafkago.InvalidTimestamp:    {retry.ClassPoison, "the record's Time is out of the range the topic allows"},
	kafkago.InvalidRecord:       {retry.ClassPoison, ""},

	// What only a person can change.
	kafkago.UnknownTopicOrPartition:    {retry.ClassFatal, "call CreateStream before the pipeline runs"},
	kafkago.InvalidTopic:               {retry.ClassFatal, "a topic is named by letters, digits, dots, underscores and hyphens"},
	kafkago.OffsetOutOfRange:           {retry.ClassFatal, "remove the checkpoint or set Consumer.OutOfRange"},
	kafkago.InvalidRequiredAcks:        {retry.ClassFatal, ""},
	kafkago.InconsistentGroupProtocol:  {retry.ClassFatal, "the group's other members assign partitions in another way (cooperative-sticky is not known to kafka-go): use another group, or framework/franz"},
	kafkago.InvalidGroupId:             {retry.ClassFatal, ""},
	kafkago.InvalidSessionTimeout:      {retry.ClassFatal, "the broker's group.min.session.timeout.ms and group.max.session.timeout.ms bound Consumer.SessionTimeout"},
	kafkago.TopicAuthorizationFailed:   {retry.ClassFatal, "these credentials lack the ACL for the topic: DESCRIBE with READ or WRITE, or CREATE"},
	kafkago.GroupAuthorizationFailed:   {retry.ClassFatal, "these credentials lack the ACL for the group: READ"},
	kafkago.ClusterAuthorizationFailed: {retry.ClassFatal, "these credentials lack the ACL for the cluster"},
	kafkago.UnsupportedSASLMechanism:   {retry.ClassFatal, "set Framework.SASL to one the broker offers"},
	kafkago.IllegalSASLState:           {retry.ClassFatal, "the broker wants no authentication on this listener, or another one"},
	kafkago.SASLAuthenticationFailed:   {retry.ClassFatal, "the broker refuses these credentials"},
	kafkago.UnsupportedVersion:         {retry.ClassFatal, "the broker is older than this package needs, Kafka 2.3"},
	kafkago.InvalidPartitionNumber:     {retry.ClassFatal, ""},
	kafkago.InvalidReplicationFactor:   {retry.ClassFatal, "the cluster has fewer brokers"},
	kafkago.InvalidConfiguration:       {retry.ClassFatal, ""},
	kafkago.InvalidRequest:             {retry.ClassFatal, ""},
	kafkago.PolicyViolation:            {retry.ClassFatal, ""},
	kafkago.GroupMaxSizeReached:        {retry.ClassUnmarked, "the group has as many members as the broker allows"},
	kafkago.FencedInstanceID:           {retry.ClassFatal, ""},
	kafkago.UnsupportedCompressionType: {retry.ClassFatal, "the broker is too old for Producer.Compression"},
}

// codeError makes an error of a code that a broker answered, marked with its class. What the broker says about it may be
// empty.
func codeError(code int16, said string) error {
	if code == 0 {
		return nil
	}
	e := kafkago.Error(code)
	known := classes[e]
	var text strings.Builder
	if said != "" {
		fmt.Fprintf(&text, ": %s", said)
	}
	if known.advice != "" {
		fmt.Fprintf(&text, ": %s", known.advice)
	}
	return retry.Mark(fmt.Errorf("%w%s", e, text.String()), known.class)
}

// classed marks an error that kafka-go returned.
func classed(err error) error {
	var e kafkago.Error
	if err == nil || retry.ClassOf(err) != retry.ClassUnmarked || !errors.As(err, &e) {
		return err
	}
	if e == kafkago.SASLAuthenticationFailed {
		return err // kafka-go says so also of a broker that hangs up; whoever tries again asks by conn.authenticate, which knows
	}
	known := classes[e]
	if known.advice != "" {
		err = fmt.Errorf("%w: %s", err, known.advice)
	}
	return retry.Mark(err, known.class)
}

// isCode reports whether a broker answered one of these.
func isCode(err error, codes ...kafkago.Error) bool {
	var e kafkago.Error
	if !errors.As(err, &e) {
		return false
	}
	for _, c := range codes {
		if e == c {
			return true
		}
	}
	return false
}

// tlsError tells a broker that doesn't speak TLS from one that isn't trusted.
func tlsError(addr string, err error) error {
	var refused *tls.CertificateVerificationError
	switch {
	case errors.As(err, &refused):
		return retry.Fatal(fmt.Errorf("kafka: TLS to broker %s: its certificate is not accepted, see Framework.TLS: %w", addr, err))
	case strings.Contains(err.Error(), "first record does not look like a TLS handshake"):
		return retry.Fatal(fmt.Errorf("kafka: TLS to broker %s: it doesn't speak TLS there, see Framework.TLS: %w", addr, err))
	case strings.Contains(err.Error(), "remote error: tls: "):
		return retry.Fatal(fmt.Errorf("kafka: TLS to broker %s: the broker refuses this client, see Framework.TLS and its certificate: %w", addr, err))
	case strings.Contains(err.Error(), "tls: "):
		return retry.Fatal(fmt.Errorf("kafka: TLS to broker %s: this client can't, see Framework.TLS: %w", addr, err))
	}
	return fmt.Errorf("kafka: TLS to broker %s: %w", addr, err)
}

// plainTextError guesses what is wrong where the first request of a connection fails.
func plainTextError(addr string, encrypted bool, err error) error {
	if retry.ClassOf(err) == retry.ClassFatal {
		return err
	}
	if encrypted && strings.Contains(err.Error(), "tls: ") { // TLS 1.3 tells of a client certificate that is missing after the handshake
		return tlsError(addr, err)
	}
	if !encrypted && hungUp(err) {
		return fmt.Errorf("%w (does the broker expect TLS there? see Framework.TLS)", err)
	}
	return err
}
