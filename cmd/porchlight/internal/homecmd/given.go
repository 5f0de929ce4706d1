package homecmd

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/porchlight-mesh/porchlight/cmd/porchlight/internal/cli"
	"github.com/porchlight-mesh/porchlight/cmd/porchlight/internal/ui"
	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/footage/durable"
	"github.com/porchlight-mesh/porchlight/node/home"
)

func newGivenCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "given [RELEASE]",
		Short: "Show what left this home, under which terms, and whether they are kept",
		Long: `Lists every clip that left: to whom, until when it may be kept, and what the agency's public docket says
of it; one that you let be passed on stands here once for each agency that has it. Your node looks for its
own clips there, among entries that look the same for everybody: a clip whose deletion is overdue, that was
never entered, or that is said to be deleted while the agency signed that it is there, stands out here.

With a release it shows the terms and all that was said about it since.`,
		Example: `  porchlight home given
  porchlight home given bafybeigdyrzt5sfp7ud`,
		Args: cobra.MaximumNArgs(1),
		RunE: a.Do(func(ctx context.Context, args []string) error {
			var list []home.Promise
			arg := home.PromisesArg{}
			if len(args) > 0 {
				arg.Release = args[0]
			}
			if err := a.atHome(ctx, "home.promises", arg, &list); err != nil {
				return err
			}
			if arg.Release != "" && len(list) == 0 {
				return cli.Usage("`porchlight home given` lists them", "no release %q left this home", arg.Release)
			}
			return a.Show(list, func(w io.Writer) error {
				if len(list) == 0 {
					fmt.Fprintln(w, "nothing has left this home")
					return nil
				}
				if arg.Release != "" {
					for _, p := range list {
						if err := a.writePromise(w, p); err != nil {
							return err
						}
					}
					return nil
				}
				for i, p := range list {
					if i > 0 {
						fmt.Fprintln(w)
					}
					ui.Sentence(w, fmt.Sprintf("%s  %s, %s", ui.ShortRelease(p.Release), p.Camera, ui.Span(p.From, p.Until)))
					if err := ui.Facts(w, "  agency", p.Agency+", "+p.Case, "  kept until", ui.When(p.Terms.RetainUntil.Time, a.Now()), "  how it stands", standing(p),
						"  breach record", breachWords(p.Breach)); err != nil {
						return err
					}
				}
				return nil
			})
		}),
	}
}

// standing is how a clip stands now, and beside that what was not kept before.
func standing(p home.Promise) string {
	s := p.Words
	for _, f := range p.Broken() {
		s += "; BROKEN BEFORE: " + f.Words()
	}
	return s
}

func (a *app) writePromise(w io.Writer, p home.Promise) error {
	t := p.Terms
	who := "nobody else"
	if len(t.Recipients) > 0 {
		who = strings.Join(t.Recipients, ", ")
		if t.Resharing {
			who += ", who may pass it on"
		}
	}
	var denied []string
	for _, c := range t.DeniedClasses {
		denied = append(denied, string(c))
	}
	use := ""
	if t.ViewOnly {
		use = "looked at in the agency's vault only"
	}
	agency, via := p.Agency+" ("+string(p.AgencyID)+")", ""
	if p.Via != "" {
		via = string(p.Via)
	}
	if err := ui.Facts(w, "release", p.Release, "agency", agency, "passed on by", via, "case", p.Case, "camera", p.Camera, "clip", ui.Span(p.From, p.Until),
		"kept until", ui.When(t.RetainUntil.Time, a.Now()), "if unused until", ui.When(t.UnusedUntil.Time, a.Now()), "who has it", who, "use", use, "never to", strings.Join(denied, ", "),
		"how it stands", standing(p), "breach record", breachWords(p.Breach)); err != nil {
		return err
	}
	if len(p.Said) > 0 {
		fmt.Fprintln(w, "\nwhat was said")
	}
	var rows [][]string
	for _, s := range p.Said {
		rows = append(rows, []string{ui.UTC(s.At), s.By, s.What, s.Text, ui.Short(s.ID)})
	}
	if rows != nil {
		if err := ui.Table(w, []string{"TIME", "BY", "WHAT", "TEXT", "ID"}, rows); err != nil {
			return err
		}
	}
	if p.State.Failed() && p.Breach == "" {
		holder := ""
		if p.Via != "" {
			holder = " --holder " + string(p.AgencyID)
		}
		fmt.Fprintf(w, "\nnext: `porchlight home breach %s%s` shows what you can make public\n", ui.ShortRelease(p.Release), holder)
	}
	fmt.Fprintln(w)
	return nil
}

// say hands the node what the owner says about a release.
func (a *app) say(ctx context.Context, s home.Say, as string) error {
	if as != "" {
		p, err := a.promised(ctx, s.Release, "")
		if err != nil {
			return err
		}
		s.Release = p.Release
		if s.Order, err = a.order(as, "approve", p.Request, s.Digest()); err != nil {
			return err
		}
	}
	var got home.Saying
	if err := a.atHome(ctx, "home.say", s, &got); err != nil {
		return err
	}
	return a.Show(got, func(w io.Writer) error {
		if got.Missing > 0 {
			return writeMissing(w, got.By, got.Missing)
		}
		return writeSaying(w, got)
	})
}

// writeSaying says who is told what and when, and where the answer appears.
func writeSaying(w io.Writer, s home.Saying) error {
	what, answers := "what you said about %s", "what they answer"
	if s.What == "withdraw" {
		what, answers = "that you take %s back", "their answer: that it is deleted, or which court's order stands in the way"
	}
	fmt.Fprintf(w, "%s: to be told at %s, on the way that the clip took, "+what+"\n", s.Agency, ui.UTC(s.Leaves), ui.ShortRelease(s.Release))
	if !s.Running {
		fmt.Fprintln(w, "this node is not running: start it with `porchlight home run`")
	}
	_, err := fmt.Fprintf(w, "`porchlight home given %s` shows %s\n", ui.ShortRelease(s.Release), answers)
	return err
}

// warning is what an owner has to know before they let an agency do more with a clip; "" where all is well.
func warning(p home.Promise) string {
	switch {
	case p.State == home.StandDeleted || p.State == home.StandGone:
		return "the clip is said to be deleted: there is nothing left to keep or to pass on, unless that was not true"
	case p.State.Failed() && p.Breach == "":
		return "they do not keep what they signed about it; once they sign something new, you can show nobody that: `porchlight home breach` comes first"
	case p.State.Failed():
		return "they do not keep what they signed about it"
	}
	return ""
}

// lets shows what letting an agency do more with a clip means, and asks, before anything is signed. The node has checked by then that it would not
// refuse it.
func (a *app) lets(ctx context.Context, s home.Say, yes bool, as string) error {
	check := s
	check.Check = true
	var would home.Saying
	if err := a.atHome(ctx, "home.say", check, &would); err != nil {
		return err
	}
	question, what := "Let them keep it for longer?", "keep it, where it is used, until "+ui.When(s.Until, a.Now())
	if s.What == "pass-on" {
		question, what = "Let them pass it on?", fmt.Sprintf("pass it on to %s (%s), which may keep it until the same terms end", would.To, s.To)
		if s.KeepDays > 0 {
			what += fmt.Sprintf(", and %d days at most", s.KeepDays)
		}
	}
	if err := a.mayOrder(ctx, as); err != nil {
		return err
	}
	p, err := a.promised(ctx, s.Release, s.Holder)
	if err != nil {
		return err
	}
	if err := ui.Facts(a.Err, "release", p.Release, "with", p.Agency, "case", p.Case, "camera", p.Camera, "clip", ui.Span(p.From, p.Until),
		"kept until", ui.When(p.Terms.RetainUntil.Time, a.Now()), "how it stands", standing(p), "you let them", what, "WARNING", warning(p),
		"undone only by", "`porchlight home withdraw "+ui.ShortRelease(p.Release)+"`, which takes the clip back as a whole"); err != nil {
		return err
	}
	a.Say("")
	if err := a.Confirm(yes, question); err != nil {
		return err
	}
	s.Release = p.Release
	return a.say(ctx, s, as)
}

func newSayCommand(a *app) *cobra.Command {
	s := home.Say{What: "statement"}
	var as string
	cmd := &cobra.Command{
		Use:   "say RELEASE --text TEXT",
		Short: "Say something to the agency about a clip it has, and stay unknown",
		Long: `Signs a statement with the key of the grant and sends it as the clip was sent: over two stewards, or
straight where that was your choice. The agency learns what you write and nothing else. --answers names
the message that it answers.`,
		Example: `  porchlight home say bafybeigdyrzt5sfp7ud --text "The car stood there since noon." --answers 5c0b1f2e`,
		Args:    cobra.ExactArgs(1),
		RunE: a.Do(func(ctx context.Context, args []string) error {
			s.Release = args[0]
			return a.say(ctx, s, as)
		}),
	}
	cmd.Flags().StringVar(&s.Text, "text", "", "one line of `text`")
	cmd.Flags().StringVar(&s.Answers, "answers", "", "`id` of the message that it answers")
	holderFlag(cmd, &s.Holder, "whom it is said to (default: whoever asked, or the agency that you gave it to)")
	asFlag(cmd, &as)
	cli.MustFlags(cmd, "text")
	return cmd
}

func newExtendCommand(a *app) *cobra.Command {
	s := home.Say{What: "extend"}
	var until, as string
	var yes bool
	cmd := &cobra.Command{
		Use:   "extend RELEASE --until TIME",
		Short: "Let the agency keep a clip for longer",
		Long: `Signs that a clip that is used may be kept until a later time, within what the charter allows from today.
Without your signature nothing but a court's hold, declared in public, keeps a clip beyond its terms.
It shows how the clip stands, and asks, before it signs.`,
		Example: `  porchlight home extend bafybeigdyrzt5sfp7ud --until 2027-06-01T00:00:00Z`,
		Args:    cobra.ExactArgs(1),
		RunE: a.Do(func(ctx context.Context, args []string) (err error) {
			s.Release = args[0]
			if s.Until, err = cli.ParseTime("until", until); err != nil {
				return err
			}
			return a.lets(ctx, s, yes, as)
		}),
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	cmd.Flags().StringVar(&until, "until", "", "`time` until which it may be kept")
	holderFlag(cmd, &s.Holder, "which of its holders (default: the agency that you gave it to)")
	asFlag(cmd, &as)
	cli.MustFlags(cmd, "until")
	return cmd
}

func newPassOnCommand(a *app) *cobra.Command {
	s := home.Say{What: "pass-on"}
	var as string
	var yes bool
	cmd := &cobra.Command{
		Use:   "pass-on RELEASE --to AGENCY",
		Short: "Let the agency pass a clip on to another one",
		Long: `Signs that the agency may pass a clip on to one other agency of the charter. The other one is bound by the
same terms or tighter ones, tells your node that it has it, and may hand it to nobody unless you sign that,
too (--holder). Agencies of a class that you denied never get it, and a clip that may only be looked at goes
to nobody. Without your signature their node does not open it. It shows how the clip stands, and asks, before
it signs.`,
		Example: `  porchlight home pass-on bafybeigdyrzt5sfp7ud --to 3b5e0f6d5a1c4e2f9b7a8c6d5e4f3a2b --keep-days 30`,
		Args:    cobra.ExactArgs(1),
		RunE: a.Do(func(ctx context.Context, args []string) error {
			s.Release = args[0]
			return a.lets(ctx, s, yes, as)
		}),
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	cmd.Flags().StringVar(&s.To, "to", "", "`id` of the agency that gets it")
	cmd.Flags().IntVar(&s.KeepDays, "keep-days", 0, "`days` from today that it may keep it (default: until the terms end)")
	holderFlag(cmd, &s.Holder, "which of its holders passes it on (default: the agency that you gave it to)")
	asFlag(cmd, &as)
	cli.MustFlags(cmd, "to")
	return cmd
}

// breachWords say where a breach record is.
func breachWords(state string) string {
	if state == "leaving" {
		return "on its way to a steward that publishes it"
	}
	return state
}

func newBreachCommand(a *app) *cobra.Command {
	var arg home.BreachArg
	var yes bool
	var as, out string
	cmd := &cobra.Command{
		Use:   "breach RELEASE [--out FILE] [--publish]",
		Short: "Show everybody that the agency does not keep what it signed about a clip",
		Long: `Where the docket fails what the agency signed about a clip, this shows the record that proves it, signed
by the key of that one grant. Nothing leaves without --publish. Then it goes over two stewards after a
random delay, and a steward publishes it; every home shows it on each request of that agency from then on.
With --out the record goes to a file, for a lawyer or a paper: porchlight verify checks it.

It opens that somebody answered this request, when the agency signed for the clip, and which of the
docket's promises is that clip's. It does not say who you are, where you live, or what the clip shows.`,
		Example: `  porchlight home breach bafybeigdyrzt5sfp7ud
  porchlight home breach bafybeigdyrzt5sfp7ud --out breach.note
  porchlight home breach bafybeigdyrzt5sfp7ud --publish`,
		Args: cobra.ExactArgs(1),
		RunE: a.Do(func(ctx context.Context, args []string) error {
			arg.Release = args[0]
			publish := arg.Publish
			arg.Publish = false
			if out != "" {
				if err := cli.NewFile(out); err != nil {
					return err
				}
			}
			var got home.BreachStatus
			if err := a.atHome(ctx, "home.breach", arg, &got); err != nil {
				return err
			}
			if publish {
				a.Say("%s, case %s\n%s\n", got.Promise.Agency, got.Promise.Case, got.Promise.Words)
				if err := a.Confirm(yes, "Make this public, that somebody answered this request included?"); err != nil {
					return err
				}
				arg.Publish, arg.Release, arg.Holder = true, got.Promise.Release, got.Promise.AgencyID
				var err error
				if arg.Order, err = a.order(as, "approve", got.Request, arg.Digest()); err != nil {
					return err
				}
				if err := a.atHome(ctx, "home.breach", arg, &got); err != nil {
					return err
				}
			}
			if out != "" {
				if err := durable.WriteFile(out, []byte(got.Note), 0o600); err != nil {
					return err
				}
			}
			return a.Show(got, func(w io.Writer) error {
				if !publish {
					who := cmp.Or(breachWords(got.Promise.Breach), "nobody but you has it so far")
					record := ":\n\n" + got.Note
					if out != "" {
						record = " is in " + out + "\n"
					}
					fmt.Fprintf(w, "%s, case %s\n%s\n\nthe record (%s)%s\n", got.Promise.Agency, got.Promise.Case, got.Promise.Words, who, record)
					if got.Promise.Breach != "" {
						return nil
					}
					_, err := fmt.Fprintf(w, "next: `porchlight home breach %s --publish`, or nothing\n", ui.ShortRelease(got.Promise.Release))
					return err
				}
				if got.Missing > 0 {
					return writeMissing(w, got.By, got.Missing)
				}
				_, err := fmt.Fprintf(w, "it goes to a steward at %s, which publishes it\n", ui.UTC(got.Leaving.At))
				return err
			})
		}),
	}
	cmd.Flags().StringVar(&out, "out", "", "`file` to write the record to; must not exist")
	cmd.Flags().BoolVar(&arg.Publish, "publish", false, "make it public")
	holderFlag(cmd, &arg.Holder, "whose docket (default: the first that fails)")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	asFlag(cmd, &as)
	return cmd
}

// holderFlag names one of the agencies that have a clip.
func holderFlag(cmd *cobra.Command, to *consent.AgencyID, usage string) {
	cmd.Flags().StringVar((*string)(to), "holder", "", "`id` of an agency that has it: "+usage)
}

// promised is the one release that left whose root begins so, as it stands with a holder; "" for the one that it was given to.
func (a *app) promised(ctx context.Context, release string, holder consent.AgencyID) (home.Promise, error) {
	var list []home.Promise
	if err := a.atHome(ctx, "home.promises", home.PromisesArg{Release: release}, &list); err != nil {
		return home.Promise{}, err
	}
	if len(list) == 0 || slices.ContainsFunc(list, func(p home.Promise) bool { return p.Release != list[0].Release }) {
		return home.Promise{}, cli.Usage("`porchlight home given` lists them", "%d releases that left this home begin with %q", len(list), release)
	}
	if i := slices.IndexFunc(list, func(p home.Promise) bool { return p.AgencyID == holder }); i > 0 {
		return list[i], nil
	}
	return list[0], nil
}

func newLedgerExportCommand(a *app) *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "export --out DIR",
		Short: "Write the ledger for a lawyer: one page, and the signed documents beside it",
		Long: `Writes a folder with index.html, which says what left, to whom, under which terms, until when and what was
said since, and with the documents that both sides signed; porchlight verify checks them. No key and no
footage is in it.`,
		Example: `  porchlight home ledger export --out for-my-lawyer`,
		Args:    cobra.NoArgs,
		RunE: a.Do(cli.Nothing(func(ctx context.Context) error {
			dir, err := cli.Absolute(out)
			if err != nil {
				return err
			}
			if err := cli.NewFile(dir); err != nil {
				return err
			}
			var got home.Exported
			if err := a.atHome(ctx, "home.ledger.export", home.Export{Out: dir}, &got); err != nil {
				return err
			}
			return a.Show(got, func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "%s of %s with %s: open %s/index.html\n", ui.Count(got.Releases, "clip"), ui.Count(got.Answers, "answer"), ui.Count(got.Documents, "signed document"), got.Out)
				return err
			})
		})),
	}
	cmd.Flags().StringVar(&out, "out", "", "`folder` to make; must not exist")
	cli.MustFlags(cmd, "out")
	return cmd
}
