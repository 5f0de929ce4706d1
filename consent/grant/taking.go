package grant

import (
	"crypto/sha256"
	"encoding/hex"

	"github.com/porchlight-mesh/porchlight/consent"
)

// Taking is the card by which an agency says that it takes over a release from another one: to whom the release key is sealed, and which key signs
// for the release then. It is made for one release and never used again.
type Taking struct {
	Agency    consent.AgencyID    `json:"agency"`
	Recipient string              `json:"recipient"` // age X25519, for the release key
	Reception consent.VerifierKey `json:"reception"` // signs the receipts of the new holder
	Created   consent.Time        `json:"created"`
	Expires   consent.Time        `json:"expires"`
	Key       consent.VerifierKey `json:"key"` // the agency's docket key, which signs this
}

// Kind is "taking".
func (Taking) Kind() string { return "taking" }

// Check refuses what is wrong with a card whoever reads it.
func (c Taking) Check() error {
	if _, err := consent.ParseAgencyID(string(c.Agency)); err != nil {
		return consent.Refuse(consent.BadValue, "agency", "%w", err)
	}
	if !ageRecipient.MatchString(c.Recipient) {
		return consent.Refuse(consent.BadValue, "recipient", "not an age X25519 recipient")
	}
	if c.Created.IsZero() || !c.Created.Before(c.Expires.Time) {
		return consent.Refuse(consent.BadValue, "expires", "a card is made before it expires")
	}
	pub, err := c.Key.Public()
	if err != nil {
		return consent.Refuse(consent.BadKey, "key", "%w", err)
	}
	if consent.AgencyIDOf(pub) != c.Agency {
		return consent.Refuse(consent.WrongSubject, "key", "it is not the docket key of that agency")
	}
	return checkKey("reception", c.Reception, ReceptionName)
}

// OpenTaking reads a card signed by the docket key of its agency.
func OpenTaking(note []byte) (Taking, error) {
	return consent.Open(note, func(c Taking) ([]consent.VerifierKey, error) { return []consent.VerifierKey{c.Key}, nil })
}

// Blind is the commitment to a value under a salt, as a hold or transfer has it; "" where the salt is none.
func Blind(s Secret, value Commitment) Commitment {
	salt, err := consent.ParseHash(string(s))
	if err != nil {
		return ""
	}
	return commitment(salt[:], []byte(value))
}

// At is the secret under which another holder's docket follows the release: SHA-256(secret ‖ agency id). Whoever knows the one promise's
// commitment cannot find the other one's.
func (s Secret) At(holder consent.AgencyID) Secret {
	salt, err := consent.ParseHash(string(s))
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(append(salt[:], holder...))
	return Secret(hex.EncodeToString(sum[:]))
}
