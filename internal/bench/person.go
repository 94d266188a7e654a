package main

import (
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// person is a record of the scenarios with files: ten fields of the usual kinds.
type person struct {
	ID        int64     `json:"id" csv:"id"`
	UserID    string    `json:"user_id" csv:"user_id"`
	Name      string    `json:"name" csv:"name"`
	Email     string    `json:"email" csv:"email"`
	Country   string    `json:"country" csv:"country"`
	Amount    float64   `json:"amount" csv:"amount"`
	Quantity  int       `json:"quantity" csv:"quantity"`
	Active    bool      `json:"active" csv:"active"`
	CreatedAt time.Time `json:"created_at" csv:"created_at"`
	Tags      []string  `json:"tags,omitempty" csv:"-"`
	Note      string    `json:"note,omitempty" csv:"note"`
}

// sale is what becomes of a person who is active.
type sale struct {
	ID      int64     `json:"id"`
	UserID  string    `json:"user_id"`
	Name    string    `json:"name"`
	Country string    `json:"country"`
	Total   float64   `json:"total"`
	At      time.Time `json:"at"`
	Tags    []string  `json:"tags"`
}

// sold is the work of the NDJSON scenarios, on both sides.
func sold(p *person) (sale, bool) {
	return sale{p.ID, p.UserID, p.Name, p.Country, p.Amount * float64(p.Quantity), p.CreatedAt, p.Tags}, p.Active
}

var (
	givenNames  = [...]string{"Ada", "Björn", "Chloé", "Dmitri", "Elif", "Farid", "Grete", "Hana", "Imani", "Jonas", "Kofi", "Lena", "Mateo", "Nora", "Omar", "Priya"}
	familyNames = [...]string{"Andersson", "Bianchi", "Castro", "Dubois", "Eze", "Fischer", "Güneş", "Haddad", "Ito", "Jensen", "Kaya", "O'Neill"}
	countries   = [...]string{"at", "be", "ca", "dk", "es", "fi", "gr", "hu"}
	labels      = [...]string{"new", "regular", "wholesale", "returned", "web", "phone", "gift", "late"}
)

// people makes the same persons from the same seed. What a person looks like in a file is written here by hand, so that what comes out of a run is held
// against something that none of the code in question has made.
type people struct {
	random *rand.Rand
	made   int64

	userID, name, email, country, created, note string
	cents, quantity                             int
	active                                      bool
	tags                                        []string
}

func newPeople() *people { return &people{random: rand.New(rand.NewPCG(17, 42))} }

var firstDay = time.Date(2025, 3, 1, 0, 0, 0, 0, time.UTC)

func (p *people) next() {
	r := p.random
	p.made++
	hex := strconv.FormatUint(1<<32|uint64(r.Uint32()), 16)[1:]
	p.userID = "u-" + hex
	p.name = givenNames[r.IntN(len(givenNames))] + " " + familyNames[r.IntN(len(familyNames))]
	p.email = hex + "." + strconv.Itoa(r.IntN(1000)) + "@post" + strconv.Itoa(r.IntN(20)) + ".example.com"
	p.country = countries[r.IntN(len(countries))]
	p.cents = r.IntN(500_000)
	p.quantity = 1 + r.IntN(9)
	p.active = r.IntN(5) > 0
	p.created = firstDay.Add(time.Duration(r.IntN(300*24*3600)) * time.Second).Format(time.RFC3339)
	p.tags = p.tags[:0]
	for range r.IntN(4) {
		p.tags = append(p.tags, labels[r.IntN(len(labels))])
	}
	p.note = labels[r.IntN(len(labels))]
	if r.IntN(20) == 0 {
		p.note = `said "later", left`
	}
}

func (p *people) appendAmount(dst []byte) []byte {
	dst = strconv.AppendInt(dst, int64(p.cents/100), 10)
	return append(dst, '.', byte('0'+p.cents/10%10), byte('0'+p.cents%10))
}

func (p *people) appendTags(dst []byte) []byte {
	dst = append(dst, '[')
	for i, tag := range p.tags {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendQuote(dst, tag)
	}
	return append(dst, ']')
}

// appendNDJSON appends the person as a line of the input.
func (p *people) appendNDJSON(dst []byte) []byte {
	dst = p.appendHead(dst)
	dst = p.appendAmount(append(dst, `,"amount":`...))
	dst = p.appendMiddle(dst)
	dst = append(dst, `,"tags":`...)
	return append(p.appendTags(dst), "}\n"...)
}

func (p *people) appendHead(dst []byte) []byte {
	dst = strconv.AppendInt(append(dst, `{"id":`...), p.made, 10)
	dst = append(append(dst, `,"user_id":"`...), p.userID...)
	dst = append(append(dst, `","name":"`...), p.name...)
	dst = append(append(dst, `","email":"`...), p.email...)
	dst = append(append(dst, `","country":"`...), p.country...)
	return append(dst, '"')
}

func (p *people) appendMiddle(dst []byte) []byte {
	dst = strconv.AppendInt(append(dst, `,"quantity":`...), int64(p.quantity), 10)
	dst = strconv.AppendBool(append(dst, `,"active":`...), p.active)
	dst = append(append(dst, `,"created_at":"`...), p.created...)
	return append(dst, '"')
}

// appendSale appends the line that is to come out where the person is sold to.
func (p *people) appendSale(dst []byte) []byte {
	if !p.active {
		return dst
	}
	dst = strconv.AppendInt(append(dst, `{"id":`...), p.made, 10)
	dst = append(append(dst, `,"user_id":"`...), p.userID...)
	dst = append(append(dst, `","name":"`...), p.name...)
	dst = append(append(dst, `","country":"`...), p.country...)
	dst = strconv.AppendFloat(append(dst, `","total":`...), float64(p.cents)/100*float64(p.quantity), 'f', -1, 64)
	dst = append(append(dst, `,"at":"`...), p.created...)
	dst = append(dst, `","tags":`...)
	return append(p.appendTags(dst), "}\n"...)
}

const csvHeader = "id,user_id,name,email,country,amount,quantity,active,created_at,note\n"

// appendCSV appends the person as a row of the input.
func (p *people) appendCSV(dst []byte) []byte {
	dst = append(strconv.AppendInt(dst, p.made, 10), ',')
	for _, field := range []string{p.userID, p.name, p.email, p.country} {
		dst = append(append(dst, field...), ',')
	}
	dst = append(p.appendAmount(dst), ',')
	dst = append(strconv.AppendInt(dst, int64(p.quantity), 10), ',')
	dst = append(strconv.AppendBool(dst, p.active), ',')
	dst = append(append(dst, p.created...), ',')
	if strings.ContainsRune(p.note, '"') {
		return append(dst, `"said ""later"", left"`+"\n"...)
	}
	return append(append(dst, p.note...), '\n')
}

// appendFromCSV appends the line that is to come out of that row.
func (p *people) appendFromCSV(dst []byte) []byte {
	dst = p.appendHead(dst)
	dst = strconv.AppendFloat(append(dst, `,"amount":`...), float64(p.cents)/100, 'f', -1, 64)
	dst = p.appendMiddle(dst)
	dst = strconv.AppendQuote(append(dst, `,"note":`...), p.note)
	return append(dst, "}\n"...)
}
