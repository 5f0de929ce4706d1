package charter

import (
	"reflect"
	"slices"
	"time"

	"github.com/porchlight-mesh/porchlight/consent"
)

// Daily is the size of the daily entry of every docket of the mesh (package docket). The zero Daily is none: dockets have no such
// entries then.
type Daily struct {
	Commitments   int   `json:"commitments"`    // a day, real ones and dummies
	RetentionDays []int `json:"retention_days"` // the classes, ascending: commitment i of a day is of class i mod their number
	Messages      int   `json:"messages"`       // sealed messages a day, real ones and dummies
	MessageBytes  int   `json:"message_bytes"`  // of each
}

// Bounds of a Daily. Each class has at least ClassSlots commitments a day, a quarter of which, rounded down, may be real.
const (
	MinCommitments   = 8
	MaxCommitments   = 64
	MaxClasses       = 8
	ClassSlots       = 4
	MaxDailyMessages = 16
	MinMessageBytes  = 1536 // a sealed receipt of any kind fits
	MaxMessageBytes  = 2048
)

// PlanNotice is how long after it was created a version's change of the daily entries counts. It leaves time to sign the version and
// to make it known, and what was granted under the old limits is answered and committed to by then. Of limits that were raised an
// agency makes no use before.
const PlanNotice = 30 * 24 * time.Hour

// DefaultDaily is 16 commitments a day, kept 30, 90, 180 days or as long as the limits allow at the longest, and three messages of
// 1.5 KiB.
func DefaultDaily(l Limits) Daily {
	d := Daily{Commitments: 16, Messages: 3, MessageBytes: MinMessageBytes}
	for _, days := range []int{30, 90, 180} {
		if days < l.MaxRetentionDays {
			d.RetentionDays = append(d.RetentionDays, days)
		}
	}
	d.RetentionDays = append(d.RetentionDays, l.MaxRetentionDays)
	return d
}

// IsZero says that there are no daily entries.
func (d Daily) IsZero() bool {
	return d.Commitments == 0 && len(d.RetentionDays) == 0 && d.Messages == 0 && d.MessageBytes == 0
}

// Check refuses a Daily that is out of bounds, or whose entries could be longer than a document may be.
func (d Daily) Check(l Limits) error {
	if d.IsZero() {
		return nil
	}
	n := len(d.RetentionDays)
	if n == 0 || n > MaxClasses || d.Commitments < max(MinCommitments, n*ClassSlots) || d.Commitments > MaxCommitments {
		return consent.Refuse(consent.BadValue, "daily", "%d commitments a day in %d classes; %d to %d in 1 to %d classes, and at least %d in each",
			d.Commitments, n, MinCommitments, MaxCommitments, MaxClasses, ClassSlots)
	}
	for i, days := range d.RetentionDays {
		if days < 1 || i > 0 && days <= d.RetentionDays[i-1] {
			return consent.Refuse(consent.BadValue, "daily", "the classes of retention are days in ascending order, each once")
		}
	}
	// What may be kept longer than the last class would have none.
	if last := d.RetentionDays[n-1]; last != l.MaxRetentionDays {
		return consent.Refuse(consent.BadValue, "daily", "the last class of retention is %d days; it has to be the limit, %d", last, l.MaxRetentionDays)
	}
	none := d.Messages == 0 && d.MessageBytes == 0
	if !none && (d.Messages < 1 || d.Messages > MaxDailyMessages || d.MessageBytes < MinMessageBytes || d.MessageBytes > MaxMessageBytes) {
		return consent.Refuse(consent.BadValue, "daily", "%d messages of %d bytes; 1 to %d of %d to %d, or 0 of 0", d.Messages, d.MessageBytes, MaxDailyMessages, MinMessageBytes, MaxMessageBytes)
	}
	if most := d.bytes(); most > consent.MaxNote {
		return consent.Refuse(consent.Oversize, "daily", "its entries could have %d bytes; the most is %d", most, consent.MaxNote)
	}
	return nil
}

// bytes is the most that an entry may need. When a plan takes the place of another, a day may settle a cohort of each.
func (d Daily) bytes() int {
	const frame, class, hash = 1024, 48, 64 + 3
	changes := 0
	for i := range d.RetentionDays {
		c := d.Class(i, 0)
		changes += c.Slots + c.Used + c.Exported + c.PassedOn
	}
	return frame + class*len(d.RetentionDays) + hash*(d.Commitments+2*changes) + d.Messages*((d.MessageBytes+2)/3*4+3)
}

// A Class is what is fixed about the commitments of one day and one retention. Of its slots a quarter may be real. Three quarters are
// said to be used, a half exported and a quarter passed on, so that, whatever becomes of the real ones, there are places for them and
// dummies for the other places: any number of real ones between none and Real may be in each state.
type Class struct {
	KeepDays int // from the day to the one on which the used ones are deleted
	Split    int // days to the one on which the used ones are told from the rest, which is deleted; KeepDays at most
	Slots    int
	Real     int
	Used     int
	Exported int // of those used
	PassedOn int // of those exported
}

// Class is class i of a day's commitments, where what is not used is kept for so many days.
func (d Daily) Class(i, unusedDays int) Class {
	n := len(d.RetentionDays)
	c := Class{KeepDays: d.RetentionDays[i], Slots: (d.Commitments + n - 1 - i) / n}
	c.Split = min(c.KeepDays, unusedDays)
	c.Real = c.Slots / ClassSlots
	c.Used, c.Exported, c.PassedOn = 3*c.Real, 2*c.Real, c.Real
	return c
}

// A Plan is what daily entries look like from a day on.
type Plan struct {
	From       consent.Time // midnight UTC
	Daily      Daily
	UnusedDays int
}

// Classes are those of the commitments of one day, by ascending retention.
func (p Plan) Classes() []Class {
	all := make([]Class, len(p.Daily.RetentionDays))
	for i := range all {
		all[i] = p.Daily.Class(i, p.UnusedDays)
	}
	return all
}

// Plans are those of the mesh's dockets, ascending; none where no version has daily entries. The first counts from the day on which its
// version was created, one that changes it from [PlanNotice] later, and not before the last cohort of the plan before the last is gone,
// so that no day settles cohorts of three plans. A plan says what a past day's entry had to be, so it does not depend on when the chain is looked at.
func (c Chain) Plans() (all []Plan) {
	for i, link := range c {
		// Of two successors neither counts, whichever came here first.
		if len(link.Rivals) > 0 || i+1 < len(c) && len(c[i+1].Charter.Also) > 0 || link.Charter.Daily.IsZero() {
			continue
		}
		p := Plan{midnight(link.Charter.Created.Time), link.Charter.Daily, link.Charter.Limits.MaxUnusedDays}
		if len(all) > 0 {
			p.From = midnight(p.From.Add(PlanNotice))
			// A change that has not come yet when this one would is given up.
			for len(all) > 1 && !all[len(all)-1].From.Before(p.From.Time) {
				all = all[:len(all)-1]
			}
			last := all[len(all)-1]
			if reflect.DeepEqual(last.Daily, p.Daily) && last.UnusedDays == p.UnusedDays {
				continue
			}
			if n := len(all); n > 1 {
				if gone := midnight(last.From.AddDate(0, 0, all[n-2].longest())); p.From.Before(gone.Time) {
					p.From = gone
				}
			}
		}
		all = append(all, p)
	}
	return all
}

// longest is the days that a cohort has to be followed for.
func (p Plan) longest() int { return slices.Max(p.Daily.RetentionDays) }

func midnight(t time.Time) consent.Time { return consent.At(t.UTC().Truncate(24 * time.Hour)) }
