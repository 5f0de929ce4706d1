package ui

import (
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"
)

// Width is how many columns help texts have, and everything on a terminal that does not say how many it has.
const Width = 100

// gap is between two columns of a table.
const gap = 2

// Table writes rows under a heading, in columns.
func Table(w io.Writer, heading []string, rows [][]string) error {
	return table(w, heading, rows, terminalWidth(w))
}

// Facts writes "name  value" lines, the values aligned. A fact without a value is left out.
func Facts(w io.Writer, pairs ...string) error { return facts(w, pairs, terminalWidth(w)) }

// Sentence writes text on a line, on several where a terminal is not as wide.
func Sentence(w io.Writer, text string) { sentence(w, text, terminalWidth(w)) }

func sentence(w io.Writer, text string, width int) {
	if width == 0 {
		fmt.Fprintln(w, Clean(text))
		return
	}
	Wrap(w, text[:indentOf(text)], text, width)
}

func table(w io.Writer, heading []string, rows [][]string, width int) error {
	all := [][]string{heading}
	for _, r := range rows {
		all = append(all, cleaned(r))
	}
	widths, fits := fit(all, width)
	if fits {
		return lay(w, all, widths)
	}
	// Not even the words fit: a line for each cell.
	for i, r := range all[1:] {
		if i > 0 {
			fmt.Fprintln(w)
		}
		var pairs []string
		for c, cell := range r {
			pairs = append(pairs, heading[c], cell)
		}
		if err := facts(w, pairs, width); err != nil {
			return err
		}
	}
	return nil
}

func facts(w io.Writer, pairs []string, width int) error {
	var rows [][]string
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			rows = append(rows, cleaned(pairs[i:i+2]))
		}
	}
	widths, _ := fit(rows, width)
	return lay(w, rows, widths)
}

func cleaned(row []string) (out []string) {
	for _, cell := range row {
		out = append(out, Clean(cell))
	}
	return out
}

// fit is how wide each column is so that a row is at most width wide, 0 for any: the widest give way first, down to their longest word.
func fit(rows [][]string, width int) (widths []int, fits bool) {
	var least []int
	sum := -gap
	for _, r := range rows {
		for i, cell := range r {
			if i == len(widths) {
				widths, least, sum = append(widths, 0), append(least, 0), sum+gap
			}
			if n := utf8.RuneCountInString(cell); n > widths[i] {
				sum += n - widths[i]
				widths[i] = n
			}
			for _, word := range strings.Fields(cell) {
				least[i] = max(least[i], indentOf(cell)+utf8.RuneCountInString(word))
			}
		}
	}
	for width > 0 && sum > width {
		widest := -1
		for i, n := range widths {
			if n > least[i] && (widest < 0 || n > widths[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			return widths, false
		}
		widths[widest]--
		sum--
	}
	return widths, true
}

// lay writes rows in columns of these widths.
func lay(w io.Writer, rows [][]string, widths []int) error {
	var out strings.Builder
	for _, r := range rows {
		cells, height := make([][]string, len(r)), 0
		for i, cell := range r {
			cells[i] = []string{cell}
			if utf8.RuneCountInString(cell) > widths[i] {
				cells[i] = broken(cell, widths[i])
			}
			height = max(height, len(cells[i]))
		}
		for y := range height {
			line := ""
			for i, c := range cells {
				cell := ""
				if y < len(c) {
					cell = c[y]
				}
				line += cell + strings.Repeat(" ", widths[i]-min(widths[i], utf8.RuneCountInString(cell))+gap)
			}
			out.WriteString(strings.TrimRight(line, " ") + "\n")
		}
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// broken is text in lines of at most width characters, broken between words, each indented as the text is.
func broken(text string, width int) (lines []string) {
	indent := text[:indentOf(text)]
	line := indent
	for _, word := range strings.Fields(text) {
		if line != indent && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width {
			lines = append(lines, line)
			line = indent
		}
		if line != indent {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}

func indentOf(text string) int { return len(text) - len(strings.TrimLeft(text, " ")) }

// Wrap writes text in lines of at most width characters, each indented.
func Wrap(w io.Writer, indent, text string, width int) {
	for _, par := range strings.Split(text, "\n") {
		for _, line := range broken(indent+strings.TrimSpace(Clean(par)), width) {
			fmt.Fprintln(w, strings.TrimRight(line, " "))
		}
	}
}

// terminalWidth is how many columns a terminal has; 0 where w is none.
func terminalWidth(w io.Writer) int {
	f, ok := w.(*os.File)
	if !ok {
		return 0
	}
	return columns(f.Fd())
}
