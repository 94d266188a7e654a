package retry

import (
	"strings"
	"time"
)

// maxRetryAfter bounds what a header can ask for: a year from a broken clock must not stop anything for a year.
const maxRetryAfter = 24 * time.Hour

// ParseRetryAfter reads the value of an HTTP Retry-After header (RFC 9110 §10.2.3), a number of seconds or a date in any of the three forms of §5.6.7,
// as a time to wait from now. A negative number and a date in the past are 0, and more than 24 hours are 24 hours. Anything else is false.
func ParseRetryAfter(header string, now time.Time) (time.Duration, bool) {
	header = strings.Trim(header, " \t")
	if d, ok := parseSeconds(header); ok {
		return d, true
	}
	for _, layout := range [...]string{
		"Mon, 02 Jan 2006 15:04:05 GMT",  // IMF-fixdate
		"Monday, 02-Jan-06 15:04:05 GMT", // RFC 850
		time.ANSIC,                       // asctime
	} {
		if t, err := time.Parse(layout, header); err == nil {
			return min(max(t.Sub(now), 0), maxRetryAfter), true
		}
	}
	return 0, false
}

func parseSeconds(s string) (time.Duration, bool) {
	digits, negative := strings.CutPrefix(s, "-")
	if digits == "" {
		return 0, false
	}
	var n time.Duration
	for _, c := range []byte(digits) {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = min(n*10+time.Duration(c-'0'), maxRetryAfter/time.Second)
	}
	if negative {
		return 0, true
	}
	return n * time.Second, true
}
