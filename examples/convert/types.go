package main

import (
	"fmt"
	"slices"
	"time"
)

// Date is a day of the calendar. A type that reads itself from text works in CSV and in JSON alike.
type Date time.Time

// UnmarshalText refuses what is no date, the 30th of February included.
func (d *Date) UnmarshalText(text []byte) error {
	t, err := time.Parse(time.DateOnly, string(text))
	*d = Date(t)
	return err
}

// MarshalText writes the date as it was read.
func (d Date) MarshalText() ([]byte, error) {
	return time.Time(d).AppendFormat(nil, time.DateOnly), nil
}

// Weather is a word for how a day was.
type Weather string

var words = []Weather{"drizzle", "fog", "rain", "snow", "sun"}

// UnmarshalText refuses a word that isn't known.
func (w *Weather) UnmarshalText(text []byte) error {
	*w = Weather(text)
	if !slices.Contains(words, *w) {
		return fmt.Errorf("%q is none of %q", text, words)
	}
	return nil
}
