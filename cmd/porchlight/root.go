package main

import (
	"fmt"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/porchlight-mesh/porchlight/cmd/porchlight/internal/agencycmd"
	"github.com/porchlight-mesh/porchlight/cmd/porchlight/internal/backupcmd"
	"github.com/porchlight-mesh/porchlight/cmd/porchlight/internal/cli"
	"github.com/porchlight-mesh/porchlight/cmd/porchlight/internal/homecmd"
	"github.com/porchlight-mesh/porchlight/cmd/porchlight/internal/meshcmd"
	"github.com/porchlight-mesh/porchlight/cmd/porchlight/internal/simcmd"
)

const rootLong = `Porchlight is a neighbourhood mesh with no server. Each home keeps its own camera
footage. A request for footage is a public, signed document in its agency's docket.
A home whose owner says nothing sends nothing; a home whose owner agrees sends the
clips that the owner chose, sealed, straight to the requester.

Every node lives in one folder, ~/.porchlight/<role> unless --dir or the environment
variable PORCHLIGHT_DIR names another. Results go to standard output, questions and
the log to standard error.

Exit codes:
  0  done
  1  failed
  2  wrong usage
  3  the node is not running, and the command needs it
  4  refused by the charter, by the docket or by the other side

What Porchlight cannot do: call back a clip once it was exported or filmed off a
screen, stop a warrant served on the owner, hide from your internet provider that you
run a node, or tell a true case number from a false one.`

func newRootCommand(a *cli.App) *cobra.Command {
	root := &cobra.Command{
		Use:   "porchlight",
		Short: "Share camera footage by consent, in a mesh without a server",
		Long:  rootLong,
		Example: `  porchlight demo
  porchlight join 'porchlight://join?mesh=…'
  porchlight home run`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       version(),
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetVersionTemplate("porchlight {{.Version}}\n")
	f := root.PersistentFlags()
	f.BoolVar(&a.JSON, "json", false, "print the result as JSON")
	f.BoolVar(&a.Verbose, "verbose", false, "log more, to standard error")
	f.StringVar(&a.Dir, "dir", "", "`folder` of the node or charter (default ~/.porchlight/<role>)")
	f.StringVar(&a.PhraseFile, "passphrase-file", "", "read a passphrase from the first line of this `file` instead of asking")
	cli.Group(root)
	home := homecmd.New(a)
	home.AddCommand(meshcmd.NewObjectCommand(a))
	root.AddCommand(home, agencycmd.New(a))
	root.AddCommand(meshcmd.New(a)...)
	root.AddCommand(backupcmd.New(a)...)
	root.AddCommand(
		cli.NewKeyCommand(a),
		cli.NewStatusCommand(a),
		cli.NewRequestsCommand(a, ""),
		cli.NewAgenciesCommand(a, ""),
		newVerifyCommand(a),
		newDemoCommand(a),
		simcmd.New(a),
		simcmd.NewWorld(a),
	)
	cli.FitHelp(root)
	return root
}

// version is what the Go tool recorded of the build.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "(unknown build)"
	}
	rev, dirty := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			rev = " " + s.Value[:min(12, len(s.Value))]
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = ", changed"
		}
	}
	return fmt.Sprintf("%s%s%s (%s)", info.Main.Version, rev, dirty, info.GoVersion)
}
