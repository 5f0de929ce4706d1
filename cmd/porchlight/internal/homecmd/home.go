// Package homecmd is `porchlight home`: what an owner does. It shows before it asks, and asks
// before anything leaves.
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
	"github.com/porchlight-mesh/porchlight/consent/request"
	"github.com/porchlight-mesh/porchlight/consent/rules"
	"github.com/porchlight-mesh/porchlight/node"
	"github.com/porchlight-mesh/porchlight/node/home"
)

// app is the shared App, with this package's own methods.
type app struct{ *cli.App }

// New is `porchlight home`.
func New(shared *cli.App) *cobra.Command { return newHomeCommand(&app{shared}) }

// newHomeCommand holds what an owner does.
func newHomeCommand(a *app) *cobra.Command {
	cmd := cli.Group(&cobra.Command{
		Use:   "home",
		Short: "Keep your own footage, read requests, decide what leaves",
		Long: `A home's node keeps its own footage and shows its owner the requests that ask for some of it. Whoever
says nothing sends nothing, and nobody can tell a no from silence, from having no footage or from having
no camera there.

A camera's place stays on this machine: requests are matched here.`,
		Example: `  porchlight join 'porchlight://join?…'
  porchlight home cameras add front-door --folder /srv/cams/front --at 51.5007,-0.1246 --facing 90 --view 110 --range 30
  porchlight home cameras offer front-door
  porchlight home run
  porchlight home inbox`,
	})
	cmd.AddCommand(
		cli.NewInitCommand(a.App, node.Home, `Makes a home's folder. It needs a charter before it can run: join a mesh with an invitation
(porchlight join LINK makes the folder too, so this command is only needed to choose settings first).`),
		cli.NewRunCommand(a.App, node.Home, `It keeps in touch with the mesh, looks through the camera folders, shows what asks for your footage,
and sends what you approved.`),
		cli.NewStatusOf(a.App, node.Home),
		newCamerasCommand(a),
		newInboxCommand(a), newShowCommand(a), newPreviewCommand(a), newApproveCommand(a),
		newDeclineCommand(a), newWithdrawCommand(a), newRetryCommand(a), newLedgerCommand(a), newHouseholdCommand(a), newGivenCommand(a), newSayCommand(a), newExtendCommand(a), newPassOnCommand(a), newBreachCommand(a), newRulesCommand(a),
	)
	return cmd
}

// atHome runs a command in the home's node, or on its folder.
func (a *app) atHome(ctx context.Context, command string, args, result any) error {
	dir, err := a.Folder(string(node.Home))
	if err != nil {
		return err
	}
	return a.CallEither(ctx, dir, command, args, result)
}

func newInboxCommand(a *app) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "inbox",
		Short: "List the requests that ask for footage you have",
		Long: `Lists the live requests whose area one of your offered cameras sees and whose time you have recordings
of. Such recordings are kept from roll-off, on this disk, until the request expires. Nothing of it can be
seen from outside. What your rules ignore or only hold is not listed (porchlight home rules).`,
		Example: "  porchlight home inbox\n  porchlight home inbox --all",
		Args:    cobra.NoArgs,
		RunE: a.Do(cli.Nothing(func(ctx context.Context) error {
			var cards []home.Card
			if err := a.atHome(ctx, "home.inbox", home.List{All: all}, &cards); err != nil {
				return err
			}
			return a.Show(cards, func(w io.Writer) error { return a.writeInbox(w, cards) })
		})),
	}
	cmd.Flags().BoolVar(&all, "all", false, "also requests that are over, or only held")
	return cmd
}

func (a *app) writeInbox(w io.Writer, cards []home.Card) error {
	return ui.List(w, cards, "nobody asks for footage of yours", []string{"ID", "AGENCY", "OFFENCE", "WINDOW", "CAMERAS", "STATE", "EXPIRES"}, func(c home.Card) []string {
		return []string{ui.Short(c.Request), c.Agency, c.Offence, ui.Span(c.From, c.Until), cameraNames(c.Cameras), inboxState(c, a.Now()), cardEnd(c, a)}
	})
}

// inboxState says in a few words how far the request is: of an approved one, what the newest answer says.
func inboxState(c home.Card, now time.Time) string {
	s := c.State
	if over := c.Ended != "" || !now.Before(c.Expires); s == "new" && over {
		s = "not answered"
	}
	if n := len(c.Answers); s == "approved" && n > 0 {
		last := slices.MaxFunc(c.Answers, func(a, b home.AnswerStatus) int { return a.Created.Compare(b.Created) })
		s += ", " + last.State
		if last.Reason != "" && last.State != "sending" {
			s += ": " + string(last.Reason)
		}
	}
	if c.Reason != "" {
		s += "; " + c.Reason
	}
	return s + byRules(c)
}

// byRules says what the owner's rules did with a request, where that is not to tell.
func byRules(c home.Card) string {
	switch {
	case c.State == "approved":
	case c.Action == rules.Ignore:
		return "; ignored by your rules"
	case c.Action == rules.Hold:
		return "; held silently by your rules"
	case len(c.Drafts) > 0:
		return "; prepared for you"
	}
	return ""
}

func cameraNames(m []home.Matched) string {
	s := ""
	for i, c := range m {
		if i > 0 {
			s += ", "
		}
		s += string(c.Camera)
	}
	return s
}

func cardEnd(c home.Card, a *app) string {
	if c.Ended != "" {
		return c.Ended
	}
	return ui.Relative(c.Expires, a.Now())
}

func newShowCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "show ID",
		Short: "Show one request: who asks, why, for what, on what terms",
		Long: `Shows the card of a request before you decide: who asks, on what basis, what became of the record of
this agency, which of your cameras it concerns, and what would leave.

Porchlight cannot tell a true case number from a false one. The contact on the card is the place to ask.

An answer you approved is preparing (the clip is made), waiting (to leave, or for the next attempt),
sending, delivered, withdrawn, expired, failed or stopped. One that stands still says why, since when and
what mends it; --json has the name as "reason":

` + reasons() + `
What the requester has verified is not sent twice, and a new address of this home needs nothing. A
requester that moved is found as long as one of the addresses in its request works.`,
		Example: "  porchlight home show 3f9a0c17b2e4",
		Args:    cobra.ExactArgs(1),
		RunE: a.Do(func(ctx context.Context, args []string) error {
			var c home.Card
			if err := a.atHome(ctx, "home.show", home.RequestArg{Request: args[0]}, &c); err != nil {
				return err
			}
			return a.Show(c, func(w io.Writer) error { return a.writeCard(w, c) })
		}),
	}
}

// reasons lists why an answer can stand still.
func reasons() string {
	var b strings.Builder
	for _, over := range []bool{false, true} {
		head := "goes on by itself, until the request expires"
		if over {
			head = "is over; only approving anew sends anything"
		}
		fmt.Fprintf(&b, "  %s\n", head)
		for _, r := range home.Reasons() {
			if r.Over() == over {
				fmt.Fprintf(&b, "    %-22s %s\n", r, r.Words())
			}
		}
	}
	return b.String()
}

func (a *app) writeCard(w io.Writer, c home.Card) error {
	witnessed := "no: no witness has confirmed that everybody sees the same docket"
	if c.Witnessed {
		witnessed = "yes"
	}
	if err := ui.Facts(w, "request", string(c.Request), "asked by", fmt.Sprintf("%s (%s)", c.Agency, c.Class), "policy", c.PolicyURL,
		"signed by", fmt.Sprintf("%s, approved by %s", c.Officer, c.Supervisor), "case", c.Case, "offence", c.Offence, "basis", basisText(c),
		"window", ui.Span(c.From, c.Until), "area", ui.Area(c.AreaM2), "contact", c.Contact,
		"kept", cli.TermsText(c.Retention, c.Unused, c.Recipients, c.Resharing), "expires", ui.When(c.Expires, a.Now()),
		"report", cli.ReportText(c.Report), "outcome", cli.OutcomeText(c.Outcome),
		"earlier requests", fmt.Sprintf("%d of this agency", c.EarlierAsks), "their record", recordText(c), "their deletions", cli.DeletionsText(&c.Promises),
		"their holds", holdsText(c), "witnessed", witnessed, "state", stateText(c),
		"note", c.Problem); err != nil {
		return err
	}
	fmt.Fprintln(w, "\ntheir words")
	ui.Wrap(w, "  ", c.Text, 90)
	cli.WriteObjections(w, c.Objections)
	cli.WriteBreaches(w, c.Breaches)
	if len(c.Cameras) > 0 {
		fmt.Fprintln(w, "\nyour cameras that see the place")
		var rows [][]string
		for _, m := range c.Cameras {
			rows = append(rows, []string{"  " + string(m.Camera), fmt.Sprint(m.Recordings), ui.Span(m.From, m.Until)})
		}
		if err := ui.Table(w, []string{"  CAMERA", "RECORDINGS", "OF THE WINDOW"}, rows); err != nil {
			return err
		}
	}
	if err := writeDrafts(w, c); err != nil {
		return err
	}
	for _, p := range c.Pending {
		fmt.Fprintf(w, "\napproved by %s; %d more have to approve the same (%s)\n", strings.Join(p.By, ", "), c.Approvals-len(p.By), ui.Short(p.Of))
	}
	return a.writeAnswers(w, c.Answers)
}

// recordText is the agency's record in one line.
func recordText(c home.Card) string {
	t := c.Record
	misconduct := "no misconduct"
	if c.Standing.State == node.Misconduct {
		misconduct = "MISCONDUCT PROVEN"
	}
	return fmt.Sprintf("requests %d, emergencies claimed %d, reports missing %d, reports late %d, outcomes missing %d, outcomes late %d, objections %d, %s",
		t.Requests, t.Basis[request.Exigent], t.ReportsMissing, t.ReportsLate, t.OutcomesMissing, t.OutcomesLate, t.Objections, misconduct)
}

// holdsText says what a court keeps the agency from deleting, "" where it is nothing.
func holdsText(c home.Card) string {
	if c.Promises.Holds == 0 {
		return ""
	}
	return c.Promises.HoldWords()
}

// writeDrafts names what was prepared, so that its owner can look at it.
func writeDrafts(w io.Writer, c home.Card) error {
	if len(c.Drafts) == 0 {
		return nil
	}
	fmt.Fprintln(w, "\nprepared for your approval: what approving would send; nothing of it has left")
	var rows [][]string
	for _, d := range c.Drafts {
		if d.Problem != "" {
			rows = append(rows, []string{"  " + string(d.Camera), "-", "-", "not prepared: " + ui.Clean(d.Problem)})
			continue
		}
		rows = append(rows, []string{"  " + string(d.Camera), ui.Span(d.From, d.Until), ui.MB(d.Bytes), d.File})
	}
	return ui.Table(w, []string{"  CAMERA", "CLIP", "SIZE", "FILE"}, rows)
}

func stateText(c home.Card) string {
	s := c.State
	if c.Ended != "" {
		s += "; the request was " + c.Ended
	}
	if c.Held {
		s += "; recordings are kept from roll-off"
	}
	return s + byRules(c)
}

// basisText is what the agency declares, and what it means for the owner. No basis obliges anybody
// here: an order is served on a person, not on a node.
func basisText(c home.Card) string {
	b := request.Basis(c.Basis)
	switch {
	case b == request.Exigent && c.ReportMissing:
		return b.Title() + "; this agency gave no such report in time, so its emergencies count no more"
	case b == request.Warrant:
		return b.Title() + "; it binds you only when it is served on you"
	case b == request.Exigent:
		return b.Title() + "; they owe a public account within 72 hours"
	}
	return b.Title() + "; answering is your choice"
}

func (a *app) writeAnswers(w io.Writer, answers []home.AnswerStatus) error {
	for _, s := range answers {
		fmt.Fprintf(w, "\nanswer %s: %s\n", ui.Short(s.ID), answerText(s, a))
		if s.Reason != "" && s.State != "sending" {
			if err := ui.Facts(w, "  why", s.Reason.Words(), "  since", ui.When(s.Since, a.Now()),
				"  next", nextText(s, a), "  way out", s.Reason.WayOut(), "  last error", ui.Clean(s.Problem)); err != nil {
				return err
			}
		}
		var rows [][]string
		for _, r := range s.Releases {
			rows = append(rows, []string{"  " + r.Camera, ui.Span(r.From, r.Until), ui.MB(r.SealedBytes),
				fmt.Sprintf("%d of %d", r.SentBlocks, r.Blocks), ui.YesNo(r.Receipt), ui.YesNo(r.KeyGiven), ui.ShortRelease(r.Root)})
		}
		if len(rows) > 0 {
			if err := ui.Table(w, []string{"  CAMERA", "CLIP", "SIZE", "BLOCKS SENT", "RECEIPT", "KEY GIVEN", "RELEASE"}, rows); err != nil {
				return err
			}
		}
	}
	return nil
}

func answerText(s home.AnswerStatus, a *app) string {
	t := s.State
	switch {
	case s.Reason != "" && s.State != "sending":
		t += ": " + string(s.Reason)
	case s.State == "waiting" && s.NotBefore.After(a.Now()):
		t += ", leaves " + ui.Relative(s.NotBefore, a.Now()) + " at the earliest"
	case s.Problem != "":
		t += ": " + s.Problem
	}
	return ui.Clean(t)
}

// nextText says when an answer that stands still is tried again; "" where it is over.
func nextText(s home.AnswerStatus, a *app) string {
	if s.Reason.Over() {
		return ""
	}
	when := "now"
	if s.NotBefore.After(a.Now()) {
		when = ui.Relative(s.NotBefore, a.Now())
	}
	return fmt.Sprintf("tried again %s, after %s, until the request expires", when, times(s.Attempts))
}

func times(n int) string {
	if n == 1 {
		return "one attempt"
	}
	return fmt.Sprintf("%d attempts", n)
}

func newDeclineCommand(a *app) *cobra.Command {
	var as string
	cmd := &cobra.Command{
		Use:   "decline ID",
		Short: "Decline a request; nothing is sent",
		Long: `Marks a request as declined in your own inbox. Nothing is sent, now or later: outside, a no looks the
same as no answer. Nobody learns who declined.`,
		Example: "  porchlight home decline 3f9a0c17b2e4",
		Args:    cobra.ExactArgs(1),
		RunE: a.Do(func(ctx context.Context, args []string) error {
			arg, err := a.refusal(ctx, args[0], "decline", as)
			if err != nil {
				return err
			}
			var item home.Item
			if err := a.atHome(ctx, "home.decline", arg, &item); err != nil {
				return err
			}
			return a.Show(item, func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "declined %s; nothing was sent and nothing will be\n", ui.Short(item.Request))
				return err
			})
		}),
	}
	asFlag(cmd, &as)
	return cmd
}

func newLedgerCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ledger",
		Short: "Show every step of what left this home",
		Long: `Shows your own record of what left, step by step, oldest first. Each line carries the hash of the line
before it; porchlight verify checks the file "ledger" in your node's folder. porchlight home given shows
how what left stands.`,
		Example: "  porchlight home ledger\n  porchlight home ledger export --out for-my-lawyer",
		Args:    cobra.NoArgs,
		RunE: a.Do(cli.Nothing(func(ctx context.Context) error {
			var lines []home.LedgerEntry
			if err := a.atHome(ctx, "home.ledger", nil, &lines); err != nil {
				return err
			}
			return a.Show(lines, func(w io.Writer) error {
				return ui.List(w, lines, "nothing has left this home", []string{"TIME", "STEP", "OF", "DETAIL"}, func(l home.LedgerEntry) []string {
					return []string{ui.UTC(l.At), l.Step, shortSubject(l.Subject), l.Detail}
				})
			})
		})),
	}
	cmd.AddCommand(newLedgerExportCommand(a))
	return cmd
}

// shortSubject shortens what looks like an id, and leaves words alone.
func shortSubject(s string) string {
	switch {
	case len(s) >= 32 && s[:3] == "baf":
		return ui.ShortRelease(s)
	case len(s) >= 32:
		return ui.Short(s)
	}
	return s
}
