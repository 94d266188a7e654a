package avrofile

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"

	twmb "github.com/twmb/avro"

	"github.com/bohica-labs/dataweaver/connectors/file"
	"github.com/bohica-labs/dataweaver/retry"
	"github.com/bohica-labs/dataweaver/serde/avro"
)

// recordCodec is what an avro.Codec and an avro.Generic have in common. It is safe for concurrent use.
type recordCodec[T any] interface {
	Append(dst []byte, v T) ([]byte, error)
	DecodeNext(data []byte, v *T) ([]byte, error)
	Skip(data []byte) ([]byte, error)
	Schema() string
}

// container makes the layout of files of T.
type container[T any] struct {
	options Options
	codec   recordCodec[T]                              // nil: nothing is written
	with    func(schema string) (recordCodec[T], error) // what reads data of a schema
	bad     error                                       // of New

	mu    sync.Mutex
	known map[string]recordCodec[T] // by the schema of files; at most knownSchemas
	idle  map[string][]*packer      // by their codec; at most idlePackers each
}

const (
	knownSchemas = 16
	idlePackers  = 4
)

func (c *container[T]) file(path string) *file.File[T] {
	l := file.BlockLayout[T]{
		Name:      "avrofile.New",
		MaxHeader: c.options.Limits.MaxHeader,
		MaxBlock:  min(c.options.Limits.MaxBlock, c.options.Limits.MaxData),
		Decoder:   c.decoder,
		Encoder:   c.encoder,
	}
	if c.codec == nil && c.bad == nil {
		l.Encoder = nil
	}
	return file.Blocks(path, l)
}

// parse reads a header. An error that says that it is damaged is marked so.
func (c *container[T]) parse(head []byte) (*avro.Header, int, error) {
	h, n, err := avro.ParseHeader(head, c.options.Limits)
	switch {
	case errors.Is(err, avro.ErrMore):
		return nil, 0, file.ErrMore
	case err != nil:
		return nil, 0, retry.Permanent(err)
	}
	if _, err := avro.NewCompression(h.Codec, c.options.Limits); err != nil {
		return nil, 0, err
	}
	return h, n, nil
}

func (c *container[T]) decoder(head []byte) (file.BlockDecoder[T], int, error) {
	if c.bad != nil {
		return nil, 0, c.bad
	}
	h, n, err := c.parse(head)
	if err != nil {
		return nil, 0, err
	}
	codec, err := c.reads(h.Schema)
	if err != nil {
		return nil, 0, err
	}
	return &decoder[T]{container: c, codec: codec, header: h}, n, nil
}

// reads returns what reads data of a schema. Making it is work, and many files have the same.
func (c *container[T]) reads(schema string) (recordCodec[T], error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if codec, ok := c.known[schema]; ok {
		return codec, nil
	}
	codec, err := c.with(schema)
	if err != nil {
		if differs := (*avro.IncompatibleError)(nil); errors.As(err, &differs) {
			return nil, fmt.Errorf("it was written with a schema that can't be read as %s: %w", reflect.TypeFor[T](), err)
		}
		return nil, retry.Permanent(err)
	}
	if len(c.known) >= knownSchemas {
		clear(c.known)
	}
	if c.known == nil {
		c.known = map[string]recordCodec[T]{}
	}
	c.known[schema] = codec
	return codec, nil
}

func (c *container[T]) encoder(head []byte) (file.BlockEncoder[T], error) {
	if c.bad != nil {
		return nil, c.bad
	}
	h := &avro.Header{Schema: c.codec.Schema(), Codec: string(cmp.Or(c.options.Compression, Null)), Meta: c.options.Meta, Sync: avro.NewSync()}
	if len(head) == 0 {
		if _, err := avro.NewCompression(h.Codec, c.options.Limits); err != nil {
			return nil, fmt.Errorf("Options.Compression: %w", err)
		}
		begins, err := h.Append(nil)
		return &encoder[T]{container: c, header: h, begins: begins}, err
	}
	was, n, err := c.parse(head)
	if err != nil {
		return nil, err
	}
	if err := alike(was.Schema, h.Schema); err != nil {
		return nil, err
	}
	return &encoder[T]{container: c, header: was, begins: bytes.Clone(head[:n])}, nil
}

// alike finds out whether what is written with one schema is what would be written with the other, and means the same.
func alike(was, now string) error {
	if was == now {
		return nil
	}
	differs := func(why string) error {
		return fmt.Errorf("it was written with another schema than what is to be added: %s", why)
	}
	a, err := twmb.Parse(was)
	if err != nil {
		return err
	}
	b, err := twmb.Parse(now)
	if err != nil {
		return err
	}
	if bytes.Equal(a.Canonical(), b.Canonical()) { // which leaves out what values mean
		if x, y := meanings(nil, a.Root(), ""), meanings(nil, b.Root(), ""); !slices.Equal(x, y) {
			return differs(fmt.Sprintf("its logical types are %q and not %q", x, y))
		}
		return nil
	}
	for _, texts := range [][2]string{{was, now}, {now, was}} {
		if changes, err := avro.Compare(texts[0], texts[1]); err == nil && len(changes) > 0 {
			return differs(changes[0].String())
		}
	}
	return differs("names, or the order of fields, are others")
}

// meanings appends the logical types in a schema, in its order.
func meanings(dst []string, n *twmb.SchemaNode, path string) []string {
	switch n.LogicalType {
	case "":
	case "decimal":
		dst = append(dst, fmt.Sprintf("%s decimal(%d,%d)", path, n.Precision, n.Scale))
	default:
		dst = append(dst, path+" "+n.LogicalType)
	}
	for i := range n.Fields {
		dst = meanings(dst, &n.Fields[i].Type, path+"."+n.Fields[i].Name)
	}
	for i := range n.Branches {
		dst = meanings(dst, &n.Branches[i], path)
	}
	if n.Items != nil {
		dst = meanings(dst, n.Items, path+"[]")
	}
	if n.Values != nil {
		dst = meanings(dst, n.Values, path+"{}")
	}
	return dst
}

// packer packs blocks, and unpacks them. It is large, so nobody has one who isn't about to use it.
type packer struct {
	*avro.Compression
	stored []byte
}

// borrow gives use a packer.
func (c *container[T]) borrow(codec string, use func(*packer) error) error {
	c.mu.Lock()
	var p *packer
	if idle := c.idle[codec]; len(idle) > 0 {
		p = idle[len(idle)-1]
		c.idle[codec] = idle[:len(idle)-1]
	}
	c.mu.Unlock()
	if p == nil {
		made, err := avro.NewCompression(codec, c.options.Limits)
		if err != nil {
			return err
		}
		p = &packer{Compression: made}
	}
	err := use(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.idle[codec]) < idlePackers {
		if c.idle == nil {
			c.idle = map[string][]*packer{}
		}
		c.idle[codec] = append(c.idle[codec], p)
	}
	return err
}
