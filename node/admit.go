package node

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
	"github.com/porchlight-mesh/porchlight/consent/docket"
	"github.com/porchlight-mesh/porchlight/consent/request"
	"github.com/porchlight-mesh/porchlight/p2p/gossip"
	p2psync "github.com/porchlight-mesh/porchlight/p2p/sync"
)

// check judges a message of the mesh's topic before it is forwarded, and takes it in. What any
// peer can tell to be wrong from the message alone is rejected and held against the sender; what
// depends on history, on the local clock or on a charter of which the sender may have another
// version is only ignored. Either way it goes no further.
func (p *Peer) check(from string, msg []byte) gossip.Verdict {
	var err error
	switch {
	case isCharter(msg):
		err = p.passes(from, msg, p.AdmitCharter(msg))
	case isPaper(msg):
		err = p.passes(from, msg, p.AdmitPaper(msg))
	default:
		err = p.admitMessage(from, msg)
	}
	switch {
	case err == nil:
		return gossip.Accept
	case errors.Is(err, errKnown):
		return gossip.Ignore
	case !errors.Is(err, errHere) && request.Timeless(consent.ClassOf(err)):
		p.Log.Debug("message rejected", "peer", from, "class", string(consent.ClassOf(err)), "err", err)
		if p.host != nil && !p.own(from) {
			p.host.Misbehaved(from, "gossip", err)
		}
		return gossip.Reject
	}
	// Anybody can send of these as many as gossip listens to, and honest peers do, too.
	p.Log.Debug("message ignored", "peer", from, "class", string(consent.ClassOf(err)), "err", err)
	return gossip.Ignore
}

var (
	// errKnown says that there is nothing new in a message.
	errKnown = errors.New("already known")
	// errHere marks what this node's own charter or history refuses and another's might not.
	errHere        = errors.New("refused here")
	errNotAdmitted = errors.New("the charter admits no such agency")
)

// own says whether a message on the topic is this node's.
func (p *Peer) own(from string) bool { return p.host != nil && from == p.host.ID() }

// passes says whether a charter or a paper, which this node was just given with err, goes further. One that stands here already is passed on
// once all the same: it may have come by catch-up just before it came by gossip, and those behind this node still wait for it.
func (p *Peer) passes(from string, msg []byte, err error) error {
	if err != nil && (!errors.Is(err, errKnown) || !p.stands(msg)) {
		return err
	}
	p.mu.Lock()
	fresh := p.passed.add(consent.HashText(msg))
	p.mu.Unlock()
	if fresh || p.own(from) {
		return nil
	}
	return err
}

// stands says whether a charter is the newest one here or its rival, or whether a paper is among those kept here.
func (p *Peer) stands(msg []byte) bool {
	log := papersLog(msg)
	if log != charterLog {
		return slices.ContainsFunc(p.papers(log), func(m []byte) bool { return bytes.Equal(m, msg) })
	}
	chain := p.chainCopy()
	return len(chain) > 0 && slices.ContainsFunc(chain[len(chain)-1:].Notes(), func(n []byte) bool { return bytes.Equal(n, msg) })
}

// AdmitCharter takes in the charter's next version.
func (p *Peer) AdmitCharter(note []byte) error {
	if err := p.extendCharter(note); err != nil {
		return err
	}
	// Another version may admit an agency, or name other supervisors.
	p.mu.Lock()
	dockets := slices.Collect(maps.Values(p.dockets))
	p.mu.Unlock()
	for _, d := range dockets {
		if err := p.readDocket(d); err != nil {
			return fmt.Errorf("%w: %w", p2psync.ErrOwn, err)
		}
	}
	p.arrived()
	return nil
}

func (p *Peer) extendCharter(note []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	chain, err := ExtendCharter(p.chain, note)
	if err != nil {
		return err
	}
	if len(chain.Notes()) == len(p.chain.Notes()) {
		return errKnown // or one rival more than are kept
	}
	if err := WriteCharter(p.State.disk, p.State.Path("charter"), chain); err != nil {
		return fmt.Errorf("%w: %w", p2psync.ErrOwn, err)
	}
	p.chain = chain
	p.Log.Info("charter admitted", "version", chain.Current().Version)
	if err := p.openDockets(); err != nil {
		return fmt.Errorf("%w: %w", p2psync.ErrOwn, err)
	}
	return nil
}

// admitMessage takes in a docket's self-contained message. Its entry counts once this node's own
// copy of the docket has it at its place, so that nothing can be asked which is not in the docket
// that everybody sees. An entry further on is passed along, and what lies between is fetched.
func (p *Peer) admitMessage(from string, msg []byte) error {
	b, err := docket.ParseBundle(msg)
	if err != nil {
		return err
	}
	p.mu.Lock()
	a, ok := p.chain.Agency(b.Agency())
	judged, _ := p.chain.DocketAgency(b.Agency())
	d := p.dockets[b.Agency()]
	p.mu.Unlock()
	if !ok || d == nil {
		return fmt.Errorf("docket %s: %w", b.Agency(), errNotAdmitted)
	}
	entry, index, _, err := b.Verify(judged)
	if err != nil {
		return err
	}
	witnesses, quorum := d.Witnesses()
	cp, err := docket.OpenCosigned(b.Checkpoint(), judged, witnesses)
	if err != nil {
		return err
	}
	if err := p.accuse(d, errors.Join(d.CompareNote(b.Checkpoint()), d.compareBundle(b))); err != nil {
		return err
	}
	switch {
	case len(cp.By) < quorum:
		return fmt.Errorf("%w: %w", errHere, consent.Refuse(consent.Unwitnessed, "checkpoint", "%d of the charter's witnesses cosigned it; %d have to", len(cp.By), quorum))
	case string(cp.Note) != string(b.Checkpoint()):
		// Whoever could add lines or change their order could send one entry as many messages.
		return fmt.Errorf("%w: %w", errHere, consent.Refuse(consent.ExtraSignature, "checkpoint", "it carries signatures of others than the charter's witnesses, or in another order"))
	}
	known, own := index < d.Size(), p.own(from)
	if known && !own && !p.asksNow(entry) {
		return errKnown
	}
	if err := p.lawfulNow(a, entry); err != nil {
		return err
	}
	p.mu.Lock()
	fresh := p.passed.add(consent.HashText(entry))
	p.mu.Unlock()
	switch {
	case known:
		// Its own entry stood in this node's docket before it was published. Another's request may have come by
		// catch-up just before it came by gossip, and those behind this node still wait for it.
		if !fresh && !own {
			return errKnown
		}
	case index > d.Size() || cp.Size > index+1:
		if !fresh {
			return errKnown
		}
		if _, since := d.Withheld(); !since.IsZero() {
			return fmt.Errorf("%w: the docket of %s is withheld since %s", errHere, a.Name, since.UTC().Format(time.RFC3339))
		}
		p.catchUp(pull{peer: from, docket: d, index: index})
		return nil
	default:
		if err := d.Extend(index, [][]byte{entry}, b.Checkpoint()); err != nil {
			return err
		}
		if err := p.accuse(d, d.fork()); err != nil {
			return err
		}
	}
	if class := d.Refused(index); class != "" {
		err := consent.Refuse(class, "", "entry %d of the docket of %s does not count", index, a.Name)
		if class == consent.WrongKind { // its sender may have a later version of the charter, which has daily entries
			return fmt.Errorf("%w: %w", errHere, err)
		}
		return err
	}
	if err := p.readDocket(d); err != nil {
		return err
	}
	if kind, _ := consent.Peek(entry); kind == request.Kind {
		r, err := p.Request(string(request.IDOf(entry)))
		if err != nil {
			return fmt.Errorf("%w: %w", errHere, err)
		}
		if !known {
			p.Log.Info("request admitted", "agency", a.Name, "request", string(r.ID))
		}
	}
	return nil
}

// asksNow says whether an entry of a docket is a request that still stands.
func (p *Peer) asksNow(entry []byte) bool {
	if kind, err := consent.Peek(entry); err != nil || kind != request.Kind {
		return false
	}
	r, err := p.Request(string(request.IDOf(entry)))
	return err == nil && r.Live(p.Now())
}

// lawfulNow refuses to pass on a request that breaks the charter, is over, or is not yet to be
// believed.
func (p *Peer) lawfulNow(a charter.Agency, entry []byte) error {
	if kind, err := consent.Peek(entry); err != nil || kind != request.Kind {
		return err
	}
	r, err := request.Open(entry)
	if err != nil {
		return err
	}
	if err := errors.Join(a.MayAsk(), r.CheckCharter(p.Charter(), a)); err != nil {
		return fmt.Errorf("%w: %w", errHere, err)
	}
	return r.CheckNow(p.Now())
}

// readDocket takes note of the requests in a docket that this node has not looked at yet. It is
// the one place where a docket entry starts to count: everything that came by gossip, catch-up
// or from the disk passes it. Whether a request is shown is judged each time it is asked for.
func (p *Peer) readDocket(d *Docket) error {
	name := d.Agency().Name
	p.mu.Lock()
	fresh, anew := d.fresh()
	if anew {
		// The text of an earlier entry, or another charter, may have changed what counts.
		of := d.ID()
		maps.DeleteFunc(p.requests, func(id consent.RequestID, r Request) bool {
			if r.Agency == of {
				delete(p.verdicts, id)
			}
			return r.Agency == of
		})
	}
	for _, a := range fresh {
		leaf, err := d.leaf(a.Index)
		if err != nil {
			p.mu.Unlock()
			return err
		}
		id := consent.RequestID(hex.EncodeToString(leaf[:]))
		p.requests[id] = Request{ID: id, Agency: d.ID(), Name: name, Index: a.Index, Body: *a.Request}
		p.replies.add(id, *a.Request, p.Now())
	}
	p.mu.Unlock()
	if len(fresh) > 0 {
		p.arrived()
	}
	return nil
}

func (p *Peer) arrived() {
	if p.Arrived != nil {
		p.Arrived()
	}
	select {
	case p.changed <- struct{}{}:
	default: // it is known already, or nobody listens
	}
}

// lawful says why a live request is not shown here, nil if it is. The verdict of charter and
// history is kept for as long as the charter stays; the clock is asked each time. The caller
// holds p.mu.
func (p *Peer) lawful(r Request) error {
	a, ok := p.chain.Agency(r.Agency)
	if !ok {
		return errNotAdmitted
	}
	d, c := p.dockets[r.Agency], p.chain.Current()
	switch {
	case d.Forked():
		return fmt.Errorf("docket of %s: %w", r.Name, errForked)
	case c.Ended(p.Now()):
		return consent.Refuse(consent.Expired, "", "the charter ended at %s", c.Ends)
	case a.MayAsk() != nil:
		return a.MayAsk()
	case r.Index >= d.clear(p.neighbours):
		return consent.Refuse(consent.Unwitnessed, "", "too few witnesses have cosigned the docket of %s as far as entry %d, or a part of it is not here", r.Name, r.Index)
	}
	if err := d.lawfulKeys(r.Body); err != nil {
		return err
	}
	if err := r.Body.CheckNow(p.Now()); consent.ClassOf(err) == consent.NotYetValid {
		return err
	}
	hash := p.chain.CurrentHash()
	if v, ok := p.verdicts[r.ID]; ok && v.charter == hash {
		return v.err
	}
	err := r.Body.CheckCharter(c, a)
	if err == nil {
		err = request.CheckHistory(p.asked(r.Agency, r.Index), request.Seen{ID: r.ID, Request: r.Body}, c.Limits)
	}
	if err != nil {
		p.Log.Info("request not shown", "agency", r.Name, "request", string(r.ID), "err", err)
	}
	p.verdicts[r.ID] = verdict{hash, err}
	return err
}

// neighbours is how many mesh peers this node is connected to.
func (p *Peer) neighbours() (n int) {
	if p.host == nil {
		return 0
	}
	for _, q := range p.host.Peers() {
		if p.host.Mesh(q.ID) {
			n++
		}
	}
	return n
}

// ExigentCounts says whether an agency's requests may still claim an emergency: from the first one on that it owed a report
// for, and did not give within 72 hours, they are told like any other.
func (p *Peer) ExigentCounts(id consent.AgencyID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	ids := append(p.chain.Lineage(id), id)
	for _, r := range p.requests {
		if !slices.Contains(ids, r.Agency) || r.Body.Basis != request.Exigent {
			continue
		}
		due := r.Body.Created.Add(docket.ReportWithin)
		if reported := p.dockets[r.Agency].account(r.ID).Reported; reported.After(due) || reported.IsZero() && p.Now().After(due) {
			return false
		}
	}
	return p.dockets[id] != nil
}

// Asked are all requests in an agency's docket.
func (p *Peer) Asked(id consent.AgencyID) ([]request.Seen, error) {
	if d := p.Docket(id); d != nil {
		if err := p.readDocket(d); err != nil {
			return nil, err
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked(id, math.MaxInt64), nil
}

// asked are the requests in an agency's docket before an index, and in those that it succeeds: a lost docket gives nobody
// new posts. The caller holds p.mu.
func (p *Peer) asked(id consent.AgencyID, before int64) (all []request.Seen) {
	lost := p.chain.Lineage(id)
	for _, e := range p.requests {
		if e.Agency == id && e.Index < before || slices.Contains(lost, e.Agency) {
			all = append(all, request.Seen{ID: e.ID, Request: e.Body})
		}
	}
	return all
}

// verdict is what a charter's version and the docket before it say of a request.
type verdict struct {
	charter string
	err     error
}

// recent remembers the last thousand or so texts it was given.
type recent struct {
	now, before map[string]bool
}

// add says whether the text is new.
func (r *recent) add(s string) bool {
	if r.now[s] || r.before[s] {
		return false
	}
	if r.now == nil || len(r.now) >= 500 {
		r.now, r.before = map[string]bool{}, r.now
	}
	r.now[s] = true
	return true
}

// A pull is a peer that passed on an entry ahead of this node's docket. It may be behind itself, and fetching what comes
// before the entry just now, or it may not mean well. So peers are asked again, a second later, then two, until this
// docket has the entry: in turn this one, and one that this node chose.
type pull struct {
	peer   string
	docket *Docket
	index  int64 // of the entry
	tried  int
}

const pullTries = 4

// missedWait is how long after a peer was put out the node catches up: another one will have by then what came through
// that peer first. It also bounds how often anybody can make the node do so.
const missedWait = 3 * time.Second

// catchUp asks for a pull soon; Run does it.
func (p *Peer) catchUp(want pull) {
	select {
	case p.pulls <- want:
	default: // enough are waiting
	}
}

// PublishEntry spreads one entry of this node's own docket.
func (p *Peer) PublishEntry(ctx context.Context, d *Docket, index int64) error {
	if err := p.readDocket(d); err != nil {
		return err
	}
	msg, err := d.Bundle(index)
	if err != nil {
		return err
	}
	return p.Publish(ctx, msg)
}
