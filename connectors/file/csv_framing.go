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

func (r rowFraming) next(data []byte, eof bool) (frame, bool) {
	f, ok := lineFraming{}.next(data, eof)
	if !ok {
		return frame{}, false
	}
	if bytes.IndexByte(data[:f.body], '"') < 0 { // most rows
		f.blank = f.body == 0
		return f, true
	}
	row, err := r.quoted(data, eof)
	switch {
	case err == errMore: //nolint:errorlint // made here
		return frame{}, false
	case err != nil:
		f.bad = err
		return f, true
	}
	return row, true
}

// errMore says that the end of the row is not in data.
var errMore = errors.New("more")

// quoted finds the end of a row that has quotation marks.
func (r rowFraming) quoted(data []byte, eof bool) (frame, error) {
	i, lines := 0, 0
	for {
		if i == len(data) || data[i] != '"' {
			end := i + fieldEnd(data[i:], r.comma)
			if bytes.IndexByte(data[i:end], '"') >= 0 {
				return frame{}, errBareQuote
			}
			i = end
			switch {
			case i == len(data) && !eof:
				return frame{}, errMore
			case i == len(data):
				return endOfRow(data, i, lines), nil
			case data[i] == '\n':
				return endOfRow(data, i+1, lines+1), nil
			}
			i++
			continue
		}
		n, err := quotedField(data[i:], eof)
		if err != nil {
			return frame{}, err
		}
		lines += bytes.Count(data[i:i+n], []byte("\n"))
		i += n
		switch rest := data[i:]; {
		case len(rest) == 0:
			return endOfRow(data, i, lines), nil
		case rest[0] == r.comma:
			i++
		case rest[0] == '\n':
			return endOfRow(data, i+1, lines+1), nil
		case rest[0] == '\r' && len(rest) == 1 && !eof:
			return frame{}, errMore
		case rest[0] == '\r' && len(rest) == 1:
			return endOfRow(data, i+1, lines), nil
		case rest[0] == '\r' && rest[1] == '\n':
			return endOfRow(data, i+2, lines+1), nil
		default:
			return frame{}, errQuoteTail
		}
	}
}

// fieldEnd returns where the field without quotation marks ends with which data begins: at a comma, a line end or the end of data.
func fieldEnd(data []byte, comma byte) int {
	for i, c := range data {
		if c == comma || c == '\n' {
			return i
		}
	}
	return len(data)
}

// quotedField returns the length of the field in quotation marks with which data begins.
func quotedField(data []byte, eof bool) (int, error) {
	for i := 1; ; i++ {
		n := bytes.IndexByte(data[i:], '"')
		switch {
		case n < 0 && eof:
			return 0, errQuoteUnclosed
		case n < 0:
			return 0, errMore
		}
		i += n + 1
		if i == len(data) && !eof {
			return 0, errMore // two of them are one inside the field
		}
		if i == len(data) || data[i] != '"' {
			return i, nil
		}
	}
}

func endOfRow(data []byte, size, lines int) frame {
	f := frame{size: size, body: size, lines: lines}
	if f.body > 0 && data[f.body-1] == '\n' {
		f.body--
	}
	if f.body > 0 && data[f.body-1] == '\r' {
		f.body--
	}
	return f
}
