package agency

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"testing/cryptotest"
	"time"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/docket"
	"github.com/porchlight-mesh/porchlight/consent/grant"
	"github.com/porchlight-mesh/porchlight/consent/request"
	"github.com/porchlight-mesh/porchlight/footage/durable/durabletest"
	"github.com/porchlight-mesh/porchlight/node"
)

// A year of an agency's node without a network: releases come and go, officers use and export some, the disk fails and the machine dies at
// any call, the node is off for nights and weekends, and its clock is set wrong by up to a day and right again. By the end no key was alive
// past its deadline by the ratchet, none was destroyed before its time, and the docket says of every release what the vault does. The
// keys and what the node draws by chance are others each time; a failure names the flag that plays it again.
type year struct {
	*desk
	disk  *durabletest.Disk
	rng   *rand.Rand
	real  time.Time     // the true time; what the machine's clock says is desk.now
	wrong time.Duration // that the clock is off
	right time.Time     // when it is set right
	asked time.Time     // when the newest request was made
	all   []*life
	known map[consent.GrantID]*life
	often int // one step in so many meets a fault

	faults, crashes, restarts, jumps int
	happened                         []string // the faults, for whoever plays a failure again
	declared, renewed                int
}

// A life is a release, and what its home and the officers heard of it.
type life struct {
	*answer
	step        int // of the delivery; all are done at 5
	use, export time.Time
	used        bool // an officer was told so
	exported    bool
	forCourt    bool      // perhaps, when only a hold kept it: the docket may have settled by then what became of it
	gone        bool      // it was seen that it is deleted
	hold        string    // the newest hold over it that stands in the docket
	lawful      time.Time // until when that stands in the way of its deletion
}

// hours is how far the year goes in one step.
func (y *year) pass(t time.Duration) {
	y.real = y.real.Add(t)
	if !y.right.IsZero() && !y.real.Before(y.right) {
		y.wrong, y.right = 0, time.Time{}
	}
	y.now = y.real.Add(y.wrong)
}

// try does something on a disk that may fail at any call, after which the process may die. heard says that it was done and somebody was
// told; an error on a good disk is returned.
func (y *year) try(f func() error) (heard bool, err error) {
	y.Helper()
	var row durabletest.Row
	faulty := y.often > 0 && y.rng.IntN(y.often) == 0
	if faulty {
		y.faults++
		row.At, row.How = y.rng.IntN(1<<y.rng.IntN(8)), durabletest.Failure(y.rng.IntN(5))
		y.disk.Fail(row)
	}
	err = f()
	dead := y.disk.Dead()
	y.disk.Heal()
	if faulty {
		y.happened = append(y.happened, fmt.Sprintf("%s: call %d, %s: %v", y.real.Format(time.DateTime), row.At+1, row.How, err))
	}
	if dead || faulty && y.rng.IntN(3) == 0 {
		// What a disk did not take, and does not let be taken back, can be read until the power is cut: no program can tell.
		y.crash(row.How == durabletest.Gone)
	}
	if faulty {
		return err == nil && !dead, nil
	}
	return err == nil, err
}

// crash starts the process anew, after the power was cut or perhaps not.
func (y *year) crash(cut bool) {
	y.Helper()
	y.crashes++
	_ = y.agency.Close()
	for {
		end := durabletest.Killed + durabletest.Ending(y.rng.IntN(int(durabletest.Holes)))
		if cut {
			end = max(end, durabletest.Nothing)
		}
		ok(y, y.disk.PowerCut(end))
		if y.often > 0 && y.rng.IntN(8) == 0 { // and dies once more while it starts
			y.disk.Fail(durabletest.Row{At: y.rng.IntN(20), How: durabletest.Crashed})
		}
		a, err := Open(y.Context(), y.dir, node.Options{Now: func() time.Time { return y.now }, Disk: y.desk.disk})
		dead := y.disk.Dead()
		if err == nil {
			y.agency = a
			if !dead {
				y.disk.Heal()
				return
			}
			_ = a.Close()
		}
		if err != nil && !dead {
			y.Fatal("it does not start:", err)
		}
	}
}

// asks publishes a request every week, so that there is one to answer.
func (y *year) asks() {
	if y.real.Sub(y.asked) < 7*24*time.Hour {
		return
	}
	r := y.ask
	r.Created, r.Expires, r.Case = consent.At(y.real), consent.At(y.real.AddDate(0, 0, 10)), "EP-"+y.real.Format(time.DateOnly)
	r.Terms.RetentionDays = 365
	r.Incident.At, r.From, r.Until = consent.At(y.real.Add(-time.Hour)), consent.At(y.real.Add(-70*time.Minute)), consent.At(y.real.Add(-50*time.Minute))
	note := y.sign(r, y.officer, y.supervisor)
	if heard, _ := y.try(func() error {
		_, err := y.agency.peer.Docket(y.agency.agency).Append(note, y.agency.key, y.agency.peer.Now())
		return err
	}); !heard {
		if _, stands := y.agency.peer.Docket(y.agency.agency).Find(note); !stands {
			return // the clock may be wrong
		}
	}
	_, err := y.agency.peer.Asked(y.agency.agency)
	ok(y, err)
	y.ask, y.id, y.asked = r, request.IDOf(note), y.real
}

// comes lets one more home answer.
func (y *year) comes() {
	if y.asked.IsZero() {
		return
	}
	days := []int{7, 30, 31, 90, 180, 200, 365}[y.rng.IntN(7)]
	unused := min(days, 30)
	if y.rng.IntN(2) == 0 {
		unused = min(days, 1+y.rng.IntN(30))
	}
	l := &life{answer: y.answer(1, func(g *grant.Grant) {
		g.Created, g.Expires = consent.At(y.real), y.ask.Expires
		g.Terms = grant.Terms{RetainUntil: consent.At(y.real.AddDate(0, 0, days)), UnusedUntil: consent.At(y.real.AddDate(0, 0, unused)), Recipients: []string{}}
	})}
	until := l.grant.Terms.UnusedUntil.Sub(y.real)
	if y.rng.IntN(2) == 0 {
		l.use = y.real.Add(time.Duration(y.rng.Int64N(int64(until))))
		if y.rng.IntN(3) == 0 { // at the last moment
			l.use = y.real.Add(until - 4*time.Hour)
		}
		if y.rng.IntN(2) == 0 {
			l.export = l.use.Add(time.Duration(y.rng.Int64N(int64(48 * time.Hour))))
		}
	}
	y.all = append(y.all, l)
	y.known[grant.IDOf(l.note)] = l
}

// delivers takes a delivery as far as it goes. A home that is refused, or hears nothing, tries again until its grant has expired.
func (y *year) delivers(l *life) {
	if l.step == 5 || !y.real.Before(l.grant.Expires.Time) || y.rng.IntN(3) == 0 {
		return
	}
	l.step = 0
	for _, f := range []func() error{
		l.offer,
		func() error { return l.receiver().Manifest(l.Context(), l.from, l.root, l.manifest) },
		func() error {
			s, err := l.receiver().Begin(l.Context(), l.from, l.root)
			if err != nil {
				return err
			}
			for i := s.Have(); i < l.dag.Blocks() && err == nil; i++ {
				err = s.Write(i, true, l.sealed)
			}
			return errors.Join(err, s.Close())
		},
		l.complete,
		func() error { return l.receiver().Key(l.Context(), l.from, l.root, []byte(l.secret)) },
	} {
		if heard, _ := y.try(f); !heard {
			return
		}
		l.step++
	}
}

// officers do what they want to do, and try again where they were refused.
func (y *year) officers(l *life) {
	sign := func(kind grant.ActKind) string {
		note, err := Found{Agency: y.agency.agency, Grant: grant.IDOf(l.note), Release: consent.ReleaseID(l.root)}.Sign(kind, "it shows the car", y.real, y.officer)
		ok(y, err)
		return string(note)
	}
	if l.step < 5 || l.gone {
		return
	}
	if !l.use.IsZero() && !l.used && !y.real.Before(l.use) {
		l.used, _ = y.try(func() error {
			_, err := y.agency.use(y.Context(), Act{Note: sign(grant.ActUse)})
			return err
		})
	}
	if l.used && !l.export.IsZero() && !l.exported && !y.real.Before(l.export) {
		l.forCourt = l.forCourt || !y.agency.late().Before(l.grant.Terms.RetainUntil.Time)
		l.exported, _ = y.try(func() error {
			_, err := y.agency.export(y.Context(), Act{Note: sign(grant.ActExport), Out: filepath.Join(filepath.Dir(y.dir), "clip")})
			return err
		})
	}
}

// court has a release of a random home held by law, or a hold renewed in its last days; the others lapse.
func (y *year) court() {
	if len(y.all) == 0 {
		return
	}
	l := y.all[y.rng.IntN(len(y.all))]
	if held := slices.DeleteFunc(slices.Clone(y.all), func(l *life) bool { return l.hold == "" || l.gone }); len(held) > 0 && y.rng.IntN(50) == 0 {
		l = held[y.rng.IntN(len(held))]
	}
	draft := y.desk.holds()
	switch {
	case l.step < 5 || l.gone:
		return
	case l.hold == "":
		if y.rng.IntN(150) > 0 {
			return
		}
		draft.Releases = []string{string(grant.IDOf(l.note)) + "/" + l.root}
	case y.real.Before(l.lawful.AddDate(0, 0, -20)) || y.rng.IntN(20) > 0:
		return
	default:
		draft.Renews = l.hold
	}
	var note []byte
	y.try(func() error {
		drafted, err := y.agency.draftHold(y.Context(), draft)
		if err != nil {
			return err // the hold is over, or the disk failed
		}
		h, err := bodyOf[docket.Hold](drafted.Text)
		if err != nil {
			return err
		}
		h.Created = consent.At(y.real) // the officers' clocks are right
		note = y.sign(h, y.officer, y.supervisor)
		_, err = y.agency.peer.Docket(y.agency.agency).Append(note, y.agency.key, y.agency.peer.Now())
		return err
	})
	if note == nil {
		return
	}
	if _, stands := y.agency.peer.Docket(y.agency.agency).Find(note); stands && !l.gone {
		if l.hold == "" {
			y.declared++
		} else {
			y.renewed++
		}
		l.hold, l.lawful = string(request.IDOf(note)), y.real.UTC().Truncate(time.Second).Add(docket.HoldLives)
	}
}

// holds looks at what must be so at any time.
func (y *year) holds(ticked bool) {
	y.Helper()
	now := y.agency.now()
	if now.After(y.real) {
		y.Fatalf("the ratchet is %s ahead of the time", now.Sub(y.real))
	}
	keys := map[string]bool{}
	entries, err := os.ReadDir(filepath.Join(y.dir, "keys", "release"))
	ok(y, err)
	for _, e := range entries {
		if e.Name() == "id" {
			continue
		}
		// What a write that failed left is a copy of a key, and goes with it.
		name, _, _ := strings.Cut(strings.TrimPrefix(e.Name(), "."), ".key")
		id, root, _ := strings.Cut(name, "-")
		h := y.agency.vault.grants[consent.GrantID(id)]
		switch {
		case h == nil || h.releases[root] == nil:
			y.Fatalf("%s: a key of no release, which no deadline knows of", e.Name())
		case ticked && !now.Before(h.deadline(h.releases[root])) && (y.known[consent.GrantID(id)] == nil || now.After(y.known[consent.GrantID(id)].lawful)):
			y.Fatalf("%s: its key is alive at %s, past its deadline, %s", y.real, now, h.deadline(h.releases[root]))
		}
		keys[id] = keys[id] || strings.HasSuffix(e.Name(), ".key")
	}
	for id, l := range y.known {
		h := y.agency.vault.grants[id]
		if l.gone || h == nil {
			if h == nil && l.step > 3 {
				y.Fatalf("%s: a receipt was given, and the grant is not here", y.real)
			}
			continue
		}
		k := h.releases[l.root]
		switch {
		case l.used && !k.Used || l.exported && !k.Exported:
			y.Fatalf("%s: an officer heard that it is used or exported, and the record says %+v", y.real, k)
		case k.State == "deleted":
			l.gone = true
			if !l.lawful.IsZero() && !now.After(l.lawful) {
				y.Fatalf("%s: destroyed under a hold until %s", y.real, l.lawful)
			}
			if y.real.Before(h.deadline(k)) || l.used && y.real.Before(l.grant.Terms.RetainUntil.Time) {
				y.Fatalf("%s: destroyed before its time, %s", y.real, h.deadline(k))
			}
		case l.step == 5 && (!keys[string(id)] || k.State != "open"):
			// The key was confirmed and is to be there, unless a crash came while it was being destroyed.
			if now.Before(h.deadline(k)) || !l.lawful.IsZero() && !now.After(l.lawful) {
				y.Fatalf("%s: its home heard that the key is here, and it is %s until %s", y.real, k.State, h.deadline(k))
			}
		}
	}
}

// agrees holds the docket against the vault: what it says is true, and what is due is said.
func (y *year) agrees(end bool) (real int) {
	y.Helper()
	y.agency.peer.Docket(y.agency.agency).NextDaily(y.now) // reads it back where the disk had failed
	l := y.log()
	for i := range l.Size() {
		if c := l.Refused(i); c != "" {
			y.Fatalf("entry %d of the docket breaks its rules: %s", i, c)
		}
	}
	last := l.LastDaily()
	for id, x := range y.known {
		h := y.agency.vault.grants[id]
		f, there := l.Follow(x.commitment())
		if h == nil || !h.releases[x.root].held {
			if there && x.step > 3 {
				y.Fatalf("the docket follows what no receipt was given for: %+v", f)
			}
			continue
		}
		k := h.releases[x.root]
		if !there {
			if end {
				y.Fatalf("the docket does not hold a release of %s kept %d days", h.grant.Created, daysUntil(h.grant.Created.Time, h.grant.Terms.RetainUntil.Time))
			}
			continue
		}
		real++
		deleted := k.State == "deleted"
		split := f.Day.Add(min(f.KeepDays, y.agency.peer.Charter().Limits.MaxUnusedDays))
		finish := f.Day.Add(f.KeepDays)
		switch {
		case f.KeepDays < daysUntil(h.grant.Created.Time, h.grant.Terms.RetainUntil.Time):
			y.Fatalf("kept %d days, and the docket says %d", daysUntil(h.grant.Created.Time, h.grant.Terms.RetainUntil.Time), f.KeepDays)
		case f.Deleted != "" && !deleted:
			y.Fatalf("%s: the docket says that it is deleted, and it is %s", y.real, k.State)
		case split <= last && (f.Used != "") != k.Used:
			y.Fatalf("the docket says that it is used: %q, and it is %v", f.Used, k.Used)
		case finish <= last && (f.Exported != "") != k.Exported && !(k.Exported && x.forCourt):
			y.Fatalf("the docket says that it is exported: %q, and it is %v", f.Exported, k.Exported)
		case end && deleted && f.Due.Add(docket.DeletionGrace) < last && f.Deleted == "":
			y.Fatalf("it is deleted, was due on %s, and the docket does not say so by %s", f.Due, last)
		}
	}
	if end {
		held := 0
		for _, x := range y.all {
			if !x.lawful.IsZero() && !x.gone {
				held++
			}
		}
		if late := l.Overdue(last); len(late) > held {
			y.Fatalf("%d commitments are overdue, and %d are on hold", len(late), held)
		}
	}
	return real
}

var yearChance = flag.Uint64("year.chance", 0, "what the simulated year draws by chance, as a failure of it names it; 0 is anything")

func TestASimulatedYear(t *testing.T) {
	count, hour, often := 500, time.Hour, 60
	info, _ := debug.ReadBuildInfo() // the race detector looks at the code, not at the cases
	if testing.Short() || info != nil && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		count, hour, often = 80, 2*time.Hour, 150
	}
	for _, seed := range []uint64{7} {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			chance := cmp.Or(*yearChance, rand.Uint64())
			cryptotest.SetGlobalRandom(t, chance)
			d := newDesk(t)
			ok(t, d.agency.Close())
			y := &year{desk: d, disk: &durabletest.Disk{}, rng: rand.New(rand.NewPCG(seed, 365)), real: d.now, known: map[consent.GrantID]*life{}, often: often}
			dir := filepath.Join(durabletest.TempDir(t), "police")
			ok(t, os.CopyFS(dir, os.DirFS(d.dir)))
			d.dir, d.disk = dir, y.disk.Disk()
			d.open()
			defer func() {
				if t.Failed() {
					t.Logf("-year.chance=%d plays this again; the faults were\n%s", chance, strings.Join(y.happened, "\n"))
				}
			}()
			y.runs(count, hour)
		})
	}
}

func (y *year) runs(count int, hour time.Duration) {
	end := y.real.AddDate(1, 0, 0)
	hours := int(end.Sub(y.real) / hour)
	for y.real.Before(end) {
		y.pass(hour)
		switch n := y.rng.IntN(int(200 * time.Hour / hour)); {
		case n < 2 && y.right.IsZero():
			y.jumps++
			y.wrong = time.Duration(3+y.rng.IntN(22)) * time.Hour
			if n == 0 {
				y.wrong = -y.wrong
			}
			y.right = y.real.Add(time.Duration(1+y.rng.IntN(20)) * time.Hour)
		case n == 2:
			y.restarts++
			ok(y, y.agency.Close())
			y.pass([]time.Duration{time.Minute, 5 * time.Hour, 14 * time.Hour, 60 * time.Hour}[y.rng.IntN(4)])
			y.open()
		}
		ticked, err := y.try(func() error { return y.agency.tick() })
		ok(y, err)
		y.holds(ticked)
		_, err = y.try(func() error { _, err := y.agency.daily(); return err })
		ok(y, err)
		y.asks()
		if len(y.all) < count && y.rng.IntN(hours) < count+count/4 {
			y.comes()
		}
		for _, l := range y.all {
			y.delivers(l)
			y.officers(l)
		}
		for range y.rng.IntN(int(60*hour/(20*time.Hour)) + 1) {
			y.court()
		}
		if y.rng.IntN(int(60*24*time.Hour/hour)) == 0 {
			y.agrees(false)
		}
	}
	// Three quiet days, in which all is said that is due.
	y.often, y.wrong, y.right = 0, 0, time.Time{}
	for range 72 {
		y.pass(time.Hour)
		ok(y, y.agency.tick())
		_, err := y.agency.daily()
		ok(y, err)
	}
	y.holds(true)
	real, whole, used, exported, gone := y.agrees(true), 0, 0, 0, 0
	for _, l := range y.all {
		for _, is := range []struct {
			so bool
			n  *int
		}{{l.step == 5, &whole}, {l.used, &used}, {l.exported, &exported}, {l.gone, &gone}} {
			if is.so {
				*is.n++
			}
		}
	}
	y.Logf("%d releases of %d came whole; %d used, %d exported, %d deleted; the docket follows %d; %d holds and %d renewals; %d faults, %d crashes, %d restarts, %d jumps of the clock",
		whole, len(y.all), used, exported, gone, real, y.declared, y.renewed, y.faults, y.crashes, y.restarts, y.jumps)
	if whole < count*9/10 || used < count/5 || exported < count/20 || gone < count/3 || y.crashes < 10 || y.jumps < 5 || y.declared < count/50 {
		y.Error("too little happened to test anything")
	}
	// One of them may be of a release whose home has not heard that its key came.
	alive := 0
	for _, h := range y.agency.vault.grants {
		for _, k := range h.releases {
			if k.State != "deleted" {
				alive++
			}
		}
	}
	if left, err := os.ReadDir(filepath.Join(y.dir, "keys", "release")); err != nil || len(left)-1 > alive { // and the id
		y.Errorf("%d keys are here, of %d releases that are not deleted: %v", len(left)-1, alive, err)
	}
}
