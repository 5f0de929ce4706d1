package simnet

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"log/slog"
	"slices"

	"github.com/porchlight-mesh/porchlight/p2p/host"
	"github.com/porchlight-mesh/porchlight/simnet/attack"
	"github.com/porchlight-mesh/porchlight/simnet/wire"
)

// An Attack is an attacker's program, and in whose place it runs.
type Attack struct {
	Does attack.Program
	// Home runs it as a home, which dials stewards as homes do and whom nobody lists; else it is a steward whom homes and
	// stewards list like any other.
	Home bool
}

// An Attacker takes connections as a node does, and runs a program in place of one.
type Attacker struct {
	Name string
	Link *wire.Link

	w    *World
	id   string
	does Attack
	key  ed25519.PrivateKey
	host *host.Host
	stop func()
}

// attacker gives an attacker its link. It does not run yet.
func (w *World) attacker(does Attack) *Attacker {
	a := &Attacker{Name: fmt.Sprintf("attacker%d", len(w.Attackers)+1), w: w, does: does}
	link := w.hub
	if does.Home {
		link = w.cfg.Link
	}
	a.Link = w.Join(a.Name, link)
	var err error
	_, a.key, err = ed25519.GenerateKey(rand.Reader)
	w.must(err)
	a.id, err = host.IDOf(a.key)
	w.must(err)
	w.Attackers = append(w.Attackers, a)
	return a
}

func (a *Attacker) listen() string { return fmt.Sprintf("/ip4/%s/udp/%d/quic-v1", a.Link.IP(), port) }
func (a *Attacker) addr() string   { return a.listen() + "/p2p/" + a.id }

// starts runs the attacker, who dials those stewards.
func (a *Attacker) starts(stewards []string) {
	w := a.w
	w.t.Helper()
	role := host.Steward
	if a.does.Home {
		role = host.Home
	}
	h, err := host.New(host.Config{Key: a.key, Listen: []string{a.listen()}, Role: role, Stewards: stewards,
		Log: slog.New(slog.DiscardHandler), Network: a.Link.Network()})
	w.must(err)
	a.host = h
	ctx, cancel := context.WithCancel(context.Background())
	leave, err := a.does.Does(ctx, h, "porchlight/"+string(w.chain.Mesh()))
	w.must(err)
	ended := make(chan error, 1)
	go func() { ended <- h.Run(ctx) }()
	a.stop = func() {
		cancel()
		<-ended
		leave()
		h.Close()
	}
	w.tell(a.Name, "starts, an attacker")
}

// Stop ends the attacker. One that does not run stays so.
func (a *Attacker) Stop() {
	if a.stop == nil {
		return
	}
	a.stop()
	a.stop = nil
	a.w.tell(a.Name, "stops")
}

// Attacks adds an attacker in the midst of a story. It dials those nodes, or all stewards where none is named.
func (w *World) Attacks(does Attack, dials ...*Node) *Attacker {
	w.t.Helper()
	a := w.attacker(does)
	stewards := w.addrs(dials)
	if len(dials) == 0 {
		stewards = slices.Clone(w.hubs)
	}
	a.starts(stewards)
	return a
}
