package node_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
	"github.com/porchlight-mesh/porchlight/footage/durable"
	"github.com/porchlight-mesh/porchlight/node"
	"github.com/porchlight-mesh/porchlight/node/agency"
	"github.com/porchlight-mesh/porchlight/node/home"
)

// patient restarts a home so that its answers wait for days.
func (n *neighbourhood) patient(h *running) *running {
	n.t.Helper()
	h.stop()
	config := filepath.Join(h.dir, "config.toml")
	b, err := os.ReadFile(config)
	ok(n.t, err)
	ok(n.t, os.WriteFile(config, []byte(strings.Replace(string(b), `answer_delay = "0s"`, `answer_delay = "1000h"`, 1)), 0o600))
	return n.run(h.dir, node.Home)
}

// due restarts a home after its answers' time has come, as far as their records say.
func (n *neighbourhood) due(h *running) *running {
	n.t.Helper()
	h.stop()
	records, err := filepath.Glob(filepath.Join(h.dir, "answers", "*", "answer.json"))
	ok(n.t, err)
	for _, record := range records {
		var a map[string]any
		ok(n.t, node.ReadJSON(record, &a))
		a["not_before"] = time.Now().UTC()
		ok(n.t, node.WriteJSON(durable.Disk{}, record, a))
	}
	return n.run(h.dir, node.Home)
}

// answers waits until every answer of a home is in that state.
func (r *running) answers(id, state string) (c home.Card) {
	r.t.Helper()
	r.wait("answers that are "+state, func() bool {
		r.do("home.show", home.RequestArg{Request: id}, &c)
		for _, a := range c.Answers {
			if a.State != state {
				return false
			}
		}
		return len(c.Answers) > 0
	})
	return c
}

// opened is how many release keys the agency has.
func (n *neighbourhood) opened() (count int) {
	n.t.Helper()
	var held []agency.Held
	n.police.do("agency.vault", struct{}{}, &held)
	for _, h := range held {
		if h.State == "open" {
			count++
		}
	}
	return count
}

// Ana takes back at once what she approved, again and again: whatever her node was doing at that
// moment, what it says was taken back does not arrive.
func TestWithdrawnWhilePreparing(t *testing.T) {
	n := newNeighbourhood(t)
	ana := n.home("ana", near, 0)
	id := n.policeAsk(n.draft())
	ana.shown(id)
	gone := 0
	for i := range 12 {
		ana.agrees(id)
		time.Sleep(time.Duration(i) * 10 * time.Millisecond)
		var back []home.AnswerStatus
		if err := ana.call.Call(t.Context(), "home.withdraw", home.RequestArg{Request: id}, &back); err != nil {
			t.Fatal(err)
		}
		if len(back) != 1 || back[0].State != "withdrawn" && back[0].State != "delivered" {
			t.Fatalf("taken back: %+v", back)
		}
		for _, r := range back[0].Releases {
			if r.KeyGiven {
				gone++
			}
		}
	}
	var held []agency.Held
	n.police.do("agency.vault", struct{}{}, &held)
	came := len(slices.DeleteFunc(held, func(h agency.Held) bool { return h.State != "open" && h.State != "deleted" }))
	if came > gone {
		t.Errorf("%d clips came with their keys, Ana's node says that %d were gone before she took them back", came, gone)
	}
	// Of those the agency is told, and keeps none.
	n.police.wait("what was taken back to be deleted", func() bool { return n.opened() == 0 })
	var c home.Card
	ana.do("home.show", home.RequestArg{Request: id}, &c)
	for _, a := range c.Answers {
		if a.State != "withdrawn" && a.State != "delivered" {
			t.Errorf("answer %s is %s: %s", a.ID, a.State, a.Problem)
		}
	}
}

// What is taken back while it waits is not sent when its time comes.
func TestWithdrawnWhileWaiting(t *testing.T) {
	n := newNeighbourhood(t)
	ana := n.home("ana", near, 0)
	id := n.policeAsk(n.draft())
	ana.shown(id)
	ana = n.patient(ana)
	ana.agrees(id)
	ana.answers(id, "waiting")
	ana.do("home.withdraw", home.RequestArg{Request: id}, nil)
	ana.fails("home.withdraw", home.RequestArg{Request: id}, "nothing to take back")
	ana = n.due(ana)
	time.Sleep(time.Second)
	if c := ana.answers(id, "withdrawn"); c.State != "declined" {
		t.Errorf("the request is %s, want declined", c.State)
	}
	n.nothingArrived()
}

// The signers take the agency out of the charter: it gets nothing more, also not what was
// approved before.
func TestRemovedAgencyGetsNothing(t *testing.T) {
	n := newNeighbourhood(t)
	ana, ben := n.home("ana", near, 0), n.home("ben", near, 0)
	id := n.policeAsk(n.draft())
	ana.shown(id)
	ben.shown(id)
	ana = n.patient(ana)
	ana.agrees(id)
	ana.answers(id, "waiting")

	c := *n.chain.Current()
	c.Version, c.Previous, c.Created, c.Agencies = 2, n.chain.CurrentHash(), consent.At(time.Now()), nil
	for _, a := range n.chain.Current().Agencies {
		c.Removed = append(c.Removed, charter.Removal{Agency: a.ID(), Name: a.Name, Reason: "no outcome was ever told"})
	}
	note, err := consent.Sign(c, n.signer)
	ok(t, err)
	for _, h := range []*running{ana, ben} {
		// Over the topic it may have come already.
		_ = h.call.Call(t.Context(), "charter.publish", node.CharterNote{Notes: []string{string(note)}}, nil)
		h.wait("the new charter", func() bool {
			var s node.Status
			h.do("status", struct{}{}, &s)
			return s.Version == 2
		})
	}
	ask := home.Approve{Request: id, Cameras: []string{"door"}, FacesVisible: true, AddressShown: true}
	ben.fails("home.approve", ask, "may not ask any more")
	ben.fails("home.preview", home.Preview{Request: id, Camera: "door", Out: filepath.Join(t.TempDir(), "x.mp4")}, "may not ask any more")
	var cards []home.Card
	ben.do("home.inbox", home.List{}, &cards)
	if len(cards) != 0 {
		t.Errorf("Ben still sees %+v", cards)
	}

	ana = n.due(ana)
	records, err := filepath.Glob(filepath.Join(ana.dir, "answers", "*", "answer.json"))
	ok(t, err)
	var a home.Answer
	ana.wait("the refusal", func() bool {
		ok(t, node.ReadJSON(records[0], &a))
		return a.State == "failed"
	})
	if !strings.Contains(a.Problem, "does not admit the agency") {
		t.Errorf("the answer failed with %q", a.Problem)
	}
	ana.fails("home.withdraw", home.RequestArg{Request: id}, "nothing to take back")
	var got []agency.Received
	n.police.do("agency.received", struct{}{}, &got)
	if len(got) != 0 {
		t.Errorf("addressed to the agency: %+v, want nothing", got)
	}
}

// The power failed between the answer's record and the inbox's. The answer counts: it is shown,
// and nobody believes that a refusal stopped it.
func TestApprovedByTheAnswersRecord(t *testing.T) {
	n := newNeighbourhood(t)
	ana := n.home("ana", near, 0)
	id := n.policeAsk(n.draft())
	ana.shown(id)
	ana = n.patient(ana)
	ana.agrees(id)
	ana.answers(id, "waiting")
	ana.stop()
	inbox := filepath.Join(ana.dir, "inbox", id+".json")
	var item home.Item
	ok(t, node.ReadJSON(inbox, &item))
	item.State = "new"
	ok(t, node.WriteJSON(durable.Disk{}, inbox, item))
	ana = n.run(ana.dir, node.Home)
	if c := ana.shown(id); c.State != "approved" {
		t.Errorf("the request is %s, want approved", c.State)
	}
	ana.fails("home.decline", home.RequestArg{Request: id}, "already approved")
	ana.do("home.withdraw", home.RequestArg{Request: id}, nil)
	ana.do("home.decline", home.RequestArg{Request: id}, nil)
	ana = n.due(ana)
	time.Sleep(time.Second)
	ana.answers(id, "withdrawn")
	n.nothingArrived()
}

// A camera that its owner withdrew, or pointed elsewhere, since the request came is not the one
// that was asked about and decided on.
func TestCameraChanged(t *testing.T) {
	n := newNeighbourhood(t)
	ana, ben := n.home("ana", near, 0), n.home("ben", near, 0)
	id := n.policeAsk(n.draft())
	ana.shown(id)
	ben.shown(id)

	ben.do("home.cameras.withdraw", home.CameraName{Name: "door"}, nil)
	ask := home.Approve{Request: id, Cameras: []string{"door"}, FacesVisible: true, AddressShown: true}
	ben.fails("home.approve", ask, "camera door")
	ben.wait("a card without cameras", func() bool { return len(ben.shown(id).Cameras) == 0 })
	ben.fails("home.approve", ask, "camera door")

	ana = n.patient(ana)
	ana.agrees(id)
	ana.answers(id, "waiting")
	other := filepath.Join(n.dir, "bedroom")
	ok(t, os.Mkdir(other, 0o700))
	ana.do("home.cameras.add", home.CamerasAdd{Name: "door", Folder: other, Lat: near.Lat, Lon: near.Lon, Facing: 180, Angle: 120, Range: 50, Replace: true}, nil)
	ana.do("home.cameras.offer", home.CameraName{Name: "door"}, nil)
	ana = n.due(ana)
	if a := ana.answers(id, "failed").Answers[0]; !strings.Contains(a.Problem, "camera door") {
		t.Errorf("the answer failed with %q", a.Problem)
	}
	n.nothingArrived()
}
