// Package rules decides, on an owner's node, what is shown, what is done with it, and what a camera
// could answer. The decisions are made from public documents and this home's own settings; none
// leaves a trace on the network. Zero values show nothing, do nothing and offer nothing.
//
// # Order
//
//	the charter     what may be asked at all; no setting of a home widens it
//	Strictness      what this home does not want to see: its floor, at any hour
//	the switches    what is done with the rest: ignore, hold, tell or prepare
//
// Of the switches that are about a request the one that does least counts, wherever it stands in the
// table; a request that none is about is told. So a further restriction can never let something
// through, the order of the table means nothing, and whoever reads one line of it knows what that
// line's requests get at most. Most wins, or first wins, would have the owner find out why a
// request came in spite of a switch against it.
//
// Hours put something off and take nothing back. What was held at night is told in the morning;
// what was told in the evening is not hidden again at night. An emergency that an agency claims and
// answers for makes the notice louder: hours do not keep it silent. It opens nothing: what the
// owner ignores, at some hours or at all, is ignored.
//
// A switch may be about agencies only of which owners showed that they break what they signed. It counts
// for as long as a breach record stands, also for what was told before, and no longer.
package rules

import (
	"fmt"
	"slices"

	"github.com/porchlight-mesh/porchlight/consent/charter"
	"github.com/porchlight-mesh/porchlight/consent/geo"
	"github.com/porchlight-mesh/porchlight/consent/request"
)

// Strictness is what an owner set. A home may be stricter than its charter and never laxer:
// the classes it may turn on are those that the charter leaves to owners.
type Strictness struct {
	ClassesOn  []charter.AgencyClass `json:"classes_on"` // of those off by default
	ClassesOff []charter.AgencyClass `json:"classes_off"`

	OffencesOff      []request.Offence `json:"offences_off"`
	BasesOff         []request.Basis   `json:"bases_off"`
	MaxRetentionDays int               `json:"max_retention_days"` // 0: as the charter says
}

// Off are the classes of agency whose requests an owner is not shown, in ascending order.
func Off(c *charter.Charter, s Strictness) (off []charter.AgencyClass) {
	for _, class := range charter.Classes() {
		if slices.Contains(s.ClassesOff, class) || slices.Contains(c.OffByDefault, class) && !slices.Contains(s.ClassesOn, class) {
			off = append(off, class)
		}
	}
	slices.Sort(off)
	return off
}

// Show says whether an owner would be shown a request of that agency, and if not, why not.
func Show(c *charter.Charter, a charter.Agency, r request.Request, s Strictness) (show bool, why string) {
	if c == nil {
		return false, "this home has no charter"
	}
	admitted, ok := c.Agency(a.ID())
	if !ok {
		return false, "the charter does not admit the agency"
	}
	if err := admitted.MayAsk(); err != nil {
		return false, err.Error()
	}
	if err := r.CheckCharter(c, admitted); err != nil {
		return false, err.Error()
	}
	if slices.Contains(s.ClassesOff, admitted.Class) {
		return false, fmt.Sprintf("this home has turned off agencies of the class %s", admitted.Class)
	}
	if slices.Contains(c.OffByDefault, admitted.Class) && !slices.Contains(s.ClassesOn, admitted.Class) {
		return false, fmt.Sprintf("agencies of the class %s are off until the owner turns them on", admitted.Class)
	}
	switch {
	case slices.Contains(s.OffencesOff, r.Offence):
		return false, fmt.Sprintf("this home has turned off requests about the offence %s (%s)", r.Offence, r.Offence.Title())
	case slices.Contains(s.BasesOff, r.Basis):
		return false, fmt.Sprintf("this home has turned off requests on the basis %s", r.Basis)
	case s.MaxRetentionDays > 0 && r.Terms.RetentionDays > s.MaxRetentionDays:
		return false, fmt.Sprintf("footage would be kept %d days; this home allows %d", r.Terms.RetentionDays, s.MaxRetentionDays)
	}
	return true, ""
}

// A Camera is what matching needs to know of one. The zero Camera is not offered.
type Camera struct {
	Offered bool
	Indoor  bool // then Offered is not enough:
	ByName  bool // the owner named this indoor camera
	View    geo.Sector
}

// Match says whether a camera could have seen the area of a request and may say so.
func Match(c Camera, r request.Request) bool {
	return c.Offered && (!c.Indoor || c.ByName) && c.View.Touches(r.Area)
}
