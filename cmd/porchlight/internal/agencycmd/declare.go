package agencycmd

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/porchlight-mesh/porchlight/cmd/porchlight/internal/cli"
	"github.com/porchlight-mesh/porchlight/cmd/porchlight/internal/ui"
	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
	"github.com/porchlight-mesh/porchlight/consent/docket"
	"github.com/porchlight-mesh/porchlight/consent/grant"
	"github.com/porchlight-mesh/porchlight/node"
	"github.com/porchlight-mesh/porchlight/node/agency"
)

// entryFlags are what every drafted entry is made of, as typed.
type entryFlags struct{ officer, supervisor, order, orderHash, out string }

func (f *entryFlags) add(cmd *cobra.Command, order string) {
	cmd.Flags().StringVar(&f.officer, "officer", "", "public `key` or .pub file of the officer who signs")
	cmd.Flags().StringVar(&f.supervisor, "supervisor", "", "public `key` or .pub file of the supervisor who signs")
	cmd.Flags().StringVar(&f.order, "order", "", "`file` of the court's order"+order)
	cmd.Flags().StringVar(&f.orderHash, "order-hash", "", "SHA-256 of the order, in `hex`, instead of --order")
	cmd.Flags().StringVar(&f.out, "out", "", "`file` to write the draft to; must not exist")
	cli.MustFlags(cmd, "officer", "supervisor", "out")
	cmd.MarkFlagsMutuallyExclusive("order", "order-hash")
}

// read returns the keys of the signers and the hash of the order, "" where there is none.
func (f *entryFlags) read() (officer, supervisor consent.VerifierKey, hash string, err error) {
	if err = cli.NewFile(f.out); err != nil {
		return
	}
	if officer, err = cli.ReadPublic(f.officer); err != nil {
		return officer, supervisor, "", fmt.Errorf("--officer: %w", err)
	}
	if supervisor, err = cli.ReadPublic(f.supervisor); err != nil {
		return officer, supervisor, "", fmt.Errorf("--supervisor: %w", err)
	}
	hash = f.orderHash
	if f.order != "" {
		b, err := cli.ReadSmall(f.order, maxOrder)
		if err != nil {
			return officer, supervisor, "", err
		}
		hash = consent.HashText(b)
	}
	return officer, supervisor, hash, nil
}

// newHoldCommand holds what a court's order does to deletions.
func newHoldCommand(a *app) *cobra.Command {
	cmd := cli.Group(&cobra.Command{
		Use:   "hold",
		Short: "Declare that a court's order outranks the terms of releases",
		Long: fmt.Sprintf(`A legal hold stands in the way of a deletion, also of one that the owner asks for. It is declared in the
docket: court, docket number, hash of the order, and how many releases it covers, not which. It ends after
%d days unless it is renewed before; then what is past its deadline is destroyed. Every owner concerned is
told.

An officer and a supervisor sign it, as they sign a request; then the node publishes it.`, int(docket.HoldLives.Hours()/24)),
		Example: `  porchlight agency hold draft bafybeigdyrzt5sfp7ud --court "County Court" --number 26-CV-118 --order order.pdf \
    --officer ruiz.pub --supervisor kim.pub --out hold.note
  porchlight agency request sign hold.note --key ruiz.key
  porchlight agency request sign hold.note --key kim.key
  porchlight agency publish hold.note`,
	})
	cmd.AddCommand(newHoldDraftCommand(a), newHoldRenewCommand(a), newHoldListCommand(a))
	return cmd
}

func newHoldDraftCommand(a *app) *cobra.Command {
	var f entryFlags
	var court, number string
	cmd := &cobra.Command{
		Use:   "draft RELEASE… --court NAME --number NUMBER --order FILE --officer KEY --supervisor KEY --out FILE",
		Short: "Draft a hold over releases for the officer and the supervisor to sign",
		Long: `Drafts a hold over the releases named. Nobody but their owners, who are told in sealed messages, can tell
from the entry which they are.`,
		Example: `  porchlight agency hold draft bafybeigdyrzt5sfp7ud --court "County Court" --number 26-CV-118 --order order.pdf \
    --officer ruiz.pub --supervisor kim.pub --out hold.note`,
		Args: cobra.MinimumNArgs(1),
		RunE: a.Do(func(ctx context.Context, args []string) error {
			d := agency.DraftHold{Releases: args, Court: court, Number: number}
			var err error
			if d.Officer, d.Supervisor, d.DocumentSHA256, err = f.read(); err != nil {
				return err
			}
			if d.DocumentSHA256 == "" {
				return cli.Usage("give --order FILE, or --order-hash HEX", "a hold names the order that it rests on")
			}
			return a.draftEntry(ctx, "agency.hold", d, f.out)
		}),
	}
	cmd.Flags().StringVar(&court, "court", "", "`name` of the court")
	cmd.Flags().StringVar(&number, "number", "", "the court's docket `number`")
	f.add(cmd, "; its hash stands in the hold")
	cli.MustFlags(cmd, "court", "number")
	return cmd
}

func newHoldRenewCommand(a *app) *cobra.Command {
	var f entryFlags
	var without []string
	cmd := &cobra.Command{
		Use:   "renew HOLD --order FILE --officer KEY --supervisor KEY --out FILE",
		Short: "Draft the renewal of a hold, or its end",
		Long: `Drafts the renewal of a live hold with the court's new attestation. With --without it lets releases go; a
hold without any is over. It never covers a release that it did not cover before: that takes a new hold.`,
		Example: `  porchlight agency hold renew 5f0c9a1e --order attestation.pdf --officer ruiz.pub --supervisor kim.pub --out renewal.note
  porchlight agency hold renew 5f0c9a1e --without bafybeigdyrzt5sfp7ud --order closed.pdf --officer ruiz.pub --supervisor kim.pub --out end.note`,
		Args: cobra.ExactArgs(1),
		RunE: a.Do(func(ctx context.Context, args []string) error {
			d := agency.DraftHold{Renews: args[0], Releases: without}
			var err error
			if d.Officer, d.Supervisor, d.DocumentSHA256, err = f.read(); err != nil {
				return err
			}
			if d.DocumentSHA256 == "" {
				return cli.Usage("give --order FILE, or --order-hash HEX", "a renewal names the paper that it rests on")
			}
			return a.draftEntry(ctx, "agency.hold", d, f.out)
		}),
	}
	cmd.Flags().StringArrayVar(&without, "without", nil, "a `release` that the hold lets go; may be repeated")
	f.add(cmd, " or attestation; its hash stands in the hold")
	return cmd
}

func newHoldListCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List the live holds and when each has to be renewed",
		Long:    `Lists the holds that stand in the docket and are not over, the one that ends first before the others.`,
		Example: "  porchlight agency hold list",
		Args:    cobra.NoArgs,
		RunE: a.Do(cli.Nothing(func(ctx context.Context) error {
			var list []agency.HoldStatus
			if err := a.atAgency(ctx, "agency.holds", nil, &list); err != nil {
				return err
			}
			return a.Show(list, func(w io.Writer) error {
				return ui.List(w, list, "no hold stands in the way of any deletion", []string{"HOLD", "COURT", "NUMBER", "COVERS", "RELEASES", "ENDS UNLESS RENEWED"}, func(h agency.HoldStatus) []string {
					var here []string
					for _, r := range h.Releases {
						here = append(here, ui.ShortRelease(r))
					}
					return []string{ui.Short(h.ID), h.Court, h.Number, fmt.Sprint(h.Covers), strings.Join(here, " "), ui.When(h.Until, a.Now())}
				})
			})
		})),
	}
}

func newTransferCommand(a *app) *cobra.Command {
	var f entryFlags
	var to, ground string
	cmd := &cobra.Command{
		Use:   "transfer RELEASE… --to CLASS --ground GROUND --officer KEY --supervisor KEY --out FILE",
		Short: "Draft the docket entry that declares that releases were passed on",
		Long: fmt.Sprintf(`Drafts the entry that says to which class of recipient releases are passed on, and on what ground: owner
(the owner signed that they may be), order (a court's), disclosure (what the law gives the defence). It
says of how many, not of which. Publish it before anything is handed over.

Classes: %s,
%s.`, join(docket.Recipients()[:5]), join(docket.Recipients()[5:])),
		Example: `  porchlight agency transfer bafybeigdyrzt5sfp7ud --to prosecutor --ground owner --officer ruiz.pub --supervisor kim.pub --out transfer.note
  porchlight agency request sign transfer.note --key ruiz.key
  porchlight agency request sign transfer.note --key kim.key
  porchlight agency publish transfer.note`,
		Args: cobra.MinimumNArgs(1),
		RunE: a.Do(func(ctx context.Context, args []string) error {
			d := agency.DraftTransfer{Releases: args, To: charter.AgencyClass(to), Ground: docket.Ground(ground)}
			if !slices.Contains(docket.Recipients(), d.To) {
				return cli.Usage("the classes are: "+join(docket.Recipients()), "--to %q is no class", to)
			}
			if !slices.Contains(docket.Grounds(), d.Ground) {
				return cli.Usage("the grounds are: "+join(docket.Grounds()), "--ground %q is no ground", ground)
			}
			var err error
			if d.Officer, d.Supervisor, d.DocumentSHA256, err = f.read(); err != nil {
				return err
			}
			if (d.Ground == docket.GroundOrder) != (d.DocumentSHA256 != "") {
				return cli.Usage("--order goes with --ground order", "the ground is %q", ground)
			}
			return a.draftEntry(ctx, "agency.transfer", d, f.out)
		}),
	}
	cmd.Flags().StringVar(&to, "to", "", "`class` of who gets them")
	cmd.Flags().StringVar(&ground, "ground", "", "the `ground`: "+join(docket.Grounds()))
	f.add(cmd, ", where that is the ground")
	cli.MustFlags(cmd, "to", "ground")
	return cmd
}

func join[S ~string](list []S) string {
	var names []string
	for _, s := range list {
		names = append(names, string(s))
	}
	return strings.Join(names, ", ")
}

// draftEntry has the node draft an entry and writes it for its signers.
func (a *app) draftEntry(ctx context.Context, command string, args any, out string) error {
	var d agency.Drafted
	if err := a.atAgency(ctx, command, args, &d); err != nil {
		return err
	}
	return a.writeDraft(out, []byte(d.Text))
}

func newAskCommand(a *app) *cobra.Command {
	var q agency.Question
	var ask, until string
	cmd := &cobra.Command{
		Use:   "ask RELEASE --for WHAT --reason TEXT",
		Short: "Ask the owner of a release for something, without learning who they are",
		Long: fmt.Sprintf(`Seals a message to the owner of a release. It goes out in one of the docket's next daily entries, where
it looks like those that say nothing, to nobody. The owner answers or does not, and stays unknown; porchlight
agency said lists the answers.

What can be asked for: %s.
An extension names --until, passing on names --to.`, join(grant.Asks())),
		Example: `  porchlight agency ask bafybeigdyrzt5sfp7ud --for statement --reason "Did the van stand there before seven?"
  porchlight agency ask bafybeigdyrzt5sfp7ud --for extension --until 2027-06-01T00:00:00Z --reason "The trial was put off."
  porchlight agency ask bafybeigdyrzt5sfp7ud --for pass-on --to 3b5e0f6d5a1c4e2f9b7a8c6d5e4f3a2b --reason "The prosecutor needs it."`,
		Args: cobra.ExactArgs(1),
		RunE: a.Do(func(ctx context.Context, args []string) error {
			q.Release, q.Ask = args[0], grant.Ask(ask)
			if !slices.Contains(grant.Asks(), q.Ask) {
				return cli.Usage("what can be asked for: "+join(grant.Asks()), "--for %q is nothing that can be asked for", ask)
			}
			if (q.Ask == grant.AskExtension) != (until != "") {
				return cli.Usage("`--for extension --until 2027-06-01T00:00:00Z`", "--until says until when, with --for extension and with nothing else")
			}
			if (q.Ask == grant.AskPassOn) != (q.To != "") {
				return cli.Usage("`porchlight agencies` lists the agencies", "--to says to whom, with --for pass-on and with nothing else")
			}
			if until != "" {
				var err error
				if q.Until, err = cli.ParseTime("until", until); err != nil {
					return err
				}
			}
			var got agency.Asked
			if err := a.atAgency(ctx, "agency.ask", q, &got); err != nil {
				return err
			}
			return a.Show(got, func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "the message waits for a place in a daily entry: %d wait, and a day takes %d\n", got.Waiting, got.PerDay)
				return err
			})
		}),
	}
	cmd.Flags().StringVar(&ask, "for", "", "`what` is asked for: "+join(grant.Asks()))
	cmd.Flags().StringVar(&q.Reason, "reason", "", "why, in one line `text` that the owner reads")
	cmd.Flags().StringVar(&until, "until", "", "`time` until which the release is to be kept")
	cmd.Flags().StringVar(&q.To, "to", "", "`agency` that it is to be passed on to: its name or id")
	cli.MustFlags(cmd, "for", "reason")
	return cmd
}

func newAcceptCommand(a *app) *cobra.Command {
	var f actFlags
	cmd := &cobra.Command{
		Use:   "accept [GRANT --officer-key KEYFILE --reason TEXT]",
		Short: "Decide about clips that come with tighter terms than were asked for",
		Long: `Lists the grants that wait for an officer: config.toml says which terms, tighter than those that were
offered, the node does not accept by itself. With a grant it signs that the terms are accepted; its home,
which tries again until the request expires, then sends the clip. To refuse it, do nothing.

Of more than 200, those that waited longest are left out until their homes come back, within half an hour.`,
		Example: `  porchlight agency accept
  porchlight agency accept 5f0c9a1e44d2 --officer-key ruiz.key --reason "a look is enough"`,
		Args: cobra.MaximumNArgs(1),
		RunE: a.Do(func(ctx context.Context, args []string) error {
			return a.withAgency(ctx, func(n node.Caller) error {
				if len(args) > 0 {
					if f.key == "" || f.reason == "" {
						return cli.Usage("give --officer-key KEYFILE and --reason TEXT", "an officer signs that terms are accepted")
					}
					var w agency.Waiting
					if err := a.act(ctx, n, grant.ActAccept, args[0], "", f, &w); err != nil {
						return err
					}
					return a.Show(w, func(w io.Writer) error {
						_, err := fmt.Fprintln(w, "accepted; its home sends the clip when it tries again")
						return err
					})
				}
				var list []agency.Waiting
				if err := n.Call(ctx, "agency.waiting", nil, &list); err != nil {
					return err
				}
				return a.Show(list, func(w io.Writer) error {
					return ui.List(w, list, "no grant waits for an officer", []string{"GRANT", "REQUEST", "CLIPS", "WHY", "EXPIRES", "STATE"}, func(g agency.Waiting) []string {
						state := "waits"
						if g.Accepted {
							state = "accepted; its home is to come back"
						}
						return []string{ui.Short(g.Grant), ui.Short(g.Request), fmt.Sprint(g.Releases), g.Why, ui.When(g.Expires, a.Now()), state}
					})
				})
			})
		}),
	}
	cmd.Flags().StringVar(&f.key, "officer-key", "", "your key `file`, which the docket enrols")
	cmd.Flags().StringVar(&f.reason, "reason", "", "why, in a line; it is kept with your signature")
	return cmd
}
