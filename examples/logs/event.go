package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	weaver "github.com/bohica-labs/dataweaver"
)

// Event is a line of the log: 2026-11-23T10:00:00Z ERROR payments: the message.
type Event struct {
	Time    time.Time `json:"time"`
	Level   string    `json:"level"`
	Service string    `json:"service"`
	Message string    `json:"message"`
}

// parse takes a line apart. The archive goes by the time of the record.
func parse(_ context.Context, in *weaver.Record[[]byte], out *weaver.Record[Event]) error {
	line := string(in.Value)
	head, message, ok := strings.Cut(line, ": ")
	fields := strings.Fields(head)
	if !ok || len(fields) != 3 {
		return errors.New("a line is a time, a level and a service, a colon and a message")
	}
	at, err := time.Parse(time.RFC3339, fields[0])
	if err != nil {
		return fmt.Errorf("the time of a line: %w", err)
	}
	out.Time = at
	out.Value = Event{Time: at, Level: fields[1], Service: fields[2], Message: mask(message)}
	return nil
}

var (
	secrets = regexp.MustCompile(`(?i)\b(password|passwd|secret|token|api[_-]?key|authorization)(\s*[=:]\s*(?:bearer\s+)?)("[^"]*"|[^\s,;&]+)`)
	digits  = regexp.MustCompile(`\b\d(?:[ -]?\d){12,18}\b`)
)

// mask hides passwords and the like, and numbers of cards but for their last four digits.
func mask(s string) string {
	s = secrets.ReplaceAllString(s, "$1$2***")
	return digits.ReplaceAllStringFunc(s, func(number string) string {
		plain := strings.NewReplacer(" ", "", "-", "").Replace(number)
		if !isCard(plain) {
			return number
		}
		return "****" + plain[len(plain)-4:]
	})
}

// isCard reports whether the last digit is the check digit of the others (ISO/IEC 7812-1, annex B).
func isCard(digits string) bool {
	sum := 0
	for i := range len(digits) {
		d := int(digits[len(digits)-1-i] - '0')
		if i%2 == 1 {
			d *= 2
		}
		sum += d/10 + d%10
	}
	return sum%10 == 0
}
