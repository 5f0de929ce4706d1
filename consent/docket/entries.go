// Package docket is an agency's append-only public log: the keys of its officers, its requests, and
// what became of them.
//
// # Log
//
// A docket is a Merkle tree as in RFC 6962 (golang.org/x/mod/sumdb/tlog). A leaf is the whole signed note
// of an entry, its hash SHA-256(0x00 ‖ note); the id of a request is that hash in lower-case hex.
//
// A checkpoint is a C2SP tlog-checkpoint (https://c2sp.org/tlog-checkpoint) signed by the docket key:
//
//	porchlight.docket/<agency id>
//	<size, decimal>
//	<root, base64>
//
//	— <name of the docket key> <base64 of key hash and signature>
//
// The signature line carries the name that the charter gives the docket key; [NewKey] makes keys named
// like the origin, which ordinary monitors expect. There are no extension lines.
//
// Below it may stand the lines of witnesses whom the charter names, in its order, each at most once: C2SP cosignatures
// (https://c2sp.org/tlog-cosignature), whose key is the charter's under signature type 0x04 ([CosignerKey]). A witness
// signs a checkpoint only where it follows from the last one it signed of that docket, which the agency proves to it ([Add]). Where
// the charter has a quorum, no peer takes entries in, and no owner is shown a request, but under a checkpoint that so many
// witnesses cosigned: an agency cannot show one docket to one home and another to the rest.
//
// # Entries
//
// Entries are documents (package consent). What each needs:
//
//	officer     enrols or revokes the key of an officer or supervisor; signed by "by", a supervisor.
//	            An enrolment "expires", at most [MaxEnrolment] after it was created; a revocation never does
//	request     signed by its "officer", then its "supervisor"; sound in itself, its text included (package request)
//	supersede   ends a request that another replaces; signed by "officer", then "supervisor"
//	resolve     ends a request; signed by "officer"
//	report      the account of an exigent request, once; signed by "officer", then "supervisor"
//	outcome     what became of the investigation; signed by "officer"
//	hold        a court's order that outranks the terms of releases; signed by "officer", then "supervisor"
//	transfer    that releases were passed on; signed by "officer", then "supervisor"
//	daily       what became of releases and of dummies, and sealed messages; signed by "key", the docket key
//
// A key counts from the entry after the one that enrols it until the entry that revokes it, and for what was
// created before its enrolment expires. The charter names the first supervisors. A revoked key is
// not enrolled again. One public key has one role and one name.
//
// Nothing can be taken out of a log, so a peer that follows one keeps an entry that breaks these rules,
// or is of a kind it does not know, as an opaque leaf ([Log.Refused]); it has no effect and is shown to nobody.
// The agency's own node never appends one. Its hash is enough to go on with ([Leaf]).
//
// # Days
//
// A charter grants a docket so many entries and bytes a day; what is over breaks the rules, and is an opaque leaf to everybody alike. The
// day is the log's own: the latest on which an entry of it was created, in UTC. Every leaf counts as an entry, and those that can be
// read by their bytes.
//
// # Daily entries
//
// Where the charter has a plan for them (charter.Chain.Plans), a docket has a daily entry for each day from its first on, of that
// day's plan: the entry of the next day and no other comes next, created on its day or later. A day that was missed is made up for.
//
//	{"day":"2026-11-22","commitments":[{"keep_days":30,"of":["<commitment>",…]},…],"used":[…],"exported":[…],"passed_on":[…],
//	 "deleted":[…],"messages":["<base64>",…],"created":"<time>","key":"<docket key>"}
//
// A commitment is the SHA-256 of a release's secret and its CID (grant.Release.Commitment), or of nothing: random bytes that stand for no
// release. Every list stands in strictly ascending order, so that a place in it says nothing. A commitment is never twice in a docket.
//
// The plan has n commitments a day, k classes of retention, d days for what nobody uses, and messages, so many of such a size. Class i
// (from 0) has N slots, one for each j < n with j mod k = i. The N commitments of a class and a day D are a cohort. With R = N/4, rounded
// down, and K the class's days,
//
//	on day D         N commitments are made, at most R of them real
//	on D + min(d, K) exactly 3R of them are said to be used. The rest is due to be deleted
//	on D + K         exactly 2R of those used are said to be exported, exactly R of those exported are said to be passed on, and those
//	                 used are due to be deleted
//
// where all of this is said on one day if K ≤ d. An entry says exactly what falls on its day, and of deletions any that are due. That a
// deletion is missing breaks no rule, because a legal hold may stand in its way; it is overdue after [DeletionGrace] days ([Log.Overdue]), and
// when it comes, it counts for the day on which the docket showed it.
//
// All of that is the same whatever the agency has and does. What may differ is which commitments of a cohort are told to be what, and that says nothing:
// the numbers leave room for every real one to come to any state, and dummies, picked by chance, are what is missing. A cohort's
// commitments are random numbers in ascending order, and sets of fixed sizes, one in the other, are picked of them without looking at the
// numbers. So each choice of sets is as likely as any other, with no real one among them or with R. That is also why changes wait for their day: had
// each a day of its own, the days on which officers act would show. The owner of a release is told sooner, by a sealed message.
// A real one that is not deleted on its day shows that it is real. One whose owner let it be kept for longer (grant.Extension) is said to
// be deleted all the same: its promise came to its end, and another commitment, of the class of the new end, follows the release.
//
// What finds no slot waits: at most R real commitments of a class are made a day, of releases whose terms allow so many days at the most and
// more than the class below has. [Log.NextDaily] makes the entry.
//
// # Holds and transfers
//
// Both say of how many releases they are by covering them: each member of "covers" is SHA-256(salt ‖ commitment) with a fresh salt of 32
// bytes and the commitment's 64 hex digits, so that nobody but the owner, who is told the salt in a receipt, knows of which. Of the
// commitments that are overdue, as many as live holds cover are accounted for.
//
// A hold lives for [HoldLives] after it was created. One that "renews" another, which has to live then, takes its place with the
// same court and number and covers none that that one did not; one that covers none ends it. Seen from a time the holds are as they stood then: what
// is dated later is not there yet, and a renewal takes nothing back. What is exported for the court after the day on which its commitment was settled
// no daily entry says.
//
// # Misconduct
//
// Two signed checkpoints that no one log can have are a proof that the agency signed two versions of its docket ([Misconduct]).
// It convinces everybody who has the agency's key, whatever else they know.
//
// # Bundle
//
// What travels by gossip is self-contained, at most [MaxBundle] bytes of strict JSON:
//
//	{"agency":"<id>","checkpoint":"<note>","entries":[{"index":7,"note":"<note>","proof":["<base64>",…]},…]}
//
// The last entry is the subject. Before it stand, in the order of the log, the officer entries by which
// its signers came to be enrolled, back to the charter's first supervisors, and no others. A bundle proves
// that the entry is in the log and was signed by enrolled keys. That no entry in between revoked one of
// them takes the log.
package docket

import (
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
)

// Action is what an officer entry does.
type Action string

// The actions.
const (
	Enrol  Action = "enrol"
	Revoke Action = "revoke"
)

// Role is what a key may sign.
type Role string

// The roles.
const (
	RoleOfficer    Role = "officer"
	RoleSupervisor Role = "supervisor"
)

// MaxEnrolment is the longest that an enrolment counts after it was created: a year, one of 366 days
// included. A key that was lost, or stayed behind on a machine of somebody who left, is then worth nothing
// even where nobody revoked it.
const MaxEnrolment = 366 * 24 * time.Hour

// Officer enrols or revokes a key.
type Officer struct {
	Action  Action              `json:"action"`
	Role    Role                `json:"role"`
	Name    string              `json:"name"` // of the person, as the public may know it
	Key     consent.VerifierKey `json:"key"`
	Expires consent.Time        `json:"expires,omitzero"` // of an enrolment; absent in a revocation
	Reason  string              `json:"reason,omitempty"`
	Created consent.Time        `json:"created"`
	By      consent.VerifierKey `json:"by"` // the supervisor who signs this
}

// Kind is "officer".
func (Officer) Kind() string { return "officer" }

// Check refuses what no docket could hold.
func (o Officer) Check() error {
	if o.Action != Enrol && o.Action != Revoke {
		return consent.Refuse(consent.BadValue, "action", "%.20q is neither enrol nor revoke", string(o.Action))
	}
	if o.Role != RoleOfficer && o.Role != RoleSupervisor {
		return consent.Refuse(consent.BadValue, "role", "%.20q is neither officer nor supervisor", string(o.Role))
	}
	if err := checkText("name", o.Name, 1, charter.MaxName); err != nil {
		return err
	}
	if err := checkText("reason", o.Reason, 0, 500); err != nil {
		return err
	}
	if err := checkKeys(o.Created, o.Key, o.By); err != nil {
		return err
	}
	if o.Action == Revoke && !o.Expires.IsZero() {
		return consent.Refuse(consent.BadValue, "expires", "a revocation never does")
	}
	if o.Action == Enrol && (!o.Expires.After(o.Created.Time) || o.Expires.Sub(o.Created.Time) > MaxEnrolment) {
		return consent.Refuse(consent.BadValue, "expires", "an enrolment expires after it was created, and at most %d days after", MaxEnrolment/(24*time.Hour))
	}
	if o.Action == Enrol && o.Key.Same(o.By) {
		return consent.Refuse(consent.SameSigner, "by", "nobody enrols a key of their own")
	}
	return nil
}

// Supersede ends a request in favour of another, which counts as a post of the same case.
type Supersede struct {
	Request     consent.RequestID   `json:"request"`
	Replacement consent.RequestID   `json:"replacement"` // an earlier entry of the same docket
	Reason      string              `json:"reason"`
	Created     consent.Time        `json:"created"`
	Officer     consent.VerifierKey `json:"officer"`
	Supervisor  consent.VerifierKey `json:"supervisor"`
}

// Kind is "supersede".
func (Supersede) Kind() string { return "supersede" }

// Check refuses what no docket could hold.
func (s Supersede) Check() error {
	if _, err := consent.ParseRequestID(string(s.Request)); err != nil {
		return consent.Refuse(consent.BadValue, "request", "%w", err)
	}
	if _, err := consent.ParseRequestID(string(s.Replacement)); err != nil || s.Replacement == s.Request {
		return consent.Refuse(consent.BadValue, "replacement", "%.70q is no id of another request", string(s.Replacement))
	}
	if err := checkText("reason", s.Reason, 1, 500); err != nil {
		return err
	}
	return checkPair(s.Created, s.Officer, s.Supervisor)
}

// Resolve ends a request: it is answered, or no longer needed.
type Resolve struct {
	Request consent.RequestID   `json:"request"`
	Reason  string              `json:"reason"`
	Created consent.Time        `json:"created"`
	Officer consent.VerifierKey `json:"officer"`
}

// Kind is "resolve".
func (Resolve) Kind() string { return "resolve" }

// Check refuses what no docket could hold.
func (r Resolve) Check() error {
	if _, err := consent.ParseRequestID(string(r.Request)); err != nil {
		return consent.Refuse(consent.BadValue, "request", "%w", err)
	}
	if err := checkText("reason", r.Reason, 1, 500); err != nil {
		return err
	}
	return checkKeys(r.Created, r.Officer)
}

func checkPair(created consent.Time, officer, supervisor consent.VerifierKey) error {
	if err := checkKeys(created, officer, supervisor); err != nil {
		return err
	}
	if officer.Same(supervisor) {
		return consent.Refuse(consent.SameSigner, "supervisor", "officer and supervisor are two persons with two keys")
	}
	return nil
}

func checkKeys(created consent.Time, keys ...consent.VerifierKey) error {
	if created.IsZero() {
		return consent.Refuse(consent.BadValue, "created", "the zero time")
	}
	for _, k := range keys {
		if _, err := k.Public(); err != nil {
			return err
		}
	}
	return nil
}

func checkText(field, s string, least, most int) error {
	if len(s) < least || len(s) > most || strings.TrimSpace(s) != s || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return consent.Refuse(consent.BadValue, field, "%.60q is no line of %d to %d printable bytes", s, least, most)
	}
	return nil
}

// An Enrolment is what a docket says of one key.
type Enrolment struct {
	Role    Role
	Name    string // "" for the charter's first supervisors
	Key     consent.VerifierKey
	Expires consent.Time // zero for the charter's first supervisors
	Index   int64        // of the entry that enrols it; -1 for the charter's first supervisors
	Revoked bool
	// RevokedAt is the index of the entry that revokes it, where one does.
	RevokedAt int64
	by        consent.VerifierKey
}

// Officers are the keys of a docket, enrolled and revoked. The zero Officers hold none. They change only
// through a [Log] or a [Bundle].
type Officers struct{ byKey map[string]Enrolment } // by the 32 bytes of the public key

func firstOfficers(a charter.Agency) Officers {
	o := Officers{map[string]Enrolment{}}
	for _, k := range a.Supervisors {
		if pub, err := k.Public(); err == nil {
			o.byKey[string(pub)] = Enrolment{Role: RoleSupervisor, Key: k, Index: -1}
		}
	}
	return o
}

func (o Officers) get(k consent.VerifierKey) (Enrolment, bool) {
	pub, err := k.Public()
	if err != nil {
		return Enrolment{}, false
	}
	e, ok := o.byKey[string(pub)]
	return e, ok
}

func (o Officers) set(e Enrolment) {
	pub, err := e.Key.Public()
	if err == nil {
		o.byKey[string(pub)] = e
	}
}

func (o Officers) clone() Officers { return Officers{maps.Clone(o.byKey)} }

// All returns the keys by their enrolment, the charter's first supervisors first.
func (o Officers) All() []Enrolment {
	all := slices.Collect(maps.Values(o.byKey))
	slices.SortFunc(all, func(a, b Enrolment) int {
		if a.Index != b.Index {
			return int(a.Index - b.Index)
		}
		return strings.Compare(string(a.Key), string(b.Key))
	})
	return all
}

// Check refuses a key that may not sign in this role what was created at that time.
func (o Officers) Check(k consent.VerifierKey, role Role, created consent.Time) error {
	e, ok := o.get(k)
	switch {
	case !ok || e.Key != k:
		return consent.Refuse(consent.UnknownOfficer, string(role), "no entry enrols %s", k.Name())
	case e.Revoked:
		return consent.Refuse(consent.RevokedOfficer, string(role), "the key of %s was revoked", k.Name())
	case e.Role != role:
		return consent.Refuse(consent.WrongRole, string(role), "%s is enrolled as %s", k.Name(), e.Role)
	case !e.Expires.IsZero() && !created.Before(e.Expires.Time):
		return consent.Refuse(consent.ExpiredOfficer, string(role), "the enrolment of %s was over at %s", k.Name(), e.Expires)
	}
	return nil
}

// OpenOfficer reads an officer entry signed by the supervisor it names. That the supervisor is enrolled is
// for the log to say, as for the entries below.
func OpenOfficer(msg []byte) (Officer, error) {
	return consent.Open(msg, func(o Officer) ([]consent.VerifierKey, error) { return []consent.VerifierKey{o.By}, nil })
}

// OpenSupersede reads a supersede entry signed by the officer and the supervisor it names.
func OpenSupersede(msg []byte) (Supersede, error) {
	return consent.Open(msg, func(s Supersede) ([]consent.VerifierKey, error) {
		return []consent.VerifierKey{s.Officer, s.Supervisor}, nil
	})
}

// OpenResolve reads a resolve entry signed by the officer it names.
func OpenResolve(msg []byte) (Resolve, error) {
	return consent.Open(msg, func(r Resolve) ([]consent.VerifierKey, error) { return []consent.VerifierKey{r.Officer}, nil })
}
