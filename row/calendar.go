package row

const (
	daySeconds = 86_400
	eraDays    = 146_097 // of 400 years
	// March 1st of the year 0 is so many days before 1970-01-01. Years that begin in March have the leap day at their end.
	epochDays = 719_468
)

// floorDiv divides towards minus infinity, so that the rest is never negative.
func floorDiv(a, b int64) (quotient, rest int64) {
	quotient, rest = a/b, a%b
	if rest < 0 {
		quotient--
		rest += b
	}
	return quotient, rest
}

// civil returns the date that is so many days after 1970-01-01 in the proleptic Gregorian calendar. The year 0 is before the
// year 1. It is right for any number of days, unlike package time.
func civil(days int64) (year int64, month, day int) {
	era, rest := floorDiv(days, eraDays)
	era, rest = era+epochDays/eraDays, rest+epochDays%eraDays
	if rest >= eraDays {
		era, rest = era+1, rest-eraDays
	}
	ofEra := (rest - rest/1460 + rest/36_524 - rest/146_096) / 365
	ofYear := rest - (365*ofEra + ofEra/4 - ofEra/100)
	shifted := (5*ofYear + 2) / 153 // months since March
	day = int(ofYear-(153*shifted+2)/5) + 1
	month = int(shifted) + 3
	year = ofEra + 400*era
	if month > 12 {
		month -= 12
		year++
	}
	return year, month, day
}

// maxYear is beyond what 64 bits of days can say.
const maxYear = 30_000_000_000_000_000

// daysOf is the opposite of civil, for a year within maxYear; false if these are too many days.
func daysOf(year int64, month, day int) (int64, bool) {
	if month <= 2 {
		year--
		month += 12
	}
	era, ofEra := floorDiv(year, 400)
	rest := ofEra*365 + ofEra/4 - ofEra/100 + int64(153*(month-3)+2)/5 + int64(day) - 1
	era, rest = era-epochDays/eraDays, rest-epochDays%eraDays
	if rest < 0 {
		era, rest = era-1, rest+eraDays
	}
	return compose(era, eraDays, rest)
}

// compose returns whole·unit + rest; false if that has no place in 64 bits, or means an infinity there.
func compose(whole, unit, rest int64) (int64, bool) {
	n := whole*unit + rest
	if back, _ := floorDiv(n, unit); back != whole || n == infinity || n == -infinity-1 {
		return 0, false
	}
	return n, true
}

func daysIn(year int64, month int) int {
	switch month {
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	case 4, 6, 9, 11:
		return 30
	}
	return 31
}
