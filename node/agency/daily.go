package agency

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"filippo.io/age"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
	"github.com/porchlight-mesh/porchlight/consent/docket"
	"github.com/porchlight-mesh/porchlight/consent/grant"
	"github.com/porchlight-mesh/porchlight/footage/durable"
	"github.com/porchlight-mesh/porchlight/node"
	"github.com/porchlight-mesh/porchlight/p2p/deliver"
)

// The docket is told once a day what became of releases, among dummies that look the same (package docket). The moment is drawn at
// random for each day and kept in the file daily, so that neither the vault nor a restart has a say in it; what was missed is made up
// for at once. The day is the ratchet's (clock.go): no entry says what the vault may not know to be true yet.

// A moment is when the entry of a day is made.
type moment struct {
	Day docket.Day `json:"day"`
	At  time.Time  `json:"at"`
}

// mostDaily bounds how many entries are made at one moment. After a long time off the rest comes on the next days, so that there is room
// in the docket's day for requests.
const mostDaily = 30

// drawnFrom is the part of a day that moments are drawn from. The last hour is left, so that an entry is made on its day.
const drawnFrom = 23 * time.Hour

// draw chooses a moment of a day.
func draw(day docket.Day) (time.Time, error) {
	start, err := time.Parse(time.DateOnly, string(day))
	if err != nil {
		return start, err
	}
	var b [8]byte
	if _, err := rand.Read(b[:]); err != nil {
		return time.Time{}, err
	}
	return start.Add(time.Duration(binary.BigEndian.Uint64(b[:])%uint64(drawnFrom/time.Second)) * time.Second), nil
}

// readMoment reads when the next entry is to be made.
func (a *Agency) readMoment() error {
	err := node.ReadJSON(a.peer.State.Path("daily"), &a.moment)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return err
}

// setMoment draws the moment for the entry of a day, on that or another day.
func (a *Agency) setMoment(day, on docket.Day) error {
	at, err := draw(on)
	if err != nil {
		return err
	}
	m := moment{day, at}
	if err := node.WriteJSON(a.peer.State.Disk(), a.peer.State.Path("daily"), m); err != nil {
		return err
	}
	a.moment = m
	return nil
}

// daily makes the entries of the days that have none, when their moment has come. made says that there is something to spread.
func (a *Agency) daily() (made int, err error) {
	_, d, err := a.self()
	if err != nil || d.MaySign() != nil {
		return 0, nil // Run has said so
	}
	now := a.now()
	day, plan, first, ok := d.NextDaily(now)
	if !ok {
		return 0, nil
	}
	if first {
		day = cmp.Or(a.moment.Day, day.Add(1)) // no commitment of today's may stand in today's entry
	}
	if a.moment.Day != day {
		if err := a.setMoment(day, day); err != nil {
			return 0, err
		}
	}
	if now.Before(a.moment.At) {
		return 0, nil
	}
	for ; made < mostDaily; made++ {
		err := a.enterDaily(d, plan, now)
		switch consent.ClassOf(err) {
		case "":
			if err != nil {
				return made, fmt.Errorf("daily entry: %w", err)
			}
		case consent.NotYetValid:
			return made, nil
		case consent.OverQuota:
			return made, a.restTomorrow(d, now)
		default:
			return made, fmt.Errorf("daily entry: %w", err)
		}
		if _, plan, _, ok = d.NextDaily(now); !ok {
			return made + 1, nil
		}
	}
	return made, a.restTomorrow(d, now)
}

func (a *Agency) restTomorrow(d *node.Docket, now time.Time) error {
	day, _, _, _ := d.NextDaily(now)
	return a.setMoment(day, docket.DayOf(now).Add(1))
}

// enterDaily puts the next daily entry into the docket, and forgets the messages that stand in it.
func (a *Agency) enterDaily(d *node.Docket, plan charter.Daily, now time.Time) error {
	load, told, odd := a.vault.load(plan)
	if odd > 0 {
		a.peer.Log.Warn("messages not sent: the charter has too little room for them", "messages", odd)
	}
	a.mu.Lock()
	daily, err := d.AppendDaily(load, a.key, now)
	a.mu.Unlock()
	if err != nil {
		return err
	}
	return a.vault.sent(told[:min(len(told), len(daily.Messages))])
}

// runDaily makes what is due and spreads it.
func (a *Agency) runDaily(ctx context.Context) error {
	made, err := a.daily()
	if made == 0 {
		return err
	}
	if _, d, serr := a.self(); serr == nil {
		_, serr = a.spread(ctx, d)
		err = errors.Join(err, serr)
	}
	return err
}

// load is what the docket is to be told: the releases for which a receipt was signed that they are held, and of the messages that wait as many as
// an entry holds, sealed. told are the same messages; odd counts those before them that have no room in the charter's size.
func (v *vault) load(plan charter.Daily) (l docket.Load, told []message, odd int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	l = v.releases()
	for _, m := range v.messages {
		if len(told) == plan.Messages {
			break
		}
		if sealed, err := node.SealMessage(m.Reach, []byte(m.Note), plan.MessageBytes); err == nil {
			l.Messages, told = append(l.Messages, sealed), append(told, m)
		} else {
			odd++
		}
	}
	l.Dummy = func() ([]byte, error) { return dummy(plan.MessageBytes) }
	return l, told, odd
}

// releases is what load says of them. The caller holds v.mu.
func (v *vault) releases() (l docket.Load) {
	real := map[grant.Commitment]docket.Status{}
	since := map[grant.Commitment]time.Time{}
	for _, h := range v.grants {
		for _, r := range h.grant.Releases {
			k := h.releases[string(r.CID)]
			if !k.held {
				continue
			}
			holding, err := h.holding(k)
			if err != nil {
				continue // it is one of the grant's own
			}
			signed := k.Signed
			add := func(secret grant.Secret, from, until time.Time, s docket.Status) {
				w := waiting(holding.CID, secret, from, until)
				real[w.Commitment], since[w.Commitment] = s, signed
				l.Waiting = append(l.Waiting, w)
			}
			status := docket.Status{Used: k.Used, Exported: k.Exported, PassedOn: k.PassedOn, Deleted: k.State == "deleted"}
			from, until := h.grant.Created.Time, h.grant.Terms.RetainUntil.Time
			if k.taken != nil {
				from, until = k.KeyFrom, k.taken.Terms.RetainUntil.Time
			}
			// With each extension the promise before comes to its end.
			for i, e := range k.Extended {
				ended := status
				ended.Deleted = true
				add(holding.Secrets[i], from, until, ended)
				from, until, signed = e.Made, e.Until, e.Signed
			}
			add(holding.Secrets[len(k.Extended)], from, until, status)
		}
	}
	slices.SortFunc(l.Waiting, func(a, b docket.Waiting) int {
		return cmp.Or(since[a.Commitment].Compare(since[b.Commitment]), cmp.Compare(a.Commitment, b.Commitment))
	})
	l.Real = func(c grant.Commitment) (docket.Status, bool) { s, ok := real[c]; return s, ok }
	return l
}

// waiting is what the docket is to say first of a release under a secret.
func waiting(cid consent.ReleaseID, secret grant.Secret, from, until time.Time) docket.Waiting {
	return docket.Waiting{Commitment: grant.Release{CID: cid, Secret: secret}.Commitment(), KeepDays: daysUntil(from, until), From: docket.DayOf(from).Add(1)}
}

// promiseWithin is by when, in days, what this agency signs has its place in a daily entry, or is not signed: owners count as broken what has none
// after [grant.CommitWithin], and the node may be off for a day or two.
const promiseWithin = 12

// errPromises is what a home is told; it tries again while the request lives.
var errPromises = &deliver.Error{Class: deliver.ClassNoRoom, Err: fmt.Errorf("the docket has no place for what this would promise within %d days; there is more every day", promiseWithin)}

// promise refuses a release that the docket would hold too late: a charter's daily entries have so many places of each class of retention, and what
// came first goes first. Whoever fills them, with releases that arrived whole, keeps others out, and makes nobody's promise come late. The caller
// holds vault.mu.
func (a *Agency) promise(cid consent.ReleaseID, secret grant.Secret, from, until time.Time) error {
	d := a.peer.Docket(a.agency)
	if d == nil {
		return nil
	}
	fresh := waiting(cid, secret, from, until)
	left, err := d.Left(append(a.vault.releases().Waiting, fresh), a.peer.Now(), promiseWithin)
	if err == nil && slices.Contains(left, fresh) {
		return errPromises
	}
	return err
}

// daysUntil is for how many days a release may be kept, rounded up.
func daysUntil(from, until time.Time) int {
	const day = 24 * time.Hour
	return int((until.Sub(from) + day - 1) / day)
}

// dummy makes a message that nobody can open.
func dummy(size int) ([]byte, error) {
	nobody, err := age.GenerateX25519Identity()
	if err != nil {
		return nil, err
	}
	return node.SealMessage(nobody.Recipient().String(), nil, size)
}

// A message is what an owner is to be told in one of the next daily entries. It is sealed anew for each entry that is made: a ciphertext that stood in
// two would show everybody that it is no dummy. Where a crash, a bad disk or a restore comes before it is forgotten its owner hears it twice, and
// only they can tell.
type message struct {
	Reach string `json:"reach"` // the grant's
	Note  string `json:"note"`
}

// maxQueued bounds the messages that wait for a place in a daily entry: several months of them.
const maxQueued = 1000

// messagesPath holds the messages that wait (records).
func (v *vault) messagesPath() string { return filepath.Join(v.dir, "messages") }

func (v *vault) readMessages() error {
	_, err := v.disk.ReadRecords(v.messagesPath(), func(b []byte) error {
		var m message
		if err := json.Unmarshal(b, &m); err != nil {
			return fmt.Errorf("%s: %w", v.messagesPath(), err)
		}
		v.messages = append(v.messages, m)
		return nil
	})
	return err
}

// queue leaves a message for one of the next daily entries.
func (v *vault) queue(m message) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.messages) >= maxQueued {
		return fmt.Errorf("%d messages wait for a place in the docket, which is the most", len(v.messages))
	}
	return v.saveMessages(append(slices.Clone(v.messages), m))
}

// sent forgets messages that stand in an entry.
func (v *vault) sent(told []message) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	left := slices.DeleteFunc(slices.Clone(v.messages), func(m message) bool { return slices.Contains(told, m) })
	if len(left) == len(v.messages) {
		return nil
	}
	return v.saveMessages(left)
}

func (v *vault) saveMessages(all []message) error {
	var b []byte
	for _, m := range all {
		b = durable.AppendRecord(b, node.RawJSON(m))
	}
	if err := v.disk.WriteFile(v.messagesPath(), b, 0o600); err != nil {
		return err
	}
	v.messages = all
	return nil
}
