// Package agencycmd is `porchlight agency`: what a police department or other public body does.
// What persons sign, they sign in files, on machines of their own; the node only publishes it.
package agencycmd

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/porchlight-mesh/porchlight/cmd/porchlight/internal/cli"
	"github.com/porchlight-mesh/porchlight/cmd/porchlight/internal/ui"
	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
	"github.com/porchlight-mesh/porchlight/consent/geo"
	"github.com/porchlight-mesh/porchlight/node"
	"github.com/porchlight-mesh/porchlight/node/agency"
)

// app is the shared App, with this package's own methods.
type app struct{ *cli.App }

// New is `porchlight agency`.
func New(shared *cli.App) *cobra.Command { return newAgencyCommand(&app{shared}) }

// newAgencyCommand holds what a police department or other public body does.
func newAgencyCommand(a *app) *cobra.Command {
	cmd := cli.Group(&cobra.Command{
		Use:   "agency",
		Short: "Ask for footage in public, receive it on signed terms",
		Long: `An agency's node keeps the agency's docket, publishes its requests and receives what owners chose to
send. A request exists only as an entry of the docket, which everybody can read and nobody can edit; it
needs the signatures of an officer and a supervisor, who sign on machines of their own.

A released clip is kept sealed. Its key is destroyed at the deadline the agency signed.`,
		Example: `  porchlight agency init --name "Elm PD" --class local-police --supervisor kim.pub --jurisdiction elm.geojson --policy-url https://elm.example/video
  porchlight agency run
  porchlight agency request draft --out request.note --case 26-1187 …
  porchlight agency vault`,
	})
	cmd.AddCommand(newAgencyInitCommand(a),
		cli.NewRunCommand(a.App, node.Agency, "It publishes what you hand it, receives what owners send, destroys release keys at their deadlines,\nand tells the docket once a day what became of releases."),
		cli.NewStatusOf(a.App, node.Agency), newOfficerCommand(a), newRequestGroup(a), newAgencyPublishCommand(a, "publish FILE", "porchlight agency publish enrol.note"),
		newDocketCommand(a), newOwedCommand(a), newReceivedCommand(a), newSaidCommand(a), newVaultCommand(a), newViewCommand(a), newUseCommand(a), newExportCommand(a),
		newAcceptCommand(a), newHoldCommand(a), newTransferCommand(a), newPassOnCommand(a), newTakingCommand(a), newTakeOverCommand(a), newAskCommand(a), newReplyCommand(a))
	return cmd
}

func newAgencyInitCommand(a *app) *cobra.Command {
	var name, class, jurisdiction, policy string
	var supervisors, listen, reply []string
	cmd := &cobra.Command{
		Use:   "init --name NAME --class CLASS --supervisor KEY --jurisdiction FILE --policy-url URL",
		Short: "Make an agency's folder, docket key and card",
		Long: `Makes the folder of an agency's node with its docket key, and agency.card: what a signer of the mesh's
charter looks at and admits. Read the card's fingerprint to the signer in person.

The first supervisors enrol everybody else. Losing the docket key ends the docket: ` + "`porchlight backup`" + `
keeps it, and leaves out the release keys, which belong in no backup.

Classes:
` + classList() + `.`,
		Example: `  porchlight agency init --name "Elm PD" --class local-police --supervisor kim.pub \
    --jurisdiction elm.geojson --policy-url https://elm.example/video \
    --listen /ip4/0.0.0.0/tcp/4001 --reply /ip4/203.0.113.5/tcp/4001`,
		Args: cobra.NoArgs,
		RunE: a.Do(cli.Nothing(func(context.Context) error {
			dir, err := a.Folder(string(node.Agency))
			if err != nil {
				return err
			}
			args := agency.InitArgs{Name: name, Class: charter.AgencyClass(class), PolicyURL: policy}
			for _, s := range supervisors {
				k, err := cli.ReadPublic(s)
				if err != nil {
					return err
				}
				args.Supervisors = append(args.Supervisors, k)
			}
			if args.Jurisdiction, err = readArea(jurisdiction); err != nil {
				return err
			}
			return a.agencyInit(dir, args, listen, reply)
		})),
	}
	f := cmd.Flags()
	f.StringVar(&name, "name", "", "`name` of the agency")
	f.StringVar(&class, "class", "", "`class` of the agency")
	f.StringArrayVar(&supervisors, "supervisor", nil, "public `key` of a first supervisor, or its .pub file; may be repeated")
	f.StringVar(&jurisdiction, "jurisdiction", "", "GeoJSON `file` with the polygon in which the agency may ask")
	f.StringVar(&policy, "policy-url", "", "`URL` of the agency's published policy on video")
	f.StringArrayVar(&reply, "reply", nil, "public `address` that requests name for answers (default: where the node listens); may be repeated")
	cli.ListenFlag(cmd, &listen)
	cli.MustFlags(cmd, "name", "class", "supervisor", "jurisdiction", "policy-url")
	return cmd
}

func classList() string {
	var names []string
	for _, c := range charter.Classes() {
		names = append(names, string(c))
	}
	return strings.Join(names, ", ")
}

// agencyMade is the answer of agency init.
type agencyMade struct {
	Dir         string           `json:"dir"`
	Card        string           `json:"card"`
	ID          consent.AgencyID `json:"id"`
	Fingerprint string           `json:"fingerprint"`
}

func (a *app) agencyInit(dir string, args agency.InitArgs, listen, reply []string) error {
	if err := cli.CheckAddrs("listen", listen); err != nil {
		return err
	}
	if err := cli.CheckAddrs("reply", reply); err != nil {
		return err
	}
	card, err := agency.Init(dir, args)
	if err != nil {
		return err
	}
	if err := cli.SetList(dir, node.Agency, "listen", listen); err != nil {
		return err
	}
	if err := cli.SetList(dir, node.Agency, "reply", reply); err != nil {
		return err
	}
	m := agencyMade{dir, filepath.Join(dir, "agency.card"), charter.Agency(card).ID(), string(card.Fingerprint())}
	return a.Show(m, func(w io.Writer) error {
		if err := ui.Facts(w, "folder", m.Dir, "card", m.Card, "agency id", string(m.ID), "fingerprint", m.Fingerprint); err != nil {
			return err
		}
		ui.Sentence(w, fmt.Sprintf("next: give the card to a signer of the charter and read the fingerprint to them in person; then `porchlight join LINK --dir %s`", dir))
		return nil
	})
}

// maxGeoJSON bounds a file with a polygon, in bytes. A hundred corners take a few thousand.
const maxGeoJSON = 1 << 20

func readArea(path string) (geo.Polygon, error) {
	b, err := cli.ReadSmall(path, maxGeoJSON)
	if err != nil {
		return nil, err
	}
	p, err := geo.ParseGeoJSON(b)
	if err != nil {
		return nil, node.WithHint(fmt.Errorf("%s: %w", path, err), "it holds one GeoJSON polygon without holes, as geojson.io draws it")
	}
	return p, nil
}

// atAgency runs a command in the agency's node, or on its folder.
func (a *app) atAgency(ctx context.Context, command string, args, result any) error {
	dir, err := a.Folder(string(node.Agency))
	if err != nil {
		return err
	}
	return a.CallEither(ctx, dir, command, args, result)
}

func newDocketCommand(a *app) *cobra.Command {
	var note int64
	cmd := &cobra.Command{
		Use:   "docket",
		Short: "List the entries of this agency's docket",
		Long: `Lists this agency's public, append-only record. What a daily entry says is said of clips and of as many dummies
as it takes to look alike every day. With --entry it prints one entry's signed document. An entry that too few of the charter's witnesses have cosigned waits: nobody is shown it, and the running node
goes on asking them.`,
		Example: "  porchlight agency docket\n  porchlight agency docket --entry 2 > entry.note",
		Args:    cobra.NoArgs,
		RunE: a.Do(cli.Nothing(func(ctx context.Context) error {
			var list []agency.DocketEntry
			if err := a.atAgency(ctx, "agency.docket", nil, &list); err != nil {
				return err
			}
			if note >= 0 {
				if note >= int64(len(list)) {
					return fmt.Errorf("the docket has %d entries; there is no entry %d", len(list), note)
				}
				return a.Show(list[note], func(w io.Writer) error {
					_, err := io.WriteString(w, list[note].Note)
					return err
				})
			}
			return a.Show(list, func(w io.Writer) error {
				if len(list) == 0 {
					fmt.Fprintln(w, "the docket is empty")
					return nil
				}
				var rows [][]string
				for _, e := range list {
					what := entryText(e)
					if e.Waits {
						what += " (waits for witnesses: nobody is shown it yet)"
					}
					rows = append(rows, []string{fmt.Sprint(e.Index), e.Kind, what})
				}
				if err := ui.Table(w, []string{"ENTRY", "KIND", "WHAT"}, rows); err != nil {
					return err
				}
				var owed []node.Debt
				if err := a.atAgency(ctx, "agency.owed", nil, &owed); err != nil {
					return err
				}
				if len(owed) > 0 {
					fmt.Fprintln(w)
					ui.Sentence(w, "owed: "+cli.OwedText(owed, a.Now()))
				}
				return nil
			})
		})),
	}
	cmd.Flags().Int64Var(&note, "entry", -1, "print the signed document of this entry")
	cmd.AddCommand(newResumeCommand(a))
	return cmd
}

func newResumeCommand(a *app) *cobra.Command {
	var args agency.Resume
	var yes bool
	cmd := &cobra.Command{
		Use:   "resume",
		Short: "Show whether a restored docket may sign again",
		Long: `A docket that was restored from a backup may be behind what this agency signed since, and to sign at an
old size again is a fork: proof of misconduct that every peer keeps. So it signs nothing until every steward
in config.toml has told what it holds of the docket and all of that is here, or until most have and a day
has passed. The running node asks them by itself; this shows how far it is. A steward that keeps having more
than is here holds entries that do not fit: then there may be two versions already.

With --alone it signs again at once. Do that only where no steward is left who could have seen a later
entry, or where you know that the backup was made after the last one.`,
		Example: `  porchlight agency docket resume
  porchlight agency docket resume --alone`,
		Args: cobra.NoArgs,
		RunE: a.Do(cli.Nothing(func(ctx context.Context) error {
			if args.Alone {
				if err := a.Confirm(yes, "If this agency signed anything after the backup, signing now proves misconduct, for good. Sign all the same?"); err != nil {
					return err
				}
			}
			var s agency.Resumed
			if err := a.atAgency(ctx, "agency.docket.resume", args, &s); err != nil {
				return err
			}
			return a.Show(s, func(w io.Writer) error { return writeResumed(w, s) })
		})),
	}
	cmd.Flags().BoolVar(&args.Alone, "alone", false, "sign again without the stewards' answers")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask: you know that nothing was signed after the backup")
	return cmd
}

func writeResumed(w io.Writer, s agency.Resumed) error {
	state := "yes"
	switch {
	case s.Forked:
		state = "no: FORKED. This docket contradicts another version of it that the agency signed"
	case s.Restored != nil && len(s.Stewards) == 0:
		state = "not yet: it is from a backup, and config.toml names no steward to ask; add one, or see --alone"
	case s.Restored != nil:
		state = fmt.Sprintf("not yet: it is from the backup of %s; %d of %d stewards have answered", s.Restored.Backup.Format(time.RFC3339), len(s.Answered), len(s.Stewards))
	}
	if err := ui.Facts(w, "entries", fmt.Sprint(s.Entries), "signs", state, "answered", strings.Join(s.Answered, " "),
		"have more", strings.Join(s.Ahead, " ")); err != nil {
		return err
	}
	for _, id := range s.Deaf {
		fmt.Fprintf(w, "no answer can come to request %s: its key was on the old disk; resolve it and ask again\n", ui.Short(id))
	}
	return nil
}

func newReceivedCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "received",
		Short: "List what was addressed to this agency",
		Long: `Lists the grants that owners sent, and what this node refused with the reason. It names no home.

A refusal for want of room begins with its name: disk-full, vault-full (vault_mb in config.toml),
release-too-large (max_release_mb), or docket-full: the charter lets the docket take in so many promises a
day, and more than fit the next days would come too late. The homes try again until the request expires, so
that what is mended by then, or has its place, is not lost.`,
		Example: "  porchlight agency received",
		Args:    cobra.NoArgs,
		RunE: a.Do(cli.Nothing(func(ctx context.Context) error {
			var list []agency.Received
			if err := a.atAgency(ctx, "agency.received", nil, &list); err != nil {
				return err
			}
			return a.Show(list, func(w io.Writer) error {
				return ui.List(w, list, "nothing was addressed to this agency so far; nobody has to answer", []string{"TIME", "WHAT", "GRANT", "REQUEST", "RELEASES", "REASON"},
					func(r agency.Received) []string {
						return []string{ui.When(r.At, a.Now()), r.What, ui.Short(r.Grant), ui.Short(r.Request), fmt.Sprint(r.Releases), reasonText(r)}
					})
			})
		})),
	}
}

func reasonText(r agency.Received) string {
	if r.Name == "" {
		return r.Reason
	}
	return r.Name + ": " + r.Reason
}

func newSaidCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "said",
		Short: "List what owners said about their releases since they came",
		Long: `Lists what owners said about what they gave, whether they were asked for it (porchlight agency ask) or not:

  statement   in their own words, for the case
  extension   it may be kept for longer
  onward      it may be passed on to another agency
  withdrawal  they take it back: it is destroyed, unless a court's hold stands in the way

Each is signed with the key that its grant was signed with. Who it is, nobody here knows.`,
		Example: "  porchlight agency said",
		Args:    cobra.NoArgs,
		RunE: a.Do(cli.Nothing(func(ctx context.Context) error {
			var list []agency.Said
			if err := a.atAgency(ctx, "agency.said", nil, &list); err != nil {
				return err
			}
			return a.Show(list, func(w io.Writer) error {
				return ui.List(w, list, "no owner said anything about a release so far", []string{"TIME", "RELEASE", "WHAT", "TEXT"}, func(s agency.Said) []string {
					return []string{ui.When(s.At, a.Now()), ui.ShortRelease(s.Release), s.What, s.Text}
				})
			})
		})),
	}
}

func newVaultCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "vault",
		Short: "List the releases this agency holds",
		Long: `Lists every release and where it is in its life: arriving, sealed (complete, its key not here yet), open
(its key is here), lost (it was on a disk that is gone: sealed releases and their keys are in no backup, by
design), deleted. The key is destroyed at the time shown; what is left then cannot be read. What no officer
marked as used is destroyed earlier, as the terms say.

One that is arriving waits for its home until the request expires. It stands still for want of room with
disk-full (make room on the disk), vault-full (raise vault_mb in config.toml, and restart the node) or
docket-full (the docket has no place for its promise in the next days; there is more every day). The home
tries again by itself, and what arrived is not sent twice. Where the vault needs room, what waited longest
and over two days gives way, and comes anew.

Where this machine's clock went forward at once, or the node was off for over two hours, nothing is destroyed
by it before the charter's witnesses have confirmed the time, or the clock has moved on for 24 hours; what is
past its deadline is shown to nobody meanwhile. The list says so.`,
		Example: "  porchlight agency vault",
		Args:    cobra.NoArgs,
		RunE: a.Do(cli.Nothing(func(ctx context.Context) error {
			var list []agency.Held
			if err := a.atAgency(ctx, "agency.vault", nil, &list); err != nil {
				return err
			}
			return a.Show(list, func(w io.Writer) error {
				if len(list) == 0 {
					fmt.Fprintln(w, "the vault is empty")
					return nil
				}
				var rows [][]string
				for _, h := range list {
					state := h.State
					if h.State == "arriving" {
						state = fmt.Sprintf("arriving, %s so far", ui.MB(h.Arrived))
						if h.Reason != "" {
							state += "; stands still: " + h.Reason
						}
					}
					switch {
					case h.PassedOn:
						state += ", passed on"
					case h.Exported:
						state += ", exported"
					case h.Used:
						state += ", used"
					}
					until := ui.When(h.KeyUntil, a.Now())
					if h.Hold != "" {
						until += "; not while the hold of " + h.Hold + " stands"
					}
					rows = append(rows, []string{ui.ShortRelease(h.Release), ui.Short(h.Request), state, ui.Span(h.From, h.Until), h.Camera,
						ui.MB(h.SealedBytes), h.Redaction, until})
				}
				if err := ui.Table(w, []string{"RELEASE", "REQUEST", "STATE", "CLIP", "CAMERA", "SIZE", "REMOVED", "KEY DESTROYED"}, rows); err != nil {
					return err
				}
				var clock agency.ClockStatus
				if err := a.atAgency(ctx, "agency.clock", nil, &clock); err != nil || clock.Problem == "" {
					return err
				}
				_, err := fmt.Fprintf(w, "\n%s\nhint: %s\n", clock.Problem, clock.Hint)
				return err
			})
		})),
	}
}

func newReplyCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "reply",
		Short: "Test the addresses that requests name for answers",
		Long: `Dials this node's own reply addresses as a stranger would. An address that only works from inside your
network still passes from here; test from outside as well.`,
		Example: "  porchlight agency reply",
		Args:    cobra.NoArgs,
		RunE: a.Do(cli.Nothing(func(ctx context.Context) error {
			dir, err := a.Folder(string(node.Agency))
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(ctx, time.Minute)
			defer cancel()
			var s agency.ReplyStatus
			if err := a.Call(ctx, dir, "agency.reply", nil, &s); err != nil {
				return err
			}
			if err := a.Show(s, func(w io.Writer) error {
				return ui.Facts(w, "named in requests", strings.Join(s.Addrs, " "), "reached", strings.Join(s.Reached, " "))
			}); err != nil {
				return err
			}
			if s.Problem != "" {
				return node.WithHint(fmt.Errorf("%s", s.Problem), s.Hint)
			}
			return nil
		})),
	}
}
