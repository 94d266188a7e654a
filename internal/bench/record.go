package main

import "fmt"

// Rec is the value that travels in every scenario: small, flat, one string.
type Rec struct {
	ID     int64
	Name   string
	Amount float64
}

var names = [16]string{
	"ash", "beech", "cedar", "dogwood", "elm", "fir", "ginkgo", "hazel",
	"ivy", "juniper", "katsura", "larch", "maple", "nutmeg", "oak", "pine",
}

// recAt is record i of the generated input. It costs next to nothing, so that what is measured is the engine.
func recAt(i int64) Rec {
	return Rec{ID: i, Name: names[i&15], Amount: float64(i)}
}

// taxed is the work of a map stage: a few instructions behind a call that isn't inlined, as a user's function would be.
//
//go:noinline
func taxed(r Rec) Rec {
	r.Amount = 1.07*r.Amount + 3
	return r
}

// taxedTotal is the sum of Amount over the first n records after taxed, in the order in which a sink adds it up.
func taxedTotal(n int) float64 {
	var total float64
	for i := range int64(n) {
		total += taxed(recAt(i)).Amount
	}
	return total
}

// checkTotal holds a sum of n taxed amounts against what it must be: the additions are the same in the same order.
func checkTotal(who string, sum float64, n int) error {
	if want := taxedTotal(n); sum != want {
		return fmt.Errorf("%s: the sum over %d records is %v, want %v", who, n, sum, want)
	}
	return nil
}
