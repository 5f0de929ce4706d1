package node

import (
	"bytes"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
	"github.com/porchlight-mesh/porchlight/consent/docket"
	"github.com/porchlight-mesh/porchlight/consent/request"
	"github.com/porchlight-mesh/porchlight/footage/durable"
	"github.com/porchlight-mesh/porchlight/p2p/gossip"
	p2psync "github.com/porchlight-mesh/porchlight/p2p/sync"
)

func (p *police) asks() []byte {
	p.t.Helper()
	return p.append(must(consent.Sign(p.request(), p.officer, p.sergeant)))
}

// as opens a node of another role that knows the charter.
func (p *police) as(role Role) *Peer {
	p.t.Helper()
	dir := filepath.Join(p.t.TempDir(), string(role))
	if err := errors.Join(Create(dir, role), WriteCharter(durable.Disk{}, filepath.Join(dir, "charter"), p.chain)); err != nil {
		p.t.Fatal(err)
	}
	n := must(OpenPeer(dir, Options{}))
	p.t.Cleanup(func() { n.Close() })
	return n
}

// meets is two nodes catching up with each other, both ways.
func meets(t *testing.T, a, b *Peer) {
	t.Helper()
	for _, side := range [][2]*Peer{{a, b}, {b, a}} {
		from, to := source{side[0]}, sink{side[1]}
		heads := from.Heads()
		by := map[string]p2psync.Head{}
		for i := range heads {
			heads[i].Peer = side[0].State.dir
			by[heads[i].Log] = heads[i]
		}
		for _, r := range to.Want(heads) {
			entries, err := from.Entries(r.Log, r.From, int(r.To-r.From))
			if err != nil {
				t.Fatal(err)
			}
			if err := to.Take(r.Log, r.From, entries, by[r.Log]); err != nil && !errors.Is(err, errForked) {
				t.Fatal(err)
			}
		}
	}
}

// Whoever sees two versions of a docket can show it to everybody, and they believe nobody but the agency's own signatures.
func TestMisconductIsPassedOn(t *testing.T) {
	p := newPolice(t)
	ada, ben, cai := p.home(time.Now), p.home(time.Now), p.as(Observe)
	q := newCopy(p, t)
	ada.check("peer", p.asks())
	p.toldTo(ada)
	p.toldTo(cai)
	ada.check("peer", q.asks())
	all := ada.papers(misconductLog)
	if !ada.Docket(p.self.ID()).Forked() || len(all) != 1 || !docket.IsMisconduct(all[0]) {
		t.Fatalf("%d papers", len(all))
	}
	if got := ben.check("peer", all[0]); got != gossip.Accept || !ben.Docket(p.self.ID()).Forked() {
		t.Errorf("verdict %d", got)
	}
	if got := ben.check("peer", all[0]); got != gossip.Ignore {
		t.Errorf("the same again: verdict %d", got)
	}
	for i := range all[0] {
		bad := bytes.Clone(all[0])
		bad[i] ^= 1
		if got := p.home(time.Now).check("peer", bad); got == gossip.Accept {
			t.Fatalf("byte %d changed and believed", i)
		}
		if i > 400 {
			break
		}
	}
	meets(t, ben, cai)
	if !cai.Docket(p.self.ID()).Forked() {
		t.Error("catching up does not bring it")
	}
	if len(cai.Requests()) != 0 {
		t.Error("a suspended agency still asks")
	}
	dir := cai.State.dir
	cai.Close()
	again := must(OpenPeer(dir, Options{}))
	defer again.Close()
	if !again.Docket(p.self.ID()).Forked() {
		t.Error("forgotten after a restart")
	}
}

// Mallory hands a home hashes in place of entries. The home sees that something is kept from it, shows nothing that comes after, and has it
// from the next peer who is honest.
func TestHashesInPlaceOfEntriesHideNothing(t *testing.T) {
	p := newPolice(t)
	p.asks()
	p.asks()
	h := p.home(time.Now)
	hidden := slices.Clone(p.notes)
	hidden[1] = docket.Leaf(must(p.log.Leaf(1)))
	d := h.Docket(p.self.ID())
	mallory, honest := head(p), head(p)
	mallory.Peer, honest.Peer = "mallory", "honest"
	if err := (sink{h}).Take(string(p.self.ID()), 0, hidden, mallory); err != nil {
		t.Fatal(err)
	}
	if d.Size() != 3 || len(h.Requests()) != 0 {
		t.Errorf("%d entries, and %d requests are shown past one that is hidden", d.Size(), len(h.Requests()))
	}
	want := (sink{h}).Want([]p2psync.Head{honest})
	if !slices.Contains(want, p2psync.Range{Log: string(p.self.ID()), From: 1, To: 2}) {
		t.Fatalf("wants %v", want)
	}
	if err := (sink{h}).Take(string(p.self.ID()), 1, [][]byte{[]byte("something else")}, mallory); err == nil {
		t.Error("another text was taken")
	}
	dir := h.State.dir
	h.Close()
	h = must(OpenPeer(dir, Options{}))
	defer func() { h.Close() }()
	if err := (sink{h}).Take(string(p.self.ID()), 1, p.notes[1:2], honest); err != nil {
		t.Fatal(err)
	}
	if len(h.Requests()) != 2 {
		t.Errorf("%d requests are shown", len(h.Requests()))
	}
	h.Close()
	h = must(OpenPeer(dir, Options{}))
	if len(h.Requests()) != 2 {
		t.Errorf("after a restart %d requests are shown", len(h.Requests()))
	}
}

// What nobody may make lawful is kept by its hash; observers keep all. Peers that have no more of it than that hide nothing.
func TestAnUnlawfulEntryIsKeptByItsHash(t *testing.T) {
	p := newPolice(t)
	r := p.request()
	r.Text = "The victim is Mary Poppins of 17 Cherry Tree Lane, call her on 555-123-4567."
	p.force(p.raw(r))
	p.asks()
	ada, steward, cai := p.home(time.Now), p.as(Steward), p.as(Observe)
	for _, n := range []*Peer{ada, steward, cai} {
		p.toldTo(n)
		dir := n.State.Path("dockets", string(p.self.ID()))
		kept := bytes.Contains(must(os.ReadFile(filepath.Join(dir, "entries"))), []byte("Poppins"))
		if kept != (n == cai) {
			t.Errorf("%s has the text on its disk: %v", n.State.Role(), kept)
		}
		if len(n.Requests()) != 1 {
			t.Errorf("%s shows %d requests", n.State.Role(), len(n.Requests()))
		}
	}
	// Dee comes later, and hears from the two that have the hash only. She cannot know, until the second says so too.
	dee := p.home(time.Now)
	meets(t, ada, dee)
	if dee.Docket(p.self.ID()).Size() != 3 {
		t.Fatal("not caught up")
	}
	// With one peer, or none any more, that peer's word is all there is.
	meets(t, ada, dee)
	if len(dee.Requests()) != 1 {
		t.Errorf("%d requests are shown", len(dee.Requests()))
	}
	meets(t, steward, dee)
	if d := dee.Docket(p.self.ID()); len(d.missing(steward.State.dir)) != 0 {
		t.Error("it is asked for for ever")
	}
	dir := ada.State.dir
	ada.Close()
	again := must(OpenPeer(dir, Options{}))
	defer again.Close()
	if len(again.Requests()) != 1 || len(again.Docket(p.self.ID()).missing("x")) != 0 {
		t.Error("after a restart the hash counts as something hidden")
	}
}

// The charter names three witnesses, two of whom have to agree.
func witnessed(t *testing.T) (*police, []consent.Key) {
	p := newPolice(t)
	var keys []consent.Key
	next := *p.chain.Current()
	next.Version, next.Previous, next.Quorum = 2, p.chain.CurrentHash(), 2
	for _, name := range []string{"Herald", "Library", "Council"} {
		k := must(consent.GenerateKey(rand.Reader, name))
		keys = append(keys, k)
		next.Witnesses = append(next.Witnesses, charter.Witness{Name: name, Key: k.Verifier()})
	}
	p.chain = must(p.chain.Extend(must(consent.Sign(next, p.ana))))
	return p, keys
}

func cosignedBy(checkpoint []byte, keys ...consent.Key) []byte {
	out := bytes.Clone(checkpoint)
	for _, k := range keys {
		out = append(out, must(docket.Cosign(checkpoint, k, time.Now()))...)
	}
	return out
}

// A copy without its cosignatures, or with others added, is let go; the true one is passed on after it as if it had never been.
func TestStrippedAndJunkCopiesNeitherCensorNorFlood(t *testing.T) {
	p, ws := witnessed(t)
	h := p.home(time.Now)
	first := must(p.log.SignCheckpoint(p.docket))
	if err := (sink{h}).Take(string(p.self.ID()), 0, p.notes, p2psync.Head{Log: string(p.self.ID()), Size: 1, Note: cosignedBy(first, ws[0], ws[1])}); err != nil {
		t.Fatal(err)
	}
	p.asks()
	cp := p.log.Checkpoint()
	under := func(note []byte) []byte { return must(p.log.Bundle(1, note)) }
	stranger := must(consent.GenerateKey(rand.Reader, "Mallory"))
	junk := cosignedBy(cp, ws[0], ws[1])
	junk[len(junk)-20] ^= 1
	good := under(cosignedBy(cp, ws[0], ws[2]))
	for _, row := range []struct {
		name string
		msg  []byte
		want gossip.Verdict
	}{
		{"stripped", under(cp), gossip.Ignore},
		{"one of two", under(cosignedBy(cp, ws[1])), gossip.Ignore},
		{"junk", under(junk), gossip.Reject},
		{"a stranger's", under(cosignedBy(cp, ws[0], stranger)), gossip.Ignore},
		{"a stranger's besides", under(cosignedBy(cp, ws[0], ws[1], stranger)), gossip.Ignore},
		{"in another order", under(cosignedBy(cp, ws[1], ws[0])), gossip.Ignore},
		{"of another checkpoint", under(append(bytes.Clone(cp), cosignedBy(first, ws[0], ws[1])[len(first):]...)), gossip.Reject},
		{"the true one", good, gossip.Accept},
		{"the true one again", good, gossip.Ignore},
		{"with other cosignatures", under(cosignedBy(cp, ws[0], ws[1], ws[2])), gossip.Ignore},
	} {
		if got := h.check("peer", row.msg); got != row.want {
			t.Errorf("%s: verdict %d, want %d", row.name, got, row.want)
		}
		if shown := len(h.Requests()); row.want != gossip.Accept && row.name[:3] != "the" && row.name != "with other cosignatures" && shown != 0 {
			t.Fatalf("%s: %d requests are shown", row.name, shown)
		}
	}
	if len(h.Requests()) != 1 {
		t.Error("the true one is not shown")
	}
}

// A home that only the agency speaks to is shown a docket of its own, and shows nothing of it to its owner.
func TestAnEclipsedHomeWaitsForWitnesses(t *testing.T) {
	p, ws := witnessed(t)
	h := p.home(time.Now)
	p.asks()
	for _, note := range [][]byte{p.log.Checkpoint(), cosignedBy(p.log.Checkpoint(), ws[0])} {
		head := p2psync.Head{Log: string(p.self.ID()), Size: 2, Note: note}
		if want := (sink{h}).Want([]p2psync.Head{head}); len(want) != 0 {
			t.Errorf("it asks for %v", want)
		}
		if err := (sink{h}).Take(string(p.self.ID()), 0, p.notes, head); err == nil {
			t.Error("entries were taken in")
		}
	}
	if len(h.Requests()) != 0 || h.Docket(p.self.ID()).Size() != 0 {
		t.Error("a docket counts that no witness has seen")
	}
	// A charter that asks for more witnesses than the docket has hides what was shown, until they are there.
	if err := (sink{h}).Take(string(p.self.ID()), 0, p.notes, p2psync.Head{Log: string(p.self.ID()), Size: 2, Note: cosignedBy(p.log.Checkpoint(), ws[0], ws[1])}); err != nil {
		t.Fatal(err)
	}
	if len(h.Requests()) != 1 {
		t.Fatal("a witnessed request is not shown")
	}
	next := *p.chain.Current()
	next.Version, next.Previous, next.Quorum = 3, p.chain.CurrentHash(), 3
	if err := h.AdmitCharter(must(consent.Sign(next, p.ana))); err != nil {
		t.Fatal(err)
	}
	if len(h.Requests()) != 0 {
		t.Error("two of three witnesses are enough")
	}
	all := p2psync.Head{Log: string(p.self.ID()), Size: 2, Note: cosignedBy(p.log.Checkpoint(), ws...)}
	(sink{h}).Want([]p2psync.Head{all})
	if len(h.Requests()) != 1 {
		t.Error("three of three are not")
	}
}

// A docket that is known to be longer than anybody gives is withheld: nothing that follows is passed on until it is whole.
func TestAWithheldDocketAsksInVain(t *testing.T) {
	p := newPolice(t)
	now := time.Now()
	h := p.home(func() time.Time { return now })
	p.toldTo(h)
	p.asks()
	later := p.asks()
	if got := h.check("peer", later); got != gossip.Accept {
		t.Errorf("verdict %d", got)
	}
	if _, since := h.Docket(p.self.ID()).Withheld(); !since.IsZero() {
		t.Error("withheld at once")
	}
	now = now.Add(withheldAfter + time.Second)
	size, since := h.Docket(p.self.ID()).Withheld()
	if size != 3 || since.IsZero() {
		t.Errorf("%d entries, withheld since %v", size, since)
	}
	if got := h.check("peer", p.asks()); got != gossip.Ignore {
		t.Errorf("a request past what is withheld: verdict %d", got)
	}
	p.toldTo(h)
	if _, since := h.Docket(p.self.ID()).Withheld(); !since.IsZero() || len(h.Requests()) != 2 { // the third is one post too many
		t.Errorf("complete, withheld since %v and %d requests", since, len(h.Requests()))
	}
}

// A docket has room for what the charter grants it a day, and no more, however it is dated.
func TestADocketFillsNoDisk(t *testing.T) {
	p := newPolice(t)
	first := *p.chain.Current()
	first.Quotas.EntriesPerDay = 2
	p.chain = must(charter.Start(must(consent.Sign(first, p.ana))))
	now := time.Now()
	h := p.home(func() time.Time { return now })
	for range 5 {
		p.asks()
	}
	err := (sink{h}).Take(string(p.self.ID()), 0, p.notes, head(p))
	if consent.ClassOf(err) != consent.OverQuota || !errors.Is(err, p2psync.ErrOwn) {
		t.Errorf("six entries on the first day: %v", err)
	}
	now = now.Add(24 * time.Hour)
	p.toldTo(h)
	if shown := len(h.Requests()); shown != 1 {
		t.Errorf("%d requests are shown of a day that has two entries", shown)
	}
}

// A stolen key is revoked after it has asked: what it asked is shown nowhere from then on.
func TestARevocationReachesBack(t *testing.T) {
	p := newPolice(t)
	h := p.home(time.Now)
	p.asks()
	p.toldTo(h)
	if len(h.Requests()) != 1 {
		t.Fatal("the request is not shown")
	}
	p.append(must(consent.Sign(docket.Officer{Action: docket.Revoke, Role: docket.RoleOfficer, Name: "Ruiz", Key: p.officer.Verifier(),
		Created: consent.At(time.Now()), By: p.sergeant.Verifier(), Reason: "the key was stolen"}, p.sergeant)))
	p.toldTo(h)
	if len(h.Requests()) != 0 {
		t.Error("a request of a revoked key is shown")
	}
}

// From the first emergency on that nobody accounted for, the agency's claims of one are told like any other request.
func TestAnEmergencyIsOwedAReport(t *testing.T) {
	p := newPolice(t)
	now := time.Now()
	h := p.home(func() time.Time { return now })
	r := p.request()
	r.Basis = request.Exigent
	note := must(consent.Sign(r, p.officer, p.sergeant))
	p.append(note)
	p.toldTo(h)
	id := p.self.ID()
	if !h.ExigentCounts(id) || h.ExigentCounts("x") {
		t.Error("before the report is due")
	}
	now = now.Add(docket.ReportWithin + time.Hour)
	if h.ExigentCounts(id) {
		t.Error("a report is missing")
	}
	p.append(must(consent.Sign(docket.Report{Request: request.IDOf(note), Text: "The fire was put out in time.", Created: consent.At(time.Now()),
		Officer: p.officer.Verifier(), Supervisor: p.sergeant.Verifier()}, p.officer, p.sergeant)))
	p.toldTo(h)
	if !h.ExigentCounts(id) {
		t.Error("the report is there, and was made in time")
	}
}

// Ana signs the charter and objects to a request; Mallory does not, and is not heard.
func TestObjectionsAreShown(t *testing.T) {
	p := newPolice(t)
	h := p.home(time.Now)
	p.asks()
	id := request.IDOf(p.notes[1])
	objects := func(k consent.Key, id consent.RequestID) []byte {
		return must(consent.Sign(request.Objection{Agency: p.self.ID(), Request: id, Reason: "This asks who came to the town meeting.",
			Created: consent.At(time.Now()), By: k.Verifier()}, k))
	}
	ana := objects(p.ana, id)
	if got := h.check("peer", ana); got != gossip.Ignore {
		t.Errorf("against a request that is not here yet: verdict %d", got)
	}
	p.toldTo(h)
	for _, row := range []struct {
		name string
		msg  []byte
		want gossip.Verdict
	}{
		{"a stranger", objects(must(consent.GenerateKey(rand.Reader, "Mallory")), id), gossip.Ignore},
		{"to nothing", objects(p.ana, consent.RequestID(consent.HashText(nil))), gossip.Ignore},
		{"changed", bytes.Replace(ana, []byte("town"), []byte("Town"), 1), gossip.Reject},
		{"Ana", ana, gossip.Accept},
		{"Ana again", ana, gossip.Ignore},
		{"Ana in other words", objects(p.ana, id), gossip.Ignore},
	} {
		if got := h.check("peer", row.msg); got != row.want {
			t.Errorf("%s: verdict %d, want %d", row.name, got, row.want)
		}
	}
	other := p.as(Observe)
	p.toldTo(other)
	meets(t, h, other)
	dir := other.State.dir
	other.Close()
	again := must(OpenPeer(dir, Options{}))
	defer again.Close()
	for _, n := range []*Peer{h, again} {
		shown := n.Objections(n.Requests()[0])
		if len(shown) != 1 || shown[0].By != "Ana" || shown[0].Reason == "" {
			t.Errorf("%s shows %+v", n.State.Role(), shown)
		}
	}
}

// Two peers saw the rivals of a version in another order, and a third one never saw the second of them. Once a version has settled it, they
// have nothing to fetch from one another, and what comes later reaches all of them.
func TestAHistoryThatWasSettledIsNotFetchedAgain(t *testing.T) {
	p := newPolice(t)
	ada, ben, cai := p.home(time.Now), p.home(time.Now), p.as(Observe)
	version := func(n, retention int, previous string, also ...string) []byte {
		next := *p.chain.Current()
		next.Version, next.Previous, next.Also, next.Limits.MaxRetentionDays = n, previous, also, retention
		next.Daily = charter.DefaultDaily(next.Limits)
		return must(consent.Sign(next, p.ana))
	}
	two, rival := version(2, 300, p.chain.CurrentHash()), version(2, 200, p.chain.CurrentHash())
	three := version(3, 100, consent.HashText(two), consent.HashText(rival))
	four := version(4, 50, consent.HashText(three))
	for _, row := range []struct {
		n     *Peer
		notes [][]byte
	}{{ada, [][]byte{two, rival, three}}, {ben, [][]byte{rival, two, three}}, {cai, [][]byte{two, three}}} {
		for _, note := range row.notes {
			if got := row.n.check("peer", note); got != gossip.Accept {
				t.Fatalf("verdict %d", got)
			}
		}
	}
	for _, from := range []*Peer{ada, ben, cai} {
		for _, to := range []*Peer{ada, ben, cai} {
			if want := (sink{to}).Want(source{from}.Heads()); len(want) > 0 {
				t.Errorf("wants %v", want)
			}
		}
	}
	p.toldTo(ada)
	if err := ada.AdmitCharter(four); err != nil {
		t.Fatal(err)
	}
	meets(t, ada, cai)
	meets(t, cai, ben)
	for _, n := range []*Peer{ben, cai} {
		if n.Charter().Version != 4 || n.Docket(p.self.ID()).Size() == 0 {
			t.Errorf("version %d, %d entries", n.Charter().Version, n.Docket(p.self.ID()).Size())
		}
	}
}
