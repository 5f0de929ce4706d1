package ui

import (
	"strings"
	"testing"
)

// On a terminal the widest columns give way, between words; a pipe has a line for each row.
func TestATableFitsTheTerminal(t *testing.T) {
	heading := []string{"ID", "STATE", "UNTIL"}
	rows := [][]string{{"0123", "open, used", "2026-12-27 05:35:12 UTC (42 days ago)"}, {"4567", "sealed", "-"}}
	for width, want := range map[int]string{
		0: "" +
			"ID    STATE       UNTIL\n" +
			"0123  open, used  2026-12-27 05:35:12 UTC (42 days ago)\n" +
			"4567  sealed      -\n",
		40: "" +
			"ID    STATE       UNTIL\n" +
			"0123  open, used  2026-12-27 05:35:12\n" +
			"                  UTC (42 days ago)\n" +
			"4567  sealed      -\n",
		26: "" +
			"ID    STATE     UNTIL\n" +
			"0123  open,     2026-12-27\n" +
			"      used      05:35:12\n" +
			"                UTC (42\n" +
			"                days ago)\n" +
			"4567  sealed    -\n",
		20: "" +
			"ID     0123\n" +
			"STATE  open, used\n" +
			"UNTIL  2026-12-27\n" +
			"       05:35:12 UTC\n" +
			"       (42 days ago)\n" +
			"\n" +
			"ID     4567\n" +
			"STATE  sealed\n" +
			"UNTIL  -\n",
	} {
		var b strings.Builder
		if err := table(&b, heading, rows, width); err != nil {
			t.Fatal(err)
		}
		if b.String() != want {
			t.Errorf("%d columns:\n%s", width, b.String())
		}
	}
	var b strings.Builder
	sentence(&b, "  hint: one two three", 15)
	if want := "  hint: one two\n  three\n"; b.String() != want {
		t.Errorf("%q", b.String())
	}
}
