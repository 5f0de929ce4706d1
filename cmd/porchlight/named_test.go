package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/porchlight-mesh/porchlight/cmd/porchlight/internal/cli"
)

// named is a command as a text names it: between backquotes or in <code>, with `porchlight` or beginning with a group's name; or in running
// text, with `porchlight`.
var named = regexp.MustCompile("(?:`|<code>)([a-z][^`<\n]*)(?:`|</code>)|porchlight ([a-z][a-z -]*)")

// A hint that names a command which does not exist leaves a person worse off than none. Whatever the program and its papers name must be a
// command of the tree, with the flags that it is named with; where it is made of pieces, as far as the pieces say.
func TestEveryCommandNamedExists(t *testing.T) {
	root := newRootCommand(&cli.App{})
	groups := map[string]bool{}
	for _, c := range root.Commands() {
		groups[c.Name()] = c.HasSubCommands()
	}
	count := 0
	check := func(where, text string) {
		text = strings.NewReplacer("\n  ", "\n", "\n", " ").Replace(text) // an indented line stands alone
		for _, m := range named.FindAllStringSubmatch(text, -1) {
			quoted, rest := m[1] != "", m[1]+m[2]
			first, after, _ := strings.Cut(rest, " ")
			if first == "porchlight" {
				first, after, _ = strings.Cut(after, " ")
			} else if group, ok := groups[first]; !ok || quoted && !group {
				continue // prose
			}
			count++
			if err := namesCommand(root, strings.Fields(first+" "+after), quoted); err != "" {
				t.Errorf("%s: %q: %s", where, m[0], err)
			}
		}
	}
	for _, dir := range []string{"cmd", "node", "consent", "footage", "p2p", "simnet", ".github", "README.md"} {
		err := filepath.WalkDir(filepath.Join("../..", dir), func(path string, e fs.DirEntry, err error) error {
			if os.IsNotExist(err) {
				t.Skip("no " + path + ": the test does not run in its source tree")
			}
			if err != nil || e.IsDir() || strings.HasSuffix(path, "_test.go") {
				return err
			}
			switch ext := filepath.Ext(path); {
			case ext == ".go":
				for _, text := range textsOf(t, path) {
					check(path, text)
				}
			case ext == ".html", dir == ".github", dir == "README.md":
				b, err := os.ReadFile(path)
				if err != nil {
					return err
				}
				check(path, string(b))
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if count < 200 {
		t.Errorf("found %d commands named, there are more", count)
	}
}

// namesCommand says what is wrong with the words of a command, "" where nothing is. Words that are made at run time, or stand for something,
// are taken as they are; so is whatever follows a command in running text.
func namesCommand(root *cobra.Command, words []string, quoted bool) string {
	c := root
	for len(words) > 0 && c.HasSubCommands() && regexp.MustCompile(`^[a-z-]+[.,;:)]*$`).MatchString(words[0]) && !strings.HasPrefix(words[0], "-") {
		var next *cobra.Command
		for _, sub := range c.Commands() {
			if sub.Name() == strings.TrimRight(words[0], ".,;:)") {
				next = sub
			}
		}
		if next == nil {
			return c.CommandPath() + " has no command " + strconv.Quote(words[0])
		}
		c, words = next, words[1:]
	}
	if !quoted || c == root {
		return ""
	}
	for _, w := range words {
		flag, ok := strings.CutPrefix(w, "--")
		if ok && flag != "help" && c.Flag(strings.TrimRight(flag, ".,;:)")) == nil {
			return c.CommandPath() + " has no flag " + w
		}
	}
	return ""
}

// textsOf are the texts of a Go file: its string literals, sums of them in one piece with … for what else is added, and its comments.
func textsOf(t *testing.T, path string) (texts []string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range file.Comments {
		texts = append(texts, c.Text())
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ImportSpec:
			return false
		case *ast.BinaryExpr, *ast.BasicLit:
			texts = append(texts, textOf(n.(ast.Expr)))
		}
		return true
	})
	return texts
}

func textOf(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BinaryExpr:
		return textOf(e.X) + textOf(e.Y)
	case *ast.ParenExpr:
		return textOf(e.X)
	case *ast.BasicLit:
		if s, err := strconv.Unquote(e.Value); err == nil && e.Kind == token.STRING {
			return s
		}
	}
	return "…"
}
