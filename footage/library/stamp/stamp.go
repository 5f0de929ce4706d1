// Package stamp reads when a recording starts from the path that a recorder gave it.
//
// Paths are relative, with forward slashes. What is understood without being told:
//
//   - [Frigate]: `YYYY-MM-DD/HH/<camera>/MM.SS.<ext>` below any folders, in UTC
//   - [Name]: a date and a time anywhere in the file's name, with or without -, _, . or : between the
//     numbers, and with a fraction of up to six digits (`20261122_190405`, `2026-11-22T19-04-05Z`,
//     `front 2026-11-22 19.04.05.25`); `AM` or `PM` after the time makes it one of the 12-hour clock
//   - a time as the whole name (`19.04.05`, `19-04-05`, `190405`), also as the first of two
//     (`19.04.05-19.09.05[M][0@0][0]`), below a folder named for the date (`2026-11-22`,
//     `20261122`, or nested as `2026/11/22`), the nearest one if there are several
//   - seconds or milliseconds since 1970 as the whole name (`1700000000`, `1700000000123`), as a start and an
//     end (`1700000000-1700000013`), or between a name and a label with a fraction, as Frigate writes event
//     clips (`front-1606742747.272411-0lbwng`). These are in UTC.
//   - `<name> - M-D-YYYY, h.mm.ss` and `am` or `pm`, the form of UniFi Protect's exports, month first
//   - `YYYYMMDD/HH/MM`, a file a minute, as Wyze's cameras write: taken to start with its minute
//   - `2022Y03M09D15H/22M37S23`, with letters after the numbers and the length at the end, as Yi's cameras write
//
// Where a name has two times the first is the start. A name that could be read in two ways, such as
// `03-04-2026` without the form around it that says which maker wrote it, is not read at all. For all of
// those there is a [Pattern].
//
// A name is in the zone that is handed in, unless Z or an offset from UTC ends the time: `+0100`,
// `+01:00`, `-05:00`, and `-0500` or `+00_00` in a name that is otherwise ISO 8601, with a T. Elsewhere `-0500`
// is more likely a number of the recorder's, and is passed over.
//
// A local time that occurs twice, when clocks go back, is taken for the earlier one; one that never
// occurs, when they go forward, for the time that an unchanged clock would have shown. Both are
// marked Ambiguous, and of the first Or is the later one. Years before 1990 and after 2100 are no dates.
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
	stampForm   = regexp.MustCompile(`(?:^|[^0-9])(\d{4})[-._]?(\d{2})[-._]?(\d{2})([T _-]| - |, |__)?(\d{2})[-._:]?(\d{2})[-._:]?(\d{2})([.,]\d{1,6})?(?:([ _]?[AaPp][Mm])(?:[^A-Za-z0-9].*)?|(Z|[+-]\d{2}[:_]?\d{2})?(?:[^0-9].*)?)$`)
	clockForm   = regexp.MustCompile(`^(\d{2})[-._:]?(\d{2})[-._:]?(\d{2})(Z?)(?:-\d{2}[-._:]?\d{2}[-._:]?\d{2}(?:\[.*)?)?$`)
	dateForm    = regexp.MustCompile(`^(\d{4})([-._]?)(\d{2})[-._]?(\d{2})$`)
	nestedForm  = regexp.MustCompile(`^(\d{4})(/)(\d{2})/(\d{2})$`)
	epochForm   = regexp.MustCompile(`^(?:(\d{10}|\d{13})(?:[-_](?:\d{10}|\d{13}))?|.+-(\d{10}\.\d{1,6})-[a-z0-9]+)$`)
	exportForm  = regexp.MustCompile(` - (\d{1,2})-(\d{1,2})-(\d{4}), (\d{1,2})\.(\d{2})\.(\d{2}) ?([AaPp][Mm])\b`)
	minuteForm  = regexp.MustCompile(`(?:^|/)(\d{4})(\d{2})(\d{2})/(\d{2})/(\d{2})\.[^./]+$`)
	letterForm  = regexp.MustCompile(`(?:^|/)(\d{4})Y(\d{2})M(\d{2})D(\d{2})H/(?:E\d)?(\d{2})M(\d{2})S\d{0,3}\.[^./]+$`)
)

// Stamp is an instant that a name tells.
type Stamp struct {
	At        time.Time // UTC
	Ambiguous bool      // local clocks showed it twice, or never
	Or        time.Time // the later moment, when they showed it twice; else zero
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
		t, ok := civil(m[1], m[2], m[3], half(m[5], m[9]), m[6], m[7])
		if !ok {
			return Stamp{}, false
		}
		return inZone(t.Add(fraction(m[8])), m[10], m[4] == "T", zone), true
	}
	if m := exportForm.FindStringSubmatch(stem); m != nil {
		t, ok := civil(m[3], m[1], m[2], half(m[4], m[7]), m[5], m[6])
		if !ok {
			return Stamp{}, false
		}
		return inZone(t, "", false, zone), true
	}
	if m := epochForm.FindStringSubmatch(stem); m != nil {
		return epoch(m[1] + m[2])
	}
	for _, form := range []*regexp.Regexp{minuteForm, letterForm} {
		if m := form.FindStringSubmatch(rel); m != nil {
			t, ok := civil(m[1:]...)
			if !ok {
				return Stamp{}, false
			}
			return inZone(t, "", false, zone), true
		}
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

// half turns an hour of the 12-hour clock into one of 24. An hour that is none of 1 to 12 is of the
// 24-hour clock, whatever stands behind it.
func half(hour, mark string) string {
	n, _ := strconv.Atoi(hour)
	mark = strings.ToLower(strings.TrimLeft(mark, " _"))
	switch {
	case n < 1 || n > 12 || mark == "":
		return hour
	case mark == "am":
		return strconv.Itoa(n % 12)
	}
	return strconv.Itoa(n%12 + 12)
}

// fraction reads a part of a second: a separator and up to six digits.
func fraction(digits string) time.Duration {
	if digits == "" {
		return 0
	}
	micros, _ := strconv.Atoi((digits[1:] + "000000")[:6])
	return time.Duration(micros) * time.Microsecond
}

// epoch reads seconds since 1970, with or without a fraction, or, if there are 13 digits, milliseconds.
// Ten digits that could be a year, month, day and hour are not read.
func epoch(digits string) (Stamp, bool) {
	if len(digits) == 10 {
		if _, ok := civil(digits[:4], digits[4:6], digits[6:8], digits[8:], "0", "0"); ok {
			return Stamp{}, false
		}
	}
	whole, part, _ := strings.Cut(digits, ".")
	n, err := strconv.ParseInt(whole, 10, 64)
	if err != nil {
		return Stamp{}, false
	}
	t := time.Unix(n, 0).UTC()
	if len(whole) == 13 {
		t = time.UnixMilli(n).UTC()
	}
	if part != "" {
		t = t.Add(fraction("." + part))
	}
	return Stamp{At: t}, t.Year() >= 1990 && t.Year() <= 2100
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
	if iso || offset == "Z" || offset != "" && (offset[0] == '+' && !strings.Contains(offset, "_") || strings.Contains(offset, ":")) {
		if d, ok := ahead(offset); ok {
			return Stamp{At: t.Add(-d)}
		}
	}
	return resolve(t, zone)
}

// ahead is how far clocks with that offset are ahead of UTC.
func ahead(offset string) (d time.Duration, ok bool) {
	if offset == "Z" {
		return 0, true
	}
	if len(offset) < 5 {
		return 0, false
	}
	h, _ := strconv.Atoi(offset[1:3])
	m, _ := strconv.Atoi(offset[len(offset)-2:])
	d = time.Duration(h)*time.Hour + time.Duration(m)*time.Minute
	if offset[0] == '-' {
		d = -d
	}
	return d, h <= 14 && m < 60
}

// resolve finds the instant at which clocks in the zone show t's civil time. Of two it is the
// earlier; when there is none, the one that the offset before the change gives.
//
// The candidates are t less each offset in force a day before and a day after: no zone has
// changed its clocks twice within two days.
func resolve(t time.Time, zone *time.Location) Stamp {
	at1 := t.Add(-offsetAt(t.Add(-24*time.Hour), zone))
	at2 := t.Add(-offsetAt(t.Add(24*time.Hour), zone))
	if at1.Equal(at2) {
		return Stamp{At: at1}
	}
	if at2.Before(at1) {
		at1, at2 = at2, at1
	}
	shows := func(at time.Time) bool { return at.Add(offsetAt(at, zone)).Equal(t) }
	ok1, ok2 := shows(at1), shows(at2)
	switch {
	case ok1 && ok2:
		return Stamp{At: at1, Ambiguous: true, Or: at2}
	case ok1:
		return Stamp{At: at1}
	case ok2:
		return Stamp{At: at2}
	}
	return Stamp{At: t.Add(-offsetAt(t.Add(-24*time.Hour), zone)), Ambiguous: true}
}

func offsetAt(at time.Time, zone *time.Location) time.Duration {
	_, seconds := at.In(zone).Zone()
	return time.Duration(seconds) * time.Second
}

// civil makes a time of decimal numbers, year first, as if it were UTC, if they are one between 1990 and 2100.
// What is left out is zero.
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
