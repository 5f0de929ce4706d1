package grant

import (
	"slices"
	"time"

	"github.com/porchlight-mesh/porchlight/consent"
)

// BreachKind is the kind of a breach record.
const BreachKind = "breach"

// CommitWithin is how long after a receipt the docket may be without the release's commitment: there may be more than fit a day.
const CommitWithin = 14 * 24 * time.Hour

// Fault is what a docket does not keep.
type Fault string

// The closed list of faults.
const (
	FaultMissing      Fault = "missing"      // the docket holds no commitment for what was received, CommitWithin after
	FaultOverdue      Fault = "overdue"      // the deletion was due, and is not said
	FaultContradicted Fault = "contradicted" // it is said, and a receipt of a later day says that the release is there
)

// Faults returns the closed list.
func Faults() []Fault { return []Fault{FaultMissing, FaultOverdue, FaultContradicted} }

// Breach shows everybody that an agency's docket does not keep what the agency signed about one release. It opens that release's
// commitment and nothing else: which request it answered, and the agency's own receipt. Whether the docket still fails it is for
// each reader to see there.
type Breach struct {
	Agency  consent.AgencyID    `json:"agency"`
	Request consent.RequestID   `json:"request"` // that was answered; its reception key signed the receipt where there is no card
	Fault   Fault               `json:"fault"`
	Receipt string              `json:"receipt"`        // the signed note
	Card    string              `json:"card,omitempty"` // of an agency that the release was passed on to: its signed card (Taking), whose key signed the receipt
	Created consent.Time        `json:"created"`
	Key     consent.VerifierKey `json:"key"` // the grant key, which signs this and to whose owner the receipt was given
}

// Kind is "breach".
func (Breach) Kind() string { return BreachKind }

// Check refuses what is wrong with a breach record whatever the docket says. That the receipt is the agency's is for
// [Breach.OpenReceipt] to say.
func (b Breach) Check() error {
	if _, err := consent.ParseAgencyID(string(b.Agency)); err != nil {
		return consent.Refuse(consent.BadValue, "agency", "%w", err)
	}
	if _, err := consent.ParseRequestID(string(b.Request)); err != nil {
		return consent.Refuse(consent.BadValue, "request", "%w", err)
	}
	if !slices.Contains(Faults(), b.Fault) {
		return consent.Refuse(consent.BadValue, "fault", "%.40q is none of %v", string(b.Fault), Faults())
	}
	if b.Created.IsZero() {
		return consent.Refuse(consent.MissingField, "created", "when was it signed?")
	}
	return checkKey("key", b.Key, KeyName)
}

// signer is the key that has to have signed the receipt: the request's reception key, or that of the card.
func (b Breach) signer(reception consent.VerifierKey) (consent.VerifierKey, error) {
	if b.Card == "" {
		return reception, nil
	}
	c, err := OpenTaking([]byte(b.Card))
	switch {
	case err != nil:
		return "", consent.Refuse(consent.ClassOf(err), "card", "%w", err)
	case c.Agency != b.Agency:
		return "", consent.Refuse(consent.WrongSubject, "card", "it is that of %s", c.Agency)
	}
	return c.Reception, nil
}

// OpenBreach reads a breach record signed by the key it names.
func OpenBreach(note []byte) (Breach, error) {
	return consent.Open(note, func(b Breach) ([]consent.VerifierKey, error) { return []consent.VerifierKey{b.Key}, nil })
}

// OpenReceipt reads the receipt in the record, which the reception key of the request, or of the card, has to have signed for the owner who signs
// the record.
func (b Breach) OpenReceipt(reception consent.VerifierKey) (Receipt, error) {
	signer, err := b.signer(reception)
	if err != nil {
		return Receipt{}, err
	}
	r, err := OpenReceipt([]byte(b.Receipt), signer)
	switch {
	case err != nil:
		return Receipt{}, consent.Refuse(consent.ClassOf(err), "receipt", "%w", err)
	case r.GrantKey != b.Key:
		return Receipt{}, consent.Refuse(consent.WrongSubject, "receipt", "it was given to somebody else")
	case r.State == Deleted:
		return Receipt{}, consent.Refuse(consent.WrongSubject, "receipt", "a receipt of a deletion holds nothing against a docket")
	}
	return r, nil
}
