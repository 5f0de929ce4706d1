package home

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/porchlight-mesh/porchlight/node"
	"github.com/porchlight-mesh/porchlight/p2p/ask"
	"github.com/porchlight-mesh/porchlight/p2p/deliver"
	"github.com/porchlight-mesh/porchlight/p2p/forward"
)

// An answer goes over two of the stewards that this home's config.toml names: a guard, which knows the home anyway, and a second one. A guard
// is kept for months, because whoever is tried often enough is at last somebody's who listens; for the same reason an answer keeps its
// guard, and takes another second steward only after several attempts in a row brought nothing, and no more than maxPaths in all.
const (
	guards        = 2
	guardLeast    = 60 * 24 * time.Hour // a guard is kept for this,
	guardMore     = 60 * 24 * time.Hour // and a random part of this
	maxPaths      = 3
	triesOnAPath  = 3
	stewardsAPath = 2
)

// A guard is a steward that this home's answers begin with.
type guard struct {
	ID    string    `json:"id"`
	Until time.Time `json:"until"`
}

// pinned lists the guards, in guards.json, and replaces those that config.toml names no more or that were kept long enough. The caller
// holds h.mu.
func (h *Home) pinned() ([]guard, error) {
	file := h.peer.State.Path("guards.json")
	var kept []guard
	if err := node.ReadJSON(file, &kept); err != nil && !errors.Is(err, fs.ErrNotExist) {
		h.peer.Log.Warn("guards unreadable; others are chosen", "err", err)
		kept = nil
	}
	now, known := h.peer.Now(), h.peer.Stewards()
	before := len(kept)
	kept = slices.DeleteFunc(kept, func(g guard) bool { return !slices.Contains(known, g.ID) || !now.Before(g.Until) })
	changed := len(kept) != before
	rand.Shuffle(len(known), func(i, j int) { known[i], known[j] = known[j], known[i] })
	for _, id := range known {
		if len(kept) < guards && !slices.ContainsFunc(kept, func(g guard) bool { return g.ID == id }) {
			kept = append(kept, guard{id, now.Add(guardLeast + rand.N(guardMore)).UTC()})
			changed = true
		}
	}
	if !changed {
		return kept, nil
	}
	return kept, node.WriteJSON(h.disk(), file, kept)
}

// hidden says why no path hides this home, or nil.
func (h *Home) hidden() error {
	if n := len(h.peer.Stewards()); n < stewardsAPath {
		return node.WithHint(fmt.Errorf("config.toml names %s, and an answer needs %d, so that none of them sees both this home's internet address and the agency's", count(n), stewardsAPath),
			"add a steward that somebody else runs (`porchlight join` with its invitation), or approve with --address-shown: the clip then goes straight to the agency, which sees this home's address")
	}
	return nil
}

func count(n int) string {
	if n == 1 {
		return "1 steward"
	}
	return fmt.Sprintf("%d stewards", n)
}

// path is the way of an answer: nil for straight. What it chooses stands in the answer's record before it is used.
func (h *Home) path(id string) (*deliver.Path, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	a := h.answers[id]
	if a.Direct {
		return nil, nil
	}
	if a.Reason == PathsUsed {
		return nil, because(PathsUsed, errors.New(PathsUsed.Words()))
	}
	if err := h.hidden(); err != nil {
		return nil, because(NoPath, err)
	}
	up := ask.Speaks(h.peer.Host(), forward.Protocol)
	next := a.copy()
	if !slices.Contains(h.peer.Stewards(), next.Guard) {
		first, err := h.guardUp(up)
		if err != nil {
			return nil, because(NoPath, err)
		}
		next.Guard, next.Over = first, nil
	}
	if !slices.Contains(up, next.Guard) {
		return nil, because(NoPath, fmt.Errorf("steward %s, with which this answer's path begins, is not connected", next.Guard))
	}
	if len(next.Over) == 0 || next.PathFails >= triesOnAPath {
		if second := h.another(&next); second != "" {
			next.Over, next.PathFails = append(slices.Clone(next.Over), second), 0
		}
	}
	if len(next.Over) == 0 {
		return nil, because(NoPath, errors.New("config.toml names no second steward for this answer's path"))
	}
	if err := h.stepLocked(id, a.State, a.State, func(a *Answer) error {
		a.Guard, a.Over, a.PathFails = next.Guard, next.Over, next.PathFails
		return nil
	}); err != nil {
		return nil, err
	}
	return &deliver.Path{Host: h.peer.Host(), Stewards: []string{next.Guard, next.Over[len(next.Over)-1]}}, nil
}

// another is a second steward that the answer has not tried; "" where there is none, or it tried as many as it may.
func (h *Home) another(a *Answer) string {
	if len(a.Over) >= maxPaths {
		return ""
	}
	left := slices.DeleteFunc(h.peer.Stewards(), func(id string) bool { return id == a.Guard || slices.Contains(a.Over, id) })
	if len(left) == 0 {
		return ""
	}
	return left[rand.IntN(len(left))]
}

// pathFailed counts an attempt that the path may be to blame for, and says whether its owner has to say what next: every path that the answer
// may take was tried, and the last one was cut. A requester that does not answer is tried further over the last one.
func (h *Home) pathFailed(a *Answer, reason Reason) (asks bool) {
	switch reason {
	case ConnectionLost, NoPath, Unreachable:
	default:
		return false
	}
	if a.Direct || len(a.Over) == 0 {
		return false
	}
	a.PathFails++
	return reason != Unreachable && a.PathFails >= triesOnAPath && h.another(a) == ""
}

// retry lets answers go on that wait for their owner, or for a steward: over stewards again, as if for the first time, or straight.
func (h *Home) retry(_ context.Context, args Retry) ([]AnswerStatus, error) {
	req, err := h.find(args.Request)
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	out := []AnswerStatus{}
	for id, a := range h.answers {
		if a.Request != req || !a.open() || h.sending[id] != nil || !(a.Reason == PathsUsed || a.Reason == NoPath || args.AddressShown && !a.Direct) {
			continue
		}
		way := "over stewards"
		if args.AddressShown {
			way = "straight: the agency sees this home's address"
		}
		if err := h.stepLocked(id, a.State, a.State, func(a *Answer) error {
			a.Direct = args.AddressShown
			a.Guard, a.Over, a.PathFails, a.Attempts = "", nil, 0, 0
			a.NotBefore = h.peer.Now().Add(time.Duration(randomBelow(int64(h.peer.Config.Home.AnswerDelay)))).UTC()
			a.Reason, a.Since, a.Problem = "", time.Time{}, ""
			return h.ledger.Note("owner", "goes on", string(req), "answer "+id+" "+way)
		}); err != nil {
			return nil, err
		}
		out = append(out, a.status())
	}
	if len(out) == 0 {
		return nil, errors.New("no answer to this request waits for you to say how it goes on")
	}
	h.poke()
	return out, nil
}
