package docket

import (
	"cmp"
	"slices"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
	"github.com/porchlight-mesh/porchlight/consent/grant"
)

// Daily is the entry of one day, of the size that the charter's plan fixes. Every list stands in ascending order, so that places in it say nothing.
type Daily struct {
	Day         Day                 `json:"day"`
	Commitments []Term              `json:"commitments"` // one for each class of retention
	Used        []grant.Commitment  `json:"used"`
	Exported    []grant.Commitment  `json:"exported"`
	PassedOn    []grant.Commitment  `json:"passed_on"`
	Deleted     []grant.Commitment  `json:"deleted"`
	Messages    [][]byte            `json:"messages"` // sealed to grant keys, or to nobody
	Created     consent.Time        `json:"created"`
	Key         consent.VerifierKey `json:"key"` // the docket key, which signs this
}

// Term holds the commitments that are to be deleted at the latest so many days after the day.
type Term struct {
	KeepDays int                `json:"keep_days"`
	Of       []grant.Commitment `json:"of"`
}

// Kind is "daily".
func (Daily) Kind() string { return "daily" }

// Check refuses what no docket could hold.
func (d Daily) Check() error {
	if _, err := parseDay(string(d.Day)); err != nil {
		return err
	}
	if err := checkKeys(d.Created, d.Key); err != nil {
		return err
	}
	if DayOf(d.Created.Time) < d.Day {
		return consent.Refuse(consent.BadValue, "created", "%s is before the day", d.Created)
	}
	if n := len(d.Commitments); n == 0 || n > charter.MaxClasses {
		return consent.Refuse(consent.BadValue, "commitments", "%d classes of retention; 1 to %d may be", n, charter.MaxClasses)
	}
	for i, t := range d.Commitments {
		if t.KeepDays < 1 || i > 0 && t.KeepDays <= d.Commitments[i-1].KeepDays {
			return consent.Refuse(consent.BadValue, "commitments", "classes of retention stand in ascending order, each once")
		}
		if err := checkCommitments("commitments", t.Of); err != nil {
			return err
		}
	}
	for _, l := range []struct {
		field string
		of    []grant.Commitment
	}{{"used", d.Used}, {"exported", d.Exported}, {"passed_on", d.PassedOn}, {"deleted", d.Deleted}} {
		if err := checkCommitments(l.field, l.of); err != nil {
			return err
		}
	}
	return checkAscending("messages", d.Messages, slices.Compare)
}

func checkCommitments(field string, of []grant.Commitment) error {
	for _, c := range of {
		if _, err := consent.ParseHash(string(c)); err != nil {
			return consent.Refuse(consent.BadValue, field, "%w", err)
		}
	}
	return checkAscending(field, of, cmp.Compare)
}

func checkAscending[T any](field string, of []T, compare func(a, b T) int) error {
	if of == nil {
		return consent.Refuse(consent.NullValue, field, "[] when there are none")
	}
	for i := 1; i < len(of); i++ {
		if compare(of[i-1], of[i]) >= 0 {
			return consent.Refuse(consent.BadValue, field, "the list stands in ascending order, each once")
		}
	}
	return nil
}

// OpenDaily reads a daily entry signed by the key it names. That this is the docket's is for the log to say.
func OpenDaily(msg []byte) (Daily, error) {
	return consent.Open(msg, func(d Daily) ([]consent.VerifierKey, error) { return []consent.VerifierKey{d.Key}, nil })
}
