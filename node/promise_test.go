package node_test

import (
	"bytes"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/geo"
	"github.com/porchlight-mesh/porchlight/consent/grant"
	"github.com/porchlight-mesh/porchlight/footage/clip"
	"github.com/porchlight-mesh/porchlight/footage/durable"
	"github.com/porchlight-mesh/porchlight/node"
	"github.com/porchlight-mesh/porchlight/node/agency"
	"github.com/porchlight-mesh/porchlight/node/home"
)

// Whoever wants footage out without the owner's decision has the node's disk to work with at
// most; and the node goes by the decision it finds there.
func TestPromise01Consent(t *testing.T) {
	n := newNeighbourhood(t)
	ana := n.home("ana", near, 0)
	id := n.policeAsk(n.draft())
	ana.shown(id)

	ask := home.Approve{Request: id, Cameras: []string{"door"}, FacesVisible: true, AddressShown: true}
	for want, spoil := range map[string]func(*home.Approve){
		"faces":                 func(a *home.Approve) { a.FacesVisible = false },
		"names 1 steward":       func(a *home.Approve) { a.AddressShown = false },
		"no camera chosen":      func(a *home.Approve) { a.Cameras = nil },
		"camera garden":         func(a *home.Approve) { a.Cameras = []string{"garden"} },
		"not inside":            func(a *home.Approve) { a.From = recAt.Add(-time.Hour) },
		"the request offers at": func(a *home.Approve) { a.RetentionDays = 400 },
	} {
		a := ask
		spoil(&a)
		ana.fails("home.approve", a, want)
	}

	// A decision bound to one span does not carry another one out: the answer's record on disk
	// is narrowed after the clip was prepared, and the clip stays.
	ana.stop()
	config := filepath.Join(ana.dir, "config.toml")
	b, err := os.ReadFile(config)
	ok(t, err)
	ok(t, os.WriteFile(config, bytes.Replace(b, []byte(`answer_delay = "0s"`), []byte(`answer_delay = "1000h"`), 1), 0o600))
	ana = n.run(ana.dir, node.Home)
	ana.agrees(id)
	var card home.Card
	ana.wait("the answer to be prepared", func() bool {
		ana.do("home.show", home.RequestArg{Request: id}, &card)
		return card.Answers[0].State == "waiting"
	})
	ana.stop()
	record := filepath.Join(ana.dir, "answers", card.Answers[0].ID, "answer.json")
	var a map[string]any
	ok(t, node.ReadJSON(record, &a))
	a["decisions"].([]any)[0].(map[string]any)["span"].(map[string]any)["until"] = "2026-11-22T19:03:20Z"
	a["not_before"] = time.Now().UTC()
	ok(t, node.WriteJSON(durable.Disk{}, record, a))
	ana = n.run(ana.dir, node.Home)
	ana.wait("the refusal", func() bool {
		ana.do("home.show", home.RequestArg{Request: id}, &card)
		return strings.Contains(card.Answers[0].Problem, "no decision of the owner covers it")
	})
	n.nothingArrived()
}

func (n *neighbourhood) nothingArrived() {
	n.t.Helper()
	var got []agency.Received
	n.police.do("agency.received", struct{}{}, &got)
	if len(got) != 0 {
		n.t.Errorf("addressed to the agency: %+v, want nothing", got)
	}
	var s node.Status
	n.police.do("status", struct{}{}, &s)
	if len(s.Peers) != 1 {
		n.t.Errorf("the agency has %d connections, want the steward's alone: %+v", len(s.Peers), s.Peers)
	}
}

func TestPromise02OffByDefault(t *testing.T) {
	n := newNeighbourhood(t)
	ana := n.home("ana", near, 0)
	ana.do("home.cameras.withdraw", home.CameraName{Name: "door"}, nil)
	id := n.policeAsk(n.draft())
	ana.knows(id)
	time.Sleep(1500 * time.Millisecond) // over one poll
	ana.fails("home.show", home.RequestArg{Request: id}, "not in this inbox")
	var cards []home.Card
	ana.do("home.inbox", home.List{All: true}, &cards)
	if len(cards) != 0 {
		t.Errorf("a camera that was not offered matched: %+v", cards)
	}
	// The zero decision is a refusal, and offering the camera later shows the request.
	ana.do("home.cameras.offer", home.CameraName{Name: "door"}, nil)
	ana.shown(id)
	n.nothingArrived()
}

// Declined, ignored, no footage, outside, no camera offered: the agency has heard from nobody.
func TestPromise03Silence(t *testing.T) {
	n := newNeighbourhood(t)
	declines, ignores := n.home("declines", near, 0), n.home("ignores", near, 0)
	nothing, outside, closed := n.home("nothing", near, 600), n.home("outside", farAway, 0), n.home("closed", near, 0)
	closed.do("home.cameras.withdraw", home.CameraName{Name: "door"}, nil)
	id := n.policeAsk(n.draft())
	declines.shown(id)
	ignores.shown(id)
	declines.do("home.decline", home.RequestArg{Request: id}, nil)
	for _, h := range []*running{nothing, outside, closed} {
		h.knows(id)
	}
	time.Sleep(2 * time.Second)
	n.nothingArrived()
	for name, h := range n.homes {
		var s node.Status
		h.do("status", struct{}{}, &s)
		if len(s.Peers) != 1 {
			t.Errorf("%s has %d connections, want the steward's alone", name, len(s.Peers))
		}
	}
}

// A home's place is in nothing it keeps for the network: not in what an answer carries either.
func TestPromise04NoPlaceOnTheWire(t *testing.T) {
	n := newNeighbourhood(t)
	at := geo.Point{Lat: 44.00031234, Lon: -40.00005678}
	ana := n.home("ana", at, 0)
	id := n.policeAsk(n.draft())
	ana.shown(id)
	ana.agrees(id)
	n.vault(1, "open")
	for _, dir := range []string{n.police.dir, n.steward.dir} {
		ok(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			b, err := os.ReadFile(path)
			if bytes.Contains(b, []byte("44.00031234")) || bytes.Contains(b, []byte("40.00005678")) {
				t.Errorf("%s holds the camera's place", path)
			}
			return err
		}))
	}
}

// A home's node advertises no address, and no other home learns of it.
func TestPromise05NoRegister(t *testing.T) {
	n := newNeighbourhood(t)
	ana, ben := n.home("ana", near, 0), n.home("ben", near, 0)
	var a, b node.Status
	ana.do("status", struct{}{}, &a)
	ben.do("status", struct{}{}, &b)
	id := a.Addrs[0][strings.LastIndexByte(a.Addrs[0], '/')+1:]
	for _, p := range b.Peers {
		if p.ID == id {
			t.Error("ben is connected to ana, whom nobody told him of")
		}
	}
	ben.stop()
	known, err := os.ReadFile(filepath.Join(ben.dir, "peers.json"))
	ok(t, err)
	if bytes.Contains(known, []byte(id)) {
		t.Error("ben's cached peers name ana")
	}
}

// A request exists only as an entry of the docket, which everybody keeps.
func TestPromise07NothingInSecret(t *testing.T) {
	n := newNeighbourhood(t)
	ana := n.home("ana", near, 0)
	id := n.policeAsk(n.draft())
	var mine []agency.DocketEntry
	n.police.do("agency.docket", struct{}{}, &mine)
	for _, peer := range []*running{ana, n.steward} {
		peer.knows(id)
		peer.wait("the docket", func() bool {
			var all []node.AgencyStatus
			peer.do("agencies", struct{}{}, &all)
			return all[0].Entries == int64(len(mine)) && all[0].Requests == 1
		})
	}
	// Who joins later has it too, and sees that it was resolved.
	n.resolve(id)
	late := n.start("reporter", node.Observe)
	late.wait("the request's end", func() bool {
		var all []node.RequestStatus
		late.do("requests", struct{}{}, &all)
		return len(all) == 1 && all[0].Ended == "resolved" && !all[0].Live
	})
}

// The vault holds ciphertext, and each key opens one release.
func TestPromise08Sealed(t *testing.T) {
	n := newNeighbourhood(t)
	ana := n.home("ana", near, 0)
	id := n.policeAsk(n.draft())
	ana.shown(id)
	ana.agrees(id)
	ana.agrees(id) // the same clip once more: another release, another key
	held := n.vault(2, "open")
	if held[0].Release == held[1].Release {
		t.Error("two releases of one clip have one address")
	}
	files, err := filepath.Glob(filepath.Join(n.police.dir, "vault", "*", "*"))
	ok(t, err)
	for _, f := range files {
		b, err := os.ReadFile(f)
		ok(t, err)
		if bytes.Contains(b, []byte("AGE-SECRET-KEY")) || bytes.Contains(b, []byte("moov")) {
			t.Errorf("%s: the vault holds a key or a clip", f)
		}
	}
	keys, err := filepath.Glob(filepath.Join(n.police.dir, "keys", "release", "*.key"))
	ok(t, err)
	if len(keys) != 2 {
		t.Fatalf("%d release keys, want 2", len(keys))
	}
	a, _ := os.ReadFile(keys[0])
	b, _ := os.ReadFile(keys[1])
	if bytes.Equal(a, b) {
		t.Error("two releases have one key")
	}
	// Keys put in each other's place open nothing.
	ok(t, os.WriteFile(keys[0], b, 0o600))
	ok(t, os.WriteFile(keys[1], a, 0o600))
	for _, h := range held {
		n.police.fails("agency.export", n.export(h.Release, filepath.Join(t.TempDir(), "x.mp4"), "test"), "wrong release key")
	}
}

// At the deadline the agency's node destroys the key, also when it was off at that time.
func TestPromise09TermsBite(t *testing.T) {
	n := newNeighbourhood(t)
	ana := n.home("ana", near, 0)
	id := n.policeAsk(n.draft())
	ana.shown(id)
	ana.do("home.approve", home.Approve{Request: id, Cameras: []string{"door"}, FacesVisible: true, AddressShown: true, RetentionDays: 7}, nil)
	h := n.vault(1, "open")[0]
	if left := time.Until(h.KeyUntil); left > 7*24*time.Hour || left < 6*24*time.Hour {
		t.Errorf("the key lives for %s, the owner said 7 days", left)
	}
	stranger := n.act(grant.ActView, h.Release, "a reason")
	n.police.fails("agency.export", stranger, "not to export it")
	note, err := consent.Sign(grant.Act{Agency: n.chain.Current().Agencies[0].ID(), Grant: h.Grant, CID: consent.ReleaseID(h.Release), Act: grant.ActView,
		Reason: "a reason", At: consent.At(time.Now()), Officer: n.signer.Verifier()}, n.signer)
	ok(t, err)
	n.police.fails("agency.view", agency.Act{Note: string(note)}, "no entry enrols Ana")
	n.police.stop()
	n.now.add(8 * 24 * time.Hour)
	// A week at once may be a wrong clock, of which nobody can be asked here.
	n.police = n.run(n.police.dir, node.Agency)
	n.police.fails("agency.export", n.export(h.Release, filepath.Join(t.TempDir(), "x.mp4"), "late"), "past its deadline")
	var s node.Status
	n.police.do("status", struct{}{}, &s)
	if s.Clock == "" || s.ClockHint == "" {
		t.Error("nobody is told that the clock is not trusted")
	}
	n.vault(1, "open")
	n.police.stop()
	n.believed(n.police.dir)
	n.police = n.run(n.police.dir, node.Agency)
	n.vault(1, "deleted")
	n.police.fails("agency.export", n.export(h.Release, filepath.Join(t.TempDir(), "x.mp4"), "late"), "deleted")
	for _, pattern := range []string{"keys/release/*-*", "vault/*/*.sealed"} {
		if left, _ := filepath.Glob(filepath.Join(n.police.dir, pattern)); len(left) != 0 {
			t.Errorf("still there: %v", left)
		}
	}
}

// No sound leaves, whatever the recording has, and the originals are committed to.
func TestPromise10PassersBy(t *testing.T) {
	n := newNeighbourhood(t)
	ana := n.home("ana", near, 600) // nothing of that time, but for one recording with sound
	sound, err := os.ReadFile("../footage/clip/testdata/sound.mp4")
	ok(t, err)
	ok(t, os.WriteFile(filepath.Join(n.dir, "recordings-ana", "door", "20261122_190310.mp4"), sound, 0o600))
	hears := func(b []byte) bool {
		movie, err := clip.Probe(bytes.NewReader(b), int64(len(b)))
		ok(t, err)
		return movie.HasAudio
	}
	if !hears(sound) {
		t.Fatal("the recording has no sound to remove")
	}
	id := n.policeAsk(n.draft())
	ana.shown(id)
	ana.agrees(id)
	held := n.vault(1, "open")
	out := filepath.Join(t.TempDir(), "clip.mp4")
	n.police.do("agency.export", n.export(held[0].Release, out, "test"), nil)
	opened, err := os.ReadFile(out)
	ok(t, err)
	if hears(opened) {
		t.Error("sound left the home")
	}
	notes, err := filepath.Glob(filepath.Join(n.police.dir, "vault", "*", "*.manifest"))
	ok(t, err)
	b, err := os.ReadFile(notes[0])
	ok(t, err)
	if !bytes.Contains(b, []byte(`"originals":["`)) {
		t.Errorf("the manifest commits to no original:\n%s", b)
	}
	grants, _ := filepath.Glob(filepath.Join(n.police.dir, "vault", "*", "grant.note"))
	b, err = os.ReadFile(grants[0])
	ok(t, err)
	if !bytes.Contains(b, []byte(`"redaction":"audio only"`)) {
		t.Errorf("the grant does not say what was removed:\n%s", b)
	}
}

// Two machines on one cable: a steward and a home that know nothing else in the world.
func TestPromise12NoServer(t *testing.T) {
	n := newNeighbourhood(t)
	ana := n.home("ana", near, 0)
	for _, r := range []*running{ana, n.steward, n.police} {
		var s node.Status
		r.do("status", struct{}{}, &s)
		for _, p := range s.Peers {
			host, _, _ := strings.Cut(strings.TrimPrefix(p.Addr, "/ip4/"), "/")
			if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
				t.Errorf("%s is connected to %s", filepath.Base(r.dir), p.Addr)
			}
		}
	}
	// No default setting names a host, either.
	for _, role := range []node.Role{node.Home, node.Agency, node.Steward, node.Observe} {
		text := node.DefaultConfig(role)
		for _, line := range strings.Split(text, "\n") {
			if line == `http = ""` { // an observer serves on no address
				continue
			}
			if !strings.HasPrefix(line, "#") && (strings.Contains(line, "/dns") || strings.Contains(line, "http")) {
				t.Errorf("the default settings of a %s name a host: %s", role, line)
			}
		}
	}
}

// Decisions, grants and the inbox survive a restart; the index of recordings is made anew.
func TestPromise13NothingIsLost(t *testing.T) {
	n := newNeighbourhood(t)
	ana, ben := n.home("ana", near, 0), n.home("ben", near, 0)
	id := n.policeAsk(n.draft())
	ana.shown(id)
	ben.shown(id)
	ben.do("home.decline", home.RequestArg{Request: id}, nil)
	n.police.stop() // nobody to deliver to
	ana.agrees(id)
	ana.wait("an attempt", func() bool {
		var c home.Card
		ana.do("home.show", home.RequestArg{Request: id}, &c)
		return c.Answers[0].Attempts > 0
	})
	ana.stop()
	ben.stop()
	ok(t, os.Remove(filepath.Join(ana.dir, "index.sqlite")))
	// The recorder rolls off; the hold keeps what the request asks for.
	ok(t, os.RemoveAll(filepath.Join(n.dir, "recordings-ben", "door", "2026-11-22")))
	ana, ben = n.run(ana.dir, node.Home), n.run(ben.dir, node.Home)
	if c := ben.shown(id); c.State != "declined" {
		t.Errorf("ben's refusal became %q", c.State)
	}
	var cams []home.CameraStatus
	ben.wait("what is held", func() bool {
		ben.do("home.cameras", struct{}{}, &cams)
		return cams[0].Recordings == 3
	})
	n.police = n.runAgain(n.police.dir)
	n.vault(1, "open")
}

// runAgain starts an agency at the port it had, since its requests name it.
func (n *neighbourhood) runAgain(dir string) *running {
	n.t.Helper()
	police, err := agency.Open(n.t.Context(), dir, node.Options{})
	ok(n.t, err)
	body := police.Peer().Requests()[0].Body
	ok(n.t, police.Close())
	n.listenAt(dir, body.Reply)
	return n.run(dir, node.Agency)
}

func (n *neighbourhood) resolve(id string) {
	n.t.Helper()
	note, err := consent.Sign(resolveBody(consent.RequestID(id), n.officer), n.officer)
	ok(n.t, err)
	first := n.publish(note)
	// Given once more, as after an answer that got lost, it is spread again and stands there once.
	if again := n.publish(note); again.Index != first.Index || again.Size != first.Size {
		n.t.Errorf("published again: %+v, before %+v", again, first)
	}
}

// Where witnesses say that the time has come, the key is destroyed as soon as they are asked.
func TestPromise09WitnessesSayTheTime(t *testing.T) {
	n := newNeighbourhood(t, "library")
	ana := n.home("ana", near, 0)
	id := n.policeAsk(n.draft())
	ana.shown(id)
	ana.do("home.approve", home.Approve{Request: id, Cameras: []string{"door"}, FacesVisible: true, AddressShown: true, RetentionDays: 7}, nil)
	n.vault(1, "open")
	n.police.stop()
	n.now.add(8 * 24 * time.Hour)
	n.police = n.run(n.police.dir, node.Agency)
	n.vault(1, "deleted")
	var s node.Status
	n.police.do("status", struct{}{}, &s)
	if s.Clock != "" {
		t.Errorf("the clock is confirmed, and the agency is told: %s", s.Clock)
	}
}
