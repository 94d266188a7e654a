package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/bohica-labs/dataweaver/retry"
)

// Day is what the service has.
type Day struct {
	Date string  `json:"date"`
	Rain float64 `json:"rain"` // mm
}

// Alert is what it takes.
type Alert struct {
	Date string `json:"date"`
	Text string `json:"text"`
}

// Answer is what it says to an Alert.
type Answer struct {
	Status int    `json:"status"`
	Reason string `json:"reason,omitempty"`
}

// Service is a client of a service that speaks JSON over HTTP.
type Service struct {
	URL    string
	Client *http.Client
}

// Call sends a request with body, if there is one, and decodes the reply.
func (s Service) Call(ctx context.Context, method, path string, body, reply any) error {
	var send io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return err
		}
		send = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, s.URL+path, send)
	if err != nil {
		return retry.Fatal(err)
	}
	res, err := s.Client.Do(req)
	if err != nil {
		return err // not marked: it counts as an outage
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		err := fmt.Errorf("%s %s: %s", method, path, res.Status)
		if wait, ok := retry.ParseRetryAfter(res.Header.Get("Retry-After"), time.Now()); ok {
			return retry.After(err, wait)
		}
		if res.StatusCode < 500 {
			return retry.Fatal(err) // the request is wrong, whatever the record
		}
		return err
	}
	return json.NewDecoder(res.Body).Decode(reply)
}

// classify says what can be done about an answer: nothing has to be, it is worth another try, or it never works.
func classify(status int, reason string) error {
	switch {
	case status < 300:
		return nil
	case status == http.StatusTooManyRequests:
		return retry.Transient(fmt.Errorf("%d %s", status, reason))
	default:
		return retry.Permanent(fmt.Errorf("%d %s", status, reason))
	}
}
