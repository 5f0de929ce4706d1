package docket

import (
	"cmp"
	"encoding/hex"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
	"github.com/porchlight-mesh/porchlight/consent/grant"
	"github.com/porchlight-mesh/porchlight/consent/request"
)

// HoldLives is how long after it was created a hold stands in the way of deletions: it is to be renewed within 90 days.
const HoldLives = 90 * 24 * time.Hour

// maxCovers bounds the releases that one hold or transfer is about.
const maxCovers = 64

// Hold declares that a court's order outranks the terms of releases: they are kept until it is over.
type Hold struct {
	Court          string              `json:"court"`
	Number         string              `json:"number"`          // of the court's docket
	DocumentSHA256 string              `json:"document_sha256"` // of the order
	Covers         []grant.Commitment  `json:"covers"`          // ascending; what each is of, only its owner is told
	Renews         string              `json:"renews,omitempty"`
	Created        consent.Time        `json:"created"`
	Officer        consent.VerifierKey `json:"officer"`
	Supervisor     consent.VerifierKey `json:"supervisor"`
}

// Kind is "hold".
func (Hold) Kind() string { return "hold" }

// Check refuses what no docket could hold.
func (h Hold) Check() error {
	if err := checkText("court", h.Court, 2, 120); err != nil {
		return err
	}
	if err := checkText("number", h.Number, 1, 60); err != nil {
		return err
	}
	if _, err := consent.ParseHash(h.DocumentSHA256); err != nil {
		return consent.Refuse(consent.BadValue, "document_sha256", "%w", err)
	}
	if h.Renews != "" {
		if _, err := consent.ParseHash(h.Renews); err != nil {
			return consent.Refuse(consent.BadValue, "renews", "%w", err)
		}
	}
	if err := checkCovers(h.Covers, h.Renews != ""); err != nil {
		return err
	}
	return checkPair(h.Created, h.Officer, h.Supervisor)
}

// A Ground is why a release was passed on.
type Ground string

// The closed list of grounds.
const (
	GroundOwner      Ground = "owner"      // the owner signed that it may be
	GroundOrder      Ground = "order"      // a court ordered it
	GroundDisclosure Ground = "disclosure" // what the law gives the defence
)

// Grounds returns the closed list.
func Grounds() []Ground { return []Ground{GroundOwner, GroundOrder, GroundDisclosure} }

// Words says it in plain words.
func (g Ground) Words() string {
	switch g {
	case GroundOwner:
		return "the owner agreed"
	case GroundOrder:
		return "a court's order"
	case GroundDisclosure:
		return "owed to the defence"
	}
	return string(g)
}

// The recipients of a transfer that are no agencies.
const (
	ToCourt   charter.AgencyClass = "court"
	ToDefence charter.AgencyClass = "defence"
)

// Recipients returns the closed list of the classes that a release may be passed on to.
func Recipients() []charter.AgencyClass { return append(charter.Classes(), ToCourt, ToDefence) }

// Transfer declares that releases were passed on.
type Transfer struct {
	To             charter.AgencyClass `json:"to"` // of Recipients
	Ground         Ground              `json:"ground"`
	DocumentSHA256 string              `json:"document_sha256,omitempty"` // of the order, where the ground is one
	Covers         []grant.Commitment  `json:"covers"`                    // as of a hold
	Created        consent.Time        `json:"created"`
	Officer        consent.VerifierKey `json:"officer"`
	Supervisor     consent.VerifierKey `json:"supervisor"`
}

// Kind is "transfer".
func (Transfer) Kind() string { return "transfer" }

// Check refuses what no docket could hold.
func (t Transfer) Check() error {
	if !slices.Contains(Recipients(), t.To) {
		return consent.Refuse(consent.BadValue, "to", "%.40q is none of %v", string(t.To), Recipients())
	}
	if !slices.Contains(Grounds(), t.Ground) {
		return consent.Refuse(consent.BadValue, "ground", "%.40q is none of %v", string(t.Ground), Grounds())
	}
	if (t.Ground == GroundOrder) == (t.DocumentSHA256 == "") {
		return consent.Refuse(consent.BadValue, "document_sha256", "an order has one, and nothing else has")
	}
	if t.DocumentSHA256 != "" {
		if _, err := consent.ParseHash(t.DocumentSHA256); err != nil {
			return consent.Refuse(consent.BadValue, "document_sha256", "%w", err)
		}
	}
	if err := checkCovers(t.Covers, false); err != nil {
		return err
	}
	return checkPair(t.Created, t.Officer, t.Supervisor)
}

func checkCovers(covers []grant.Commitment, none bool) error {
	if n := len(covers); n > maxCovers || n == 0 && !none {
		return consent.Refuse(consent.BadValue, "covers", "%d releases; 1 to %d", n, maxCovers)
	}
	return checkCommitments("covers", covers)
}

// OpenHold reads a hold signed by the officer and the supervisor it names.
func OpenHold(msg []byte) (Hold, error) {
	return consent.Open(msg, func(h Hold) ([]consent.VerifierKey, error) {
		return []consent.VerifierKey{h.Officer, h.Supervisor}, nil
	})
}

// OpenTransfer reads a transfer signed by the officer and the supervisor it names.
func OpenTransfer(msg []byte) (Transfer, error) {
	return consent.Open(msg, func(t Transfer) ([]consent.VerifierKey, error) {
		return []consent.VerifierKey{t.Officer, t.Supervisor}, nil
	})
}

// declared is what a log holds of holds and transfers.
type declared struct {
	holds     map[tlog.Hash]*held          // that were not renewed
	renewed   map[tlog.Hash]tlog.Hash      // by which hold each of the others was
	transfers map[Transfers]int            // by class and ground
	passed    map[grant.Commitment]passing // by what a transfer covers
}

// passing is the transfer that covers something: which entry, to whom and on what ground.
type passing struct {
	entry tlog.Hash
	Transfers
}

type held struct {
	court, number string
	covers        []grant.Commitment
	created       consent.Time
	before        *held // that it renewed
}

// admit holds a hold against the one that it renews. clock is the docket's: no hold that is over is renewed by dating back.
func (d *declared) admit(h *Hold, clock time.Time) error {
	if h.Renews == "" {
		return nil
	}
	id, _ := consent.ParseHash(h.Renews) // Check has read it
	old := d.holds[tlog.Hash(id)]
	switch {
	case old == nil:
		return consent.Refuse(consent.UnknownHold, "renews", "the docket has no hold %.16s… that was not renewed", h.Renews)
	case h.Created.Before(old.created.Time) || max(h.Created.Sub(old.created.Time), clock.Sub(old.created.Time)) > HoldLives:
		return consent.Refuse(consent.Expired, "renews", "the hold of %s is over: a court's new order is another hold", old.created)
	case h.Court != old.court || h.Number != old.number:
		return consent.Refuse(consent.WrongSubject, "number", "the hold is of %s, %s", old.court, old.number)
	case slices.ContainsFunc(h.Covers, func(c grant.Commitment) bool { return !slices.Contains(old.covers, c) }):
		return consent.Refuse(consent.TermsWider, "covers", "a release that the hold did not cover")
	}
	return nil
}

func (d *declared) hold(id tlog.Hash, h *Hold) {
	var before *held
	if h.Renews != "" {
		old, _ := consent.ParseHash(h.Renews)
		before = d.holds[tlog.Hash(old)]
		delete(d.holds, tlog.Hash(old))
		d.renewed[tlog.Hash(old)] = id
	}
	d.holds[id] = &held{h.Court, h.Number, h.Covers, h.Created, before}
}

// over says whether nobody has renewed the hold in time.
func (h *held) over(at time.Time) bool { return at.Sub(h.created.Time) > HoldLives }

// as is the hold as it stood at a time, without what is dated after that; nil where it was not there yet, or is over.
func (h *held) as(at time.Time) *held {
	for h != nil && h.created.After(at.Add(request.ClockSkew)) {
		h = h.before
	}
	if h == nil || h.over(at) {
		return nil
	}
	return h
}

// Covers says whether the hold of that id, or the one by which it was renewed last, lives at a time and covers a commitment under a salt.
func (l *Log) Covers(id string, salt grant.Secret, c grant.Commitment, at time.Time) bool {
	h, err := consent.ParseHash(id)
	if err != nil {
		return false
	}
	now := tlog.Hash(h)
	for next, ok := l.declared.renewed[now]; ok; next, ok = l.declared.renewed[now] {
		now = next
	}
	hold := l.declared.holds[now].as(at)
	return hold != nil &&
		slices.ContainsFunc(hold.covers, func(b grant.Commitment) bool { return b.Opens(salt, []byte(c)) })
}

// A LiveHold is a hold as it stands in a docket.
type LiveHold struct {
	ID     string // of the entry
	Court  string
	Number string
	Covers []grant.Commitment
	Until  time.Time // when it ends, unless it is renewed
}

// LiveHolds are those that cover something and are not over at a time, the one that ends first before the others. None is too new for it: what an
// agency declared by its own clock stands at once, also where its keys are kept by a time that is behind.
func (l *Log) LiveHolds(at time.Time) (all []LiveHold) {
	for id, h := range l.declared.holds {
		if !h.over(at) && len(h.covers) > 0 {
			all = append(all, LiveHold{hex.EncodeToString(id[:]), h.court, h.number, slices.Clone(h.covers), h.created.Add(HoldLives)})
		}
	}
	slices.SortFunc(all, func(a, b LiveHold) int { return cmp.Or(a.Until.Compare(b.Until), cmp.Compare(a.ID, b.ID)) })
	return all
}

// TransferOf returns the id of the transfer to a class of agencies on a ground that covers a blinded commitment, "" where none does.
func (l *Log) TransferOf(blind grant.Commitment, to charter.AgencyClass, on Ground) string {
	if p, ok := l.declared.passed[blind]; ok && p.To == to && p.Ground == on {
		return hex.EncodeToString(p.entry[:])
	}
	return ""
}

// Holds counts the holds that live at a time, and the releases that they cover.
func (l *Log) Holds(at time.Time) (holds, covered int) {
	for _, h := range l.declared.holds {
		if h := h.as(at); h != nil && len(h.covers) > 0 {
			holds++
			covered += len(h.covers)
		}
	}
	return holds, covered
}

// Renewed counts how often a hold was renewed.
func (l *Log) Renewed() int { return len(l.declared.renewed) }

// Transfers counts the transfers to one class of recipient on one ground.
type Transfers struct {
	To     charter.AgencyClass `json:"to"`
	Ground Ground              `json:"ground"`
	Count  int                 `json:"count"`
}

// Transfers counts the transfers that were declared, in the order of the closed lists.
func (l *Log) Transfers() (all []Transfers) {
	for _, to := range Recipients() {
		for _, g := range Grounds() {
			if n := l.declared.transfers[Transfers{To: to, Ground: g}]; n > 0 {
				all = append(all, Transfers{to, g, n})
			}
		}
	}
	return all
}

// Fails says whether the docket fails a receipt in that way, as it stands at a time. Of what was signed for when the charter had no daily entries none
// has to tell.
func (l *Log) Fails(r grant.Receipt, f grant.Fault, at time.Time) bool {
	said, known := l.Follow(r.Commitment)
	switch f {
	case grant.FaultMissing:
		by := DayOf(r.At.Add(grant.CommitWithin))
		return !known && l.HasDaily(DayOf(r.At.Time)) && (l.LastDaily() > by || DayOf(at) > by.Add(DeletionGrace))
	case grant.FaultOverdue:
		return known && said.Deleted == "" && DayOf(at) > said.Due.Add(DeletionGrace)
	case grant.FaultContradicted:
		// A day apart, since the docket's day may end while the receipt is signed.
		return known && said.Deleted != "" && r.State != grant.Deleted && DayOf(r.At.Time) > said.Deleted.Add(DeletionGrace)
	}
	return false
}
