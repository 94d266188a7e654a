package main

import (
	"bufio"
	"context"
	stdjson "encoding/json"
	"io"

	gojson "github.com/goccy/go-json"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/connectors/file"
	"github.com/bohica-labs/dataweaver/serde"
	"github.com/bohica-labs/dataweaver/serde/json"
)

// ndjson2 is the everyday case: read JSON, do something, write JSON, on two cores.
func ndjson2(d *folder) scenario {
	return scenario{
		name:     "ndjson-2",
		what:     "NDJSON decoded, filtered, mapped and encoded on Parallelism 2, in order, against two workers written by hand, with encoding/json",
		records:  d.records(ndjsonBytes),
		bars:     []bar{speedAtLeast(0.85), residentAtMost(40 << 20)},
		pairs:    bigPairs,
		memory:   d,
		ours:     func(n int) (outcome, error) { return runNDJSON(d, n, json.Codec[person]{}, json.Codec[sale]{}) },
		baseline: func(n int) (outcome, error) { return runNDJSONByHand(d, n, stdjson.Unmarshal, newStdEncoder) },
	}
}

// ndjson2Fast is the same where JSON costs less, so that the rest weighs more.
func ndjson2Fast(d *folder) scenario {
	return scenario{
		name:    "ndjson-2-fast",
		what:    "the same with goccy/go-json on both sides",
		records: d.records(ndjsonBytes),
		bars:    []bar{speedAtLeast(0.85), residentAtMost(40 << 20)},
		pairs:   bigPairs,
		memory:  d,
		ours: func(n int) (outcome, error) {
			return runNDJSON(d, n,
				json.Codec[person]{Marshal: fastMarshal, Unmarshal: fastUnmarshal},
				json.Codec[sale]{Marshal: fastMarshal, Unmarshal: fastUnmarshal})
		},
		baseline: func(n int) (outcome, error) { return runNDJSONByHand(d, n, fastUnmarshal, newFastEncoder) },
	}
}

func fastMarshal(v any) ([]byte, error)      { return gojson.Marshal(v) }
func fastUnmarshal(data []byte, v any) error { return gojson.Unmarshal(data, v) }

// runNDJSON decodes and encodes in the stages, which are what Parallelism multiplies: a file.NDJSON would do it in the one goroutine that reads.
func runNDJSON(d *folder, n int, in serde.Codec[person], out serde.Codec[sale]) (outcome, error) {
	return runFile(d, "weaver", n, salesInput, func(from, to string) error {
		p := weaver.NewPipeline(
			file.Lines(from),
			weaver.Then(serde.Decode(in), weaver.Then(weaver.Map(sellTo), serde.Encode(out))),
			file.Lines(to),
		)
		p.Parallelism = 2
		return p.Run(context.Background())
	})
}

func sellTo(p person) (sale, error) {
	s, ok := sold(&p)
	if !ok {
		return s, weaver.ErrSkip
	}
	return s, nil
}

// salesInput makes a file of persons, of which those are to come out who are active.
func salesInput(d *folder, n int) (string, sum, error) {
	return d.input("sales.ndjson", n, func(in, out *bufio.Writer) error {
		var line []byte
		for people := newPeople(); people.made < int64(n); {
			people.next()
			line = people.appendNDJSON(line[:0])
			_, _ = in.Write(line) // Flush tells
			line = people.appendSale(line[:0])
			_, _ = out.Write(line)
		}
		return nil
	})
}

// encodeTo appends lines to what it was made for.
type encodeTo func(s *sale) error

func newStdEncoder(w io.Writer) encodeTo {
	enc := stdjson.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return func(s *sale) error { return enc.Encode(s) }
}

func newFastEncoder(w io.Writer) encodeTo {
	return func(s *sale) error {
		line, err := fastMarshal(s)
		if err != nil {
			return err
		}
		_, err = w.Write(append(line, '\n'))
		return err
	}
}
