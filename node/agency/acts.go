package agency

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/grant"
	"github.com/porchlight-mesh/porchlight/footage/durable"
	"github.com/porchlight-mesh/porchlight/footage/release"
	"github.com/porchlight-mesh/porchlight/node"
)

// A release is opened for a named officer with a stated reason: an act that the officer signed, on whatever machine their key is
// (package grant). The node holds it against the docket as it is now, and keeps it beside the release and in the custody log before the
// clip is in anybody's hands. An act opens once.

// actFor is how far an act's time may be from the node's, either way.
const actFor = 10 * time.Minute

// opens is an act that was admitted, and what it is on.
type opens struct {
	grant.Act
	note []byte
	h    *held
	k    kept // a copy
	rel  grant.Release
}

// mayExport refuses to let a clip out of the vault where the terms do not let it.
func mayExport(t grant.Terms) error {
	if t.ViewOnly {
		return node.WithHint(errors.New("its owner lets it be looked at only: it does not leave the vault"), "look at it with `porchlight agency view`, or ask the owner: `porchlight agency ask`")
	}
	return nil
}

// find says what a release is, for an officer to sign an act on it.
func (a *Agency) find(_ context.Context, args FindArgs) (Found, error) {
	h, k, err := a.vault.find(args.Release)
	if err != nil {
		return Found{}, err
	}
	return Found{Agency: a.agency, Grant: h.id, Release: consent.ReleaseID(k.Root), Terms: h.terms(&k), State: k.State, Used: k.Used}, nil
}

// signedBy reads an act of that kind that an enrolled officer has just signed.
func (a *Agency) signedBy(note string, kind grant.ActKind) (grant.Act, error) {
	act, err := grant.OpenAct([]byte(note))
	if err != nil {
		return act, err
	}
	switch {
	case act.Act != kind:
		return act, fmt.Errorf("the officer signed to %s the release, not to %s it", act.Act, kind)
	case act.Agency != a.agency:
		return act, fmt.Errorf("the act is for the agency %s, this is %s", act.Agency, a.agency)
	}
	now := a.peer.Now()
	if off := now.Sub(act.At.Time); off.Abs() > actFor {
		return act, node.WithHint(fmt.Errorf("the act was signed at %s, and it is %s here; at most %s may lie between", act.At, consent.At(now), actFor),
			"sign it now, and look at the clocks of both machines")
	}
	_, d, err := a.self()
	if err != nil {
		return act, err
	}
	if err := d.MayAct(act.Officer, now); err != nil {
		return act, node.WithHint(err, "a supervisor enrols an officer's key with `porchlight agency officer enrol`, and `porchlight agency publish` makes it count")
	}
	return act, nil
}

// admit judges an act of that kind. Nothing is on record yet.
func (a *Agency) admit(note string, kind grant.ActKind) (opens, error) {
	o := opens{note: []byte(note)}
	var err error
	if o.Act, err = a.signedBy(note, kind); err != nil {
		return o, err
	}
	if o.h, o.k, o.rel, err = a.vault.named(o.Act.Grant, o.CID); err != nil {
		return o, err
	}
	if err := a.vault.canOpen(o.h, &o.k, a.late()); err != nil {
		return o, err
	}
	if kind == grant.ActUse || kind == grant.ActPassOn {
		if err := a.vault.canDo(o.h, &o.k, a.late()); err != nil {
			return o, err
		}
	}
	if kind == grant.ActExport || kind == grant.ActPassOn {
		if err := mayExport(o.h.terms(&o.k)); err != nil {
			return o, err
		}
	}
	return o, a.vault.unseen(o)
}

// record puts an act on record, before anything comes of it.
func (a *Agency) record(o opens) error {
	if err := a.vault.keepAct(o); err != nil {
		return err
	}
	step := map[grant.ActKind]string{grant.ActView: "release viewed", grant.ActUse: "release used", grant.ActExport: "release exported",
		grant.ActPassOn: "passing on ordered"}[o.Act.Act]
	return a.custody.Note(o.Officer.Name(), step, o.k.Root, fmt.Sprintf("grant %s: %s", o.h.id, o.Reason))
}

// use marks a release as part of its case, and signs so.
func (a *Agency) use(_ context.Context, args Act) (Used, error) {
	o, err := a.admit(args.Note, grant.ActUse)
	if err != nil {
		return Used{}, err
	}
	if err := a.record(o); err != nil {
		return Used{}, err
	}
	return a.mark(o, func(*kept) {})
}

// mark says of a release that it is used, and what more f says. The receipt is there before the record that lets it be kept for longer. What only
// a hold keeps is used no more: its deadline stays what it was.
func (a *Agency) mark(o opens, f func(*kept)) (Used, error) {
	out := Used{Release: o.k.Root}
	err := a.vault.change(o.h, o.k.Root, a.late(), func(k *kept) error {
		if o.Act.Act != grant.ActExport { // the terms may have come to their end since it was admitted
			if err := a.vault.canDo(o.h, k, a.late()); err != nil {
				return err
			}
		}
		f(k)
		if !a.late().Before(o.h.deadline(k)) {
			return nil
		}
		path := a.vault.path(o.h.id, k.Root+".used.receipt")
		receipt, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		fresh := !k.Used || err != nil
		k.Used = true
		if fresh {
			k.Untold = true
			if receipt, err = a.receipt(o.h, k); err != nil {
				return err
			}
			if err := a.vault.disk.WriteFile(path, receipt, 0o600); err != nil {
				return err
			}
		}
		out.Receipt, out.KeyUntil = string(receipt), o.h.deadline(k)
		return nil
	})
	if err := a.tellUsed(); err != nil {
		a.peer.Log.Error("an owner is told later that a release is used", "err", err)
	}
	return out, err
}

// tellUsed leaves the receipts that say that a release is used for their owners; a crash may have come before.
func (a *Agency) tellUsed() error {
	var errs []error
	for h, roots := range a.vault.which(func(k *kept) bool { return k.Untold && k.State != "deleted" }) {
		for _, root := range roots {
			receipt, err := os.ReadFile(a.vault.path(h.id, root+".used.receipt"))
			if err == nil {
				err = a.queueFor(h, receipt)
			}
			if err == nil {
				err = a.vault.note(h, root, func(k *kept) error { k.Untold = false; return nil })
			}
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// export writes the clip of a release to a file, and answers only if it is the one the owner signed for. What is in a person's hands is on record
// before, and not where there is no place for the file; until it is whole the clip has no name.
func (a *Agency) export(ctx context.Context, args Act) (Opened, error) {
	o, err := a.admit(args.Note, grant.ActExport)
	if err != nil {
		return Opened{}, err
	}
	if !filepath.IsAbs(args.Out) {
		return Opened{}, errors.New("an export needs the absolute path of a file to write")
	}
	clip, err := nameless(a.peer.State.Path("keys"))
	if err != nil {
		return Opened{}, err
	}
	defer clip.Close()
	out, err := a.vault.decrypt(ctx, o.h, &o.k, clip)
	if err != nil {
		return Opened{}, err
	}
	out.Out = args.Out
	_, err = a.vault.writeAs(args.Out, func(to *os.File) error {
		if err := a.record(o); err != nil {
			return err
		}
		if _, err := a.mark(o, func(k *kept) { k.Exported = true }); err != nil {
			return err
		}
		_, err := io.Copy(to, io.NewSectionReader(clip, 0, out.Bytes))
		return err
	})
	return out, err
}

// named is the release that an act names.
func (v *vault) named(id consent.GrantID, cid consent.ReleaseID) (*held, kept, grant.Release, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if h := v.grants[id]; h != nil {
		for _, r := range h.grant.Releases {
			if r.CID == cid {
				return h, *h.releases[string(cid)], r, nil
			}
		}
	}
	return nil, kept{}, grant.Release{}, node.WithHint(fmt.Errorf("no release %s of the grant %s", cid, id), "`porchlight agency vault` lists them")
}

// canOpen says why a release cannot be opened, nil where it can.
func (v *vault) canOpen(h *held, k *kept, now time.Time) error {
	switch {
	case k.State == "lost":
		return node.WithHint(fmt.Errorf("release %s cannot be opened: it was lost with the disk it was on", k.Root),
			"sealed releases and their keys are in no backup, by design; while the request is open its owner may be asked to approve again")
	case k.State != "open":
		return fmt.Errorf("release %s cannot be opened: it is %s", k.Root, k.State)
	case k.manifest == nil:
		return fmt.Errorf("release %s cannot be opened: what its owner signed, %s, is missing or damaged; restore it from a backup",
			k.Root, v.path(h.id, k.Root+".manifest"))
	case h.over(*k, now) != nil:
		return fmt.Errorf("release %s cannot be opened: it is past its deadline", k.Root)
	}
	return nil
}

// canDo says why nothing more may be made of a release than a hold does, nil where its terms still run: a hold lets it be looked at and shown to
// the court, and postpones a deletion; it lets nobody use it anew or hand it on.
func (v *vault) canDo(h *held, k *kept, now time.Time) error {
	if err := v.canOpen(h, k, now); err != nil {
		return err
	}
	if !now.Before(h.deadline(k)) {
		return fmt.Errorf("release %s is past its deadline: the hold of %s, %s, keeps it, and it can be viewed and exported for the court only", k.Root, k.law.Court, k.law.Number)
	}
	return nil
}

// decrypt writes the clip of a release, and says that it is the one the owner signed for.
func (v *vault) decrypt(ctx context.Context, h *held, k *kept, to *os.File) (Opened, error) {
	key, err := os.ReadFile(v.keyPath(h.id, k.Root))
	if err != nil {
		return Opened{}, err
	}
	defer clear(key)
	sealed, err := os.Open(v.path(h.id, k.Root+".sealed"))
	if err != nil {
		return Opened{}, err
	}
	defer sealed.Close()
	if err := release.Open(ctx, to, sealed, release.ReleaseKey(strings.TrimSpace(string(key)))); err != nil {
		return Opened{}, fmt.Errorf("release %s: %w", k.Root, err)
	}
	if _, err := to.Seek(0, io.SeekStart); err != nil {
		return Opened{}, err
	}
	sum, size, err := release.Measure(ctx, to)
	if err != nil {
		return Opened{}, err
	}
	m := k.manifest
	if sum != m.PlainSHA256 || size != m.PlainBytes {
		return Opened{}, fmt.Errorf("release %s holds another clip than the owner signed for (SHA-256 %s, signed %s)", k.Root, sum, m.PlainSHA256)
	}
	return Opened{Bytes: size, PlainSHA256: sum, From: m.Clip.From.Time, Until: m.Clip.Until.Time,
		LeadIn: m.LeadInSeconds, Gaps: len(m.Gaps), Overlaps: len(m.Overlaps)}, nil
}

// maxActs bounds the acts on one release, in bytes of their file: a few hundred thousand notes.
const maxActs = 256 << 20

var errAct = node.WithHint(errors.New("this very act is on record already"), "each act is done once; the command signs another one when it is given again, a second later")

func (v *vault) actsPath(o opens) string { return v.path(o.h.id, o.k.Root+".acts") }

// unseen refuses an act that is on record.
func (v *vault) unseen(o opens) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.fresh(o)
}

func (v *vault) fresh(o opens) error {
	_, err := v.disk.ReadRecords(v.actsPath(o), func(b []byte) error {
		if string(b) == string(o.note) {
			return errAct
		}
		return nil
	})
	return err
}

// keepAct puts an act beside its release. Of two that came at once, one is done.
func (v *vault) keepAct(o opens) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := v.fresh(o); err != nil {
		return err
	}
	f, err := v.disk.OpenAppend(v.actsPath(o), 0o600)
	if err != nil {
		return err
	}
	if f.Size() > maxActs {
		err = fmt.Errorf("%s has %d bytes, which is the most", v.actsPath(o), f.Size())
	} else {
		err = f.Append(durable.AppendRecord(nil, o.note))
	}
	return errors.Join(err, f.Close())
}
