package node_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/porchlight-mesh/porchlight/consent/geo"
	"github.com/porchlight-mesh/porchlight/node"
	"github.com/porchlight-mesh/porchlight/node/agency"
	"github.com/porchlight-mesh/porchlight/node/home"
)

var (
	near    = geo.Point{Lat: 44.0003, Lon: -40}
	farAway = geo.Point{Lat: 44.03, Lon: -40}
)

// Police ask; Ana agrees, Ben declines, Chloe ignores it, Dev has nothing of that time, Edith
// lives elsewhere. The clip arrives and is the one Ana saw; from the others nothing comes.
func TestMainJob(t *testing.T) {
	n := newNeighbourhood(t)
	ana, ben, chloe := n.home("ana", near, 0), n.home("ben", near, 0), n.home("chloe", near, 0)
	dev, edith := n.home("dev", near, 600), n.home("edith", farAway, 0)

	id := n.policeAsk(n.draft())
	card := ana.shown(id)
	if card.Agency != "Elmford Police" || card.Offence == "" || len(card.Cameras) != 1 || !card.Held {
		t.Errorf("Ana's card: %+v", card)
	}
	ben.shown(id)
	chloe.shown(id)
	for _, h := range []*running{dev, edith} {
		h.knows(id)
		h.fails("home.show", home.RequestArg{Request: id}, "not in this inbox")
	}

	out := filepath.Join(t.TempDir(), "preview.mp4")
	ana.do("home.preview", home.Preview{Request: id, Camera: "door", From: recAt.Add(5 * time.Second), Until: recAt.Add(45 * time.Second), Out: out}, nil)
	ana.agrees(id)
	ben.do("home.decline", home.RequestArg{Request: id}, nil)

	held := n.vault(1, "open")
	opened := filepath.Join(t.TempDir(), "clip.mp4")
	n.police.do("agency.export", n.export(held[0].Release, opened, "case EP-2026-1187"), nil)
	a, err := os.ReadFile(out)
	ok(t, err)
	b, err := os.ReadFile(opened)
	ok(t, err)
	if !bytes.Equal(a, b) {
		t.Error("the opened clip is not the one that Ana saw")
	}
	var got []agency.Received
	n.police.do("agency.received", struct{}{}, &got)
	if len(got) != 1 || got[0].What != "grant" {
		t.Errorf("addressed to the agency: %+v, want one grant", got)
	}
	var answers home.Card
	ana.wait("the answer to be done", func() bool {
		ana.do("home.show", home.RequestArg{Request: id}, &answers)
		return len(answers.Answers) == 1 && answers.Answers[0].State == "delivered"
	})
}

// The police's node was off for two days. Once it is back, and its clock is trusted, everybody has the docket's word on the days that it
// missed, and no owner is told anything by it.
func TestDailyEntriesReachEverybody(t *testing.T) {
	n := newNeighbourhood(t)
	ana, watch := n.home("ana", near, 0), n.start("watch", node.Observe)
	entries := func(r *running) (count int64) {
		var all []node.AgencyStatus
		r.do("agencies", struct{}{}, &all)
		return all[0].Entries
	}
	n.police.stop()
	n.now.add(48 * time.Hour)
	n.believed(n.police.dir)
	n.police = n.run(n.police.dir, node.Agency)
	for _, r := range []*running{n.police, ana, watch} {
		r.wait("the daily entries", func() bool { return entries(r) >= 2 })
	}
	var docket []agency.DocketEntry
	n.police.do("agency.docket", struct{}{}, &docket)
	if docket[1].Kind != "daily" {
		t.Errorf("entry 1 is a %s", docket[1].Kind)
	}
	var inbox []home.Card
	ana.do("home.inbox", struct{}{}, &inbox)
	if len(inbox) != 0 {
		t.Errorf("Ana is shown %d requests", len(inbox))
	}
}
