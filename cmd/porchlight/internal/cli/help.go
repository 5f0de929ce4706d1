package cli

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/porchlight-mesh/porchlight/cmd/porchlight/internal/ui"
)

// FitHelp lays the help of a command, and of all below it, out in the columns of an ordinary terminal: paragraphs are filled, lines that are
// indented stay lines, and long commands go on in the next line as a shell has it.
func FitHelp(cmd *cobra.Command) {
	cmd.Long = fill(cmd.Long)
	var example []string
	for _, l := range strings.Split(strings.ReplaceAll(cmd.Example, " \\\n    ", " "), "\n") {
		example = append(example, foldLine(l, " --", " \\", "    "))
	}
	cmd.Example = strings.Join(example, "\n")
	if cmd.HasParent() {
		path := "  " + cmd.Parent().CommandPath() + " "
		cmd.Use = strings.TrimSuffix(strings.TrimPrefix(foldLine(path+cmd.Use+" [flags]", " --", "", "      "), path), " [flags]")
	} else {
		cmd.SetUsageTemplate(strings.ReplaceAll(cmd.UsageTemplate(), ".FlagUsages", fmt.Sprintf(".FlagUsagesWrapped %d", ui.Width)))
	}
	for _, sub := range cmd.Commands() {
		FitHelp(sub)
	}
}

// fill joins the lines of a paragraph, and those of an item of a list, and breaks them anew.
func fill(text string) string {
	var lines []string
	for _, l := range strings.Split(text, "\n") {
		indent := len(l) - len(strings.TrimLeft(l, " "))
		if n := len(lines) - 1; n >= 0 && l != "" && lines[n] != "" && indent == column(lines[n]) {
			lines[n] += " " + l[indent:]
		} else {
			lines = append(lines, l)
		}
	}
	var out strings.Builder
	for _, l := range lines {
		col := column(l)
		var broken strings.Builder
		ui.Wrap(&broken, strings.Repeat(" ", col), l[col:], ui.Width)
		out.WriteString(l[:col] + broken.String()[col:])
	}
	return strings.TrimSuffix(out.String(), "\n")
}

// column is where the second column of an item of a list begins; of every other line, where it begins itself.
func column(l string) int {
	begin := len(l) - len(strings.TrimLeft(l, " "))
	if name, rest, ok := strings.Cut(l[begin:], "  "); ok && begin > 0 {
		return begin + len(name) + len("  ") + len(rest) - len(strings.TrimLeft(rest, " "))
	}
	return begin
}

// foldLine breaks a line that is too long before one of its marks; what follows begins indented.
func foldLine(l, mark, end, indent string) string {
	for i := len(l); utf8.RuneCountInString(l) > ui.Width; {
		if i = strings.LastIndex(l[:i], mark); i < 0 || strings.TrimSpace(l[:i]) == "" {
			break
		}
		if utf8.RuneCountInString(l[:i]+end) <= ui.Width {
			return l[:i] + end + "\n" + foldLine(indent+strings.TrimLeft(l[i:], " "), mark, end, indent)
		}
	}
	return l
}
