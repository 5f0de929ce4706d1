package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
	"github.com/porchlight-mesh/porchlight/consent/request"
	p2psync "github.com/porchlight-mesh/porchlight/p2p/sync"
)

// charterLog is the name under which charter versions are compared; dockets go by their agency's id.
const charterLog = "charter"

// source is what a node shows to peers that catch up: all of it public.
type source struct{ *Peer }

// Heads lists the charter first, because dockets of agencies a peer does not know yet mean nothing to it. Misconduct comes next: a peer
// that has another version of a docket cannot take in more of it, and has to learn why.
func (s source) Heads() []p2psync.Head {
	s.mu.Lock()
	heads := []p2psync.Head{charterHead(s.chain)}
	s.mu.Unlock()
	heads = append(heads, s.papersHead(misconductLog))
	s.mu.Lock()
	for id, d := range s.dockets {
		if size, checkpoint := d.Head(); size > 0 {
			heads = append(heads, p2psync.Head{Log: string(id), Size: size, Note: checkpoint})
		}
	}
	s.mu.Unlock()
	// Last: they mean nothing to whoever has not the request.
	return append(heads, s.papersHead(objectionsLog), s.papersHead(breachesLog))
}

// charterHead tells the number of versions, rivals included, and a hash over the newest and its rivals: of what that settled, and in
// what order it came, two peers may know differently.
func charterHead(chain charter.Chain) p2psync.Head {
	var newest []string
	for _, n := range chain[max(0, len(chain)-1):].Notes() {
		newest = append(newest, consent.HashText(n))
	}
	slices.Sort(newest)
	return p2psync.Head{Log: charterLog, Size: int64(len(chain.Notes())), Note: []byte(consent.HashText([]byte(strings.Join(newest, ""))))}
}

func (s source) Entries(log string, from int64, most int) ([][]byte, error) {
	if log == charterLog {
		notes := s.chainCopy().Notes()
		if from < 0 || from > int64(len(notes)) {
			return nil, fmt.Errorf("charter has %d versions", len(notes))
		}
		notes = notes[from:]
		return notes[:min(most, len(notes))], nil
	}
	if isPapers(log) {
		all := s.papers(log)
		all = all[min(max(from, 0), int64(len(all))):]
		return all[:min(most, len(all))], nil
	}
	id, err := consent.ParseAgencyID(log)
	if err != nil {
		return nil, err
	}
	d := s.Docket(id)
	if d == nil {
		return nil, fmt.Errorf("no docket %s", id)
	}
	return d.Entries(from, most)
}

// sink takes in what a peer has more of.
type sink struct{ *Peer }

func (s sink) Want(remote []p2psync.Head) []p2psync.Range {
	defer s.told(remote)
	var want []p2psync.Range
	for _, h := range remote {
		if h.Log == charterLog {
			// A rival version can stand anywhere, so another history is fetched from its start; it is short.
			if string(h.Note) != string(charterHead(s.chainCopy()).Note) {
				want = append(want, p2psync.Range{Log: h.Log, From: 0, To: h.Size})
			}
			continue
		}
		if isPapers(h.Log) {
			if string(h.Note) != string(s.papersHead(h.Log).Note) {
				want = append(want, p2psync.Range{Log: h.Log, From: 0, To: h.Size})
			}
			continue
		}
		id := consent.AgencyID(h.Log)
		d := s.Docket(id)
		if _, admitted := s.Agency(id); d == nil || !admitted {
			continue
		}
		if err := s.accuse(d, d.CompareNote(h.Note)); err != nil {
			s.Log.Debug("docket compared", "agency", h.Log, "peer", h.Peer, "err", err)
			continue
		}
		have, err := d.lacks(h.Note)
		if err != nil {
			s.Log.Debug("docket not fetched", "agency", h.Log, "peer", h.Peer, "err", err)
			continue
		}
		if h.Size > have {
			want = append(want, p2psync.Range{Log: h.Log, From: have, To: h.Size})
		} else {
			d.NoMore(s.Now())
		}
		for _, i := range d.missing(h.Peer) {
			if i < h.Size {
				want = append(want, p2psync.Range{Log: h.Log, From: i, To: i + 1})
			}
		}
	}
	return want
}

func (s sink) Take(log string, from int64, entries [][]byte, head p2psync.Head) error {
	switch log {
	case charterLog:
		return s.takeAll(entries, s.AdmitCharter)
	case misconductLog, objectionsLog, breachesLog:
		return s.takeAll(entries, s.AdmitPaper)
	}
	d := s.Docket(consent.AgencyID(log))
	if d == nil {
		return fmt.Errorf("%w: docket %s: %w", p2psync.ErrOwn, log, errNotAdmitted)
	}
	had := d.Size()
	if from+int64(len(entries)) <= had {
		changed, err := d.fill(from, entries, head.Peer)
		if err == nil && changed {
			err = s.readDocket(d)
		}
		s.arrived() // an entry that nobody has more of may have kept others back
		return err
	}
	done, err := d.Stage(from, entries, head)
	if err != nil || !done {
		return err
	}
	if err := s.readDocket(d); err != nil {
		return fmt.Errorf("%w: %w", p2psync.ErrOwn, err)
	}
	_ = s.accuse(d, d.fork()) // what came may contradict what was seen before
	s.settle(d)
	if s.State.Role() == Steward {
		s.passOn(d, had)
	}
	return nil
}

// takeAll takes in charters or papers. What another peer may well stand by, such as a rival of a version that is settled here, is passed
// over. A steward spreads what it learned, so that those around it need not wait for their own catch-up.
func (s sink) takeAll(entries [][]byte, admit func([]byte) error) (err error) {
	var fresh [][]byte
	for _, msg := range entries {
		err = admit(msg)
		if err == nil {
			fresh = append(fresh, msg)
		} else if errors.Is(err, p2psync.ErrOwn) || !errors.Is(err, errHere) && request.Timeless(consent.ClassOf(err)) {
			break
		}
		err = nil
	}
	if len(fresh) > 0 && s.State.Role() == Steward {
		s.soon(func(ctx context.Context) {
			for _, msg := range fresh {
				if err := s.Publish(ctx, msg); err != nil {
					s.Log.Debug("not passed on", "err", err)
				}
			}
		})
	}
	return err
}

// passOn spreads the live requests from that index on, which a steward learned of by catch-up, so
// that those around it need not wait for theirs. Peers that know them stop them.
func (p *Peer) passOn(d *Docket, from int64) {
	for _, r := range p.Requests() {
		if r.Agency != d.ID() || r.Index < from || !r.Live(p.Now()) {
			continue
		}
		if err := p.PublishEntry(context.Background(), d, r.Index); err != nil {
			p.Log.Debug("request not passed on", "request", string(r.ID), "err", err)
		}
	}
}
