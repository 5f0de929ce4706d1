package node

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/docket"
	"github.com/porchlight-mesh/porchlight/consent/grant"
)

// maxOverdue bounds how many overdue commitments of one docket are listed.
const maxOverdue = 1000

// Promises is what a docket says of deletions on a day, and what owners showed that it does not. Of an agency that the charter lists no more, which
// can make no entry, it is what the docket said on the day of its removal.
type Promises struct {
	docket.Tally
	LastDaily docket.Day `json:"last_daily,omitempty"`
	Removed   docket.Day `json:"removed,omitempty"` // the day on which the charter ceased to list the agency
	// Silent is the first day whose daily entry is overdue; "" where none is.
	Silent           docket.Day         `json:"silent_since,omitempty"`
	Unaccounted      int                `json:"unaccounted"`   // overdue, and more than holds that live cover
	Holds            int                `json:"holds"`         // legal holds that live
	Covered          int                `json:"covered"`       // releases that they cover
	HoldsRenewed     int                `json:"holds_renewed"` // ever
	Transfers        []docket.Transfers `json:"transfers"`     // that were declared, by class and ground
	BreachesStand    int                `json:"breaches_stand"`
	BreachesAnswered int                `json:"breaches_answered"` // since they were shown
}

// Deletions says how punctual the docket is; "" where it holds no commitment. It counts dummies and real ones alike, as everybody has to.
func (s Promises) Deletions() string {
	if s.Committed == 0 {
		return ""
	}
	t := fmt.Sprintf("%d promised; %d said in time, %d late, %d overdue", s.Committed, s.OnTime, s.Late, s.Overdue)
	if s.Overdue > 0 {
		t += fmt.Sprintf(", %d of them under no hold", s.Unaccounted)
	}
	return t
}

// LastWord says when the docket last spoke of deletions.
func (s Promises) LastWord() string {
	t := cmp.Or(string(s.LastDaily), "none so far")
	if s.Silent != "" {
		t += fmt.Sprintf("; silent since %s", s.Silent)
	}
	if s.Removed != "" {
		t += fmt.Sprintf("; not in the charter since %s, and says no more", s.Removed)
	}
	return t
}

// HoldWords says how many holds keep releases from being deleted.
func (s Promises) HoldWords() string {
	if s.Holds+s.HoldsRenewed == 0 {
		return "none live"
	}
	return fmt.Sprintf("%d live, over %d releases; renewed %d times so far", s.Holds, s.Covered, s.HoldsRenewed)
}

// TransferWords says to whom releases were passed on, and on what ground.
func (s Promises) TransferWords() string {
	if len(s.Transfers) == 0 {
		return "none"
	}
	parts := make([]string, len(s.Transfers))
	for i, t := range s.Transfers {
		parts[i] = fmt.Sprintf("%d to %s (%s)", t.Count, t.To, t.Ground.Words())
	}
	return strings.Join(parts, ", ")
}

// BreachWords says how often owners showed that the docket does not keep what was signed.
func (s Promises) BreachWords() string {
	return fmt.Sprintf("%d stand, %d answered since", s.BreachesStand, s.BreachesAnswered)
}

// Words says in plain words what an owner has to know before trusting the agency with a clip; "" where nothing is to be held against it.
func (s Promises) Words() string {
	var parts []string
	if n := s.BreachesStand; n > 0 {
		times := fmt.Sprintf("%d times", n)
		if n == 1 {
			times = "once"
		}
		parts = append(parts, "owners showed "+times+" that the docket does not keep what was signed about a clip's deletion")
	}
	if s.Unaccounted > 0 {
		parts = append(parts, fmt.Sprintf("%d of %d deletions overdue and under no hold", s.Unaccounted, s.Committed))
	}
	if s.Silent != "" {
		parts = append(parts, fmt.Sprintf("nothing said of deletions from %s on", s.Silent))
	}
	return strings.Join(parts, "; ")
}

// Promises counts what an agency's docket says of deletions; next to nothing where the charter has no daily entries.
func (p *Peer) Promises(id consent.AgencyID) (s Promises) {
	s.Transfers = []docket.Transfers{}
	d := p.Docket(id)
	if d == nil {
		return s
	}
	now := p.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.broken != nil {
		return s
	}
	at := d.judged(now)
	today := docket.DayOf(at)
	s.Tally, s.LastDaily, s.Silent = d.log.Tally(today), d.log.LastDaily(), d.log.Silent(today)
	s.Transfers = append(s.Transfers, d.log.Transfers()...)
	s.Holds, s.Covered = d.log.Holds(at)
	s.HoldsRenewed, s.Unaccounted = d.log.Renewed(), max(0, s.Overdue-s.Covered)
	if !d.until.IsZero() {
		s.Removed = docket.DayOf(d.until)
	}
	s.BreachesStand = len(d.standing(now))
	s.BreachesAnswered = len(d.breaches) - s.BreachesStand
	return s
}

// An Overdue is a commitment whose deletion was due and is not said. Whose it is nobody can tell, nor whether it is of a clip at all.
type Overdue struct {
	Commitment grant.Commitment `json:"commitment"`
	Made       docket.Day       `json:"made"`
	Due        docket.Day       `json:"due"`
}

// AgencyOverdue is what one agency's docket says of deletions, and the commitments that are overdue.
type AgencyOverdue struct {
	ID       consent.AgencyID `json:"id"`
	Name     string           `json:"name"`
	On       docket.Day       `json:"on"` // the day that this is of, by this node's clock
	Promises Promises         `json:"promises"`
	Overdue  []Overdue        `json:"overdue"` // at most maxOverdue, what was due first before the rest
}

// OverdueOf lists an agency's commitments that are overdue, what was due first before the rest, and the day on which they are.
func (p *Peer) OverdueOf(id consent.AgencyID) (on docket.Day, all []Overdue) {
	on = docket.DayOf(p.Now())
	d := p.Docket(id)
	if d == nil {
		return on, nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.broken != nil {
		return on, nil
	}
	on = docket.DayOf(d.judged(p.Now()))
	for _, c := range d.log.Overdue(on) {
		f, _ := d.log.Follow(c)
		all = append(all, Overdue{c, f.Day, f.Due})
	}
	slices.SortFunc(all, func(a, b Overdue) int {
		return cmp.Or(cmp.Compare(a.Due, b.Due), cmp.Compare(a.Made, b.Made), cmp.Compare(a.Commitment, b.Commitment))
	})
	return on, all
}

func (p *Peer) showOverdue(_ context.Context, arg RecordArg) ([]AgencyOverdue, error) {
	all := []AgencyOverdue{}
	agencies := standards(p.chainCopy())
	if arg.Agency != "" {
		id, err := p.findAgency(arg.Agency)
		if err != nil {
			return nil, err
		}
		agencies = map[consent.AgencyID]standard{id: agencies[id]}
	}
	for id, s := range agencies {
		on, over := p.OverdueOf(id)
		all = append(all, AgencyOverdue{id, s.agency.Name, on, p.Promises(id), append([]Overdue{}, over[:min(len(over), maxOverdue)]...)})
	}
	slices.SortFunc(all, func(a, b AgencyOverdue) int { return cmp.Or(strings.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	return all, nil
}
