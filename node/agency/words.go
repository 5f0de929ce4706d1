package agency

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/grant"
	"github.com/porchlight-mesh/porchlight/consent/request"
	"github.com/porchlight-mesh/porchlight/footage/durable"
)

// maxWordsKept bounds what owners say about one release that is kept.
const maxWordsKept = 64

// Word takes in what an owner says about a release that was given: the session's handshake proved that it is the owner's. What it
// changes counts at once. A withdrawal is answered with a receipt that says that the release is gone, or by which order it is not, an
// extension with one of the new commitment.
func (a receiver) Word(_ context.Context, from ed25519.PublicKey, note []byte) ([]byte, error) {
	kind, err := consent.Peek(note)
	if err != nil {
		return nil, err
	}
	var id consent.GrantID
	var cid consent.ReleaseID
	var key consent.VerifierKey
	var change func(h *held, k *kept) error
	var step, detail string
	switch kind {
	case "withdrawal":
		var w grant.Withdrawal
		w, err = grant.OpenWithdrawal(note)
		id, cid, key, step = w.Grant, w.CID, w.Key, "withdrawn"
		// By the ratchet's time, which keys are destroyed by.
		change = func(_ *held, k *kept) error { k.Withdrawn = a.now().UTC(); return nil }
	case "extension":
		var e grant.Extension
		e, err = grant.OpenExtension(note)
		id, cid, key, step, detail = e.Grant, e.CID, e.Key, "kept for longer", "until "+e.RetainUntil.String()
		change = func(h *held, k *kept) error {
			holding, err := h.holding(k)
			if err != nil {
				return err
			}
			if err := a.notAhead(e.Created); err != nil {
				return err
			}
			if _, err = holding.Extend(e, a.peer.Charter().Limits); err != nil {
				return err
			}
			if err := a.checkPlanned(daysUntil(e.Created.Time, e.RetainUntil.Time), 0); err != nil {
				return err
			}
			k.Extended = append(slices.Clone(k.Extended), extension{e.Created.Time, a.peer.Now().UTC(), e.RetainUntil.Time, e.Secret})
			return a.promise(holding.CID, e.Secret, e.Created.Time, e.RetainUntil.Time)
		}
	case "statement":
		var s grant.Statement
		s, err = grant.OpenStatement(note)
		id, cid, key, step = s.Grant, s.CID, s.Key, "statement received"
	case "onward":
		var o grant.Onward
		o, err = grant.OpenOnward(note)
		id, cid, key, step, detail = o.Grant, o.CID, o.Key, "may be passed on", "to "+string(o.To)
		change = func(h *held, k *kept) error {
			holding, err := h.holding(k)
			if err != nil {
				return err
			}
			to, ok := a.peer.Agency(o.To)
			if !ok {
				return fmt.Errorf("the charter admits no agency %s", o.To)
			}
			if err := a.notAhead(o.Created); err != nil {
				return err
			}
			_, err = holding.PassOn(o, to.Class)
			return err
		}
	default:
		return nil, consent.Refuse(consent.WrongKind, "", "a %s is nothing that an owner says here", kind)
	}
	if err != nil {
		return nil, err
	}
	h, k, _, err := a.vault.known(from, string(cid))
	if err != nil {
		return nil, err
	}
	if id != h.id || key != h.grant.Key {
		return nil, consent.Refuse(consent.WrongSubject, "grant", "it is about another grant than this session's")
	}
	if k.State != "deleted" {
		if err := a.vault.said(h, k.Root, note, kind == "withdrawal", func(k *kept) error {
			if change != nil {
				if err := change(h, k); err != nil {
					return err
				}
			}
			return a.custody.Note("owner", step, k.Root, detail)
		}); err != nil {
			return nil, a.taken(h, k.Root, err)
		}
	}
	switch kind {
	case "extension":
		return a.receiptNow(h, k.Root) // of the new commitment
	case "withdrawal":
	default:
		return nil, nil
	}
	err = a.expire()
	if now := a.vault.copyOf(h, k.Root); now.State != "deleted" && now.law == nil {
		return nil, a.taken(h, k.Root, cmp.Or(err, errors.New("the release is not destroyed yet")))
	}
	if err != nil {
		a.peer.Log.Error("deadlines", "err", err) // of other releases
	}
	return a.receiptNow(h, k.Root)
}

// notAhead refuses a word that counts from a day to come.
func (a *Agency) notAhead(created consent.Time) error {
	if created.After(a.peer.Now().Add(request.ClockSkew)) {
		return consent.Refuse(consent.NotYetValid, "created", "it is dated %s, in the future", created)
	}
	return nil
}

// receiptNow signs what is so of a release now.
func (a *Agency) receiptNow(h *held, root string) ([]byte, error) {
	k := a.vault.copyOf(h, root)
	return a.receipt(h, &k)
}

// receipt signs what a record says of a release: that it is gone, kept by law, used, or held.
func (a *Agency) receipt(h *held, k *kept) ([]byte, error) {
	s := grant.Receipt{Grant: h.id, GrantKey: h.grant.Key, CID: consent.ReleaseID(k.Root), Commitment: h.commitment(k), State: grant.Held, DeleteBy: consent.At(h.deadline(k)), At: consent.At(a.peer.Now())}
	switch {
	case k.State == "deleted":
		s.State = grant.Deleted
	case k.law != nil:
		s.State, s.Entry, s.Salt, s.Detail = grant.KeptByLaw, k.law.ID, k.law.Salt, k.law.Court+", "+k.law.Number
	case k.Used:
		s.State = grant.Used
	}
	if k.manifest == nil {
		return nil, fmt.Errorf("nothing of release %s is here", k.Root)
	}
	s.SealedSHA256 = k.manifest.SealedSHA256
	key, err := a.receptionKey(h.signer(k))
	if err != nil {
		return nil, err
	}
	s.Key = key.Verifier()
	return consent.Sign(s, key)
}

// holding is what binds this agency as to a release, with what its owner said since.
func (h *held) holding(k *kept) (grant.Holding, error) {
	holding, err := grant.HoldingOf(h.id, h.grant, consent.ReleaseID(k.Root))
	if err != nil {
		return holding, err
	}
	if k.taken != nil {
		holding.Holder, holding.From, holding.Secrets = k.taken.To, k.taken.From, []grant.Secret{k.taken.Secret}
	}
	holding.Terms = h.terms(k)
	for _, e := range k.Extended {
		holding.Secrets = append(holding.Secrets, e.Secret)
	}
	return holding, nil
}

// known finds a release of the grant whose key opened the session, gone or not. The record is a copy.
func (v *vault) known(from ed25519.PublicKey, root string) (*held, kept, grant.Release, error) {
	h, k, r, err := v.release(from, root, time.Time{})
	if err == errOver {
		err = nil
	}
	return h, k, r, err
}

func (v *vault) copyOf(h *held, root string) kept {
	v.mu.Lock()
	defer v.mu.Unlock()
	return *h.releases[root]
}

// said keeps what the owner signed about a release and what it changes, always or while there are few. The note is on the disk before it counts; one that is there
// already is not kept twice.
func (v *vault) said(h *held, root string, note []byte, always bool, change func(k *kept) error) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.grants[h.id] != h || h.dropping {
		return errGone
	}
	k := *h.releases[root]
	sum := consent.HashText(note)
	for _, had := range k.Said {
		if had == sum {
			return nil
		}
	}
	if always && !k.Withdrawn.IsZero() {
		return nil // one withdrawal says it all
	}
	if len(k.Said) >= maxWordsKept && !always {
		return fmt.Errorf("%d words about this release are kept already", len(k.Said))
	}
	if err := change(&k); err != nil {
		return err
	}
	f, err := v.disk.OpenAppend(v.path(h.id, root+".words"), 0o600)
	if err != nil {
		return err
	}
	if err := f.Append(durable.AppendRecord(nil, note)); err != nil {
		f.Close()
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	k.Said = append(append([]string{}, k.Said...), sum)
	if err := v.save(h, &k); err != nil {
		return err
	}
	*h.releases[root] = k
	return nil
}

// allSaid lists what owners said about releases since they came, the newest last.
func (a *Agency) allSaid(context.Context, struct{}) ([]Said, error) {
	a.vault.mu.Lock()
	defer a.vault.mu.Unlock()
	all := []Said{}
	for id, h := range a.vault.grants {
		for root, k := range h.releases {
			if len(k.Said) == 0 {
				continue
			}
			if _, err := a.vault.disk.ReadRecords(a.vault.path(id, root+".words"), func(note []byte) error {
				s, err := a.readWord(note)
				s.Release = root
				all = append(all, s)
				return err
			}); err != nil {
				return nil, fmt.Errorf("what was said about release %s: %w", root, err)
			}
		}
	}
	slices.SortStableFunc(all, func(x, y Said) int { return x.At.Compare(y.At) })
	return all, nil
}

// readWord reads what was verified when it came.
func (a *Agency) readWord(note []byte) (s Said, err error) {
	if s.What, err = consent.Peek(note); err != nil {
		return s, err
	}
	switch s.What {
	case "withdrawal":
		w, err := grant.OpenWithdrawal(note)
		s.At = w.Created.Time
		return s, err
	case "extension":
		e, err := grant.OpenExtension(note)
		s.At, s.Text = e.Created.Time, "until "+e.RetainUntil.String()
		return s, err
	case "statement":
		t, err := grant.OpenStatement(note)
		s.At, s.Text = t.Created.Time, t.Text
		return s, err
	}
	o, err := grant.OpenOnward(note)
	to, _ := a.peer.Agency(o.To) // whose id says enough where the charter admits it no longer
	s.At, s.Text = o.Created.Time, "to "+cmp.Or(to.Name, string(o.To))
	return s, err
}
