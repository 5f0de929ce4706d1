package grant

import "github.com/porchlight-mesh/porchlight/consent"

// ActKind is what an officer does with a release.
type ActKind string

// The acts.
const (
	ActView   ActKind = "view"   // the clip is looked at, on the agency's node
	ActUse    ActKind = "use"    // it becomes part of the case, so that retain_until counts
	ActExport ActKind = "export" // it is written out of the vault, where no program enforces the terms
	ActPassOn ActKind = "passon" // it is sealed anew for another agency
	ActAccept ActKind = "accept" // its grant, which waits for an officer, is accepted with terms tighter than the request's
)

// UnknownAct is the refusal of an act that is not on the list.
const UnknownAct consent.Class = "unknown-act"

// minReason is the least bytes of a reason: one word of it.
const minReason = 3

// Act is an officer's signed order to open a release, with the reason. It is kept beside the release and never leaves the agency.
type Act struct {
	Agency  consent.AgencyID    `json:"agency"`
	Grant   consent.GrantID     `json:"grant"`
	CID     consent.ReleaseID   `json:"cid"`
	Act     ActKind             `json:"act"`
	Reason  string              `json:"reason"`
	At      consent.Time        `json:"at"`
	Officer consent.VerifierKey `json:"officer"` // signs this; whether the docket enrols the key is for the docket to say
}

// Kind is "act".
func (Act) Kind() string { return "act" }

// Check refuses what is wrong with an act whatever it opens.
func (a Act) Check() error {
	if _, err := consent.ParseAgencyID(string(a.Agency)); err != nil {
		return consent.Refuse(consent.BadValue, "agency", "%w", err)
	}
	if _, err := consent.ParseGrantID(string(a.Grant)); err != nil {
		return consent.Refuse(consent.BadValue, "grant", "%w", err)
	}
	if _, err := consent.ParseReleaseID(string(a.CID)); err != nil {
		return consent.Refuse(consent.BadValue, "cid", "%w", err)
	}
	switch a.Act {
	case ActView, ActUse, ActExport, ActPassOn, ActAccept:
	default:
		return consent.Refuse(UnknownAct, "act", "%.40q is no act", string(a.Act))
	}
	if len(a.Reason) < minReason {
		return consent.Refuse(consent.BadText, "reason", "%q gives no reason: a line of %d to %d printable bytes does", a.Reason, minReason, maxText)
	}
	if err := checkText("reason", a.Reason); err != nil {
		return err
	}
	if a.At.IsZero() {
		return consent.Refuse(consent.MissingField, "at", "when was it signed?")
	}
	if _, err := a.Officer.Public(); err != nil {
		return consent.Refuse(consent.BadKey, "officer", "%w", err)
	}
	return nil
}

// OpenAct reads an act signed by the officer it names.
func OpenAct(note []byte) (Act, error) {
	return consent.Open(note, func(a Act) ([]consent.VerifierKey, error) { return []consent.VerifierKey{a.Officer}, nil })
}
