package node

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/footage/durable"
	p2psync "github.com/porchlight-mesh/porchlight/p2p/sync"
)

// restored is the police's own node, restored from a backup of the first n entries.
type restored struct {
	*Peer
	p     *police
	d     *Docket
	shift time.Duration
}

func (p *police) restored(n int, stewards ...string) *restored {
	p.t.Helper()
	dir := filepath.Join(p.t.TempDir(), "police")
	if err := Create(dir, Agency); err != nil {
		p.t.Fatal(err)
	}
	var addrs []string
	for _, s := range stewards {
		addrs = append(addrs, "/ip4/127.0.0.1/tcp/4001/p2p/"+s, "/ip6/::1/tcp/4001/p2p/"+s)
	}
	config := strings.Replace(DefaultConfig(Agency), "stewards = []", "stewards = "+string(RawJSON(append([]string{}, addrs...))), 1)
	if err := os.WriteFile(filepath.Join(dir, "config.toml"), []byte(config), 0o600); err != nil {
		p.t.Fatal(err)
	}
	if err := WriteCharter(durable.Disk{}, filepath.Join(dir, "charter"), p.chain); err != nil {
		p.t.Fatal(err)
	}
	if n > 0 {
		// The backup is of a moment when the docket had n entries.
		q := newCopy(p, p.t)
		for _, note := range p.notes[1:n] {
			q.append(note)
		}
		before := must(OpenPeer(dir, Options{}))
		if err := before.Docket(p.self.ID()).Extend(0, q.notes, must(q.log.SignCheckpoint(q.docket))); err != nil {
			p.t.Fatal(err)
		}
		if err := before.Close(); err != nil {
			p.t.Fatal(err)
		}
	}
	if err := MarkRestored(durable.Disk{}, dir, p.self.ID(), time.Now(), time.Now()); err != nil {
		p.t.Fatal(err)
	}
	r := &restored{p: p}
	r.Peer = must(OpenPeer(dir, Options{Now: func() time.Time { return time.Now().Add(r.shift) }}))
	p.t.Cleanup(func() { r.Close() })
	r.d = r.Docket(p.self.ID())
	return r
}

// hears is a pull from a peer whose docket is q's; nil for one that has none.
func (r *restored) hears(peer string, q *police) {
	r.p.t.Helper()
	id := string(r.p.self.ID())
	heads := []p2psync.Head{{Log: charterLog, Peer: peer}}
	if q != nil {
		h := head(q)
		h.Log, h.Peer = id, peer
		heads = append(heads, h)
	}
	for _, w := range (sink{r.Peer}).Want(heads) {
		if w.Log == id {
			if err := (sink{r.Peer}).Take(id, w.From, q.notes[w.From:w.To], heads[1]); err != nil {
				r.p.t.Fatal(err)
			}
		}
	}
}

func (r *restored) signs(want bool, when string) {
	r.p.t.Helper()
	err := r.d.MaySign()
	if (err == nil) != want {
		r.p.t.Fatalf("%s: may sign: %v", when, err)
	}
	note := must(consent.Sign(r.p.request(), r.p.officer, r.p.sergeant))
	size := r.d.Size()
	if _, err := r.d.Append(note, r.p.docket, time.Now()); (err == nil) != want || want != (r.d.Size() == size+1) {
		r.p.t.Fatalf("%s: appended: %v", when, err)
	}
	if !want && HintOf(err) == "" {
		r.p.t.Errorf("%s: the refusal shows no way out", when)
	}
}

// asked is a docket of officer and requests.
func (p *police) asked(requests int) *police {
	for range requests {
		p.append(must(consent.Sign(p.request(), p.officer, p.sergeant)))
	}
	return p
}

func TestRestoredDocketWaitsForEverySteward(t *testing.T) {
	p := newPolice(t).asked(2)
	r := p.restored(2, "A", "B")
	r.signs(false, "nobody asked")
	r.hears("stranger", p)
	if r.d.Size() != 3 {
		t.Error("what a stranger knows is not taken in")
	}
	r.signs(false, "a stranger answered")
	r.hears("A", p)
	r.hears("A", p)
	r.signs(false, "one of two")
	r.hears("B", nil)
	r.signs(false, "the other has no copy of it yet")
	if s := must(r.ResumeDocket(p.self.ID(), false)); s.Signs || len(s.Stewards) != 2 || len(s.Answered) != 1 || s.Entries != 3 {
		t.Errorf("state: %+v", s)
	}
	r.hears("B", p)
	r.signs(true, "both")
	if _, err := os.Stat(r.d.path("restored")); err == nil {
		t.Error("the mark is still there")
	}
}

func TestRestoredDocketIsBehind(t *testing.T) {
	p := newPolice(t).asked(3)
	r := p.restored(1, "A")
	h := head(p)
	h.Log, h.Peer = string(p.self.ID()), "A"
	if want := (sink{r.Peer}).Want([]p2psync.Head{h}); len(want) != 1 || want[0].From != 1 || want[0].To != 4 {
		t.Fatalf("wanted: %+v", want)
	}
	r.signs(false, "told of more that is not here")
	if err := (sink{r.Peer}).Take(h.Log, 1, p.notes[1:2], h); err != nil {
		t.Fatal(err)
	}
	r.signs(false, "half of it is here")
	r.hears("A", p)
	if r.d.Size() != 4 {
		t.Fatalf("%d entries", r.d.Size())
	}
	r.signs(true, "all of it is here")
}

// Backed up before the first entry: as far behind as can be.
func TestRestoredEmptyDocket(t *testing.T) {
	p := newPolice(t).asked(1)
	r := p.restored(0, "A", "B")
	r.signs(false, "nobody asked")
	r.hears("A", nil)
	r.signs(false, "one of two")
	r.hears("B", p)
	if r.d.Size() != 2 {
		t.Fatalf("%d entries", r.d.Size())
	}
	r.signs(true, "both, A being behind")
}

func TestRestoredDocketAndAStewardThatIsGone(t *testing.T) {
	p := newPolice(t)
	two := p.restored(1, "A", "B")
	three := p.restored(1, "A", "B", "C")
	for _, r := range []*restored{two, three} {
		r.hears("A", p)
		r.hears("C", p)
		r.signs(false, "on the first day")
		r.shift = restoredPatience + time.Minute
		r.hears("A", p)
	}
	two.signs(false, "one of two is no majority")
	three.signs(true, "two of three, after a day")
}

func TestRestoredDocketAlone(t *testing.T) {
	p := newPolice(t)
	r := p.restored(1)
	r.hears("A", p)
	r.shift = 100 * restoredPatience
	r.hears("A", p)
	r.signs(false, "no steward is named")
	if s := must(r.ResumeDocket(p.self.ID(), true)); !s.Signs || s.Restored != nil {
		t.Errorf("state: %+v", s)
	}
	r.signs(true, "a person said so")
}

// Stewards that contradict each other, or the backup, show that the agency signed two versions.
func TestRestoredDocketForked(t *testing.T) {
	p := newPolice(t)
	other := newCopy(p, t).asked(1)
	p.asked(1)
	for name, c := range map[string]struct {
		entries int
		hear    []*police
	}{
		"two stewards":       {1, []*police{p, other}},
		"backup and steward": {2, []*police{other}},
	} {
		t.Run(name, func(t *testing.T) {
			p.t = t
			r := p.restored(c.entries, "A", "B")
			for i, q := range c.hear {
				r.hears(string(rune('A'+i)), q)
			}
			r.shift = 2 * restoredPatience
			r.hears("A", p)
			r.hears("B", p)
			r.signs(false, "forked")
			if s := must(r.ResumeDocket(p.self.ID(), true)); s.Signs || !s.Forked {
				t.Errorf("alone: %+v", s)
			}
			r.signs(false, "forked, and alone")
		})
	}
}

// A steward that is further on, by another way, proves nothing yet: its entries do not fit. It is
// named, and nothing is signed.
func TestRestoredDocketThatDoesNotFit(t *testing.T) {
	p := newPolice(t)
	other := newCopy(p, t).asked(3)
	p.asked(1)
	r := p.restored(2, "A")
	h := head(other)
	h.Peer = "A"
	if len((sink{r.Peer}).Want([]p2psync.Head{h})) != 1 {
		t.Fatal("what the steward has more of is not asked for")
	}
	if err := (sink{r.Peer}).Take(h.Log, 2, other.notes[2:], h); err == nil {
		t.Fatal("entries of another docket were taken in")
	}
	r.signs(false, "it does not fit")
	if s := must(r.ResumeDocket(p.self.ID(), false)); s.Signs || len(s.Ahead) != 1 {
		t.Errorf("state: %+v", s)
	}
}
