package cli

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/porchlight-mesh/porchlight/cmd/porchlight/internal/ui"
	"github.com/porchlight-mesh/porchlight/consent/docket"
	"github.com/porchlight-mesh/porchlight/consent/request"
	"github.com/porchlight-mesh/porchlight/node"
	"github.com/porchlight-mesh/porchlight/node/record"
)

// recordFlags are those of `porchlight observe record`.
type recordFlags struct{ agency, format, out string }

// NewRecordCommand is `porchlight observe record`.
func NewRecordCommand(a *App) *cobra.Command {
	var f recordFlags
	cmd := &cobra.Command{
		Use:   "record",
		Short: "Show or export the public record of every agency",
		Long: `Shows, for every agency that any version of the charter admitted, how it stands and what it owes. With
--format it writes the whole record: every request in full, with its objections, its report, its outcome,
and, where owners are not shown it, why; officers, proofs of misconduct, entries that do not count.

  json   one document with a version
  csv    one line a request; a cell that begins with = + - @ or a tab gets an apostrophe before it, so that
         no spreadsheet takes an agency's words for a formula
  html   one page that needs nothing else, to print or to put on a web server

Deletions are counted over all that the docket promises, made-up ones and real ones alike: nobody can tell them
apart, and all are due. A breach is what an owner showed with the agency's own signature.

The record is what this node holds; it works in the folder of every role, running or not. Who was asked, who
answered and who did not is in no record.`,
		Example: `  porchlight observe record
  porchlight observe record --format html --out record.html
  porchlight observe record --agency 'Elmford Police' --format csv > requests.csv
  porchlight observe record --dir ~/.porchlight/home --format json --out /srv/www`,
		Args: cobra.NoArgs,
		RunE: a.Do(Nothing(func(ctx context.Context) error { return a.record(ctx, f) })),
	}
	cmd.Flags().StringVar(&f.agency, "agency", "", "only this agency, by its `name`, its id or the beginning of it")
	cmd.Flags().StringVar(&f.format, "format", "", "`format` to write the whole record in: "+strings.Join(record.Formats(), ", ")+" (default with --out: as the file's name ends)")
	cmd.Flags().StringVar(&f.out, "out", "", "new `file` to write, or a folder to write record.FORMAT into (default standard output)")
	return cmd
}

func (a *App) record(ctx context.Context, f recordFlags) error {
	dir, err := a.Folder(string(node.Observe))
	if err != nil {
		return err
	}
	if err := f.settle(a.JSON); err != nil {
		return err
	}
	return a.WithNode(ctx, dir, func(n node.Caller) error {
		var r node.Record
		if err := n.Call(ctx, "record", node.RecordArg{Agency: f.agency}, &r); err != nil {
			return err
		}
		switch {
		case f.format == "":
			return a.writeRecord(r)
		case f.out == "":
			w := bufio.NewWriter(a.Out)
			return errors.Join(record.Write(w, f.format, r, requestsOf(ctx, n)), w.Flush())
		}
		if err := writeNew(f.out, func(w io.Writer) error { return record.Write(w, f.format, r, requestsOf(ctx, n)) }); err != nil {
			return err
		}
		return a.Show(map[string]any{"file": f.out, "agencies": len(r.Agencies)}, func(w io.Writer) error {
			return ui.Facts(w, "written", f.out, "agencies", fmt.Sprint(len(r.Agencies)))
		})
	})
}

// settle says what is written where, before anything is asked of a node.
func (f *recordFlags) settle(json bool) error {
	if f.format == "" && json {
		f.format = "json"
	}
	info, err := os.Stat(f.out)
	folder := err == nil && info.IsDir()
	if f.format == "" && f.out != "" && !folder {
		f.format = strings.TrimPrefix(filepath.Ext(f.out), ".")
	}
	if f.format == "" && f.out == "" {
		return nil
	}
	if !slices.Contains(record.Formats(), f.format) {
		return Usage("say --format "+strings.Join(record.Formats(), ", --format ")+", or give --out a name that ends so", "%q is no format of a record", f.format)
	}
	if f.out == "" {
		return nil
	}
	if folder {
		f.out = filepath.Join(f.out, "record."+f.format)
	}
	return NewFile(f.out)
}

// writeNew writes a file that is not there yet, all of it or none.
func writeNew(path string, write func(io.Writer) error) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(file)
	err = write(w)
	if err == nil {
		err = errors.Join(w.Flush(), file.Sync())
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

// requestsOf asks a node for the requests of an agency, a page at a time.
func requestsOf(ctx context.Context, n node.Caller) record.Requests {
	return func(g node.AgencyRecord) iter.Seq2[node.RequestRecord, error] {
		return func(yield func(node.RequestRecord, error) bool) {
			for before := g.Entries; before > 0; {
				var page node.RequestsPage
				if err := n.Call(ctx, "record.requests", node.RequestsArg{Agency: g.ID, Before: before}, &page); err != nil {
					yield(node.RequestRecord{}, err)
					return
				}
				for _, q := range page.Requests {
					if !yield(q, nil) {
						return
					}
				}
				before = page.Next
			}
		}
	}
}

func (a *App) writeRecord(r node.Record) error {
	if len(r.Agencies) == 0 {
		fmt.Fprintln(a.Out, "the charter has admitted no agency")
	}
	for i, g := range r.Agencies {
		if i > 0 {
			fmt.Fprintln(a.Out)
		}
		fmt.Fprintln(a.Out, ui.Clean(g.Name))
		if err := writeAgency(a.Out, g); err != nil {
			return err
		}
	}
	return nil
}

func writeAgency(w io.Writer, g node.AgencyRecord) error {
	var events, asked, refused []string
	for _, e := range g.Charter {
		s := fmt.Sprintf("%s %s (version %d)", e.What, ui.UTC(e.At), e.Version)
		if e.Reason != "" {
			s += ": " + e.Reason
		}
		events = append(events, s)
	}
	for _, b := range request.Bases() {
		if n := g.Tally.Basis[b]; n > 0 {
			asked = append(asked, fmt.Sprintf("%d %s", n, b))
		}
	}
	for _, class := range slices.Sorted(maps.Keys(g.Refused)) {
		refused = append(refused, fmt.Sprintf("%d %s", g.Refused[class], class))
	}
	gone := 0
	for _, o := range g.Officers {
		if !o.Revoked.IsZero() {
			gone++
		}
	}
	t, kept := g.Tally, g.Promises
	misconduct, exigent, notShown := "", "", ""
	if g.Proof != nil {
		misconduct = g.Proof.Shows
	}
	if !g.Exigent {
		exigent = "count no more: a report was not given in time"
	}
	if g.NotShown > 0 {
		notShown = fmt.Sprint(g.NotShown)
	}
	return ui.Facts(w, "  id", string(g.ID), "  class", string(g.Class), "  state", g.Standing.Words(), "  charter", strings.Join(events, "; "),
		"  docket", fmt.Sprintf("%d entries, root %s", g.Entries, g.Root), "  witnessed", g.Witnessed.Words(), "  misconduct", misconduct,
		"  requests", fmt.Sprintf("%d, %d live", t.Requests, t.Live), "  on what basis", strings.Join(asked, ", "), "  not shown", notShown,
		"  emergencies", exigent, "  reports", fmt.Sprintf("%d missing, %d late", t.ReportsMissing, t.ReportsLate), "  outcomes", fmt.Sprintf("%d missing, %d late", t.OutcomesMissing, t.OutcomesLate),
		"  objections", fmt.Sprint(t.Objections), "  deletions", kept.Deletions(), "  last daily entry", kept.LastWord(), "  holds", kept.HoldWords(),
		"  passed on", kept.TransferWords(), "  breaches", kept.BreachWords(), "  officers", fmt.Sprintf("%d, %d revoked", g.Persons, gone),
		"  refused entries", strings.Join(refused, ", "))
}

// NewOverdueCommand is `porchlight observe overdue`.
func NewOverdueCommand(a *App) *cobra.Command {
	return &cobra.Command{
		Use:   "overdue [AGENCY]",
		Short: "List the deletions that were due and are not said",
		Long: `Lists, for every agency or for one, by its name, its id or the beginning of it, the commitments of its docket
whose deletion was due more than a day ago and is not said, what was due first before the rest.

Most commitments are made up, so that nobody can tell how many clips an agency holds, and all of them are to
be deleted in time: one that is overdue shows that the agency did not do or did not say what it signed, and
not whose clip it is. A court's hold covers releases without naming them; so many of those that are overdue
are accounted for, and the rest are not.`,
		Example: "  porchlight observe overdue\n  porchlight observe overdue 'Elmford Police' --dir ~/.porchlight/home",
		Args:    cobra.MaximumNArgs(1),
		RunE: a.Do(func(ctx context.Context, args []string) error {
			dir, err := a.Folder(string(node.Observe))
			if err != nil {
				return err
			}
			var list []node.AgencyOverdue
			if err := a.CallEither(ctx, dir, "overdue", node.RecordArg{Agency: strings.Join(args, "")}, &list); err != nil {
				return err
			}
			return a.Show(list, func(w io.Writer) error { return writeOverdue(w, list) })
		}),
	}
}

func writeOverdue(w io.Writer, list []node.AgencyOverdue) error {
	if len(list) == 0 {
		fmt.Fprintln(w, "the charter has admitted no agency")
	}
	for i, g := range list {
		if i > 0 {
			fmt.Fprintln(w)
		}
		p := g.Promises
		fmt.Fprintln(w, ui.Clean(g.Name))
		if err := ui.Facts(w, "  deletions", cmp.Or(p.Deletions(), "none promised so far"), "  last daily entry", p.LastWord(), "  holds", p.HoldWords()); err != nil {
			return err
		}
		if len(g.Overdue) == 0 {
			continue
		}
		var rows [][]string
		for _, o := range g.Overdue {
			rows = append(rows, []string{"  " + string(o.Due), days(o.Due, g.On), string(o.Made), string(o.Commitment)})
		}
		fmt.Fprintln(w)
		if err := ui.Table(w, []string{"  DUE", "OVERDUE FOR", "PROMISED", "COMMITMENT"}, rows); err != nil {
			return err
		}
		if n := p.Overdue - len(g.Overdue); n > 0 {
			fmt.Fprintf(w, "  and %d more\n", n)
		}
	}
	return nil
}

// days is how long before another a day was.
func days(due, on docket.Day) string {
	n := int(on.Time().Sub(due.Time()) / (24 * time.Hour))
	if n == 1 {
		return "1 day"
	}
	return fmt.Sprintf("%d days", n)
}
