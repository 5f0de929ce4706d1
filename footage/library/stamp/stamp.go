// Package stamp reads when a recording starts from the path that a recorder gave it.
//
// Paths are relative, with forward slashes. What is understood:
//
//   - [Frigate]: `YYYY-MM-DD/HH/<camera>/MM.SS.<ext>` below any folders, in UTC
//   - [Name]: a date and a time anywhere in the file's name, with or without -, _, . or : between the
//     numbers, and with a fraction of up to six digits (`20261122_190405`, `2026-11-22T19-04-05Z`, `front 2026-11-22 19.04.05.25`);
//     or a time as the whole name (`19.04.05`, `19-04-05`, `190405`) below a folder named for the
//     date (`2026-11-22`, `20261122`, or nested as `2026/11/22`), the nearest one if there are several
//
// A name is in the zone that is handed in, unless Z or an offset from UTC ends the time: `+0100`,
// `+01:00`, `-05:00`, and `-0500` in a name that is otherwise ISO 8601, with a T. Elsewhere `-0500`
// is more likely a number of the recorder's, and is passed over.
//
// A local time that occurs twice, when clocks go back, is taken for the earlier one; one that never
// occurs, when they go forward, for the time that an unchanged clock would have shown. Both are
// marked Ambiguous. Years before 1990 and after 2100 are no dates.
package stamp

import (
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// The forms of paths and names that say when a recording starts. They are matched against what
// comes from a disk, so they are linear (RE2) and their numbers are checked as a date afterwards.
var (
	frigateForm = regexp.MustCompile(`(?:^|/)(\d{4})-(\d{2})-(\d{2})/(\d{2})/([^/]+)/(\d{2})\.(\d{2})\.[^./]+$`)
	stampForm   = regexp.MustCompile(`(?:^|[^0-9])(\d{4})[-._]?(\d{2})[-._]?(\d{2})([T _-]?)(\d{2})[-._:]?(\d{2})[-._:]?(\d{2})([.,]\d{1,6})?(Z|[+-]\d{2}:?\d{2})?(?:[^0-9].*)?$`)
	clockForm   = regexp.MustCompile(`^(\d{2})[-._:]?(\d{2})[-._:]?(\d{2})(Z?)$`)
	dateForm    = regexp.MustCompile(`^(\d{4})([-._]?)(\d{2})[-._]?(\d{2})$`)
	nestedForm  = regexp.MustCompile(`^(\d{4})(/)(\d{2})/(\d{2})$`)
)

// Stamp is an instant that a name tells.
type Stamp struct {
	At        time.Time // UTC
	Ambiguous bool      // local clocks showed it twice, or never
}

// Frigate takes a path of Frigate's apart. ok is false when it is none.
func Frigate(rel string) (camera string, at time.Time, ok bool) {
	m := frigateForm.FindStringSubmatch(rel)
	if m == nil {
		return "", time.Time{}, false
	}
	t, ok := civil(m[1], m[2], m[3], m[4], m[6], m[7])
	return m[5], t, ok
}

// Name reads the time that a file's name tells, together with its folders.
func Name(rel string, zone *time.Location) (s Stamp, ok bool) {
	dir, name := path.Split(rel)
	stem := strings.TrimSuffix(name, path.Ext(name))
	if m := stampForm.FindStringSubmatch(stem); m != nil {
		t, ok := civil(m[1], m[2], m[3], m[5], m[6], m[7])
		if !ok {
			return Stamp{}, false
		}
		if m[8] != "" {
			part, _ := strconv.ParseFloat("0."+m[8][1:], 64)
			t = t.Add(time.Duration(part*1e6) * time.Microsecond)
		}
		return inZone(t, m[9], m[4] == "T", zone), true
	}
	m := clockForm.FindStringSubmatch(stem)
	if m == nil {
		return Stamp{}, false
	}
	t, ok := dated(strings.Split(strings.TrimSuffix(dir, "/"), "/"), m[1:4])
	if !ok {
		return Stamp{}, false
	}
	return inZone(t, m[4], false, zone), true
}

// dated adds the date that the nearest folder is named for to a time of day.
func dated(folders, clock []string) (time.Time, bool) {
	for i := len(folders) - 1; i >= 0; i-- {
		day := dateForm.FindStringSubmatch(folders[i])
		if day == nil && i >= 2 {
			day = nestedForm.FindStringSubmatch(strings.Join(folders[i-2:i+1], "/"))
		}
		if day == nil {
			continue
		}
		if t, ok := civil(day[1], day[3], day[4], clock[0], clock[1], clock[2]); ok {
			return t, true
		}
	}
	return time.Time{}, false
}

// inZone makes an instant of a civil time. "-0500" without a colon is an offset only in a name that
// is otherwise ISO 8601 (with a T): elsewhere it is more likely a number of the recorder's.
func inZone(t time.Time, offset string, iso bool, zone *time.Location) Stamp {
	switch {
	case offset == "Z":
		return Stamp{At: t}
	case offset != "" && (iso || offset[0] == '+' || len(offset) == 6):
		h, _ := strconv.Atoi(offset[1:3])
		m, _ := strconv.Atoi(offset[len(offset)-2:])
		if h <= 14 && m < 60 {
			d := time.Duration(h)*time.Hour + time.Duration(m)*time.Minute
			if offset[0] == '+' {
				d = -d
			}
			return Stamp{At: t.Add(d)}
		}
	}
	at, ambiguous := resolve(t, zone)
	return Stamp{At: at, Ambiguous: ambiguous}
}

// resolve finds the instant at which clocks in the zone show t's civil time. Of two it is the
// earlier; when there is none, the one that the offset before the change gives.
//
// The candidates are t less each offset in force a day before and a day after: no zone has
// changed its clocks twice within two days.
func resolve(t time.Time, zone *time.Location) (at time.Time, ambiguous bool) {
	at1 := t.Add(-offsetAt(t.Add(-24*time.Hour), zone))
	at2 := t.Add(-offsetAt(t.Add(24*time.Hour), zone))
	if at1.Equal(at2) {
		return at1, false
	}
	shows := func(at time.Time) bool { return at.Add(offsetAt(at, zone)).Equal(t) }
	ok1, ok2 := shows(at1), shows(at2)
	switch {
	case ok1 && ok2 && at2.Before(at1):
		return at2, true
	case ok1:
		return at1, ok2
	case ok2:
		return at2, false
	}
	return at1, true
}

func offsetAt(at time.Time, zone *time.Location) time.Duration {
	_, seconds := at.In(zone).Zone()
	return time.Duration(seconds) * time.Second
}

// civil makes a time of decimal numbers, as if it were UTC, if they are one between 1990 and 2100.
func civil(parts ...string) (time.Time, bool) {
	var n [6]int
	for i, p := range parts {
		n[i], _ = strconv.Atoi(p)
	}
	t := time.Date(n[0], time.Month(n[1]), n[2], n[3], n[4], n[5], 0, time.UTC)
	ok := n[0] >= 1990 && n[0] <= 2100 && int(t.Month()) == n[1] && t.Day() == n[2] &&
		t.Hour() == n[3] && t.Minute() == n[4] && t.Second() == n[5]
	return t, ok
}
