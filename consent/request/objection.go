package request

import (
	"slices"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
)

// ObjectionKind is the kind of an objection.
const ObjectionKind = "objection"

// Bounds of an objection's reason, in characters.
const (
	MinObjection = 10
	MaxObjection = 500
)

// An Objection is a signer's or a witness's public word against a request: that it pressures, that it names a victim, that it
// asks about a lawful gathering, or whatever the rules cannot tell. It hides nothing; it is shown with the request.
type Objection struct {
	Agency  consent.AgencyID    `json:"agency"`
	Request consent.RequestID   `json:"request"`
	Reason  string              `json:"reason"`
	Created consent.Time        `json:"created"`
	By      consent.VerifierKey `json:"by"`
}

// Kind is "objection".
func (Objection) Kind() string { return ObjectionKind }

// Check refuses what nobody could have meant.
func (o Objection) Check() error {
	if _, err := consent.ParseAgencyID(string(o.Agency)); err != nil {
		return inField("agency", err)
	}
	if _, err := consent.ParseRequestID(string(o.Request)); err != nil {
		return inField("request", err)
	}
	if err := line("reason", o.Reason, MinObjection, MaxObjection); err != nil {
		return err
	}
	if o.Created.IsZero() {
		return consent.Refuse(consent.BadValue, "created", "the time is missing")
	}
	if _, err := o.By.Public(); err != nil {
		return inField("by", err)
	}
	return nil
}

// OpenObjection decodes an objection and verifies its signature. Whether its author may object is for CheckAuthor to say.
func OpenObjection(msg []byte) (Objection, error) {
	return consent.Open(msg, func(o Objection) ([]consent.VerifierKey, error) { return []consent.VerifierKey{o.By}, nil })
}

// CheckAuthor refuses an objection of somebody whom the charter names neither as a signer nor as a witness: who may speak on
// a card that every owner reads is the charter's to say.
func (o Objection) CheckAuthor(c *charter.Charter) (name string, err error) {
	if i := slices.IndexFunc(c.Signers, func(s charter.Signer) bool { return s.Key == o.By }); i >= 0 {
		return c.Signers[i].Name, nil
	}
	if i := slices.IndexFunc(c.Witnesses, func(w charter.Witness) bool { return w.Key == o.By }); i >= 0 {
		return c.Witnesses[i].Name, nil
	}
	return "", consent.Refuse(consent.WrongRole, "by", "%s is neither a signer nor a witness of the charter", o.By.Name())
}
