package row

import (
	"errors"
	"strings"
)

var (
	errZone   = errors.New("it has a zone, and that has no place for one")
	errNanos  = errors.New("it has digits beyond nanoseconds")
	errNoDate = errors.New("there is no such date")
	errNoTime = errors.New("there is no such time of day")
)

// cursor reads a text from its beginning.
type cursor struct{ rest string }

// skip goes past one of some characters, and reports whether it is there.
func (c *cursor) skip(of string) bool {
	if c.rest == "" || strings.IndexByte(of, c.rest[0]) < 0 {
		return false
	}
	c.rest = c.rest[1:]
	return true
}

// two reads two digits.
func (c *cursor) two() (int, bool) {
	if len(c.rest) < 2 || c.rest[0]-'0' > 9 || c.rest[1]-'0' > 9 {
		return 0, false
	}
	n := int(c.rest[0]-'0')*10 + int(c.rest[1]-'0')
	c.rest = c.rest[2:]
	return n, true
}

// clock reads 15:04[:05[.999999999]], up to 24:00.
func (c *cursor) clock() (seconds int64, nanos uint32, err error) {
	hour, ok1 := c.two()
	colon := c.skip(":")
	minute, ok2 := c.two()
	if !ok1 || !colon || !ok2 {
		return 0, 0, errSyntax
	}
	second := 0
	if c.skip(":") {
		var ok bool
		if second, ok = c.two(); !ok {
			return 0, 0, errSyntax
		}
		if c.skip(".") {
			if nanos, err = c.fraction(); err != nil {
				return 0, 0, err
			}
		}
	}
	seconds = int64(hour*3600 + minute*60 + second)
	if minute > 59 || second > 59 || seconds > daySeconds || seconds == daySeconds && nanos > 0 {
		return 0, 0, errNoTime
	}
	return seconds, nanos, nil
}

// fraction reads digits of a second.
func (c *cursor) fraction() (nanos uint32, err error) {
	n := digitsOf(c.rest)
	if n == 0 {
		return 0, errSyntax
	}
	for i := range max(n, 9) {
		switch {
		case i >= 9 && c.rest[i] != '0':
			return 0, errNanos
		case i >= 9:
		case i < n:
			nanos = nanos*10 + uint32(c.rest[i]-'0')
		default:
			nanos *= 10
		}
	}
	c.rest = c.rest[n:]
	return nanos, nil
}

// zone reads Z, UTC, +02, +0200, +02:00 or +02:00:00, and returns how many seconds that is east of UTC.
func (c *cursor) zone() (offset int64, ok bool) {
	if len(c.rest) >= 3 && strings.EqualFold(c.rest[:3], "UTC") {
		c.rest = c.rest[3:]
		return 0, true
	}
	if c.skip("Zz") {
		return 0, true
	}
	west := strings.HasPrefix(c.rest, "-")
	if !c.skip("+-") {
		return 0, false
	}
	hour, ok := c.two()
	if !ok || hour > 23 {
		return 0, false
	}
	offset = int64(hour) * 3600
	if colon := c.skip(":"); colon || digitsOf(c.rest) > 0 {
		minute, ok := c.two()
		if !ok || minute > 59 {
			return 0, false
		}
		offset += int64(minute) * 60
		if colon && c.skip(":") {
			second, ok := c.two()
			if !ok || second > 59 {
				return 0, false
			}
			offset += int64(second)
		}
	}
	if west {
		offset = -offset
	}
	return offset, true
}

// year reads the digits of a year, and the sign before them.
func (c *cursor) year() (year int64, signed, ok bool) {
	before := strings.HasPrefix(c.rest, "-")
	signed = c.skip("+-")
	n := digitsOf(c.rest)
	if n < 4 || n > 17 {
		return 0, signed, false
	}
	for _, d := range []byte(c.rest[:n]) {
		year = year*10 + int64(d-'0')
	}
	c.rest = c.rest[n:]
	if before {
		year = -year
	}
	return year, signed, year <= maxYear && year >= -maxYear
}

// parseClock reads a Clock.
func parseClock(s string) (Value, error) {
	c := cursor{s}
	seconds, nanos, err := c.clock()
	if err != nil {
		return Value{}, err
	}
	if c.rest != "" {
		c.skip(" ")
		if _, ok := c.zone(); ok && c.rest == "" {
			return Value{}, errZone
		}
		return Value{}, errSyntax
	}
	return Value{kind: KindClock, num: uint64(seconds), nsec: nanos}, nil //nolint:gosec // not negative
}

// parseDay reads a Date, a DateTime or a Time.
func parseDay(s string, to Kind) (Value, error) {
	if strings.HasSuffix(s, "y") || strings.HasSuffix(s, "Y") {
		sign := strings.TrimSuffix(strings.ToLower(s), "infinity")
		if sign == "" || sign == "+" || sign == "-" {
			return Infinite(to, sign == "-"), nil
		}
	}
	c := cursor{s}
	year, signed, ok := c.year()
	dash1 := c.skip("-")
	month, ok1 := c.two()
	dash2 := c.skip("-")
	day, ok2 := c.two()
	if !ok || !dash1 || !ok1 || !dash2 || !ok2 {
		return Value{}, errSyntax
	}
	var seconds, offset int64
	var nanos uint32
	var zoned bool
	if len(c.rest) > 1 && c.rest[1]-'0' <= 9 && c.skip("Tt ") {
		var err error
		if seconds, nanos, err = c.clock(); err != nil {
			return Value{}, err
		}
		before := c
		c.skip(" ")
		if offset, zoned = c.zone(); !zoned {
			c = before
		} else if strings.EqualFold(c.rest, " UTC") { // of a time.Time's String
			c.rest = ""
		}
	}
	if len(c.rest) == 3 && strings.EqualFold(c.rest, " BC") && !signed && year > 0 {
		year = 1 - year
		c.rest = ""
	}
	switch {
	case c.rest != "":
		return Value{}, errSyntax
	case month < 1 || month > 12 || day < 1 || day > daysIn(year, month):
		return Value{}, errNoDate
	case offset != 0 && to != KindTime:
		return Value{}, errZone
	}
	days, fits := daysOf(year, month, day)
	if !fits {
		return Value{}, errTooLarge
	}
	more, second := floorDiv(seconds-offset, daySeconds)
	if to == KindDate {
		if seconds != 0 || nanos != 0 {
			return Value{}, errMidnight
		}
		return Date(days), nil
	}
	total, fits := compose(days+more, daySeconds, second)
	if !fits {
		return Value{}, errTooLarge
	}
	return Value{kind: to, num: uint64(total), nsec: nanos}, nil //nolint:gosec // its bits
}
