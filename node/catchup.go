package node

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/request"
	p2psync "github.com/porchlight-mesh/porchlight/p2p/sync"
)

// charterLog is the name under which charter versions are compared; dockets go by their agency's id.
const charterLog = "charter"

// source is what a node shows to peers that catch up: all of it public.
type source struct{ *Peer }

// Heads lists the charter first, because dockets of agencies a peer does not know yet mean nothing to it.
func (s source) Heads() []p2psync.Head {
	s.mu.Lock()
	heads := []p2psync.Head{s.charterHead()}
	for id, d := range s.dockets {
		if size, checkpoint := d.Head(); size > 0 {
			heads = append(heads, p2psync.Head{Log: string(id), Size: size, Note: checkpoint})
		}
	}
	s.mu.Unlock()
	// Last: an objection means nothing to whoever has not the request.
	return append(heads, papersHead(s.papers()))
}

// charterHead tells the number of versions, rivals included, and a hash over all of them. The
// caller holds p.mu.
func (p *Peer) charterHead() p2psync.Head {
	var all strings.Builder
	for _, n := range p.chain.Notes() {
		all.WriteString(consent.HashText(n))
	}
	return p2psync.Head{Log: charterLog, Size: int64(len(p.chain.Notes())), Note: []byte(consent.HashText([]byte(all.String())))}
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
	if log == papersLog {
		all := s.papers()
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
			s.mu.Lock()
			ours := s.charterHead()
			s.mu.Unlock()
			// A rival version can stand anywhere, so another history is fetched from its start; it is short.
			if h.Size >= ours.Size && string(h.Note) != string(ours.Note) {
				want = append(want, p2psync.Range{Log: h.Log, From: 0, To: h.Size})
			}
			continue
		}
		if h.Log == papersLog {
			if string(h.Note) != string(papersHead(s.papers()).Note) {
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
			s.Log.Warn("docket compared", "agency", h.Log, "peer", h.Peer, "err", err)
			continue
		}
		have, err := d.lacks(h.Note)
		if err != nil {
			s.Log.Debug("docket not fetched", "agency", h.Log, "peer", h.Peer, "err", err)
			continue
		}
		if h.Size > have {
			want = append(want, p2psync.Range{Log: h.Log, From: have, To: h.Size})
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
	if log == charterLog {
		for _, note := range entries {
			err := s.AdmitCharter(note)
			if err == nil || errors.Is(err, errKnown) {
				continue
			}
			// Where the charter forked, whoever hands on the other history did not make it.
			if class := consent.ClassOf(err); class != "" && !request.Timeless(class) {
				err = fmt.Errorf("%w: %w", p2psync.ErrOwn, err)
			}
			return err
		}
		return nil
	}
	if log == papersLog {
		for _, msg := range entries {
			err := s.AdmitPaper(msg)
			switch {
			case errors.Is(err, p2psync.ErrOwn):
				return err
			case err != nil && !errors.Is(err, errKnown) && !errors.Is(err, errHere) && request.Timeless(consent.ClassOf(err)):
				return err
			case err == nil && s.State.Role() == Steward:
				s.soon(func(ctx context.Context) { _ = s.Publish(ctx, msg) })
			}
		}
		return nil
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
	s.settle(d)
	if s.State.Role() == Steward {
		s.passOn(d, had)
	}
	return nil
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
