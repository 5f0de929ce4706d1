package charter

import (
	"slices"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/porchlight-mesh/porchlight/consent"
)

// Removal says why a version no longer lists an agency of the version before.
type Removal struct {
	Agency consent.AgencyID `json:"agency"`
	Name   string           `json:"name"` // as the version before had it
	Reason string           `json:"reason"`
}

// Succession names a docket that was lost, or whose key was, by its last checkpoint.
type Succession struct {
	Agency consent.AgencyID `json:"agency"` // of the lost docket
	Size   int64            `json:"size"`   // in entries
	Root   tlog.Hash        `json:"root"`   // in base64, as in a checkpoint
}

// MayAsk is nil unless the agency is suspended; then it is an error of class suspended with the reason. Whether the
// charter has ended is another question, see [Charter.Ended].
func (a Agency) MayAsk() error {
	if a.Suspended == "" {
		return nil
	}
	return consent.Refuse(consent.Suspended, "", "%s is suspended: %s", a.Name, a.Suspended)
}

// checkStanding checks what only a charter says of an agency.
func (a Agency) checkStanding() error {
	if a.Suspended != "" {
		if err := checkReason("suspended", a.Suspended); err != nil {
			return err
		}
	}
	s := a.Succeeds
	if s == nil {
		return nil
	}
	if _, err := consent.ParseAgencyID(string(s.Agency)); err != nil || s.Agency == a.ID() {
		return consent.Refuse(consent.BadValue, "succeeds", "%.40q is not the id of another docket", string(s.Agency))
	}
	// A docket without entries has no history to go on from. The most is docket.MaxSize.
	if s.Size < 1 || s.Size > 1<<32 {
		return consent.Refuse(consent.BadValue, "succeeds", "a last checkpoint of %d entries; 1 to 2^32 may be", s.Size)
	}
	return nil
}

func (c Charter) checkRemoved() error {
	if c.Version == 1 && len(c.Removed) > 0 {
		return consent.Refuse(consent.BadValue, "removed", "nobody was there before version 1")
	}
	if len(c.Removed) > MaxAgencies {
		return consent.Refuse(consent.BadValue, "removed", "%d agencies; at most %d may be", len(c.Removed), MaxAgencies)
	}
	for i, r := range c.Removed {
		if _, err := consent.ParseAgencyID(string(r.Agency)); err != nil {
			return consent.Refuse(consent.BadValue, "removed", "%w", err)
		}
		if err := checkName("removed", r.Name); err != nil {
			return err
		}
		if err := checkReason("removed", r.Reason); err != nil {
			return err
		}
		if _, listed := c.Agency(r.Agency); listed || slices.ContainsFunc(c.Removed[:i], func(o Removal) bool { return o.Agency == r.Agency }) {
			return consent.Refuse(consent.BadValue, "removed", "%s is listed too, or removed twice", r.Name)
		}
	}
	var lost []consent.AgencyID
	for _, a := range c.Agencies {
		if a.Succeeds == nil {
			continue
		}
		if c.Version == 1 {
			return consent.Refuse(consent.BadValue, "succeeds", "%s succeeds a docket, and nobody was there before version 1", a.Name)
		}
		old := a.Succeeds.Agency
		_, listed := c.Agency(old)
		removed := slices.ContainsFunc(c.Removed, func(r Removal) bool { return r.Agency == old })
		if listed || removed || slices.Contains(lost, old) {
			return consent.Refuse(consent.BadValue, "succeeds", "the docket %s, which %s succeeds, is listed too, or removed, or has two successors", old, a.Name)
		}
		lost = append(lost, old)
	}
	return nil
}

// account refuses a version that loses an agency without a word, or takes one in that may not be. before is the
// chain up to the version that counted last.
func (c Chain) account(n *Charter) error {
	old := c[len(c)-1].Charter
	for _, a := range n.Agencies {
		was, before := c.LastEntry(a.ID())
		if before {
			if !same(was.Succeeds, a.Succeeds) {
				return consent.Refuse(consent.Unaccounted, "succeeds", "what %s succeeds cannot change after it was admitted", a.Name)
			}
		} else if a.Succeeds != nil {
			if _, ok := old.Agency(a.Succeeds.Agency); !ok {
				return consent.Refuse(consent.Unaccounted, "succeeds", "%s succeeds the docket %s, which version %d does not list", a.Name, a.Succeeds.Agency, old.Version)
			}
		}
		if by, ok := c.successor(a.ID()); ok {
			return consent.Refuse(consent.Unaccounted, "agencies", "the docket %s was lost and %s succeeds it; it cannot come back", a.ID(), by.Name)
		}
	}
	for _, r := range n.Removed {
		if a, ok := old.Agency(r.Agency); !ok || a.Name != r.Name {
			return consent.Refuse(consent.Unaccounted, "removed", "version %d lists no agency %s, %s, that could be removed", old.Version, r.Agency, r.Name)
		}
	}
	for _, a := range old.Agencies {
		id := a.ID()
		_, stays := n.Agency(id)
		gone := slices.ContainsFunc(n.Removed, func(r Removal) bool { return r.Agency == id })
		lost := slices.ContainsFunc(n.Agencies, func(o Agency) bool { return o.Succeeds != nil && o.Succeeds.Agency == id })
		if !stays && !gone && !lost {
			return consent.Refuse(consent.Unaccounted, "removed", "version %d no longer lists %s and does not say why", n.Version, a.Name)
		}
	}
	return nil
}

func same(a, b *Succession) bool { return a == nil && b == nil || a != nil && b != nil && *a == *b }

// LastEntry finds an agency in the newest version that counts and lists it, so also one that was removed since.
func (c Chain) LastEntry(id consent.AgencyID) (Agency, bool) {
	for i := len(c) - 1; i >= 0; i-- {
		if !c.counts(i) {
			continue
		}
		if a, ok := c[i].Charter.Agency(id); ok {
			return a, true
		}
	}
	return Agency{}, false
}

// successor finds the agency that succeeds a lost docket.
func (c Chain) successor(lost consent.AgencyID) (Agency, bool) {
	for i := range c {
		if !c.counts(i) {
			continue
		}
		for _, a := range c[i].Charter.Agencies {
			if a.Succeeds != nil && a.Succeeds.Agency == lost {
				return a, true
			}
		}
	}
	return Agency{}, false
}

// Lineage lists the dockets that an agency had before this one and lost, newest first: its history goes on through
// them. It tells that also of an agency that was removed.
func (c Chain) Lineage(id consent.AgencyID) []consent.AgencyID {
	var lost []consent.AgencyID
	for {
		// A lost docket was admitted before its successor was, so this ends.
		a, ok := c.LastEntry(id)
		if !ok || a.Succeeds == nil {
			return lost
		}
		id = a.Succeeds.Agency
		lost = append(lost, id)
	}
}

// A Departure is a removal, and the version that says so.
type Departure struct {
	Version int `json:"version"`
	Removal
}

// Departures lists the removals of every version that counts, newest first.
func (c Chain) Departures() []Departure {
	var gone []Departure
	for i := len(c) - 1; i >= 0; i-- {
		if c.counts(i) {
			for _, r := range c[i].Charter.Removed {
				gone = append(gone, Departure{i + 1, r})
			}
		}
	}
	return gone
}
