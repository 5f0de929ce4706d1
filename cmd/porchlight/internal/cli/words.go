package cli

import (
	"cmp"
	"fmt"
	"io"
	"strings"

	"github.com/porchlight-mesh/porchlight/cmd/porchlight/internal/ui"
	"github.com/porchlight-mesh/porchlight/node"
)

// ReportText says how the public report of an emergency stands, "" where none was claimed.
func ReportText(o *node.Owed) string {
	if o == nil {
		return ""
	}
	return o.Words(ui.UTC)
}

// OutcomeText says what the agency told of its investigation.
func OutcomeText(o node.Owed) string {
	if o.Text != "" {
		return o.Text + "; " + o.Words(ui.UTC)
	}
	return o.Words(ui.UTC)
}

// WriteObjections writes who objects to a request, and why.
func WriteObjections(w io.Writer, all []node.Objection) {
	for _, o := range all {
		fmt.Fprintf(w, "\nobjection by %s, %s\n", ui.Clean(o.By), ui.UTC(o.Created.Time))
		ui.Wrap(w, "  ", o.Reason, 90)
	}
}

// DeletionsText says what is to be held against an agency's promises to delete, else how punctual they are; "" where there are none.
func DeletionsText(p *node.Promises) string {
	if p == nil {
		return ""
	}
	return cmp.Or(p.Words(), p.Deletions())
}

// WriteBreaches writes what owners showed of the clips that answered a request.
func WriteBreaches(w io.Writer, all []node.Breach) {
	for _, b := range all {
		fmt.Fprintf(w, "\nbreach shown by an owner, %s\n", ui.UTC(b.Created))
		ui.Wrap(w, "  ", b.Words(), 90)
	}
}

// TermsText is an agency's terms in words.
func TermsText(retention, unused int, recipients []string, resharing bool) string {
	s := fmt.Sprintf("up to %d days, %d if not used", retention, unused)
	if len(recipients) > 0 {
		s += "; also seen by " + strings.Join(recipients, ", ")
	}
	if resharing {
		return s + "; may be passed on"
	}
	return s + "; may not be passed on"
}

// LeadIn says how far before the asked beginning a clip starts, "" where it does not.
func LeadIn(seconds float64) string {
	if seconds <= 0 {
		return ""
	}
	return fmt.Sprintf("%.1f seconds before what was asked, from the last keyframe", seconds)
}

// Gaps says how many stretches of a clip were not recorded.
func Gaps(n int) string {
	if n == 0 {
		return "none"
	}
	return fmt.Sprintf("%d stretches without recording", n)
}

// Overlaps says how many stretches were recorded twice over, "" where none was.
func Overlaps(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%d stretches that two recordings claim, of which one is shown: a clock was wrong", n)
}
