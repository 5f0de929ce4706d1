package main

import (
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/porchlight-mesh/porchlight/cmd/porchlight/internal/cli"
)

// Whoever asks for help gets a line, an explanation and an example, for every command.
func TestEveryCommandExplainsItself(t *testing.T) {
	eachCommand(newRootCommand(&cli.App{}), func(c *cobra.Command) {
		name := c.CommandPath()
		switch {
		case c.Short == "" || strings.HasSuffix(c.Short, "."):
			t.Errorf("%s: short text %q: one line, no full stop", name, c.Short)
		case len(c.Short) > 80:
			t.Errorf("%s: short text has %d bytes, the most is 80", name, len(c.Short))
		case c.Long == "" || c.Long == c.Short:
			t.Errorf("%s: no long text", name)
		case !strings.Contains(c.Example, name) && !c.HasSubCommands():
			t.Errorf("%s: the example does not show the command", name)
		case !c.Runnable():
			t.Errorf("%s: does nothing", name)
		}
		var help strings.Builder
		c.SetOut(&help)
		if err := c.Help(); err != nil {
			t.Error(err)
		}
		for _, l := range strings.Split(help.String(), "\n") {
			if len([]rune(l)) > 100 {
				t.Errorf("%s: help line of %d characters: %q", name, len([]rune(l)), l)
			}
		}
	})
}

// An example that does not work teaches the wrong thing: all of them, the README's too, must name
// commands, flags and arguments that exist, with none missing.
func TestEveryExampleCanBeTyped(t *testing.T) {
	eachCommand(newRootCommand(&cli.App{}), func(c *cobra.Command) {
		for _, line := range commandLines(c.Example) {
			tryLine(t, c.CommandPath(), line)
		}
	})
	readme, err := os.ReadFile("../../README.md")
	if os.IsNotExist(err) {
		t.Skip("no README.md: the test does not run in its source tree")
	}
	if err != nil {
		t.Fatal(err)
	}
	for i, block := range strings.Split(string(readme), "```") {
		if i%2 == 1 {
			for _, line := range commandLines(block) {
				tryLine(t, "README.md", line)
			}
		}
	}
}

func eachCommand(c *cobra.Command, visit func(*cobra.Command)) {
	if c.Hidden || c.Name() == "help" || c.Name() == "completion" {
		return
	}
	visit(c)
	for _, sub := range c.Commands() {
		eachCommand(sub, visit)
	}
}

// commandLines finds the lines that call porchlight, continued ones joined.
func commandLines(text string) (lines []string) {
	for _, l := range strings.Split(strings.ReplaceAll(text, "\\\n", " "), "\n") {
		if l = strings.TrimSpace(l); strings.HasPrefix(l, "porchlight ") {
			lines = append(lines, l)
		}
	}
	return lines
}

func tryLine(t *testing.T, where, line string) {
	t.Helper()
	if strings.HasSuffix(line, " …") { // shortened on purpose
		return
	}
	root := newRootCommand(&cli.App{})
	c, rest, err := root.Find(words(line)[1:])
	if err == nil {
		err = c.ParseFlags(rest)
	}
	if err == nil {
		err = c.ValidateRequiredFlags()
	}
	if err == nil {
		err = c.ValidateFlagGroups()
	}
	if err == nil {
		err = c.ValidateArgs(c.Flags().Args())
	}
	if err == nil && c.HasSubCommands() && c.Flags().NArg() > 0 {
		err = cli.Usage("", "%s has no command %q", c.CommandPath(), c.Flags().Arg(0))
	}
	if err != nil {
		t.Errorf("%s: %s: %v", where, line, err)
	}
}

// words splits a line as a shell does, as far as examples need it: quotes, and a remark or a
// redirection at the end.
func words(line string) (out []string) {
	var word strings.Builder
	quote, begun := rune(0), false
	for _, r := range line + " " {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote == 0 && (r == '\'' || r == '"'):
			quote, begun = r, true
		case quote == 0 && r == ' ':
			if w := word.String(); w == "#" || w == ">" {
				return out
			} else if begun {
				out = append(out, w)
			}
			word.Reset()
			begun = false
		default:
			word.WriteRune(r)
			begun = true
		}
	}
	return out
}
