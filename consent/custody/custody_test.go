package custody

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/porchlight-mesh/porchlight/consent"
)

var noon = consent.At(time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC))

// night is what became of a clip: approved, sealed, sent, received.
func night(t testing.TB) (lines []string, last Entry) {
	t.Helper()
	for i, step := range []string{"approved", "sealed", "sent", "receipt"} {
		e, err := Next(last, consent.At(noon.Add(time.Duration(i)*time.Minute)), "owner", step, "clip-1", strings.Repeat("<&é> ", i))
		if err != nil {
			t.Fatal(err)
		}
		line, err := e.Line()
		if err != nil {
			t.Fatal(err)
		}
		lines, last = append(lines, string(line)), e
	}
	return lines, last
}

func TestEveryStepIsChained(t *testing.T) {
	lines, want := night(t)
	n, last, err := Verify(strings.NewReader(strings.Join(lines, "")))
	if n != 4 || last != want || err != nil {
		t.Fatalf("%d, %+v, %v", n, last, err)
	}
	if n, last, err := Verify(strings.NewReader("")); n != 0 || last != (Entry{}) || err != nil {
		t.Errorf("an empty log: %d %v %v", n, last, err)
	}
}

func TestTheFirstBadLineIsNamed(t *testing.T) {
	l, _ := night(t)
	other, err := Next(Entry{}, noon, "owner", "approved", "clip-2", "")
	if err != nil {
		t.Fatal(err)
	}
	otherLine, _ := other.Line()
	for _, c := range []struct {
		name, log string
		good      int
		want      consent.Class
	}{
		{"changed", l[0] + strings.Replace(l[1], "sealed", "leaked", 1) + l[2], 1, consent.BrokenChain},
		{"dropped", l[0] + l[2] + l[3], 1, consent.BrokenChain},
		{"first dropped", l[1] + l[2], 0, consent.BrokenChain},
		{"moved", l[0] + l[2] + l[1], 1, consent.BrokenChain},
		{"twice", l[0] + l[0], 1, consent.BrokenChain},
		{"another first line", string(otherLine) + l[1], 1, consent.BrokenChain},
		{"torn", l[0] + l[1] + l[2][:40], 2, consent.BrokenChain},
		{"newline lost", l[0] + strings.TrimSuffix(l[1], "\n"), 1, consent.BrokenChain},
		{"empty line", l[0] + "\n" + l[1], 1, consent.Malformed},
		{"a space", l[0] + " " + l[1], 1, consent.NotCanonical},
		{"a member more", l[0] + strings.Replace(l[1], "{", `{"x":1,`, 1), 1, consent.UnknownField},
		{"no hash", l[0] + l[1][:strings.Index(l[1], `,"hash"`)] + "}\n", 1, consent.BrokenChain},
		{"a line without end", l[0] + strings.Repeat("x", 1<<20), 1, consent.Oversize},
		{"zeros", l[0] + strings.Repeat("\x00", 100) + "\n", 1, consent.Malformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			n, last, err := Verify(strings.NewReader(c.log))
			if n != c.good || last.Seq != int64(c.good) || consent.ClassOf(err) != c.want {
				t.Errorf("%d good, last %d, %v; want %d, %s", n, last.Seq, err, c.good, c.want)
			}
		})
	}
	if _, _, err := Verify(iotest.ErrReader(errors.New("disk gone"))); err == nil || !strings.Contains(err.Error(), "line 1") {
		t.Errorf("a failing reader: %v", err)
	}
}

func TestNoFlippedBitPasses(t *testing.T) {
	lines, _ := night(t)
	log := []byte(strings.Join(lines, ""))
	for i := range len(log) * 8 {
		bad := bytes.Clone(log)
		bad[i/8] ^= 1 << (i % 8)
		if _, _, err := Verify(bytes.NewReader(bad)); err == nil {
			t.Fatalf("bit %d flipped and not noticed", i)
		}
	}
}

func TestTextsThatCannotBeLines(t *testing.T) {
	for _, c := range []struct{ actor, step, subject, detail string }{
		{"", "sent", "", ""}, {"owner", "", "", ""}, {"owner", "a\nb", "", ""}, {"owner", "sent", "", strings.Repeat("x", MaxLine)},
		{"owner", "sent", "\x00", ""}, {"owner", "sent", "\xff", ""},
	} {
		if _, err := Next(Entry{}, noon, c.actor, c.step, c.subject, c.detail); consent.ClassOf(err) == "" {
			t.Errorf("%+v made a line (%v)", c, err)
		}
	}
	if _, err := Next(Entry{}, consent.Time{}, "owner", "sent", "", ""); consent.ClassOf(err) != consent.BadValue {
		t.Errorf("zero time: %v", err)
	}
}

func FuzzVerify(f *testing.F) {
	lines, _ := night(f)
	f.Add([]byte(strings.Join(lines, "")))
	f.Add([]byte("{}\n"))
	f.Fuzz(func(t *testing.T, log []byte) {
		n, last, err := Verify(bytes.NewReader(log))
		if int64(n) != last.Seq || err != nil && consent.ClassOf(err) == "" {
			t.Fatalf("%d lines, last %d, %v", n, last.Seq, err)
		}
	})
}
