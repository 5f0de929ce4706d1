package node_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
	"github.com/porchlight-mesh/porchlight/consent/request"
	"github.com/porchlight-mesh/porchlight/node"
	"github.com/porchlight-mesh/porchlight/node/agency"
)

// back starts a witness again, where agencies know it to be.
func (n *neighbourhood) back(name string, addrs []string) {
	n.t.Helper()
	dir := n.watchers[name].dir
	n.listenAt(dir, addrs)
	n.watchers[name] = n.run(dir, node.Observe)
}

// unseen watches a home for a few rounds of catching up, in which it must not hear of anything but these requests.
func (r *running) unseen(want ...string) {
	r.t.Helper()
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		var all []node.RequestStatus
		r.do("requests", struct{}{}, &all)
		if len(all) != len(want) {
			r.t.Fatalf("the home is shown %d requests, want %d", len(all), len(want))
		}
	}
}

// The charter asks for two witnesses. With both there a request reaches the home; with one away it waits, and the agency is told so; it
// arrives once that one is back.
func TestPromise07WitnessesSeeItFirst(t *testing.T) {
	n := newNeighbourhood(t, "library")
	ana := n.home("ana", near, 0)
	p := n.publish(n.signed(n.draft()))
	if p.Cosigned != 2 || p.Quorum != 2 || p.Waits {
		t.Fatalf("published with both witnesses there: %+v", p)
	}
	first := string(p.Request)
	if c := ana.shown(first); !c.Witnessed {
		t.Error("the card does not say that the request was witnessed")
	}
	checkpoints, err := filepath.Glob(filepath.Join(ana.dir, "dockets", "*", "checkpoint"))
	ok(t, err)
	note, err := os.ReadFile(checkpoints[0])
	ok(t, err)
	if lines := bytes.Count(note, []byte("\n— ")); lines != 3 {
		t.Errorf("the home's checkpoint has %d signatures, want the agency's and two witnesses':\n%s", lines, note)
	}

	addrs := n.watchers["library"].addrs()
	n.watchers["library"].stop()
	second := n.signed(n.secondCase())
	if p = n.publish(second); p.Cosigned != 1 || p.Quorum != 2 || !p.Waits {
		t.Fatalf("published with one witness away: %+v", p)
	}
	var entries []agency.DocketEntry
	n.police.do("agency.docket", struct{}{}, &entries)
	if last := len(entries) - 1; !entries[last].Waits || entries[last-1].Waits {
		t.Errorf("the docket says of its last entries that they wait: %v, %v", entries[last-1].Waits, entries[last].Waits)
	}
	ana.unseen(first)
	n.steward.fails("request", node.RequestArg{Request: string(p.Request)}, "no request")

	began := time.Now()
	n.back("library", addrs)
	ana.shown(string(p.Request))
	if took := time.Since(began); took > time.Minute {
		t.Errorf("it arrived %v after the witness was back", took)
	}
	if p = n.publish(second); p.Waits || p.Cosigned != 2 {
		t.Errorf("published once more: %+v", p)
	}
}

// amend lets the signer change how many witnesses the charter wants, and waits until everybody has it.
func (n *neighbourhood) amend(quorum int, all ...*running) {
	n.t.Helper()
	n.change(func(c *charter.Charter) { c.Quorum = quorum }, all...)
}

// change lets the signer change the charter, likewise.
func (n *neighbourhood) change(what func(*charter.Charter), all ...*running) {
	n.t.Helper()
	c := *n.chain.Current()
	c.Agencies = slices.Clone(c.Agencies)
	c.Version, c.Previous, c.Created = c.Version+1, n.chain.CurrentHash(), consent.At(n.now.now())
	what(&c)
	note, err := consent.Sign(c, n.signer)
	ok(n.t, err)
	n.chain, err = n.chain.Extend(note)
	ok(n.t, err)
	n.steward.do("charter.publish", node.CharterNote{Notes: []string{string(note)}}, nil)
	for _, r := range all {
		r.wait("the charter", func() bool {
			var s node.Status
			r.do("status", struct{}{}, &s)
			return s.Version == c.Version
		})
	}
}

// The charter changes its mind on how many witnesses it wants while one is away. What waited for two is shown when one is enough, is
// shown no longer when two are asked for again, and comes back with the second.
func TestAnotherQuorumIsGathered(t *testing.T) {
	n := newNeighbourhood(t, "library")
	ana := n.home("ana", near, 0)
	addrs := n.watchers["library"].addrs()
	n.watchers["library"].stop()
	p := n.publish(n.signed(n.draft()))
	if !p.Waits {
		t.Fatalf("published with one witness away: %+v", p)
	}
	n.amend(1, ana, n.police)
	ana.shown(string(p.Request))
	n.amend(2, ana, n.police)
	ana.unseen()
	n.back("library", addrs)
	ana.shown(string(p.Request))
}

// A signer of the charter and a witness object to a request; each is heard once, everybody is shown both, and a stranger's word
// goes nowhere. A home publishes none itself, and here there is no path.
func TestObjections(t *testing.T) {
	n := newNeighbourhood(t)
	ana, watch := n.home("ana", near, 0), n.start("watch", node.Observe)
	id := n.policeAsk(n.draft())
	ana.shown(id)
	watch.knows(id)
	var r node.RequestStatus
	watch.do("request", node.RequestArg{Request: id}, &r)
	object := func(by consent.Key, reason string) node.ObjectionNote {
		note, err := consent.Sign(request.Objection{Agency: r.AgencyID, Request: r.ID, Reason: reason, Created: consent.At(time.Now()), By: by.Verifier()}, by)
		ok(t, err)
		return node.ObjectionNote{Note: string(note)}
	}
	mine := object(n.signer, "It asks about a lawful gathering.")
	ana.fails("object", mine, "names 1 steward")
	watch.fails("object", object(n.officer, "I know better than they do."), "neither a signer nor a witness")
	var done node.Objected
	watch.do("object", mine, &done)
	if done.By != "Ana" || !done.Running || done.Peers == 0 {
		t.Errorf("published: %+v", done)
	}
	watch.do("object", mine, &done) // as after an answer that got lost
	watch.fails("object", object(n.signer, "It asks about another one."), "has objected to request")
	objected := func(r *running) func() bool {
		return func() bool {
			var s node.RequestStatus
			r.do("request", node.RequestArg{Request: id}, &s)
			return len(s.Objections) == 1 && s.Objections[0].By == "Ana" && s.Objections[0].Reason == "It asks about a lawful gathering."
		}
	}
	for _, r := range []*running{ana, n.steward, n.police} {
		r.wait("the objection", objected(r))
	}
	if c := ana.shown(id); len(c.Objections) != 1 || c.Witnessed {
		t.Errorf("the card has %d objections, witnessed: %v", len(c.Objections), c.Witnessed)
	}
	late := n.start("late", node.Observe)
	late.knows(id)
	late.wait("the objection", objected(late))
}
