package home

import (
	"crypto/rand"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
	"github.com/porchlight-mesh/porchlight/consent/docket"
	"github.com/porchlight-mesh/porchlight/consent/grant"
	"github.com/porchlight-mesh/porchlight/footage/clip/cliptest"
	"github.com/porchlight-mesh/porchlight/footage/durable/durabletest"
	"github.com/porchlight-mesh/porchlight/node"
)

// gave is a house whose clip is with the police, who signed for it and have its key.
func gave(t *testing.T) *house {
	t.Helper()
	h := newHouse(t)
	ok(t, h.agree())
	h.ready()
	s := h.begin()
	s.progress(s.root, 1, 1)
	ok(t, s.received(s.root, s.receipt))
	ok(t, h.step(s.answer, "sending", "delivered", nil))
	return h
}

// after sets the clock so many days on.
func (h *house) after(days int) {
	now := faultNow.AddDate(0, 0, days)
	h.peer.Now = func() time.Time { return now }
}

// looks asks a peer, who has no more of the docket than this home, and looks at what it says.
func (h *house) looks() Promise {
	h.t.Helper()
	h.docket().NoMore(h.peer.Now())
	h.watch()
	return h.promised()
}

func (h *house) docket() *node.Docket { return h.peer.Docket(h.only().Agency) }

// promised is how the one clip stands.
func (h *house) promised() Promise {
	h.t.Helper()
	all, err := h.promises(h.t.Context(), PromisesArg{})
	ok(h.t, err)
	if len(all) != 1 {
		h.t.Fatalf("%+v", all)
	}
	return all[0]
}

// enters puts the daily entries up to today into the docket; keepDays are what the police say of the clip's terms.
func (h *house) enters(c grant.Commitment, keepDays int) {
	h.t.Helper()
	size := h.police.Size()
	var notes [][]byte
	for {
		load := docket.Load{Waiting: []docket.Waiting{{Commitment: c, KeepDays: keepDays, From: docket.DayOf(faultNow).Add(1)}}}
		if h.tells != nil {
			load.Messages = [][]byte{h.tells}
		}
		daily, _, err := h.police.NextDaily(load, consent.At(h.peer.Now()), rand.Reader)
		if consent.ClassOf(err) == consent.NotYetValid {
			break
		}
		ok(h.t, err)
		note, err := consent.Sign(daily, h.key)
		ok(h.t, err)
		_, err = h.police.Append(note, h.peer.Now())
		ok(h.t, err)
		notes = append(notes, note)
	}
	checkpoint, err := h.police.SignCheckpoint(h.key)
	ok(h.t, err)
	ok(h.t, h.docket().Extend(size, notes, checkpoint))
}

// taken has the police take in the last word that the owner said, and answer as they like.
func (h *house) taken(answer func(grant.Holding) grant.Receipt) {
	h.t.Helper()
	a := h.only()
	g, err := h.given(a)
	ok(h.t, err)
	i := len(a.Words) - 1
	ok(h.t, h.answeredOne(a.ID, i, g, nil))
	all, err := h.holders(h.only(), 0, g, nil)
	ok(h.t, err)
	note, err := consent.Sign(answer(all[0].Holding), reception)
	ok(h.t, err)
	ok(h.t, h.heard(h.only(), g, note))
}

// A clip of which nothing stands in the docket is shown to everybody; then its owner lets it be kept for longer all the same. What was found and
// made public stays on record, with its day, beside how the clip stands since.
func TestABreachStaysABreach(t *testing.T) {
	h := gave(t)
	h.after(14)
	if p := h.looks(); p.State != StandHeld || p.Faults != nil {
		t.Fatalf("%+v", p)
	}
	h.after(16)
	if p := h.looks(); p.State != StandMissing || len(p.Faults) != 1 || p.Breach != "" {
		t.Fatalf("%+v", p)
	}
	id, root := h.only().ID, h.only().Releases[0].Root
	shown, err := h.breach(t.Context(), BreachArg{Release: root})
	ok(t, err)
	next := h.only().copy()
	f := next.Releases[0].judged(next.Agency, grant.FaultMissing, docket.DayOf(h.peer.Now()))
	f.Breach, f.Note = "leaving", shown.Note
	ok(t, h.record(&next))
	h.answers[id] = &next
	ok(t, h.leftAs([]byte(shown.Note), "public"))
	if p := h.promised(); p.Breach != "public" {
		t.Fatalf("%+v", p)
	}
	_, err = h.say(t.Context(), Say{Release: root, What: "extend", Until: faultNow.AddDate(0, 0, 200)})
	ok(t, err)
	h.taken(func(o grant.Holding) grant.Receipt {
		return grant.Receipt{Grant: o.Grant, GrantKey: o.Key, CID: o.CID, Commitment: o.Commitment(), State: grant.Held, SealedSHA256: consent.HashText([]byte("sealed")),
			DeleteBy: o.Terms.UnusedUntil, Key: reception.Verifier(), At: consent.At(h.peer.Now())}
	})
	h.after(17)
	h.looks()
	for range 2 { // and after a restart
		p := h.promised()
		if p.State != StandHeld || p.Breach != "" || len(p.Broken()) != 1 ||
			p.Broken()[0].Words() != "missing, found on 2026-12-08, until 2026-12-09; its breach record is public" || p.Faults[0].Note != shown.Note {
			t.Errorf("%+v", p)
		}
		h.wrote("the docket fails what was signed")
		h.wrote("the docket fails it no more")
		h.restart()
	}
	// The new promise is not kept either: that is another breach.
	h.after(32)
	if p := h.looks(); p.State != StandMissing || p.Breach != "" || len(p.Faults) != 2 || len(p.Broken()) != 1 || !strings.Contains(p.Faults[1].Words(), "2026-12-24") {
		t.Errorf("%+v", p)
	}
	// A lawyer is given both records, and finds them from the page.
	folder := filepath.Join(t.TempDir(), "law")
	_, err = h.export(t.Context(), Export{Out: folder})
	ok(t, err)
	page := string(read(t, filepath.Join(folder, "index.html")))
	for n, want := range []string{shown.Note, ""} {
		name := fmt.Sprintf("1/breach-%d.note", n+1)
		note := read(t, filepath.Join(folder, filepath.FromSlash(name)))
		if _, err := grant.OpenBreach(note); err != nil || want != "" && string(note) != want || !strings.Contains(page, `<a href="`+name+`">`) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if !strings.Contains(page, "Broken before</dt><dd>missing, found on 2026-12-08, until 2026-12-09; its breach record is public") {
		t.Error(page)
	}
}

// An agency that enters a clip in its docket among those kept for longer than its terms ask for would be called overdue later: its owner is told so.
func TestAClipThatIsEnteredForLongerIsSeen(t *testing.T) {
	for days, longer := range map[int]bool{90: false, 180: true, 365: true} {
		h := gave(t)
		g, err := h.given(h.only())
		ok(t, err)
		h.after(2)
		h.enters(g.grant.Releases[0].Commitment(), days)
		p := h.looks()
		if p.State != StandPromised || p.Docket.KeepDays != days || strings.Contains(p.Words, "ENTERED FOR LONGER: among those kept") != longer ||
			longer && !strings.Contains(p.Words, "terms end on 2027-02-20 and 90 days would do") {
			t.Errorf("%d days: %+v", days, p)
		}
	}
}

// A docket of many years is read once for messages, and again from where it was when a word was said that makes more of them understood.
func TestADocketIsReadOnce(t *testing.T) {
	h := gave(t)
	g, err := h.given(h.only())
	ok(t, err)
	note, err := consent.Sign(grant.Message{Grant: g.id, CID: g.grant.Releases[0].CID, Ask: grant.AskStatement, Reason: "Did the van stand there?", Created: consent.At(faultNow), Key: reception.Verifier()}, reception)
	ok(t, err)
	h.tells, err = node.SealMessage(g.grant.Reach, note, charter.MinMessageBytes)
	ok(t, err)
	_, err = h.say(t.Context(), Say{Release: h.only().Releases[0].Root, What: "statement", Text: "It was there."})
	ok(t, err)
	h.after(1)
	h.enters(g.grant.Releases[0].Commitment(), 90)
	h.tells = nil
	h.after(2)
	h.enters(g.grant.Releases[0].Commitment(), 90)
	size, _ := h.docket().Head()
	police, next := h.only().Agency, h.only().copy()
	next.Heard = map[consent.AgencyID]int64{police: size}
	ok(t, h.record(&next))
	h.restart()
	h.after(2)
	if p := h.looks(); len(p.Said) != 2 {
		t.Fatalf("what was read before is read again: %+v", p.Said)
	}
	ok(t, h.answeredOne(h.only().ID, 0, g, nil))
	if p := h.looks(); len(p.Said) != 3 || h.only().Heard[police] != size {
		t.Errorf("%+v, read up to %v", p.Said, h.only().Heard)
	}
	for day := 3; day < 3+readAgain; day++ {
		h.after(day)
		h.enters(g.grant.Releases[0].Commitment(), 90)
	}
	h.looks()
	var stored Answer
	ok(t, node.ReadJSON(h.file(h.only(), "answer.json"), &stored))
	if stored.Heard[police] != size+readAgain {
		t.Errorf("a start reads again from %v", stored.Heard)
	}
}

// Days on which this home heard from nobody are held against no agency.
func TestADocketIsJudgedByWhenItWasHeard(t *testing.T) {
	h := gave(t)
	h.after(10)
	h.looks()
	h.after(60)
	h.watch()
	if p := h.promised(); p.State != StandHeld || !strings.Contains(p.Words, "nobody was heard to have more of the docket since 2026-12-02") {
		t.Errorf("%s: %s", p.State, p.Words)
	}
	h.restart()
	h.after(60)
	h.watch()
	if p := h.promised(); p.State != StandHeld || p.Faults != nil {
		t.Errorf("%s: %s", p.State, p.Words)
	}
	if p := h.looks(); p.State != StandMissing {
		t.Errorf("%s: %s", p.State, p.Words)
	}
}

// That blocks of a clip left is on record once the first of them did, whatever happens to the power then.
func TestWhatLeftIsOnRecordAfterAPowerCut(t *testing.T) {
	h := newHouse(t)
	ok(t, h.agree())
	h.ready()
	s := h.begin()
	s.progress(s.root, 1, 66)
	ok(t, h.Close())
	ok(t, h.r.Disk.PowerCut(durabletest.Nothing))
	h.Home = openHouse(t, h.r).Home
	if p := h.promised(); p.State != StandUnsigned || h.only().Releases[0].Sent != 1 {
		t.Errorf("%+v", p)
	}
}

// Nothing is made public that the ledger does not have first as its owner's decision.
func TestABreachRecordLeavesAfterItStandsInTheLedger(t *testing.T) {
	h := gave(t)
	h.peer.Config.Stewards = []string{"/ip4/203.0.113.1/tcp/1/p2p/one", "/ip4/203.0.113.2/tcp/1/p2p/two"}
	h.after(16)
	h.docket().NoMore(h.peer.Now()) // nobody was told of it yet
	arg := BreachArg{Release: h.only().Releases[0].Root, Publish: true}
	waits := func() int {
		names, err := h.peer.State.Glob("outbox/*.json")
		ok(t, err)
		return len(names)
	}
	ledger := h.ledger
	var err error
	h.ledger, err = node.OpenCustody(h.disk(), filepath.Join(t.TempDir(), "ledger"), h.peer.Now)
	ok(t, err)
	ok(t, h.ledger.Close()) // it takes no line
	if _, err := h.breach(t.Context(), arg); err == nil || waits() != 0 || h.promised().Breach != "" {
		t.Errorf("%v, and %d documents wait to leave", err, waits())
	}
	h.ledger = ledger
	shown, err := h.breach(t.Context(), arg)
	if ok(t, err); waits() != 1 || h.promised().Breach != "leaving" {
		t.Errorf("%d documents wait to leave", waits())
	}
	h.wrote(stepFails)
	h.wrote("breach record approved")
	ok(t, h.leftAs([]byte(shown.Note), "public"))
	if _, err := h.breach(t.Context(), arg); !says(err, "public already") {
		t.Error(err)
	}
}

// Two clips are taken back with one word for each, however often their owner says so.
func TestOneWithdrawalOfEachRelease(t *testing.T) {
	h := newHouse(t)
	folder := filepath.Join(t.TempDir(), "garden")
	cliptest.Recording(t, folder, "2026-11-22/19-30-00.mp4", 20)
	_, err := h.cameraAdd(t.Context(), CamerasAdd{Name: "garden", Folder: folder, Zone: "UTC", Lat: 44, Lon: -40, Angle: 360, Range: 20})
	ok(t, err)
	_, err = h.cameraOffer(true)(t.Context(), CameraName{"garden"})
	ok(t, err)
	for range 5 {
		_, err = h.library.Poll(t.Context())
		ok(t, err)
		h.match(t.Context())
	}
	_, err = h.approve(t.Context(), Approve{Request: string(h.asked()), Cameras: []string{"door", "garden"}, FacesVisible: true, AddressShown: true})
	ok(t, err)
	ok(t, h.advance(t.Context(), h.only().ID))
	next := h.only().copy()
	for i := range next.Releases {
		next.Releases[i].Key = true // a third release has none
	}
	next.State, next.Releases = "delivered", append(next.Releases, Release{Root: string(cidOf(0))})
	ok(t, h.record(&next))
	h.answers[next.ID] = &next
	ok(t, h.takeBack())
	ok(t, h.record(h.only()))
	h.restart()
	if err := h.takeBack(); !says(err, "nothing to take back") {
		t.Error(err)
	}
	back := map[string]int{}
	for _, w := range h.only().Words {
		if w.takesBack() {
			back[w.Release]++
		}
	}
	if a := h.only(); len(back) != 2 || back[a.Releases[0].Root] != 1 || back[a.Releases[1].Root] != 1 {
		t.Errorf("%v", back)
	}
}

// An owner who shows the address to one agency has not shown it to another: what is said to that one goes over stewards, or waits.
func TestWhatIsSaidToAnotherAgencyGoesHidden(t *testing.T) {
	h := gave(t) // straight
	ok(t, h.peer.Start(t.Context()))
	defer h.peer.Stop()
	if over, err := h.wordsOver(h.only(), h.only().Agency); over != nil || err != nil {
		t.Errorf("%+v, %v", over, err)
	}
	if over, err := h.wordsOver(h.only(), consent.AgencyID(strings.Repeat("ab", 16))); over != nil || err == nil {
		t.Errorf("straight to an agency that the clip was passed on to: %+v, %v", over, err)
	}
}
