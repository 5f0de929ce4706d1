package agency

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"

	"filippo.io/age"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
	"github.com/porchlight-mesh/porchlight/consent/grant"
	"github.com/porchlight-mesh/porchlight/footage/durable"
	"github.com/porchlight-mesh/porchlight/footage/release"
	"github.com/porchlight-mesh/porchlight/node"
)

// What one agency passes on to another is a tar file of these files, in this order:
//
//	grant.note        as its owner signed it
//	acceptance.note   of the first holder
//	manifest.note     as its owner signed it
//	chain.json        how it comes from the first holder to this one (chain)
//	key               the new release key, sealed to the last card's recipient as a message is (package node)
//	clip              the clip, sealed anew
//
// Nothing of it is kept before all of it was verified: by the new holder's own copy of every holder's docket, and by the owner's signatures.
// The release lives in the new holder's vault as in the first one's, under the terms of its onward, and is used from the start: that it was passed
// on is what it is used for. The holder's docket follows it under another secret (grant.Secret.At), so that the promises cannot be tied to each
// other.

// bundle is all of it but the clip.
type bundle struct {
	Grant, Acceptance, Manifest []byte
	Chain                       chain
	Key                         []byte
	Size                        int64 // of the clip
}

// chain is the owner's words that let a release be passed on, extensions and onwards in the order in which they came, and each passing on.
type chain struct {
	Words []string `json:"words"` // notes
	Hops  []hop    `json:"hops"`
}

// A hop is one passing on: the next holder's card, the receipt of the one that passes it on, and where that one's docket declares it.
type hop struct {
	Card    string       `json:"card"`
	Receipt string       `json:"receipt"`
	Entry   string       `json:"entry"`
	Salt    grant.Secret `json:"salt"`
}

// keyMessage is the size of a sealed release key, in bytes.
const keyMessage = 512

// maxChain bounds chain.json, in bytes, and maxHops how often a release is passed on from one agency to the next.
const (
	maxChain = 128 << 10
	maxHops  = 8
)

func (b *bundle) write(w io.Writer, clip io.Reader) error {
	text, err := consent.EncodeStrict(b.Chain)
	if err != nil {
		return err
	}
	out := tar.NewWriter(w)
	for _, f := range []struct {
		name string
		b    []byte
	}{{"grant.note", b.Grant}, {"acceptance.note", b.Acceptance}, {"manifest.note", b.Manifest}, {"chain.json", text}, {"key", b.Key}} {
		if err := out.WriteHeader(&tar.Header{Name: f.name, Mode: 0o600, Size: int64(len(f.b))}); err != nil {
			return err
		}
		if _, err := out.Write(f.b); err != nil {
			return err
		}
	}
	if err := out.WriteHeader(&tar.Header{Name: "clip", Mode: 0o600, Size: b.Size}); err != nil {
		return err
	}
	if _, err := io.Copy(out, clip); err != nil {
		return err
	}
	return out.Close()
}

// readBundle reads all up to the clip, which it leaves to be read, of that size at most.
func readBundle(r io.Reader, most int64) (b bundle, clip io.Reader, err error) {
	in := tar.NewReader(r)
	next := func(name string, most int64) (int64, error) {
		h, err := in.Next()
		if err != nil {
			return 0, fmt.Errorf("not what an agency passes on: %s is missing: %w", name, err)
		}
		if h.Name != name || h.Typeflag != tar.TypeReg || h.Size < 0 || h.Size > most {
			return 0, fmt.Errorf("not what an agency passes on: %.60q of %d bytes, where %s of at most %d belongs", h.Name, h.Size, name, most)
		}
		return h.Size, nil
	}
	var text []byte
	for _, f := range []struct {
		name string
		most int64
		to   *[]byte
	}{{"grant.note", consent.MaxNote, &b.Grant}, {"acceptance.note", consent.MaxNote, &b.Acceptance}, {"manifest.note", consent.MaxNote, &b.Manifest},
		{"chain.json", maxChain, &text}, {"key", keyMessage, &b.Key}} {
		n, err := next(f.name, f.most)
		if err != nil {
			return b, nil, err
		}
		*f.to = make([]byte, n)
		if _, err := io.ReadFull(in, *f.to); err != nil {
			return b, nil, fmt.Errorf("%s: %w", f.name, err)
		}
	}
	if err := consent.DecodeStrict(text, &b.Chain, maxChain); err != nil {
		return b, nil, fmt.Errorf("chain.json: %w", err)
	}
	b.Size, err = next("clip", most)
	return b, in, err
}

// taken is how a release came that was passed on to this agency (vault/GRANT/ROOT.taken.json).
type taken struct {
	To         consent.AgencyID    `json:"to"` // this agency
	From       consent.AgencyID    `json:"from"`
	Terms      grant.Terms         `json:"terms"`
	Secret     grant.Secret        `json:"secret"` // of the commitment by which this agency's docket follows it
	Reception  consent.VerifierKey `json:"reception"`
	Acceptance string              `json:"acceptance"`
	Chain      chain               `json:"chain"`
}

// readTaken reads how those releases of a grant came that were passed on to this agency, by root. Where any was, it has no others of the grant.
func (v *vault) readTaken(h *held) (map[string]*taken, error) {
	all := map[string]*taken{}
	var here []grant.Release
	for _, r := range h.grant.Releases {
		t := new(taken)
		if err := node.ReadJSON(v.path(h.id, string(r.CID)+".taken.json"), t); errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return nil, err
		}
		all[string(r.CID)], here = t, append(here, r)
	}
	if len(here) > 0 {
		h.grant.Releases = here
	}
	return all, nil
}

// TakeOver is the arguments of "agency.takeover".
type TakeOver struct {
	File string `json:"file"` // absolute
}

// TakenOver is the answer.
type TakenOver struct {
	Release  string           `json:"release"`
	From     consent.AgencyID `json:"from"`
	Terms    grant.Terms      `json:"terms"`
	KeyUntil consent.Time     `json:"key_until"`
}

// followed is what a bundle says once all of it was held against the owner's signatures and the holders' dockets.
type followed struct {
	taken
	id       consent.GrantID
	cid      consent.ReleaseID
	manifest grant.Manifest
	card     grant.Taking // of the last holder
}

// follow holds a bundle against everything but its clip, from the agency that the release was granted to up to its last holder.
func (a *Agency) follow(b bundle) (v followed, err error) {
	g, err := grant.OpenGrant(b.Grant)
	if err != nil {
		return v, fmt.Errorf("the grant: %w", err)
	}
	v.id = grant.IDOf(b.Grant)
	if a.peer.Docket(g.Agency) == nil {
		return v, fmt.Errorf("this node follows no docket of agency %s", g.Agency)
	}
	req, err := a.peer.Request(string(g.Request))
	if err != nil || req.ID != g.Request || req.Agency != g.Agency {
		return v, errors.New("its docket has no request that this grant answers")
	}
	acceptance, err := grant.OpenAcceptance(b.Acceptance, req.Body.ReceptionKey)
	if err == nil {
		err = acceptance.Answers(v.id, g)
	}
	if err != nil {
		return v, fmt.Errorf("the acceptance: %w", err)
	}
	if v.manifest, err = grant.OpenManifest(b.Manifest, g.Key); err != nil {
		return v, fmt.Errorf("the manifest: %w", err)
	}
	v.cid = v.manifest.CID
	if !slices.ContainsFunc(g.Releases, func(r grant.Release) bool { return r.CID == v.cid && r.ManifestSHA256 == consent.HashText(b.Manifest) }) {
		return v, errors.New("the grant does not name this manifest")
	}
	first, err := grant.HoldingOf(v.id, g, v.cid)
	if err != nil {
		return v, err
	}
	words, err := readWords(b.Chain.Words)
	if err != nil {
		return v, err
	}
	all, err := first.Holders(words, a.peer.Charter().Limits, func(id consent.AgencyID) (charter.AgencyClass, bool) {
		x, ok := a.peer.Agency(id)
		return x.Class, ok
	})
	if err != nil {
		return v, fmt.Errorf("the owner's words: %w", err)
	}
	if n := len(b.Chain.Hops); n == 0 || n > maxHops {
		return v, fmt.Errorf("passed on %d times; it can be at least once and %d times", n, maxHops)
	}
	holder, signer := first, req.Body.ReceptionKey
	for _, x := range all {
		if x.From == "" {
			holder = x
		}
	}
	for i, hop := range b.Chain.Hops {
		if holder, v.card, err = a.pass(hop, holder, all, signer); err != nil {
			return v, fmt.Errorf("passed on for time %d: %w", i+1, err)
		}
		signer = v.card.Reception
	}
	v.taken = taken{To: holder.Holder, From: holder.From, Terms: holder.Terms, Secret: holder.Secrets[len(holder.Secrets)-1], Reception: signer, Acceptance: string(b.Acceptance), Chain: b.Chain}
	if until := holder.Deadline(true); !a.late().Before(until) {
		return v, fmt.Errorf("its owner let it be kept until %s", consent.At(until))
	}
	return v, nil
}

// pass holds one hop against what its holder signed and declared, and finds who holds the release then.
func (a *Agency) pass(h hop, from grant.Holding, all []grant.Holding, signer consent.VerifierKey) (to grant.Holding, card grant.Taking, err error) {
	receipt, err := grant.OpenReceipt([]byte(h.Receipt), signer)
	if err != nil {
		return to, card, fmt.Errorf("the receipt: %w", err)
	}
	if !from.Signed(receipt) {
		return to, card, errors.New("the receipt is of another release")
	}
	if card, err = grant.OpenTaking([]byte(h.Card)); err != nil {
		return to, card, fmt.Errorf("the card: %w", err)
	}
	agency, ok := a.peer.Agency(card.Agency)
	if !ok || !agency.Key.Same(card.Key) {
		return to, card, errors.New("the charter admits no agency of the card")
	}
	i := slices.IndexFunc(all, func(x grant.Holding) bool { return x.Holder == card.Agency && x.From == from.Holder })
	if i < 0 {
		return to, card, fmt.Errorf("its owner has not signed that %s gets it from there", agency.Name)
	}
	d := a.peer.Docket(from.Holder)
	if d == nil || !slices.ContainsFunc(from.Secrets, func(s grant.Secret) bool {
		promised := grant.Release{CID: from.CID, Secret: s}.Commitment()
		return h.Entry != "" && d.TransferOf(grant.Blind(h.Salt, promised), agency.Class) == h.Entry
	}) {
		return to, card, node.WithHint(errors.New("the docket of the agency that passes it on does not declare it"), "it may not have come here yet: try again once `porchlight observe record` shows the transfer")
	}
	return all[i], card, nil
}

// readWords reads the extensions and onwards among an owner's notes, and refuses all else.
func readWords(notes []string) (all []consent.Body, err error) {
	for _, n := range notes {
		kind, err := consent.Peek([]byte(n))
		if err != nil {
			return nil, err
		}
		var b consent.Body
		switch kind {
		case "extension":
			b, err = grant.OpenExtension([]byte(n))
		case "onward":
			b, err = grant.OpenOnward([]byte(n))
		default:
			err = fmt.Errorf("a %s is nothing that lets a release be passed on", kind)
		}
		if err != nil {
			return nil, err
		}
		all = append(all, b)
	}
	return all, nil
}

// verify holds a bundle against everything but its clip, and finds what opens it.
func (a *Agency) verify(b bundle) (v followed, secrets taking, err error) {
	if len(b.Chain.Hops) == 0 {
		return v, secrets, errors.New("it was passed on by nobody")
	}
	note := []byte(b.Chain.Hops[len(b.Chain.Hops)-1].Card)
	card, err := grant.OpenTaking(note)
	if err != nil {
		return v, secrets, fmt.Errorf("the card: %w", err)
	}
	if card.Agency != a.agency {
		return v, secrets, errors.New("it is for another agency")
	}
	if err := node.ReadJSON(a.takingPath(note), &secrets); errors.Is(err, fs.ErrNotExist) {
		return v, secrets, node.WithHint(errors.New("this node made no such card, or it was used or is over"), "each release takes a card of its own: `porchlight agency taking`")
	} else if err != nil {
		return v, secrets, err
	}
	if !a.late().Before(card.Expires.Time) {
		return v, secrets, fmt.Errorf("the card expired at %s", card.Expires)
	}
	if v, err = a.follow(b); err != nil {
		return v, secrets, err
	}
	a.vault.mu.Lock()
	defer a.vault.mu.Unlock()
	return v, secrets, a.vault.place(v.id, v.cid)
}

// place refuses a release that is here, or whose grant is this agency's own. The caller holds v.mu.
func (v *vault) place(id consent.GrantID, cid consent.ReleaseID) error {
	switch h := v.grants[id]; {
	case h == nil:
		return nil
	case h.releases[string(cid)] != nil:
		return errors.New("this release is here already")
	case !h.passedOnHere():
		return errors.New("its owner granted this agency other releases under the same grant, and not this one")
	}
	return nil
}

// takeOver takes in a release that another agency passes on.
func (a *Agency) takeOver(ctx context.Context, t TakeOver) (out TakenOver, err error) {
	f, err := os.Open(t.File)
	if err != nil {
		return out, err
	}
	defer f.Close()
	b, clip, err := readBundle(f, a.peer.Config.Agency.MaxReleaseMB<<20)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = node.WithHint(err, "the file is cut off: copy it again, all of it")
	}
	if err != nil {
		return out, err
	}
	v, secrets, err := a.verify(b)
	if err != nil {
		return out, err
	}
	identity, err := age.ParseX25519Identity(secrets.Identity)
	if err != nil {
		return out, err
	}
	key, err := node.OpenMessage(identity, b.Key)
	if err != nil {
		return out, fmt.Errorf("the release key: %w", err)
	}
	defer clear(key)
	// The new sealed file, and the clip in it while it is looked at, have no names.
	sealed, err := nameless(a.peer.State.Path("keys"))
	if err != nil {
		return out, err
	}
	defer sealed.Close()
	if n, err := io.Copy(sealed, clip); err != nil || n != b.Size {
		return out, errors.Join(err, fmt.Errorf("the clip has %d of %d bytes", n, b.Size))
	}
	if err := a.sameClip(ctx, sealed, release.ReleaseKey(key), v.manifest); err != nil {
		return out, err
	}
	if out, err = a.keep(b, v, secrets, sealed, key); err != nil {
		return out, err
	}
	// It is here. What fails now is done with the next look at the deadlines.
	if err := errors.Join(a.introduce(), a.sweepCards()); err != nil {
		a.peer.Log.Error("after a release was taken over", "release", out.Release, "err", err)
	}
	return out, nil
}

// sameClip says whether a sealed file opens to the clip that its owner signed for.
func (a *Agency) sameClip(ctx context.Context, sealed *os.File, key release.ReleaseKey, m grant.Manifest) error {
	plain, err := nameless(a.peer.State.Path("keys"))
	if err != nil {
		return err
	}
	defer plain.Close()
	if _, err := sealed.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if err := release.Open(ctx, plain, sealed, key); err != nil {
		return err
	}
	if _, err := plain.Seek(0, io.SeekStart); err != nil {
		return err
	}
	sum, size, err := release.Measure(ctx, plain)
	if err == nil && (sum != m.PlainSHA256 || size != m.PlainBytes) {
		err = errors.New("it is another clip than the owner signed for")
	}
	return err
}

// keep puts a release that was verified into the vault. Until the last is on the disk nothing of it counts, and nothing of it stays.
func (a *Agency) keep(b bundle, v followed, secrets taking, sealed *os.File, key []byte) (out TakenOver, err error) {
	disk, root := a.vault.disk, string(v.cid)
	reception, err := a.receptionFile(v.Reception)
	if err != nil {
		return out, err
	}
	a.vault.mu.Lock()
	defer a.vault.mu.Unlock()
	if err := a.vault.place(v.id, v.cid); err != nil { // since it was verified
		return out, err
	}
	now := a.peer.Now().UTC()
	if err := a.promise(v.cid, v.Secret, now, v.Terms.RetainUntil.Time); err != nil {
		return out, node.WithHint(err, "try again tomorrow, while the card and the terms run")
	}
	if err := disk.MkdirAll(a.vault.path(v.id, ""), 0o700); err != nil {
		return out, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.vault.forgetTaken(v.id, root))
		}
	}()
	if err := copyTo(disk, a.vault.path(v.id, root+".sealed"), sealed); err != nil {
		return out, err
	}
	g, err := grant.OpenGrant(b.Grant)
	if err != nil {
		return out, err
	}
	h := &held{id: v.id, grant: g}
	k := kept{Root: root, State: "open", Signed: now, KeyFrom: now, Used: true, manifest: &v.manifest, taken: &v.taken}
	write := func(path string, b []byte) {
		if err == nil {
			err = disk.WriteFile(path, b, 0o600)
		}
	}
	write(reception, []byte(secrets.Key+"\n"))
	write(a.vault.path(v.id, root+".manifest"), b.Manifest)
	var receipt []byte
	if err == nil {
		receipt, err = a.receipt(h, &k)
	}
	write(a.vault.path(v.id, root+".receipt"), receipt)
	write(a.vault.keyPath(v.id, root), append(key, '\n'))
	if err == nil {
		err = node.WriteJSON(disk, a.vault.path(v.id, root+".json"), k)
	}
	write(a.vault.path(v.id, "acceptance.note"), b.Acceptance)
	if err == nil {
		err = a.custody.Note("node", "release taken over", root, fmt.Sprintf("grant %s, from agency %s, kept until %s", v.id, v.From, v.Terms.RetainUntil))
	}
	if err == nil {
		err = node.WriteJSON(disk, a.vault.path(v.id, root+".taken.json"), v.taken)
	}
	write(a.vault.path(v.id, "grant.note"), b.Grant)
	if err == nil {
		err = a.vault.read(v.id)
	}
	return TakenOver{root, v.From, v.Terms, consent.At(h.deadline(&k))}, err
}

// forgetTaken removes what was written of a release that could not be taken over, the key first. The caller holds v.mu.
func (v *vault) forgetTaken(id consent.GrantID, root string) error {
	errs := []error{shred(v.disk, v.keyPath(id, root)), v.disk.RemoveTemporary(v.keys)}
	for _, ext := range []string{".taken.json", ".json", ".receipt", ".manifest", ".sealed"} {
		errs = append(errs, v.remove(v.path(id, root+ext)))
	}
	if h := v.grants[id]; h == nil || h.releases[root] != nil && len(h.releases) == 1 {
		if h != nil {
			delete(v.grants, id)
			delete(v.byKey, h.grant.Key)
		}
		errs = append(errs, v.removeGrant(id))
	} else {
		errs = append(errs, v.read(id))
	}
	return errors.Join(errs...)
}

// introduce tells the owners of releases that were passed on to this agency, sealed, who has them now: the card and the receipt.
func (a *Agency) introduce() error {
	var errs []error
	for h, roots := range a.vault.which(func(k *kept) bool { return k.taken != nil && !k.Introduced && k.State != "deleted" }) {
		for _, root := range roots {
			k := a.vault.copyOf(h, root)
			receipt, err := a.receipt(h, &k)
			if err == nil {
				err = a.queueFor(h, []byte(k.taken.Chain.Hops[len(k.taken.Chain.Hops)-1].Card))
			}
			if err == nil {
				err = a.queueFor(h, receipt)
			}
			if err == nil {
				err = a.vault.note(h, root, func(k *kept) error { k.Introduced = true; return nil })
			}
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// copyTo writes an open file under a name.
func copyTo(disk durable.Disk, path string, from *os.File) error {
	if _, err := from.Seek(0, io.SeekStart); err != nil {
		return err
	}
	to, err := disk.Open(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	buf := make([]byte, 1<<20)
	for at := int64(0); ; {
		n, err := from.Read(buf)
		if n > 0 {
			if _, werr := to.WriteAt(buf[:n], at); werr != nil {
				return errors.Join(werr, to.Close())
			}
			at += int64(n)
		}
		if err == io.EOF {
			return errors.Join(to.Sync(), to.Close())
		}
		if err != nil {
			return errors.Join(err, to.Close())
		}
	}
}

// passedOnHere says whether releases of a grant are here because they were passed on to this agency.
func (h *held) passedOnHere() bool {
	for _, k := range h.releases {
		if k.taken != nil {
			return true
		}
	}
	return false
}
