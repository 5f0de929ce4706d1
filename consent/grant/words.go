package grant

import (
	"slices"
	"time"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
)

// What the two sides say to each other once a release was given. The owner's words are signed by the grant key and go over a path as the
// answer did; the requester's are signed by the reception key, sealed to the grant's reach and put into the daily entry's slots for
// messages, where everybody sees that there may be one and nobody to whom.

// Refusals of words. Append-only.
const (
	DeniedClass consent.Class = "denied-class" // passed on to a class of public body that the owner's terms deny
	NotForward  consent.Class = "not-forward"  // an extension that extends nothing
)

// maxWords bounds a line of a message or statement, in bytes, so that a message fits a slot.
const maxWords = 400

// Withdrawal takes a release back that was given: the requester deletes it or declares a hold, and answers with a receipt either way.
type Withdrawal struct {
	Grant   consent.GrantID     `json:"grant"`
	CID     consent.ReleaseID   `json:"cid"`
	Created consent.Time        `json:"created"`
	Key     consent.VerifierKey `json:"key"` // the grant key, which signs this
}

// Kind is "withdrawal".
func (Withdrawal) Kind() string { return "withdrawal" }

// Check refuses what is wrong with a withdrawal whatever it takes back.
func (w Withdrawal) Check() error { return checkWord(w.Grant, w.CID, w.Created, w.Key, KeyName) }

// Extension lets one holder keep a release that is used for longer. Nothing else but a legal hold does. From then on its docket follows the
// release as another commitment, of the class that its new end falls into; the one before comes to its end as if it were deleted.
type Extension struct {
	Grant       consent.GrantID     `json:"grant"`
	CID         consent.ReleaseID   `json:"cid"`
	Holder      consent.AgencyID    `json:"holder"`
	RetainUntil consent.Time        `json:"retain_until"`
	Secret      Secret              `json:"commitment_secret"` // of the new commitment, as in Release
	Created     consent.Time        `json:"created"`
	Key         consent.VerifierKey `json:"key"` // the grant key, which signs this
}

// Kind is "extension".
func (Extension) Kind() string { return "extension" }

// Check refuses what is wrong with an extension whatever it extends.
func (e Extension) Check() error {
	if !e.Created.Before(e.RetainUntil.Time) {
		return consent.Refuse(NotForward, "retain_until", "it is over when it is made")
	}
	if _, err := consent.ParseAgencyID(string(e.Holder)); err != nil {
		return consent.Refuse(consent.BadValue, "holder", "%w", err)
	}
	if _, err := consent.ParseHash(string(e.Secret)); err != nil {
		return consent.Refuse(consent.BadValue, "commitment_secret", "not 64 hex digits")
	}
	return checkWord(e.Grant, e.CID, e.Created, e.Key, KeyName)
}

// Statement is what an owner says about a release, in answer to a message or of their own accord.
type Statement struct {
	Grant   consent.GrantID     `json:"grant"`
	CID     consent.ReleaseID   `json:"cid"`
	Answers string              `json:"answers,omitempty"` // the SHA-256 of the message's note
	Text    string              `json:"text"`
	Created consent.Time        `json:"created"`
	Key     consent.VerifierKey `json:"key"` // the grant key, which signs this
}

// Kind is "statement".
func (Statement) Kind() string { return "statement" }

// Check refuses what is wrong with a statement whatever it is about.
func (s Statement) Check() error {
	if s.Answers != "" {
		if _, err := consent.ParseHash(s.Answers); err != nil {
			return consent.Refuse(consent.BadValue, "answers", "%w", err)
		}
	}
	if err := checkLine("text", s.Text, maxWords*5); err != nil {
		return err
	}
	return checkWord(s.Grant, s.CID, s.Created, s.Key, KeyName)
}

// Onward is the owner's consent that one holder of a release passes it on to another agency, under terms that are no wider.
type Onward struct {
	Grant   consent.GrantID     `json:"grant"`
	CID     consent.ReleaseID   `json:"cid"`
	From    consent.AgencyID    `json:"from"`
	To      consent.AgencyID    `json:"to"`
	Terms   Terms               `json:"terms"` // that the new holder is bound by
	Created consent.Time        `json:"created"`
	Key     consent.VerifierKey `json:"key"` // the grant key, which signs this
}

// Kind is "onward".
func (Onward) Kind() string { return "onward" }

// Check refuses what is wrong with an onward whatever it passes on.
func (o Onward) Check() error {
	for field, id := range map[string]consent.AgencyID{"from": o.From, "to": o.To} {
		if _, err := consent.ParseAgencyID(string(id)); err != nil {
			return consent.Refuse(consent.BadValue, field, "%w", err)
		}
	}
	if o.From == o.To {
		return consent.Refuse(consent.BadValue, "to", "nobody passes a release on to itself")
	}
	if err := o.Terms.Check(); err != nil {
		return err
	}
	return checkWord(o.Grant, o.CID, o.Created, o.Key, KeyName)
}

// Ask is what a requester asks of an owner.
type Ask string

// The closed list of asks.
const (
	AskOriginal   Ask = "original"    // the footage without redaction
	AskLongerSpan Ask = "longer-span" // more of the same camera
	AskStatement  Ask = "statement"   // words about it
	AskExtension  Ask = "extension"   // to keep it until retain_until
	AskPassOn     Ask = "pass-on"     // to pass it on to the agency that to names
)

// Asks returns the closed list.
func Asks() []Ask { return []Ask{AskOriginal, AskLongerSpan, AskStatement, AskExtension, AskPassOn} }

// Message asks something of the owner of a release, who answers or does not.
type Message struct {
	Grant       consent.GrantID     `json:"grant"`
	CID         consent.ReleaseID   `json:"cid"`
	Ask         Ask                 `json:"ask"`
	Reason      string              `json:"reason"`
	RetainUntil consent.Time        `json:"retain_until,omitzero"` // of an extension
	To          consent.AgencyID    `json:"to,omitempty"`          // of passing on
	Created     consent.Time        `json:"created"`
	Key         consent.VerifierKey `json:"key"` // the reception key, which signs this
}

// Kind is "message".
func (Message) Kind() string { return "message" }

// Check refuses what is wrong with a message whatever it is about.
func (m Message) Check() error {
	if !slices.Contains(Asks(), m.Ask) {
		return consent.Refuse(consent.BadValue, "ask", "%.40q is none of %v", string(m.Ask), Asks())
	}
	if err := checkLine("reason", m.Reason, maxWords); err != nil {
		return err
	}
	if (m.Ask == AskExtension) == m.RetainUntil.IsZero() {
		return consent.Refuse(consent.BadValue, "retain_until", "it stands in an extension and in nothing else")
	}
	if (m.Ask == AskPassOn) == (m.To == "") {
		return consent.Refuse(consent.BadValue, "to", "it stands where a release is to be passed on and nowhere else")
	}
	if m.To != "" {
		if _, err := consent.ParseAgencyID(string(m.To)); err != nil {
			return consent.Refuse(consent.BadValue, "to", "%w", err)
		}
	}
	return checkWord(m.Grant, m.CID, m.Created, m.Key, ReceptionName)
}

func checkWord(id consent.GrantID, cid consent.ReleaseID, created consent.Time, key consent.VerifierKey, name string) error {
	if _, err := consent.ParseGrantID(string(id)); err != nil {
		return consent.Refuse(consent.BadValue, "grant", "%w", err)
	}
	if _, err := consent.ParseReleaseID(string(cid)); err != nil {
		return consent.Refuse(consent.BadValue, "cid", "%w", err)
	}
	if created.IsZero() {
		return consent.Refuse(consent.MissingField, "created", "when was it signed?")
	}
	return checkKey("key", key, name)
}

// OpenWithdrawal reads a withdrawal signed by the key it names.
func OpenWithdrawal(note []byte) (Withdrawal, error) {
	return consent.Open(note, func(w Withdrawal) ([]consent.VerifierKey, error) { return []consent.VerifierKey{w.Key}, nil })
}

// OpenExtension reads an extension signed by the key it names.
func OpenExtension(note []byte) (Extension, error) {
	return consent.Open(note, func(e Extension) ([]consent.VerifierKey, error) { return []consent.VerifierKey{e.Key}, nil })
}

// OpenStatement reads a statement signed by the key it names.
func OpenStatement(note []byte) (Statement, error) {
	return consent.Open(note, func(s Statement) ([]consent.VerifierKey, error) { return []consent.VerifierKey{s.Key}, nil })
}

// OpenOnward reads an onward signed by the key it names.
func OpenOnward(note []byte) (Onward, error) {
	return consent.Open(note, func(o Onward) ([]consent.VerifierKey, error) { return []consent.VerifierKey{o.Key}, nil })
}

// OpenMessage reads a message signed by the reception key that the request names.
func OpenMessage(note []byte, reception consent.VerifierKey) (Message, error) {
	m, err := consent.Open(note, func(Message) ([]consent.VerifierKey, error) { return []consent.VerifierKey{reception}, nil })
	if err == nil && m.Key != reception {
		err = consent.Refuse(consent.WrongSubject, "key", "names another key than the one that signed")
	}
	return m, err
}

// A Holding is what binds one holder of one release: the agency that was granted it, or one that it was passed on to.
type Holding struct {
	Grant   consent.GrantID
	Key     consent.VerifierKey // the grant key
	CID     consent.ReleaseID
	Holder  consent.AgencyID
	From    consent.AgencyID // who passed it on to the holder, "" for the one it was granted to
	Terms   Terms
	Secrets []Secret // of the commitments by which the holder's docket follows it, the one that counts now last
}

// HoldingOf is that of a grant's release by the agency it was given to.
func HoldingOf(id consent.GrantID, g Grant, cid consent.ReleaseID) (Holding, error) {
	i := slices.IndexFunc(g.Releases, func(r Release) bool { return r.CID == cid })
	if i < 0 {
		return Holding{}, consent.Refuse(consent.WrongSubject, "cid", "the grant names no release %s", cid)
	}
	return Holding{Grant: id, Key: g.Key, CID: cid, Holder: g.Agency, Terms: g.Terms, Secrets: []Secret{g.Releases[i].Secret}}, nil
}

// Commitment is that by which the holder's docket follows the release now.
func (h Holding) Commitment() Commitment {
	return Release{CID: h.CID, Secret: h.Secrets[len(h.Secrets)-1]}.Commitment()
}

// Deadline is when the key of the release is to be destroyed, where no hold stands in the way; used says whether a receipt stands for its use.
func (h Holding) Deadline(used bool) time.Time {
	if !used && h.Terms.UnusedUntil.Before(h.Terms.RetainUntil.Time) {
		return h.Terms.UnusedUntil.Time
	}
	return h.Terms.RetainUntil.Time
}

// Signed says whether a receipt is this holder's about the release, under any commitment that it had. Whose key signed the receipt is for its reader
// to know.
func (h Holding) Signed(r Receipt) bool {
	return r.Grant == h.Grant && r.GrantKey == h.Key && r.CID == h.CID &&
		slices.ContainsFunc(h.Secrets, func(s Secret) bool { return r.Commitment == Release{CID: h.CID, Secret: s}.Commitment() })
}

func (h Holding) about(id consent.GrantID, cid consent.ReleaseID, key consent.VerifierKey) error {
	if id != h.Grant || cid != h.CID || key != h.Key {
		return consent.Refuse(consent.WrongSubject, "grant", "it is about another release, or not its owner's word")
	}
	return nil
}

// Extend lets the holder keep a release that is used for longer, as its owner signed, and no longer from that day than the charter lets
// anybody keep one. A later extension counts as far as it reaches further.
func (h Holding) Extend(e Extension, l charter.Limits) (Holding, error) {
	if err := h.about(e.Grant, e.CID, e.Key); err != nil {
		return h, err
	}
	if e.Holder != h.Holder {
		return h, consent.Refuse(consent.WrongSubject, "holder", "the owner lets %s keep it for longer, not %s", e.Holder, h.Holder)
	}
	if !e.RetainUntil.After(h.Terms.RetainUntil.Time) {
		return h, consent.Refuse(NotForward, "retain_until", "the release may be kept until %s already", h.Terms.RetainUntil)
	}
	if slices.Contains(h.Secrets, e.Secret) {
		return h, consent.Refuse(consent.BadValue, "commitment_secret", "the docket follows the release by it already: an extension has a commitment of its own")
	}
	if most := e.Created.AddDate(0, 0, l.MaxRetentionDays); e.RetainUntil.After(most) {
		return h, consent.Refuse(consent.RetentionTooLong, "retain_until", "the charter lets nobody keep a release for more than %d days", l.MaxRetentionDays)
	}
	h.Terms.RetainUntil, h.Secrets = e.RetainUntil, append(slices.Clone(h.Secrets), e.Secret)
	return h, nil
}

// PassOn is the holding of the agency that a release is passed on to, of that class. The new terms are as tight as the old ones in every part.
func (h Holding) PassOn(o Onward, to charter.AgencyClass) (Holding, error) {
	if err := h.about(o.Grant, o.CID, o.Key); err != nil {
		return h, err
	}
	switch {
	case o.From != h.Holder:
		return h, consent.Refuse(consent.WrongSubject, "from", "the owner lets %s pass it on, not %s", o.From, h.Holder)
	case slices.Contains(h.Terms.DeniedClasses, to):
		return h, consent.Refuse(DeniedClass, "to", "the owner's terms deny it to %s", to)
	case h.Terms.ViewOnly:
		return h, consent.Refuse(consent.TermsWider, "terms", "the owner lets it be looked at only: it leaves the vault for nobody")
	case !o.Terms.TighterOrEqual(h.Terms):
		return h, consent.Refuse(consent.TermsWider, "terms", "wider than those that bind the agency that passes it on")
	}
	h.Holder, h.From, h.Terms, h.Secrets = o.To, o.From, o.Terms, []Secret{h.Secrets[0].At(o.To)}
	return h, nil
}

// Holders follows the owner's words about a release, extensions and onwards in the order in which they were signed, from the agency that it was
// granted to: who may hold it, each once, under which terms. class is that of an agency of the charter, false for one that it does not admit.
func (h Holding) Holders(words []consent.Body, l charter.Limits, class func(consent.AgencyID) (charter.AgencyClass, bool)) ([]Holding, error) {
	all := []Holding{h}
	at := func(id consent.AgencyID) int {
		return slices.IndexFunc(all, func(x Holding) bool { return x.Holder == id })
	}
	for _, w := range words {
		var err error
		switch w := w.(type) {
		case Extension:
			i := at(w.Holder)
			if i < 0 {
				return nil, consent.Refuse(consent.WrongSubject, "holder", "%s does not hold it", w.Holder)
			}
			all[i], err = all[i].Extend(w, l)
		case Onward:
			i := at(w.From)
			to, ok := class(w.To)
			switch {
			case i < 0:
				err = consent.Refuse(consent.WrongSubject, "from", "%s does not hold it", w.From)
			case at(w.To) >= 0:
				err = consent.Refuse(consent.WrongSubject, "to", "%s may hold it already", w.To)
			case !ok:
				err = consent.Refuse(consent.WrongSubject, "to", "the charter admits no agency %s", w.To)
			default:
				var next Holding
				next, err = all[i].PassOn(w, to)
				all = append(all, next)
			}
		default:
			err = consent.Refuse(consent.WrongKind, "", "a %s lets nobody hold a release", w.Kind())
		}
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}
