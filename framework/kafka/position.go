package kafka

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	weaver "github.com/bohica-labs/dataweaver"
)

// A position is a version, the offset of the next record, and the leader epoch of the record before (KIP-101), which is
// kept for later use; -1 if unknown. Numbers are big-endian.
const (
	positionVersion = 1
	positionBytes   = 1 + 8 + 4
)

func encodePosition(dst []byte, offset int64, epoch int32) weaver.Position {
	dst = append(dst[:0], positionVersion)
	dst = binary.BigEndian.AppendUint64(dst, uint64(offset))
	return binary.BigEndian.AppendUint32(dst, uint32(epoch))
}

func decodePosition(p weaver.Position) (offset int64, epoch int32, err error) {
	if len(p) != positionBytes || p[0] != positionVersion {
		return 0, 0, fmt.Errorf("kafka: %x is no position of this source: was the pipeline's source another one?", []byte(p))
	}
	offset = int64(binary.BigEndian.Uint64(p[1:]))
	if offset < 0 {
		return 0, 0, fmt.Errorf("kafka: %x is no position of this source: the offset is negative", []byte(p))
	}
	return offset, int32(binary.BigEndian.Uint32(p[9:])), nil
}

// splitID names a partition. A topic's name has no slash.
func splitID(topic string, partition int) string { return topic + "/" + strconv.Itoa(partition) }

func parseSplit(id string) (topic string, partition int, ok bool) {
	topic, number, found := strings.Cut(id, "/")
	n, err := strconv.Atoi(number)
	if !found || topic == "" || err != nil || n < 0 || strconv.Itoa(n) != number {
		return "", 0, false
	}
	return topic, n, true
}
