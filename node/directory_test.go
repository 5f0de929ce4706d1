package node

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/footage/durable"
	"github.com/porchlight-mesh/porchlight/p2p/directory"
)

// far is a node that is started and not run: it takes no part in gossip's news or in catching up, and what it learns it has from the
// directory.
func (p *police) far(role Role, stewards ...*Peer) *Peer {
	p.t.Helper()
	dir := filepath.Join(p.t.TempDir(), string(role))
	if err := errors.Join(Create(dir, role), WriteCharter(durable.Disk{}, filepath.Join(dir, "charter"), p.chain)); err != nil {
		p.t.Fatal(err)
	}
	q := must(OpenPeer(dir, Options{}))
	q.Config.Listen, q.Config.MDNS = []string{"/ip4/127.0.0.1/tcp/0"}, false
	if role == Home { // as it is by default: it would have an outside to ask about
		q.Config.Listen = []string{"/ip4/0.0.0.0/tcp/0"}
	}
	if err := q.Start(p.t.Context()); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() {
		if err := errors.Join(q.Stop(), q.Close()); err != nil {
			p.t.Error(err)
		}
	})
	for _, s := range stewards {
		if err := q.host.Connect(p.t.Context(), s.Addrs()[0]); err != nil {
			p.t.Fatal(err)
		}
	}
	for end := time.Now().Add(time.Minute); role != Home && len(stewards) > 0 && q.directory.Servers() < len(stewards); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			p.t.Fatal("the directory is not found")
		}
	}
	return q
}

// has gives a node the docket as it is by now, without a word to anybody.
func (p *police) has(q *Peer) {
	p.t.Helper()
	d := q.Docket(p.self.ID())
	if err := d.Extend(d.Size(), p.notes[d.Size():], p.log.Checkpoint()); err != nil {
		p.t.Fatal(err)
	}
}

// An observer learns from the directory that there is more of a docket than it has, and asks for it; an old checkpoint that is put
// later does not hide that.
func TestTheDirectoryTellsOfMore(t *testing.T) {
	p := newPolice(t)
	a := p.far(Steward)
	b := p.far(Steward, a)
	observer := p.far(Observe, a)
	p.has(observer)
	p.has(b)
	p.append(must(consent.Sign(p.request(), p.officer, p.sergeant)))
	p.has(a)
	a.list(t.Context(), true)
	b.list(t.Context(), true) // has less, and puts it
	if got := b.Docket(p.self.ID()); got.lead.size != 2 || len(b.pulls) == 0 {
		t.Errorf("the other steward knows of %d entries, and asks %d peers", got.lead.size, len(b.pulls))
	}
	observer.list(t.Context(), true)
	d := observer.Docket(p.self.ID())
	if d.lead.size != 2 || d.Size() != 1 {
		t.Errorf("the observer knows of %d entries and has %d", d.lead.size, d.Size())
	}
	select {
	case want := <-observer.pulls:
		if want.docket != d || want.index != 1 || want.peer != a.host.ID() {
			t.Errorf("it asks for %+v", want)
		}
	default:
		t.Error("it asks nobody")
	}
	p.has(observer)
	observer.list(t.Context(), true)
	if len(observer.pulls) != 0 || observer.directory.put[p.self.ID()] == nil {
		t.Error("it is not content with what it has")
	}
}

// Two versions of a docket meet in the directory, although nobody who has the one talks to anybody who has the other: whoever has
// one of them and looks has a proof of misconduct then.
func TestTheDirectoryFindsTwoVersions(t *testing.T) {
	p := newPolice(t)
	other := newCopy(p, t)
	p.append(must(consent.Sign(p.request(), p.officer, p.sergeant)))
	other.append(must(consent.Sign(other.request(), p.officer, p.sergeant)))
	a := p.far(Steward)
	first, observer := p.far(Observe, a), p.far(Observe, a)
	p.has(first)
	other.has(observer)
	first.list(t.Context(), true)
	observer.list(t.Context(), true)
	if !observer.Docket(p.self.ID()).Forked() || len(observer.papers(misconductLog)) != 1 {
		t.Error("nobody noticed")
	}
	if len(observer.tasks) != 1 {
		t.Error("the proof is not spread")
	}
	if a.Docket(p.self.ID()).Forked() {
		t.Error("a steward that has neither version took one of them for the docket")
	}
}

// A docket is ranked by what counts here, and a stranger's bytes by nothing.
func TestRankOfCheckpoints(t *testing.T) {
	p := newPolice(t)
	h := p.home(time.Now)
	old := p.log.Checkpoint()
	p.append(must(consent.Sign(p.request(), p.officer, p.sergeant)))
	first, err := h.rank(string(p.self.ID()), old)
	if err != nil {
		t.Fatal(err)
	}
	second, err := h.rank(string(p.self.ID()), p.log.Checkpoint())
	if err != nil || second <= first {
		t.Errorf("ranks %d and %d: %v", first, second, err)
	}
	for name, bad := range map[string][]byte{
		"nothing": nil, "junk": []byte("junk"), "another docket's": newPolice(t).log.Checkpoint(),
		"one that was changed":  []byte(strings.Replace(string(old), "\n1\n", "\n2\n", 1)),
		"one with more on it":   append(append([]byte{}, old...), "— stranger AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==\n"...),
		"one with a line twice": append(append([]byte{}, old...), old[strings.Index(string(old), "— "):]...),
	} {
		if _, err := h.rank(string(p.self.ID()), bad); err == nil {
			t.Errorf("%s has a rank", name)
		}
	}
	if _, err := h.rank("00000000000000000000000000000000", old); err == nil {
		t.Error("a docket of nobody has a rank")
	}
	for range 2 * maxLater {
		if _, err := h.rank(string(p.self.ID()), old); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(h.Docket(p.self.ID()).later); n != 2 {
		t.Errorf("%d checkpoints are remembered, want the two", n)
	}
}

// The directory keeps nobody from stopping, and nobody there is no trouble.
func TestTheDirectoryAlone(t *testing.T) {
	p := newPolice(t)
	a := p.far(Steward)
	p.has(a)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.runDirectory(ctx) }()
	a.arrived()
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// A home speaks neither of the protocols by which stewards find each other and themselves, answers none of them, and is told of
// in none. Everybody else asks the directory, and stewards alone answer.
func TestPromise05HomesAreInNoDirectory(t *testing.T) {
	p := newPolice(t)
	a := p.far(Steward)
	for role, answers := range map[Role]bool{Home: false, Observe: false, Agency: false, Steward: true} {
		q := p.far(role, a)
		if (q.directory == nil) != (role == Home) {
			t.Errorf("a node of role %s takes part in the directory: %v", role, q.directory != nil)
		}
		speaks := false
		for _, proto := range q.host.Libp2p().Mux().Protocols() {
			speaks = speaks || proto == directory.Protocol
			if role != Steward && (strings.Contains(string(proto), "/kad/") || strings.Contains(string(proto), "/autonat/")) {
				t.Errorf("a node of role %s answers %s", role, proto)
			}
		}
		if speaks != answers {
			t.Errorf("a node of role %s answers for the directory: %v", role, speaks)
		}
		if _, err := a.directory.Steward(t.Context(), q.host.ID()); !errors.Is(err, directory.ErrNone) && !errors.Is(err, directory.ErrAlone) {
			t.Errorf("where a node of role %s is: %v", role, err)
		}
	}
}
