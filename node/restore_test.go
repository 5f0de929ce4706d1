package node_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/docket"
	"github.com/porchlight-mesh/porchlight/consent/request"
	"github.com/porchlight-mesh/porchlight/node"
	"github.com/porchlight-mesh/porchlight/node/agency"
	"github.com/porchlight-mesh/porchlight/node/backup"
)

// backUp makes a backup of a node, which may be running, for the key it returns.
func (n *neighbourhood) backUp(r *running) (file string, key age.Identity) {
	n.t.Helper()
	id, err := age.GenerateX25519Identity()
	ok(n.t, err)
	file = filepath.Join(n.dir, filepath.Base(r.dir)+".age")
	_, err = backup.Save(r.dir, file, true, n.now.now(), id.Recipient())
	ok(n.t, err)
	return file, id
}

// restore loses a stopped node's disk and makes the folder anew of a backup.
func (n *neighbourhood) restore(r *running, file string, key age.Identity) backup.Restored {
	n.t.Helper()
	ok(n.t, os.RemoveAll(r.dir))
	res, err := backup.Restore(file, r.dir, backup.Options{Now: n.now.now}, key)
	ok(n.t, err)
	return res
}

func (n *neighbourhood) docketState() (s agency.Resumed) {
	n.t.Helper()
	n.police.do("agency.docket.resume", agency.Resume{}, &s)
	return s
}

// stewardsOf names the stewards in a node's settings.
func (n *neighbourhood) stewardsOf(dir string, stewards ...string) {
	n.t.Helper()
	path := filepath.Join(dir, "config.toml")
	b, err := os.ReadFile(path)
	ok(n.t, err)
	lines := strings.Split(string(b), "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, "stewards = ") {
			lines[i] = "stewards = " + string(node.RawJSON(append([]string{}, stewards...)))
		}
	}
	ok(n.t, os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o600))
}

func (n *neighbourhood) secondCase() agency.Draft {
	d := n.draft()
	d.Case, d.Offence = "EP-2026-1188", "240"
	d.Text = "A bicycle was taken from the corner. We look for who saw it go."
	return d
}

func (n *neighbourhood) thirdCase() agency.Draft {
	d := n.secondCase()
	d.Case, d.Offence = "EP-2026-1189", "290"
	return d
}

// The agency backs up, asks again, and loses its disk. Restored, it is behind its own docket: it may
// not sign before its steward told the rest, and then goes on behind it. Nobody sees a fork.
func TestPromise07RestoredDocketAsksFirst(t *testing.T) {
	n := newNeighbourhood(t)
	watch := n.start("watch", node.Observe)
	first := n.policeAsk(n.draft())
	file, key := n.backUp(n.police) // while it runs
	second := n.policeAsk(n.secondCase())
	watch.knows(second)
	n.police.stop()
	n.steward.stop()
	res := n.restore(n.police, file, key)
	if res.Docket == "" || res.Role != node.Agency {
		t.Fatalf("restored: %+v", res)
	}
	n.police = n.run(n.police.dir, node.Agency)
	if s := n.docketState(); s.Entries != 2 || s.Signs || len(s.Stewards) == 0 || len(s.Answered) != 0 {
		t.Fatalf("before contact: %+v", s)
	}
	n.police.fails("agency.draft", n.thirdCase(), "the network has not been asked yet")
	note, err := consent.Sign(docket.Resolve{Request: consent.RequestID(first), Reason: "found", Created: consent.At(time.Now()), Officer: n.officer.Verifier()}, n.officer)
	ok(t, err)
	n.police.fails("agency.publish", agency.Entry{Note: string(note)}, "the network has not been asked yet")
	if err := n.police.call.Call(t.Context(), "agency.publish", agency.Entry{Note: string(note)}, nil); node.HintOf(err) == "" {
		t.Error("the refusal shows no way out")
	}

	n.steward = n.run(n.steward.dir, node.Steward) // at another port: the police's settings name its peer
	var s node.Status
	n.steward.do("status", struct{}{}, &s)
	n.police.stop()
	n.stewardsOf(n.police.dir, s.Addrs[0])
	n.police = n.run(n.police.dir, node.Agency)
	n.police.wait("the steward's answer", func() bool { return n.docketState().Signs })
	state := n.docketState()
	if state.Entries != 3 || state.Restored != nil || state.Forked {
		t.Errorf("after contact: %+v", state)
	}
	if len(state.Deaf) != 1 || string(state.Deaf[0]) != second {
		t.Errorf("requests whose reception key is gone: %v, want %s", state.Deaf, second)
	}
	watch.stop()
	n.stewardsOf(watch.dir, s.Addrs[0])
	watch = n.run(watch.dir, node.Observe)
	third := n.policeAsk(n.thirdCase())
	watch.knows(third)
	for _, r := range []*running{n.police, n.steward, watch} {
		var list []node.AgencyStatus
		r.wait("all entries", func() bool {
			r.do("agencies", struct{}{}, &list)
			return list[0].Entries == 4
		})
		if list[0].Forked {
			t.Errorf("%s sees a fork", filepath.Base(r.dir))
		}
	}
	var entries []agency.DocketEntry
	n.police.do("agency.docket", struct{}{}, &entries)
	for i, id := range []string{first, second, third} {
		if string(request.IDOf([]byte(entries[i+1].Note))) != id {
			t.Errorf("entry %d is another than request %s", i+1, id)
		}
	}
	if last, err := node.VerifyCustody(filepath.Join(n.police.dir, "custody")); err != nil || last.Seq == 0 {
		t.Errorf("custody log: %+v, %v", last, err)
	}
	n.police.stop()
	n.police = n.run(n.police.dir, node.Agency)
	if !n.docketState().Signs {
		t.Error("the docket is held back again after a restart")
	}
}
