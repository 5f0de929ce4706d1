package agencycmd

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/porchlight-mesh/porchlight/cmd/porchlight/internal/cli"
	"github.com/porchlight-mesh/porchlight/cmd/porchlight/internal/ui"
	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/geo"
	"github.com/porchlight-mesh/porchlight/consent/request"
	"github.com/porchlight-mesh/porchlight/node"
	"github.com/porchlight-mesh/porchlight/node/agency"
)

func newRequestGroup(a *app) *cobra.Command {
	cmd := cli.Group(&cobra.Command{
		Use:   "request",
		Short: "Draft, sign, publish and end a request, and account for it",
		Long: `A request goes through three hands: the node drafts it, the officer signs it, the supervisor signs it,
each on a machine of their own; then the node publishes it in the docket. It cannot be edited afterwards.
The report of an emergency goes the same way. Every request ends in an outcome, and perhaps earlier in a
resolve.`,
		Example: `  porchlight agency request draft --out request.note …
  porchlight agency request sign request.note --key ruiz.key
  porchlight agency request sign request.note --key kim.key
  porchlight agency request publish request.note`,
	})
	cmd.AddCommand(newOffencesCommand(a), newDraftCommand(a), newSignCommand(a), newAgencyPublishCommand(a, "publish FILE", "porchlight agency request publish request.note"), newResolveCommand(a),
		newReportCommand(a), newOutcomeCommand(a))
	return cmd
}

func newOffencesCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "offences",
		Short: "List the offences a request may name",
		Long: `Lists the codes of the FBI's National Incident-Based Reporting System that a request may name. The list
is closed: what is not on it cannot be asked about.`,
		Example: "  porchlight agency request offences",
		Args:    cobra.NoArgs,
		RunE: a.Do(cli.Nothing(func(context.Context) error {
			type offence struct {
				Code  request.Offence `json:"code"`
				Title string          `json:"title"`
			}
			var list []offence
			var rows [][]string
			for _, o := range request.Offences() {
				list = append(list, offence{o, o.Title()})
				rows = append(rows, []string{string(o), o.Title()})
			}
			return a.Show(list, func(w io.Writer) error { return ui.Table(w, []string{"CODE", "OFFENCE"}, rows) })
		})),
	}
}

// draftFlags are what a draft is made of, as typed.
type draftFlags struct {
	agency.Draft
	out, from, until, at, place, area, around, textFile, officer, supervisor, order string
	radius                                                                          float64
}

func newDraftCommand(a *app) *cobra.Command {
	var d draftFlags
	cmd := &cobra.Command{
		Use:   "draft --out FILE --case REF --offence CODE --basis BASIS …",
		Short: "Draft a request for the officer and the supervisor to sign",
		Long: `Drafts a request and checks it against the charter: window, area, jurisdiction, terms, and a text without
pressure, personal data or a description by race alone. The node must be running, because a request names
the addresses it takes answers at; it also makes the key that will sign for what is received.

The area is a polygon from a file (--area), or a circle (--around with --radius). Offences are NIBRS codes,
as in 220 for burglary; porchlight agency request offences lists them.

Bases: ` + basisList() + `.`,
		Example: `  porchlight agency request draft --out request.note --case 26-1187 --offence 220 \
    --basis reasonable-suspicion --incident-at '2026-11-22 19:10' --incident-place 51.5007,-0.1246 \
    --around 51.5007,-0.1246 --radius 200 --from '2026-11-22 19:00' --until '2026-11-22 19:30' \
    --text "A burglary at a shop on Elm Street. We look for a grey van that left northwards." \
    --contact "Det. Ruiz, +44 20 7946 0000" --officer ruiz.pub --supervisor kim.pub`,
		Args: cobra.NoArgs,
		RunE: a.Do(cli.Nothing(func(ctx context.Context) error {
			return a.draft(ctx, &d)
		})),
	}
	f := cmd.Flags()
	f.StringVar(&d.out, "out", "", "`file` to write the draft to")
	f.StringVar(&d.Case, "case", "", "case `reference`")
	f.StringVar(&d.Offence, "offence", "", "NIBRS `code`")
	f.StringVar(&d.Basis, "basis", "", "legal `basis`")
	f.StringVar(&d.order, "order", "", "`file` of the warrant or order; its hash stands in the request")
	f.StringVar(&d.OrderHash, "order-hash", "", "SHA-256 of the warrant or order, in `hex`, instead of --order")
	f.StringVar(&d.at, "incident-at", "", "when it happened, `UTC`")
	f.StringVar(&d.place, "incident-place", "", "where it happened, `LAT,LON`")
	f.StringVar(&d.area, "area", "", "GeoJSON `file` with the polygon asked about")
	f.StringVar(&d.around, "around", "", "middle of a circle asked about, `LAT,LON`")
	f.Float64Var(&d.radius, "radius", 0, "its radius, `metres`")
	f.StringVar(&d.from, "from", "", "beginning of the window, `UTC`")
	f.StringVar(&d.until, "until", "", "end of the window, `UTC`")
	f.StringVar(&d.Text, "text", "", "what happened and what is looked for, in plain words")
	f.StringVar(&d.textFile, "text-file", "", "`file` with that text")
	f.StringVar(&d.Contact, "contact", "", "whom to ask, with a telephone number or address")
	f.IntVar(&d.RetentionDays, "retention-days", 0, "`days` a clip is kept (default: the charter's most)")
	f.IntVar(&d.UnusedDays, "unused-days", 0, "`days` a clip is kept that is not used (default: the charter's most)")
	f.StringArrayVar(&d.Recipients, "recipient", nil, "`who` else may see the clips; may be repeated (default: nobody)")
	f.BoolVar(&d.Resharing, "resharing", false, "ask that clips may be passed on")
	f.IntVar(&d.ExpiresDays, "expires-days", 0, "`days` the request stands (default: the charter's most)")
	f.StringVar(&d.officer, "officer", "", "public `key` or .pub file of the officer who signs")
	f.StringVar(&d.supervisor, "supervisor", "", "public `key` or .pub file of the supervisor who signs")
	cli.MustFlags(cmd, "out", "case", "offence", "basis", "incident-at", "incident-place", "from", "until", "contact", "officer", "supervisor")
	cmd.MarkFlagsMutuallyExclusive("text", "text-file")
	cmd.MarkFlagsOneRequired("text", "text-file")
	cmd.MarkFlagsMutuallyExclusive("area", "around")
	cmd.MarkFlagsOneRequired("area", "around")
	cmd.MarkFlagsRequiredTogether("around", "radius")
	cmd.MarkFlagsMutuallyExclusive("order", "order-hash")
	return cmd
}

func basisList() string {
	var names []string
	for _, b := range request.Bases() {
		names = append(names, string(b))
	}
	return strings.Join(names, ", ")
}

// circleVertices is how many corners a circle is drawn with: its area is then within 1 % of the
// circle's.
const circleVertices = 32

// maxOrder bounds the file of a warrant, in bytes.
const maxOrder = 64 << 20

// parse fills in the draft from what was typed.
func (d *draftFlags) parse() (err error) {
	if d.From, err = cli.ParseTime("from", d.from); err != nil {
		return err
	}
	if d.Until, err = cli.ParseTime("until", d.until); err != nil {
		return err
	}
	if d.IncidentAt, err = cli.ParseTime("incident-at", d.at); err != nil {
		return err
	}
	p, err := cli.ParsePoint("incident-place", d.place)
	if err != nil {
		return err
	}
	d.IncidentLat, d.IncidentLon = p.Lat, p.Lon
	var area geo.Polygon
	if d.area != "" {
		area, err = readArea(d.area)
	} else if p, err = cli.ParsePoint("around", d.around); err == nil {
		if area = geo.Circle(p, d.radius, circleVertices); area.Validate() != nil {
			err = cli.Usage("give the radius in metres", "--radius %v makes no area", d.radius)
		}
	}
	if err != nil {
		return err
	}
	if d.Area, err = json.Marshal(geoJSON(area)); err != nil {
		return err
	}
	if d.textFile != "" {
		b, err := cli.ReadSmall(d.textFile, consent.MaxNote)
		if err != nil {
			return err
		}
		d.Text = strings.TrimSpace(string(b))
	}
	if d.order != "" {
		b, err := cli.ReadSmall(d.order, maxOrder)
		if err != nil {
			return err
		}
		d.OrderHash = consent.HashText(b)
	}
	if d.Officer, err = cli.ReadPublic(d.officer); err != nil {
		return fmt.Errorf("--officer: %w", err)
	}
	if d.Supervisor, err = cli.ReadPublic(d.supervisor); err != nil {
		return fmt.Errorf("--supervisor: %w", err)
	}
	return nil
}

// geoJSON writes a polygon as a GeoJSON geometry, its ring closed (RFC 7946, section 3.1.6).
func geoJSON(p geo.Polygon) any {
	return struct {
		Type        string        `json:"type"`
		Coordinates [][]geo.Point `json:"coordinates"`
	}{"Polygon", [][]geo.Point{append(append([]geo.Point{}, p...), p[0])}}
}

func (a *app) draft(ctx context.Context, d *draftFlags) error {
	if err := d.parse(); err != nil {
		return err
	}
	if err := cli.NewFile(d.out); err != nil {
		return err
	}
	dir, err := a.Folder(string(node.Agency))
	if err != nil {
		return err
	}
	var text agency.Drafted
	if err := a.Call(ctx, dir, "agency.draft", d.Draft, &text); err != nil {
		return err
	}
	return a.writeDraft(d.out, []byte(text.Text))
}

func (a *app) writeRequest(w io.Writer, r request.Request) error {
	if err := ui.Facts(w, "case", r.Case, "offence", fmt.Sprintf("%s (%s)", r.Offence.Title(), r.Offence), "basis", r.Basis.Title(), "order", r.OrderHash,
		"incident", ui.UTC(r.Incident.At.Time)+fmt.Sprintf(" at %.5f,%.5f", r.Incident.Place.Lat, r.Incident.Place.Lon),
		"window", ui.Span(r.From.Time, r.Until.Time)+", "+ui.Length(r.Window()), "area", ui.Area(r.Area.AreaM2()),
		"terms", cli.TermsText(r.Terms.RetentionDays, r.Terms.UnusedDays, r.Terms.Recipients, r.Terms.Resharing),
		"contact", r.Contact, "answers to", strings.Join(r.Reply, " "), "expires", ui.When(r.Expires.Time, a.Now()),
		"officer", r.Officer.Name(), "supervisor", r.Supervisor.Name()); err != nil {
		return err
	}
	fmt.Fprintln(w, "text")
	ui.Wrap(w, "  ", r.Text, 90)
	return nil
}

// newAgencyPublishCommand publishes any docket entry; a request is one.
func newAgencyPublishCommand(a *app, use, example string) *cobra.Command {
	return &cobra.Command{
		Use:   use,
		Short: "Put a signed document into the docket and spread it",
		Long: `Appends a signed document (an enrolment, a request, its end, report or outcome, a hold, a transfer) to
this agency's docket and spreads it in the mesh. A docket only grows: what is published cannot be edited
or removed.`,
		Example: "  " + example,
		Args:    cobra.ExactArgs(1),
		RunE: a.Do(func(ctx context.Context, args []string) error {
			note, err := cli.ReadSmall(args[0], consent.MaxNote)
			if err != nil {
				return err
			}
			return a.publish(ctx, note)
		}),
	}
}

func (a *app) publish(ctx context.Context, note []byte) error {
	dir, err := a.Folder(string(node.Agency))
	if err != nil {
		return err
	}
	var p agency.Published
	if err := a.Call(ctx, dir, "agency.publish", agency.Entry{Note: string(note)}, &p); err != nil {
		return err
	}
	return a.Show(p, func(w io.Writer) error {
		switch {
		case p.Waits:
			ui.Sentence(w, fmt.Sprintf("the %s is entry %d of the docket, and %d of the %d witnesses that the charter asks for have confirmed it", p.Kind, p.Index, p.Cosigned, p.Quorum))
			fmt.Fprintln(w, "it is passed on as soon as enough of them have: this node goes on asking")
		case p.Quorum > 0:
			ui.Sentence(w, fmt.Sprintf("published the %s as entry %d of the docket, confirmed by %d witnesses; passed on to %d peers", p.Kind, p.Index, p.Cosigned, p.Peers))
		default:
			ui.Sentence(w, fmt.Sprintf("published the %s as entry %d of the docket; passed on to %d peers", p.Kind, p.Index, p.Peers))
		}
		if p.Request != "" {
			fmt.Fprintf(w, "request %s\n", p.Request)
		}
		if p.Peers == 0 && !p.Waits {
			fmt.Fprintln(w, "nobody is connected: others catch up once they are")
		}
		return nil
	})
}
