package registry

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/sr"

	"github.com/bohica-labs/dataweaver/retry"
)

// ErrNotFound is what a lookup fails with where the registry answers that there is no such schema, subject or version.
var ErrNotFound = errors.New("the registry doesn't have it")

// Error is a request to the registry that has failed. It is marked as package retry wants it: transient for an outage, throttled where the registry asks for
// patience, fatal where nothing will help but somebody doing something. Only where the registry doesn't have what was asked for it is unmarked, and wraps
// [ErrNotFound].
//
// It has no secret in its text.
type Error struct {
	Op      string // what was asked for, as "schema 7"
	Host    string // of whom, with the port
	Status  int    // of the answer; 0: there was none
	Code    int    // the registry's error code, as 40403; 0: none
	Message string // the registry's, cut short; or why there was no answer
	Err     error  // ErrNotFound, or why there was no answer; may be nil

	class retry.Class
	delay time.Duration // that the registry asks for
}

// Error is one line.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("schema registry")
	if e.Host != "" {
		b.WriteString(" " + e.Host)
	}
	b.WriteString(": " + e.Op + ": ")
	if e.Status != 0 {
		fmt.Fprintf(&b, "%d %s", e.Status, http.StatusText(e.Status))
		if e.Code != 0 {
			fmt.Fprintf(&b, " (error code %d)", e.Code)
		}
		if e.Message != "" {
			b.WriteString(": ")
		}
	}
	b.WriteString(e.Message)
	return b.String()
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// RetryClass tells package retry what to do about it.
func (e *Error) RetryClass() retry.Class { return e.class }

// RetryAfter returns how long the registry wants to be left alone; 0 if it didn't say.
func (e *Error) RetryAfter() time.Duration { return e.delay }

// attempt is one request, as the transport and the client see it.
type attempt struct {
	secrets []string
	delay   time.Duration
}

type attemptKey struct{}

// attemptOf returns the attempt that ctx belongs to, or one that nobody looks at.
func attemptOf(ctx context.Context) *attempt {
	if a, ok := ctx.Value(attemptKey{}).(*attempt); ok {
		return a
	}
	return &attempt{}
}

func (a *attempt) hide(secret string) {
	if secret != "" {
		a.secrets = append(a.secrets, secret)
	}
}

const messageBytes = 300

// clean returns text without secrets and line ends, and not too much of it.
func (a *attempt) clean(text string) string {
	for _, s := range a.secrets {
		for _, form := range []string{s, url.QueryEscape(s), base64.StdEncoding.EncodeToString([]byte(s)), fmt.Sprintf("%q", s)} {
			text = strings.ReplaceAll(text, form, "[hidden]")
		}
	}
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, text)
	if len(text) > messageBytes {
		text = strings.ToValidUTF8(text[:messageBytes], "") + "…"
	}
	return text
}

// failed makes an Error of what a request has failed with.
func (a *attempt) failed(op, host string, err error) error {
	var answer *sr.ResponseError
	if errors.As(err, &answer) {
		return a.answered(op, host, answer)
	}
	e := &Error{Op: op, Host: host, class: retry.ClassTransient}
	if known := (*Error)(nil); errors.As(err, &known) {
		return known
	}
	e.Err = err
	if u := (*url.Error)(nil); errors.As(err, &u) {
		e.Err = u.Err // the text of u has the URL in it
	}
	if c := retry.ClassOf(err); c != retry.ClassUnmarked {
		e.class = c
		e.delay, _ = retry.Delay(err)
	}
	e.Message = a.clean(e.Err.Error())
	if errors.Is(err, context.DeadlineExceeded) {
		e.Message = "no answer in time"
	}
	e.Err = bare(e.Err)
	return e
}

// bare is what may be asked of an error with errors.Is, without its text.
func bare(err error) error {
	for _, known := range []error{context.DeadlineExceeded, context.Canceled} {
		if errors.Is(err, known) {
			return known
		}
	}
	return nil
}

// The registry's error codes for what it doesn't have: a subject, a version, a schema, one that is deleted. Others of its kind begin with 404, too.
const codesNotFound = 404

func (a *attempt) answered(op, host string, r *sr.ResponseError) error {
	e := &Error{Op: op, Host: host, Status: r.StatusCode, Code: r.ErrorCode, Message: a.clean(r.Error()), class: retry.ClassFatal, delay: a.delay}
	switch code := r.StatusCode; {
	case code == http.StatusNotFound && r.ErrorCode/100 == codesNotFound:
		e.class, e.Err = retry.ClassUnmarked, ErrNotFound
	case code == http.StatusNotFound:
		e.Message = "there is no schema registry at this URL: is its path right?"
	case code == http.StatusTooManyRequests:
		e.class = retry.ClassThrottled
	case code >= 500 && a.delay > 0:
		e.class = retry.ClassThrottled
	case code >= 500, code == http.StatusRequestTimeout:
		e.class = retry.ClassTransient
	case code == http.StatusUnauthorized:
		e.Message = "the registry wants other credentials, or any: see fields User, Password and Token of registry.Client: " + e.Message
	case code == http.StatusForbidden:
		e.Message = "the credentials don't allow this: " + e.Message
	case code < 400:
		e.Message = "it redirects to another address, which is not followed: give that one"
	}
	return e
}
