package node

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
	"github.com/porchlight-mesh/porchlight/consent/docket"
	"github.com/porchlight-mesh/porchlight/consent/request"
	"github.com/porchlight-mesh/porchlight/p2p/gossip"
	p2psync "github.com/porchlight-mesh/porchlight/p2p/sync"
)

// FuzzOutside gives a home what a peer may send: a message on the topic, papers and entries of a catch-up, a head, and the question to a
// witness that it is, too. None of it takes the home down, and of what changes anything here only the seeds are taken in.
func FuzzOutside(f *testing.F) {
	p := newPolice(f)
	shown := [][]byte{must(p.log.SignCheckpoint(p.docket)), must(p.log.Bundle(0, nil))}
	promised := p.promises(time.Now().AddDate(0, 0, -16))
	shown, asked := append(shown, promised.shown), p.notes[1]
	cp := p.log.Checkpoint()
	objection := must(consent.Sign(request.Objection{Agency: p.self.ID(), Request: request.IDOf(asked), Reason: "Nobody saw a red jacket.",
		Created: p.request().Created, By: p.ana.Verifier()}, p.ana))
	next := *p.chain.Current()
	next.Version, next.Previous = 2, p.chain.CurrentHash()
	second := must(consent.Sign(next, p.ana))
	fork := must(must(docket.Open(p.self, charter.Quotas{}, &notes{p.notes[0], objection}, 2)).SignCheckpoint(p.docket))
	proof := must(must(docket.Contradicting(p.self, cp, fork)).Encode())
	seeds := append(shown, cp, objection, promised.breach(nil), second, proof, fork, asked, docket.Add{Checkpoint: cp}.Encode())
	for _, s := range seeds {
		f.Add(s)
	}
	known := func(b []byte) bool {
		for _, s := range seeds {
			if bytes.Equal(s, b) {
				return true
			}
		}
		return false
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p.t = t
		h := p.home(nil)
		h.witness = &witness{key: p.ana}
		d := h.Docket(p.self.ID())
		if err := d.Extend(0, p.notes, cp); err != nil {
			t.Fatal(err)
		}
		if err := h.readDocket(d); err != nil {
			t.Fatal(err)
		}
		if v := h.check("peer", b); v == gossip.Accept && !known(b) {
			t.Errorf("passed on: %q", b)
		}
		head := p2psync.Head{Log: string(d.ID()), Size: 9, Note: b, Peer: "peer"}
		sink{h}.Want([]p2psync.Head{head, {Log: charterLog, Size: 2, Note: b}, {Log: objectionsLog, Size: 2, Note: b}, {Log: misconductLog, Size: 2, Note: b}, {Log: breachesLog, Size: 2, Note: b}, {Log: string(b), Size: 1}})
		for log, from := range map[string]int64{charterLog: 0, objectionsLog: 0, misconductLog: 0, breachesLog: 0, string(d.ID()): 1} {
			if err := (sink{h}).Take(log, from, [][]byte{b}, head); errors.Is(err, p2psync.ErrOwn) && log != string(d.ID()) {
				t.Errorf("this home is at fault for %q: %v", b, err)
			}
		}
		if answer, err := h.cosign("peer", b); err == nil && len(answer) > docket.MaxCosigned {
			t.Errorf("an answer of %d bytes", len(answer))
		}
		if len(d.breaches) > 0 && !known(b) {
			t.Errorf("taken for a breach record: %q", b)
		}
		if d.Size() != 2 || len(h.chain) > 2 || d.Forked() && !known(b) {
			t.Errorf("taken in: %q", b)
		}
	})
}
