package home

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"filippo.io/age"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/docket"
	"github.com/porchlight-mesh/porchlight/consent/grant"
	"github.com/porchlight-mesh/porchlight/node"
)

// readAgain is how many entries of a docket may be read once more after a start: the disk is not written to for each of them.
const readAgain = 100

// listen tries the sealed messages of a docket's new daily entries with an answer's key.
func (h *Home) listen(a *Answer, d *node.Docket, from, to int64) error {
	text, err := os.ReadFile(h.file(a, "reach.key"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it came from a backup that has no such keys
	}
	if err != nil {
		return err
	}
	identity, err := age.ParseX25519Identity(strings.TrimSpace(string(text)))
	if err != nil {
		return err
	}
	g, err := h.given(a)
	if err != nil {
		return err
	}
	if d == h.peer.Docket(a.Agency) {
		from = max(from, g.request.Index) // nobody knew the key before
	}
	for i := from; i < to; i++ {
		note, err := d.Read(i)
		if err != nil {
			return err
		}
		daily, err := docket.OpenDaily(note)
		if err != nil || daily.Created.Before(g.grant.Created.Time) {
			continue
		}
		var said [][]byte
		for _, m := range daily.Messages {
			if note, err := node.OpenMessage(identity, m); err == nil { // else it is nobody's, or another's
				said = append(said, note)
			}
		}
		// A card says whose the rest is, and the order in an entry says nothing.
		slices.SortStableFunc(said, func(a, b []byte) int { return cmp.Compare(cardFirst(a), cardFirst(b)) })
		for _, note := range said {
			if err := h.heard(a, g, note); errors.Is(err, errNotHeard) {
				h.peer.Log.Warn("a message to this home cannot be read", "answer", a.ID, "err", err)
			} else if err != nil {
				return err // the disk: it is read again
			}
		}
	}
	return nil
}

func cardFirst(note []byte) int {
	if kind, _ := consent.Peek(note); kind == "taking" {
		return 0
	}
	return 1
}

// errNotHeard is of a note that says nothing to this home.
var errNotHeard = errors.New("it says nothing that this home can take in")

// heard takes in a note that a holder sealed to this home, or answered.
func (h *Home) heard(a *Answer, g given, note []byte) error {
	kind, err := consent.Peek(note)
	if err != nil {
		return fmt.Errorf("%w: %w", errNotHeard, err)
	}
	have, err := h.notes(a)
	if err != nil || slices.ContainsFunc(have, func(b []byte) bool { return bytes.Equal(b, note) }) {
		return err
	}
	var by, subject, detail string
	if kind == "taking" {
		c, err := grant.OpenTaking(note)
		if err != nil {
			return fmt.Errorf("%w: %w", errNotHeard, err)
		}
		if c.Agency == a.Agency || !slices.Contains(a.agencies(), c.Agency) {
			return fmt.Errorf("%w: a card of an agency that its owner let nobody pass it on to", errNotHeard)
		}
		by, subject, detail = h.nameOf(c.Agency), string(a.Request), "takes over what is passed on to it"
	}
	for i := range a.Releases {
		all, err := h.holders(a, i, g, have)
		if err != nil {
			return err
		}
		for _, o := range all {
			if r, ok := o.receipt(note); ok {
				by, subject, detail = o.name, string(r.CID), strings.TrimSpace(string(r.State)+" "+r.Detail)
			} else if m, ok := o.message(note); ok {
				by, subject, detail = o.name, string(m.CID), "asks: "+string(m.Ask)+": "+m.Reason
			}
		}
	}
	if by == "" {
		return fmt.Errorf("%w: a %s that no agency of this answer signed about it", errNotHeard, kind)
	}
	if len(have) >= maxSaid {
		return fmt.Errorf("%w: answer %s: the requester said %d things already; no more is kept", errNotHeard, a.ID, len(have))
	}
	if err := h.ledger.Note("requester", "said", subject, by+": "+detail); err != nil {
		return err
	}
	return h.hears(a, note)
}
