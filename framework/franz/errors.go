package franz

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/bohica-labs/dataweaver/retry"
)

// throttle is how long a broker that says only that it has too much to do is left alone.
const throttle = time.Second

// kinds says what Kafka's error codes mean to a pipeline. What isn't here is unmarked: an outage, which is waited for. See
// "Error codes" in https://kafka.apache.org/protocol.
var kinds = map[int16]retry.Class{
	// It passes by itself: leaders and coordinators move, elections and rebalances end.
	kerr.LeaderNotAvailable.Code:          retry.ClassTransient,
	kerr.NotLeaderForPartition.Code:       retry.ClassTransient,
	kerr.RequestTimedOut.Code:             retry.ClassTransient,
	kerr.BrokerNotAvailable.Code:          retry.ClassTransient,
	kerr.ReplicaNotAvailable.Code:         retry.ClassTransient,
	kerr.NetworkException.Code:            retry.ClassTransient,
	kerr.CoordinatorLoadInProgress.Code:   retry.ClassTransient,
	kerr.CoordinatorNotAvailable.Code:     retry.ClassTransient,
	kerr.NotCoordinator.Code:              retry.ClassTransient,
	kerr.NotEnoughReplicas.Code:           retry.ClassTransient,
	kerr.IllegalGeneration.Code:           retry.ClassTransient,
	kerr.UnknownMemberID.Code:             retry.ClassTransient,
	kerr.RebalanceInProgress.Code:         retry.ClassTransient,
	kerr.NotController.Code:               retry.ClassTransient,
	kerr.ConcurrentTransactions.Code:      retry.ClassTransient,
	kerr.KafkaStorageError.Code:           retry.ClassTransient,
	kerr.FencedLeaderEpoch.Code:           retry.ClassTransient,
	kerr.UnknownLeaderEpoch.Code:          retry.ClassTransient,
	kerr.OffsetNotAvailable.Code:          retry.ClassTransient,
	kerr.PreferredLeaderNotAvailable.Code: retry.ClassTransient,
	kerr.UnstableOffsetCommit.Code:        retry.ClassTransient,
	kerr.CorruptMessage.Code:              retry.ClassTransient, // on the wire: the copy on disk may be whole
	kerr.StaleMemberEpoch.Code:            retry.ClassTransient,
	kerr.TransactionAbortable.Code:        retry.ClassTransient,

	kerr.ThrottlingQuotaExceeded.Code: retry.ClassThrottled,

	// This record, and it alone.
	kerr.MessageTooLarge.Code:  retry.ClassPoison,
	kerr.InvalidRecord.Code:    retry.ClassPoison,
	kerr.InvalidTimestamp.Code: retry.ClassPoison,

	// Somebody has to change something.
	kerr.UnknownTopicOrPartition.Code:            retry.ClassFatal,
	kerr.UnknownTopicID.Code:                     retry.ClassFatal,
	kerr.InvalidTopicException.Code:              retry.ClassFatal,
	kerr.InvalidRequiredAcks.Code:                retry.ClassFatal,
	kerr.InconsistentGroupProtocol.Code:          retry.ClassFatal,
	kerr.InvalidGroupID.Code:                     retry.ClassFatal,
	kerr.InvalidSessionTimeout.Code:              retry.ClassFatal,
	kerr.TopicAuthorizationFailed.Code:           retry.ClassFatal,
	kerr.GroupAuthorizationFailed.Code:           retry.ClassFatal,
	kerr.ClusterAuthorizationFailed.Code:         retry.ClassFatal,
	kerr.UnsupportedSaslMechanism.Code:           retry.ClassFatal,
	kerr.IllegalSaslState.Code:                   retry.ClassFatal,
	kerr.SaslAuthenticationFailed.Code:           retry.ClassFatal,
	kerr.UnsupportedVersion.Code:                 retry.ClassFatal,
	kerr.InvalidPartitions.Code:                  retry.ClassFatal,
	kerr.InvalidReplicationFactor.Code:           retry.ClassFatal,
	kerr.InvalidConfig.Code:                      retry.ClassFatal,
	kerr.InvalidRequest.Code:                     retry.ClassFatal,
	kerr.UnsupportedForMessageFormat.Code:        retry.ClassFatal,
	kerr.PolicyViolation.Code:                    retry.ClassFatal,
	kerr.InvalidTransactionTimeout.Code:          retry.ClassFatal,
	kerr.TransactionalIDAuthorizationFailed.Code: retry.ClassFatal,
	kerr.SecurityDisabled.Code:                   retry.ClassFatal,
	kerr.GroupMaxSizeReached.Code:                retry.ClassFatal,
	kerr.FencedInstanceID.Code:                   retry.ClassFatal,
	kerr.UnsupportedCompressionType.Code:         retry.ClassFatal,
	kerr.UnsupportedAssignor.Code:                retry.ClassFatal,
	kerr.UnreleasedInstanceID.Code:               retry.ClassTransient, // until its session is over
}

// advice says what to do about codes where that is known.
var advice = map[int16]string{
	kerr.UnknownTopicOrPartition.Code:            "call CreateStream before the pipeline runs",
	kerr.UnknownTopicID.Code:                     "it was deleted, or created anew",
	kerr.TopicAuthorizationFailed.Code:           "this principal lacks an ACL on the topic (Read and Describe to consume, Write and Describe to produce)",
	kerr.GroupAuthorizationFailed.Code:           "this principal lacks the ACL Read on the group",
	kerr.ClusterAuthorizationFailed.Code:         "this principal lacks an ACL on the cluster",
	kerr.TransactionalIDAuthorizationFailed.Code: "this principal lacks the ACL Write and Describe on the transactional id",
	kerr.SaslAuthenticationFailed.Code:           "the broker refuses these credentials (Framework.SASL)",
	kerr.UnsupportedSaslMechanism.Code:           "the broker doesn't offer this mechanism (Framework.SASL)",
	kerr.InconsistentGroupProtocol.Code:          "the group has members with another protocol (an eager client, or another Consumer.NextGen)",
	kerr.InvalidSessionTimeout.Code:              "Consumer.SessionTimeout is outside of what the broker allows",
	kerr.InvalidTransactionTimeout.Code:          "Transactional.TransactionTimeout is above the broker's transaction.max.timeout.ms",
	kerr.FencedInstanceID.Code:                   "another member has the same Consumer.InstanceID",
	kerr.GroupMaxSizeReached.Code:                "the group has as many members as the broker allows",
}

// classify says what err was about, and gives it the class it has for a pipeline. Errors of connections stay unmarked, unless
// somebody has to change the configuration.
func classify(what string, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("franz: %s: %w", what, err)
	}
	if k := (*kerr.Error)(nil); errors.As(err, &k) {
		text := fmt.Errorf("franz: %s: %w", what, err)
		if help := advice[k.Code]; help != "" {
			text = fmt.Errorf("franz: %s: %s: %w", what, help, err)
		}
		if kinds[k.Code] == retry.ClassThrottled {
			return retry.After(text, throttle)
		}
		return retry.Mark(text, kinds[k.Code])
	}
	if help, fatal := connection(err); help != "" {
		text := fmt.Errorf("franz: %s: %s: %w", what, help, err)
		if fatal {
			return retry.Fatal(text)
		}
		return text
	}
	return fmt.Errorf("franz: %s: %w", what, err)
}

// connection tells the ways apart in which a connection can't be made, and which of them are the configuration's.
func connection(err error) (help string, fatal bool) {
	var (
		verify  *tls.CertificateVerificationError
		unknown x509.UnknownAuthorityError
		host    x509.HostnameError
		record  tls.RecordHeaderError
		refused *refusedToken
		first   *kgo.ErrFirstReadEOF
		dns     *net.DNSError
		op      *net.OpError
	)
	switch {
	case errors.As(err, &verify), errors.As(err, &unknown), errors.As(err, &host):
		return "TLS: the broker's certificate is not trusted (Framework.TLS)", true
	case errors.As(err, &record):
		return "TLS: the broker doesn't speak it at this address (Framework.TLS)", true
	case errors.As(err, &refused):
		return advice[kerr.SaslAuthenticationFailed.Code], true
	case errors.As(err, &op) && op.Op == "remote error": // what crypto/tls calls an alert
		return "TLS: the broker refuses the handshake, perhaps for want of a client certificate (Framework.TLS)", true
	case errors.As(err, &first):
		return "the broker closes the connection at once: TLS or SASL is wanted and missing, or not wanted and there (Framework.TLS, Framework.SASL)", false
	case errors.As(err, &dns):
		return "no broker's address can be resolved", false
	case errors.As(err, &op) && op.Op == "dial":
		return "no broker can be reached", false
	}
	return "", false
}

// isCode reports whether err is one of Kafka's codes.
func isCode(err error, codes ...*kerr.Error) bool {
	k := (*kerr.Error)(nil)
	if !errors.As(err, &k) {
		return false
	}
	for _, c := range codes {
		if k.Code == c.Code {
			return true
		}
	}
	return false
}
