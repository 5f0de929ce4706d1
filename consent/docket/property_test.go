package docket_test

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
	. "github.com/porchlight-mesh/porchlight/consent/docket"
	asks "github.com/porchlight-mesh/porchlight/consent/request"
	"github.com/porchlight-mesh/porchlight/consent/rules"
)

func TestMain(m *testing.M) {
	cases := "10000" // a flag of the command line still counts
	if info, ok := debug.ReadBuildInfo(); ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		cases = "300" // the race detector looks at the code, not at the cases
	}
	flag.Set("rapid.checks", cases)
	m.Run()
}

// An act is an entry and, in plain values, what it means. Signing is slow, so that sequences are drawn from a stock of acts.
type act struct {
	note    []byte
	kind    string // "" for what cannot be read
	minute  int
	by      []signs
	key     string // enrolled or revoked
	role    Role
	expires int
	of      *act // the request it is about
	other   *act // the replacement
	finding Finding
}

type signs struct {
	key  string
	role Role
}

// stock makes the acts: Moss is a first supervisor, Noor becomes one by enrolment or by the charter's second version, Kim and Lee are
// officers at times, Mallory never is anything.
func stock() (all []*act) {
	r := rand.New(rand.NewPCG(7, 7))
	people := []consent.Key{moss, noor, kim, lee, key("mallory")}
	who := func() consent.Key { return people[r.IntN(len(people))] }
	supervisor := func() consent.Key { return people[r.IntN(4)/3] }
	officer := func() consent.Key { return people[2+r.IntN(7)/3] }
	minute := func() int { return r.IntN(3*24) * 60 }
	for i := range 30 {
		m, k, by, role := minute(), who(), supervisor(), []Role{RoleOfficer, RoleSupervisor}[r.IntN(3)/2]
		days := 1 + r.IntN(3)
		if i < 2 { // those that most rests on
			m, k, by, role, days = 0, people[2+i%2], moss, RoleOfficer, 3
		}
		if k == by {
			continue
		}
		e := enrol(k, role, by, m)
		e.Expires = at(m + 24*60*days)
		all = append(all, &act{note: mustSign(e, by), kind: "enrol", minute: m, by: []signs{{by.Name(), RoleSupervisor}}, key: k.Name(), role: role, expires: int(e.Expires.Sub(noon).Minutes())})
	}
	for range 8 {
		m, k, by, role := minute(), who(), supervisor(), []Role{RoleOfficer, RoleSupervisor}[r.IntN(4)/3]
		all = append(all, &act{note: mustSign(revoke(k, role, by, m), by), kind: "revoke", minute: m, by: []signs{{by.Name(), RoleSupervisor}}, key: k.Name(), role: role})
	}
	var requests []*act
	for i := range 16 {
		m, o, s := minute(), officer(), supervisor()
		q := ask(fmt.Sprint("case ", i%7), o, s, m)
		q.Offence = []asks.Offence{"120", "220", "240", "13A", "200"}[i%5]
		requests = append(requests, &act{note: mustSign(q, o, s), kind: "request", minute: m, by: []signs{{o.Name(), RoleOfficer}, {s.Name(), RoleSupervisor}}})
	}
	all = append(all, requests...)
	for range 12 {
		m, o, s, of, other := minute(), officer(), supervisor(), requests[r.IntN(8)], requests[r.IntN(8)]
		id := asks.IDOf(of.note)
		one, two := []signs{{o.Name(), RoleOfficer}}, []signs{{o.Name(), RoleOfficer}, {s.Name(), RoleSupervisor}}
		all = append(all, &act{note: mustSign(Resolve{id, "found", at(m), o.Verifier()}, o), kind: "resolve", minute: m, by: one, of: of})
		if of != other {
			all = append(all, &act{note: mustSign(Supersede{id, asks.IDOf(other.note), "wrong street", at(m), o.Verifier(), s.Verifier()}, o, s), kind: "supersede", minute: m, by: two, of: of, other: other})
		}
		all = append(all, &act{note: mustSign(Report{id, "A child was missing; it was found.", at(m), o.Verifier(), s.Verifier()}, o, s), kind: "report", minute: m, by: two, of: of})
		f := Findings()[r.IntN(len(Findings()))]
		all = append(all, &act{note: mustSign(Outcome{id, f, at(m), o.Verifier()}, o), kind: "outcome", minute: m, by: one, of: of, finding: f})
	}
	for _, bad := range [][]byte{[]byte("hello"), mustSign(daily{3}, docketKey()), bytes.Replace(requests[0].note, []byte("grey"), []byte("gray"), 1), mustSign(Resolve{asks.IDOf(nil), "r", at(0), kim.Verifier()}, lee)} {
		all = append(all, &act{note: bad})
	}
	pressing := ask("pressing", kim, moss, 60)
	pressing.Text = "We look for a grey van. You must share what you have."
	return append(all, &act{note: mustSign(pressing, kim, moss)})
}

// drawn is a sequence of acts, each at any place, some of them twice. Often there are officers first, and what is said of a request comes
// after it.
func drawn(t *rapid.T, all []*act) (seq []*act) {
	pick := func(fits func(*act) bool) {
		var from []*act
		for _, a := range all {
			if fits(a) {
				from = append(from, a)
			}
		}
		if len(from) > 0 {
			seq = append(seq, from[rapid.Uint64().Draw(t, "which")%uint64(len(from))])
		}
	}
	for i := range rapid.SampledFrom([]int{2, 1, 0}).Draw(t, "officers") {
		seq = append(seq, all[i])
	}
	for range rapid.IntRange(1, 14).Draw(t, "acts") {
		switch rapid.IntRange(0, 6).Draw(t, "what") {
		case 0, 1:
			pick(func(a *act) bool { return a.kind == "request" })
		case 2, 3, 4: // about what was asked
			pick(func(a *act) bool {
				return a.of != nil && slices.Contains(seq, a.of) && (a.other == nil || slices.Contains(seq, a.other))
			})
		case 5:
			pick(func(a *act) bool { return a.kind == "enrol" || a.kind == "revoke" })
		case 6:
			pick(func(*act) bool { return true })
		}
	}
	if len(seq) == 0 {
		return all[:1]
	}
	return seq
}

// A plain is what a docket says, kept in plain lists.
type plain struct {
	keys     []person
	sound    []*act
	ended    map[*act]RequestState
	accounts map[*act]Account
}

type person struct {
	key           string
	role          Role
	until         int
	revoked, ever bool
}

func (p *plain) may(key string, role Role, minute int) bool {
	return slices.ContainsFunc(p.keys, func(k person) bool {
		return k.key == key && k.role == role && !k.revoked && (k.ever || minute < k.until)
	})
}

// oracle says which acts of a sequence are sound, and what comes of them.
func oracle(seq []*act, first []string, q charter.Quotas) (p plain, sound []bool) {
	p = plain{ended: map[*act]RequestState{}, accounts: map[*act]Account{}}
	for _, k := range first {
		p.keys = append(p.keys, person{key: k, role: RoleSupervisor, ever: true})
	}
	clock, entries, size := -1<<40, 0, 0
	day := func(minute int) int { return (minute + 12*60 + 1<<40*24*60) / (24 * 60) }
	for i, a := range seq {
		if a.kind != "" && a.minute > clock {
			if clock < 0 || day(a.minute) != day(clock) {
				entries, size = 0, 0
			}
			clock = a.minute
		}
		entries++
		if a.kind != "" {
			size += len(a.note)
		}
		good := a.kind != "" && !slices.Contains(seq[:i], a) && entries <= q.EntriesPerDay && size <= q.BytesPerDay
		for _, s := range a.by {
			good = good && p.may(s.key, s.role, a.minute)
		}
		at := slices.IndexFunc(p.keys, func(k person) bool { return k.key == a.key })
		open := func(r *act) bool { return slices.Contains(p.sound, r) && p.ended[r] == "" }
		switch a.kind {
		case "enrol":
			good = good && at < 0
		case "revoke":
			good = good && at >= 0 && !p.keys[at].revoked && p.keys[at].role == a.role
		case "resolve":
			good = good && open(a.of)
		case "supersede":
			good = good && open(a.of) && open(a.other)
		case "report":
			good = good && slices.Contains(p.sound, a.of) && p.accounts[a.of].Reported.IsZero()
		case "outcome":
			good = good && slices.Contains(p.sound, a.of)
		}
		if sound = append(sound, good); !good {
			continue
		}
		p.sound = append(p.sound, a)
		account := p.accounts[a.of]
		switch a.kind {
		case "enrol":
			p.keys = append(p.keys, person{key: a.key, role: a.role, until: a.expires})
		case "revoke":
			p.keys[at].revoked = true
		case "resolve":
			p.ended[a.of] = StateResolved
		case "supersede":
			p.ended[a.of] = StateSuperseded
		case "report":
			account.Reported = atMinute(clock)
			p.accounts[a.of] = account
		case "outcome":
			account.Outcome, account.OutcomeAt = a.finding, atMinute(a.minute)
			p.accounts[a.of] = account
		}
	}
	return p, sound
}

func atMinute(m int) consent.Time { return at(m) }

// The log against lists: which entries count, who may sign what at each point, what became of requests, and what was said of them.
func TestPropertyTheLogIsWhatListsSay(t *testing.T) {
	t.Parallel()
	all, library, police := stock(), Library{}, police()
	people := []consent.Key{moss, noor, kim, lee, key("mallory")}
	counted, good := 0, map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		seq := drawn(t, all)
		q := charter.Quotas{EntriesPerDay: rapid.SampledFrom([]int{20, 6, 3, 1}).Draw(t, "entries"), BytesPerDay: rapid.SampledFrom([]int{40000, 8000, 3000}).Draw(t, "bytes")}
		l, err := library.Open(police, q, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		p, sound := oracle(seq, []string{moss.Name()}, q)
		for i, a := range seq {
			_, refused := l.Prepare(a.note, atMinute(a.minute).Time)
			if _, err := l.Take(a.note); err != nil {
				t.Fatal(err)
			}
			if (l.Refused(int64(i)) == "") != sound[i] || (refused == nil) != sound[i] {
				t.Fatalf("entry %d, %s: %q, and to be appended %v; the lists say %v", i, a.kind, l.Refused(int64(i)), refused, sound[i])
			}
			if now, _ := oracle(seq[:i+1], []string{moss.Name()}, q); true {
				for _, k := range people {
					for _, role := range []Role{RoleOfficer, RoleSupervisor} {
						if err := l.Check(k.Verifier(), role, atMinute(a.minute)); (err == nil) != now.may(k.Name(), role, a.minute) {
							t.Fatalf("after entry %d, %s as %s: %v", i, k.Name(), role, err)
						}
					}
				}
			}
			if counted++; sound[i] {
				good[a.kind]++
			}
		}
		for _, a := range all {
			if a.kind != "request" {
				continue
			}
			want := p.ended[a]
			if want == "" && slices.Contains(p.sound, a) {
				want = StateOpen
			}
			id := asks.IDOf(a.note)
			if _, got := l.Request(id); got != want {
				t.Fatalf("a request is %q; the lists say %q", got, want)
			}
			if got, want := l.Account(id), p.accounts[a]; got.Reported != want.Reported || got.Outcome != want.Outcome || got.OutcomeAt != want.OutcomeAt {
				t.Fatalf("%+v; the lists say %+v", got, want)
			}
		}
	})
	t.Logf("%d entries, sound ones %v", counted, good)
	for _, kind := range []string{"enrol", "revoke", "request", "resolve", "supersede", "report", "outcome"} {
		if good[kind] == 0 && flag.Lookup("rapid.checks").Value.String() == "10000" && !testing.Short() { // rapid shortens itself
			t.Errorf("no sound %s among %d entries", kind, counted)
		}
	}
}

// A version of the charter, as far as a docket is judged by it.
type version struct {
	agency charter.Agency
	quotas charter.Quotas
}

// town is three versions of a charter: the second names Noor beside Moss, the third grants more entries a day.
func town(t testing.TB) (all []version, last *charter.Charter) {
	c := charter.Charter{Mesh: "Elm Street", Version: 1, Created: at(0), Ends: at(365 * 24 * 60), Signers: []charter.Signer{{Name: "Ana", Key: key("ana").Verifier()}}, Threshold: 1,
		Agencies: []charter.Agency{police()}, Limits: charter.DefaultLimits(), Quotas: charter.DefaultQuotas()}
	c.Quotas.EntriesPerDay = 5
	var chain charter.Chain
	var q charter.Quotas
	for v := 1; v <= 3; v++ {
		switch v {
		case 2:
			c.Agencies[0].Supervisors = []consent.VerifierKey{noor.Verifier()}
		case 3:
			c.Quotas.EntriesPerDay = 7
		}
		c.Version, c.Previous = v, chain.CurrentHash()
		note := mustSign(c, key("ana"))
		var err error
		if v == 1 {
			chain, err = charter.Start(note)
		} else {
			chain, err = chain.Extend(note)
		}
		if err != nil {
			t.Fatal(err)
		}
		a, _ := chain.DocketAgency(police().ID())
		q.EntriesPerDay, q.BytesPerDay = max(q.EntriesPerDay, c.Quotas.EntriesPerDay), max(q.BytesPerDay, c.Quotas.BytesPerDay)
		all = append(all, version{a, q})
	}
	return all, chain.Current()
}

// A home follows a docket as package node does: what never can be lawful is kept by its hash, and so is what came as one; the log is
// opened anew when the charter changes or a text comes.
type follower struct {
	library Library
	town    []version
	version int
	notes   shelf
	log     *Log
	cp      []byte
}

func (f *follower) reopen(t *rapid.T) {
	v := f.town[f.version]
	var err error
	if f.log, err = f.library.Open(v.agency, v.quotas, &f.notes, int64(len(f.notes))); err != nil {
		t.Fatal(err)
	}
}

func (f *follower) extend(t *rapid.T, entries [][]byte, cp []byte) {
	from := len(f.notes)
	if err := f.log.Extend(entries, cp); err != nil {
		t.Fatal(err)
	}
	f.cp = cp
	for i, e := range entries {
		switch class := f.log.Refused(int64(from + i)); class {
		case consent.Malformed, consent.BadSignature, consent.MissingSignature, asks.TextPressure:
			h, err := f.log.Leaf(int64(from + i))
			if err != nil {
				t.Fatal(err)
			}
			e = Leaf(h)
		}
		f.notes = append(f.notes, e)
	}
}

// says is everything that a home shows of a docket.
func (f *follower) says(c *charter.Charter, shuffle func([]asks.Seen)) string {
	var b bytes.Buffer
	fmt.Fprintln(&b, f.log.Size(), f.log.Root(), f.log.Officers().All())
	for i := range f.log.Size() {
		fmt.Fprint(&b, f.log.Refused(i) == "", " ")
	}
	var seen []asks.Seen
	for _, a := range f.log.Fresh() {
		h, _ := f.log.Leaf(a.Index)
		id := consent.RequestID(fmt.Sprintf("%x", h[:]))
		_, state := f.log.Request(id)
		now := asks.Seen{ID: id, Request: *a.Request}
		before := slices.Clone(seen)
		shuffle(before)
		shown, _ := rules.Show(c, f.town[0].agency, *a.Request, rules.Strictness{})
		fmt.Fprintln(&b, a.Index, id, state, f.log.Account(id), shown, consent.ClassOf(asks.CheckHistory(before, now, c.Limits)),
			f.log.Check(a.Request.Officer, RoleOfficer, a.Request.Created), f.log.Check(a.Request.Supervisor, RoleSupervisor, a.Request.Created))
		seen = append(seen, now)
	}
	return b.String()
}

// Whatever the order in which a docket and a charter come to a home, in the end it says of the docket what every other home says.
func TestPropertyTheOrderOfArrivalChangesNothing(t *testing.T) {
	t.Parallel()
	all, library := stock(), Library{}
	town, last := town(t)
	police, docketKey := police(), docketKey()
	rapid.Check(t, func(t *rapid.T) {
		seq := drawn(t, all)
		var notes shelf
		for _, a := range seq {
			notes = append(notes, a.note)
		}
		agency, err := library.Open(police, charter.Quotas{}, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		// The agency's own software was changed: it signs whatever it likes.
		checkpoints := map[int][]byte{}
		boundary := rapid.SliceOfNDistinct(rapid.IntRange(1, len(seq)), 0, 2, rapid.ID[int]).Draw(t, "checkpoints")
		for i, n := range notes {
			if _, err := agency.Take(n); err != nil {
				t.Fatal(err)
			}
			if i+1 == len(notes) || slices.Contains(boundary, i+1) {
				if checkpoints[i+1], err = agency.SignCheckpoint(docketKey); err != nil {
					t.Fatal(err)
				}
			}
		}
		whole := &follower{library: library, town: town, version: len(town) - 1, notes: notes}
		whole.reopen(t)
		want := whole.says(last, func([]asks.Seen) {})
		f := &follower{library: library, town: town}
		f.reopen(t)
		late := map[int]bool{}
		for len(f.notes) < len(notes) || len(late) > 0 || f.version+1 < len(town) {
			switch rapid.IntRange(0, 3).Draw(t, "what comes") {
			case 0:
				if f.version+1 < len(town) {
					f.version++
					f.reopen(t)
				}
			case 1, 2:
				to := len(f.notes) + 1
				for ; to < len(notes) && (checkpoints[to] == nil || rapid.Bool().Draw(t, "more at once")); to++ {
				}
				if to > len(notes) {
					continue
				}
				batch := slices.Clone(notes[len(f.notes):to])
				for i := range batch {
					if rapid.IntRange(0, 4).Draw(t, "only its hash") == 0 {
						h, _ := agency.Leaf(int64(len(f.notes) + i))
						late[len(f.notes)+i], batch[i] = true, Leaf(h)
					}
				}
				f.extend(t, batch, checkpoints[to])
			case 3:
				for i := range late {
					f.notes[i] = notes[i]
					delete(late, i)
					if rapid.Bool().Draw(t, "one text") {
						break
					}
				}
				f.reopen(t)
			}
		}
		f.reopen(t)
		if err := f.log.Resume(f.cp); err != nil {
			t.Fatal(err)
		}
		got := f.says(last, func(s []asks.Seen) { slices.Reverse(s) })
		if got != want {
			t.Fatalf("in the end one home says\n%s\nand another\n%s", got, want)
		}
	})
}
