// Package record writes the public record of agencies for people and programs: as JSON, as CSV, and as one web page.
//
// # JSON
//
// One document, a [node.Record] with the requests of each agency inside it, newest first. Its member "version" is
// [node.RecordVersion]; a program that finds another number there shall not guess.
//
// # CSV
//
// RFC 4180, in UTF-8, one heading and then one line a request. Times are UTC. A cell that begins with =, +, -, @, a tab or a carriage
// return, also as a number, gets an apostrophe before it, so that no spreadsheet takes an agency's words for a formula.
//
// # Page
//
// One file that needs nothing else: no script, no picture, no other host. It can be put on any web server, printed, or
// opened from a disk. Everything that an agency wrote is escaped, and its own policy says so to the browser once more.
//
// All three are written request by request: a docket of a hundred thousand entries needs no more memory than a short one.
package record

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/porchlight-mesh/porchlight/consent/geo"
	"github.com/porchlight-mesh/porchlight/consent/request"
	"github.com/porchlight-mesh/porchlight/node"
)

// Requests hands out the requests of one agency, newest first.
type Requests func(a node.AgencyRecord) iter.Seq2[node.RequestRecord, error]

// Formats lists the names of the formats.
func Formats() []string { return []string{"json", "csv", "html"} }

// Write writes a record in the format of that name.
func Write(w io.Writer, format string, r node.Record, requests Requests) error {
	switch format {
	case "json":
		return JSON(w, r, requests)
	case "csv":
		return CSV(w, r, requests)
	case "html":
		return HTML(w, r, requests)
	}
	return fmt.Errorf("a record has no format %q; it has %s", format, strings.Join(Formats(), ", "))
}

// JSON writes a record as one document.
func JSON(w io.Writer, r node.Record, requests Requests) error {
	agencies := r.Agencies
	r.Agencies = []node.AgencyRecord{}
	head, err := encode(r)
	if err != nil {
		return err
	}
	out := &printer{w: w}
	out.print(string(bytes.TrimSuffix(head, []byte("]}"))))
	for i, a := range agencies {
		if i > 0 {
			out.print(",")
		}
		a.Requests = nil
		head, err := encode(a)
		if err != nil {
			return err
		}
		out.print("\n" + strings.TrimSuffix(string(head), "}") + `,"requests":[`)
		sep := "\n"
		for q, err := range requests(a) {
			if err != nil {
				return err
			}
			line, err := encode(q)
			if err != nil {
				return err
			}
			out.print(sep + string(line))
			sep = ",\n"
		}
		out.print("]}")
	}
	out.print("]}\n")
	return out.err
}

func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSpace(b.Bytes()), err
}

// A printer remembers the first error of its writer.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) print(s string) {
	if p.err == nil {
		_, p.err = io.WriteString(p.w, s)
	}
}

// A column is one of the CSV.
type column struct {
	name string
	cell func(node.RequestRecord) string
}

var columns = []column{
	{"agency", func(q node.RequestRecord) string { return q.AgencyName }},
	{"agency_id", func(q node.RequestRecord) string { return string(q.Agency) }},
	{"request", func(q node.RequestRecord) string { return string(q.ID) }},
	{"docket_entry", func(q node.RequestRecord) string { return fmt.Sprint(q.Index) }},
	{"state", func(q node.RequestRecord) string { return q.State }},
	{"ended", func(q node.RequestRecord) string { return ending(q, func(e node.Ending) string { return utc(e.At) }) }},
	{"ended_reason", func(q node.RequestRecord) string { return ending(q, func(e node.Ending) string { return e.Reason }) }},
	{"replaced_by", func(q node.RequestRecord) string {
		return ending(q, func(e node.Ending) string { return string(e.Replacement) })
	}},
	{"not_shown", func(q node.RequestRecord) string {
		if q.NotShown == nil {
			return ""
		}
		return string(q.NotShown.Class)
	}},
	{"not_shown_why", func(q node.RequestRecord) string {
		if q.NotShown == nil {
			return ""
		}
		return q.NotShown.Why
	}},
	{"created", func(q node.RequestRecord) string { return utc(q.Body.Created.Time) }},
	{"expires", func(q node.RequestRecord) string { return utc(q.Body.Expires.Time) }},
	{"case", func(q node.RequestRecord) string { return q.Body.Case }},
	{"offence", func(q node.RequestRecord) string { return string(q.Body.Offence) }},
	{"offence_title", func(q node.RequestRecord) string { return q.Body.Offence.Title() }},
	{"basis", func(q node.RequestRecord) string { return string(q.Body.Basis) }},
	{"order_sha256", func(q node.RequestRecord) string { return q.Body.OrderHash }},
	{"incident_at", func(q node.RequestRecord) string { return utc(q.Body.Incident.At.Time) }},
	{"incident_place_lat_lon", func(q node.RequestRecord) string { return place(q.Body.Incident.Place) }},
	{"from", func(q node.RequestRecord) string { return utc(q.Body.From.Time) }},
	{"until", func(q node.RequestRecord) string { return utc(q.Body.Until.Time) }},
	{"area_m2", func(q node.RequestRecord) string { return fmt.Sprintf("%.0f", q.AreaM2) }},
	{"area_corners_lat_lon", func(q node.RequestRecord) string { return corners(q.Body.Area) }},
	{"text", func(q node.RequestRecord) string { return q.Body.Text }},
	{"contact", func(q node.RequestRecord) string { return q.Body.Contact }},
	{"retention_days", func(q node.RequestRecord) string { return fmt.Sprint(q.Body.Terms.RetentionDays) }},
	{"unused_days", func(q node.RequestRecord) string { return fmt.Sprint(q.Body.Terms.UnusedDays) }},
	{"recipients", func(q node.RequestRecord) string { return strings.Join(q.Body.Terms.Recipients, "; ") }},
	{"resharing", func(q node.RequestRecord) string { return fmt.Sprint(q.Body.Terms.Resharing) }},
	{"officer", func(q node.RequestRecord) string { return q.Officer.String() }},
	{"officer_key", func(q node.RequestRecord) string { return string(q.Body.Officer) }},
	{"supervisor", func(q node.RequestRecord) string { return q.Supervisor.String() }},
	{"supervisor_key", func(q node.RequestRecord) string { return string(q.Body.Supervisor) }},
	{"reception_key", func(q node.RequestRecord) string { return string(q.Body.ReceptionKey) }},
	{"reply_addresses", func(q node.RequestRecord) string { return strings.Join(q.Body.Reply, " ") }},
	{"report", func(q node.RequestRecord) string { return report(q, func(o node.Owed) string { return o.State }) }},
	{"report_due", func(q node.RequestRecord) string { return report(q, func(o node.Owed) string { return utc(o.By) }) }},
	{"report_given", func(q node.RequestRecord) string { return report(q, func(o node.Owed) string { return utc(o.Given) }) }},
	{"report_text", func(q node.RequestRecord) string { return report(q, func(o node.Owed) string { return o.Text }) }},
	{"outcome", func(q node.RequestRecord) string { return q.Outcome.State }},
	{"outcome_due", func(q node.RequestRecord) string { return utc(q.Outcome.By) }},
	{"outcome_given", func(q node.RequestRecord) string { return utc(q.Outcome.Given) }},
	{"outcome_finding", func(q node.RequestRecord) string { return q.Outcome.Text }},
	{"objections", func(q node.RequestRecord) string {
		var all []string
		for _, o := range q.Objections {
			all = append(all, o.By+": "+o.Reason)
		}
		return strings.Join(all, "\n")
	}},
	{"breaches_stand", func(q node.RequestRecord) string { return fmt.Sprint(breaches(q, true)) }},
	{"breaches_answered", func(q node.RequestRecord) string { return fmt.Sprint(breaches(q, false)) }},
}

// breaches counts the breach records about what answered a request that stand, or that were answered since.
func breaches(q node.RequestRecord, stand bool) (n int) {
	for _, b := range q.Breaches {
		if b.Stands == stand {
			n++
		}
	}
	return n
}

func ending(q node.RequestRecord, say func(node.Ending) string) string {
	if q.Ending == nil {
		return ""
	}
	return say(*q.Ending)
}

func report(q node.RequestRecord, say func(node.Owed) string) string {
	if q.Report == nil {
		return ""
	}
	return say(*q.Report)
}

// CSV writes one line a request.
func CSV(w io.Writer, r node.Record, requests Requests) error {
	out := csv.NewWriter(w)
	out.UseCRLF = true
	line := make([]string, len(columns))
	for i, c := range columns {
		line[i] = c.name
	}
	if err := out.Write(line); err != nil {
		return err
	}
	for _, a := range r.Agencies {
		for q, err := range requests(a) {
			if err != nil {
				return err
			}
			for i, c := range columns {
				line[i] = inert(c.cell(q))
			}
			if err := out.Write(line); err != nil {
				return err
			}
		}
	}
	out.Flush()
	return out.Error()
}

// inert keeps a spreadsheet from taking a cell for a formula.
func inert(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		return "'" + s
	}
	return s
}

func utc(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05")
}

func place(p geo.Point) string { return fmt.Sprintf("%.6f, %.6f", p.Lat, p.Lon) }

func corners(p geo.Polygon) string {
	all := make([]string, len(p))
	for i, c := range p {
		all[i] = place(c)
	}
	return strings.Join(all, "; ")
}

// bases lists the bases in the order of the closed list, with how often each was claimed.
func bases(t node.Tally) (rows []figure) {
	for _, b := range request.Bases() {
		rows = append(rows, figure{b.Title(), t.Basis[b]})
	}
	return rows
}

// refusals lists the rules that entries break, by name.
func refusals(a node.AgencyRecord) (rows []figure) {
	for class, n := range a.Refused {
		rows = append(rows, figure{string(class), n})
	}
	slices.SortFunc(rows, func(a, b figure) int { return strings.Compare(a.Name, b.Name) })
	return rows
}

// A figure is one number and what it counts.
type figure struct {
	Name string
	N    int
}
