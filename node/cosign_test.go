package node

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
	"github.com/porchlight-mesh/porchlight/consent/docket"
	"github.com/porchlight-mesh/porchlight/footage/durable"
)

// witness is a steward's folder whose key the charter names.
func (p *police) witness() (dir string) {
	p.t.Helper()
	dir = filepath.Join(p.t.TempDir(), "steward")
	if err := Create(dir, Steward); err != nil {
		p.t.Fatal(err)
	}
	next := *p.chain.Current()
	next.Version, next.Previous, next.Quorum = 2, p.chain.CurrentHash(), 1
	next.Witnesses = []charter.Witness{{Name: "Elm Library", Key: must(MakeWitness(dir, "Elm.Library"))}}
	p.chain = must(p.chain.Extend(must(consent.Sign(next, p.ana))))
	if err := WriteCharter(durable.Disk{}, filepath.Join(dir, "charter"), p.chain); err != nil {
		p.t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "witness"), 0o700); err != nil {
		p.t.Fatal(err)
	}
	return dir
}

// answered puts a question to the witness of a folder, which was started anew, and returns how its answer begins.
func (p *police) answered(dir string, q docket.Add) string {
	p.t.Helper()
	w := must(OpenPeer(dir, Options{}))
	defer w.Close()
	answer, err := w.cosign("agency", q.Encode())
	if err != nil {
		p.t.Fatal(err)
	}
	if string(answer[:4]) == "200\n" {
		if c := must(docket.OpenCosigned(append(append([]byte{}, q.Checkpoint...), answer[4:]...), p.self, p.chain.Current().Witnesses)); len(c.By) != 1 {
			p.t.Errorf("%q is no cosignature of the witness", answer)
		}
	}
	status, _, _ := strings.Cut(string(answer), "\n")
	return status
}

// A witness that was started again knows what it cosigned: it never cosigns another docket of that size, nor one that does
// not grow out of it, whatever the agency says, and of two versions it keeps the proof.
func TestAWitnessDoesNotForget(t *testing.T) {
	p := newPolice(t)
	dir := p.witness()
	other := newCopy(p, t)
	p.append(must(consent.Sign(p.request(), p.officer, p.sergeant)))
	other.append(must(consent.Sign(other.request(), p.officer, p.sergeant)))
	old := p.log.Checkpoint()
	if got := p.answered(dir, docket.Add{Checkpoint: old}); got != "200" {
		t.Fatalf("the first question: %s", got)
	}
	if got := p.answered(dir, docket.Add{Old: 2, Checkpoint: old}); got != "200" {
		t.Errorf("the same once more: %s", got)
	}
	p.append(must(consent.Sign(p.request(), p.officer, p.sergeant)))
	if got := p.answered(dir, docket.Add{Old: 1, Checkpoint: p.log.Checkpoint()}); got != "409" {
		t.Errorf("from another size than it cosigned last: %s", got)
	}
	longer := newCopy(other, t)
	longer.append(other.notes[1])
	longer.append(must(consent.Sign(other.request(), p.officer, p.sergeant)))
	if got := p.answered(dir, docket.Add{Old: 2, Proof: must(longer.log.Prove(2, 3)), Checkpoint: longer.log.Checkpoint()}); got != "422" {
		t.Errorf("a longer docket with another past: %s", got)
	}
	if got := p.answered(dir, docket.Add{Old: 2, Checkpoint: other.log.Checkpoint()}); got != "422" {
		t.Errorf("another docket of that size: %s", got)
	}
	// The two checkpoints prove it, for good and to everybody.
	w := must(OpenPeer(dir, Options{}))
	defer w.Close()
	if !w.Docket(p.self.ID()).Forked() || len(w.papers(misconductLog)) != 1 {
		t.Fatal("the witness has no proof of the two versions")
	}
	h := p.home(time.Now)
	if err := h.AdmitPaper(w.papers(misconductLog)[0]); err != nil || !h.Docket(p.self.ID()).Forked() {
		t.Errorf("a home does not take the proof: %v", err)
	}
}

// What a witness cannot read it does not guess.
func TestAWitnessWithADamagedMemory(t *testing.T) {
	p := newPolice(t)
	dir := p.witness()
	if got := p.answered(dir, docket.Add{Checkpoint: p.log.Checkpoint()}); got != "200" {
		t.Fatalf("the first question: %s", got)
	}
	if err := os.WriteFile(filepath.Join(dir, "witness", string(p.self.ID())+".json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := p.answered(dir, docket.Add{Checkpoint: p.log.Checkpoint()}); got != "500" {
		t.Errorf("with a damaged memory: %s", got)
	}
}

// Only stewards and observers have a witness's key, it needs a name once, and it keeps it.
func TestMakeWitness(t *testing.T) {
	home, steward := filepath.Join(t.TempDir(), "home"), filepath.Join(t.TempDir(), "steward")
	for dir, role := range map[string]Role{home: Home, steward: Steward} {
		if err := Create(dir, role); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := MakeWitness(home, "Elm.Library"); err == nil {
		t.Error("a home has a witness's key")
	}
	if _, err := MakeWitness(steward, ""); HintOf(err) == "" {
		t.Errorf("without a name: %v", err)
	}
	k := must(MakeWitness(steward, "Elm.Library"))
	if again := must(MakeWitness(steward, "")); again != k {
		t.Errorf("shown again: %s, made as %s", again, k)
	}
	if _, err := MakeWitness(steward, "Oak.Library"); HintOf(err) == "" {
		t.Errorf("under another name: %v", err)
	}
}
