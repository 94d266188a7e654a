package franz

import (
	"context"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/bohica-labs/dataweaver/retry"
)

// check is what CheckHealth looks at.
type check struct {
	topics []string // must be there
	write  bool     // and be writable; otherwise readable
	group  string   // may be read of; empty: none
}

// CheckHealth reports whether brokers answer, take the credentials, and let this principal read the topics and use the
// group.
func (c *Consumer) CheckHealth(ctx context.Context) error {
	if err := c.validate(); err != nil {
		return err
	}
	return c.fw.checkHealth(ctx, check{topics: c.topics(), group: c.group})
}

// checkHealth asks with connections of its own: a bad address, TLS, credentials and a missing ACL each have their text.
func (f *Framework) checkHealth(ctx context.Context, want check) error {
	f.mu.Lock()
	closed := f.closed
	f.mu.Unlock()
	if closed {
		return ErrClosed
	}
	cl, err := f.newClient(kgo.RequestRetries(1))
	if err != nil {
		return err
	}
	defer cl.Close()
	if err := cl.Ping(ctx); err != nil {
		return classify(fmt.Sprintf("asking %s", f.brokers), err)
	}
	for _, name := range want.topics {
		if err := checkTopic(ctx, cl, name, want.write); err != nil {
			return err
		}
	}
	if want.group == "" {
		return nil
	}
	_, err = kadm.NewClient(cl).FetchOffsets(ctx, want.group)
	if isCode(err, kerr.GroupIDNotFound) {
		return nil // it begins with its first member
	}
	return classify("group "+want.group, err)
}

func checkTopic(ctx context.Context, cl *kgo.Client, name string, write bool) error {
	what := fmt.Sprintf("topic %q", name)
	m, err := kadm.NewClient(cl).Metadata(kadm.WithAuthorizedOps(ctx), name)
	if err != nil {
		return classify(what, err)
	}
	t, ok := m.Topics[name]
	if t.Err != nil || !ok {
		return classify(what, orUnknown(t.Err))
	}
	need := kmsg.ACLOperationRead
	if write {
		need = kmsg.ACLOperationWrite
	}
	if ops := t.AuthorizedOperations; len(ops) > 0 && !slices.Contains(ops, need) {
		return classify(what, kerr.TopicAuthorizationFailed)
	}
	for _, p := range t.Partitions {
		if p.Leader < 0 {
			return retry.Transient(fmt.Errorf("franz: %s has no leader", partition{name, p.Partition}))
		}
	}
	return nil
}
