package node_test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
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
	"github.com/porchlight-mesh/porchlight/node/home"
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

// A home loses its disk. The backup, made while it ran, gives back its keys, its charter, its decisions
// and its ledger; what was under way waits for its owner, and nothing leaves by itself.
func TestPromise13BackupAndRestore(t *testing.T) {
	n := newNeighbourhood(t)
	ana := n.home("ana", near, 0)
	id, declined := n.policeAsk(n.draft()), n.policeAsk(n.secondCase())
	ana.shown(id)
	ana.shown(declined)
	ana.do("home.decline", home.RequestArg{Request: declined}, nil)
	ana = n.patient(ana)
	first := ana.agrees(id)
	ana.wait("the clip", func() bool { return ana.shown(id).Answers[0].State == "waiting" })

	// Backups made while answers come and go: each of them is a whole home.
	stop, busy := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(busy)
		for {
			select {
			case <-stop:
				return
			default:
			}
			ana.call.Call(t.Context(), "home.approve", home.Approve{Request: declined, Cameras: []string{"door"}, FacesVisible: true, AddressShown: true}, nil)
			ana.call.Call(t.Context(), "home.withdraw", home.RequestArg{Request: declined}, nil)
		}
	}()
	for i := range 5 {
		file, key := n.backUp(ana)
		dir := filepath.Join(n.dir, "copy", strconv.Itoa(i))
		ok(t, os.MkdirAll(filepath.Dir(dir), 0o700))
		_, err := backup.Restore(file, dir, backup.Options{Now: n.now.now}, key)
		ok(t, err)
		whole(t, dir)
	}
	close(stop)
	<-busy
	ana.wait("rest", func() bool {
		for _, a := range ana.shown(declined).Answers {
			if a.State != "withdrawn" {
				ana.call.Call(t.Context(), "home.withdraw", home.RequestArg{Request: declined}, nil)
				return false
			}
		}
		return true
	})

	file, key := n.backUp(ana)
	var before, after []home.LedgerEntry
	ana.do("home.ledger", struct{}{}, &before)
	ana.stop()
	keep := map[string][]byte{}
	for _, name := range []string{"keys/peer.key", "keys/author.key", "charter/000001.note", "cameras.json"} {
		keep[name] = read(t, ana.dir, name)
	}
	res := n.restore(ana, file, key)
	if len(res.Stopped) != 1 || res.Stopped[0] != first.ID {
		t.Fatalf("stopped: %v, want the answer %s", res.Stopped, first.ID)
	}
	for name, was := range keep {
		if !bytes.Equal(read(t, ana.dir, name), was) {
			t.Errorf("%s came back as another", name)
		}
	}
	config := filepath.Join(ana.dir, "config.toml")
	ok(t, os.WriteFile(config, bytes.Replace(read(t, ana.dir, "config.toml"), []byte(`answer_delay = "1000h"`), []byte(`answer_delay = "0s"`), 1), 0o600))
	ana = n.run(ana.dir, node.Home)
	c := ana.shown(id)
	if a := c.Answers[0]; c.State != "new" || a.State != "stopped" || a.Reason != home.Restored || !strings.Contains(a.Problem, "restored from the backup of ") {
		t.Errorf("the answer under way came back %q, %+v", c.State, a)
	}
	if c := ana.shown(declined); c.State != "declined" {
		t.Errorf("the refusal became %q", c.State)
	}
	ana.do("home.ledger", struct{}{}, &after)
	if len(after) != len(before)+1 || after[len(before)].Step != "node: restored" {
		t.Errorf("the ledger had %d entries and has %d", len(before), len(after))
	}
	_, err := node.VerifyCustody(filepath.Join(ana.dir, "ledger"))
	ok(t, err)
	ana.fails("home.withdraw", home.RequestArg{Request: id}, "nothing to take back")
	ana.wait("what is recorded", func() bool { return len(ana.shown(id).Cameras) > 0 && ana.shown(id).Held })
	ana.agrees(id)
	n.vault(1, "open")
	var held []agency.Held
	n.police.do("agency.vault", struct{}{}, &held)
	if len(held) != 1 {
		t.Errorf("%d releases arrived, want the one that was approved again", len(held))
	}
}

// whole opens a home and looks whether what its records name is there.
func whole(t *testing.T, dir string) {
	t.Helper()
	h, err := home.Open(t.Context(), dir, node.Options{})
	ok(t, err)
	defer h.Close()
	records, err := fs.Glob(os.DirFS(dir), "answers/*/answer.json")
	ok(t, err)
	if len(records) == 0 {
		t.Error("a backup without answers")
	}
	for _, r := range records {
		var a home.Answer
		ok(t, node.ReadJSON(filepath.Join(dir, r), &a))
		if a.State != "stopped" && a.State != "withdrawn" {
			t.Errorf("answer %s is %s", a.ID, a.State)
		}
		if a.Grant == "" {
			continue
		}
		for _, name := range []string{"grant.note", "grant.key", "reach.key", "secrets.json", "0.manifest"} {
			read(t, dir, filepath.Join("answers", a.ID, name))
		}
		for _, name := range []string{"0.key", "0.sealed"} {
			if _, err := os.Stat(filepath.Join(dir, "answers", a.ID, name)); err == nil {
				t.Errorf("answer %s has its %s", a.ID, name)
			}
		}
	}
}

func read(t *testing.T, dir, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	ok(t, err)
	return b
}
