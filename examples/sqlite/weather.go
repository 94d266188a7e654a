package main

import (
	"embed"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

//go:embed data/*.csv
var data embed.FS

// Row is a row of the files.
type Row struct {
	Date    string  `csv:"date"`
	Rain    float64 `csv:"precipitation"`
	High    float64 `csv:"temp_max"`
	Low     float64 `csv:"temp_min"`
	Wind    float64 `csv:"wind"`
	Weather string  `csv:"weather"`
}

// Day is a row of the table.
type Day struct {
	Date    time.Time `db:"day,date"`
	RainMM  float64
	HighC   float64
	LowC    float64
	WindKMH float64 `db:"wind_kmh"`
	Weather *string
}

// cleanse makes a Day of a Row, or says why it can't be one.
func cleanse(r Row) (Day, error) {
	date, err := time.Parse(time.DateOnly, r.Date)
	if err != nil {
		return Day{}, err
	}
	if r.High < r.Low {
		return Day{}, fmt.Errorf("the highest temperature of %s is %.1f, the lowest %.1f", r.Date, r.High, r.Low)
	}
	d := Day{Date: date, RainMM: r.Rain, HighC: r.High, LowC: r.Low, WindKMH: r.Wind * 3.6}
	if r.Weather != "" {
		d.Weather = &r.Weather
	}
	return d, nil
}

// unpack puts the input into a folder, which is left alone if it is there.
func unpack(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	names, err := fs.Glob(data, "data/*.csv")
	if err != nil {
		return err
	}
	for _, name := range names {
		content, err := data.ReadFile(name)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(name)), content, 0o600); err != nil {
			return err
		}
	}
	return nil
}
