package home

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/grant"
	"github.com/porchlight-mesh/porchlight/consent/request"
	"github.com/porchlight-mesh/porchlight/node"
	"github.com/porchlight-mesh/porchlight/p2p/forward"
)

// A leaving is a document that this home makes public, in outbox/HASH.json until a steward has published it. It goes as an answer does: after a
// random delay, over a guard and a second steward. The home itself neither publishes it nor keeps it until it comes back from the
// mesh as to everybody, since whoever compares logs with it could see that it began here.
type leaving struct {
	Note      string    `json:"note"`
	Queued    time.Time `json:"queued"`
	NotBefore time.Time `json:"not_before"`
	Attempts  int       `json:"attempts"`
	route
}

// maxLeaving bounds how many wait, and leavingFor how long one is tried.
const (
	maxLeaving = 64
	leavingFor = 14 * 24 * time.Hour
)

// object queues a signed objection.
func (h *Home) object(_ context.Context, a node.ObjectionNote) (node.Objected, error) {
	o, err := request.OpenObjection([]byte(a.Note))
	if err != nil {
		return node.Objected{}, err
	}
	r, err := h.peer.Request(string(o.Request))
	if err != nil {
		return node.Objected{}, err
	}
	by, err := o.CheckAuthor(h.peer.Charter())
	if err != nil {
		return node.Objected{}, err
	}
	if slices.ContainsFunc(h.peer.Objections(r), func(have node.Objection) bool { return have.By == by }) {
		return node.Objected{}, fmt.Errorf("%s has objected to request %s already; one objection of each stands", by, short(r.ID))
	}
	if err := h.hidden(); err != nil {
		return node.Objected{}, node.WithHint(err, "add a steward that somebody else runs, or hand the signed objection to one: `porchlight observe object --note FILE`")
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	l, err := h.leave([]byte(a.Note))
	if err != nil {
		return node.Objected{}, err
	}
	return node.Objected{Request: r.ID, By: by, Running: l.Running, Leaves: l.At}, h.ledger.Note("owner", "objection approved", string(r.ID), "by "+by)
}

// Leaving says when a document goes to a steward, which publishes it.
type Leaving struct {
	At      time.Time `json:"at"`
	Running bool      `json:"running"`
}

// leave queues a document. The caller holds h.mu.
func (h *Home) leave(note []byte) (Leaving, error) {
	if err := h.hidden(); err != nil {
		return Leaving{}, node.WithHint(err, "add a steward that somebody else runs (`porchlight join` with its invitation)")
	}
	waiting, err := h.peer.State.Glob("outbox/*.json")
	if err != nil {
		return Leaving{}, err
	}
	if len(waiting) >= maxLeaving {
		return Leaving{}, fmt.Errorf("%d documents wait to leave already", len(waiting))
	}
	sum := sha256.Sum256(note)
	now := h.peer.Now().UTC()
	l := leaving{Note: string(note), Queued: now, NotBefore: now.Add(time.Duration(randomBelow(int64(h.peer.Config.Home.AnswerDelay))))}
	if err := h.disk().MkdirAll(h.peer.State.Path("outbox"), 0o700); err != nil {
		return Leaving{}, err
	}
	if err := node.WriteJSON(h.disk(), h.peer.State.Path("outbox", hex.EncodeToString(sum[:])+".json"), l); err != nil {
		return Leaving{}, err
	}
	select {
	case h.queued <- struct{}{}:
	default:
	}
	return Leaving{l.NotBefore, h.peer.Host() != nil}, nil
}

// leaves says what a document is and what it is about.
func leaves(note []byte) (what, subject string, err error) {
	kind, err := consent.Peek(note)
	switch {
	case err != nil:
		return "", "", err
	case kind == grant.BreachKind:
		b, err := grant.OpenBreach(note)
		return "breach record", string(b.Request), err
	}
	o, err := request.OpenObjection(note)
	return "objection", string(o.Request), err
}

// post sends what waits in the outbox until ctx ends.
func (h *Home) post(ctx context.Context) error {
	for {
		wait := time.Hour
		names, err := h.peer.State.Glob("outbox/*.json")
		if err != nil {
			h.peer.Log.Error("outbox not read", "err", err)
		}
		for _, name := range names {
			next, err := h.postOne(ctx, name)
			if err != nil && ctx.Err() == nil {
				h.peer.Log.Info("document not public yet", "err", err)
			}
			if !next.IsZero() {
				wait = min(wait, max(next.Sub(h.peer.Now()), time.Second))
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-h.queued:
		case <-time.After(wait):
		}
	}
}

// postOne sends one document if it is due, and says when it is next; the zero time once it is gone.
func (h *Home) postOne(ctx context.Context, name string) (next time.Time, err error) {
	var l leaving
	now := h.peer.Now().UTC()
	if err := node.ReadJSON(name, &l); errors.Is(err, fs.ErrNotExist) {
		return time.Time{}, nil
	} else if err != nil {
		return now.Add(time.Hour), err
	}
	if now.Before(l.NotBefore) {
		return l.NotBefore, nil
	}
	what, subject, err := leaves([]byte(l.Note))
	if err != nil {
		return time.Time{}, errors.Join(err, h.disk().Remove(name))
	}
	h.mu.Lock()
	r, err := h.next(l.route)
	h.mu.Unlock()
	if err == nil {
		// What is said is public anyway, so its owner is asked nothing when paths run out.
		l.route = r
		if err = forward.Post(ctx, h.peer.Host(), r.stewards(), []byte(l.Note)); err != nil {
			l.Fails++
		}
	}
	switch {
	case err == nil:
		return time.Time{}, errors.Join(h.leftAs([]byte(l.Note), "public"), h.disk().Remove(name), h.ledger.Note("node", what+" handed to a steward", subject, ""))
	case now.Sub(l.Queued) > leavingFor:
		return time.Time{}, errors.Join(err, h.leftAs([]byte(l.Note), ""), h.disk().Remove(name), h.ledger.Note("node", what+" given up", subject, err.Error()))
	}
	l.Attempts++
	l.NotBefore = now.Add(backOff(l.Attempts))
	return l.NotBefore, errors.Join(err, node.WriteJSON(h.disk(), name, l))
}
