package agencycmd

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"strings"

	"github.com/spf13/cobra"

	"github.com/porchlight-mesh/porchlight/cmd/porchlight/internal/cli"
	"github.com/porchlight-mesh/porchlight/cmd/porchlight/internal/ui"
	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/grant"
	"github.com/porchlight-mesh/porchlight/node"
	"github.com/porchlight-mesh/porchlight/node/agency"
)

// actFlags say who opens a release and why.
type actFlags struct{ key, reason string }

func (f *actFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.key, "officer-key", "", "your key `file`, which the docket enrols")
	cmd.Flags().StringVar(&f.reason, "reason", "", "why, in a line; it is kept with your signature")
	cli.MustFlags(cmd, "officer-key", "reason")
}

// act signs what an officer does with a release, and has the node do it.
func (a *app) act(ctx context.Context, n node.Caller, kind grant.ActKind, release, out string, f actFlags, result any) error {
	note, err := a.signAct(ctx, n, kind, release, f)
	if err != nil {
		return err
	}
	return n.Call(ctx, "agency."+string(kind), agency.Act{Note: note, Out: out}, result)
}

// signAct signs what an officer does with a release.
func (a *app) signAct(ctx context.Context, n node.Caller, kind grant.ActKind, release string, f actFlags) (string, error) {
	var found agency.Found
	find := "agency.find"
	if kind == grant.ActAccept {
		find = "agency.waiting.find"
	}
	if err := n.Call(ctx, find, agency.FindArgs{Release: release}, &found); err != nil {
		return "", err
	}
	key, err := a.ReadKey(f.key)
	if err != nil {
		return "", err
	}
	note, err := found.Sign(kind, f.reason, a.Now(), key)
	if err != nil {
		if consent.ClassOf(err) == consent.BadText {
			err = cli.Usage("say in a line of 3 to 200 bytes what for, as in --reason \"identify the vehicle\"", "--reason: %v", err)
		}
		return "", err
	}
	return string(note), nil
}

// withAgency has work call the agency's node, or its folder.
func (a *app) withAgency(ctx context.Context, work func(node.Caller) error) error {
	dir, err := a.Folder(string(node.Agency))
	if err == nil {
		err = cli.HoldsRole(dir, node.Agency)
	}
	if err != nil {
		return err
	}
	return a.WithNode(ctx, dir, work)
}

func newViewCommand(a *app) *cobra.Command {
	var f actFlags
	var player string
	cmd := &cobra.Command{
		Use:   "view RELEASE --officer-key KEYFILE --reason TEXT",
		Short: "Look at a release's clip, without taking it out of the vault",
		Long: `Opens a release whose key is here, checks that the clip is byte for byte the one its owner signed, and
shows where to look at it: an address of this machine alone, until you end the command. With --player it
starts a program with that address and ends with it.

You sign who looks and why. The node checks that the docket enrols your key, and keeps that beside the
release and in the custody log. Looking does not make a clip part of the case: see porchlight agency use.

Nothing keeps a person from filming the screen.`,
		Example: `  porchlight agency view bafybeigdyrzt5sfp7ud --officer-key ruiz.key --reason "identify the vehicle, case 26-1187"
  porchlight agency view bafybeigdyrzt5sfp7ud --officer-key ruiz.key --reason "identify the vehicle" --player mpv`,
		Args: cobra.ExactArgs(1),
		RunE: a.Do(func(ctx context.Context, args []string) error {
			return a.withAgency(ctx, func(n node.Caller) error {
				var v agency.View
				if err := a.act(ctx, n, grant.ActView, args[0], "", f, &v); err != nil {
					return err
				}
				if err := a.Show(v, func(w io.Writer) error {
					return ui.Facts(w, append([]string{"look at", v.URL, "until", ui.When(v.Ends, a.Now()) + ", or you end this command"}, clipFacts(v.Clip)...)...)
				}); err != nil {
					return err
				}
				looking, end := context.WithCancel(ctx)
				defer end()
				played := make(chan error, 1)
				if words := strings.Fields(player); len(words) > 0 {
					go func() { // ends with the player, which ends with looking
						played <- exec.CommandContext(looking, words[0], append(words[1:], v.URL)...).Run()
						end()
					}()
				}
				err := n.Call(looking, "agency.view.hold", agency.Hold{ID: v.ID}, nil)
				if looking.Err() == nil {
					return err
				}
				select {
				case err = <-played:
					if err != nil && ctx.Err() == nil {
						return fmt.Errorf("%s: %w", player, err)
					}
				default:
				}
				return nil
			})
		}),
	}
	f.add(cmd)
	cmd.Flags().StringVar(&player, "player", "", "`program` to start with the address")
	return cmd
}

func clipFacts(o agency.Opened) []string {
	return []string{"span", ui.Span(o.From, o.Until), "size", ui.MB(o.Bytes), "SHA-256", o.PlainSHA256 + ", the one that the owner signed",
		"lead-in", cli.LeadIn(o.LeadIn), "gaps", cli.Gaps(o.Gaps), "overlaps", cli.Overlaps(o.Overlaps)}
}

func newUseCommand(a *app) *cobra.Command {
	var f actFlags
	cmd := &cobra.Command{
		Use:   "use RELEASE --officer-key KEYFILE --reason TEXT",
		Short: "Make a release part of its case, so that it is kept for as long as the terms say",
		Long: `What no officer marked as used is destroyed early, as the terms of its grant say. Once marked it is kept
until the later time of the terms, and no longer. The node signs a receipt that it is used; the docket
says so too, on a fixed day and of nobody in particular.`,
		Example: `  porchlight agency use bafybeigdyrzt5sfp7ud --officer-key ruiz.key --reason "it shows the vehicle, case 26-1187"`,
		Args:    cobra.ExactArgs(1),
		RunE: a.Do(func(ctx context.Context, args []string) error {
			return a.withAgency(ctx, func(n node.Caller) error {
				var u agency.Used
				if err := a.act(ctx, n, grant.ActUse, args[0], "", f, &u); err != nil {
					return err
				}
				return a.Show(u, func(w io.Writer) error {
					return ui.Facts(w, "release", u.Release, "state", "used", "key destroyed", ui.When(u.KeyUntil, a.Now()))
				})
			})
		}),
	}
	f.add(cmd)
	return cmd
}

func newExportCommand(a *app) *cobra.Command {
	var f actFlags
	var out string
	cmd := &cobra.Command{
		Use:   "export RELEASE --out FILE.mp4 --officer-key KEYFILE --reason TEXT",
		Short: "Write a release's clip to a file, out of the vault",
		Long: `Opens a release whose key is here, checks that the clip is byte for byte the one its owner signed, and
writes it to a new file. That makes it part of the case, and the docket says that it was exported, on a
fixed day and of nobody in particular. You sign who exports it and why.

The file is outside the vault's reach: its deadline binds whoever holds it, and no program enforces it
there. To look at a clip, porchlight agency view is enough.`,
		Example: `  porchlight agency export bafybeigdyrzt5sfp7ud --out clip.mp4 --officer-key ruiz.key --reason "for the prosecutor, case 26-1187"`,
		Args:    cobra.ExactArgs(1),
		RunE: a.Do(func(ctx context.Context, args []string) error {
			path, err := cli.Absolute(out)
			if err == nil {
				err = cli.NewFile(path)
			}
			if err != nil {
				return err
			}
			return a.withAgency(ctx, func(n node.Caller) error {
				var o agency.Opened
				if err := a.act(ctx, n, grant.ActExport, args[0], path, f, &o); err != nil {
					return err
				}
				return a.Show(o, func(w io.Writer) error {
					return ui.Facts(w, append([]string{"clip", o.Out}, clipFacts(o)...)...)
				})
			})
		}),
	}
	f.add(cmd)
	cmd.Flags().StringVar(&out, "out", "", "`file` to write")
	cli.MustFlags(cmd, "out")
	return cmd
}
