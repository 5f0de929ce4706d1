package docket

import (
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/porchlight-mesh/porchlight/consent"
)

// ReportWithin is how soon the report of an exigent request is due, and OutcomeWithin the outcome of any, after
// the request was created.
const (
	ReportWithin  = 72 * time.Hour
	OutcomeWithin = 90 * 24 * time.Hour
)

// Bounds of a report's text, in characters.
const (
	MinReport = 20
	MaxReport = 2000
)

// Report is the account owed for an exigent request: what the emergency was.
type Report struct {
	Request    consent.RequestID   `json:"request"`
	Text       string              `json:"text"`
	Created    consent.Time        `json:"created"`
	Officer    consent.VerifierKey `json:"officer"`
	Supervisor consent.VerifierKey `json:"supervisor"`
}

// Kind is "report".
func (Report) Kind() string { return "report" }

// Check refuses what no docket could hold.
func (r Report) Check() error {
	if _, err := consent.ParseRequestID(string(r.Request)); err != nil {
		return consent.Refuse(consent.BadValue, "request", "%w", err)
	}
	if n := utf8.RuneCountInString(r.Text); n < MinReport || n > MaxReport || strings.TrimSpace(r.Text) != r.Text ||
		strings.ContainsFunc(r.Text, func(c rune) bool { return c != '\n' && !unicode.IsPrint(c) }) {
		return consent.Refuse(consent.BadText, "text", "%d characters, or one that cannot be seen; %d to %d printable ones", n, MinReport, MaxReport)
	}
	return checkPair(r.Created, r.Officer, r.Supervisor)
}

// A Finding says what became of an investigation. Whether footage came, and whether it was used, is nobody's to know and is
// not among them.
type Finding string

// The closed list of findings.
const (
	FindingOpen      Finding = "open"      // the investigation goes on
	FindingCharged   Finding = "charged"   // somebody was arrested or charged
	FindingCleared   Finding = "cleared"   // cleared without a charge
	FindingUnfounded Finding = "unfounded" // there was no offence
	FindingClosed    Finding = "closed"    // closed without a result
)

// Findings returns the closed list.
func Findings() []Finding {
	return []Finding{FindingOpen, FindingCharged, FindingCleared, FindingUnfounded, FindingClosed}
}

// Title is the finding in plain words, "" for one that is not on the list.
func (f Finding) Title() string {
	switch f {
	case FindingOpen:
		return "The investigation goes on"
	case FindingCharged:
		return "Somebody was arrested or charged"
	case FindingCleared:
		return "Cleared without a charge"
	case FindingUnfounded:
		return "There was no offence"
	case FindingClosed:
		return "Closed without a result"
	}
	return ""
}

// Outcome says what became of the investigation that a request was part of. A later one replaces it.
type Outcome struct {
	Request consent.RequestID   `json:"request"`
	Outcome Finding             `json:"outcome"`
	Created consent.Time        `json:"created"`
	Officer consent.VerifierKey `json:"officer"`
}

// Kind is "outcome".
func (Outcome) Kind() string { return "outcome" }

// Check refuses what no docket could hold.
func (o Outcome) Check() error {
	if _, err := consent.ParseRequestID(string(o.Request)); err != nil {
		return consent.Refuse(consent.BadValue, "request", "%w", err)
	}
	if !slices.Contains(Findings(), o.Outcome) {
		return consent.Refuse(consent.BadValue, "outcome", "%.40q is none of %v", string(o.Outcome), Findings())
	}
	return checkKeys(o.Created, o.Officer)
}

// OpenReport reads a report signed by the officer and the supervisor it names.
func OpenReport(msg []byte) (Report, error) {
	return consent.Open(msg, func(r Report) ([]consent.VerifierKey, error) {
		return []consent.VerifierKey{r.Officer, r.Supervisor}, nil
	})
}

// OpenOutcome reads an outcome signed by the officer it names.
func OpenOutcome(msg []byte) (Outcome, error) {
	return consent.Open(msg, func(o Outcome) ([]consent.VerifierKey, error) { return []consent.VerifierKey{o.Officer}, nil })
}
