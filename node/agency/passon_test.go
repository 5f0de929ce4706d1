package agency

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
	"github.com/porchlight-mesh/porchlight/consent/docket"
	"github.com/porchlight-mesh/porchlight/consent/geo"
	"github.com/porchlight-mesh/porchlight/consent/grant"
	"github.com/porchlight-mesh/porchlight/footage/durable"
	"github.com/porchlight-mesh/porchlight/node"
)

// beside opens other agencies of a charter that admits them all, and gives the first one that charter too.
func (d *desk) beside(classes ...charter.AgencyClass) (all []*desk) {
	d.Helper()
	own, _ := d.agency.peer.Agency(d.agency.agency)
	agencies := []charter.Agency{own}
	for i, class := range classes {
		e := &desk{T: d.T, dir: filepath.Join(d.TempDir(), "other"), officer: newKey(d, "Det.Vance"), supervisor: newKey(d, "Sgt.Wood"), now: d.now}
		card, err := Init(e.dir, InitArgs{Name: fmt.Sprintf("Body %d", i+1), Class: class, Supervisors: []consent.VerifierKey{e.supervisor.Verifier()},
			Jurisdiction: geo.Circle(geo.Point{Lat: 44, Lon: -40}, 5000, 32), PolicyURL: "https://example.org/policy"})
		ok(d, err)
		all, agencies = append(all, e), append(agencies, charter.Agency(card))
	}
	signer := newKey(d, "Ana")
	note, err := consent.Sign(charter.Charter{Mesh: "Elm Street", Version: 1, Created: consent.At(d.now.Add(-time.Hour)), Ends: consent.At(d.now.AddDate(2, 0, 0)),
		Signers: []charter.Signer{{Name: "Ana", Key: signer.Verifier()}}, Threshold: 1, Agencies: agencies,
		Limits: charter.DefaultLimits(), Daily: charter.DefaultDaily(charter.DefaultLimits()), Quotas: charter.DefaultQuotas(), LANOnly: true}, signer)
	ok(d, err)
	chain, err := charter.Start(note)
	ok(d, err)
	ok(d, d.agency.Close())
	for _, x := range append([]*desk{d}, all...) {
		ok(d, os.RemoveAll(filepath.Join(x.dir, "charter")))
		ok(d, node.WriteCharter(durable.Disk{}, filepath.Join(x.dir, "charter"), chain))
		x.open()
	}
	for _, e := range all {
		d.Cleanup(func() { e.agency.Close() })
		_, err := e.agency.peer.Docket(e.agency.agency).Append(e.sign(docket.Officer{Action: docket.Enrol, Role: docket.RoleOfficer, Name: "Det. Vance", Key: e.officer.Verifier(),
			Expires: consent.At(e.now.AddDate(1, 0, 0)), Created: consent.At(e.now), By: e.supervisor.Verifier()}, e.supervisor), e.agency.key, e.now)
		ok(d, err)
	}
	return all
}

// follows gives a desk the docket of another as it is.
func (d *desk) follows(other *desk) {
	d.Helper()
	ok(d, d.agency.Close())
	to := filepath.Join(d.dir, "dockets", string(other.agency.agency))
	ok(d, os.RemoveAll(to))
	ok(d, os.CopyFS(to, os.DirFS(filepath.Join(other.dir, "dockets", string(other.agency.agency)))))
	d.now = other.now
	d.open()
}

// A handover is all that it takes to pass a release on.
type handover struct {
	*answer
	to   *desk
	card string
	file string
}

// passed is another agency, and a release that waits there to be taken over.
func (d *desk) passed() (*desk, *handover) {
	d.Helper()
	e := d.beside(charter.Prosecutor)[0]
	h := d.handover(e, nil)
	ok(d, h.consents(nil))
	h.declares()
	ok(d, h.passes())
	e.follows(d)
	return e, h
}

func (d *desk) handover(to *desk, change func(*grant.Grant)) *handover {
	d.Helper()
	h := &handover{answer: d.held(change), to: to, file: filepath.Join(d.TempDir(), "passed-on")}
	card, err := to.agency.invite(d.Context(), struct{}{})
	ok(d, err)
	h.card = card.Card
	return h
}

// consents is what the owner signs.
func (h *handover) consents(change func(*grant.Onward)) error {
	h.Helper()
	terms := h.grant.Terms
	terms.Recipients = []string{}
	o := grant.Onward{Grant: grant.IDOf(h.note), CID: consent.ReleaseID(h.root), From: h.agency.agency, To: h.to.agency.agency, Terms: terms, Created: consent.At(h.now), Key: h.key.Verifier()}
	if change != nil {
		change(&o)
	}
	_, err := h.says(o)
	return err
}

func (h *handover) declares() {
	h.Helper()
	drafted, err := h.agency.draftTransfer(h.Context(), DraftTransfer{Releases: []string{h.root}, To: charter.Prosecutor, Ground: docket.GroundOwner, Officer: h.officer.Verifier(), Supervisor: h.supervisor.Verifier()})
	ok(h, err)
	h.enters(drafted.Text)
}

func (h *handover) passes() error {
	h.acts++
	_, err := h.agency.passOn(h.Context(), PassOn{Note: h.act(grant.ActPassOn, fmt.Sprint("test ", h.acts)), Card: h.card, Out: h.file})
	return err
}

func (h *handover) takes() (TakenOver, error) {
	return h.to.agency.takeOver(h.Context(), TakeOver{File: h.file})
}

// A release that its owner lets be passed on opens at the new holder, which is bound by the owner's terms: its key dies there in time, its docket
// follows it by a promise that nobody can tie to the first one, and the first holder's docket declares it. The owner is told.
func TestAReleaseIsPassedOn(t *testing.T) {
	d := newDesk(t)
	e := d.beside(charter.Prosecutor)[0]
	owner, err := age.GenerateX25519Identity()
	ok(t, err)
	h := d.handover(e, func(g *grant.Grant) { g.Reach = owner.Recipient().String() })
	wants(t, h.passes(), "its owner has not signed")
	ok(t, h.consents(func(o *grant.Onward) { o.Terms.RetainUntil = consent.At(o.Terms.UnusedUntil.Time) }))
	wants(t, h.passes(), "does not declare")
	h.declares()
	ok(t, h.passes())
	if k := d.agency.vault.grants[grant.IDOf(h.note)].releases[h.root]; !k.PassedOn || !k.Exported || !k.Used {
		t.Errorf("the first holder's record is %+v", k)
	}
	told := d.agency.vault.messages[len(d.agency.vault.messages)-1]
	if r, err := grant.OpenReceipt([]byte(told.Note), d.ask.ReceptionKey); err != nil || told.Reach != h.grant.Reach || r.State != grant.PassedOn || r.Detail != "Body 1" {
		t.Errorf("the owner is told %+v, %v", r, err)
	}
	_, err = h.takes()
	wants(t, err, "no request that this grant answers") // the docket is not here yet
	e.follows(d)
	got, err := h.takes()
	ok(t, err)
	if got.Release != h.root || got.From != d.agency.agency || !got.KeyUntil.Equal(h.grant.Terms.UnusedUntil.Time) {
		t.Errorf("%+v", got)
	}
	_, err = h.takes()
	wants(t, err, "was used or is over")
	// Its owner is told who has it, and whose key signs for it.
	if len(e.agency.vault.messages) != 2 {
		t.Fatalf("%d messages wait", len(e.agency.vault.messages))
	}
	card, receipt := e.agency.vault.messages[0], e.agency.vault.messages[1]
	c, err := grant.OpenTaking([]byte(card.Note))
	ok(t, err)
	if r, err := grant.OpenReceipt([]byte(receipt.Note), c.Reception); err != nil || card.Reach != h.grant.Reach || receipt.Reach != h.grant.Reach || r.State != grant.Used || c.Agency != e.agency.agency {
		t.Errorf("the owner is told %+v, %v", r, err)
	}
	e.restart()
	held := e.agency.vault.list()
	if len(held) != 1 || held[0].State != "open" || held[0].Release != h.root {
		t.Fatalf("the new holder has %+v", held)
	}
	load, _, _ := e.agency.vault.load(charter.Daily{})
	first := h.grant.Releases[0].Commitment()
	if len(load.Waiting) != 1 || load.Waiting[0].Commitment == first {
		t.Errorf("its docket is told of %+v", load.Waiting)
	}
	// The clip is the owner's.
	note, err := Found{Agency: e.agency.agency, Grant: grant.IDOf(h.note), Release: consent.ReleaseID(h.root)}.Sign(grant.ActExport, "for the court", e.now, e.officer)
	ok(t, err)
	clip := filepath.Join(t.TempDir(), "clip")
	_, err = e.agency.export(t.Context(), Act{Note: string(note), Out: clip})
	ok(t, err)
	if b, err := os.ReadFile(clip); err != nil || !bytes.Equal(b, make([]byte, 64<<10)) {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	e.skip(h.grant.Terms.UnusedUntil.Sub(e.now))
	ok(t, e.agency.expire())
	if held := e.agency.vault.list(); held[0].State != "deleted" {
		t.Errorf("at its deadline it is %s", held[0].State)
	}
}

// Nothing that an owner did not sign for this very agency, that is not declared, or that was changed on the way opens, and nothing of it is kept.
func TestATransferThatIsNotRightDoesNotOpen(t *testing.T) {
	d := newDesk(t)
	e := d.beside(charter.Prosecutor)[0]
	good := d.handover(e, nil)
	ok(t, good.consents(nil))
	good.declares()
	ok(t, good.passes())
	other := d.handover(e, nil)
	ok(t, other.consents(nil))
	other.declares()
	ok(t, other.passes())
	e.follows(d)
	file, err := os.ReadFile(good.file)
	ok(t, err)
	read := func(name string) (b bundle, clip []byte) {
		t.Helper()
		f, err := os.ReadFile(name)
		ok(t, err)
		b, in, err := readBundle(bytes.NewReader(f), 1<<30)
		ok(t, err)
		var buf bytes.Buffer
		_, err = buf.ReadFrom(in)
		ok(t, err)
		return b, buf.Bytes()
	}
	onward := func(b *bundle, change func(*grant.Onward), key consent.Key) {
		t.Helper()
		o, err := grant.OpenOnward([]byte(b.Chain.Words[0]))
		ok(t, err)
		change(&o)
		note, err := consent.Sign(o, key)
		ok(t, err)
		b.Chain.Words[0] = string(note)
	}
	stranger := newKey(t, grant.KeyName)
	another, _ := read(other.file)
	for name, change := range map[string]func(b *bundle, clip *[]byte){
		"without the owner's word":  func(b *bundle, _ *[]byte) { b.Chain.Words = []string{} },
		"somebody else's word":      func(b *bundle, _ *[]byte) { onward(b, func(o *grant.Onward) { o.Key = stranger.Verifier() }, stranger) },
		"a word of another release": func(b *bundle, _ *[]byte) { b.Chain.Words = another.Chain.Words },
		"to another agency": func(b *bundle, _ *[]byte) {
			onward(b, func(o *grant.Onward) { o.To = consent.AgencyID(strings.Repeat("0", 32)) }, good.key)
		},
		"from another agency": func(b *bundle, _ *[]byte) {
			onward(b, func(o *grant.Onward) { o.From = consent.AgencyID(strings.Repeat("0", 32)) }, good.key)
		},
		"wider terms": func(b *bundle, _ *[]byte) {
			onward(b, func(o *grant.Onward) { o.Terms.RetainUntil = consent.At(o.Terms.RetainUntil.AddDate(0, 0, 1)) }, good.key)
		},
		"terms that are over": func(b *bundle, _ *[]byte) {
			onward(b, func(o *grant.Onward) { o.Terms.RetainUntil, o.Terms.UnusedUntil = consent.At(e.now), consent.At(e.now) }, good.key)
		},
		"a card of another agency":   func(b *bundle, _ *[]byte) { b.Chain.Hops[0].Card = string(d.sign(taking2(t, d), d.agency.key)) },
		"a card that was never made": func(b *bundle, _ *[]byte) { b.Chain.Hops[0].Card = string(e.sign(taking2(t, e), e.agency.key)) },
		"another card":               func(b *bundle, _ *[]byte) { b.Chain.Hops[0].Card = another.Chain.Hops[0].Card },
		"not declared":               func(b *bundle, _ *[]byte) { b.Chain.Hops[0].Entry = consent.HashText(nil) },
		"declared of another": func(b *bundle, _ *[]byte) {
			b.Chain.Hops[0].Entry, b.Chain.Hops[0].Salt = another.Chain.Hops[0].Entry, another.Chain.Hops[0].Salt
		},
		"without a declaration": func(b *bundle, _ *[]byte) { b.Chain.Hops[0].Entry, b.Chain.Hops[0].Salt = "", "" },
		"another grant":         func(b *bundle, _ *[]byte) { b.Grant = another.Grant },
		"another acceptance":    func(b *bundle, _ *[]byte) { b.Acceptance = another.Acceptance },
		"another receipt":       func(b *bundle, _ *[]byte) { b.Chain.Hops[0].Receipt = another.Chain.Hops[0].Receipt },
		"another manifest":      func(b *bundle, _ *[]byte) { b.Manifest = another.Manifest },
		"another key":           func(b *bundle, _ *[]byte) { b.Key = another.Key },
		"passed on by nobody":   func(b *bundle, _ *[]byte) { b.Chain.Hops = []hop{} },
		"passed on twice":       func(b *bundle, _ *[]byte) { b.Chain.Hops = append(b.Chain.Hops, b.Chain.Hops[0]) },
		"a changed clip":        func(_ *bundle, c *[]byte) { (*c)[len(*c)-1] ^= 1 },
		"half a clip":           func(b *bundle, c *[]byte) { *c = (*c)[:len(*c)/2]; b.Size = int64(len(*c)) },
		"a withdrawal among the words": func(b *bundle, _ *[]byte) {
			b.Chain.Words = append(b.Chain.Words, string(good.sign(good.withdrawal(), good.key)))
		},
	} {
		b, clip := read(good.file)
		change(&b, &clip)
		var out bytes.Buffer
		ok(t, b.write(&out, bytes.NewReader(clip)))
		bad := filepath.Join(t.TempDir(), "bad")
		ok(t, os.WriteFile(bad, out.Bytes(), 0o600))
		if _, err := e.agency.takeOver(t.Context(), TakeOver{File: bad}); err == nil {
			t.Errorf("%s: taken over", name)
		}
		if held := e.agency.vault.list(); len(held) != 0 {
			t.Fatalf("%s: %+v is kept", name, held)
		}
		if left, _ := filepath.Glob(filepath.Join(e.dir, "keys", "release", "*-*")); len(left) > 0 {
			t.Fatalf("%s: %v is kept", name, left)
		}
	}
	for i := 0; i < len(file)-2048; i += 97 { // the end is padding
		bad := filepath.Join(t.TempDir(), "bad")
		ok(t, os.WriteFile(bad, file[:i], 0o600))
		if _, err := e.agency.takeOver(t.Context(), TakeOver{File: bad}); err == nil {
			t.Fatalf("cut after %d bytes, it is taken over", i)
		}
		if i > 20<<10 {
			i += 4 << 10
		}
	}
	e.skip(15 * 24 * time.Hour)
	if _, err := good.takes(); err == nil {
		t.Error("an expired card opens it")
	}
	e.skip(-15 * 24 * time.Hour)
	if _, err := good.takes(); err != nil {
		t.Error("in the end:", err)
	}
}

// A release goes from the police to a prosecutor and from there to a third body, each time with its owner's signature and a declaration. Each has
// terms, a key and a promise of its own; an extension of one is no extension of the next.
func TestAReleaseIsPassedOnAndOn(t *testing.T) {
	d := newDesk(t)
	others := d.beside(charter.Prosecutor, charter.Federal)
	b, c := others[0], others[1]
	first := d.handover(b, nil)
	ok(t, first.consents(nil))
	first.declares()
	ok(t, first.passes())
	b.follows(d)
	got, err := first.takes()
	ok(t, err)

	card, err := c.agency.invite(t.Context(), struct{}{})
	ok(t, err)
	out, acts := filepath.Join(t.TempDir(), "onward"), 0
	pass := func() error {
		acts++
		note, err := Found{Agency: b.agency.agency, Grant: grant.IDOf(first.note), Release: consent.ReleaseID(first.root)}.Sign(grant.ActPassOn, fmt.Sprint("for another, ", acts), b.now, b.officer)
		ok(t, err)
		_, err = b.agency.passOn(t.Context(), PassOn{Note: string(note), Card: card.Card, Out: out})
		return err
	}
	says := func(x consent.Body) error {
		_, err := receiver{b.agency}.Word(t.Context(), first.from, first.sign(x, first.key))
		return err
	}
	id, cid := grant.IDOf(first.note), consent.ReleaseID(first.root)
	wants(t, pass(), "its owner has not signed")
	terms := got.Terms
	terms.RetainUntil, terms.UnusedUntil = consent.At(d.now.AddDate(0, 0, 20)), consent.At(d.now.AddDate(0, 0, 20))
	onward := grant.Onward{Grant: id, CID: cid, From: b.agency.agency, To: c.agency.agency, Terms: terms, Created: consent.At(d.now), Key: first.key.Verifier()}
	wide := onward
	wide.Terms.RetainUntil = consent.At(got.Terms.RetainUntil.AddDate(0, 0, 1))
	if err := says(wide); consent.ClassOf(err) != consent.TermsWider {
		t.Errorf("wider terms for the third: %v", err)
	}
	ok(t, says(grant.Extension{Grant: id, CID: cid, Holder: b.agency.agency, RetainUntil: consent.At(got.Terms.RetainUntil.AddDate(0, 0, 10)), Secret: again, Created: consent.At(d.now), Key: first.key.Verifier()}))
	if err := says(grant.Extension{Grant: id, CID: cid, Holder: d.agency.agency, RetainUntil: consent.At(got.Terms.RetainUntil.AddDate(0, 0, 20)), Secret: again, Created: consent.At(d.now), Key: first.key.Verifier()}); consent.ClassOf(err) != consent.WrongSubject {
		t.Errorf("an extension of the first holder's: %v", err)
	}
	ok(t, says(onward))
	wants(t, pass(), "does not declare")
	drafted, err := b.agency.draftTransfer(t.Context(), DraftTransfer{Releases: []string{first.root}, To: charter.Federal, Ground: docket.GroundOwner, Officer: b.officer.Verifier(), Supervisor: b.supervisor.Verifier()})
	ok(t, err)
	b.enters(drafted.Text)
	ok(t, pass())

	take := func() (TakenOver, error) { return c.agency.takeOver(t.Context(), TakeOver{File: out}) }
	_, err = take()
	wants(t, err, "no request that this grant answers")
	c.follows(d)
	_, err = take()
	wants(t, err, "does not declare it") // the second holder's docket is not here yet
	c.follows(b)
	third, err := take()
	ok(t, err)
	if third.From != b.agency.agency || !third.Terms.Equal(terms) {
		t.Errorf("%+v", third)
	}
	seen := map[grant.Commitment]bool{}
	for _, x := range []*desk{d, b, c} {
		x.restart()
		h := x.agency.vault.grants[id]
		seen[h.commitment(h.releases[first.root])] = true
	}
	if len(seen) != 3 {
		t.Errorf("three holders have %d promises", len(seen))
	}
	c.skip(20 * 24 * time.Hour)
	ok(t, c.agency.expire())
	if held := c.agency.vault.list(); held[0].State != "deleted" {
		t.Errorf("at its deadline the third holder's is %s", held[0].State)
	}
	if k := b.agency.vault.grants[id].releases[first.root]; k.State != "open" {
		t.Errorf("the second holder's is %s", k.State)
	}
}

func taking2(t *testing.T, d *desk) grant.Taking {
	identity, err := age.GenerateX25519Identity()
	ok(t, err)
	return grant.Taking{Agency: d.agency.agency, Recipient: identity.Recipient().String(), Reception: newKey(t, grant.ReceptionName).Verifier(),
		Created: consent.At(d.now), Expires: consent.At(d.now.Add(time.Hour)), Key: d.agency.key.Verifier()}
}

// A key that a crash left before its grant was here is destroyed at the next start; what is whole is not.
func TestAKeyWithoutAGrantIsDestroyed(t *testing.T) {
	d := newDesk(t)
	a := d.held(nil)
	orphan := filepath.Join(d.dir, "keys", "release", consent.HashText([]byte("another grant"))+"-"+a.root+".key")
	ok(t, os.WriteFile(orphan, []byte("AGE-SECRET-KEY-1"), 0o600))
	d.restart()
	if _, err := os.Stat(orphan); err == nil {
		t.Error("a key of no grant is here")
	}
	if !a.keyIsHere() || a.state() != "open" {
		t.Errorf("the other release is %s", a.state())
	}
}

// Classes that the owner denied do not get it, whatever else is signed.
func TestDeniedClassesAreNotPassedOnTo(t *testing.T) {
	d := newDesk(t)
	e := d.beside(charter.Federal)[0]
	h := d.handover(e, func(g *grant.Grant) {
		g.Terms.DeniedClasses = []charter.AgencyClass{charter.Federal, charter.Immigration}
	})
	if err := h.consents(nil); consent.ClassOf(err) != grant.DeniedClass {
		t.Errorf("the owner's own mistake: %v", err)
	}
	h.declares()
	wants(t, h.passes(), "its owner has not signed")
}

func FuzzReadBundle(f *testing.F) {
	var out bytes.Buffer
	b := bundle{Grant: []byte("g"), Acceptance: []byte("a"), Manifest: []byte("m"), Chain: chain{[]string{"w"}, []hop{{Card: "c", Receipt: "r"}}}, Key: []byte("k"), Size: 4}
	if err := b.write(&out, strings.NewReader("clip")); err != nil {
		f.Fatal(err)
	}
	f.Add(out.Bytes())
	f.Add([]byte(hex.EncodeToString(out.Bytes()[:64])))
	f.Fuzz(func(t *testing.T, file []byte) {
		b, clip, err := readBundle(bytes.NewReader(file), 1<<20)
		if err != nil {
			return
		}
		if clip == nil || b.Size > 1<<20 || len(b.Grant) > consent.MaxNote || len(b.Key) > keyMessage {
			t.Errorf("%+v", b)
		}
	})
}

func (h *handover) extends(days int) grant.Extension {
	return grant.Extension{Grant: grant.IDOf(h.note), CID: consent.ReleaseID(h.root), Holder: h.agency.agency, RetainUntil: consent.At(h.grant.Terms.RetainUntil.AddDate(0, 0, days)), Secret: again,
		Created: consent.At(h.now), Key: h.key.Verifier()}
}

// What the owner signed for the first holder after they consented widens nothing for the new one, whoever puts it into the file.
func TestAnExtensionForTheFirstHolderIsNoneForTheNext(t *testing.T) {
	d := newDesk(t)
	e := d.beside(charter.Prosecutor)[0]
	h := d.handover(e, nil)
	short := h.grant.Terms.RetainUntil.AddDate(0, 0, -20)
	ok(t, h.consents(func(o *grant.Onward) {
		o.Terms.RetainUntil, o.Terms.UnusedUntil = consent.At(short), consent.At(o.Terms.UnusedUntil.Time)
	}))
	_, err := h.says(h.extends(30))
	ok(t, err)
	h.declares()
	ok(t, h.passes())
	e.follows(d)
	f, err := os.ReadFile(h.file)
	ok(t, err)
	b, in, err := readBundle(bytes.NewReader(f), 1<<30)
	ok(t, err)
	more := h.extends(30)
	more.Holder = e.agency.agency
	b.Chain.Words = append(b.Chain.Words, string(h.sign(h.extends(60), h.key)), string(h.sign(more, newKey(t, grant.KeyName))))
	bad := filepath.Join(t.TempDir(), "bad")
	to, err := os.Create(bad)
	ok(t, err)
	ok(t, b.write(to, in))
	ok(t, to.Close())
	if got, err := e.agency.takeOver(t.Context(), TakeOver{File: bad}); err == nil {
		t.Errorf("with another word behind, it is kept until %s; its owner let it be until %s", got.Terms.RetainUntil, short)
		return
	}
	got, err := h.takes()
	ok(t, err)
	if got.Terms.RetainUntil.After(short) {
		t.Errorf("it is kept until %s; its owner let it be until %s", got.Terms.RetainUntil, short)
	}
}

// An owner who consents again, tighter, is taken at their newest word.
func TestTheNewestConsentCounts(t *testing.T) {
	d := newDesk(t)
	e := d.beside(charter.Prosecutor)[0]
	h := d.handover(e, nil)
	ok(t, h.consents(nil))
	ok(t, h.consents(func(o *grant.Onward) { o.Terms.RetainUntil = consent.At(o.Terms.UnusedUntil.Time) }))
	h.declares()
	ok(t, h.passes())
	e.follows(d)
	got, err := h.takes()
	ok(t, err)
	if !got.Terms.RetainUntil.Equal(h.grant.Terms.UnusedUntil.Time) {
		t.Errorf("%+v", got)
	}
}

// A clip that is looked at only does not leave the vault, whatever else is signed.
func TestAViewOnlyReleaseIsNotPassedOn(t *testing.T) {
	d := newDesk(t)
	e := d.beside(charter.Prosecutor)[0]
	h := d.handover(e, nil)
	ok(t, h.consents(nil))
	h.agency.vault.grants[grant.IDOf(h.note)].grant.Terms.ViewOnly = true // as where an officer accepted it so
	if err := h.consents(func(o *grant.Onward) { o.Terms.ViewOnly = true }); consent.ClassOf(err) != consent.TermsWider {
		t.Errorf("its owner consents to what cannot be: %v", err)
	}
	h.declares()
	wants(t, h.passes(), "looked at only")
	if _, err := os.Stat(h.file); err == nil {
		t.Error("a file is there")
	}
}

// Nothing is passed on but by an enrolled officer who says why, and that is on record beside the release, with the receipt that it is used.
func TestAnOfficerOrdersPassingOn(t *testing.T) {
	d := newDesk(t)
	e := d.beside(charter.Prosecutor)[0]
	h := d.handover(e, nil)
	ok(t, h.consents(nil))
	h.declares()
	pass := func(note string) error {
		_, err := h.agency.passOn(t.Context(), PassOn{Note: note, Card: h.card, Out: h.file})
		return err
	}
	wants(t, pass(""), "")
	wants(t, pass(h.act(grant.ActExport, "for the prosecutor")), "signed to export")
	by, officer := newKey(t, "Mallory"), h.officer
	h.officer = by
	wants(t, pass(h.act(grant.ActPassOn, "for the prosecutor")), "no entry enrols")
	h.officer = officer
	if _, err := os.Stat(h.file); err == nil {
		t.Fatal("a file is there")
	}
	note := h.act(grant.ActPassOn, "for the prosecutor")
	ok(t, pass(note))
	if acts, steps := h.onRecord("passing on ordered"); acts != 1 || steps != 1 {
		t.Errorf("%d acts, %d steps of the log", acts, steps)
	}
	if _, err := os.Stat(h.path(".used.receipt")); err != nil {
		t.Error("it is kept for longer, and no receipt says that it is used:", err)
	}
	wants(t, pass(note), "is on record already")
}
