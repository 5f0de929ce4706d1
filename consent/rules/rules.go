// Package rules decides, on an owner's node, what is shown and what a camera could answer. Both
// decisions are made from public documents and this home's own settings; neither leaves a trace
// on the network. Zero values show nothing and offer nothing.
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
	ClassesOn  []charter.AgencyClass // of those off by default
	ClassesOff []charter.AgencyClass

	OffencesOff      []request.Offence
	BasesOff         []request.Basis
	MaxRetentionDays int // 0: as the charter says
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
