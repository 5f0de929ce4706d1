// Package home is the node that holds footage. Whatever leaves it goes through send in this
// package, and send reads the owner's stored decision first.
//
// # State, beside what every node has
//
//	cameras.json         sources of recordings and where they look; never sent
//	index.sqlite         a cache over the recordings; deleting it loses nothing
//	keys/author.key      lasting authorship key; only salted commitments to it are sent
//	inbox/ID.json        a request that asks for footage this home has, and whether it was declined
//	household.json       who the owners are, where there are several, and what some of them have approved
//	guards.json          the stewards that answers begin with, each kept for months
//	outbox/HASH.json     what this home makes public, until a steward has published it
//	drafts/ID/           clips that approving it would send, made ahead where the owner's rules say so
//	answers/ID/          one answer: the decision, the grant and its key, sealed releases; its
//	                     answer.json is the one record of the owner's yes, of its withdrawal, and of what was said since
//	answers/ID/said      what the requester signed about it since (records)
//	answers/ID/secrets.json  opens the grant's commitments to its author and its originals, should its owner want to show them
//	ledger               custody log: every step of what left
//
// # What the network sees
//
// A request that matches, one that does not, a decision against it and no decision at all cause
// the same traffic: none. Nor do the owner's switches: what is ignored, held, told or prepared is so
// on this disk alone, and looked at and prepared at random moments, so that how busy the machine is when a
// request comes tells nothing either. Only an approved answer makes this node contact anyone, by a short-lived
// identity, after a random delay: over two stewards (see path.go), or straight where its owner said so.
package home

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/footage/durable"
	"github.com/porchlight-mesh/porchlight/footage/library"
	"github.com/porchlight-mesh/porchlight/node"
)

// Home is an owner's node.
type Home struct {
	peer    *node.Peer
	library *library.Library
	ledger  *node.Custody
	author  consent.Key

	mu      sync.Mutex
	cameras []Camera
	folders map[string]library.FolderReport // as the last look found them
	inbox   map[consent.RequestID]*Item
	answers map[string]*Answer
	sending map[string]context.CancelFunc   // answers being prepared or sent
	draftAt map[consent.RequestID]time.Time // when the drafts of a request are made; of the goroutine that makes them

	changed  chan struct{} // a camera or a recording changed: look again
	approved chan struct{} // there may be something to prepare or send
	matched  chan struct{} // there may be drafts to make or to delete
	queued   chan struct{} // there may be something in the outbox
	speaking chan struct{} // there may be something to say about what left

	watched map[string]map[consent.AgencyID]watched // by answer and docket
}

// Open opens a home's folder. It touches no network.
func Open(ctx context.Context, dir string, opt node.Options) (_ *Home, err error) {
	peer, err := node.OpenPeer(dir, opt)
	if err != nil {
		return nil, err
	}
	h := &Home{peer: peer, folders: map[string]library.FolderReport{}, inbox: map[consent.RequestID]*Item{}, answers: map[string]*Answer{},
		sending: map[string]context.CancelFunc{}, draftAt: map[consent.RequestID]time.Time{}, changed: make(chan struct{}, 1), approved: make(chan struct{}, 1), matched: make(chan struct{}, 1), queued: make(chan struct{}, 1),
		speaking: make(chan struct{}, 1), watched: map[string]map[consent.AgencyID]watched{}}
	defer func() {
		if err != nil {
			h.Close()
		}
	}()
	if peer.State.Role() != node.Home {
		return nil, fmt.Errorf("%s holds a node of role %s, not a home", dir, peer.State.Role())
	}
	for _, d := range []string{"inbox", "answers"} {
		if err := h.disk().MkdirAll(peer.State.Path(d), 0o700); err != nil {
			return nil, err
		}
	}
	if h.author, err = authorKey(h.disk(), peer.State.Path("keys", "author.key")); err != nil {
		return nil, err
	}
	if h.ledger, err = node.OpenCustody(h.disk(), peer.State.Path("ledger"), peer.Now); err != nil {
		return nil, err
	}
	if err = h.loadCameras(); err != nil {
		return nil, err
	}
	if err = h.loadInbox(); err != nil {
		return nil, err
	}
	if err = h.loadAnswers(); err != nil {
		return nil, err
	}
	h.library, err = library.Open(ctx, library.Config{Index: peer.State.Path("index.sqlite"), Cameras: sources(h.cameras), Now: peer.Now, Log: peer.Log})
	if err != nil {
		return nil, err
	}
	return h, nil
}

// Close lets the folder go.
func (h *Home) Close() error {
	var errs []error
	if h.library != nil {
		errs = append(errs, h.library.Close())
	}
	if h.ledger != nil {
		errs = append(errs, h.ledger.Close())
	}
	return errors.Join(append(errs, h.peer.Close())...)
}

func (h *Home) disk() durable.Disk { return h.peer.State.Disk() }

// Peer is the part of the node that every role has.
func (h *Home) Peer() *node.Peer { return h.peer }

// wake asks the worker to look again.
func (h *Home) wake() {
	select {
	case h.changed <- struct{}{}:
	default:
	}
}

// Run serves the home until ctx ends: it stays in the mesh, looks through the camera folders,
// matches requests, and sends what the owner approved.
func (h *Home) Run(ctx context.Context) error {
	if err := h.peer.Start(ctx); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return h.peer.Run(ctx) })
	g.Go(func() error { return h.peer.Control(ctx, h.Commands()) })
	g.Go(func() error { return h.look(ctx) })
	g.Go(func() error { return h.answer(ctx) })
	g.Go(func() error { return h.draft(ctx) })
	g.Go(func() error { return h.post(ctx) })
	g.Go(func() error { return h.speak(ctx) })
	return errors.Join(g.Wait(), h.peer.Stop())
}

// look polls the folders and matches live requests against what is there, since a camera's file
// is often closed only after the request came. A request that comes waits for the next look, at a
// random moment: a busy machine answers its peers later, so that a steward which measures how fast
// a home answers after each request would else learn which of them it has footage of.
func (h *Home) look(ctx context.Context) error {
	for {
		report, err := h.library.Poll(ctx)
		if err != nil && ctx.Err() == nil {
			h.peer.Log.Error("camera folders not read", "err", err)
		}
		h.found(report)
		h.match(ctx)
		h.watch()
		select {
		case h.matched <- struct{}{}:
		default:
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(between(h.peer.Config.Home.Poll)):
		case <-h.changed:
		}
	}
}

// between draws the time from one look to the next: on average the one that the owner set, and no less than half a second.
func between(poll node.Duration) time.Duration {
	d := max(time.Duration(poll), time.Second)
	return d/2 + time.Duration(randomBelow(int64(d)))
}

// Commands is what the owner's CLI can ask of this home.
func (h *Home) Commands() node.Commands {
	c := h.peer.Commands()
	c["home.cameras"] = node.Do(h.cameraList)
	c["home.cameras.add"] = node.Do(h.cameraAdd)
	c["home.cameras.offer"] = node.Do(h.cameraOffer(true))
	c["home.cameras.withdraw"] = node.Do(h.cameraOffer(false))
	c["home.cameras.remove"] = node.Do(h.cameraRemove)
	c["home.cameras.adopt"] = node.Do(h.cameraAdopt)
	c["home.inbox"] = node.Do(h.list)
	c["home.show"] = node.Do(h.show)
	c["home.preview"] = node.Do(h.preview)
	c["home.approve"] = node.Do(h.approve)
	c["home.decline"] = node.Do(h.decline)
	c["home.withdraw"] = node.Do(h.withdraw)
	c["home.retry"] = node.Do(h.retry)
	c["object"] = node.Do(h.object)
	c["home.say"] = node.Do(h.say)
	c["home.ledger.export"] = node.Do(h.export)
	c["home.breach"] = node.Do(h.breach)
	c["home.promises"] = node.Do(h.promises)
	c["home.ledger"] = node.Do(h.readLedger)
	c["home.household"] = node.Do(h.showHousehold)
	c["home.household.set"] = node.Do(h.setHousehold)
	c["home.rules"] = node.Do(h.showRules)
	c["home.rules.test"] = node.Do(h.testRules)
	return c
}

func authorKey(disk durable.Disk, path string) (consent.Key, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		k, err := consent.GenerateKey(rand.Reader, "author")
		if err != nil {
			return consent.Key{}, err
		}
		return k, disk.WriteFile(path, []byte(k.Encode()+"\n"), 0o600)
	}
	if err != nil {
		return consent.Key{}, err
	}
	return node.ParseKeyFile(path, b)
}

// LogValue keeps places out of the log.
func (c Camera) LogValue() slog.Value { return slog.StringValue(string(c.Name)) }
