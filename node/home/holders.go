package home

import (
	"errors"
	"slices"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
	"github.com/porchlight-mesh/porchlight/consent/grant"
	"github.com/porchlight-mesh/porchlight/node"
)

// A release may be with several agencies: the one that it was granted to, and those that its owner let it be passed on to. Each has a key that signs
// for it, the request's reception key or that of a card (grant.Taking), and follows the release in its own docket by a commitment of its own.

// A holder is one of them.
type holder struct {
	grant.Holding
	name  string
	cards map[consent.VerifierKey]string // by the key that signs for the release: the card, "" for the first holder
}

// everybody says that whom the owner let have a release may have it, whatever the charter says of them now.
func everybody(consent.AgencyID) (charter.AgencyClass, bool) { return "", true }

// holders are those of a release of an answer, the one that it was granted to first. What the owner said counts once it was taken in, and in
// that order.
func (h *Home) holders(a *Answer, i int, g given, notes [][]byte) ([]holder, error) {
	cid := consent.ReleaseID(a.Releases[i].Root)
	first, err := grant.HoldingOf(g.id, g.grant, cid)
	if err != nil {
		return nil, err
	}
	taken := slices.DeleteFunc(slices.Clone(a.Words), func(w Word) bool { return w.Release != a.Releases[i].Root || w.Said.IsZero() })
	slices.SortStableFunc(taken, func(a, b Word) int { return a.Said.Compare(b.Said) })
	// What was within the charter's limits when it was signed stays so.
	limits := h.peer.Charter().Limits
	limits.MaxRetentionDays = 1 << 20
	all := []grant.Holding{first}
	var words []consent.Body
	for _, w := range taken {
		var word consent.Body
		switch kind, _ := consent.Peek([]byte(w.Note)); kind {
		case "extension":
			e, err := grant.OpenExtension([]byte(w.Note))
			if err != nil {
				return nil, err
			}
			word = e
		case "onward":
			o, err := grant.OpenOnward([]byte(w.Note))
			if err != nil {
				return nil, err
			}
			word = o
		default:
			continue
		}
		// A word that brings nothing about beside those before it, as one that was said twice, keeps none of the others from counting.
		with := append(slices.Clip(words), word)
		if next, err := first.Holders(with, limits, everybody); err == nil {
			words, all = with, next
		}
	}
	out := []holder{}
	for _, x := range all {
		o := holder{Holding: x, name: string(x.Holder), cards: map[consent.VerifierKey]string{}}
		if agency, ok := h.peer.Agency(x.Holder); ok {
			o.name = agency.Name
		}
		if x.From == "" {
			o.name, o.cards[g.request.Body.ReceptionKey] = g.request.Name, ""
		}
		for _, n := range notes {
			if c, err := grant.OpenTaking(n); err == nil && c.Agency == x.Holder {
				o.cards[c.Reception] = string(n)
			}
		}
		out = append(out, o)
	}
	return out, nil
}

// receipt reads what a holder signed about the release; ok is false for what is another's, or about something else.
func (o holder) receipt(note []byte) (r grant.Receipt, ok bool) {
	r, err := consent.Open(note, func(r grant.Receipt) ([]consent.VerifierKey, error) { return []consent.VerifierKey{r.Key}, nil })
	_, own := o.cards[r.Key]
	return r, err == nil && own && o.Signed(r)
}

// message reads what a holder asks about the release, likewise.
func (o holder) message(note []byte) (m grant.Message, ok bool) {
	m, err := consent.Open(note, func(m grant.Message) ([]consent.VerifierKey, error) { return []consent.VerifierKey{m.Key}, nil })
	_, own := o.cards[m.Key]
	return m, err == nil && own && m.Grant == o.Grant && m.CID == o.CID
}

// has says whether a holder signed that it has the release.
func (o holder) has(notes [][]byte) bool {
	return slices.ContainsFunc(notes, func(n []byte) bool { _, ok := o.receipt(n); return ok })
}

// one finds a holder of a release by its agency's id, the first one for "".
func oneHolder(all []holder, id consent.AgencyID) (holder, error) {
	for _, o := range all {
		if id == "" || o.Holder == id {
			return o, nil
		}
	}
	return holder{}, node.WithHint(errors.New("that agency has not got this release"), "`porchlight home given RELEASE` shows who has it")
}
