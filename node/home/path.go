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

// A route is the stewards that an answer, or a document, goes over.
type route struct {
	Guard string   `json:"guard,omitempty"`      // the first
	Over  []string `json:"over,omitempty"`       // the second ones that were tried; the last one is in use
	Fails int      `json:"path_fails,omitempty"` // attempts over that one that brought nothing, in a row
}

// next is the route of another attempt: another second steward where this one failed often enough. The caller holds h.mu.
func (h *Home) next(r route) (route, error) {
	up := ask.Speaks(h.peer.Host(), forward.Protocol)
	if !slices.Contains(h.peer.Stewards(), r.Guard) {
		first, err := h.guardUp(up)
		if err != nil {
			return r, err
		}
		r = route{Guard: first}
	}
	if !slices.Contains(up, r.Guard) {
		return r, fmt.Errorf("steward %s, with which the path begins, is not connected", r.Guard)
	}
	if len(r.Over) == 0 || r.Fails >= triesOnAPath {
		if second := h.another(r); second != "" {
			r.Over, r.Fails = append(slices.Clone(r.Over), second), 0
		}
	}
	if len(r.Over) == 0 {
		return r, errors.New("config.toml names no second steward for a path")
	}
	return r, nil
}

// stewards are those of the path in use, in their order.
func (r route) stewards() []string { return []string{r.Guard, r.Over[len(r.Over)-1]} }

// another is a second steward that was not tried; "" where there is none, or as many were tried as may be.
func (h *Home) another(r route) string {
	if len(r.Over) >= maxPaths {
		return ""
	}
	left := slices.DeleteFunc(h.peer.Stewards(), func(id string) bool { return id == r.Guard || slices.Contains(r.Over, id) })
	if len(left) == 0 {
		return ""
	}
	return left[rand.IntN(len(left))]
}

// guardUp is one of the guards, any of those that are connected. The caller holds h.mu.
func (h *Home) guardUp(up []string) (string, error) {
	kept, err := h.pinned()
	if err != nil {
		return "", err
	}
	kept = slices.DeleteFunc(kept, func(g guard) bool { return !slices.Contains(up, g.ID) })
	if len(kept) == 0 {
		return "", errors.New("none of this home's guards is connected")
	}
	return kept[rand.IntN(len(kept))].ID, nil
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
	r, err := h.next(a.route)
	if err != nil {
		return nil, because(NoPath, err)
	}
	if err := h.stepLocked(id, a.State, a.State, func(a *Answer) error { a.route = r; return nil }); err != nil {
		return nil, err
	}
	return &deliver.Path{Host: h.peer.Host(), Stewards: r.stewards()}, nil
}

// pathFailed counts an attempt that the path may be to blame for, and says whether its owner has to say what next: every path that the answer
// may take was tried, and the last one was cut. A requester that does not answer is tried further over the last one, and where nothing was
// sent, as while this home is offline, no path failed.
func (h *Home) pathFailed(a *Answer, reason Reason) (asks bool) {
	switch reason {
	case ConnectionLost, NoPath, Unreachable:
	default:
		return false
	}
	if a.Direct || a.State != "sending" {
		return false
	}
	a.Fails++
	return reason != Unreachable && a.Fails >= triesOnAPath && h.another(a.route) == ""
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
			a.route, a.Attempts = route{}, 0
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
