// Package agency is a requester's node: it keeps the agency's docket, publishes its requests and
// receives what homes chose to send, under the terms it signed.
//
// # State, beside what every node has
//
//	agency.card           what a charter's signer compares and admits
//	keys/docket.key       signs checkpoints; losing it ends the docket
//	keys/reception/*.key  one for each request; signs acceptances and receipts
//	keys/taking/*.json    what opens a release that is passed on to this agency, one for each card; belongs in no backup
//	keys/release/*.key    release keys (GRANT-ROOT.key), until their deadline; belongs in no backup
//	vault/                sealed releases, each with what both sides signed about it, and the messages that wait (vault.go);
//	                      in waiting/ the grants whose terms an officer decides about (accept.go)
//	received              what was addressed to this agency (records)
//	custody               custody log: every step a clip took here
//	clock                 the time that deadlines are kept by
//	daily                 when the next daily entry is made
//
// The officers' and supervisors' keys are not here: they sign on their own machines.
package agency

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
	"github.com/porchlight-mesh/porchlight/consent/docket"
	"github.com/porchlight-mesh/porchlight/consent/geo"
	"github.com/porchlight-mesh/porchlight/consent/grant"
	"github.com/porchlight-mesh/porchlight/consent/request"
	"github.com/porchlight-mesh/porchlight/footage/durable"
	"github.com/porchlight-mesh/porchlight/node"
	"github.com/porchlight-mesh/porchlight/p2p/ask"
	"github.com/porchlight-mesh/porchlight/p2p/deliver"
	"github.com/porchlight-mesh/porchlight/p2p/forward"
)

// InitArgs describes a new agency.
type InitArgs struct {
	Name         string
	Class        charter.AgencyClass
	Supervisors  []consent.VerifierKey // the first ones; they enrol everybody else
	Jurisdiction geo.Polygon
	PolicyURL    string
	Disk         durable.Disk // what the folder is written through
}

// Init makes an agency's folder with its docket key and agency.card.
func Init(dir string, a InitArgs) (charter.Card, error) {
	key, err := docket.NewKey(rand.Reader)
	if err != nil {
		return charter.Card{}, err
	}
	card := charter.Card{Name: a.Name, Class: a.Class, Key: key.Verifier(), Supervisors: a.Supervisors, Jurisdiction: a.Jurisdiction, PolicyURL: a.PolicyURL}
	note, err := consent.Sign(card, key)
	if err != nil {
		return charter.Card{}, err
	}
	if err := node.CreateWith(a.Disk, dir, node.Agency, map[string][]byte{"keys/docket.key": []byte(key.Encode() + "\n"), "agency.card": note}); err != nil {
		return charter.Card{}, err
	}
	return card, nil
}

// Agency is a requester's node.
type Agency struct {
	peer    *node.Peer
	key     consent.Key // the docket's
	agency  consent.AgencyID
	vault   *vault
	custody *node.Custody

	spreading chan struct{} // holds one while somebody waits for witnesses and passes entries on
	spreadTo  int64         // entries before this were passed on
	maybe     chan struct{} // something changed, after which more witnesses may cosign
	dated     chan struct{} // witnesses said the time, after which a daily entry may be due

	clock  *clock
	asked  time.Time // when witnesses were last asked for the time
	moment moment    // of the next daily entry
	views  views

	mu       sync.Mutex // one docket entry at a time
	received *durable.AppendFile
	log      []Received // newest last, at most maxReceived
}

// maxReceived bounds what is remembered of refused deliveries; accepted grants are in the vault.
const maxReceived = 1000

// Open opens an agency's folder. It touches no network.
func Open(_ context.Context, dir string, opt node.Options) (_ *Agency, err error) {
	peer, err := node.OpenPeer(dir, opt)
	if err != nil {
		return nil, err
	}
	a := &Agency{peer: peer, spreading: make(chan struct{}, 1), maybe: make(chan struct{}, 1), dated: make(chan struct{}, 1)}
	peer.Arrived = a.stir
	defer func() {
		if err != nil {
			a.Close()
		}
	}()
	if peer.State.Role() != node.Agency {
		return nil, fmt.Errorf("%s holds a node of role %s, not an agency", dir, peer.State.Role())
	}
	if a.key, err = node.ReadKey(peer.State.Path("keys", "docket.key")); err != nil {
		return nil, err
	}
	pub, err := a.key.Verifier().Public()
	if err != nil {
		return nil, err
	}
	a.agency = consent.AgencyIDOf(pub)
	if err = peer.State.Disk().MkdirAll(peer.State.Path("keys", "reception"), 0o700); err != nil {
		return nil, err
	}
	if a.vault, err = openVault(peer.State.Disk(), peer.State.Path("vault"), peer.State.Path("keys", "release"), peer.Config.Agency.VaultMB<<20); err != nil {
		return nil, err
	}
	if err := a.vault.sweepExports(); err != nil {
		peer.Log.Error("exports", "err", err)
	}
	if a.clock, err = openClock(peer.State.Disk(), peer.State.Path("clock")); err != nil {
		return nil, err
	}
	if err = a.clock.change(func(r *ratchet) { r.tick(peer.Now()) }); err != nil {
		return nil, err
	}
	if err = a.readMoment(); err != nil {
		return nil, err
	}
	if a.custody, err = node.OpenCustody(peer.State.Disk(), peer.State.Path("custody"), peer.Now); err != nil {
		return nil, err
	}
	if _, err = peer.State.Disk().ReadRecords(peer.State.Path("received"), func(b []byte) error {
		var r Received
		if err := json.Unmarshal(b, &r); err != nil {
			return err
		}
		a.log = append(a.log, r)
		return nil
	}); err != nil {
		return nil, err
	}
	if a.received, err = peer.State.Disk().OpenAppend(peer.State.Path("received"), 0o600); err != nil {
		return nil, err
	}
	return a, nil
}

// Close lets the folder go.
func (a *Agency) Close() error {
	a.endViews(func(*viewing) bool { return true })
	var errs []error
	if a.received != nil {
		errs = append(errs, a.received.Close())
	}
	if a.custody != nil {
		errs = append(errs, a.custody.Close())
	}
	return errors.Join(append(errs, a.peer.Close())...)
}

// Peer is the part of the node that every role has.
func (a *Agency) Peer() *node.Peer { return a.peer }

// Run serves the agency until ctx ends.
func (a *Agency) Run(ctx context.Context) error {
	if err := a.tick(); err != nil {
		a.peer.Log.Error("deadlines", "err", err)
	}
	if err := a.peer.Start(ctx); err != nil {
		return err
	}
	stop, err := deliver.Serve(a.peer.Host(), receiver{a}, deliver.Limits{})
	if err != nil {
		return errors.Join(err, a.peer.Stop())
	}
	if _, d, err := a.self(); err == nil {
		a.spreadTo, _ = d.Head()
	}
	a.peer.Host().OnPeer(func(string) { a.stir() })
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return a.peer.Run(ctx) })
	g.Go(func() error { return a.peer.Control(ctx, a.Commands()) })
	g.Go(func() error { return a.witness(ctx) })
	g.Go(func() error {
		if _, d, err := a.self(); err == nil && d.MaySign() != nil {
			a.peer.Log.Warn("the docket signs nothing", "why", d.MaySign(), "hint", "porchlight agency docket resume")
		}
		if s, _ := a.clockStatus(ctx, struct{}{}); s.Problem != "" {
			a.peer.Log.Warn("the clock is not trusted", "problem", s.Problem, "hint", s.Hint)
		}
		if s, _ := a.reply(ctx, struct{}{}); s.Problem != "" {
			a.peer.Log.Warn("homes may not reach this agency", "problem", s.Problem, "hint", s.Hint)
		}
		t := time.NewTicker(time.Minute)
		defer t.Stop()
		for {
			if err := a.runDaily(ctx); err != nil && ctx.Err() == nil {
				a.peer.Log.Error("what the docket is to be told", "err", err)
			}
			select {
			case <-ctx.Done():
				return nil
			case <-a.dated:
			case <-t.C:
				if err := a.tick(); err != nil {
					a.peer.Log.Error("deadlines", "err", err)
				}
			}
		}
	})
	err = g.Wait()
	stop()
	return errors.Join(err, a.peer.Stop())
}

// expire destroys what is past its deadline and drops what its home did not come back for.
func (a *Agency) expire() error {
	unheld := a.lookForHolds()
	now := a.now()
	err := a.vault.destroy(now, func(h *held, k *kept, lost bool) error {
		a.endViews(func(v *viewing) bool { return v.grant == h.id && v.root == k.Root })
		if lost {
			return a.custody.Note("node", "lost release deleted", k.Root, "deadline "+h.deadline(k).Format(time.RFC3339)+
				"; its key or its blocks were gone before, as after a restore or where a crash came while they were destroyed")
		}
		a.peer.Log.Info("release key destroyed at its deadline", "release", k.Root)
		return a.custody.Note("node", "release key destroyed", k.Root, "deadline "+h.deadline(k).Format(time.RFC3339))
	})
	return errors.Join(unheld, err, a.vault.dropExpired(now, func(h *held) error {
		return a.custody.Note("node", "incomplete grant dropped", string(h.id), "its home did not come back")
	}), a.vault.orphans(), a.sweepCards(), a.introduce(), a.tellUsed())
}

// gaveWay is told of an incomplete release that was let go for another.
func (a *Agency) gaveWay(h *held, k *kept) error {
	a.peer.Log.Warn("an incomplete release gave way to another: the vault is full", "release", k.Root)
	return a.custody.Note("node", "incomplete release dropped", k.Root, "grant "+string(h.id)+": the vault is full; its home sends it again")
}

// Commands is what the agency's CLI can ask of this node.
func (a *Agency) Commands() node.Commands {
	c := a.peer.Commands()
	status := c["status"]
	c["status"] = func(ctx context.Context, args json.RawMessage) (any, error) {
		got, err := status(ctx, args)
		s, ok := got.(node.Status)
		if !ok || err != nil {
			return got, err
		}
		s.Owed = a.peer.Debts(a.agency)
		clock, err := a.clockStatus(ctx, struct{}{})
		s.Clock, s.ClockHint = clock.Problem, clock.Hint
		return s, err
	}
	c["agency.owed"] = node.Do(func(context.Context, struct{}) ([]node.Debt, error) { return a.peer.Debts(a.agency), nil })
	c["agency.clock"] = node.Do(a.clockStatus)
	c["agency.draft"] = node.Do(a.draft)
	c["agency.publish"] = node.Do(a.publish)
	c["agency.docket"] = node.Do(a.docketEntries)
	c["agency.docket.resume"] = node.Do(a.resume)
	c["agency.received"] = node.Do(func(context.Context, struct{}) ([]Received, error) {
		a.mu.Lock()
		defer a.mu.Unlock()
		return append([]Received{}, a.log...), nil
	})
	c["agency.said"] = node.Do(a.allSaid)
	c["agency.vault"] = node.Do(func(context.Context, struct{}) ([]Held, error) { return a.vault.list(), nil })
	c["agency.waiting"] = node.Do(func(context.Context, struct{}) ([]Waiting, error) { return a.undecidedGrants() })
	c["agency.waiting.find"] = node.Do(a.findGrant)
	c["agency.accept"] = node.Do(a.accept)
	c["agency.taking"] = node.Do(a.invite)
	c["agency.passon"] = node.Do(a.passOn)
	c["agency.takeover"] = node.Do(a.takeOver)
	c["agency.ask"] = node.Do(a.ask)
	c["agency.hold"] = node.Do(a.draftHold)
	c["agency.holds"] = node.Do(a.holds)
	c["agency.transfer"] = node.Do(a.draftTransfer)
	c["agency.find"] = node.Do(a.find)
	c["agency.view"] = node.Do(a.view)
	c["agency.view.hold"] = node.Do(a.hold)
	c["agency.use"] = node.Do(a.use)
	c["agency.export"] = node.Do(a.export)
	c["agency.reply"] = node.Do(a.reply)
	return c
}

func (a *Agency) self() (charter.Agency, *node.Docket, error) {
	ag, ok := a.peer.Agency(a.agency)
	d := a.peer.Docket(a.agency)
	if !ok || d == nil {
		return ag, nil, node.WithHint(errors.New("the charter does not admit this agency"), "give agency.card to a signer of the charter, then `porchlight join LINK`")
	}
	return ag, d, nil
}

// publish appends a signed entry to the docket and spreads it. The entry and its checkpoint are
// on this disk before anybody else sees them.
func (a *Agency) publish(ctx context.Context, e Entry) (Published, error) {
	ag, d, err := a.self()
	if err != nil {
		return Published{}, err
	}
	note := []byte(e.Note)
	kind, err := consent.Peek(note)
	if err != nil {
		return Published{}, err
	}
	out := Published{Kind: kind}
	var asked request.Request
	if kind == "request" {
		r, err := request.Open(note)
		if err != nil {
			return Published{}, err
		}
		c := a.peer.Charter()
		if c.Ended(a.peer.Now()) {
			return Published{}, node.WithHint(consent.Refuse(consent.Expired, "", "the charter ended at %s, and nobody may ask under it", c.Ends), "its signers can sign another version")
		}
		if err := errors.Join(ag.MayAsk(), r.CheckCharter(c, ag), r.CheckNow(a.peer.Now()), a.checkPlanned(r.Terms.RetentionDays, r.Terms.UnusedDays)); err != nil {
			return Published{}, err
		}
		if _, err := a.receptionKey(r.ReceptionKey); err != nil {
			return Published{}, err
		}
		out.Request, asked = request.IDOf(note), r
	}
	if a.peer.Host() == nil {
		return Published{}, node.WithHint(node.ErrNotRunning, "start it with `porchlight agency run`")
	}
	var stands bool
	if out.Index, stands, err = a.enter(d, note, out.Request, asked); err != nil {
		return Published{}, err
	}
	out.Size = d.Size()
	out.Peers = len(a.peer.Host().Peers())
	if out.Cosigned, err = a.spread(ctx, d); err != nil {
		return Published{}, fmt.Errorf("entry %d stands in the docket, and could not be spread at once: %w", out.Index, err)
	}
	if _, out.Quorum = d.Witnesses(); d.Waiting() != nil {
		out.Waits = true
		return out, nil
	}
	if stands {
		// It perhaps got no further the first time.
		if err := a.peer.PublishEntry(ctx, d, out.Index); err != nil {
			return Published{}, fmt.Errorf("entry %d stands in the docket, and could not be spread again: %w", out.Index, err)
		}
	}
	return out, nil
}

// enter puts a note into the docket, if it does not stand there already. A request that no peer would show, for what the docket
// asks already, is refused: an entry of it stays there.
func (a *Agency) enter(d *node.Docket, note []byte, id consent.RequestID, r request.Request) (index int64, stands bool, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if index, stands = d.Find(note); stands {
		return index, true, nil
	}
	if id != "" {
		earlier, err := a.peer.Asked(a.agency)
		if err == nil {
			err = request.CheckHistory(earlier, request.Seen{ID: id, Request: r}, a.peer.Charter().Limits)
		}
		if err != nil {
			return 0, false, err
		}
	}
	index, err = d.Append(note, a.key, a.peer.Now())
	return index, false, err
}

func (a *Agency) docketEntries(context.Context, struct{}) ([]DocketEntry, error) {
	_, d, err := a.self()
	if err != nil {
		return nil, err
	}
	out := []DocketEntry{}
	shown, _ := d.Head()
	for i := range d.Size() {
		note, err := d.Read(i)
		if err != nil {
			return nil, err
		}
		kind, err := consent.Peek(note)
		if err != nil {
			kind = "unreadable"
		}
		out = append(out, DocketEntry{Index: i, Kind: kind, Note: string(note), Waits: i >= shown})
	}
	return out, nil
}

// resume tells whether the docket may sign, and with alone lets a restored one sign again.
func (a *Agency) resume(_ context.Context, args Resume) (Resumed, error) {
	if _, _, err := a.self(); err != nil {
		return Resumed{}, err
	}
	s, err := a.peer.ResumeDocket(a.agency, false)
	if err == nil && args.Alone && s.Restored != nil && !s.Forked {
		if err := a.custody.Note("cli", "docket resumed alone", string(a.agency), fmt.Sprintf("at %d entries", s.Entries)); err != nil {
			return Resumed{}, err
		}
		s, err = a.peer.ResumeDocket(a.agency, true)
	}
	if err != nil {
		return Resumed{}, err
	}
	out := Resumed{DocketState: s, Deaf: []consent.RequestID{}}
	for _, r := range a.peer.Requests() {
		if r.Agency != a.agency || !r.Live(a.peer.Now()) {
			continue
		}
		if _, err := a.receptionKey(r.Body.ReceptionKey); err != nil {
			out.Deaf = append(out.Deaf, r.ID)
		}
	}
	return out, nil
}

// reachable is the way out where homes cannot reach this node.
const reachable = "open the port in the firewall or router, and name the public address in config.toml under [agency] reply; or name a steward of yours there, " +
	"as /ip4/…/p2p/ID/p2p-circuit: answers then come over it"

// reply tests this node's own reply addresses from a throwaway identity. Over a steward nothing comes before a request asks for it, so of such
// an address it is only seen that the steward is connected.
func (a *Agency) reply(ctx context.Context, _ struct{}) (ReplyStatus, error) {
	s := ReplyStatus{Addrs: a.replyAddrs(), Reached: []string{}}
	if a.peer.Host() == nil {
		return s, node.WithHint(node.ErrNotRunning, "start it with `porchlight agency run`")
	}
	var straight []string
	var errs []error
	for _, addr := range s.Addrs {
		switch steward, _, over := strings.Cut(addr, "/p2p-circuit"); {
		case !over:
			straight = append(straight, addr)
		case slices.Contains(ask.Speaks(a.peer.Host(), forward.Protocol), steward[strings.LastIndexByte(steward, '/')+1:]):
			s.Reached = append(s.Reached, addr)
		default:
			errs = append(errs, fmt.Errorf("steward %s is not connected, or carries nothing on", steward))
		}
	}
	reached, err := deliver.Probe(ctx, a.peer.Network(), straight)
	s.Reached = append(s.Reached, reached...)
	if err := errors.Join(append(errs, err)...); err != nil {
		s.Problem, s.Hint = err.Error(), reachable
	}
	return s, nil
}

// note remembers that something was addressed to this agency.
func (a *Agency) note(r Received) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.log) >= maxReceived {
		a.log = slices.Delete(a.log, 0, 1)
	}
	a.log = append(a.log, r)
	if a.received.Size() > maxReceived<<10 {
		a.rotate()
	}
	if err := a.received.Append(durable.AppendRecord(nil, node.RawJSON(r))); err != nil {
		a.peer.Log.Error("list of what was received not saved", "err", err)
	}
}

// rotate begins the list anew, so that strangers cannot fill the disk. The caller holds a.mu.
func (a *Agency) rotate() {
	path := a.peer.State.Path("received")
	if err := errors.Join(a.received.Close(), a.peer.State.Disk().Remove(path)); err != nil {
		a.peer.Log.Error("list of what was received not rotated", "err", err)
	}
	f, err := a.peer.State.Disk().OpenAppend(path, 0o600)
	if err != nil {
		a.peer.Log.Error("list of what was received not rotated", "err", err)
		return
	}
	a.received = f
}

// refused remembers a refusal. A home that tries again and hears the same is not counted again.
func (a *Agency) refused(id consent.GrantID, why error) {
	reason := why.Error()
	r := Received{At: a.peer.Now().UTC(), What: "refused", Grant: id, Name: nameOf(why), Reason: reason[:min(len(reason), 200)]}
	a.mu.Lock()
	// The list is bounded and the log is not, and strangers can be refused without end: it has a line where somebody here
	// has to make room, and none an hour later at the soonest.
	level := slog.LevelDebug
	if r.Name != "" && !slices.ContainsFunc(a.log, func(e Received) bool { return e.Name == r.Name && r.At.Sub(e.At) < time.Hour }) {
		level = slog.LevelWarn
	}
	for _, e := range slices.Backward(a.log) {
		if e.Grant != id {
			continue
		}
		if e.What == r.What && e.Name == r.Name && (e.Name != "" || e.Reason == r.Reason) {
			a.mu.Unlock()
			return
		}
		break
	}
	a.mu.Unlock()
	a.peer.Log.Log(context.Background(), level, "delivery refused", "grant", string(id), "err", why)
	a.note(r)
}

// nameOf names a refusal for want of room; "" for any other.
func nameOf(why error) string {
	var said *deliver.Error
	switch {
	case durable.NoRoom(why):
		return "disk-full"
	case errors.Is(why, errFull):
		return "vault-full"
	case errors.Is(why, errPromises):
		return "docket-full"
	case errors.As(why, &said) && said.Class == deliver.ClassTooLarge:
		return "release-too-large"
	}
	return ""
}

func (a *Agency) accepted(id consent.GrantID, g grant.Grant) {
	a.note(Received{At: a.peer.Now().UTC(), What: "grant", Grant: id, Request: g.Request, Releases: len(g.Releases)})
}
