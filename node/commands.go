package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
)

// Status is the answer to "status".
type Status struct {
	Role     Role            `json:"role"`
	Dir      string          `json:"dir"`
	Running  bool            `json:"running"`
	Mesh     string          `json:"mesh,omitempty"`
	MeshID   consent.MeshID  `json:"mesh_id,omitempty"`
	Version  int             `json:"charter_version,omitempty"`
	Addrs    []string        `json:"addresses"`
	Peers    []PeerStatus    `json:"peers"`
	Requests int             `json:"requests"`
	Stewards []StewardStatus `json:"stewards"`          // whom this node keeps in touch with, and why
	Reach    *ReachStatus    `json:"reach,omitempty"`   // of a running steward
	Witness  *WitnessStatus  `json:"witness,omitempty"` // of a steward or an observer that has a witness's key
	Owed     []Debt          `json:"owed,omitempty"`    // of an agency
	URL      string          `json:"url,omitempty"`     // where this node serves dockets

	// What is wrong with this machine's clock, where keys are destroyed by it, and the way out.
	Clock     string `json:"clock,omitempty"`
	ClockHint string `json:"clock_hint,omitempty"`
}

// PeerStatus is one connected peer.
type PeerStatus struct {
	ID   string `json:"id"`
	Addr string `json:"address"`
}

// AgencyStatus is one agency of the charter and its record as this node holds it.
type AgencyStatus struct {
	ID        consent.AgencyID `json:"id"`
	Name      string           `json:"name"`
	Class     string           `json:"class"`
	PolicyURL string           `json:"policy_url"`
	Entries   int64            `json:"docket_entries"`
	Root      string           `json:"docket_root"`
	Requests  int              `json:"requests"`
	Witnessed bool             `json:"witnessed"`
	Forked    bool             `json:"forked"`
	Standing  AgencyStanding   `json:"standing"`
	Promises  Promises         `json:"promises"` // of deletions
}

// RequestStatus is one admitted request.
type RequestStatus struct {
	ID       consent.RequestID `json:"id"`
	Agency   string            `json:"agency"`
	AgencyID consent.AgencyID  `json:"agency_id"`
	Index    int64             `json:"index"`
	Case     string            `json:"case"`
	Offence  string            `json:"offence"`
	Basis    string            `json:"basis"`
	Text     string            `json:"text"`
	From     time.Time         `json:"from"`
	Until    time.Time         `json:"until"`
	AreaM2   float64           `json:"area_m2"`
	Expires  time.Time         `json:"expires"`
	Created  time.Time         `json:"created"`
	Live     bool              `json:"live"`
	Ended    string            `json:"ended,omitempty"`
	Note     string            `json:"note"`

	Objections []Objection `json:"objections"`
	Breaches   []Breach    `json:"breaches"`           // of what was signed about the clips that answered it
	Promises   *Promises   `json:"promises,omitempty"` // the agency's, where one request is asked for
	Report     *Owed       `json:"report,omitempty"`   // of an exigent request
	Outcome    Owed        `json:"outcome"`
}

// CharterNote is the arguments of "charter.publish": versions in order, those already known are passed over.
type CharterNote struct {
	Notes []string `json:"notes"`
}

// Commands is what every role answers.
func (p *Peer) Commands() Commands {
	return Commands{
		"status":          Do(p.status),
		"agencies":        Do(p.agencies),
		"requests":        Do(p.listRequests),
		"request":         Do(p.oneRequest),
		"record":          Do(p.showRecord),
		"record.requests": Do(p.showRequests),
		"overdue":         Do(p.showOverdue),
		"charter":         Do(p.showCharter),
		"charter.publish": Do(p.publishCharter),
		"object":          Do(p.publishObjection),
	}
}

func (p *Peer) status(context.Context, struct{}) (Status, error) {
	s := Status{Role: p.State.Role(), Dir: p.State.Path(), Running: p.host != nil, Addrs: p.Addrs(), Peers: []PeerStatus{},
		Stewards: p.stewardStatus(), Reach: p.reachStatus()}
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.charter(); c != nil {
		s.Mesh, s.MeshID, s.Version = c.Mesh, p.chain.Mesh(), c.Version
	}
	s.Requests, s.Witness = len(p.requests), p.witnessStatus()
	if p.host != nil {
		for _, q := range p.host.Peers() {
			s.Peers = append(s.Peers, PeerStatus{ID: q.ID, Addr: q.Addr})
		}
	}
	return s, nil
}

func (p *Peer) agencies(context.Context, struct{}) ([]AgencyStatus, error) {
	out := []AgencyStatus{}
	c := p.Charter()
	if c == nil {
		return out, nil
	}
	requests := p.Requests()
	for _, a := range c.Agencies {
		s := AgencyStatus{ID: a.ID(), Name: a.Name, Class: string(a.Class), PolicyURL: a.PolicyURL, Witnessed: c.Quorum > 0, Standing: p.Standing(a.ID()), Promises: p.Promises(a.ID())}
		if d := p.Docket(a.ID()); d != nil {
			s.Entries, s.Root, s.Forked = d.Size(), d.Root(), d.Forked()
		}
		for _, r := range requests {
			if r.Agency == a.ID() {
				s.Requests++
			}
		}
		out = append(out, s)
	}
	return out, nil
}

func (p *Peer) requestStatus(r Request) (RequestStatus, error) {
	b := r.Body
	note, err := p.Note(r)
	report, outcome := p.Owes(r)
	return RequestStatus{ID: r.ID, Agency: r.Name, AgencyID: r.Agency, Index: r.Index, Case: b.Case, Offence: b.Offence.Title(), Basis: string(b.Basis),
		Text: b.Text, From: b.From.Time, Until: b.Until.Time, AreaM2: b.Area.AreaM2(), Expires: b.Expires.Time,
		Created: b.Created.Time, Live: r.Live(p.Now()), Ended: r.Ended, Note: note,
		Objections: p.Objections(r), Breaches: p.BreachesOf(r), Report: report, Outcome: outcome}, err
}

func (p *Peer) listRequests(context.Context, struct{}) ([]RequestStatus, error) {
	out := []RequestStatus{}
	for _, r := range p.Requests() {
		s, err := p.requestStatus(r)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

// RequestArg names one request by its id or the beginning of it.
type RequestArg struct {
	Request string `json:"request"`
}

func (p *Peer) oneRequest(_ context.Context, a RequestArg) (RequestStatus, error) {
	r, err := p.Request(a.Request)
	if err != nil {
		return RequestStatus{}, err
	}
	s, err := p.requestStatus(r)
	promises := p.Promises(r.Agency)
	s.Promises = &promises
	return s, err
}

func (p *Peer) showCharter(context.Context, struct{}) (*charter.Charter, error) {
	c := p.Charter()
	if c == nil {
		return nil, WithHint(errors.New("this node has joined no mesh"), "run `porchlight join LINK` with an invitation")
	}
	return c, nil
}

func (p *Peer) publishCharter(ctx context.Context, a CharterNote) (Status, error) {
	for _, n := range a.Notes {
		note := []byte(n)
		if p.topic == nil {
			if err := p.AdmitCharter(note); err != nil && !errors.Is(err, errKnown) {
				return Status{}, err
			}
			continue
		}
		if p.hasCharter(note) {
			continue
		}
		// Judged here first, so that a refusal says why.
		if err := p.topic.Publish(ctx, note); err != nil {
			if _, why := ExtendCharter(p.chainCopy(), note); why != nil {
				err = why
			}
			return Status{}, fmt.Errorf("charter not published: %w", err)
		}
	}
	return p.status(ctx, struct{}{})
}

func (p *Peer) hasCharter(note []byte) bool {
	for _, n := range p.chainCopy().Notes() {
		if string(n) == string(note) {
			return true
		}
	}
	return false
}

func (p *Peer) chainCopy() charter.Chain {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.chain
}
