package node

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
	"github.com/porchlight-mesh/porchlight/consent/request"
	"github.com/porchlight-mesh/porchlight/footage/durable"
	"github.com/porchlight-mesh/porchlight/p2p/forward"
	"github.com/porchlight-mesh/porchlight/p2p/gossip"
	"github.com/porchlight-mesh/porchlight/p2p/host"
	p2psync "github.com/porchlight-mesh/porchlight/p2p/sync"
)

// Options are what a program or a test hands to a node. The zero value works.
type Options struct {
	Now  func() time.Time // the clock; nil is the machine's
	Log  *slog.Logger     // nil discards
	Disk durable.Disk     // what the node's own state is written through; the zero value is the machine's
	// Network is what the node speaks over; the zero value is the machine's. In a simulated one it opens no control
	// socket, which would be a system call that virtual time waits for: call its Commands.
	Network host.Network
}

// A Peer is what every role has in common: the state folder, the charter, the dockets, the
// requests that stand in them, and the connection to the mesh. Home, agency, steward and observer
// each embed one.
type Peer struct {
	State  *State
	Config Config
	Now    func() time.Time
	Log    *slog.Logger

	// Arrived, when set before Run, is called after dockets or charter changed. It must not block.
	Arrived func()

	mu       sync.Mutex
	chain    charter.Chain
	dockets  map[consent.AgencyID]*Docket
	requests map[consent.RequestID]Request // all that stand in dockets, lawful or not
	verdicts map[consent.RequestID]verdict
	replies  replies // of those that ask

	passed recent                     // entries passed on, so that each is once
	pulls  chan pull                  // whom to catch up from, and how far
	tasks  chan func(context.Context) // what a check of the topic leaves for Run to do

	network host.Network

	host      *host.Host    // nil until Run
	directory *listing      // nil where this node takes no part in it
	changed   chan struct{} // something arrived, for runDirectory
	topic     *gossip.Topic
	syncer    *p2psync.Syncer

	witness     *witness // nil where this node is none
	stopWitness func()
	stopForward func() // nil where this node is no steward
}

// A Request is a request as the agency's docket has it, and what became of it there.
type Request struct {
	ID     consent.RequestID
	Agency consent.AgencyID
	Name   string // the agency's
	Index  int64  // in the docket
	Ended  string // "superseded" or "resolved", by a docket entry
	Body   request.Request
}

// Live says whether the request still asks at that time.
func (r Request) Live(now time.Time) bool { return r.Ended == "" && now.Before(r.Body.Expires.Time) }

// OpenPeer opens a state folder. The node does not touch the network before Run.
func OpenPeer(dir string, opt Options) (*Peer, error) {
	state, err := OpenState(dir)
	if err != nil {
		return nil, err
	}
	state.disk = opt.Disk
	p := &Peer{State: state, Now: opt.Now, Log: opt.Log, network: opt.Network,
		dockets: map[consent.AgencyID]*Docket{}, requests: map[consent.RequestID]Request{},
		verdicts: map[consent.RequestID]verdict{}, replies: replies{}, pulls: make(chan pull, 16), tasks: make(chan func(context.Context), 16),
		changed: make(chan struct{}, 1)}
	if p.Now == nil {
		p.Now = time.Now
	}
	if p.Log == nil {
		p.Log = slog.New(slog.DiscardHandler)
	}
	if err := p.load(); err != nil {
		state.Close()
		return nil, err
	}
	return p, nil
}

func (p *Peer) load() (err error) {
	if p.Config, err = ReadConfig(p.State.Path("config.toml"), p.State.Role()); err != nil {
		return err
	}
	for _, dir := range []string{p.State.Path(), p.State.Path("keys"), p.State.Path("charter")} {
		if err := p.State.Settle(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if p.chain, err = ReadCharter(p.State.Path("charter")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := p.readWitness(); err != nil {
		return err
	}
	if err := p.openDockets(); err != nil {
		return err
	}
	for _, d := range p.dockets {
		if err := p.readDocket(d); err != nil {
			return err
		}
	}
	return nil
}

// Close lets the state folder go. Call it after Run has returned.
func (p *Peer) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var errs []error
	for _, d := range p.dockets {
		errs = append(errs, d.Close())
	}
	return errors.Join(append(errs, p.State.Close())...)
}

// Charter is the newest charter this node holds, or nil before it joined a mesh.
func (p *Peer) Charter() *charter.Charter {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.charter()
}

func (p *Peer) charter() *charter.Charter {
	if len(p.chain) == 0 {
		return nil
	}
	return p.chain.Current()
}

// Requests lists the requests this node shows, newest first: those that are over, for the record,
// and those that ask now and keep the charter's rules.
func (p *Peer) Requests() []Request {
	p.mu.Lock()
	defer p.mu.Unlock()
	var shown []Request
	for _, r := range p.requests {
		if r, ok := p.shown(r); ok {
			shown = append(shown, r)
		}
	}
	slices.SortFunc(shown, func(a, b Request) int {
		if c := b.Body.Created.Compare(a.Body.Created.Time); c != 0 {
			return c
		}
		return strings.Compare(string(a.ID), string(b.ID))
	})
	return shown
}

// shown fills in what became of a request. ok is false for one that asks and may not. The caller
// holds p.mu.
func (p *Peer) shown(r Request) (_ Request, ok bool) {
	d := p.dockets[r.Agency]
	r.Ended = d.ended(r.ID)
	if !r.Live(p.Now()) {
		return r, true
	}
	return r, p.lawful(r) == nil
}

// Note is the signed document of a request.
func (p *Peer) Note(r Request) (string, error) {
	d := p.Docket(r.Agency)
	if d == nil {
		return "", errNotAdmitted
	}
	note, err := d.Read(r.Index)
	return string(note), err
}

// soon leaves something for Run to do.
func (p *Peer) soon(task func(context.Context)) {
	select {
	case p.tasks <- task:
	default: // enough is waiting; catching up brings it too
	}
}

// Request finds one request by its id or by an unambiguous beginning of at least 6 digits.
func (p *Peer) Request(id string) (Request, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var found []Request
	if len(id) >= 6 {
		for rid, r := range p.requests {
			if !strings.HasPrefix(string(rid), id) {
				continue
			}
			if r, ok := p.shown(r); ok {
				found = append(found, r)
			}
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return Request{}, WithHint(fmt.Errorf("no request %q", id), "give at least its first 6 digits, as the list shows them")
	}
	return Request{}, WithHint(fmt.Errorf("%d requests begin with %q", len(found), id), "give more digits")
}

// Held is a request that a docket of this mesh holds, whether or not it may ask now: what was given for it stays given.
func (p *Peer) Held(id consent.RequestID) (Request, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r, ok := p.requests[id]
	if !ok {
		return r, fmt.Errorf("no docket here holds request %.12s…", string(id))
	}
	r, _ = p.shown(r)
	return r, nil
}

// Agency is the charter's entry for an agency.
func (p *Peer) Agency(id consent.AgencyID) (charter.Agency, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.chain) == 0 {
		return charter.Agency{}, false
	}
	return p.chain.Agency(id)
}

// Addrs lists the addresses the running node can be reached at.
func (p *Peer) Addrs() []string {
	if p.host == nil {
		return nil
	}
	return p.host.Addrs()
}

// Network is what the node speaks over.
func (p *Peer) Network() host.Network { return p.network }

// Control answers commands on the folder's socket until ctx ends.
func (p *Peer) Control(ctx context.Context, c Commands) error {
	if p.network.Simulated() {
		return nil
	}
	return ServeControl(ctx, p.State.Path(), c)
}

// Copies counts the gossip messages that came in since Start, repeated ones included.
func (p *Peer) Copies() int64 {
	if p.topic == nil {
		return 0
	}
	return p.topic.Copies()
}

// Host is the running node's host; nil before Start.
func (p *Peer) Host() *host.Host { return p.host }

var hostRoles = map[Role]host.Role{Home: host.Home, Steward: host.Steward, Agency: host.Requester, Observe: host.Observer}

// Start joins the mesh; Run keeps it joined. Stop undoes Start.
func (p *Peer) Start(ctx context.Context) error {
	if p.Charter() == nil {
		return WithHint(fmt.Errorf("%s has no charter yet", p.State.dir), "run `porchlight join LINK --dir "+p.State.dir+"` with an invitation first")
	}
	key, err := p.State.PeerKey()
	if err != nil {
		return err
	}
	var cached []string
	if err := ReadJSON(p.State.Path("peers.json"), &cached); err != nil && !errors.Is(err, fs.ErrNotExist) {
		p.Log.Warn("cached peers unreadable", "err", err)
	}
	p.host, err = host.New(host.Config{Key: key, Listen: p.Config.Listen, Role: hostRoles[p.State.Role()],
		Announce: p.Config.Steward.Announce, MapPort: p.Config.Steward.MapPort && !p.Charter().LANOnly,
		MDNS: p.Config.MDNS, Stewards: p.Config.Stewards, Cached: cached, Log: p.Log, Network: p.network})
	if err != nil {
		return err
	}
	p.sayReach()
	p.topic, err = gossip.Join(ctx, p.host, "porchlight/"+string(p.chain.Mesh()), p.check)
	if err == nil {
		p.syncer, err = p2psync.Serve(p.host, source{p}, sink{p})
	}
	if err == nil {
		err = p.startWitness()
	}
	if err == nil && p.State.Role() == Steward {
		p.stopForward, err = forward.Serve(p.host, forward.Steward{Asks: p.asks, Find: p.findSteward, Post: p.post})
	}
	if err == nil {
		err = p.openDirectory()
	}
	if err != nil {
		return errors.Join(err, p.Stop())
	}
	return nil
}

// Stop leaves the mesh.
func (p *Peer) Stop() error {
	var errs []error
	if p.directory != nil {
		errs = append(errs, p.directory.Close())
	}
	if p.stopWitness != nil {
		p.stopWitness()
	}
	if p.stopForward != nil {
		p.stopForward()
	}
	if p.syncer != nil {
		errs = append(errs, p.syncer.Close())
	}
	if p.topic != nil {
		errs = append(errs, p.topic.Close())
	}
	if p.host != nil {
		p.saveKnown()
		errs = append(errs, p.host.Close())
	}
	return errors.Join(errs...)
}

// Run keeps the node in touch with the mesh until ctx ends. Start comes before it.
func (p *Peer) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return p.host.Run(ctx) })
	g.Go(func() error { return p.syncer.Run(ctx, time.Duration(p.Config.CatchUp)) })
	g.Go(func() error { return p.runDirectory(ctx) })
	g.Go(func() error { // what was not looked at by gossip comes by catching up
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-p.topic.Missed():
			}
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(missedWait):
				p.syncer.Hurry()
			}
		}
	})
	g.Go(func() error { // beside the pulls, which may wait long for a peer
		for {
			select {
			case <-ctx.Done():
				return nil
			case task := <-p.tasks:
				task(ctx)
			}
		}
	})
	g.Go(func() error {
		t := time.NewTicker(time.Minute)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-t.C:
				p.saveKnown()
			case want := <-p.pulls:
				if want.docket.Size() > want.index {
					continue
				}
				if want.tried%2 == 0 {
					p.syncer.Soon(want.peer)
				} else {
					p.syncer.Hurry()
				}
				if wait := time.Second << want.tried; want.tried < pullTries {
					want.tried++
					time.AfterFunc(wait, func() { p.catchUp(want) })
				}
			}
		}
	})
	return g.Wait()
}

func (p *Peer) saveKnown() {
	if known := p.host.Known(); len(known) > 0 {
		if err := WriteJSON(p.State.disk, p.State.Path("peers.json"), known); err != nil {
			p.Log.Error("peers not saved", "err", err)
		}
	}
}

// Publish sends a message to the mesh after this node itself has admitted it.
func (p *Peer) Publish(ctx context.Context, msg []byte) error {
	if p.topic == nil {
		return WithHint(errors.New("this node is not running"), "start it with `porchlight "+string(p.State.Role())+" run --dir "+p.State.dir+"`")
	}
	return p.topic.Publish(ctx, msg)
}

// ReadCharter reads and checks a folder of charter versions, 000001.note and on.
func ReadCharter(dir string) (charter.Chain, error) {
	var chain charter.Chain
	for v := 1; ; v++ {
		name := filepath.Join(dir, fmt.Sprintf("%06d.note", v))
		note, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			if v == 1 {
				return nil, err
			}
			return chain, nil
		}
		if err != nil {
			return nil, err
		}
		if chain, err = ExtendCharter(chain, note); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
}

// ExtendCharter starts or extends a chain.
func ExtendCharter(chain charter.Chain, note []byte) (charter.Chain, error) {
	if len(chain) == 0 {
		return charter.Start(note)
	}
	return chain.Extend(note)
}

// isCharter tells a charter from a docket's message on the topic: the one is a signed note, the
// other a JSON object.
func isCharter(msg []byte) bool { return bytes.HasPrefix(msg, []byte("porchlight/charter/")) }

// RawJSON marshals v for a listing; a value that cannot be marshalled is a programming error.
func RawJSON(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}
