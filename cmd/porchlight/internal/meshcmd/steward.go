package meshcmd

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/porchlight-mesh/porchlight/cmd/porchlight/internal/cli"
	"github.com/porchlight-mesh/porchlight/node"
)

// newStewardCommand holds what a volunteer with a public address does.
func newStewardCommand(a *app) *cobra.Command {
	cmd := cli.Group(&cobra.Command{
		Use:   "steward",
		Short: "Run a node that others first connect to",
		Long: `A steward is a volunteer's node with a public address: first contact for those who join, and a hub
that passes requests on. It holds what is public and nothing else. It is not trusted with anything:
at most it can delay or drop messages, and it sees the addresses of those who dial it. One that the charter
names as a witness also cosigns dockets (porchlight steward witness).

Others have to reach it from the internet, unless the mesh is LAN-only. It asks its router for its
ports, has other stewards dial it back, and says in its log and in status how that went and what to do
where it failed.`,
		Example: `  porchlight steward init --charter ~/.porchlight/charter --listen /ip4/0.0.0.0/tcp/4001
  porchlight steward run`,
	})
	cmd.AddCommand(newStewardInitCommand(a),
		cli.NewRunCommand(a.App, node.Steward, "Others connect to it, catch up from it, and hear of new requests through it."),
		cli.NewStatusOf(a.App, node.Steward), cli.NewRequestsCommand(a.App, node.Steward), cli.NewRequestCommand(a.App, node.Steward), cli.NewAgenciesCommand(a.App, node.Steward),
		newObjectCommand(a, node.Steward), newWitnessCommand(a, node.Steward))
	return cmd
}

func newStewardInitCommand(a *app) *cobra.Command {
	var charterDir string
	var listen []string
	cmd := &cobra.Command{
		Use:   "init --charter FOLDER",
		Short: "Make the folder of a steward from a charter",
		Long: `Makes a steward's folder with the charter of its mesh in it: the first steward of a mesh has nobody to
ask for one. A later steward may as well join with an invitation (porchlight join LINK --role steward).

Its listening addresses must be reachable from the internet, or from the LAN in a mesh that is LAN-only.`,
		Example: `  porchlight steward init --charter ~/.porchlight/charter \
    --listen /ip4/0.0.0.0/tcp/4001 --listen /ip4/0.0.0.0/udp/4001/quic-v1`,
		Args: cobra.NoArgs,
		RunE: a.Do(cli.Nothing(func(ctx context.Context) error {
			dir, err := a.Folder(string(node.Steward))
			if err != nil {
				return err
			}
			chain, err := readCharter(charterDir)
			if err != nil {
				return err
			}
			if err := cli.CreateNode(dir, node.Steward, listen); err != nil {
				return err
			}
			if err := storeCharter(dir, chain, nil); err != nil {
				return err
			}
			return a.ShowMade(dir, node.Steward, "porchlight steward run --dir "+dir)
		})),
	}
	cmd.Flags().StringVar(&charterDir, "charter", "", "`folder` of the charter, as `porchlight charter new` made it")
	cli.ListenFlag(cmd, &listen)
	cli.MustFlags(cmd, "charter")
	return cmd
}

// newObserveCommand holds what anybody can do who wants to see that the rules are kept.
func newObserveCommand(a *app) *cobra.Command {
	cmd := cli.Group(&cobra.Command{
		Use:   "observe",
		Short: "Keep and check the public record, without footage",
		Long: `An observer keeps every agency's docket and checks that it only grows: the press, a council, any
resident. It has no footage and answers no request. One that the charter names as a witness also cosigns
dockets (porchlight observe witness). Its commands also read the public record in a home's, a steward's or an
agency's folder (--dir).`,
		Example: `  porchlight join 'porchlight://join?…' --role observe
  porchlight observe run
  porchlight observe requests`,
	})
	cmd.AddCommand(
		cli.NewInitCommand(a.App, node.Observe, `Makes an observer's folder. It needs a charter before it can run: join a mesh with an invitation.`),
		cli.NewRunCommand(a.App, node.Observe, "It keeps the dockets of all agencies and checks every entry."),
		cli.NewStatusOf(a.App, node.Observe), cli.NewRequestsCommand(a.App, node.Observe), cli.NewRequestCommand(a.App, node.Observe), cli.NewAgenciesCommand(a.App, node.Observe),
		cli.NewRecordCommand(a.App), cli.NewOverdueCommand(a.App),
		newObjectCommand(a, node.Observe), newWitnessCommand(a, node.Observe))
	return cmd
}
