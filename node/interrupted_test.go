package node_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/porchlight-mesh/porchlight/footage/clip/cliptest"
	"github.com/porchlight-mesh/porchlight/node"
	"github.com/porchlight-mesh/porchlight/node/agency"
	"github.com/porchlight-mesh/porchlight/node/home"
	"github.com/porchlight-mesh/porchlight/p2p/relaytest"
)

// edit replaces words in the settings of a node that is stopped.
func (r *running) edit(words ...string) {
	r.t.Helper()
	name := filepath.Join(r.dir, "config.toml")
	b, err := os.ReadFile(name)
	ok(r.t, err)
	ok(r.t, os.WriteFile(name, []byte(strings.NewReplacer(words...).Replace(string(b))), 0o600))
}

// lines lays relays before the agency; its requests name them and nothing else.
func (n *neighbourhood) lines(count int) (lines []*relaytest.Relay) {
	n.t.Helper()
	var reply []string
	for range count {
		r := relaytest.New(n.t, "")
		lines = append(lines, r)
		reply = append(reply, fmt.Sprintf("%q", "/ip4/127.0.0.1/tcp/"+r.Port()))
	}
	n.police.stop()
	n.police.edit("[home]", "[agency]\nreply = ["+strings.Join(reply, ", ")+"]\n[home]")
	n.policeBack(lines...)
	return lines
}

// policeBack starts the agency again, which listens at another port then.
func (n *neighbourhood) policeBack(lines ...*relaytest.Relay) {
	n.t.Helper()
	n.police = n.run(n.police.dir, node.Agency)
	var s node.Status
	n.police.wait("a peer", func() bool {
		n.police.do("status", struct{}{}, &s)
		return len(s.Peers) > 0
	})
	i := slices.IndexFunc(s.Addrs, func(a string) bool { return strings.Contains(a, "/ip4/127.0.0.1/tcp/") })
	for _, r := range lines {
		r.Target("127.0.0.1:" + strings.Split(s.Addrs[i], "/")[4])
	}
}

// hour is a home with an hour of footage in one file of 8 MB, and a request for all of it.
func (n *neighbourhood) hour() (*running, string) {
	n.t.Helper()
	ana := n.home("ana", near, 600)
	cliptest.Recording(n.t, filepath.Join(n.dir, "recordings-ana", "door"), recAt.Format("2006-01-02/15.04.05")+".mp4", 3600)
	d := n.draft()
	d.From, d.Until = recAt, recAt.Add(time.Hour)
	id := n.policeAsk(d)
	ana.shown(id)
	return ana, id
}

func approved(id string) home.Approve {
	return home.Approve{Request: id, Cameras: []string{"door"}, FacesVisible: true, AddressShown: true}
}

// answer waits until the home's newest answer is like that.
func (r *running) answer(id, what string, like func(home.AnswerStatus) bool) (a home.AnswerStatus) {
	r.t.Helper()
	r.wait(what, func() bool {
		var c home.Card
		r.do("home.show", home.RequestArg{Request: id}, &c)
		if len(c.Answers) == 0 {
			return false
		}
		a = slices.MaxFunc(c.Answers, func(a, b home.AnswerStatus) int { return a.Created.Compare(b.Created) })
		return like(a)
	})
	return a
}

func is(state string) func(home.AnswerStatus) bool {
	return func(a home.AnswerStatus) bool { return a.State == state }
}

func because(r home.Reason) func(home.AnswerStatus) bool {
	return func(a home.AnswerStatus) bool { return a.Reason == r && a.State != "sending" }
}

// noted says how often the ledger has a step with that detail.
func (r *running) noted(step, detail string) (count int) {
	r.t.Helper()
	var entries []home.LedgerEntry
	r.do("home.ledger", struct{}{}, &entries)
	for _, e := range entries {
		if e.Step == step && strings.Contains(e.Detail, detail) {
			count++
		}
	}
	return count
}

const (
	leaf    = 1 << 20
	framing = 128 << 10
)

// Everybody's power fails amid a delivery and comes back days later, before the request expires: it goes on by
// itself behind what the requester had verified.
func TestRestartDaysLater(t *testing.T) {
	n := newNeighbourhood(t)
	line := n.lines(1)[0]
	ana, id := n.hour()
	line.StopAt(4 << 20)
	ana.do("home.approve", approved(id), nil)
	ana.wait("half of the clip", func() bool { return line.Sent() == 4<<20 })
	held := n.vault(1, "arriving")
	n.police.wait("what came", func() bool { held = n.vault(1, "arriving"); return held[0].Arrived >= 2*leaf })
	ana.stop()
	n.police.stop()
	line.Cut()
	n.now.add(9 * 24 * time.Hour)
	line.StopAt(-1)
	n.policeBack(line)
	before := line.Sent()
	kept := n.vault(1, "arriving")[0].Arrived
	if kept < held[0].Arrived {
		t.Errorf("of %d bytes that had arrived %d were kept", held[0].Arrived, kept)
	}
	ana = n.run(ana.dir, node.Home)
	a := ana.answer(id, "the end", is("delivered"))
	if again := line.Sent() - before - (a.Releases[0].SealedBytes - kept); again > framing {
		t.Errorf("%d bytes were sent for the %d that were missing", line.Sent()-before, a.Releases[0].SealedBytes-kept)
	}
	n.vault(1, "open")
}

// The home comes back when the request is over: nothing more is sent, both sides say so, and the requester keeps
// nothing of it.
func TestRestartAfterTheRequest(t *testing.T) {
	n := newNeighbourhood(t)
	line := n.lines(1)[0]
	ana, id := n.hour()
	line.StopAt(4 << 20)
	ana.do("home.approve", approved(id), nil)
	n.police.wait("what came", func() bool { return n.vault(1, "arriving")[0].Arrived >= 2*leaf })
	ana.stop()
	n.police.stop()
	line.Cut()
	n.now.add(15 * 24 * time.Hour)
	n.believed(n.police.dir)
	line.StopAt(-1)
	n.policeBack(line)
	n.vault(0, "arriving")
	if left, _ := filepath.Glob(filepath.Join(n.police.dir, "vault", "*", "*")); len(left) > 0 {
		t.Errorf("left in the vault: %v", left)
	}
	before := line.Sent()
	ana = n.run(ana.dir, node.Home)
	if a := ana.answer(id, "the end", is("expired")); a.Reason != home.RequestOver {
		t.Errorf("the answer is %+v", a)
	}
	if ana.noted("node: stopped", "request-over") != 1 {
		t.Error("the ledger does not say that it ended")
	}
	if line.Sent() != before {
		t.Errorf("%d bytes went to the requester", line.Sent()-before)
	}
}

// The first of two reply addresses dies amid the transfer, and the second one serves. When that dies too, the home
// says that nobody can be reached, and goes on when somebody can.
func TestReplyAddressesDie(t *testing.T) {
	n := newNeighbourhood(t)
	lines := n.lines(2)
	ana, id := n.hour()
	lines[0].StopAt(3 << 20)
	lines[1].StopAt(2 << 20)
	lines[1].Shut()
	ana.do("home.approve", approved(id), nil)
	ana.wait("a part over the first address", func() bool { return lines[0].Sent() == 3<<20 })
	lines[1].Open()
	lines[0].Shut()
	lines[0].Cut()
	ana.wait("a part over the second address", func() bool { return lines[1].Sent() == 2<<20 })
	lines[1].Shut()
	lines[1].Cut()
	a := ana.answer(id, "nobody to reach", because(home.Unreachable))
	if a.State != "waiting" || !a.NotBefore.After(a.Since) || a.Attempts < 1 {
		t.Errorf("the answer is %+v", a)
	}
	if ana.noted("node: paused", "requester-unreachable") != 1 {
		t.Error("the ledger does not say that nobody can be reached")
	}
	lines[1].StopAt(-1)
	lines[1].Open()
	a = ana.answer(id, "the end", is("delivered"))
	if a.Reason != "" || a.Attempts != 0 || a.Problem != "" {
		t.Errorf("delivered with %+v", a)
	}
	if sent, most := lines[0].Sent()+lines[1].Sent(), a.Releases[0].SealedBytes+2*(2<<20)+framing; sent > most {
		t.Errorf("%d bytes were sent for %d over two cuts", sent, a.Releases[0].SealedBytes)
	}
	if ana.noted("node: goes on", "after requester-unreachable") != 1 {
		t.Error("the ledger does not say that it went on")
	}
}

// The agency takes smaller clips only, then has no room in its vault, then has: each is named on both sides, and
// nothing has to be approved again.
func TestRequesterQuotas(t *testing.T) {
	n := newNeighbourhood(t)
	line := n.lines(1)[0]
	ana, id := n.hour()
	for _, c := range []struct {
		was, is, name string
		reason        home.Reason
	}{
		{"[agency]", "[agency]\nmax_release_mb = 4", "release-too-large", home.RequesterLimit},
		{"max_release_mb = 4", "vault_mb = 5", "vault-full", home.RequesterFull},
	} {
		n.police.stop()
		n.police.edit(c.was, c.is)
		n.policeBack(line)
		if c.reason == home.RequesterLimit {
			ana.do("home.approve", approved(id), nil)
		}
		ana.answer(id, string(c.reason), because(c.reason))
		if ana.noted("node: paused", string(c.reason)) != 1 {
			t.Errorf("the ledger does not say %s", c.reason)
		}
		var got []agency.Received
		n.police.do("agency.received", struct{}{}, &got)
		if last := got[len(got)-1]; last.What != "refused" || last.Name != c.name {
			t.Errorf("the agency's list ends with %+v, want %s", last, c.name)
		}
	}
	n.police.stop()
	n.police.edit("vault_mb = 5", "vault_mb = 500")
	n.policeBack(line)
	ana.answer(id, "the end", is("delivered"))
}

// The line goes silent amid the transfer and nobody says so. The home notices by itself, tries again, and is let in
// although its requester still holds the connection that is dead.
func TestALineGoesSilent(t *testing.T) {
	if testing.Short() {
		t.Skip("waits 20 seconds for a connection that is silent")
	}
	n := newNeighbourhood(t)
	lines := n.lines(2)
	ana, id := n.hour()
	lines[1].Shut()
	lines[0].StopAt(3 << 20)
	ana.do("home.approve", approved(id), nil)
	ana.wait("a part of the clip", func() bool { return lines[0].Sent() == 3<<20 })
	lines[0].Shut()
	lines[0].Silence(true)
	lines[1].Open()
	a := ana.answer(id, "the end", is("delivered"))
	if ana.noted("node: paused", "connection-lost") != 1 {
		t.Error("the ledger does not say that the connection was lost")
	}
	if sent, most := lines[0].Sent()+lines[1].Sent(), a.Releases[0].SealedBytes+2<<20+framing; sent > most {
		t.Errorf("%d bytes were sent for %d", sent, a.Releases[0].SealedBytes)
	}
}
