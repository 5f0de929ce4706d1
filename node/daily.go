package node

import (
	"crypto/rand"
	"time"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
	"github.com/porchlight-mesh/porchlight/consent/docket"
)

// NextDaily is the day of the docket's next daily entry and what the charter says of it: today where there is none yet, which is then the
// first. ok is false where the charter has none on that day.
func (d *Docket) NextDaily(now time.Time) (day docket.Day, plan charter.Daily, first, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.usable() != nil {
		return "", plan, false, false
	}
	day = docket.DayOf(now)
	last := d.log.LastDaily()
	if last != "" {
		day = last.Add(1)
	}
	p, ok := d.planOf(day)
	return day, p.Daily, last == "", ok
}

// Plan is what the charter says of today's daily entries. ok is false where it has none.
func (d *Docket) Plan(now time.Time) (p charter.Plan, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.planOf(docket.DayOf(now))
}

func (d *Docket) planOf(day docket.Day) (plan charter.Plan, ok bool) {
	for _, p := range d.plans {
		if docket.DayOf(p.From.Time) <= day {
			plan, ok = p, true
		}
	}
	return plan, ok
}

// Left returns what of all that waits would have no place in the daily entries of the next days, today's among them; nothing where the charter
// has no daily entries.
func (d *Docket) Left(waiting []docket.Waiting, now time.Time, days int) ([]docket.Waiting, error) {
	if _, _, _, ok := d.NextDaily(now); !ok {
		return nil, nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	today := docket.DayOf(now)
	return d.log.Left(waiting, today, today.Add(days))
}

// MayAct refuses a key that the docket does not enrol at that time, as an officer or a supervisor.
func (d *Docket) MayAct(k consent.VerifierKey, at time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.broken != nil {
		return d.broken
	}
	err := d.log.Check(k, docket.RoleOfficer, consent.At(at))
	if consent.ClassOf(err) == consent.WrongRole {
		err = d.log.Check(k, docket.RoleSupervisor, consent.At(at))
	}
	return err
}

// AppendDaily makes the next daily entry of this node's own docket and adds it, as Append does. It is of class not-yet-valid where the
// next day has not come.
func (d *Docket) AppendDaily(load docket.Load, key consent.Key, now time.Time) (docket.Daily, error) {
	daily, err := d.makeDaily(load, now)
	if err != nil {
		return docket.Daily{}, err
	}
	note, err := consent.Sign(daily, key)
	if err != nil {
		return docket.Daily{}, err
	}
	_, err = d.Append(note, key, now)
	return daily, err
}

func (d *Docket) makeDaily(load docket.Load, now time.Time) (docket.Daily, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.usable(); err != nil {
		return docket.Daily{}, err
	}
	if err := d.maySign(); err != nil {
		return docket.Daily{}, err
	}
	daily, _, err := d.log.NextDaily(load, consent.At(now), rand.Reader)
	return daily, err
}
