package main

import (
	"context"
	"os"

	"github.com/spf13/cobra"

	"github.com/porchlight-mesh/porchlight/cmd/porchlight/internal/cli"
	"github.com/porchlight-mesh/porchlight/cmd/porchlight/internal/demo"
)

func newDemoCommand(a *cli.App) *cobra.Command {
	var stay bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Tell the whole story on this machine, with real nodes",
		Long: `Starts two stewards, an agency, an observer and five homes on this machine's loopback, each a process of
its own, and tells one story with them. The agency asks; one owner agrees, one declines, one ignores it, one
has nothing, one lives elsewhere. Weeks pass by the story's own calendar: the docket promises in its daily
entries that the clip will be deleted, at the deadline the key dies, and everybody can see that the docket
says so. Then the agency's node is changed so that it keeps a clip for ever, and everybody can see that too.
It takes under a minute and contacts nobody else.

Everything it made stays in a folder that it names at the end (--dir chooses one), with what to type there:
commands have to go by the story's calendar, which is ahead of this machine's.`,
		Example: "  porchlight demo\n  porchlight demo --stay",
		Args:    cobra.NoArgs,
		RunE: a.Do(cli.Nothing(func(ctx context.Context) error {
			exe, err := os.Executable()
			if err != nil {
				return err
			}
			dir, err := cli.Absolute(a.Dir)
			if err != nil {
				return err
			}
			return demo.Run(ctx, demo.Options{Exe: exe, Out: a.Out, JSON: a.JSON, Stay: stay, Dir: dir})
		})),
	}
	cmd.Flags().BoolVar(&stay, "stay", false, "keep the nodes running until Ctrl-C")
	return cmd
}
