package agency

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"filippo.io/age"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/grant"
	"github.com/porchlight-mesh/porchlight/footage/durable"
	"github.com/porchlight-mesh/porchlight/footage/release"
	"github.com/porchlight-mesh/porchlight/node"
)

// A release is passed on to another agency of the charter with its owner's signature. The new holder makes a card (grant.Taking), the present one
// declares the transfer in its docket, seals the clip anew, and writes all that proves it into one file (takeover.go), which goes from
// one to the other as they like.

// takingFor is how long a card may be used.
const takingFor = 14 * 24 * time.Hour

// taking is what a card's maker keeps of it, in keys/taking, which belongs in no backup.
type taking struct {
	Card     string `json:"card"`
	Identity string `json:"identity"` // age
	Key      string `json:"key"`      // signs for the release
}

func (a *Agency) takingPath(card []byte) string {
	return a.peer.State.Path("keys", "taking", consent.HashText(card)+".json")
}

// Invited is the answer to "agency.taking".
type Invited struct {
	Card    string    `json:"card"`
	Expires time.Time `json:"expires"`
}

// invite makes a card. What opens the release key is on the disk before anybody has the card.
func (a *Agency) invite(context.Context, struct{}) (Invited, error) {
	if _, _, err := a.self(); err != nil {
		return Invited{}, err
	}
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		return Invited{}, err
	}
	key, err := consent.GenerateKey(rand.Reader, grant.ReceptionName)
	if err != nil {
		return Invited{}, err
	}
	now := a.peer.Now()
	card := grant.Taking{Agency: a.agency, Recipient: identity.Recipient().String(), Reception: key.Verifier(), Created: consent.At(now), Expires: consent.At(now.Add(takingFor)), Key: a.key.Verifier()}
	note, err := consent.Sign(card, a.key)
	if err != nil {
		return Invited{}, err
	}
	a.vault.mu.Lock() // what is being written is not taken for what a crash left
	defer a.vault.mu.Unlock()
	if err := a.peer.State.Disk().MkdirAll(a.peer.State.Path("keys", "taking"), 0o700); err != nil {
		return Invited{}, err
	}
	return Invited{string(note), card.Expires.Time}, node.WriteJSON(a.peer.State.Disk(), a.takingPath(note), taking{string(note), identity.String(), key.Encode()})
}

// PassOn is the arguments of "agency.passon".
type PassOn struct {
	Note string `json:"note"` // grant.Act, signed by the officer
	Card string `json:"card"` // of the new holder, signed
	Out  string `json:"out"`  // file to write; absolute
}

// PassedOn is the answer.
type PassedOn struct {
	Out   string           `json:"out"`
	To    consent.AgencyID `json:"to"`
	Name  string           `json:"name"`
	Bytes int64            `json:"bytes"`
}

// passOn writes a release for another holder, if an officer orders it, its owner signed that it may be, the docket declares it, and the terms still
// run. What leaves is on record before.
func (a *Agency) passOn(ctx context.Context, p PassOn) (PassedOn, error) {
	if !filepath.IsAbs(p.Out) {
		return PassedOn{}, errors.New("passing on needs the absolute path of a file to write")
	}
	o, err := a.admit(p.Note, grant.ActPassOn)
	if err != nil {
		return PassedOn{}, err
	}
	h, k := o.h, o.k
	card, err := grant.OpenTaking([]byte(p.Card))
	if err != nil {
		return PassedOn{}, fmt.Errorf("the card: %w", err)
	}
	to, ok := a.peer.Agency(card.Agency)
	switch {
	case !ok || !to.Key.Same(card.Key):
		return PassedOn{}, errors.New("the charter admits no agency of this card")
	case !a.peer.Now().Before(card.Expires.Time):
		return PassedOn{}, node.WithHint(fmt.Errorf("the card of %s expired at %s", to.Name, card.Expires), "ask for another one: `porchlight agency taking`")
	}
	words, err := a.onward(h, &k, card.Agency)
	if err != nil {
		return PassedOn{}, err
	}
	blind, entry := a.transferred(&k, to)
	if blind < 0 {
		return PassedOn{}, node.WithHint(fmt.Errorf("the docket does not declare that this release is passed on to %s with its owner's consent", to.Class),
			"draft it with `porchlight agency transfer --to "+string(to.Class)+"`, have it signed, and publish it; an entry declares one passing on, and one that was drafted before the owner let it be kept for longer no more")
	}
	salt := k.Blinds[blind].Salt
	b := bundle{Grant: h.note, Acceptance: h.acceptance}
	if k.taken != nil {
		b.Acceptance, b.Chain = []byte(k.taken.Acceptance), k.taken.Chain
	}
	receipt, err := os.ReadFile(a.vault.path(h.id, k.Root+".receipt"))
	if err == nil {
		b.Manifest, err = os.ReadFile(a.vault.path(h.id, k.Root+".manifest"))
	}
	if err != nil {
		return PassedOn{}, err
	}
	b.Chain = chain{append(slices.Clone(b.Chain.Words), words...), append(slices.Clone(b.Chain.Hops), hop{p.Card, string(receipt), entry, salt})}
	// As the new holder will: nothing is on record of what would not open there.
	if _, err := a.follow(b); err != nil {
		return PassedOn{}, err
	}
	sealed, err := a.reseal(ctx, h, &k, card.Recipient, &b)
	if err != nil {
		return PassedOn{}, err
	}
	defer sealed.Close()
	// Nothing is on record where there is no place for the file.
	size, err := a.vault.writeAs(p.Out, func(f *os.File) error {
		if err := a.record(o); err != nil {
			return err
		}
		if err := a.custody.Note("node", "release passed on", k.Root, fmt.Sprintf("grant %s, to %s (%s), declared in %s", h.id, to.Name, card.Agency, entry)); err != nil {
			return err
		}
		if _, err := a.mark(o, func(k *kept) {
			k.Exported, k.PassedOn, k.Blinds = true, true, slices.Clone(k.Blinds)
			k.Blinds[blind].To = card.Agency
		}); err != nil {
			return err
		}
		if err := a.tellPassedOn(h, k.Root, entry, salt, to.Name); err != nil {
			return err
		}
		return b.write(f, sealed)
	})
	return PassedOn{p.Out, card.Agency, to.Name, size}, err
}

// writeAs writes a file outside the node's folder, which has its name once it is whole and on the disk. Until then its path stands in vault/exporting, so
// that the next start removes what a crash left of it.
func (v *vault) writeAs(path string, write func(f *os.File) error) (size int64, err error) {
	dir := filepath.Dir(path)
	if _, err := os.Stat(dir); err != nil {
		return 0, err
	}
	tmp := filepath.Join(dir, ".porchlight-"+rand.Text())
	note := v.exportNote(tmp)
	if err := v.disk.MkdirAll(filepath.Dir(note), 0o700); err != nil {
		return 0, err
	}
	if err := v.disk.WriteFile(note, []byte(tmp), 0o600); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, v.leaveNothing(tmp, note)) }()
	f, err := os.OpenFile(tmp, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return 0, err
	}
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	if info, serr := f.Stat(); serr == nil {
		size = info.Size()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return 0, err
	}
	return size, os.Rename(tmp, path)
}

func (v *vault) exportNote(tmp string) string {
	return filepath.Join(v.dir, "exporting", consent.HashText([]byte(tmp)))
}

// leaveNothing removes what is left of a file that was being written, and then the note of it.
func (v *vault) leaveNothing(tmp, note string) error {
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := durable.SyncDir(filepath.Dir(tmp)); err != nil {
		return err
	}
	return v.remove(note)
}

// sweepExports removes what a crash left of files that were being written outside the node's folder. Where the disk is away, a later start does it.
func (v *vault) sweepExports() error {
	dir := filepath.Join(v.dir, "exporting")
	notes, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	errs := []error{err, v.disk.RemoveTemporary(dir)}
	for _, e := range notes {
		note := filepath.Join(dir, e.Name())
		tmp, err := os.ReadFile(note)
		if err == nil && note == v.exportNote(string(tmp)) { // anything else is not this node's
			err = v.leaveNothing(string(tmp), note)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("what was left of an export is not removed: %w", err))
		}
	}
	return errors.Join(errs...)
}

// onward are the owner's words about a release, as they came here, that lead from this agency to another: what lets it be kept for longer, and the
// newest consent that it goes there. Each stands once.
func (a *Agency) onward(h *held, k *kept, to consent.AgencyID) (words []string, err error) {
	newest := ""
	_, err = a.vault.disk.ReadRecords(a.vault.path(h.id, k.Root+".words"), func(b []byte) error {
		kind, err := consent.Peek(b)
		if err != nil {
			return err
		}
		word := string(b)
		switch kind {
		case "extension":
			if !slices.Contains(words, word) {
				words = append(words, word)
			}
		case "onward":
			x, err := grant.OpenOnward(b)
			if err != nil {
				return err
			}
			if x.From == a.agency && x.To == to {
				words = append(slices.DeleteFunc(words, func(w string) bool { return w == newest }), word)
				newest = word
			}
		}
		return nil
	})
	if err == nil && newest == "" {
		err = node.WithHint(errors.New("its owner has not signed that this release may be passed on to that agency"), "ask: `porchlight agency ask RELEASE --for pass-on --to AGENCY`")
	}
	return words, err
}

// reseal seals the clip of a release under a fresh key, which it seals to the recipient. Neither the clip nor the new sealed file has a name
// meanwhile; both lie in the folder of the keys.
func (a *Agency) reseal(ctx context.Context, h *held, k *kept, recipient string, b *bundle) (_ *os.File, err error) {
	plain, err := nameless(a.peer.State.Path("keys"))
	if err != nil {
		return nil, err
	}
	defer plain.Close()
	if _, err := a.vault.decrypt(ctx, h, k, plain); err != nil {
		return nil, err
	}
	if _, err := plain.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	sealed, err := nameless(a.peer.State.Path("keys"))
	if err != nil {
		return nil, err
	}
	key, sums, err := release.Seal(ctx, sealed, plain)
	if err == nil && (sums.PlainSHA256 != k.manifest.PlainSHA256 || sums.PlainBytes != k.manifest.PlainBytes) {
		err = errors.New("the clip changed while it was sealed")
	}
	if err == nil {
		b.Key, err = node.SealMessage(recipient, []byte(key), keyMessage)
	}
	b.Size = sums.SealedBytes
	if err == nil {
		_, err = sealed.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(err, sealed.Close())
	}
	return sealed, nil
}

// tellPassedOn signs for the owner what was declared and to whom it went.
func (a *Agency) tellPassedOn(h *held, root, entry string, salt grant.Secret, to string) error {
	k := a.vault.copyOf(h, root)
	key, err := a.receptionKey(h.signer(&k))
	if err != nil {
		return err
	}
	r := grant.Receipt{Grant: h.id, GrantKey: h.grant.Key, CID: consent.ReleaseID(root), Commitment: h.commitment(&k), State: grant.PassedOn, SealedSHA256: k.manifest.SealedSHA256,
		DeleteBy: consent.At(h.deadline(&k)), Entry: entry, Salt: salt, Detail: to, At: consent.At(a.peer.Now()), Key: key.Verifier()}
	note, err := consent.Sign(r, key)
	if err != nil {
		return err
	}
	return a.queueFor(h, note)
}

// receptionFile is where a reception key is kept.
func (a *Agency) receptionFile(v consent.VerifierKey) (string, error) {
	pub, err := v.Public()
	if err != nil {
		return "", err
	}
	return a.peer.State.Path("keys", "reception", hex.EncodeToString(pub)+".key"), nil
}

// sweepCards destroys what opens a release that would be passed on to this agency, once its card was used or is over.
func (a *Agency) sweepCards() error {
	dir := a.peer.State.Path("keys", "taking")
	a.vault.mu.Lock()
	defer a.vault.mu.Unlock()
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	used := map[consent.VerifierKey]bool{}
	for _, h := range a.vault.grants {
		for _, k := range h.releases {
			if k.taken != nil {
				used[k.taken.Reception] = true
			}
		}
	}
	var errs []error
	for _, e := range entries {
		var t taking
		path := filepath.Join(dir, e.Name())
		if err := node.ReadJSON(path, &t); err == nil { // one that is damaged opens nothing
			if card, err := grant.OpenTaking([]byte(t.Card)); err == nil && !used[card.Reception] && a.late().Before(card.Expires.Time) {
				continue
			}
		}
		errs = append(errs, shred(a.vault.disk, path))
	}
	return errors.Join(errs...)
}
