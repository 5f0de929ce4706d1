package verify

import (
	"github.com/porchlight-mesh/porchlight/cmd/porchlight/internal/ui"
	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/docket"
	"github.com/porchlight-mesh/porchlight/consent/request"
	"github.com/porchlight-mesh/porchlight/node"
)

// docketEntry checks an entry by itself: its signatures, by the keys that it names.
func docketEntry(r *Result, note []byte) error {
	switch r.Kind {
	case "officer":
		o, err := consent.Open(note, func(o docket.Officer) ([]consent.VerifierKey, error) {
			return []consent.VerifierKey{o.By}, nil
		})
		if err != nil {
			return err
		}
		r.prove("%s %s as %s, signed by %s", o.Action, o.Name, o.Role, o.By.Name())
	case "resolve":
		e, err := docket.OpenResolve(note)
		if err != nil {
			return err
		}
		r.prove("request %s is resolved: %s; signed by %s", ui.Short(e.Request), e.Reason, e.Officer.Name())
	case "supersede":
		e, err := docket.OpenSupersede(note)
		if err != nil {
			return err
		}
		r.prove("request %s is superseded by %s; signed by %s and then %s", ui.Short(e.Request), ui.Short(e.Replacement), e.Officer.Name(), e.Supervisor.Name())
	}
	r.leave("that the signers were enrolled, and that it stands in the docket: check the docket's message")
	return nil
}

// bundle checks a docket's self-contained message against the agency that the charter admits.
func bundle(r *Result, msg []byte, with With) error {
	r.Kind = "docket message"
	b, err := docket.ParseBundle(msg)
	if err != nil {
		return err
	}
	if with.Charter == "" {
		return node.WithHint(consent.Refuse(consent.UnknownAgency, "agency", "whose docket this is, only a charter says"), "give the charter with --charter")
	}
	chain, err := node.ReadCharter(with.Charter)
	if err != nil {
		return err
	}
	a, ok := chain.DocketAgency(b.Agency())
	if !ok {
		return consent.Refuse(consent.UnknownAgency, "agency", "the charter does not admit %s", b.Agency())
	}
	note, index, _, err := b.Verify(a)
	if err != nil {
		return err
	}
	kind, err := consent.Peek(note)
	if err != nil {
		return err
	}
	cp, err := docket.ParseCheckpoint(b.Checkpoint(), a)
	if err != nil {
		return err
	}
	r.prove("a %s stands as entry %d in the docket of %s, under its checkpoint of %d entries", kind, index, a.Name, cp.Size)
	r.prove("its signers were enrolled in that docket, by entries that are in the message")
	if kind == request.Kind {
		if err := requestNote(r, note, with); err != nil {
			return err
		}
	}
	if chain.Current().Quorum == 0 {
		r.leave("that everybody sees this docket: the mesh has no witnesses")
	}
	r.leave("that no entry in between revoked a signer: that takes the whole docket")
	return nil
}
