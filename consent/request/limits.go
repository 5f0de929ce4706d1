package request

import (
	"time"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
	"github.com/porchlight-mesh/porchlight/consent/geo"
)

// CheckCharter holds a request against the charter and against the agency in
// whose docket it stands. It needs neither history nor clock. Each rule has
// its own class, and the first breach is returned.
func (r Request) CheckCharter(c *charter.Charter, a charter.Agency) error {
	admitted, ok := c.Agency(a.ID())
	if !ok {
		return consent.Refuse(consent.UnknownAgency, "agency", "the charter admits no agency %s", a.ID())
	}
	if r.Agency != admitted.ID() {
		return consent.Refuse(WrongAgency, "agency", "the request belongs to %s and stands in the docket of %s", r.Agency, a.ID())
	}
	if err := r.checkWindow(c.Limits); err != nil {
		return err
	}
	if err := r.checkArea(c.Limits, admitted.Jurisdiction); err != nil {
		return err
	}
	if err := r.checkDays(c.Limits); err != nil {
		return err
	}
	for _, text := range r.Reply {
		addr, err := parseReply(text)
		if err != nil {
			return err
		}
		if !addr.Public() && !c.LANOnly {
			return consent.Refuse(ReplyNotPublic, "reply", "%s is not public, and the mesh is not declared LAN-only", text)
		}
	}
	return r.CheckText()
}

// CheckText refuses a request whose plain-language text no charter allows.
func (r Request) CheckText() error {
	if found := lint(r.Text); len(found) > 0 {
		return consent.Refuse(found[0].class, "text", "%s", found[0].reason)
	}
	return nil
}

func (r Request) checkWindow(l charter.Limits) error {
	least, most := time.Duration(l.MinWindowMinutes)*time.Minute, time.Duration(l.MaxWindowMinutes)*time.Minute
	switch w := r.Window(); {
	case w < least:
		return consent.Refuse(consent.WindowTooShort, "until", "a window of %s; at least %s", w, least)
	case w > most:
		return consent.Refuse(consent.WindowTooLong, "until", "a window of %s; at most %s", w, most)
	}
	return nil
}

func (r Request) checkArea(l charter.Limits, jurisdiction geo.Polygon) error {
	switch m2 := r.Area.AreaM2(); {
	case !(m2 >= l.MinAreaM2):
		return consent.Refuse(consent.AreaTooSmall, "area", "%.0f m²; at least %.0f m²", m2, l.MinAreaM2)
	case !(m2 <= l.MaxAreaM2):
		return consent.Refuse(consent.AreaTooLarge, "area", "%.0f m²; at most %.0f m²", m2, l.MaxAreaM2)
	case !jurisdiction.ContainsPolygon(r.Area):
		return consent.Refuse(consent.OutsideJurisdiction, "area", "the area lies outside the agency's jurisdiction, or in part")
	}
	return nil
}

func (r Request) checkDays(l charter.Limits) error {
	const day = 24 * time.Hour
	switch open := r.Expires.Sub(r.Created.Time); {
	case open > time.Duration(l.MaxExpiryDays)*day:
		return consent.Refuse(consent.ExpiryTooLong, "expires", "open for %s; at most %d days", open, l.MaxExpiryDays)
	case r.Terms.RetentionDays > l.MaxRetentionDays:
		return consent.Refuse(consent.RetentionTooLong, "terms", "kept %d days; at most %d", r.Terms.RetentionDays, l.MaxRetentionDays)
	case r.Terms.UnusedDays > l.MaxUnusedDays:
		return consent.Refuse(consent.UnusedTooLong, "terms", "kept %d days unused; at most %d", r.Terms.UnusedDays, l.MaxUnusedDays)
	}
	return nil
}

// Seen is a request that an agency's docket already holds. Superseded and
// resolved ones stay in: superseding counts as a post.
type Seen struct {
	ID      consent.RequestID
	Request Request
}

// CheckHistory holds a request against the earlier ones of its agency: at most
// PostsPerCase posts a case, and the daily cap on area × hours. prev holds the
// entries before the request in the docket, in any order; the request itself
// does not count, told by its ID.
//
// A peer may know less of the docket than another, so a breach means that the
// request is not shown here and not forwarded, never that its sender is at
// fault.
func CheckHistory(prev []Seen, r Seen, l charter.Limits) error {
	posts := 1
	today, load := r.Request.Created.Format(time.DateOnly), r.Request.AreaHours()
	for _, p := range prev {
		if p.ID == r.ID {
			continue
		}
		if sameCase(p.Request, r.Request) {
			// An agency that floods its docket shall not cost its peers a comparison of all with all.
			if posts++; posts > l.PostsPerCase {
				return consent.Refuse(consent.TooManyPosts, "case", "post %d of this case, or a later one; at most %d", posts, l.PostsPerCase)
			}
		}
		if p.Request.Created.Format(time.DateOnly) == today {
			load += p.Request.AreaHours()
		}
	}
	if load > l.DailyAreaHours {
		return consent.Refuse(consent.DailyArea, "area", "%.0f m²·h asked for on %s; at most %.0f", load, today, l.DailyAreaHours)
	}
	return nil
}

// sameCase reports whether two requests of one agency count as one case: the
// same reference, or the same offence over ground and time that they share, so
// that a new reference buys no further posts.
func sameCase(a, b Request) bool {
	if a.Case == b.Case {
		return true
	}
	return a.Offence == b.Offence &&
		a.From.Before(b.Until.Time) && b.From.Before(a.Until.Time) &&
		geo.Overlaps(a.Area, b.Area)
}

// AreaHours is area × window in m²·h, the measure of the daily cap.
func (r Request) AreaHours() float64 { return r.Area.AreaM2() * r.Window().Hours() }

// Timeless reports whether a refusal of this class needs no clock and no
// history, so that every honest peer under the same charter comes to it too. A
// gossip validator rejects on those and counts them against the sender, and
// ignores on the others. An error without a class is not timeless: it is this
// peer's own trouble.
func Timeless(class consent.Class) bool {
	switch class {
	case "",
		// By the clock.
		consent.Expired, consent.NotYetValid, consent.ExpiredOfficer,
		// By what was asked before.
		consent.TooManyPosts, consent.DailyArea,
		// By how far this peer is with the charter.
		consent.UnknownAgency, consent.WrongPrevious, consent.Frozen, consent.Unaccounted, consent.Suspended,
		// By how far it is with the docket.
		consent.UnknownOfficer, consent.RevokedOfficer, consent.DuplicateEntry, consent.UnknownRequest, consent.ClosedRequest,
		consent.BadCheckpoint, consent.Fork, consent.Behind, consent.OverQuota, consent.Unread, consent.Unwitnessed,
		// By both: what a day's entry has to be is for the charter's versions and the entries before it to say.
		consent.BadDay, consent.OffSchedule, consent.WrongState, consent.UnknownCommitment:
		return false
	}
	return true
}
