package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/bohica-labs/dataweaver/retry"
)

// Type is the language of a schema, as the registry calls it.
type Type string

// The types that have codecs here.
const (
	TypeAvro     Type = "AVRO"
	TypeProtobuf Type = "PROTOBUF"
	TypeJSON     Type = "JSON"
)

// Schema is a schema that the registry has. It is not changed.
type Schema struct {
	ID         int
	Type       Type
	Text       string
	References []Reference
	Resolved   []Resolved // what it refers to, directly and not, each behind what it refers to itself
}

// Reference is a schema that another one refers to.
type Reference struct {
	Name    string `json:"name"` // as the other one calls it: an Avro name, or the path in a Protobuf import
	Subject string `json:"subject"`
	Version int    `json:"version"`
}

// Resolved is a Reference with its text.
type Resolved struct {
	Name, Text string
}

// maxReferences bounds what one schema may refer to, and what that refers to.
const maxReferences = 200

// wireSchema is a schema in requests and answers.
type wireSchema struct {
	ID         int         `json:"id,omitempty"`
	Type       Type        `json:"schemaType,omitempty"` // none: Avro
	Text       string      `json:"schema"`
	References []Reference `json:"references,omitempty"`
}

// Schema returns the schema with an id.
func (c *Client) Schema(ctx context.Context, id int) (*Schema, error) {
	return c.lookup(ctx, key{what: byID, id: id}, fmt.Sprintf("schema %d", id), http.MethodGet, fmt.Sprintf("/schemas/ids/%d", id), nil)
}

// Latest returns the schema that a subject has now.
func (c *Client) Latest(ctx context.Context, subject string) (*Schema, error) {
	if err := checkSubject(subject); err != nil {
		return nil, retry.Fatal(fmt.Errorf("registry: %w", err))
	}
	return c.lookup(ctx, key{what: byLatest, subject: subject}, fmt.Sprintf("the latest schema of subject %q", subject), http.MethodGet,
		"/subjects/"+url.PathEscape(subject)+"/versions/latest", nil)
}

// Find returns a schema, of which Type, Text and References are given, with the id that it has under a subject.
func (c *Client) Find(ctx context.Context, subject string, s Schema) (*Schema, error) {
	return c.post(ctx, byText, subject, s, "", "a schema in subject %q")
}

// Register is Find, and gives the schema an id where it has none. The registry refuses one that isn't compatible with those of the subject, as far as
// it is told to.
func (c *Client) Register(ctx context.Context, subject string, s Schema) (*Schema, error) {
	return c.post(ctx, registered, subject, s, "/versions", "registering a schema in subject %q")
}

func (c *Client) post(ctx context.Context, w what, subject string, s Schema, path, op string) (*Schema, error) {
	if err := checkSubject(subject); err != nil {
		return nil, retry.Fatal(fmt.Errorf("registry: %w", err))
	}
	body := &wireSchema{Type: s.Type, Text: s.Text, References: s.References}
	k := key{what: w, subject: subject, text: fmt.Sprintf("%s %#v %s", s.Type, s.References, s.Text)}
	return c.lookup(ctx, k, fmt.Sprintf(op, subject), http.MethodPost, "/subjects/"+url.PathEscape(subject)+path, body)
}

func (c *Client) version(ctx context.Context, r Reference) (*Schema, error) {
	if err := checkSubject(r.Subject); err != nil {
		return nil, err
	}
	k := key{what: byVersion, subject: r.Subject, id: r.Version}
	return c.cache.get(ctx, k, func(ctx context.Context) (*Schema, error) {
		s, err := c.fetch(ctx, fmt.Sprintf("version %d of subject %q", r.Version, r.Subject), http.MethodGet,
			fmt.Sprintf("/subjects/%s/versions/%d", url.PathEscape(r.Subject), r.Version), nil)
		return s, err
	})
}

// lookup is one that the cache knows about, with all that the schema refers to.
func (c *Client) lookup(ctx context.Context, k key, op, method, path string, body *wireSchema) (*Schema, error) {
	if err := c.setup(); err != nil {
		return nil, err
	}
	ctx, cancel := c.within(ctx)
	defer cancel()
	return c.cache.get(ctx, k, func(ctx context.Context) (*Schema, error) {
		s, err := c.fetch(ctx, op, method, path, body)
		if err != nil {
			return nil, err
		}
		if k.what == byID {
			s.ID = k.id
		}
		if body != nil { // the registry may say it in other words, and some say nothing
			s.Type, s.Text, s.References = body.Type, body.Text, body.References
		}
		if err := c.resolve(ctx, s); err != nil {
			return nil, err
		}
		return s, nil
	})
}

// fetch makes a request whose answer is a schema.
func (c *Client) fetch(ctx context.Context, op, method, path string, body *wireSchema) (*Schema, error) {
	var in any
	if body != nil {
		sent := *body
		if sent.Type == TypeAvro {
			sent.Type = "" // as it was before there were others
		}
		in = &sent
	}
	var answer wireSchema
	host, err := c.request(ctx, op, method, path, in, &answer)
	if err != nil {
		return nil, err
	}
	if answer.Text == "" && body == nil {
		return nil, &Error{Op: op, Host: host, Message: "the answer is no schema", class: retry.ClassTransient}
	}
	if answer.Type == "" {
		answer.Type = TypeAvro
	}
	return &Schema{ID: answer.ID, Type: answer.Type, Text: answer.Text, References: answer.References}, nil
}

// resolve fetches what s refers to.
func (c *Client) resolve(ctx context.Context, s *Schema) error {
	r := resolver{c: c, names: map[string]bool{}}
	if err := r.all(ctx, s.References); err != nil {
		return err
	}
	s.Resolved = r.found
	return nil
}

type resolver struct {
	c     *Client
	names map[string]bool // true once it is in found
	found []Resolved
}

func (r *resolver) all(ctx context.Context, references []Reference) error {
	for _, ref := range references {
		if _, known := r.names[ref.Name]; known {
			continue // of one that refers to itself by way of others, the codec finds out
		}
		if len(r.names) >= maxReferences {
			return retry.Permanent(fmt.Errorf("registry: a schema refers to more than %d others", maxReferences))
		}
		r.names[ref.Name] = false
		s, err := r.c.version(ctx, ref)
		if err != nil {
			if errors.Is(err, ErrNotFound) {
				return fmt.Errorf("reference %q: %w", ref.Name, err)
			}
			return err
		}
		if err := r.all(ctx, s.References); err != nil {
			return err
		}
		r.names[ref.Name] = true
		r.found = append(r.found, Resolved{Name: ref.Name, Text: s.Text})
	}
	return nil
}

// texts are those of what s refers to.
func (s *Schema) texts() []string {
	all := make([]string, len(s.Resolved))
	for i, r := range s.Resolved {
		all[i] = r.Text
	}
	return all
}

// oneLine shortens a text of the registry's, or of a library's, for an error.
func oneLine(text string) string { return (&attempt{}).clean(strings.TrimSpace(text)) }
