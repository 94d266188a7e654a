package main

import (
	"context"
	_ "embed"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sort"
	"strconv"
	"strings"
	"sync"
)

//go:embed data/seattle-weather.csv
var weather string

// server is the service itself, with faults that services have: now and then it is out, it is overloaded, and it has
// never heard of leap days.
type server struct {
	days []Day

	mu     sync.Mutex
	calls  int
	busy   map[string]bool
	alerts map[string]Alert
}

// serve starts a server on a port of its own. Stop ends it.
func serve(ctx context.Context) (s *server, url string, stop func() error, err error) {
	s = &server{busy: make(map[string]bool), alerts: make(map[string]Alert)}
	rows, err := csv.NewReader(strings.NewReader(weather)).ReadAll()
	if err != nil {
		return nil, "", nil, err
	}
	for _, row := range rows[1:] {
		rain, err := strconv.ParseFloat(row[1], 64)
		if err != nil {
			return nil, "", nil, err
		}
		s.days = append(s.days, Day{Date: row[0], Rain: rain})
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, "", nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /days", s.getDays)
	mux.HandleFunc("POST /alerts", s.postAlerts)
	hs := &http.Server{Handler: mux}
	ended := make(chan error, 1)
	go func() { ended <- hs.Serve(l) }()
	return s, "http://" + l.Addr().String(), func() error {
		err := hs.Close()
		if served := <-ended; !errors.Is(served, http.ErrServerClosed) {
			err = errors.Join(err, served)
		}
		return err
	}, nil
}

// count returns how many alerts it has taken.
func (s *server) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.alerts)
}

// out reports whether this call of many is one that fails.
func (s *server) out(w http.ResponseWriter) bool {
	if s.calls++; s.calls%7 != 0 {
		return false
	}
	http.Error(w, "out for a moment", http.StatusServiceUnavailable)
	return true
}

func (s *server) getDays(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.out(w) {
		return
	}
	after := r.FormValue("after")
	from := sort.Search(len(s.days), func(i int) bool { return s.days[i].Date > after })
	_ = json.NewEncoder(w).Encode(s.days[from:min(from+100, len(s.days))])
}

func (s *server) postAlerts(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.out(w) {
		return
	}
	var alerts []Alert
	if err := json.NewDecoder(r.Body).Decode(&alerts); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	answers := make([]Answer, len(alerts))
	for i, a := range alerts {
		switch {
		case strings.HasSuffix(a.Date, "-02-29"):
			answers[i] = Answer{http.StatusUnprocessableEntity, fmt.Sprintf("there is no day %s", a.Date)}
		case strings.HasSuffix(a.Date, "-01") && !s.busy[a.Date]: // busy on the first of each month, once
			s.busy[a.Date] = true
			answers[i] = Answer{http.StatusTooManyRequests, "one after the other"}
		default:
			s.alerts[a.Date] = a
			answers[i] = Answer{Status: http.StatusOK}
		}
	}
	_ = json.NewEncoder(w).Encode(answers)
}
