package verify

import (
	"fmt"

	"github.com/porchlight-mesh/porchlight/cmd/porchlight/internal/ui"
	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/docket"
	"github.com/porchlight-mesh/porchlight/consent/grant"
)

// word checks what an owner said about a release that was given.
func word(r *Result, note []byte, with With) error {
	var key consent.VerifierKey
	var id consent.GrantID
	switch r.Kind {
	case "withdrawal":
		w, err := grant.OpenWithdrawal(note)
		if err != nil {
			return err
		}
		id, key = w.Grant, w.Key
		r.prove("release %s was taken back at %s, signed by the grant key it names", w.CID, ui.UTC(w.Created.Time))
	case "extension":
		e, err := grant.OpenExtension(note)
		if err != nil {
			return err
		}
		id, key = e.Grant, e.Key
		r.prove("release %s may be kept until %s, signed at %s by the grant key it names", e.CID, ui.UTC(e.RetainUntil.Time), ui.UTC(e.Created.Time))
	case "statement":
		s, err := grant.OpenStatement(note)
		if err != nil {
			return err
		}
		id, key = s.Grant, s.Key
		r.prove("a statement about release %s, signed at %s by the grant key it names: %s", s.CID, ui.UTC(s.Created.Time), s.Text)
	case "onward":
		o, err := grant.OpenOnward(note)
		if err != nil {
			return err
		}
		id, key = o.Grant, o.Key
		r.prove("agency %s may pass release %s on to agency %s, signed at %s by the grant key it names", o.From, o.CID, o.To, ui.UTC(o.Created.Time))
	}
	if with.Grant == "" {
		r.leave("that it is the owner's word: give the grant with --grant")
	} else {
		g, have, err := openGrant(with.Grant)
		if err != nil {
			return err
		}
		if have != id || g.Key != key {
			return consent.Refuse(consent.WrongSubject, "grant", "%s is another grant than it is about", with.Grant)
		}
		r.prove("it is signed by the key of that grant")
	}
	r.leave("that the agency was told, and kept to it")
	return nil
}

// message checks what a requester asked of an owner.
func message(r *Result, note []byte, with With) error {
	m, err := consent.Open(note, func(m grant.Message) ([]consent.VerifierKey, error) { return []consent.VerifierKey{m.Key}, nil })
	if err != nil {
		return err
	}
	r.prove("the requester asks for %s about release %s, signed at %s by the reception key it names: %s", m.Ask, m.CID, ui.UTC(m.Created.Time), m.Reason)
	if err := about(r, m.Grant, m.CID, with); err != nil {
		return err
	}
	return reception(r, m.Key, with)
}

// taking checks the card of an agency that takes a release over.
func taking(r *Result, note []byte) error {
	c, err := grant.OpenTaking(note)
	if err != nil {
		return err
	}
	r.prove("agency %s takes a release over and signs for it with %s; its docket key signed this at %s", c.Agency, c.Reception.Name(), ui.UTC(c.Created.Time))
	r.leave("which release, and that its owner lets it: the owner's words say so")
	return nil
}

// breach checks what an owner shows of a promise that is not kept.
func breach(r *Result, note []byte, with With) error {
	b, err := grant.OpenBreach(note)
	if err != nil {
		return err
	}
	c, err := consent.Open([]byte(b.Receipt), func(c grant.Receipt) ([]consent.VerifierKey, error) { return []consent.VerifierKey{c.Key}, nil })
	if err != nil {
		return fmt.Errorf("its receipt: %w", err)
	}
	if _, err := b.OpenReceipt(c.Key); err != nil {
		return err
	}
	r.prove("the owner of a release that answers request %s shows a receipt of %s: %s, its deletion due by %s", ui.Short(b.Request), ui.UTC(c.At.Time), c.State, ui.UTC(c.DeleteBy.Time))
	r.prove("the receipt was given to the key that signs this record, for the commitment %s", c.Commitment)
	if b.Card != "" {
		r.prove("the receipt's key is that of a card of agency %s, which took the release over; its docket key signed the card", b.Agency)
	} else if err := reception(r, c.Key, with); err != nil {
		return err
	}
	r.leave("that the docket fails it (%s): look for the commitment in the agency's daily entries", b.Fault)
	return nil
}

// declaration checks a hold or a transfer.
func declaration(r *Result, note []byte) error {
	switch r.Kind {
	case "hold":
		h, err := docket.OpenHold(note)
		if err != nil {
			return err
		}
		r.prove("a hold of %s, %s, over %s, of %s; signed by %s and then %s", h.Court, h.Number, ui.Count(len(h.Covers), "release"), ui.UTC(h.Created.Time), h.Officer.Name(), h.Supervisor.Name())
		r.leave("that the order exists: its SHA-256 is %s", h.DocumentSHA256)
	case "transfer":
		t, err := docket.OpenTransfer(note)
		if err != nil {
			return err
		}
		r.prove("%s passed on to %s on the ground %s, by %s; signed by %s and then %s", ui.Count(len(t.Covers), "release"), t.To, t.Ground, ui.UTC(t.Created.Time), t.Officer.Name(), t.Supervisor.Name())
	}
	r.leave("which releases: only their owners are told")
	return nil
}
