package agencycmd

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/porchlight-mesh/porchlight/cmd/porchlight/internal/cli"
	"github.com/porchlight-mesh/porchlight/cmd/porchlight/internal/ui"
	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/docket"
	"github.com/porchlight-mesh/porchlight/consent/request"
	"github.com/porchlight-mesh/porchlight/footage/durable"
	"github.com/porchlight-mesh/porchlight/node"
	"github.com/porchlight-mesh/porchlight/node/agency"
)

func newOfficerCommand(a *app) *cobra.Command {
	cmd := cli.Group(&cobra.Command{
		Use:   "officer",
		Short: "Enrol and revoke the keys of officers and supervisors",
		Long: `Who may sign for an agency stands in its docket. A supervisor signs an enrolment or a revocation on a
machine of their own; the agency's node publishes it. The charter names the first supervisors.`,
		Example: `  porchlight agency officer enrol --name "Det. Ruiz" --key ruiz.pub --role officer --by kim.key --out enrol.note
  porchlight agency publish enrol.note`,
	})
	cmd.AddCommand(newEnrolCommand(a), newRevokeCommand(a))
	return cmd
}

// officerFlags are what an enrolment or revocation is made of, as typed.
type officerFlags struct {
	name, key, role, expires, reason, by, out string
}

// How long an enrolment lasts, in days.
const (
	enrolDays    = 90 // where nobody says
	maxEnrolDays = int(docket.MaxEnrolment / (24 * time.Hour))
)

func newEnrolCommand(a *app) *cobra.Command {
	var o officerFlags
	cmd := &cobra.Command{
		Use:   "enrol --name NAME --key KEY --role ROLE --by KEYFILE --out FILE",
		Short: "Sign a key's enrolment, for the node to publish",
		Long: fmt.Sprintf(`Writes and signs an enrolment. It needs no node and no network. The key counts from the docket entry
after its enrolment, until it expires or is revoked. An enrolment ends after %d days, or on the day that
--expires names, which is at most %d days off. A key is enrolled once: who signs for longer makes a new
key in time and has it enrolled beside the old one.`, enrolDays, maxEnrolDays),
		Example: `  porchlight agency officer enrol --name "Det. Ruiz" --key ruiz.pub --role officer \
    --by kim.key --out enrol.note`,
		Args: cobra.NoArgs,
		RunE: a.Do(cli.Nothing(func(context.Context) error { return a.officer(docket.Enrol, o) })),
	}
	o.flags(cmd)
	cmd.Flags().StringVar(&o.expires, "expires", "", fmt.Sprintf("`date` the enrolment ends, at most %d days off (default: in %d days)", maxEnrolDays, enrolDays))
	return cmd
}

func newRevokeCommand(a *app) *cobra.Command {
	var o officerFlags
	cmd := &cobra.Command{
		Use:   "revoke --name NAME --key KEY --role ROLE --by KEYFILE --out FILE",
		Short: "Sign a key's revocation, for the node to publish",
		Long: `Writes and signs a revocation. From its docket entry on the key signs nothing that counts; what it signed
before still does. A revoked key is never enrolled again.`,
		Example: `  porchlight agency officer revoke --name "Det. Ruiz" --key ruiz.pub --role officer \
    --reason "left the department" --by kim.key --out revoke.note`,
		Args: cobra.NoArgs,
		RunE: a.Do(cli.Nothing(func(context.Context) error { return a.officer(docket.Revoke, o) })),
	}
	o.flags(cmd)
	return cmd
}

func (o *officerFlags) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.name, "name", "", "`name` of the person, as the public may know it")
	f.StringVar(&o.key, "key", "", "public `key` of the person, or its .pub file")
	f.StringVar(&o.role, "role", "", "officer or supervisor")
	f.StringVar(&o.reason, "reason", "", "why, for the public")
	f.StringVar(&o.by, "by", "", "key `file` of the supervisor who signs")
	f.StringVar(&o.out, "out", "", "`file` to write; must not exist")
	cli.MustFlags(cmd, "name", "key", "role", "by", "out")
}

// signed is the answer of commands that write a signed document.
type signed struct {
	File string       `json:"file"`
	By   string       `json:"signed_by"`
	Body consent.Body `json:"body"`
}

func (a *app) officer(action docket.Action, o officerFlags) error {
	expires, err := cli.ParseTime("expires", o.expires)
	if err != nil {
		return err
	}
	key, err := cli.ReadPublic(o.key)
	if err != nil {
		return fmt.Errorf("--key: %w", err)
	}
	by, err := a.ReadKey(o.by)
	if err != nil {
		return err
	}
	if r := docket.Role(o.role); r != docket.RoleOfficer && r != docket.RoleSupervisor {
		return cli.Usage("", "--role %q: must be officer or supervisor", o.role)
	}
	now := consent.At(a.Now())
	body := docket.Officer{Action: action, Role: docket.Role(o.role), Name: o.name, Key: key, Reason: o.reason, Created: now, By: by.Verifier()}
	if action == docket.Enrol {
		if expires.IsZero() {
			expires = now.AddDate(0, 0, enrolDays)
		}
		body.Expires = consent.At(expires)
	}
	return a.signTo(o.out, body, by, "porchlight agency publish "+o.out, func(w io.Writer) error {
		until := ""
		if action == docket.Enrol {
			until = "until " + ui.When(expires, now.Time)
		}
		return ui.Facts(w, string(action), fmt.Sprintf("%s as %s", o.name, o.role), "key", string(key), "counts", until, "signed by", by.Name())
	})
}

// signTo signs a body to a new file.
func (a *app) signTo(out string, body consent.Body, by consent.Key, next string, text func(w io.Writer) error) error {
	if err := cli.NewFile(out); err != nil {
		return err
	}
	note, err := consent.Sign(body, by)
	if err != nil {
		return err
	}
	if err := durable.WriteFile(out, note, 0o644); err != nil {
		return err
	}
	return a.Show(signed{out, by.Name(), body}, func(w io.Writer) error {
		if err := text(w); err != nil {
			return err
		}
		_, err := fmt.Fprintf(w, "written to %s\nnext: %s\n", out, next)
		return err
	})
}

func newResolveCommand(a *app) *cobra.Command {
	var key, reason, out string
	cmd := &cobra.Command{
		Use:   "resolve ID --key KEYFILE --reason TEXT",
		Short: "End a request: it is answered, or no longer needed",
		Long: `Signs the end of a request as its officer and publishes it. Homes stop showing it and let go of the
recordings they held for it.

With --out it only writes the signed document, for an officer whose machine is not the node's.`,
		Example: `  porchlight agency request resolve 3f9a0c17b2e4 --key ruiz.key --reason "the vehicle was found"`,
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
			body := docket.Resolve{Request: id, Reason: reason, Created: consent.At(a.Now()), Officer: k.Verifier()}
			if out != "" {
				return a.signTo(out, body, k, "porchlight agency publish "+out, func(w io.Writer) error {
					return ui.Facts(w, "resolve", string(id), "reason", reason, "signed by", k.Name())
				})
			}
			note, err := consent.Sign(body, k)
			if err != nil {
				return err
			}
			return a.publish(ctx, note)
		}),
	}
	cmd.Flags().StringVar(&key, "key", "", "your key `file`, as its officer")
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the public")
	cmd.Flags().StringVar(&out, "out", "", "write the signed document to this `file` and publish nothing")
	cli.MustFlags(cmd, "key", "reason")
	return cmd
}

// fullRequestID takes a whole id as it is, and asks the agency's node about the beginning of one.
func (a *app) fullRequestID(ctx context.Context, s string) (consent.RequestID, error) {
	if id, err := consent.ParseRequestID(s); err == nil {
		return id, nil
	}
	var r node.RequestStatus
	if err := a.atAgency(ctx, "request", node.RequestArg{Request: s}, &r); err != nil {
		return "", err
	}
	return r.ID, nil
}

// entryText is one docket entry in a line. The entry was checked when it was taken in; what
// cannot be read is said to be so.
func entryText(e agency.DocketEntry) string {
	note := []byte(e.Note)
	day := func(t consent.Time) string { return t.UTC().Format(time.DateOnly) }
	switch e.Kind {
	case "officer":
		if o, err := consent.Open(note, func(o docket.Officer) ([]consent.VerifierKey, error) { return []consent.VerifierKey{o.By}, nil }); err == nil {
			return strings.Join(strings.Fields(fmt.Sprintf("%s %s as %s, by %s, %s", o.Action, o.Name, o.Role, o.By.Name(), day(o.Created))), " ")
		}
	case request.Kind:
		if r, err := request.Open(note); err == nil {
			return fmt.Sprintf("%s: %s, %s, %s", ui.Short(request.IDOf(note)), r.Case, r.Offence.Title(), day(r.Created))
		}
	case "resolve":
		if r, err := docket.OpenResolve(note); err == nil {
			return fmt.Sprintf("%s: %s, %s", ui.Short(r.Request), r.Reason, day(r.Created))
		}
	case "report":
		if r, err := docket.OpenReport(note); err == nil {
			return fmt.Sprintf("%s: by %s and %s, %s", ui.Short(r.Request), r.Officer.Name(), r.Supervisor.Name(), day(r.Created))
		}
	case "outcome":
		if o, err := docket.OpenOutcome(note); err == nil {
			return fmt.Sprintf("%s: %s, %s", ui.Short(o.Request), o.Outcome.Title(), day(o.Created))
		}
	case "daily":
		if d, err := docket.OpenDaily(note); err == nil {
			n := 0
			for _, t := range d.Commitments {
				n += len(t.Of)
			}
			return fmt.Sprintf("%s: %d commitments, %d used, %d exported, %d passed on, %d deleted, %d messages",
				d.Day, n, len(d.Used), len(d.Exported), len(d.PassedOn), len(d.Deleted), len(d.Messages))
		}
	case "hold":
		if h, err := docket.OpenHold(note); err == nil {
			renews := ""
			if h.Renews != "" {
				renews = " renews " + ui.Short(h.Renews)
			}
			return fmt.Sprintf("%s%s: %s, %s, of %s, %s", ui.Short(string(request.IDOf(note))), renews, h.Court, h.Number, ui.Count(len(h.Covers), "release"), day(h.Created))
		}
	case "transfer":
		if t, err := docket.OpenTransfer(note); err == nil {
			return fmt.Sprintf("%s: %s to a body of class %s, ground %s, %s", ui.Short(string(request.IDOf(note))), ui.Count(len(t.Covers), "release"), t.To, t.Ground, day(t.Created))
		}
	case "supersede":
		if s, err := docket.OpenSupersede(note); err == nil {
			return fmt.Sprintf("%s by %s: %s, %s", ui.Short(s.Request), ui.Short(s.Replacement), s.Reason, day(s.Created))
		}
	}
	return "cannot be read"
}
