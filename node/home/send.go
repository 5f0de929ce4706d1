package home

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/grant"
	"github.com/porchlight-mesh/porchlight/footage/release"
	"github.com/porchlight-mesh/porchlight/node"
	"github.com/porchlight-mesh/porchlight/p2p/deliver"
)

// send is the one place where footage leaves this home. It goes by the decisions as they are
// stored on disk, not by what memory says.
func (h *Home) send(ctx context.Context, a Answer, r node.Request) error {
	var stored Answer
	if err := node.ReadJSON(h.file(&a, "answer.json"), &stored); err != nil {
		return err
	}
	noteBytes, err := os.ReadFile(h.file(&a, "grant.note"))
	if err != nil {
		return lost(err)
	}
	g, err := grant.OpenGrant(noteBytes)
	if err != nil {
		return err
	}
	key, err := node.ReadKey(h.file(&a, "grant.key"))
	if err != nil {
		return lost(err)
	}
	var manifests []grant.Manifest
	offer := deliver.Offer{Grant: noteBytes}
	for i := range g.Releases {
		note, err := os.ReadFile(h.file(&a, fmt.Sprintf("%d.manifest", i)))
		if err != nil {
			return lost(err)
		}
		m, err := grant.OpenManifest(note, g.Key)
		if err != nil {
			return err
		}
		manifests = append(manifests, m)
		offer.Releases = append(offer.Releases, deliver.Release{Manifest: note})
	}
	if err := decided(stored, g, r.ID, manifests); err != nil {
		return because(RecordDamaged, err)
	}
	if err := h.sameSources(stored, r); err != nil {
		return err
	}
	for i, rel := range g.Releases {
		src, err := openSource(h.file(&a, fmt.Sprintf("%d", i)), rel.SealedBytes)
		if err != nil {
			return err
		}
		defer src.file.Close()
		keyFile := h.file(&a, fmt.Sprintf("%d.key", i))
		to := &offer.Releases[i]
		to.Root, to.Blocks, to.Key = string(rel.CID), src, func() []byte {
			b, err := os.ReadFile(keyFile)
			if err != nil {
				h.peer.Log.Error("release key unreadable", "err", err)
			}
			return []byte(strings.TrimSpace(string(b)))
		}
	}
	over, err := h.path(a.ID)
	if err != nil {
		return err
	}
	if err := h.step(a.ID, "waiting", "sending", nil); err != nil {
		return err
	}
	way := ", straight"
	if over != nil {
		way = ", over stewards " + strings.Join(over.Stewards, " and ")
	}
	if err := h.ledger.Note("node", "delivery started", string(a.Grant), "to "+r.Name+way); err != nil {
		return err
	}
	s := &session{Home: h, answer: a.ID, grantID: a.Grant, grant: g, request: r, sent: make([]int64, len(g.Releases))}
	err = deliver.Send(ctx, deliver.SendConfig{Key: key.Private(), Addrs: r.Body.Reply, Log: h.peer.Log, Network: h.peer.Network(), Over: over}, offer,
		deliver.Hooks{Accepted: s.accepted, Received: s.received, Progress: s.progress})
	if err != nil {
		for i, rel := range h.snapshot(a.ID).Releases {
			if n := s.sentNow(i); !rel.Receipt && n > 0 {
				err = errors.Join(err, h.ledger.Note("node", "blocks sent", rel.Root, fmt.Sprintf("%d of %d this time, then the path failed", n, rel.Blocks)))
			}
		}
		return broken(err)
	}
	if err := h.ledger.Note("node", "delivered", string(a.Grant), "to "+r.Name+", to be deleted by "+g.Terms.RetainUntil.Format(time.RFC3339)); err != nil {
		return err
	}
	return h.step(a.ID, "sending", "delivered", func(a *Answer) error {
		a.Problem = ""
		return nil
	})
}

// decided refuses to send anything of a grant of which one release is not covered by a decision of its owner, as they are stored.
func decided(stored Answer, g grant.Grant, request consent.RequestID, manifests []grant.Manifest) error {
	n := len(g.Releases)
	if !stored.open() || g.Request != request || len(stored.Decisions) != n || len(stored.Releases) != n || len(manifests) != n {
		return errors.New(RecordDamaged.Words())
	}
	for i, rel := range g.Releases {
		if manifests[i].CID != rel.CID || stored.Releases[i].Root != string(rel.CID) || !stored.Decisions[i].Allows(request, stored.Releases[i].Camera, manifests[i].Asked) {
			return fmt.Errorf("release %s: no decision of the owner covers it", rel.CID)
		}
	}
	return nil
}

// earned refuses the key of a release to anything but the receipt for all of its bytes, which the reception key of the request signed, and which
// says that the key is destroyed when the terms have it.
func earned(note []byte, reception consent.VerifierKey, id consent.GrantID, g grant.Grant, root, sealed string) error {
	rec, err := grant.OpenReceipt(note, reception)
	if err != nil {
		return err
	}
	h, err := grant.HoldingOf(id, g, consent.ReleaseID(root))
	if err != nil || !h.Signed(rec) || rec.State != grant.Held {
		return errors.New("the receipt is for another release")
	}
	if by := h.Deadline(false); rec.DeleteBy.After(by) {
		return fmt.Errorf("the receipt says that the release is deleted by %s, and the terms end on %s", rec.DeleteBy, consent.At(by))
	}
	if rec.SealedSHA256 != sealed {
		return errors.New("the receipt names other bytes than were sent")
	}
	return nil
}

// sameSources says whether every camera of an answer is still offered, still sees what the request
// asks about, and is the one that the owner decided about.
func (h *Home) sameSources(a Answer, r node.Request) error {
	if len(a.Sources) != len(a.Decisions) {
		return because(RecordDamaged, errors.New("the answer's record does not say which cameras were meant; approve again"))
	}
	for i, d := range a.Decisions {
		is, err := h.source(d.Camera, r.Body)
		if err != nil {
			return because(CameraChanged, err)
		}
		if is != a.Sources[i] {
			return because(CameraChanged, fmt.Errorf("camera %s was changed after the owner's decision; approve again", d.Camera))
		}
	}
	return nil
}

// A session checks each word of the requester before the next thing is given.
type session struct {
	*Home
	answer  string
	grantID consent.GrantID
	grant   grant.Grant
	request node.Request
	sent    []int64 // blocks of each release in this session; under mu
}

func (s *session) index(root string) int {
	return slices.IndexFunc(s.grant.Releases, func(r grant.Release) bool { return string(r.CID) == root })
}

func (s *session) sentNow(i int) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sent[i]
}

func (s *session) path(name string) string { return s.peer.State.Path("answers", s.answer, name) }

func (s *session) accepted(note []byte) error {
	acc, err := grant.OpenAcceptance(note, s.request.Body.ReceptionKey)
	if err != nil {
		return err
	}
	if acc.Grant != s.grantID || !acc.Terms.Equal(s.grant.Terms) {
		return errors.New("the acceptance is for another grant or for other terms")
	}
	return errors.Join(s.disk().WriteFile(s.path("acceptance.note"), note, 0o600),
		s.ledger.Note("requester", "terms accepted", string(s.grantID), "kept until "+s.grant.Terms.RetainUntil.Format(time.RFC3339)))
}

// received lets the key of a release go. Its step is the moment after which withdrawing the answer
// no longer holds the key back; the ledger and the answer's record have it before it leaves.
func (s *session) received(root string, note []byte) error {
	i := s.index(root)
	if i < 0 {
		return errors.New("the receipt is for another release")
	}
	manifest, err := os.ReadFile(s.path(fmt.Sprintf("%d.manifest", i)))
	if err != nil {
		return err
	}
	m, err := grant.OpenManifest(manifest, s.grant.Key)
	if err != nil {
		return err
	}
	if err := earned(note, s.request.Body.ReceptionKey, s.grantID, s.grant, root, m.SealedSHA256); err != nil {
		return err
	}
	if err := s.disk().WriteFile(s.path(fmt.Sprintf("%d.receipt", i)), note, 0o600); err != nil {
		return err
	}
	// The transfer may have taken hours.
	r, err := s.peer.Request(string(s.request.ID))
	if err != nil {
		return err
	}
	if err := s.mayAnswer(r); err != nil {
		return because(NotAllowed, err)
	}
	return s.step(s.answer, "sending", "sending", func(a *Answer) error {
		rel := &a.Releases[i]
		rel.Receipt, rel.Key = true, true
		return errors.Join(s.goesOn(a),
			s.ledger.Note("node", "release sent", root, fmt.Sprintf("%d of %d blocks this time; the requester signed that it holds all of them", s.sent[i], rel.Blocks)),
			s.ledger.Note("node", "release key given", root, "against the receipt"))
	})
}

func (s *session) progress(root string, have, _ int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, a := s.index(root), s.answers[s.answer]
	if i < 0 || i >= len(a.Releases) {
		return
	}
	rel := &a.Releases[i]
	first, had := rel.Sent == 0, have-1
	further := s.sent[i] == 0 && had > rel.Have // the session before this one brought something
	if s.sent[i] == 0 {
		rel.Have = had
	}
	s.sent[i]++
	rel.Sent = max(rel.Sent, have)
	var err error
	if further {
		err = s.goesOn(a)
	}
	if first || further { // that something left is on record whatever happens
		err = errors.Join(err, s.record(a))
	}
	if err != nil {
		s.peer.Log.Error("answer's record not written", "answer", a.ID, "err", err)
	}
}

// broken gives a session's error its reason where only the place it came from says it.
func broken(err error) error {
	var word *deliver.Error
	switch {
	case errors.Is(err, release.ErrDamaged), errors.Is(err, release.ErrTruncated):
		return because(CopyDamaged, err)
	case errors.As(err, &word), reasonOf(err) != Trouble:
		return err
	}
	return because(ConnectionLost, err)
}

// source reads a prepared release's blocks.
type source struct {
	dag  *release.DAG
	file *os.File
}

func openSource(base string, size int64) (*source, error) {
	nodes, err := os.ReadFile(base + ".nodes")
	if err != nil {
		return nil, lost(err)
	}
	dag, err := release.Load(nodes)
	if err != nil {
		return nil, because(CopyDamaged, fmt.Errorf("%s.nodes: %w", base, err))
	}
	f, err := os.Open(base + ".sealed")
	if err != nil {
		return nil, lost(err)
	}
	info, err := f.Stat()
	if err == nil && info.Size() != size {
		err = because(CopyDamaged, fmt.Errorf("%s.sealed has %d bytes, it was made with %d", base, info.Size(), size))
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return &source{dag: dag, file: f}, nil
}

func (s *source) Blocks() int64 { return s.dag.Blocks() }

func (s *source) Block(i int64, buf []byte) ([]byte, error) { return s.dag.Block(i, s.file, buf) }
