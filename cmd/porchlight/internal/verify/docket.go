package verify

import (
	"bytes"
	"slices"
	"strings"

	"github.com/porchlight-mesh/porchlight/cmd/porchlight/internal/ui"
	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
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
	case "report":
		e, err := docket.OpenReport(note)
		if err != nil {
			return err
		}
		r.prove("a report on request %s, of %s; signed by %s and then %s", ui.Short(e.Request), ui.UTC(e.Created.Time), e.Officer.Name(), e.Supervisor.Name())
	case "outcome":
		e, err := docket.OpenOutcome(note)
		if err != nil {
			return err
		}
		r.prove("the outcome of request %s: %s; signed by %s", ui.Short(e.Request), e.Outcome.Title(), e.Officer.Name())
	case "hold", "transfer":
		if err := declaration(r, note); err != nil {
			return err
		}
	case "daily":
		e, err := docket.OpenDaily(note)
		if err != nil {
			return err
		}
		r.prove("the daily entry of %s, signed by the docket key %s", e.Day, e.Key.Name())
		r.leave("which of its commitments are real: nobody but the agency and each one's owner can tell")
		r.leave("that its key is the docket's, and that it says what the schedule has: check the docket")
		return nil
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
	chain, a, err := docketOf(b.Agency(), with)
	if err != nil {
		return err
	}
	note, index, _, err := b.Verify(a)
	if err != nil {
		return err
	}
	kind, err := consent.Peek(note)
	if err != nil {
		return err
	}
	cp, err := docket.OpenCosigned(b.Checkpoint(), a, chain.Current().Witnesses)
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
	cosigned(r, cp, chain.Current())
	r.leave("that no entry in between revoked a signer: that takes the whole docket")
	return nil
}

// docketOf is the agency of a docket as the charter has it.
func docketOf(id consent.AgencyID, with With) (charter.Chain, charter.Agency, error) {
	if with.Charter == "" {
		return nil, charter.Agency{}, node.WithHint(consent.Refuse(consent.UnknownAgency, "agency", "whose docket this is, only a charter says"), "give the charter with --charter")
	}
	chain, err := node.ReadCharter(with.Charter)
	if err != nil {
		return nil, charter.Agency{}, err
	}
	a, ok := chain.DocketAgency(id)
	if !ok {
		return nil, a, consent.Refuse(consent.UnknownAgency, "agency", "the charter does not admit %s", id)
	}
	return chain, a, nil
}

// cosigned says which witnesses of the charter cosigned a checkpoint, and whether they are enough.
func cosigned(r *Result, cp docket.Cosigned, c *charter.Charter) {
	var names []string
	for _, w := range c.Witnesses {
		if slices.Contains(cp.By, w.Key) {
			names = append(names, w.Name)
		}
	}
	switch {
	case len(c.Witnesses) == 0:
		r.leave("that everybody sees this docket: the mesh has no witnesses")
		return
	case len(names) > 0:
		r.prove("%d of the charter's %d witnesses cosigned that checkpoint, each of a docket that only grew: %s", len(names), len(c.Witnesses), strings.Join(names, ", "))
	default:
		r.leave("that everybody sees this docket: none of the charter's %d witnesses cosigned that checkpoint", len(c.Witnesses))
	}
	switch {
	case len(names) < c.Quorum:
		r.leave("that anybody has to be shown it: the charter asks for %d witnesses", c.Quorum)
	case c.Quorum > 0:
		r.prove("the charter asks for %d of them, so that everybody sees this docket", c.Quorum)
	default:
		r.leave("that the witnesses are asked for: the charter's quorum is 0")
	}
}

// checkpoint checks what an agency signed of its docket, and who cosigned it.
func checkpoint(r *Result, note []byte, with With) error {
	r.Kind = "checkpoint"
	origin, _, _ := bytes.Cut(note, []byte("\n"))
	id, err := consent.ParseAgencyID(strings.TrimPrefix(string(origin), docket.Origin("")))
	if err != nil {
		return err
	}
	chain, a, err := docketOf(id, with)
	if err != nil {
		return err
	}
	cp, err := docket.OpenCosigned(note, a, chain.Current().Witnesses)
	if err != nil {
		return err
	}
	r.prove("%s signed that its docket has %d entries, and which: their root is %s", a.Name, cp.Size, cp.Root)
	cosigned(r, cp, chain.Current())
	if !bytes.Equal(cp.Note, note) {
		r.leave("what the other lines under it are: they are of none of the charter's witnesses")
	}
	r.leave("what the entries say: that takes the docket")
	return nil
}

// misconduct checks a proof that an agency signed two versions of its docket.
func misconduct(r *Result, msg []byte, with With) error {
	r.Kind = "proof of misconduct"
	m, err := docket.ParseMisconduct(msg)
	if err != nil {
		return err
	}
	_, a, err := docketOf(m.Agency, with)
	if err != nil {
		return err
	}
	if err := m.Verify(a); err != nil {
		return err
	}
	one, err := docket.ParseCheckpoint([]byte(m.One), a)
	if err != nil {
		return err
	}
	other, err := docket.ParseCheckpoint([]byte(m.Other), a)
	if err != nil {
		return err
	}
	r.prove("%s signed two versions of its docket, one of %d entries and one of %d: at least one was shown to some and kept from others", a.Name, one.Size, other.Size)
	if m.Entries != nil {
		r.prove("entry %d is one thing in the one and another in the other", m.Entries.Index)
	} else {
		r.prove("among the first %d entries they differ, and a docket that only grows never does", one.Size)
	}
	r.prove("both carry the signature of its docket key, so nobody else can have made them, and every peer that has the proof suspends it")
	r.leave("which version was shown to whom, or why there are two: a docket restored from a backup can do it too")
	return nil
}

// objection checks an objection to a request.
func objection(r *Result, note []byte, with With) error {
	o, err := request.OpenObjection(note)
	if err != nil {
		return err
	}
	by := o.By.Name()
	if with.Charter == "" {
		r.leave("that %s may object: give the charter with --charter", by)
	} else {
		chain, err := node.ReadCharter(with.Charter)
		if err != nil {
			return err
		}
		if by, err = o.CheckAuthor(chain.Current()); err != nil {
			return err
		}
		r.prove("the charter of mesh %s names its author, %s, who may object", chain.Current().Mesh, by)
	}
	r.prove("%s objects to request %s: %s", by, ui.Short(o.Request), o.Reason)
	r.leave("that what it says is true: it is its author's word")
	return nil
}
