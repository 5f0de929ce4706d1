package node

import (
	"fmt"
	"strings"
	"time"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
	"github.com/porchlight-mesh/porchlight/consent/docket"
	"github.com/porchlight-mesh/porchlight/consent/request"
)

// RecordVersion is the version of the format of a [Record] in JSON.
const RecordVersion = 2

// A Record is what charter, dockets and papers say of agencies. All of it is public, and it is what this node holds: another may be
// further. Who was asked, who answered and who did not is in no record, since no node knows it. Requests are had one
// page after the other, by [Peer.RecordRequests].
type Record struct {
	Version  int            `json:"version"`
	Mesh     string         `json:"mesh"`
	MeshID   consent.MeshID `json:"mesh_id"`
	Charter  int            `json:"charter_version"`
	Made     time.Time      `json:"made"`
	Agencies []AgencyRecord `json:"agencies"`
}

// AgencyRecord is that of one agency, also of one that was removed.
type AgencyRecord struct {
	ID        consent.AgencyID      `json:"id"`
	Name      string                `json:"name"`
	Class     charter.AgencyClass   `json:"class"`
	PolicyURL string                `json:"policy_url"`
	Standing  AgencyStanding        `json:"standing"`
	Charter   []CharterEvent        `json:"charter"` // what versions of the charter did, oldest first
	Entries   int64                 `json:"docket_entries"`
	Root      string                `json:"docket_root"`
	Witnessed Witnessed             `json:"witnessed"`
	Proof     *Proof                `json:"misconduct,omitempty"`
	Refused   map[consent.Class]int `json:"refused_entries"` // entries that stand in the docket and do not count, by the rule they break
	Unread    int                   `json:"unread_entries"`  // entries of which this node has only the hash
	Exigent   bool                  `json:"exigent_counts"`  // whether its emergencies still count: every report was given in time
	Succeeds  []consent.AgencyID    `json:"succeeds"`        // the dockets that it lost, newest first; each has a record of its own
	Tally     Tally                 `json:"tally"`
	Promises  Promises              `json:"promises"`  // of deletions
	NotShown  int                   `json:"not_shown"` // requests that owners are not shown, or would not be by today's charter
	Officers  []OfficerRecord       `json:"officers"`  // at most maxOfficers, in the order of the docket
	Persons   int                   `json:"officers_in_all"`
	Requests  []RequestRecord       `json:"requests,omitempty"` // in a written record, newest first
}

// CharterEvent is what one version of the charter did with an agency.
type CharterEvent struct {
	Version int       `json:"version"`
	At      time.Time `json:"at"`
	What    string    `json:"what"`
	Reason  string    `json:"reason,omitempty"`
}

// How an agency stands. Its requests are shown where it is in order, where the mesh has no witnesses, and where it does not keep its promises, which stands
// beside them then.
const (
	InOrder      = "in-order"
	NotWitnessed = "not-witnessed"     // the charter asks for no witnesses
	NotKept      = "promises-not-kept" // deletions are overdue, its docket is silent, or owners showed so ([Promises.Words])
	Withheld     = "withheld"          // the docket is known to be longer than what anybody gives
	Suspended    = "suspended"         // the charter lets it ask nothing for now
	CharterOver  = "charter-over"      // the charter ended
	Removed      = "removed"           // the charter lists it no more
	Misconduct   = "misconduct"        // it signed two versions of its docket
)

// AgencyStanding is how an agency stands, the gravest first that is true of it.
type AgencyStanding struct {
	State  string    `json:"state"`
	Since  time.Time `json:"since,omitzero"`
	Reason string    `json:"reason,omitempty"`
}

// Words says it in plain words.
func (s AgencyStanding) Words() string {
	var t string
	switch s.State {
	case InOrder:
		t = "in order"
	case NotWitnessed:
		t = "in order, not witnessed"
	case NotKept:
		t = "promises not kept"
	case Withheld:
		t = "withheld"
	case Suspended:
		t = "suspended by the charter"
	case CharterOver:
		t = "the charter has been over"
	case Removed:
		t = "not in the charter"
	case Misconduct:
		t = "suspended: misconduct"
	}
	if !s.Since.IsZero() {
		t += " since " + s.Since.UTC().Format("2006-01-02 15:04 UTC")
	}
	if s.Reason != "" {
		t += ": " + s.Reason
	}
	return t
}

// Witnessed says how many witnesses of the charter have confirmed that everybody sees the same docket, and how far.
type Witnessed struct {
	Quorum  int      `json:"quorum"` // how many have to; 0: none is asked for
	Of      int      `json:"of"`     // how many the charter names
	By      []string `json:"by"`     // the names of those who did
	Entries int64    `json:"entries"`
}

// Words says it in plain words.
func (w Witnessed) Words() string {
	if w.Quorum == 0 {
		return "not witnessed: nobody but the agency vouches that everybody sees the same docket"
	}
	s := fmt.Sprintf("by %d of %d witnesses up to entry %d; %d have to", len(w.By), w.Of, w.Entries, w.Quorum)
	if len(w.By) > 0 {
		s += " (" + strings.Join(w.By, ", ") + ")"
	}
	return s
}

// Proof is a proof of misconduct.
type Proof struct {
	Shows string `json:"shows"`
	Text  string `json:"proof"`
}

// Tally counts what an agency asked and what it owes.
type Tally struct {
	Requests        int                   `json:"requests"`
	Live            int                   `json:"live"`
	Basis           map[request.Basis]int `json:"by_basis"`
	ReportsLate     int                   `json:"reports_late"`
	ReportsMissing  int                   `json:"reports_missing"`
	OutcomesLate    int                   `json:"outcomes_late"`
	OutcomesMissing int                   `json:"outcomes_missing"`
	Objections      int                   `json:"objections"`
}

// Person is somebody who signs in a docket. Where the docket gives a key no name, there is none but the key's.
type Person struct {
	Name string              `json:"name,omitempty"`
	Key  consent.VerifierKey `json:"key"`
}

func (p Person) String() string {
	if p.Name == "" {
		return p.Key.Name()
	}
	return p.Name
}

// OfficerRecord is what a docket says of one key.
type OfficerRecord struct {
	Person
	Role     docket.Role `json:"role"`
	Enrolled time.Time   `json:"enrolled,omitzero"` // zero: the charter names it as a first supervisor
	Expires  time.Time   `json:"expires,omitzero"`
	Revoked  time.Time   `json:"revoked,omitzero"`
	Reason   string      `json:"revoked_reason,omitempty"`
}

// RequestRecord is one request in full, and what the agency said of it since.
type RequestRecord struct {
	ID         consent.RequestID `json:"id"`
	Agency     consent.AgencyID  `json:"agency"`
	AgencyName string            `json:"agency_name"`
	Index      int64             `json:"index"`
	State      string            `json:"state"` // live, expired, superseded or resolved
	Ending     *Ending           `json:"ending,omitempty"`
	Officer    Person            `json:"officer"`
	Supervisor Person            `json:"supervisor"`
	AreaM2     float64           `json:"area_m2"`
	Body       request.Request   `json:"body"` // as it was signed
	Objections []Objection       `json:"objections"`
	Breaches   []Breach          `json:"breaches"`         // of what was signed about the clips that answered it
	Report     *Owed             `json:"report,omitempty"` // of an exigent request
	Outcome    Owed              `json:"outcome"`
	NotShown   *Bar              `json:"not_shown,omitempty"`
}

// Ending is what a docket says when it ends a request.
type Ending struct {
	At          time.Time         `json:"at"`
	Reason      string            `json:"reason"`
	Replacement consent.RequestID `json:"replacement,omitempty"` // of a superseded request
}

// Bar is why owners are not shown a request that asks; of one that is over, why they would not be by the charter in force now.
type Bar struct {
	Class consent.Class `json:"class"`
	Why   string        `json:"why"`
}

// What became of something owed.
const (
	Given   = "given"
	Late    = "late" // given after it was due
	Due     = "due"
	Missing = "missing" // not given, and it was due
)

// Owed is a report or an outcome that an agency owes the public for a request.
type Owed struct {
	State string    `json:"state"`
	By    time.Time `json:"due"`
	Given time.Time `json:"given,omitzero"`
	Text  string    `json:"text,omitempty"` // of the report, or the finding in plain words
}

// Words says how it stands, with moments written by when.
func (o Owed) Words(when func(time.Time) string) string {
	switch o.State {
	case Given:
		return "given " + when(o.Given)
	case Late:
		return "given late, " + when(o.Given) + "; it was due " + when(o.By)
	case Due:
		return "due by " + when(o.By)
	}
	return "missing; it was due " + when(o.By)
}

func owed(by, given, now time.Time) Owed {
	o := Owed{State: Due, By: by, Given: given}
	switch {
	case given.IsZero() && now.After(by):
		o.State = Missing
	case given.After(by):
		o.State = Late
	case !given.IsZero():
		o.State = Given
	}
	return o
}

// Owes is what the agency owes the public for a request, and how far it gave it; report is nil where the request claims no
// emergency.
func (p *Peer) Owes(r Request) (report *Owed, outcome Owed) {
	return p.account(p.Docket(r.Agency).account(r.ID), r.Body)
}

func (p *Peer) account(a docket.Account, r request.Request) (report *Owed, outcome Owed) {
	now := p.Now()
	if r.Basis == request.Exigent {
		o := owed(r.Created.Add(docket.ReportWithin), a.Reported.Time, now)
		report = &o
	}
	// The first one says whether it came in time, also where another has taken its place since.
	outcome = owed(r.Created.Add(docket.OutcomeWithin), a.Told.Time, now)
	if outcome.State == Given {
		outcome.Given = a.OutcomeAt.Time
	}
	outcome.Text = a.Outcome.Title()
	return report, outcome
}

// chronicle is what the versions of a charter that count did with an agency.
func chronicle(chain charter.Chain, id consent.AgencyID) (events []CharterEvent) {
	listed, suspended := false, ""
	for i, link := range chain {
		if len(link.Rivals) > 0 || i+1 < len(chain) && len(chain[i+1].Charter.Also) > 0 {
			continue
		}
		c := link.Charter
		tell := func(what, reason string) {
			events = append(events, CharterEvent{c.Version, c.Created.Time, what, reason})
		}
		a, lists := c.Agency(id)
		switch {
		case lists && !listed && a.Succeeds != nil:
			tell("admitted", fmt.Sprintf("it goes on from the docket %s, which was lost at %d entries", a.Succeeds.Agency, a.Succeeds.Size))
		case lists && !listed:
			tell("admitted", "")
		case listed && !lists:
			tell(leaves(c, id))
		}
		switch {
		case a.Suspended != "" && a.Suspended != suspended:
			tell("suspended", a.Suspended)
		case lists && a.Suspended == "" && suspended != "":
			tell("suspension lifted", "")
		}
		listed, suspended = lists, a.Suspended
	}
	return events
}

// leaves says why a version lists an agency no more.
func leaves(c *charter.Charter, id consent.AgencyID) (what, reason string) {
	for _, a := range c.Agencies {
		if a.Succeeds != nil && a.Succeeds.Agency == id {
			return "succeeded", "its docket was lost, and goes on as " + string(a.ID())
		}
	}
	for _, r := range c.Removed {
		if r.Agency == id {
			reason = r.Reason
		}
	}
	return "removed", reason
}

// Standing says how an agency stands, as far as this node knows.
func (p *Peer) Standing(id consent.AgencyID) AgencyStanding {
	p.mu.Lock()
	d, chain := p.dockets[id], p.chain
	p.mu.Unlock()
	if d != nil && d.Forked() {
		return AgencyStanding{State: Misconduct}
	}
	a, ok := chain.Agency(id)
	if !ok || d == nil || a.Suspended != "" {
		s := AgencyStanding{State: Removed}
		if ok && d != nil {
			s.State = Suspended
		}
		if events := chronicle(chain, id); len(events) > 0 {
			last := events[len(events)-1]
			s.Since, s.Reason = last.At, last.Reason
		}
		return s
	}
	if c := chain.Current(); c.Ended(p.Now()) {
		return AgencyStanding{State: CharterOver, Since: c.Ends.Time}
	}
	if _, since := d.Withheld(); !since.IsZero() {
		return AgencyStanding{State: Withheld, Since: since}
	}
	if p.Promises(id).Words() != "" {
		return AgencyStanding{State: NotKept}
	}
	if _, quorum := d.Witnesses(); quorum == 0 {
		return AgencyStanding{State: NotWitnessed}
	}
	return AgencyStanding{State: InOrder}
}

// Tally counts what an agency asked and what it owes.
func (p *Peer) Tally(id consent.AgencyID) Tally {
	t := Tally{Basis: map[request.Basis]int{}}
	p.mu.Lock()
	defer p.mu.Unlock()
	d := p.dockets[id]
	if d == nil {
		return t
	}
	objections := d.objected()
	for _, r := range p.requests {
		if r.Agency != id {
			continue
		}
		t.Requests++
		t.Basis[r.Body.Basis]++
		t.Objections += objections[r.ID]
		if r.Ended = d.ended(r.ID); r.Live(p.Now()) {
			t.Live++
		}
		report, outcome := p.account(d.account(r.ID), r.Body)
		if report != nil && report.State == Late {
			t.ReportsLate++
		}
		if report != nil && report.State == Missing {
			t.ReportsMissing++
		}
		if outcome.State == Late {
			t.OutcomesLate++
		}
		if outcome.State == Missing {
			t.OutcomesMissing++
		}
	}
	return t
}

// objected is how many objections there are to each request.
func (d *Docket) objected() map[consent.RequestID]int {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := map[consent.RequestID]int{}
	for id, notes := range d.objections {
		n[id] = len(notes)
	}
	return n
}
