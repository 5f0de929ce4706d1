package docket

import (
	"time"

	"github.com/porchlight-mesh/porchlight/consent"
)

// A Day is a date in UTC, "2006-01-02". Later days are greater strings. The empty Day is none.
type Day string

// parseDay reads a day from 1970 to 9999.
func parseDay(s string) (Day, error) {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil || t.Format(time.DateOnly) != s || t.Year() < 1970 {
		return "", consent.Refuse(consent.BadValue, "day", "%.20q is not a day like %s", s, time.DateOnly)
	}
	return Day(s), nil
}

// DayOf returns the day on which t is.
func DayOf(t time.Time) Day { return Day(t.UTC().Format(time.DateOnly)) }

// Time returns the midnight with which the day begins, the zero time for no day.
func (d Day) Time() time.Time {
	t, err := time.Parse(time.DateOnly, string(d))
	if err != nil {
		return time.Time{}
	}
	return t
}

// Add returns the day so many days later.
func (d Day) Add(days int) Day { return DayOf(d.Time().AddDate(0, 0, days)) }

// number counts days from 1970, so that a log need not parse them again.
func (d Day) number() int { return int(d.Time().Unix() / (24 * 60 * 60)) }

func dayOf(number int) Day { return DayOf(time.Unix(int64(number)*24*60*60, 0)) }
