package consent

import "time"

// TimeFormat is the layout of every time in a document: UTC, RFC 3339, whole seconds.
const TimeFormat = "2006-01-02T15:04:05Z"

// Time is a moment in UTC, in whole seconds. The zero Time has no text: a format in which a time is
// optional marks the field `omitzero`. Two Times made by [At] or by decoding may be compared with ==.
type Time struct{ time.Time }

// At returns t in UTC, its fraction of a second dropped.
func At(t time.Time) Time { return Time{t.UTC().Truncate(time.Second)} }

// ParseTime reads a time in exactly [TimeFormat], from year 1970 to 9999.
func ParseTime(s string) (Time, error) {
	t, err := time.Parse(TimeFormat, s)
	// Go's parser takes a fraction the layout does not have; the comparison refuses it.
	if err != nil || t.Format(TimeFormat) != s || t.Year() < 1970 {
		return Time{}, Refuse(BadValue, "", "%.40q is not a time like %s", s, TimeFormat)
	}
	return Time{t}, nil
}

func (t Time) String() string { return t.UTC().Format(TimeFormat) }

// MarshalText refuses the zero Time and any that [At] would have changed.
func (t Time) MarshalText() ([]byte, error) {
	if t.Year() < 1970 || t.Year() > 9999 || t.Location() != time.UTC || t.Nanosecond() != 0 {
		return nil, Refuse(BadValue, "", "%v is not a time in UTC and whole seconds from 1970 on; make it with consent.At", t.Time)
	}
	return []byte(t.String()), nil
}

// UnmarshalText reads what [ParseTime] reads.
func (t *Time) UnmarshalText(b []byte) error {
	p, err := ParseTime(string(b))
	if err == nil {
		*t = p
	}
	return err
}

// MarshalJSON stands here because the embedded time.Time's would otherwise be used.
func (t Time) MarshalJSON() ([]byte, error) {
	b, err := t.MarshalText()
	if err != nil {
		return nil, err
	}
	return []byte(`"` + string(b) + `"`), nil
}

// UnmarshalJSON reads a JSON string in exactly [TimeFormat].
func (t *Time) UnmarshalJSON(b []byte) error {
	if len(b) < 2 || b[0] != '"' || b[len(b)-1] != '"' {
		return Refuse(BadValue, "", "%.40q is not a time like %s", b, TimeFormat)
	}
	return t.UnmarshalText(b[1 : len(b)-1])
}
