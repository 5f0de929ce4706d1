package home

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/rules"
	"github.com/porchlight-mesh/porchlight/footage/library"
	"github.com/porchlight-mesh/porchlight/node"
)

// A Draft is the clip of one camera that approving a request would send, made before its owner looked
// because the switches say so. It is the preview and nothing more: approving makes the clip anew, so
// that nothing which lies in the folder of drafts can leave, and making one sends no packet, so that
// a home that prepares cannot be told from one that does not.
type Draft struct {
	Camera  library.CameraID `json:"camera"`
	Of      string           `json:"of"`             // hash of the camera and of what it had: another means to make it anew
	File    string           `json:"file,omitempty"` // where its owner finds it, in what is shown
	Bytes   int64            `json:"bytes"`
	From    time.Time        `json:"from,omitzero"` // of the clip
	Until   time.Time        `json:"until,omitzero"`
	Problem string           `json:"problem,omitempty"` // why there is none
}

func (h *Home) draftFile(id consent.RequestID, camera library.CameraID) string {
	path := h.peer.State.Path("drafts", string(id), string(camera)+".mp4")
	if abs, err := filepath.Abs(path); err == nil {
		return abs // its owner may be elsewhere
	}
	return path
}

// there lists the drafts of an item whose files are there, whole, as no backup has them, and those that
// could not be made.
func (h *Home) there(item Item) (drafts []Draft) {
	for _, d := range item.Drafts {
		if d.Problem == "" {
			d.File = h.draftFile(item.Request, d.Camera)
			if info, err := os.Stat(d.File); err != nil || info.Size() != d.Bytes {
				continue
			}
		}
		drafts = append(drafts, d)
	}
	return drafts
}

// draft makes and deletes drafts as requests come and end, until ctx ends. It is slow work, beside
// look, which keeps recordings from roll-off meanwhile.
func (h *Home) draft(ctx context.Context) error {
	for {
		if err := h.makeDrafts(ctx); err != nil && ctx.Err() == nil {
			h.peer.Log.Error("drafts", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-h.matched:
		}
	}
}

// makeDrafts makes the drafts that are missing, of the older requests first, and deletes the rest.
func (h *Home) makeDrafts(ctx context.Context) error {
	var live []node.Request
	for _, r := range h.peer.Requests() {
		if h.mayAnswer(r) == nil {
			live = append(live, r)
		}
	}
	slices.Reverse(live)
	errs := []error{h.tidyDrafts(live)}
	for id := range h.draftAt {
		if !slices.ContainsFunc(live, func(r node.Request) bool { return r.ID == id }) {
			delete(h.draftAt, id)
		}
	}
	for _, r := range live {
		errs = append(errs, h.draftsFor(ctx, r))
	}
	return errors.Join(errs...)
}

// tidyDrafts deletes the drafts of requests that are over, answered, declined or prepared no more. What did
// not fit before may fit then.
func (h *Home) tidyDrafts(live []node.Request) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	var errs []error
	room := false
	for id, item := range h.inbox {
		asks := slices.ContainsFunc(live, func(r node.Request) bool { return r.ID == id })
		if len(item.Drafts) > 0 && !(asks && h.drafted(item)) {
			errs, room = append(errs, h.dropDrafts(item)), true
		}
	}
	for _, item := range h.inbox {
		if room {
			item.Drafts = slices.DeleteFunc(item.Drafts, func(d Draft) bool { return d.Problem != "" })
		}
	}
	// What an interrupted run left and no item knows of goes, too.
	folders, err := os.ReadDir(h.peer.State.Path("drafts"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		errs = append(errs, err)
	}
	for _, f := range folders {
		item := h.inbox[consent.RequestID(f.Name())]
		if item == nil || len(item.Drafts) == 0 {
			errs = append(errs, os.RemoveAll(h.peer.State.Path("drafts", f.Name())))
		}
	}
	return errors.Join(errs...)
}

// drafted says whether drafts are made for an item. The caller holds h.mu.
func (h *Home) drafted(item *Item) bool {
	return item != nil && item.Action == rules.Prepare && h.shown(*item).State == "new"
}

// dropDrafts deletes what was prepared for an item. The caller holds h.mu.
func (h *Home) dropDrafts(item *Item) error {
	item.Drafts = nil
	return errors.Join(os.RemoveAll(h.peer.State.Path("drafts", string(item.Request))), h.saveItem(item))
}

// draftsFor makes the drafts of one request that are missing or of other recordings than there are now.
func (h *Home) draftsFor(ctx context.Context, r node.Request) error {
	item, ok := h.itemOf(r.ID)
	if !ok || item.Action != rules.Prepare || item.State != "new" {
		return nil
	}
	if !h.isDue(r) {
		return nil
	}
	var errs []error
	for _, m := range item.Cameras {
		of, err := h.draftOf(m, r)
		if err != nil {
			continue // withdrawn since it was matched
		}
		if slices.ContainsFunc(item.Drafts, func(d Draft) bool { return d.Camera == m.Camera && d.Of == of }) {
			continue
		}
		if err := h.makeDraft(ctx, r, Draft{Camera: m.Camera, Of: of}); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(append(errs, h.keepDrafts(r.ID, func(d Draft) bool {
		return slices.ContainsFunc(item.Cameras, func(m Matched) bool { return m.Camera == d.Camera })
	}))...)
}

// isDue says whether the moment has come at which a request's drafts are made. It is drawn when they are first missing, as
// that of an answer is, for the reason why requests wait for the next look; until then they are told like any other.
func (h *Home) isDue(r node.Request) bool {
	at, drawn := h.draftAt[r.ID]
	if !drawn {
		at = h.leaves(r.Body)
		h.draftAt[r.ID] = at
	}
	return !h.peer.Now().Before(at)
}

// draftOf is a hash of what a draft is made of.
func (h *Home) draftOf(m Matched, r node.Request) (string, error) {
	source, err := h.source(string(m.Camera), r.Body)
	if err != nil {
		return "", err
	}
	b, err := json.Marshal(m)
	return consent.HashText(append(b, source...)), err
}

// makeDraft makes one draft, within the room that all of them have: as much again as the silent holds.
func (h *Home) makeDraft(ctx context.Context, r node.Request, d Draft) error {
	room := h.peer.Config.Home.HoldQuotaMB << 20
	h.mu.Lock()
	for id, item := range h.inbox {
		for _, other := range item.Drafts {
			if id != r.ID || other.Camera != d.Camera {
				room -= other.Bytes
			}
		}
	}
	h.mu.Unlock()
	file := h.draftFile(r.ID, d.Camera)
	if err := h.disk().MkdirAll(h.peer.State.Path("drafts", string(r.ID)), 0o700); err != nil {
		return err
	}
	from, until, err := span(r.Body, time.Time{}, time.Time{})
	if err != nil {
		return err
	}
	clip, err := h.clipTo(ctx, h.peer.State.Path("drafts"), file, d.Camera, from, until, max(room, 0))
	if ctx.Err() != nil {
		return ctx.Err() // the next run makes it
	}
	if err != nil {
		d.Problem = err.Error()
		if errors.Is(err, errNoRoom) {
			d.Problem = "drafts may take hold_quota_mb together, and this one does not fit; `porchlight home preview` makes it elsewhere"
		}
		_ = os.Remove(file) // one of other recordings; it goes with the rest at the latest
	}
	d.Bytes, d.From, d.Until = clip.Bytes, clip.From, clip.Until
	h.mu.Lock()
	defer h.mu.Unlock()
	item := h.inbox[r.ID]
	if !h.drafted(item) { // declined or answered meanwhile
		return os.RemoveAll(h.peer.State.Path("drafts", string(r.ID)))
	}
	item.Drafts = append(slices.DeleteFunc(item.Drafts, func(old Draft) bool { return old.Camera == d.Camera }), d)
	return h.saveItem(item)
}

// keepDrafts drops the drafts of cameras that have nothing for a request any more.
func (h *Home) keepDrafts(id consent.RequestID, keep func(Draft) bool) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	item := h.inbox[id]
	if item == nil || !slices.ContainsFunc(item.Drafts, func(d Draft) bool { return !keep(d) }) {
		return nil
	}
	var errs []error
	item.Drafts = slices.DeleteFunc(item.Drafts, func(d Draft) bool {
		if !keep(d) {
			errs = append(errs, os.RemoveAll(h.draftFile(id, d.Camera)))
		}
		return !keep(d)
	})
	return errors.Join(append(errs, h.saveItem(item))...)
}
