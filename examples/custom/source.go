package main

import (
	"context"
	"io"
	"net/url"

	weaver "github.com/bohica-labs/dataweaver"
)

// Days is a source of days from a service that gives them page by page: so many after a date. That date is the
// position: with a checkpoint kept somewhere, a pipeline that is started again asks for what came after it.
//
// It has no retry, no reconnect and no goroutine. Whatever error it returns, the pipeline closes the reader, waits and
// opens another at the last position that is durable.
type Days struct{ Service Service }

// OpenReader begins after at.Position, which is nil at first.
func (d Days) OpenReader(_ context.Context, at weaver.Lane) (weaver.Reader[Day], error) {
	return &pages{service: d.Service, after: string(at.Position)}, nil
}

type pages struct {
	service Service
	after   string // the date of the last day that was read
	page    []Day  // what came with the last request and didn't fit into the batch
}

func (p *pages) Read(ctx context.Context, b *weaver.Batch[Day]) (weaver.Position, error) {
	if len(p.page) == 0 {
		if err := p.service.Call(ctx, "GET", "/days?after="+url.QueryEscape(p.after), nil, &p.page); err != nil {
			return nil, err
		}
		if len(p.page) == 0 {
			return nil, io.EOF
		}
	}
	for len(p.page) > 0 && !b.Full() {
		r := b.Add()
		r.Value, r.Key = p.page[0], b.Copy([]byte(p.page[0].Date))
		p.after, p.page = p.page[0].Date, p.page[1:]
	}
	return weaver.Position(p.after), nil
}

func (p *pages) Close() error { return nil }
