package node

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/porchlight-mesh/porchlight/consent"
)

// A Debt is an account of a request that its agency has not given yet.
type Debt struct {
	What    string            `json:"what"` // "report" or "outcome"
	Request consent.RequestID `json:"request"`
	Case    string            `json:"case"`
	Due     time.Time         `json:"due"`
	Overdue bool              `json:"overdue"`
}

// Debts lists what an agency owes: a report of each exigent request, within 72 hours, and an outcome of every request, within 90 days.
// What is due soonest comes first.
func (p *Peer) Debts(id consent.AgencyID) []Debt {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := []Debt{}
	for _, r := range p.requests {
		if r.Agency != id {
			continue
		}
		report, outcome := p.account(p.dockets[id].account(r.ID), r.Body)
		if report != nil && report.Given.IsZero() {
			all = append(all, Debt{"report", r.ID, r.Body.Case, report.By, report.State == Missing})
		}
		if outcome.Given.IsZero() {
			all = append(all, Debt{"outcome", r.ID, r.Body.Case, outcome.By, outcome.State == Missing})
		}
	}
	slices.SortFunc(all, func(a, b Debt) int {
		return cmp.Or(a.Due.Compare(b.Due), strings.Compare(string(a.Request), string(b.Request)), strings.Compare(b.What, a.What))
	})
	return all
}
