package agencycmd

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/porchlight-mesh/porchlight/cmd/porchlight/internal/cli"
	"github.com/porchlight-mesh/porchlight/cmd/porchlight/internal/ui"
	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/docket"
	"github.com/porchlight-mesh/porchlight/consent/request"
	"github.com/porchlight-mesh/porchlight/node"
)

// reportFlags are what a report is made of, as typed.
type reportFlags struct{ textFile, officer, supervisor, out string }

func newReportCommand(a *app) *cobra.Command {
	var f reportFlags
	cmd := &cobra.Command{
		Use:   "report ID --text-file FILE --out FILE",
		Short: "Draft the report that an exigent request owes within 72 hours",
		Long: fmt.Sprintf(`Drafts the account of what the emergency was, in %d to %d characters, for the officer and the supervisor to
sign, as they sign a request; then the node publishes it. It is due %d hours after the request was made.
Where it is missing, or late, homes tell no later request of this agency as an emergency.

Those who sign are the officer and the supervisor of the request, unless others are named.`, docket.MinReport, docket.MaxReport, int(docket.ReportWithin.Hours())),
		Example: `  porchlight agency request report 3f9a0c17b2e4 --text-file report.txt --out report.note
  porchlight agency request sign report.note --key ruiz.key
  porchlight agency request sign report.note --key kim.key
  porchlight agency publish report.note`,
		Args: cobra.ExactArgs(1),
		RunE: a.Do(func(ctx context.Context, args []string) error { return a.report(ctx, args[0], f) }),
	}
	cmd.Flags().StringVar(&f.textFile, "text-file", "", "`file` with what happened, in plain words for the public")
	cmd.Flags().StringVar(&f.officer, "officer", "", "public `key` or .pub file of the officer who signs (default: the request's)")
	cmd.Flags().StringVar(&f.supervisor, "supervisor", "", "public `key` or .pub file of the supervisor who signs (default: the request's)")
	cmd.Flags().StringVar(&f.out, "out", "", "`file` to write the draft to; must not exist")
	cli.MustFlags(cmd, "text-file", "out")
	return cmd
}

func (a *app) report(ctx context.Context, id string, f reportFlags) error {
	if err := cli.NewFile(f.out); err != nil {
		return err
	}
	text, err := cli.ReadSmall(f.textFile, consent.MaxNote)
	if err != nil {
		return err
	}
	var asked node.RequestStatus
	if err := a.atAgency(ctx, "request", node.RequestArg{Request: id}, &asked); err != nil {
		return err
	}
	q, err := request.Open([]byte(asked.Note))
	if err != nil {
		return err
	}
	r := docket.Report{Request: asked.ID, Text: strings.TrimSpace(string(text)), Created: consent.At(a.Now()), Officer: q.Officer, Supervisor: q.Supervisor}
	if f.officer != "" {
		if r.Officer, err = cli.ReadPublic(f.officer); err != nil {
			return fmt.Errorf("--officer: %w", err)
		}
	}
	if f.supervisor != "" {
		if r.Supervisor, err = cli.ReadPublic(f.supervisor); err != nil {
			return fmt.Errorf("--supervisor: %w", err)
		}
	}
	draft, err := consent.Text(r)
	if err != nil {
		return err
	}
	return a.writeDraft(f.out, draft)
}

func newOutcomeCommand(a *app) *cobra.Command {
	var key, finding, out string
	var list strings.Builder
	for _, f := range docket.Findings() {
		fmt.Fprintf(&list, "  %-10s  %s\n", f, f.Title())
	}
	cmd := &cobra.Command{
		Use:   "outcome ID --outcome FINDING --key KEYFILE",
		Short: "Say what became of the investigation, within 90 days",
		Long: `Signs what became of the investigation that a request was part of, as an officer, and publishes it. A
later outcome replaces an earlier one. Whether footage came, or was used, is nobody's to know and stands in
none of them.

` + list.String() + `
With --out it only writes the signed document, for an officer whose machine is not the node's.`,
		Example: `  porchlight agency request outcome 3f9a0c17b2e4 --outcome charged --key ruiz.key`,
		Args:    cobra.ExactArgs(1),
		RunE: a.Do(func(ctx context.Context, args []string) error {
			k, err := a.ReadKey(key)
			if err != nil {
				return err
			}
			id, err := a.fullRequestID(ctx, args[0])
			if err != nil {
				return err
			}
			body := docket.Outcome{Request: id, Outcome: docket.Finding(finding), Created: consent.At(a.Now()), Officer: k.Verifier()}
			if body.Outcome.Title() == "" {
				return cli.Usage("the findings are: "+findingList(), "--outcome %q is no finding", finding)
			}
			if out != "" {
				return a.signTo(out, body, k, "porchlight agency publish "+out, func(w io.Writer) error {
					return ui.Facts(w, "outcome of", string(id), "outcome", body.Outcome.Title(), "signed by", k.Name())
				})
			}
			note, err := consent.Sign(body, k)
			if err != nil {
				return err
			}
			return a.publish(ctx, note)
		}),
	}
	cmd.Flags().StringVar(&key, "key", "", "your key `file`, as an officer")
	cmd.Flags().StringVar(&finding, "outcome", "", "the `finding`: "+findingList())
	cmd.Flags().StringVar(&out, "out", "", "write the signed document to this `file` and publish nothing")
	cli.MustFlags(cmd, "key", "outcome")
	return cmd
}

func findingList() string {
	var names []string
	for _, f := range docket.Findings() {
		names = append(names, string(f))
	}
	return strings.Join(names, ", ")
}

func newOwedCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "owed",
		Short: "List the reports and outcomes this agency owes",
		Long: `Lists what this agency has to account for and did not yet, what is due soonest first: the report of an
exigent request, 72 hours after the request was made, and the outcome of every request, after 90 days. What
is overdue everybody can see.`,
		Example: "  porchlight agency owed",
		Args:    cobra.NoArgs,
		RunE: a.Do(cli.Nothing(func(ctx context.Context) error {
			var list []node.Debt
			if err := a.atAgency(ctx, "agency.owed", nil, &list); err != nil {
				return err
			}
			return a.Show(list, func(w io.Writer) error {
				return ui.List(w, list, "nothing is owed", []string{"OWED", "REQUEST", "CASE", "DUE"}, func(o node.Debt) []string {
					due := ui.When(o.Due, a.Now())
					if o.Overdue {
						due = "OVERDUE: " + due
					}
					return []string{o.What, ui.Short(o.Request), o.Case, due}
				})
			})
		})),
	}
}
