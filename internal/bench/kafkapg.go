package main

import (
	"context"
	stdjson "encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kgo"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/connectors/postgres"
	"github.com/bohica-labs/dataweaver/framework/franz"
	"github.com/bohica-labs/dataweaver/serde"
	"github.com/bohica-labs/dataweaver/serde/json"
)

// kafkaPg brings a topic of JSON into a table.
func kafkaPg(d *folder) scenario {
	topic := peopleTopic{folder: d}
	records := d.records(1789) // 300,000 of 512 MiB
	return scenario{
		name:    "kafka-pg",
		what:    "JSON from 4 partitions upserted into PostgreSQL, exactly-once, against a franz-go loop with COPY and one merge in transactions of 5,000 rows",
		records: records,
		bars:    []bar{speedAtLeast(0.9), residentAtMost(80_000_000)},
		pairs:   bigPairs,
		memory:  d,
		ours: func(n int) (outcome, error) {
			in, err := topic.fill(n)
			if err != nil {
				return outcome{}, err
			}
			return withTable(n, "", func(table string) error {
				fw := franz.New(kafkaAddress())
				sink := postgres.NewSink[dbPerson](postgres.DSN(pgAddress()), table)
				sink.CommitRows = pgRows
				src := fw.Consumer(in, newName())
				src.MaxBytes, src.MaxQueued = 256<<10, 2<<20
				p := weaver.NewPipeline(src, serde.Decode(json.Codec[dbPerson]{}), sink)
				p.Name, p.Require = table, weaver.ExactlyOnce
				p.BatchSize, p.BatchBytes, p.MaxInFlightBytes = 500, 256<<10, 2<<20
				return errors.Join(toItsEnd(p), fw.Close())
			})
		},
		baseline: func(n int) (outcome, error) {
			in, err := topic.fill(n)
			if err != nil {
				return outcome{}, err
			}
			return withTable(n, "", func(table string) error { return consumeIntoTable(in, table, n) })
		},
	}
}

// peopleTopic is a topic with n persons, which is made once. Its name is in a file, for a process whose memory is measured.
type peopleTopic struct {
	folder *folder
	name   string
	n      int
}

func (t *peopleTopic) fill(n int) (string, error) {
	if t.n == n {
		return t.name, nil
	}
	if kafkaAddress() == "" {
		return "", errNoBroker
	}
	made := t.folder.file(fmt.Sprintf("people-topic-%d", n))
	if name, err := os.ReadFile(made); err == nil {
		t.name, t.n = string(name), n
		return t.name, nil
	}
	fw := franz.New(kafkaAddress())
	t.name, t.n = newName(), n
	err := fw.CreateStream(context.Background(), weaver.Stream{Name: t.name, Partitions: kafkaPartitions})
	if err == nil {
		people := newPeople()
		p := weaver.Copy(weaver.FromSeq(func(yield func([]byte, error) bool) {
			for people.made < int64(n) {
				people.next()
				line := people.appendFromCSV(nil)
				if !yield(line[:len(line)-1], nil) {
					return
				}
			}
		}), fw.Produce(t.name))
		p.BatchSize = 1000
		err = p.Run(context.Background())
	}
	if err == nil {
		err = os.WriteFile(made, []byte(t.name), 0o600)
	}
	return t.name, errors.Join(err, fw.Close())
}

// consumeIntoTable polls, collects rows for a transaction, and commits offsets when it is through.
func consumeIntoTable(topic, table string, n int) error {
	ctx := context.Background()
	cl, err := kgo.NewClient(
		kgo.SeedBrokers(kafkaAddress()), kgo.ConsumeTopics(topic), kgo.ConsumerGroup(newName()), kgo.DisableAutoCommit(),
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
	)
	if err != nil {
		return err
	}
	defer cl.Close()
	c, err := pgServer()
	if err != nil {
		return err
	}
	defer c.Close(ctx)
	if _, err := c.Exec(ctx, stagedLike(table)); err != nil {
		return err
	}
	merge := mergeInto(table)
	page := make([]dbPerson, 0, pgRows)
	write := func() error {
		err := pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error { return copyAndMerge(ctx, tx, merge, copyPeople(page)) })
		page = page[:0]
		return err
	}
	for done := 0; done < n; {
		fetches := cl.PollRecords(ctx, pgRows-len(page))
		if err := fetches.Err(); err != nil {
			return err
		}
		for _, r := range fetches.Records() {
			var p dbPerson
			if err := stdjson.Unmarshal(r.Value, &p); err != nil {
				return err
			}
			page = append(page, p)
		}
		if done+len(page) < n && len(page) < pgRows {
			continue
		}
		done += len(page)
		if err := write(); err != nil {
			return err
		}
		if err := cl.CommitUncommittedOffsets(ctx); err != nil {
			return err
		}
	}
	return nil
}
