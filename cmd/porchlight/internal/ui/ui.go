// Package ui writes results for people. Its rules, which every command obeys:
//
//   - standard output carries the result and nothing else; questions, progress and the log go to
//     standard error, so that a result can be piped;
//   - lists are aligned tables with a heading; an empty list says so in a sentence;
//   - nothing breaks in the middle of a word on a terminal of 100 columns, and whoever reads a pipe gets one line for each;
//   - a time is given in UTC, to the second, and beside it how far away it is;
//   - an id is shortened to its first 12 digits, which every command accepts in its place;
//   - an amount of data is in MB (10⁶ bytes), an area in square metres;
//   - yes and no weigh the same, and no answer is a no.
package ui

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"
)

// ShortDigits is how many digits of an id are shown.
const ShortDigits = 12

// Short is the beginning of an id, enough to name it again.
func Short[S ~string](id S) string { return string(id[:min(len(id), ShortDigits)]) }

// ShortRelease is the beginning of a release id. All of them begin with the same 7 characters, so
// a few more are shown.
func ShortRelease[S ~string](id S) string { return string(id[:min(len(id), ShortDigits+7)]) }

// MB writes an amount of bytes.
func MB(bytes int64) string {
	switch {
	case bytes == 0:
		return "0 MB"
	case bytes < 50_000:
		return "under 0.1 MB"
	}
	return fmt.Sprintf("%.1f MB", float64(bytes)/1e6)
}

// Area writes an area in square metres.
func Area(m2 float64) string { return fmt.Sprintf("%s m²", thousands(int64(m2+0.5))) }

func thousands(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// UTC writes a moment; "-" for the zero time.
func UTC(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02 15:04:05 UTC")
}

// When writes a moment and how far it is from now.
func When(t, now time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return UTC(t) + " (" + Relative(t, now) + ")"
}

// Relative writes how far t is from now: "3 days ago", "in 2 hours".
func Relative(t, now time.Time) string {
	d := t.Sub(now)
	if d.Abs() < time.Second {
		return "now"
	}
	if d < 0 {
		return length(-d) + " ago"
	}
	return "in " + length(d)
}

// Length writes a duration in the two largest units that say enough.
func Length(d time.Duration) string { return length(d) }

func length(d time.Duration) string {
	one := func(n int64, unit string) string {
		if n == 1 {
			return "1 " + unit
		}
		return fmt.Sprintf("%d %ss", n, unit)
	}
	switch {
	case d < time.Minute:
		return one(int64(d/time.Second), "second")
	case d < time.Hour:
		return one(int64(d/time.Minute), "minute")
	case d < 48*time.Hour:
		h, m := int64(d/time.Hour), int64(d%time.Hour/time.Minute)
		if m == 0 {
			return one(h, "hour")
		}
		return one(h, "hour") + " " + one(m, "minute")
	}
	return one(int64(d/(24*time.Hour)), "day")
}

// Span writes a stretch of time, the day only once where it is one day.
func Span(from, until time.Time) string {
	if from.IsZero() && until.IsZero() {
		return "-"
	}
	f, u := from.UTC(), until.UTC()
	if f.Format(time.DateOnly) == u.Format(time.DateOnly) {
		return f.Format("2006-01-02 15:04:05") + " to " + u.Format("15:04:05 UTC")
	}
	return f.Format("2006-01-02 15:04:05") + " to " + u.Format("2006-01-02 15:04:05 UTC")
}

// YesNo is a truth in words.
func YesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// List writes a table of a row for each, or that there are none.
func List[T any](w io.Writer, list []T, none string, heading []string, row func(T) []string) error {
	if len(list) == 0 {
		_, err := fmt.Fprintln(w, none)
		return err
	}
	var rows [][]string
	for _, x := range list {
		rows = append(rows, row(x))
	}
	return Table(w, heading, rows)
}

// Count says how many there are: "1 clip", "2 clips".
func Count(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}

// Clean makes a stranger's text safe for a terminal: control characters, among them the escape
// that moves the cursor and rewrites what stands above, become a visible mark; so do the marks
// that turn the direction of writing.
func Clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == utf8.RuneError, r < 0x20, r >= 0x7f && r < 0xa0,
			r >= 0x200b && r <= 0x200f, r >= 0x2028 && r <= 0x202e, r >= 0x2066 && r <= 0x2069, r == 0xfeff:
			return '\ufffd'
		}
		return r
	}, s)
}

// ErrNoAnswer says that a question got neither yes nor no, which counts as no.
var ErrNoAnswer = errors.New("no answer given")

// maxAnswer bounds one line of an answer, in bytes.
const maxAnswer = 4096

// Ask puts a yes-or-no question. The end of the input, and any answer that is neither, are a no;
// the end of the input is also ErrNoAnswer, so that a script learns why.
func Ask(in *bufio.Reader, w io.Writer, question string) (bool, error) {
	fmt.Fprintf(w, "%s [y/n] ", question)
	line, err := readLine(in)
	if err != nil && line == "" {
		fmt.Fprintln(w)
		if errors.Is(err, io.EOF) {
			return false, ErrNoAnswer
		}
		return false, err
	}
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes":
		return true, nil
	}
	return false, nil
}

func readLine(in *bufio.Reader) (string, error) {
	var b strings.Builder
	for b.Len() < maxAnswer {
		c, err := in.ReadByte()
		if err != nil {
			return b.String(), err
		}
		if c == '\n' {
			break
		}
		b.WriteByte(c)
	}
	return b.String(), nil
}
