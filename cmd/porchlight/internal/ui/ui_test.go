package ui

import (
	"bufio"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestTimesAndSizes(t *testing.T) {
	now := time.Date(2026, 11, 22, 19, 0, 0, 0, time.UTC)
	for _, c := range []struct{ got, want string }{
		{When(now.Add(-90*time.Minute), now), "2026-11-22 17:30:00 UTC (1 hour 30 minutes ago)"},
		{When(now.Add(3*24*time.Hour), now), "2026-11-25 19:00:00 UTC (in 3 days)"},
		{When(time.Time{}, now), "-"},
		{Relative(now, now), "now"},
		{Relative(now.Add(time.Second), now), "in 1 second"},
		{Span(now, now.Add(time.Hour)), "2026-11-22 19:00:00 to 20:00:00 UTC"},
		{Span(now, now.Add(6*time.Hour)), "2026-11-22 19:00:00 to 2026-11-23 01:00:00 UTC"},
		{MB(0), "0 MB"},
		{MB(1000), "under 0.1 MB"},
		{MB(48_210_000), "48.2 MB"},
		{Area(65_000), "65,000 m²"},
		{Area(1_295_000.4), "1,295,000 m²"},
		{Short("0123456789abcdef"), "0123456789ab"},
		{Short("abc"), "abc"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}

func TestAStrangersTextCannotRewriteTheScreen(t *testing.T) {
	if got := Clean("ok\x1b[2Jnice\u202etxt"); strings.ContainsAny(got, "\x1b\u202e") {
		t.Errorf("control characters got through: %q", got)
	}
	if got := Clean("Straße, 12 m²"); got != "Straße, 12 m²" {
		t.Errorf("plain text changed to %q", got)
	}
}

func TestNoAnswerIsANo(t *testing.T) {
	for in, want := range map[string]bool{"y\n": true, "YES\n": true, "yes": true, "n\n": false, "\n": false, "yup\n": false} {
		got, err := Ask(bufio.NewReader(strings.NewReader(in)), new(strings.Builder), "Send?")
		if got != want || err != nil {
			t.Errorf("answer %q: %v, %v; want %v", in, got, err, want)
		}
	}
	got, err := Ask(bufio.NewReader(strings.NewReader("")), new(strings.Builder), "Send?")
	if got || !errors.Is(err, ErrNoAnswer) {
		t.Errorf("end of input: %v, %v; want a no and ErrNoAnswer", got, err)
	}
}

func TestWrap(t *testing.T) {
	var b strings.Builder
	Wrap(&b, "  ", "one two three four\nfive", 12)
	if want := "  one two\n  three four\n  five\n"; b.String() != want {
		t.Errorf("got %q, want %q", b.String(), want)
	}
}
