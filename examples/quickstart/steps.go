package main

import (
	"fmt"
	"math"
	"strings"
)

// Flight is a row of flights-*.csv: how often somebody flew from one airport to another.
type Flight struct {
	Origin      string `csv:"origin" json:"origin"`
	Destination string `csv:"destination" json:"destination"`
	Count       int    `csv:"count" json:"count"`
}

// Airport is a row of airports.csv. The other columns are ignored.
type Airport struct {
	Code  string  `csv:"iata"`
	Name  string  `csv:"name"`
	State string  `csv:"state"`
	Lat   float64 `csv:"latitude"`
	Lon   float64 `csv:"longitude"`
}

// Route is a Flight of which more is known.
type Route struct {
	Flight
	From string  `json:"from"` // state
	To   string  `json:"to"`   // state
	KM   float64 `json:"km"`
}

// cleanse mends what can be mended. An error of such a function says that the record can never work: it is dead-lettered.
func cleanse(f Flight) (Flight, error) {
	f.Origin = strings.ToUpper(strings.TrimSpace(f.Origin))
	f.Destination = strings.ToUpper(strings.TrimSpace(f.Destination))
	if f.Count < 1 {
		return f, fmt.Errorf("flown %d times", f.Count)
	}
	return f, nil
}

// enrich joins flights with airports.
func enrich(airports map[string]Airport) func(Flight) (Route, error) {
	find := func(code string) (Airport, error) {
		a, ok := airports[code]
		switch {
		case !ok:
			return a, fmt.Errorf("there is no airport %s", code)
		case a.State == "NA":
			return a, fmt.Errorf("nobody knows which state %s (%s) is in", code, a.Name)
		}
		return a, nil
	}
	return func(f Flight) (Route, error) {
		from, err := find(f.Origin)
		if err != nil {
			return Route{}, err
		}
		to, err := find(f.Destination)
		if err != nil {
			return Route{}, err
		}
		return Route{Flight: f, From: from.State, To: to.State, KM: distance(from, to)}, nil
	}
}

func leavesState(r Route) (bool, error) { return r.From != r.To, nil }

// distance is that on a great circle, in kilometres (the haversine formula).
func distance(a, b Airport) float64 {
	const radius, rad = 6371, math.Pi / 180
	lat, lon := (b.Lat-a.Lat)*rad/2, (b.Lon-a.Lon)*rad/2
	h := math.Pow(math.Sin(lat), 2) + math.Cos(a.Lat*rad)*math.Cos(b.Lat*rad)*math.Pow(math.Sin(lon), 2)
	return 2 * radius * math.Asin(math.Sqrt(h))
}
