package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"
)

// Group makes a command that only holds others: alone it shows its help, and a word that names
// none of them is wrong usage.
func Group(cmd *cobra.Command) *cobra.Command {
	cmd.Args = cobra.ArbitraryArgs
	cmd.SuggestionsMinimumDistance = 2
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		hint := ""
		if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			hint = "did you mean `" + cmd.CommandPath() + " " + strings.Join(near, "` or `") + "`?"
		}
		return Usage(hint, "%s has no command %q", cmd.CommandPath(), args[0])
	}
	return cmd
}

// Nothing is for commands that take only flags.
func Nothing(f func(ctx context.Context) error) func(context.Context, []string) error {
	return func(ctx context.Context, _ []string) error { return f(ctx) }
}
