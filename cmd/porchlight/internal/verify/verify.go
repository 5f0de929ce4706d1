// Package verify checks signed documents, records and sealed releases in files, with no node and
// no network, and says in words what a check proved and what it did not.
//
// A signature proves that the holder of a key signed these bytes. Whose key it is, whether what
// was signed is true, and when it was signed are other questions; each result names the ones that
// stay open. A wrong file gives an error and never a half result.
package verify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/porchlight-mesh/porchlight/cmd/porchlight/internal/ui"
	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
	"github.com/porchlight-mesh/porchlight/consent/custody"
	"github.com/porchlight-mesh/porchlight/consent/docket"
	"github.com/porchlight-mesh/porchlight/consent/grant"
	"github.com/porchlight-mesh/porchlight/consent/request"
	"github.com/porchlight-mesh/porchlight/node"
)

// With is what a file is checked against. The zero With checks each file for itself.
type With struct {
	Charter  string // a folder of charter versions
	Manifest string // the manifest of a sealed release
	Grant    string // the grant that a manifest, acceptance or receipt belongs to
	Request  string // the request that an acceptance or receipt answers
	Key      string // the file of a release key

	cards []grant.Taking // of agencies that took a release over, whose keys sign for it then
}

// A Result is one file that is what it claims to be.
type Result struct {
	File   string   `json:"file"`
	Kind   string   `json:"kind"`
	Proven []string `json:"proven"`
	Open   []string `json:"not_proven"` // what this check says nothing about
}

func (r *Result) prove(format string, args ...any) {
	r.Proven = append(r.Proven, fmt.Sprintf(format, args...))
}

func (r *Result) leave(format string, args ...any) {
	r.Open = append(r.Open, fmt.Sprintf(format, args...))
}

// maxBundle bounds a docket's message, in bytes.
const maxBundle = 64 << 10

// ErrUnknown says that a file is nothing that can be checked.
var ErrUnknown = errors.New("not a document, record or release of Porchlight")

// File checks one file or charter folder.
func File(ctx context.Context, path string, with With) (Result, error) {
	r := Result{File: path, Proven: []string{}, Open: []string{}}
	err := file(ctx, &r, with)
	if err != nil {
		return Result{}, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}

func file(ctx context.Context, r *Result, with With) error {
	f, err := os.Open(r.File)
	if err != nil {
		return errors.Unwrap(err) // the caller names the file
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return err
	} else if info.IsDir() {
		return charterFolder(r)
	}
	head := make([]byte, 64)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		if errors.Is(err, io.EOF) {
			return errors.New("the file is empty")
		}
		return err
	}
	head = head[:n]
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	switch {
	case bytes.HasPrefix(head, []byte("age-encryption.org/")):
		return sealed(ctx, r, f, with)
	case bytes.HasPrefix(head, []byte(`{"seq":`)):
		return custodyLog(r, f)
	case bytes.HasPrefix(head, []byte(`{"agency":`)):
		b, err := readAll(f, maxBundle)
		if err != nil {
			return err
		}
		return bundle(r, b, with)
	case bytes.HasPrefix(head, []byte(docket.Origin(""))):
		b, err := readAll(f, docket.MaxCosigned)
		if err != nil {
			return err
		}
		return checkpoint(r, b, with)
	case docket.IsMisconduct(head):
		b, err := readAll(f, docket.MaxMisconduct)
		if err != nil {
			return err
		}
		return misconduct(r, b, with)
	case bytes.HasPrefix(head, []byte("porchlight/")):
		b, err := readAll(f, consent.MaxNote)
		if err != nil {
			return err
		}
		return document(r, b, with)
	}
	return node.WithHint(ErrUnknown, "give a signed note, a docket's message or checkpoint, a proof of misconduct, a custody log, a charter folder or a sealed release")
}

func readAll(f io.Reader, most int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(b)) > most {
		err = fmt.Errorf("larger than %d bytes", most)
	}
	return b, err
}

func readNote(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readAll(f, consent.MaxNote)
}

func document(r *Result, note []byte, with With) (err error) {
	if r.Kind, err = consent.Peek(note); err != nil {
		return err
	}
	switch r.Kind {
	case "charter":
		return charterNote(r, note)
	case "agency-card":
		return card(r, note)
	case "request":
		return requestNote(r, note, with)
	case "grant":
		return grantNote(r, note, with)
	case "manifest":
		_, err := manifest(r, note, with)
		return err
	case "acceptance":
		return acceptance(r, note, with)
	case "receipt":
		return receipt(r, note, with)
	case "withdrawal", "extension", "statement", "onward":
		return word(r, note, with)
	case "message":
		return message(r, note, with)
	case grant.BreachKind:
		return breach(r, note, with)
	case grant.Taking{}.Kind():
		return taking(r, note)
	case "officer", "supersede", "resolve", "report", "outcome", "daily", "hold", "transfer":
		return docketEntry(r, note)
	case request.ObjectionKind:
		return objection(r, note, with)
	}
	return fmt.Errorf("a document of a kind this program does not know: %s", r.Kind)
}

func charterFolder(r *Result) error {
	chain, err := node.ReadCharter(r.File)
	if err != nil {
		return err
	}
	r.Kind = "charter folder"
	return chainResult(r, chain)
}

// charterNote checks one version. A later one than the first means nothing without those before
// it, which stand beside it in a charter folder.
func charterNote(r *Result, note []byte) error {
	chain, err := charter.Start(note)
	if consent.ClassOf(err) == consent.WrongPrevious {
		if chain, err = node.ReadCharter(filepath.Dir(r.File)); err == nil {
			chain, err = chain.Extend(note)
		} else if errors.Is(err, fs.ErrNotExist) {
			err = node.WithHint(errors.New("a version after the first says nothing without those before it"), "put it beside them in a charter folder, or verify the folder")
		}
	}
	if err != nil {
		return err
	}
	return chainResult(r, chain)
}

func chainResult(r *Result, chain charter.Chain) error {
	c := chain.Current()
	r.prove("the charter of mesh %s, version %d, ends %s", c.Mesh, c.Version, ui.UTC(c.Ends.Time))
	r.prove("every version is signed by enough of its signers and names the one before; the mesh id is %s", chain.Mesh())
	if chain.Frozen() {
		r.prove("two valid successors exist: admissions are frozen at this version")
	}
	r.leave("that this is the mesh you mean: compare its id with somebody in it")
	r.leave("that there is no newer version")
	r.leave("that the signers are who they say")
	return nil
}

func card(r *Result, note []byte) error {
	c, err := charter.OpenCard(note)
	if err != nil {
		return err
	}
	r.prove("the card of %s (%s), signed by its docket key", c.Name, c.Class)
	r.prove("its fingerprint is: %s", c.Fingerprint())
	r.leave("that it is this agency's: compare the fingerprint with the agency in person")
	return nil
}

func requestNote(r *Result, note []byte, with With) error {
	q, err := request.Open(note)
	if err != nil {
		return err
	}
	r.prove("request %s, case %s, signed by %s and then %s", request.IDOf(note), q.Case, q.Officer.Name(), q.Supervisor.Name())
	if with.Charter == "" {
		r.leave("that it keeps the mesh's limits: give the charter with --charter")
	} else {
		chain, err := node.ReadCharter(with.Charter)
		if err != nil {
			return err
		}
		a, ok := chain.Agency(q.Agency)
		if !ok {
			return consent.Refuse(consent.UnknownAgency, "agency", "the charter does not admit %s", q.Agency)
		}
		if err := q.CheckCharter(chain.Current(), a); err != nil {
			return err
		}
		r.prove("it keeps the limits of mesh %s for %s", chain.Current().Mesh, a.Name)
	}
	r.leave("that the two were enrolled, and that it stands in the docket: check the docket's message")
	r.leave("that the case exists, or that what it says is true")
	return nil
}

func grantNote(r *Result, note []byte, with With) error {
	g, err := grant.OpenGrant(note)
	if err != nil {
		return err
	}
	if with.Request != "" {
		asked, err := readNote(with.Request)
		if err != nil {
			return err
		}
		if request.IDOf(asked) != g.Request {
			return consent.Refuse(consent.WrongSubject, "request", "%s is another request than it answers", with.Request)
		}
	}
	r.prove("grant %s of %s for request %s, signed by its own key", ui.Short(grant.IDOf(note)), ui.Count(len(g.Releases), "release"), ui.Short(g.Request))
	r.prove("it may be kept until %s, until %s if not used; %s is removed", ui.UTC(g.Terms.RetainUntil.Time), ui.UTC(g.Terms.UnusedUntil.Time), g.Redaction)
	r.leave("who made it: its key was made for this answer alone")
	r.leave("that the requester agreed: that is what its acceptance says")
	return nil
}

func manifest(r *Result, note []byte, with With) (grant.Manifest, error) {
	m, err := consent.Open(note, func(m grant.Manifest) ([]consent.VerifierKey, error) {
		return []consent.VerifierKey{m.Key}, nil
	})
	if err != nil {
		return m, err
	}
	r.prove("the manifest of release %s, signed by the grant key it names", m.CID)
	r.prove("it describes %s of %s, %dx%d", ui.Span(m.Clip.From.Time, m.Clip.Until.Time), m.Video.Codec, m.Video.Width, m.Video.Height)
	if err := underGrant(r, note, m, with); err != nil {
		return m, err
	}
	r.leave("that the camera's clock was right: it may be off by %v seconds, by its owner's word", m.Clock.UncertaintySeconds)
	r.leave("that the picture shows what happened: a signature is no witness")
	return m, nil
}

// underGrant holds a manifest against the grant that lists it.
func underGrant(r *Result, note []byte, m grant.Manifest, with With) error {
	if with.Grant == "" {
		r.leave("that its owner's grant lists it: give the grant with --grant")
		return nil
	}
	g, _, err := openGrant(with.Grant)
	if err != nil {
		return err
	}
	for _, rel := range g.Releases {
		if rel.CID == m.CID && rel.ManifestSHA256 == consent.HashText(note) && g.Key == m.Key && g.Request == m.Request {
			r.prove("the grant lists this very manifest")
			return nil
		}
	}
	return consent.Refuse(consent.WrongSubject, "grant", "%s does not list this manifest", with.Grant)
}

func openGrant(path string) (g grant.Grant, id consent.GrantID, err error) {
	note, err := readNote(path)
	if err != nil {
		return g, "", err
	}
	if g, err = grant.OpenGrant(note); err != nil {
		return g, "", fmt.Errorf("%s: %w", path, err)
	}
	return g, grant.IDOf(note), nil
}

func acceptance(r *Result, note []byte, with With) error {
	a, err := consent.Open(note, func(a grant.Acceptance) ([]consent.VerifierKey, error) {
		return []consent.VerifierKey{a.Key}, nil
	})
	if err != nil {
		return err
	}
	r.prove("an acceptance of grant %s, signed %s by the reception key it names", ui.Short(a.Grant), ui.UTC(a.Created.Time))
	if with.Grant != "" {
		g, id, err := openGrant(with.Grant)
		if err != nil {
			return err
		}
		if id != a.Grant || !g.Terms.Equal(a.Terms) {
			return consent.Refuse(consent.WrongSubject, "grant", "%s is another grant, or has other terms", with.Grant)
		}
		r.prove("it accepts the terms of that grant, all of them")
	} else {
		r.leave("that its terms are the grant's: give the grant with --grant")
	}
	if err := reception(r, a.Key, with); err != nil {
		return err
	}
	r.leave("that the terms are kept")
	return nil
}

func receipt(r *Result, note []byte, with With) error {
	c, err := consent.Open(note, func(c grant.Receipt) ([]consent.VerifierKey, error) {
		return []consent.VerifierKey{c.Key}, nil
	})
	if err != nil {
		return err
	}
	r.prove("a receipt for release %s: %s at %s, signed by the reception key it names", c.CID, c.State, ui.UTC(c.At.Time))
	if err := about(r, c.Grant, c.CID, with); err != nil {
		return err
	}
	if err := reception(r, c.Key, with); err != nil {
		return err
	}
	if c.State == grant.Deleted {
		r.leave("that it was deleted: a deletion is attested and cannot be proven")
	}
	return nil
}

// about holds what is said about a release against the grant that lists it.
func about(r *Result, id consent.GrantID, cid consent.ReleaseID, with With) error {
	if with.Grant == "" {
		r.leave("which grant it is about: give the grant with --grant")
		return nil
	}
	g, have, err := openGrant(with.Grant)
	if err != nil {
		return err
	}
	if have != id || !slices.ContainsFunc(g.Releases, func(x grant.Release) bool { return x.CID == cid }) {
		return consent.Refuse(consent.WrongSubject, "grant", "%s is another grant than it is about", with.Grant)
	}
	r.prove("it is about a release of that grant")
	return nil
}

// reception holds a key against the one that the request named in public.
func reception(r *Result, key consent.VerifierKey, with With) error {
	if with.Request == "" {
		r.leave("that the agency holds that key: give its request with --request")
		return nil
	}
	note, err := readNote(with.Request)
	if err != nil {
		return err
	}
	q, err := request.Open(note)
	if err != nil {
		return fmt.Errorf("%s: %w", with.Request, err)
	}
	for _, c := range with.cards {
		if c.Reception == key {
			r.prove("the key is that of a card of agency %s, which took the release over; its docket key signed the card", c.Agency)
			return nil
		}
	}
	if q.ReceptionKey != key {
		return consent.Refuse(consent.WrongSubject, "key", "%s names another reception key", with.Request)
	}
	r.prove("the key is the one that request %s names", ui.Short(request.IDOf(note)))
	return nil
}

func custodyLog(r *Result, f io.Reader) error {
	r.Kind = "custody log"
	n, last, err := custody.Verify(f)
	if err != nil {
		return err
	}
	r.prove("%d steps, each carrying the hash of the one before; the last at %s: %s", n, ui.UTC(last.At.Time), last.Step)
	r.leave("that no steps were cut off at the end, or the whole log written anew: compare the last hash, %s, with a copy somebody else has", ui.Short(last.Hash))
	return nil
}
