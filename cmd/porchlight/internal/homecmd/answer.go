package homecmd

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/porchlight-mesh/porchlight/cmd/porchlight/internal/cli"
	"github.com/porchlight-mesh/porchlight/cmd/porchlight/internal/ui"
	"github.com/porchlight-mesh/porchlight/node/home"
)

// span is the --from and --until of what leaves.
type span struct{ from, until string }

func (s *span) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&s.from, "from", "", "beginning of the clip, `UTC` (default: of the request's window)")
	cmd.Flags().StringVar(&s.until, "until", "", "end of the clip, `UTC` (default: of the request's window)")
}

func (s *span) parse() (from, until time.Time, err error) {
	if from, err = cli.ParseTime("from", s.from); err != nil {
		return
	}
	if until, err = cli.ParseTime("until", s.until); err != nil {
		return
	}
	if !from.IsZero() && !until.IsZero() && !from.Before(until) {
		err = cli.Usage("", "--from %s is not before --until %s", ui.UTC(from), ui.UTC(until))
	}
	return
}

func newPreviewCommand(a *app) *cobra.Command {
	var p home.Preview
	var s span
	cmd := &cobra.Command{
		Use:   "preview ID --camera NAME --out FILE.mp4",
		Short: "Write exactly the clip that approving would send",
		Long: `Cuts the clip that porchlight home approve would send, with the same span, and writes it to a file for
you to look at. Nothing is sent. A clip begins at a keyframe, so it may start a little before the span.`,
		Example: `  porchlight home preview 3f9a0c17b2e4 --camera front-door --out look.mp4
  porchlight home preview 3f9a0c17b2e4 --camera front-door --from '2026-11-22 19:04' --until '2026-11-22 19:10' --out look.mp4`,
		Args: cobra.ExactArgs(1),
		RunE: a.Do(func(ctx context.Context, args []string) (err error) {
			p.Request = args[0]
			if p.From, p.Until, err = s.parse(); err != nil {
				return err
			}
			if p.Out, err = cli.Absolute(p.Out); err != nil {
				return err
			}
			if err := cli.NewFile(p.Out); err != nil {
				return err
			}
			var done home.Previewed
			if err := a.atHome(ctx, "home.preview", p, &done); err != nil {
				return err
			}
			return a.Show(done, func(w io.Writer) error {
				return ui.Facts(w, "clip", done.Out, "span", ui.Span(done.From, done.Until), "size", ui.MB(done.Bytes),
					"lead-in", cli.LeadIn(done.LeadIn), "gaps", cli.Gaps(done.Gaps), "overlaps", cli.Overlaps(done.Overlaps), "removed", "audio", "not removed", "faces, plates and everything else in the picture")
			})
		}),
	}
	cmd.Flags().StringVar(&p.Camera, "camera", "", "`name` of the camera")
	cmd.Flags().StringVar(&p.Out, "out", "", "`file` to write")
	s.flags(cmd)
	cli.MustFlags(cmd, "camera", "out")
	return cmd
}

func newApproveCommand(a *app) *cobra.Command {
	var ap home.Approve
	var s span
	var yes bool
	var as string
	cmd := &cobra.Command{
		Use:   "approve ID --camera NAME",
		Short: "Send footage for a request: the one command that lets something leave",
		Long: `Approves the footage of one or more cameras, over one span, for one request. It shows first what will
leave, to whom and on what terms, and asks. You can give a shorter span and tighter terms than was asked,
never wider ones: fewer days, for nobody else, to be looked at only. Agencies of the classes that are off
in your home never get it from anybody.

In this version faces and everything else in the picture are NOT hidden (only audio is removed), and you
confirm that. The flag --faces-visible says the same for scripts, which need it together with --yes.

An answer goes over two of the stewards that config.toml names: the first knows your home and not the
agency, the second the agency and not your home, and neither can look inside. With --address-shown it goes
straight to the agency, which is faster, and sees this home's internet address.

An answer leaves after a random delay. Until then porchlight home withdraw stops it. What has arrived
cannot be called back.`,
		Example: `  porchlight home approve 3f9a0c17b2e4 --camera front-door
  porchlight home approve 3f9a0c17b2e4 --camera front-door --from '2026-11-22 19:04' --until '2026-11-22 19:10' --retention-days 30 --no-sharing
  porchlight home approve 3f9a0c17b2e4 --camera front-door --faces-visible --yes`,
		Args: cobra.ExactArgs(1),
		RunE: a.Do(func(ctx context.Context, args []string) (err error) {
			ap.Request = args[0]
			if ap.From, ap.Until, err = s.parse(); err != nil {
				return err
			}
			return a.approve(ctx, ap, yes, as)
		}),
	}
	f := cmd.Flags()
	f.StringArrayVar(&ap.Cameras, "camera", nil, "`name` of a camera; may be repeated")
	s.flags(cmd)
	f.BoolVar(&ap.FacesVisible, "faces-visible", false, "I know that faces are not hidden")
	f.BoolVar(&ap.AddressShown, "address-shown", false, "send it straight: I know that the requester will see this home's internet address")
	f.IntVar(&ap.RetentionDays, "retention-days", 0, "`days` the requester may keep it (default: as the request says)")
	f.IntVar(&ap.UnusedDays, "unused-days", 0, "`days` it may keep it if nobody signs that it is used (default: as the request says)")
	f.BoolVar(&ap.NoSharing, "no-sharing", false, "nobody else may have it")
	f.BoolVar(&ap.ViewOnly, "view-only", false, "it is looked at in the agency's vault and never leaves it; nobody else may have it")
	f.StringVar(&ap.Identity, "identity", "anonymous", "how you appear: anonymous, pseudonym or named")
	f.StringVar(&ap.Name, "name", "", "your `name`, with --identity named")
	f.BoolVar(&yes, "yes", false, "do not ask")
	asFlag(cmd, &as)
	cli.MustFlags(cmd, "camera")
	return cmd
}

// approve has the node check what can be refused, shows what would leave, asks, and then tells the node. The decision
// itself is the node's to store and to check again.
func (a *app) approve(ctx context.Context, ap home.Approve, yes bool, as string) error {
	if yes && !ap.FacesVisible {
		return cli.Usage("give --faces-visible too, or leave --yes out and be asked", "--yes alone does not say what you know")
	}
	var c home.Card
	if err := a.atHome(ctx, "home.show", home.RequestArg{Request: ap.Request}, &c); err != nil {
		return err
	}
	ap.Request, ap.FacesVisible = string(c.Request), true
	check := ap
	check.Check = true
	if err := a.atHome(ctx, "home.approve", check, nil); err != nil {
		return err
	}
	if err := a.mayOrder(ctx, as); err != nil {
		return err
	}
	a.writeConsequences(c, ap)
	if err := a.Confirm(yes, "Send this?"); err != nil {
		return err
	}
	var err error
	if ap.Order, err = a.order(as, "approve", c.Request, ap.Digest()); err != nil {
		return err
	}
	var s home.AnswerStatus
	if err := a.atHome(ctx, "home.approve", ap, &s); err != nil {
		return err
	}
	return a.Show(s, func(w io.Writer) error {
		if s.Missing > 0 {
			return writeMissing(w, s.By, s.Missing)
		}
		if err := a.writeAnswers(w, []home.AnswerStatus{s}); err != nil {
			return err
		}
		_, err := fmt.Fprintf(w, "\n`porchlight home show %s` follows it; `porchlight home withdraw %s` stops what has not left\n", ui.Short(c.Request), ui.Short(c.Request))
		return err
	})
}

func (a *app) writeConsequences(c home.Card, ap home.Approve) {
	a.Say("This will leave your home:\n")
	var rows [][]string
	for _, name := range ap.Cameras {
		from, until := ap.From, ap.Until
		if i := slices.IndexFunc(c.Cameras, func(m home.Matched) bool { return string(m.Camera) == name }); i >= 0 {
			if from.IsZero() {
				from = c.Cameras[i].From
			}
			if until.IsZero() {
				until = c.Cameras[i].Until
			}
		}
		rows = append(rows, []string{"  " + name, ui.Span(from, until)})
	}
	retention := c.Retention
	if ap.RetentionDays > 0 {
		retention = min(retention, ap.RetentionDays)
	}
	unused := min(c.Unused, retention)
	if ap.UnusedDays > 0 {
		unused = min(unused, ap.UnusedDays)
	}
	use := ""
	if ap.ViewOnly {
		use = "looked at in their vault only"
	}
	if ap.NoSharing || ap.ViewOnly {
		c.Recipients, c.Resharing = nil, false
	}
	identity := "anonymous"
	switch {
	case ap.Identity == "named":
		identity = "as " + ap.Name
	case ap.Identity != "":
		identity = ap.Identity
	}
	way := "over two stewards, neither of whom sees both ends; the agency does not see this home's internet address"
	if ap.AddressShown {
		way = "straight: they will see this home's internet (IP) address while they receive it"
	}
	// Standard error takes it, as it takes the question that follows; nothing is lost if it fails.
	_ = ui.Table(a.Err, []string{"  CAMERA", "SPAN"}, rows)
	a.Say("")
	_ = ui.Facts(a.Err, "  to", fmt.Sprintf("%s (%s), case %s", c.Agency, c.Class, c.Case),
		"  HELD AGAINST THEM", c.Promises.Words(),
		"  kept", cli.TermsText(retention, unused, c.Recipients, c.Resharing), "  use", use, "  you appear", identity,
		"  removed", "audio",
		"  NOT hidden", "faces, plates, house numbers and everything else in the picture",
		"  goes", way,
		"  cannot be undone", "once it has arrived it cannot be called back")
	a.Say("")
}

func newWithdrawCommand(a *app) *cobra.Command {
	var as string
	cmd := &cobra.Command{
		Use:   "withdraw ID|RELEASE",
		Short: "Take an approved answer back, or one clip that left",
		Long: `Withdraws the answers to a request, or one clip of them by its release. What waits is not sent; what is being
sent stops, and without its key the requester cannot open it. Of what arrived with its key the agency is
told, on the way that it came, that you take it back, and so is everybody whom you let it be passed on to:
each has to delete it, or to declare in public which court's order stands in the way, and answers either
way; porchlight home given shows the answer. What somebody copied out of its vault before cannot be called
back.`,
		Example: "  porchlight home withdraw 3f9a0c17b2e4\n  porchlight home withdraw bafybeigdyrzt5sfp7ud",
		Args:    cobra.ExactArgs(1),
		RunE: a.Do(func(ctx context.Context, args []string) error {
			if strings.Trim(args[0], "0123456789abcdef") != "" { // no request's id
				return a.say(ctx, home.Say{Release: args[0], What: "withdraw"}, as)
			}
			arg, err := a.refusal(ctx, args[0], "withdraw", as)
			if err != nil {
				return err
			}
			var list []home.AnswerStatus
			if err := a.atHome(ctx, "home.withdraw", arg, &list); err != nil {
				return err
			}
			return a.Show(list, func(w io.Writer) error {
				for _, s := range list {
					if s.Stopped {
						fmt.Fprintf(w, "answer %s is withdrawn: nothing more of it is sent\n", ui.Short(s.ID))
					}
					for _, told := range s.Told {
						if err := writeSaying(w, told); err != nil {
							return err
						}
					}
					if !s.Stopped && len(s.Told) == 0 {
						fmt.Fprintf(w, "answer %s was withdrawn before, and is on record as that now\n", ui.Short(s.ID))
					}
				}
				return nil
			})
		}),
	}
	asFlag(cmd, &as)
	return cmd
}

func newRetryCommand(a *app) *cobra.Command {
	args := home.Retry{}
	cmd := &cobra.Command{
		Use:   "retry ID",
		Short: "Let an answer go on that was cut on every path it may take",
		Long: `An answer takes three paths over stewards at most. When the last one is cut too it waits for you: whoever
cuts them may want to see over whom it goes next. This lets it take stewards anew; with --address-shown it
goes straight to the agency instead, which then sees this home's internet address.`,
		Example: `  porchlight home retry 3f9a0c17b2e4
  porchlight home retry 3f9a0c17b2e4 --address-shown`,
		Args: cobra.ExactArgs(1),
		RunE: a.Do(func(ctx context.Context, ids []string) error {
			args.Request = ids[0]
			var list []home.AnswerStatus
			if err := a.atHome(ctx, "home.retry", args, &list); err != nil {
				return err
			}
			return a.Show(list, func(w io.Writer) error { return a.writeAnswers(w, list) })
		}),
	}
	cmd.Flags().BoolVar(&args.AddressShown, "address-shown", false, "send it straight: I know that the requester will see this home's internet address")
	return cmd
}

// refusal is a request by its full id, with the order of a person of a household, to decline it or to take back.
func (a *app) refusal(ctx context.Context, request, what, as string) (home.RequestArg, error) {
	arg := home.RequestArg{Request: request}
	if as == "" {
		return arg, nil
	}
	var c home.Card
	if err := a.atHome(ctx, "home.show", arg, &c); err != nil {
		return arg, err
	}
	var err error
	arg.Order, err = a.order(as, what, c.Request, "")
	return arg, err
}
