// Package request is the document by which an agency asks for footage, and the
// rules that bind it.
//
// # Format
//
// A request is a signed document of kind "request" (see package consent). It
// carries two signatures, the officer's and then the supervisor's, under the
// keys that its body names. Its members, in order:
//
//	agency        id of the asking agency, whose docket holds the request
//	case          the agency's case reference, 1 to 64 characters, one line
//	offence       an FBI NIBRS code of the closed list (see [Offence.Title])
//	basis         voluntary-information, reasonable-suspicion, probable-cause,
//	              warrant or exigent
//	order_hash    hex SHA-256 of the warrant or order; with basis warrant only
//	incident      {"at": time, "place": [lon, lat]}; not later than created
//	area          the ring of ground asked about, which holds the place
//	from, until   the time window asked about; it ends before created, because
//	              a request is for what was recorded, never for what will be
//	text          plain words to residents, 20 to 2,000 characters
//	contact       how to reach a person at the agency, 3 to 200 characters
//	terms         {"retention_days", "unused_days", "recipients", "resharing"}
//	reception_key verifier key named "reception", made for this request
//	reply         1 to 4 reply addresses (below), none twice
//	officer       verifier key of the asking officer
//	supervisor    verifier key of the supervisor, another one
//	created       when it was written
//	expires       when it ends, later than created
//
// # Reply addresses
//
// A multiaddr (https://github.com/multiformats/multiaddr) in one of the forms
//
//	/ip4/A/tcp/N/p2p/ID      /ip4/A/udp/N/quic-v1/p2p/ID     (or /ip6/A)
//	either of these followed by /p2p-circuit/p2p/ID
//
// with a literal address, a port from 1 to 65535 and Ed25519 peer ids in
// base58. Names are refused, because looking one up would tell a stranger who
// is about to answer. Addresses must be public unicast ones, except in a mesh
// whose charter declares it LAN-only.
//
// # Rules
//
// [Request.Check] holds what a request alone shows. [Request.CheckCharter]
// holds it against a charter; neither needs a clock or a history, so a peer
// may reject a message that fails them and count it against its sender.
// [Request.CheckNow] and [CheckHistory] depend on what one peer knows; a
// message that fails them is ignored. [Timeless] tells the two apart.
package request

import (
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/geo"
)

// Kind is the kind of a request document.
const Kind = "request"

// ReceptionKeyName is the note name of every reception key. It is the same for
// all, so that it says nothing.
const ReceptionKeyName = "reception"

// Bounds of the members.
const (
	MaxCase       = 64   // characters
	MinText       = 20   // characters
	MaxText       = 2000 // characters
	MinContact    = 3    // characters
	MaxContact    = 200  // characters
	MaxRecipients = 8
	MaxRecipient  = 100 // characters
	MaxReply      = 4
)

// ClockSkew is how far apart two honest clocks may be.
const ClockSkew = 5 * time.Minute

// Refusals of requests that package consent does not list. Append-only.
const (
	UnknownOffence   consent.Class = "unknown-offence"    // not a code of the closed list
	UnknownBasis     consent.Class = "unknown-basis"      // not a basis of the closed list
	OrderMissing     consent.Class = "order-missing"      // basis warrant without the order's hash
	OrderUnexpected  consent.Class = "order-unexpected"   // an order's hash without basis warrant
	PlaceOutsideArea consent.Class = "place-outside-area" // the incident did not happen in the area
	WindowInFuture   consent.Class = "window-in-future"   // asks for what is not recorded yet
	IncidentInFuture consent.Class = "incident-in-future" // happened after the request was written
	ExpiryInvalid    consent.Class = "expiry-invalid"     // ends before it begins
	NoReply          consent.Class = "no-reply"           // names no address to answer to
	TooManyReplies   consent.Class = "too-many-replies"   // names more than four
	ReplyNotPublic   consent.Class = "reply-not-public"   // an address that only works on a private network
	TermsInvalid     consent.Class = "terms-invalid"      // terms that no one could keep
	WrongAgency      consent.Class = "wrong-agency"       // belongs to another agency's docket
	TextPressure     consent.Class = "text-pressure"      // the lint found pressure or threats
	TextPersonal     consent.Class = "text-personal-data" // the lint found personal data
	TextRaceOnly     consent.Class = "text-race-only"     // the lint found a description by race alone
	TextAssembly     consent.Class = "text-assembly"      // the lint found lawful assembly
)

// Basis is the legal standard an agency declares to have met.
type Basis string

// The closed list of bases, from the weakest to the strongest; exigent claims
// an emergency and stands apart: it makes a notice louder and a report due
// within 72 hours, and opens nothing.
const (
	VoluntaryInformation Basis = "voluntary-information"
	ReasonableSuspicion  Basis = "reasonable-suspicion"
	ProbableCause        Basis = "probable-cause"
	Warrant              Basis = "warrant"
	Exigent              Basis = "exigent"
)

// Bases returns the closed list.
func Bases() []Basis {
	return []Basis{VoluntaryInformation, ReasonableSuspicion, ProbableCause, Warrant, Exigent}
}

// Title is the basis in plain words, "" for one that is not on the list.
func (b Basis) Title() string {
	switch b {
	case VoluntaryInformation:
		return "Voluntary information: no legal standard claimed"
	case ReasonableSuspicion:
		return "Reasonable suspicion"
	case ProbableCause:
		return "Probable cause"
	case Warrant:
		return "Warrant or court order"
	case Exigent:
		return "Emergency claimed; a public report is due within 72 hours"
	}
	return ""
}

// Incident is what happened: when, and where.
type Incident struct {
	At    consent.Time `json:"at"`
	Place geo.Point    `json:"place"`
}

// Terms are what the agency offers to be bound by. The zero Terms are not
// valid in a request.
type Terms struct {
	RetentionDays int      `json:"retention_days"` // days a clip may be kept, counted from the grant
	UnusedDays    int      `json:"unused_days"`    // days it may be kept while no receipt says it is used
	Recipients    []string `json:"recipients"`     // who else may receive it, [] for nobody
	Resharing     bool     `json:"resharing"`      // whether recipients may pass it on
}

// Request is one request for footage.
type Request struct {
	Agency       consent.AgencyID    `json:"agency"`
	Case         string              `json:"case"`
	Offence      Offence             `json:"offence"`
	Basis        Basis               `json:"basis"`
	OrderHash    string              `json:"order_hash,omitempty"`
	Incident     Incident            `json:"incident"`
	Area         geo.Polygon         `json:"area"`
	From         consent.Time        `json:"from"`
	Until        consent.Time        `json:"until"`
	Text         string              `json:"text"`
	Contact      string              `json:"contact"`
	Terms        Terms               `json:"terms"`
	ReceptionKey consent.VerifierKey `json:"reception_key"`
	Reply        []string            `json:"reply"`
	Officer      consent.VerifierKey `json:"officer"`
	Supervisor   consent.VerifierKey `json:"supervisor"`
	Created      consent.Time        `json:"created"`
	Expires      consent.Time        `json:"expires"`
}

// Kind implements consent.Body.
func (r Request) Kind() string { return Kind }

// Window is the length of the time window.
func (r Request) Window() time.Duration { return r.Until.Sub(r.From.Time) }

// Open decodes a request and verifies the officer's and the supervisor's
// signatures, in that order. That the two are enrolled is for the docket to say.
func Open(msg []byte) (Request, error) {
	return consent.Open(msg, func(r Request) ([]consent.VerifierKey, error) {
		return []consent.VerifierKey{r.Officer, r.Supervisor}, nil
	})
}

// IDOf names a request: the hex RFC 6962 leaf hash of its whole note, which is
// also the hash of its leaf in the docket.
func IDOf(msg []byte) consent.RequestID {
	h := tlog.RecordHash(msg)
	return consent.RequestID(hex.EncodeToString(h[:]))
}

// Check refuses what is wrong with a request whatever the charter.
func (r Request) Check() error {
	if _, err := consent.ParseAgencyID(string(r.Agency)); err != nil {
		return inField("agency", err)
	}
	if err := line("case", r.Case, 1, MaxCase); err != nil {
		return err
	}
	if r.Offence.Title() == "" {
		return consent.Refuse(UnknownOffence, "offence", "%.20q is no NIBRS offence code of the list", string(r.Offence))
	}
	if err := r.checkBasis(); err != nil {
		return err
	}
	if err := r.checkTimes(); err != nil {
		return err
	}
	if !r.Incident.Place.Valid() {
		return consent.Refuse(consent.AreaInvalid, "incident", "the place is out of range or not a number")
	}
	if err := r.Area.Validate(); err != nil {
		return consent.Refuse(consent.AreaInvalid, "area", "%w", err)
	}
	if !r.Area.Contains(r.Incident.Place) {
		return consent.Refuse(PlaceOutsideArea, "area", "the incident's place lies outside; draw the area around it")
	}
	if err := plain("text", r.Text, MinText, MaxText); err != nil {
		return err
	}
	if err := line("contact", r.Contact, MinContact, MaxContact); err != nil {
		return err
	}
	if err := r.Terms.check(); err != nil {
		return err
	}
	if err := r.checkReply(); err != nil {
		return err
	}
	return r.checkKeys()
}

func (r Request) checkBasis() error {
	switch {
	case r.Basis.Title() == "":
		return consent.Refuse(UnknownBasis, "basis", "%.40q is none of %v", string(r.Basis), Bases())
	case r.Basis == Warrant && r.OrderHash == "":
		return consent.Refuse(OrderMissing, "order_hash", "a warrant or order is named by the SHA-256 of its document")
	case r.Basis != Warrant && r.OrderHash != "":
		return consent.Refuse(OrderUnexpected, "order_hash", "only a request with basis %s names an order", Warrant)
	case r.OrderHash != "":
		if _, err := consent.ParseHash(r.OrderHash); err != nil {
			return inField("order_hash", err)
		}
	}
	return nil
}

func (r Request) checkTimes() error {
	for _, t := range []struct {
		field string
		at    consent.Time
	}{{"incident", r.Incident.At}, {"from", r.From}, {"until", r.Until}, {"created", r.Created}, {"expires", r.Expires}} {
		if t.at.IsZero() {
			return consent.Refuse(consent.BadValue, t.field, "the time is missing")
		}
	}
	switch {
	case !r.From.Before(r.Until.Time):
		return consent.Refuse(consent.WindowInvalid, "until", "the window ends at %s, before it begins", r.Until)
	case r.Until.After(r.Created.Time):
		return consent.Refuse(WindowInFuture, "until", "the window ends at %s, after the request was written; ask for what was recorded", r.Until)
	case r.Incident.At.After(r.Created.Time):
		return consent.Refuse(IncidentInFuture, "incident", "the incident is dated %s, after the request was written", r.Incident.At)
	case !r.Created.Before(r.Expires.Time):
		return consent.Refuse(ExpiryInvalid, "expires", "the request ends at %s, before it was written", r.Expires)
	}
	return nil
}

func (t Terms) check() error {
	switch {
	case t.RetentionDays < 1:
		return consent.Refuse(TermsInvalid, "terms", "retention of %d days; at least 1", t.RetentionDays)
	case t.UnusedDays < 1 || t.UnusedDays > t.RetentionDays:
		return consent.Refuse(TermsInvalid, "terms", "unused clips kept %d days; from 1 to the retention of %d", t.UnusedDays, t.RetentionDays)
	case t.Recipients == nil:
		return consent.Refuse(consent.NullValue, "terms", "recipients is [] when there are none")
	case len(t.Recipients) > MaxRecipients:
		return consent.Refuse(TermsInvalid, "terms", "%d recipients; at most %d", len(t.Recipients), MaxRecipients)
	}
	for i, name := range t.Recipients {
		if err := line("terms", name, 1, MaxRecipient); err != nil {
			return err
		}
		if slices.Contains(t.Recipients[:i], name) {
			return consent.Refuse(TermsInvalid, "terms", "the recipient %q stands there twice", name)
		}
	}
	return nil
}

func (r Request) checkReply() error {
	switch n := len(r.Reply); {
	case n == 0:
		return consent.Refuse(NoReply, "reply", "an answer needs an address to go to")
	case n > MaxReply:
		return consent.Refuse(TooManyReplies, "reply", "%d addresses; at most %d", n, MaxReply)
	}
	for i, text := range r.Reply {
		if _, err := parseReply(text); err != nil {
			return err
		}
		if slices.Contains(r.Reply[:i], text) {
			return consent.Refuse(consent.BadReply, "reply", "%s stands there twice", text)
		}
	}
	return nil
}

func (r Request) checkKeys() error {
	keys := []struct {
		field string
		key   consent.VerifierKey
	}{{"reception_key", r.ReceptionKey}, {"officer", r.Officer}, {"supervisor", r.Supervisor}}
	for i, k := range keys {
		if _, err := k.key.Public(); err != nil {
			return inField(k.field, err)
		}
		for _, other := range keys[:i] {
			if k.key.Same(other.key) {
				return consent.Refuse(consent.SameSigner, k.field, "the same key as %s; each has its own", other.field)
			}
		}
	}
	if name := r.ReceptionKey.Name(); name != ReceptionKeyName {
		return consent.Refuse(consent.BadKey, "reception_key", "the key is named %q, not %q", name, ReceptionKeyName)
	}
	return nil
}

// CheckNow refuses a request that is over, or dated later than the clock of
// this peer can explain. Neither says anything about the sender.
func (r Request) CheckNow(now time.Time) error {
	switch {
	case now.After(r.Expires.Add(ClockSkew)):
		return consent.Refuse(consent.Expired, "expires", "the request ended at %s", r.Expires)
	case r.Created.After(now.Add(ClockSkew)):
		return consent.Refuse(consent.NotYetValid, "created", "the request is dated %s, in the future", r.Created)
	}
	return nil
}

// line is plain without line breaks.
func line(field, s string, least, most int) error {
	if strings.Contains(s, "\n") {
		return consent.Refuse(consent.BadText, field, "a line break in a text of one line")
	}
	return plain(field, s, least, most)
}

// plain refuses text that is too short, too long or would be shown as
// something else than it is: control, format and bidirectional characters,
// private use, spaces at the ends.
func plain(field, s string, least, most int) error {
	if n := utf8.RuneCountInString(s); n < least || n > most {
		return consent.Refuse(consent.BadText, field, "%d characters; from %d to %d", n, least, most)
	}
	if strings.TrimSpace(s) != s {
		return consent.Refuse(consent.BadText, field, "white space at the beginning or the end")
	}
	for _, c := range s {
		if c != '\n' && !unicode.IsPrint(c) || c == utf8.RuneError {
			return consent.Refuse(consent.BadText, field, "the character %U is invisible or changes how text is read", c)
		}
	}
	return nil
}

// inField says on which member of a request another package's refusal was.
func inField(field string, err error) error {
	if e, ok := errors.AsType[*consent.Error](err); ok {
		return &consent.Error{Class: e.Class, Field: field, Err: e.Err}
	}
	return consent.Refuse(consent.BadValue, field, "%w", err)
}
