package franz

import (
	"errors"
	"fmt"
	"time"

	"github.com/bohica-labs/dataweaver/retry"
)

// invalid is an error about a field.
func invalid(format string, args ...any) error {
	return retry.Fatal(fmt.Errorf("franz: "+format, args...))
}

// notNegative returns an error that names the first field that is negative.
func notNegative(fields ...durationField) error {
	for _, f := range fields {
		if f.value < 0 {
			return invalid("%s is %v: must not be negative", f.name, f.value)
		}
	}
	return nil
}

type durationField struct {
	name  string
	value time.Duration
}

func (f *Framework) validate() error {
	if len(f.brokers) == 0 {
		return retry.Fatal(errors.New("franz: New was called without a broker's address"))
	}
	return notNegative(
		durationField{"Framework.DialTimeout", f.DialTimeout},
		durationField{"Framework.RequestTimeout", f.RequestTimeout},
		durationField{"Framework.RetryTimeout", f.RetryTimeout},
	)
}

func (c *Consumer) validate() error {
	switch {
	case len(c.Topics) == 0 && c.Pattern == nil:
		return invalid("Consumer.Topics is empty, and there is no Consumer.Pattern")
	case c.Start > NoStart:
		return invalid("Consumer.Start is %d: want Earliest, Latest, AtTime or NoStart", c.Start)
	case c.Start == AtTime && c.StartAt.IsZero():
		return invalid("Consumer.Start is AtTime, and Consumer.StartAt is not set")
	case c.OutOfRange > ToLatest:
		return invalid("Consumer.OutOfRange is %d: want Fail, ToEarliest or ToLatest", c.OutOfRange)
	case c.MaxBytes < 0 || c.MaxBytes > 1<<30:
		return invalid("Consumer.MaxBytes is %d: want 0 (the default) to 1 GiB", c.MaxBytes)
	case c.MaxQueued < 0:
		return invalid("Consumer.MaxQueued is %d: must not be negative", c.MaxQueued)
	case c.group == "" && (c.InstanceID != "" || c.NextGen):
		return invalid("Consumer.InstanceID or Consumer.NextGen is set, and there is no group")
	}
	for _, t := range c.Topics {
		if t == "" {
			return invalid("Consumer.Topics has an empty name")
		}
	}
	if err := notNegative(
		durationField{"Consumer.MaxWait", c.MaxWait},
		durationField{"Consumer.SessionTimeout", c.SessionTimeout},
		durationField{"Consumer.HeartbeatInterval", c.HeartbeatInterval},
		durationField{"Consumer.RebalanceTimeout", c.RebalanceTimeout},
		durationField{"Consumer.Refresh", c.Refresh},
	); err != nil {
		return err
	}
	session, beat := orDefault(c.SessionTimeout, defaultSessionTimeout), orDefault(c.HeartbeatInterval, defaultHeartbeatInterval)
	if beat >= session {
		return invalid("Consumer.HeartbeatInterval is %v: must be below SessionTimeout, %v, better a third of it", beat, session)
	}
	return nil
}
