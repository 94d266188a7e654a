package franz

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/retry"
)

// conn is a client that may be closed from elsewhere, by Close of the framework.
type conn struct {
	mu     sync.Mutex
	cl     *kgo.Client
	closed bool
}

// Close closes the client, and keeps one from being made.
func (c *conn) Close() error {
	c.mu.Lock()
	c.closed = true
	cl := c.cl
	c.mu.Unlock()
	if cl != nil {
		cl.Close()
	}
	return nil
}

// txWriter writes a split's transactions. Without Restore it is a Flusher that writes without transactions.
type txWriter struct {
	t     *Transactional
	id    string
	limit int

	conn conn
	cl   *kgo.Client // conn's, once it is needed

	checkpoint checkpoint // where the envelope goes; its topic is empty without Restore
	open       bool       // a transaction, or without Restore something that isn't flushed
	began      time.Time
	wrote      time.Time
	bytes      int
	broken     error
	parcels    parcels
}

// Restore fences any earlier writer of the split, and returns what it committed last.
func (w *txWriter) Restore(ctx context.Context) ([]byte, error) {
	topic, err := w.t.prepare(ctx)
	if err != nil {
		return nil, err
	}
	cl, err := w.client(w.id)
	if err != nil {
		return nil, err
	}
	// From here on the broker refuses the earlier writer, and its transaction, if there was one, has come to its end.
	if _, _, err := cl.ProducerID(ctx); err != nil {
		return nil, w.t.fw.isClosed(classify("taking over transactional id "+w.id, err))
	}
	w.checkpoint = newCheckpoint(w.id, topic)
	shared, err := w.t.fw.client()
	if err != nil {
		return nil, err
	}
	envelope, err := w.checkpoint.read(ctx, shared)
	return envelope, w.t.fw.isClosed(err)
}

// client returns the writer's client, made when it is first needed.
func (w *txWriter) client(id string) (*kgo.Client, error) {
	c := &w.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, w.t.fw.isClosed(errors.New("franz: the writer is closed"))
	}
	if c.cl == nil {
		cl, err := w.t.client(id, w.limit)
		if err != nil {
			return nil, err
		}
		c.cl, w.cl = cl, cl
	}
	return c.cl, nil
}

// Write sends the records, and waits only where too much is on its way. Whether they have arrived shows at Commit.
func (w *txWriter) Write(ctx context.Context, b *weaver.Batch[[]byte]) error {
	switch {
	case w.broken != nil:
		return w.broken
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case len(b.Records) == 0:
		return nil
	}
	if err := w.begin(); err != nil {
		return err
	}
	if err := w.room(ctx); err != nil {
		return err
	}
	p, poison := w.parcels.pack(w.t.stream, w.limit, b.Records)
	for i := range p.records {
		w.cl.Produce(context.Background(), &p.records[i], p.done) // Commit is what can be given up
	}
	w.bytes += p.bytes
	w.wrote = time.Now()
	if err := w.parcels.failed(); err != nil {
		return w.fail(classify(fmt.Sprintf("writing to topic %q", w.t.stream), err))
	}
	if len(poison) > 0 {
		return &weaver.BatchError{Err: poison[0].Err, Records: poison}
	}
	return nil
}

// room waits while MaxBytes are on their way. The client's own bound would wait without one.
func (w *txWriter) room(ctx context.Context) error {
	most := int64(orDefault(w.t.MaxBytes, defaultTransactionBytes))
	if w.cl.BufferedProduceBytes() < most {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, w.patience(), w.late())
	defer cancel()
	for w.cl.BufferedProduceBytes() >= most && w.parcels.failed() == nil {
		if err := retry.Sleep(ctx, time.Millisecond); err != nil {
			return w.fail(err)
		}
	}
	return nil
}

func (w *txWriter) patience() time.Duration {
	return orDefault(w.t.DeliveryTimeout, defaultDeliveryTimeout)
}

func (w *txWriter) late() error {
	return fmt.Errorf("franz: topic %q has not taken what was written within %v (Transactional.DeliveryTimeout)", w.t.stream, w.patience())
}

// begin opens a transaction if none is open.
func (w *txWriter) begin() error {
	if w.open {
		return nil
	}
	restored := w.checkpoint.topic != ""
	id := ""
	if restored {
		id = w.id
	}
	cl, err := w.client(id)
	if err != nil {
		return err
	}
	if restored {
		if err := cl.BeginTransaction(); err != nil {
			return w.fail(classify("beginning a transaction", err))
		}
	}
	w.open, w.bytes = true, 0
	w.began = time.Now()
	w.wrote = w.began
	return nil
}

// fail notes that the writer is of no more use, and returns why. A producer that was fenced is never used again: another
// InitProducerId of it would fence the writer that has taken over.
func (w *txWriter) fail(err error) error {
	age := time.Since(w.began)
	timeout := orDefault(w.t.TransactionTimeout, defaultTransactionTimeout)
	switch {
	case !isFenced(err):
	case w.open && age >= timeout && time.Since(w.wrote) < timeout/2:
		err = retry.Fatal(fmt.Errorf("franz: a transaction was written to for %v without a position to commit it at, and the broker has aborted it: "+
			"raise Transactional.TransactionTimeout, %v, above what the source's transactions take: %w", age.Round(time.Second), timeout, err))
	case w.open && age >= timeout:
		err = fmt.Errorf("franz: a transaction stood still for %v, longer than Transactional.TransactionTimeout, %v, and the broker has aborted it: %w", age.Round(time.Second), timeout, err)
	default:
		err = fmt.Errorf("%w (transactional id %s): %w", weaver.ErrFenced, w.id, err)
	}
	w.broken = w.t.fw.isClosed(err)
	return w.broken
}

// Due reports whether the transaction is open for Interval, or holds MaxBytes.
func (w *txWriter) Due() bool {
	return w.open && (w.bytes >= orDefault(w.t.MaxBytes, defaultTransactionBytes) || time.Since(w.began) >= orDefault(w.t.Interval, defaultInterval))
}

// Commit commits what was written, and the envelope with it.
func (w *txWriter) Commit(ctx context.Context, envelope []byte) error {
	switch {
	case w.broken != nil:
		return w.broken
	case w.checkpoint.topic == "":
		return retry.Fatal(errors.New("franz: Commit without Restore"))
	}
	if err := w.begin(); err != nil {
		return err
	}
	p := w.parcels.envelope(&w.checkpoint, w.limit, envelope)
	for i := range p.records {
		w.cl.Produce(context.Background(), &p.records[i], p.done)
	}
	if err := w.arrive(ctx); err != nil {
		return err
	}
	return w.end(ctx)
}

// end commits the transaction, of which all has arrived.
//
// The client decides whether there is something to commit by looking through the partitions that it knows, and aborts if
// it finds none, without an error. When it learns of a topic, it lets go of the records that wait for that before it notes
// the partitions. So there is a moment in which records have arrived in partitions that it doesn't see:
//
//	metadata goroutine: sends the waiting records; ............................... notes the partitions
//	this one:                                      Flush; EndTransaction aborts
//
// The record of the checkpoint is in each transaction. If the client sees its partition, it commits.
func (w *txWriter) end(ctx context.Context) error {
	for {
		leader, _, err := w.cl.PartitionLeader(w.checkpoint.topic, w.checkpoint.partition)
		if leader >= 0 || err != nil {
			break
		}
		if err := retry.Sleep(ctx, time.Millisecond); err != nil {
			return w.fail(err)
		}
	}
	if err := w.cl.EndTransaction(ctx, kgo.TryCommit); err != nil {
		return w.fail(classify("committing the transaction of "+w.id, err))
	}
	w.open = false
	return nil
}

// arrive waits until all that was sent has arrived.
func (w *txWriter) arrive(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, w.patience(), w.late())
	defer cancel()
	if err := w.cl.Flush(ctx); err != nil {
		return w.fail(context.Cause(ctx))
	}
	if err := w.parcels.failed(); err != nil {
		return w.fail(classify(fmt.Sprintf("writing to topic %q", w.t.stream), err))
	}
	return nil
}

// Flush makes durable what was written, without a position. It is for writers that nobody has restored.
func (w *txWriter) Flush(ctx context.Context) error {
	switch {
	case w.broken != nil:
		return w.broken
	case !w.open:
		return nil
	}
	if w.checkpoint.topic != "" {
		return w.fail(retry.Fatal(errors.New("franz: Flush after Restore: what was written goes with a position")))
	}
	if err := w.arrive(ctx); err != nil {
		return err
	}
	w.open = false
	return nil
}

// Close aborts what wasn't committed, so that readers needn't wait for the broker to do so, and closes the connections.
func (w *txWriter) Close() error {
	if w.checkpoint.topic != "" && w.open && w.broken == nil {
		ctx, cancel := context.WithTimeout(context.Background(), closePatience)
		defer cancel()
		if w.cl.AbortBufferedRecords(ctx) == nil {
			_ = w.cl.EndTransaction(ctx, kgo.TryAbort) // else the broker does it after TransactionTimeout, or Restore
		}
	}
	w.t.fw.disown(&w.conn)
	return w.conn.Close()
}

var (
	_ weaver.Checkpointer = (*txWriter)(nil)
	_ weaver.Flusher      = (*txWriter)(nil)
)
