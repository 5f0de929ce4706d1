package agencycmd

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/porchlight-mesh/porchlight/cmd/porchlight/internal/cli"
	"github.com/porchlight-mesh/porchlight/cmd/porchlight/internal/ui"
	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/grant"
	"github.com/porchlight-mesh/porchlight/footage/durable"
	"github.com/porchlight-mesh/porchlight/node"
	"github.com/porchlight-mesh/porchlight/node/agency"
)

func newPassOnCommand(a *app) *cobra.Command {
	var card, out string
	var f actFlags
	cmd := &cobra.Command{
		Use:   "pass-on RELEASE --to CARD --out FILE --officer-key KEYFILE --reason TEXT",
		Short: "Pass a release on to another agency, with its owner's signature",
		Long: `Writes a release for another agency into one file: the clip, sealed anew for the card that the agency
made, and all that proves that it may have it. It takes the owner's signature for this very agency (ask
with agency ask --for pass-on), and a published entry of the docket that declares it (agency transfer).
You sign that it is passed on and why. It becomes part of the case, and the owner is told, sealed. What its
owner lets be looked at only is not passed on.

Hand the file over as you like: nobody else can open it. What another court orders is handed over with
agency export, and declared in the same way.`,
		Example: `  porchlight agency pass-on bafybeigdyrzt5sfp7ud --to prosecutor.card --out clip.passed-on \
    --officer-key ruiz.key --reason "for the prosecutor, case 26-1187"`,
		Args: cobra.ExactArgs(1),
		RunE: a.Do(func(ctx context.Context, args []string) error {
			note, err := cli.ReadSmall(card, consent.MaxNote)
			if err != nil {
				return err
			}
			p := agency.PassOn{Card: string(note)}
			if p.Out, err = cli.Absolute(out); err != nil {
				return err
			}
			if err := cli.NewFile(p.Out); err != nil {
				return err
			}
			return a.withAgency(ctx, func(n node.Caller) error {
				if p.Note, err = a.signAct(ctx, n, grant.ActPassOn, args[0], f); err != nil {
					return err
				}
				var got agency.PassedOn
				if err := n.Call(ctx, "agency.passon", p, &got); err != nil {
					return err
				}
				return a.Show(got, func(w io.Writer) error {
					_, err := fmt.Fprintf(w, "%s for %s is in %s, %s\n", ui.ShortRelease(args[0]), got.Name, got.Out, ui.MB(got.Bytes))
					return err
				})
			})
		}),
	}
	f.add(cmd)
	cmd.Flags().StringVar(&card, "to", "", "`file` of the card that the other agency made")
	cmd.Flags().StringVar(&out, "out", "", "`file` to write; must not exist")
	cli.MustFlags(cmd, "to", "out")
	return cmd
}

func newTakeOverCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "take-over FILE",
		Short: "Take over a release that another agency passes on",
		Long: `Takes in a file that another agency made with agency pass-on. Before anything is kept, this node verifies
the owner's signatures, by which this very agency may have it and under which terms, that the other
agency's docket declares it, and that the clip is the one its owner signed for. Then it lives in the vault
like any other: its key dies at its deadline, officers sign what they do with it, and the docket says what
became of it.

It takes a card, which this node makes before, one for each release.`,
		Example: "  porchlight agency taking --out our.card\n  porchlight agency take-over clip.passed-on",
		Args:    cobra.ExactArgs(1),
		RunE: a.Do(func(ctx context.Context, args []string) error {
			file, err := cli.Absolute(args[0])
			if err != nil {
				return err
			}
			var got agency.TakenOver
			if err := a.atAgency(ctx, "agency.takeover", agency.TakeOver{File: file}, &got); err != nil {
				return err
			}
			return a.Show(got, func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "release %s is in the vault; its key is destroyed %s\n", ui.ShortRelease(got.Release), ui.When(got.KeyUntil.Time, a.Now()))
				return err
			})
		}),
	}
}

func newTakingCommand(a *app) *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "taking --out CARD",
		Short: "Make the card that another agency passes a release on to",
		Long: `Makes a card for one release: to whom its key is sealed, signed by this agency's docket key. What opens
the key stays on this node and in no backup. The card may be used for two weeks.`,
		Example: "  porchlight agency taking --out our.card",
		Args:    cobra.NoArgs,
		RunE: a.Do(cli.Nothing(func(ctx context.Context) error {
			if err := cli.NewFile(out); err != nil {
				return err
			}
			var got agency.Invited
			if err := a.atAgency(ctx, "agency.taking", nil, &got); err != nil {
				return err
			}
			if err := durable.WriteFile(out, []byte(got.Card), 0o644); err != nil {
				return err
			}
			return a.Show(got, func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "%s may be used until %s: give it to the agency that passes a release on\n", out, ui.UTC(got.Expires))
				return err
			})
		})),
	}
	cmd.Flags().StringVar(&out, "out", "", "`file` to write; must not exist")
	cli.MustFlags(cmd, "out")
	return cmd
}
