package franz

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// What ListOffsets is asked for in place of a time.
const (
	listEnd   = -1 // behind the last record, at the isolation level that is asked for
	listStart = -2
)

// listed is an answer of ListOffsets.
type listed struct {
	offset int64 // -1: none is as late as that
	err    error
}

// listOffsets finds an offset in each of the partitions: at a time in milliseconds, or at one of the list constants. The
// error is about the request as a whole.
func listOffsets(ctx context.Context, cl *kgo.Client, isolation int8, when map[partition]int64) (map[partition]listed, error) {
	req := kmsg.NewPtrListOffsetsRequest()
	req.IsolationLevel = isolation
	topics := make(map[string]int)
	for p, at := range when {
		i, ok := topics[p.topic]
		if !ok {
			i = len(req.Topics)
			topics[p.topic] = i
			t := kmsg.NewListOffsetsRequestTopic()
			t.Topic = p.topic
			req.Topics = append(req.Topics, t)
		}
		rp := kmsg.NewListOffsetsRequestTopicPartition()
		rp.Partition, rp.Timestamp = p.index, at
		req.Topics[i].Partitions = append(req.Topics[i].Partitions, rp)
	}
	out := make(map[partition]listed, len(when))
	for _, shard := range cl.RequestSharded(ctx, req) {
		if shard.Err != nil {
			return nil, shard.Err
		}
		resp, ok := shard.Resp.(*kmsg.ListOffsetsResponse)
		if !ok {
			continue
		}
		for _, t := range resp.Topics {
			for _, p := range t.Partitions {
				out[partition{t.Topic, p.Partition}] = listed{p.Offset, kerr.ErrorForCode(p.ErrorCode)}
			}
		}
	}
	for p := range when {
		if _, ok := out[p]; !ok {
			return nil, fmt.Errorf("the broker says nothing of %s", p)
		}
	}
	return out, nil
}

// listOffset is listOffsets of one partition.
func listOffset(ctx context.Context, cl *kgo.Client, isolation int8, p partition, when int64) (int64, error) {
	all, err := listOffsets(ctx, cl, isolation, map[partition]int64{p: when})
	if err == nil {
		err = all[p].err
	}
	if err != nil {
		return 0, classify("looking up an offset of "+p.String(), err)
	}
	return all[p].offset, nil
}

// endOfEpoch returns where the records of a leader epoch, or of the last one before it that has any, end. It is negative
// where the broker doesn't know.
func endOfEpoch(ctx context.Context, cl *kgo.Client, p partition, epoch int32) (int64, error) {
	req := kmsg.NewPtrOffsetForLeaderEpochRequest()
	t := kmsg.NewOffsetForLeaderEpochRequestTopic()
	t.Topic = p.topic
	rp := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
	rp.Partition, rp.LeaderEpoch = p.index, epoch
	t.Partitions = append(t.Partitions, rp)
	req.Topics = append(req.Topics, t)
	for _, shard := range cl.RequestSharded(ctx, req) {
		if shard.Err != nil {
			return 0, shard.Err
		}
		resp, ok := shard.Resp.(*kmsg.OffsetForLeaderEpochResponse)
		if !ok {
			continue
		}
		for _, t := range resp.Topics {
			for _, x := range t.Partitions {
				return x.EndOffset, kerr.ErrorForCode(x.ErrorCode)
			}
		}
	}
	return -1, nil
}
