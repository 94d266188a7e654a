package file

import (
	"bytes"
	"errors"
)

// rowFraming makes a record of each row of CSV: a line, or several where a field in quotation marks has line ends. Empty lines are none.
//
// A row that has a quotation mark where none may be is given up: it is rejected up to the end of the line it begins on, and the next line is taken for the
// beginning of a row. So a mark that is never closed costs that one line and not the rest of the file.
type rowFraming struct{ comma byte }

var (
	errBareQuote     = errors.New(`a quotation mark in a field that doesn't begin with one`)
	errQuoteTail     = errors.New(`something other than a comma or a line end behind the closing quotation mark of a field`)
	errQuoteUnclosed = errors.New(`a quotation mark is not closed`)
)

// What a scan's phase means to rowFraming.
const (
	rowPlain  uint8 = iota // no quotation mark was seen
	rowQuoted              // it has quotation marks
	rowBad                 // it is given up, and what is looked for is the end of the line it begins on
)

func (r rowFraming) next(data []byte, eof bool, s *scan) (frame, bool) {
	if s.phase == rowPlain { // most rows
		end := len(data)
		n := bytes.IndexByte(data[s.at:], '\n')
		if n >= 0 {
			end = s.at + n
		}
		switch {
		case bytes.IndexByte(data[s.at:end], '"') >= 0:
			*s = scan{first: s.first, phase: rowQuoted}
		case n < 0 && (!eof || end == 0):
			s.at = end
			return frame{}, false
		case n < 0:
			return noReturns(data, endOfLine(data, end, 0), s), true
		default:
			f := endOfLine(data, end+1, 1)
			f.blank = f.body == 0
			return f, true
		}
	}
	if s.phase == rowQuoted {
		f, err := r.quoted(data, eof, s)
		if err == nil {
			return noReturns(data, f, s), true
		}
		if errors.Is(err, errMore) {
			return frame{}, false
		}
		*s = scan{first: s.first, phase: rowBad, bad: err}
	}
	f, ok := line(data, eof, s)
	if !ok {
		return frame{}, false
	}
	f.bad = s.bad
	return noReturns(data, f, s), true
}

// noReturns gives up a file that is one row, f, with carriage returns where line ends should be.
func noReturns(data []byte, f frame, s *scan) frame {
	f.blank = f.body == 0
	if !s.first || f.lines > 0 {
		return f
	}
	row := data[:f.body]
	for i, quoted := 0, false; i < len(row); i++ {
		switch {
		case row[i] == '"':
			quoted = !quoted
		case row[i] == '\r' && !quoted:
			f.bad, f.rest = errCarriageReturns, true
			return f
		}
	}
	return f
}

// errMore says that the end of the row is not in data.
var errMore = errors.New("more")

// quoted finds the end of a row that has quotation marks. Of s, quoted says that at lies within quotation marks, and depth that it lies within a field without.
func (r rowFraming) quoted(data []byte, eof bool, s *scan) (frame, error) {
	for {
		var end bool
		var err error
		if s.quoted {
			end, err = r.inMarks(data, eof, s)
		} else {
			end, err = r.noMarks(data, eof, s)
		}
		if err != nil {
			return frame{}, err
		}
		if end {
			return endOfLine(data, s.at, s.lines), nil
		}
	}
}

// inMarks goes on to the end of a field in quotation marks, and past what follows it. It reports whether that is the end of the row.
func (r rowFraming) inMarks(data []byte, eof bool, s *scan) (end bool, err error) {
	for {
		n := bytes.IndexByte(data[s.at:], '"')
		if n < 0 {
			n = len(data) - s.at
		}
		s.lines += bytes.Count(data[s.at:s.at+n], lineFeed)
		s.at += n
		rest := data[s.at:] // the mark and what comes behind it
		switch {
		case len(rest) == 0 && eof:
			return false, errQuoteUnclosed
		case !eof && (len(rest) < 2 || rest[1] == '\r' && len(rest) < 3):
			return false, errMore
		case len(rest) == 1, rest[1] == '\r' && len(rest) == 2:
			s.at = len(data)
			return true, nil
		case rest[1] == '"': // two of them are one inside the field
			s.at += 2
			continue
		case rest[1] == r.comma:
			s.at += 2
			s.quoted = false
			return false, nil
		case rest[1] == '\n':
			s.at, s.lines = s.at+2, s.lines+1
			return true, nil
		case rest[1] == '\r' && rest[2] == '\n':
			s.at, s.lines = s.at+3, s.lines+1
			return true, nil
		}
		return false, errQuoteTail
	}
}

// noMarks goes on to the end of a field without quotation marks, or past the mark with which one begins. It reports whether that is the end of the row.
func (r rowFraming) noMarks(data []byte, eof bool, s *scan) (end bool, err error) {
	rest := data[s.at:]
	if s.depth == 0 && len(rest) > 0 && rest[0] == '"' {
		s.at++
		s.quoted = true
		return false, nil
	}
	n := fieldEnd(rest, r.comma)
	if bytes.IndexByte(rest[:n], '"') >= 0 {
		return false, errBareQuote
	}
	s.at += n
	if n > 0 {
		s.depth = 1
	}
	switch {
	case n == len(rest) && !eof:
		return false, errMore
	case n == len(rest):
		return true, nil
	case rest[n] == '\n':
		s.at, s.lines = s.at+1, s.lines+1
		return true, nil
	}
	s.at++
	s.depth = 0
	return false, nil
}

var lineFeed = []byte("\n")

// fieldEnd returns where the field without quotation marks ends with which data begins: at a comma, a line end or the end of data.
func fieldEnd(data []byte, comma byte) int {
	for i, c := range data {
		if c == comma || c == '\n' {
			return i
		}
	}
	return len(data)
}
