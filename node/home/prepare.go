package home

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"filippo.io/age"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/grant"
	"github.com/porchlight-mesh/porchlight/consent/request"
	"github.com/porchlight-mesh/porchlight/footage/clip"
	"github.com/porchlight-mesh/porchlight/footage/library"
	"github.com/porchlight-mesh/porchlight/footage/release"
	"github.com/porchlight-mesh/porchlight/node"
)

// startSlack is how far a start read from a file's name may be off: names hold whole seconds.
const startSlack = time.Second

// span is the part of a request's window that is asked of a camera: what the owner chose, or the
// smallest span that covers the request.
func span(r request.Request, from, until time.Time) (time.Time, time.Time, error) {
	if from.IsZero() {
		from = r.From.Time
	}
	if until.IsZero() {
		until = r.Until.Time
	}
	if from.Before(r.From.Time) || until.After(r.Until.Time) || !from.Before(until) {
		return from, until, node.WithHint(fmt.Errorf("the span %s to %s is not inside the request's window, %s to %s",
			from.UTC().Format(time.RFC3339), until.UTC().Format(time.RFC3339), r.From.Format(time.RFC3339), r.Until.Format(time.RFC3339)),
			"choose --from and --until inside the window")
	}
	return from.UTC(), until.UTC(), nil
}

// cut writes the clip of one camera over one span to w: video only, cut at keyframes.
func (h *Home) cut(ctx context.Context, w io.Writer, camera library.CameraID, from, until time.Time) (clip.Result, []library.Recording, error) {
	recs, err := h.library.Overlapping(ctx, camera, from, until)
	if err != nil {
		return clip.Result{}, nil, err
	}
	inputs := make([]clip.Input, len(recs))
	for i, r := range recs {
		inputs[i] = r.Input()
	}
	res, err := clip.Cut(ctx, w, inputs, from, until, clip.Options{Slack: startSlack})
	if errors.Is(err, clip.ErrNothing) {
		err = node.WithHint(fmt.Errorf("camera %s: %w", camera, err), "`porchlight home show ID` says what each camera has")
	}
	if err != nil {
		return clip.Result{}, nil, err
	}
	var used []library.Recording
	for _, i := range res.Inputs {
		used = append(used, recs[i])
	}
	return res, used, nil
}

// preview writes exactly the clip that approving would send, for the owner to look at.
func (h *Home) preview(ctx context.Context, a Preview) (Previewed, error) {
	r, _, err := h.item(a.Request)
	if err != nil {
		return Previewed{}, err
	}
	if err := h.mayAnswer(r); err != nil {
		return Previewed{}, err
	}
	if _, err := h.source(a.Camera, r.Body); err != nil {
		return Previewed{}, err
	}
	from, until, err := span(r.Body, a.From, a.Until)
	if err != nil {
		return Previewed{}, err
	}
	return h.clipTo(ctx, filepath.Dir(a.Out), a.Out, library.CameraID(a.Camera), from, until, math.MaxInt64)
}

// clipTo writes a clip of at most that many bytes to a file, which is there whole or not at all; until then
// it is in temp, on the same disk.
func (h *Home) clipTo(ctx context.Context, temp, out string, camera library.CameraID, from, until time.Time, most int64) (Previewed, error) {
	f, err := os.CreateTemp(temp, ".porchlight-*")
	if err != nil {
		return Previewed{}, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	w := &bounded{w: f, left: most}
	res, _, err := h.cut(ctx, w, camera, from, until)
	if err != nil {
		return Previewed{}, err
	}
	if err := f.Sync(); err != nil {
		return Previewed{}, err
	}
	if err := os.Rename(f.Name(), out); err != nil {
		return Previewed{}, err
	}
	shown := whole(res.From, res.Until)
	return Previewed{Out: out, Bytes: most - w.left, From: shown.From.Time, Until: shown.Until.Time, LeadIn: res.LeadIn.Seconds(), Gaps: len(res.Gaps), Overlaps: len(res.Overlaps)}, nil
}

// bounded writes so many bytes and no more.
type bounded struct {
	w    io.Writer
	left int64
}

var errNoRoom = errors.New("more than the room there is")

func (b *bounded) Write(p []byte) (int, error) {
	if int64(len(p)) > b.left {
		return 0, errNoRoom
	}
	n, err := b.w.Write(p)
	b.left -= int64(n)
	return n, err
}

// prepare makes the releases and the grant of an approved answer. It starts from nothing each
// time: what an interrupted preparation left is written over.
func (h *Home) prepare(ctx context.Context, a Answer, r node.Request) error {
	if err := h.sameSources(a, r); err != nil {
		return err
	}
	// What is written over must not be what a record on the disk still says is ready.
	h.mu.Lock()
	err := h.settle()
	h.mu.Unlock()
	if err != nil {
		return err
	}
	key, err := consent.GenerateKey(rand.Reader, grant.KeyName)
	if err != nil {
		return err
	}
	if err := h.disk().WriteFile(h.file(&a, "grant.key"), []byte(key.Encode()+"\n"), 0o600); err != nil {
		return err
	}
	later, err := age.GenerateX25519Identity()
	if err != nil {
		return err
	}
	if err := h.disk().WriteFile(h.file(&a, "reach.key"), []byte(later.String()+"\n"), 0o600); err != nil {
		return err
	}
	author, err := h.author.Verifier().Public()
	if err != nil {
		return err
	}
	authorship, secret, err := grant.Commit(rand.Reader, author)
	if err != nil {
		return err
	}
	opens := secrets{Authorship: secret}

	g := grant.Grant{Request: r.ID, Agency: r.Agency, Redaction: grant.RedactionAudioOnly,
		Identity: grant.Identity(a.Identity), Name: a.Name, Authorship: authorship, Expires: r.Body.Expires,
		Reach: later.Recipient().String(), Key: key.Verifier()}
	var releases []Release
	for i, d := range a.Decisions {
		s := originals{Camera: d.Camera}
		rel, m, err := h.prepareOne(ctx, a, i, d, r, key, &s)
		if err != nil {
			// The next attempt begins anew; until then the room is somebody else's.
			for n := range i + 1 {
				if undo := h.disk().Remove(h.file(&a, fmt.Sprintf("%d.sealed", n))); !errors.Is(undo, fs.ErrNotExist) {
					err = errors.Join(err, undo)
				}
			}
			return err
		}
		opens.Releases = append(opens.Releases, s)
		_, secret, err := grant.Commit(rand.Reader, []byte(m.root))
		if err != nil {
			return err
		}
		sum := sha256.Sum256(m.note)
		g.Releases = append(g.Releases, grant.Release{CID: consent.ReleaseID(m.root), SealedBytes: m.sealed,
			ManifestSHA256: hex.EncodeToString(sum[:]), Secret: secret})
		releases = append(releases, rel)
	}
	if err := node.WriteJSON(h.disk(), h.file(&a, "secrets.json"), opens); err != nil {
		return err
	}
	// The delay begins now that all work is done, and the grant is dated by its end: neither says
	// when the owner approved, nor how long the clip took to make.
	leaves := h.leaves(r.Body)
	g.Created = dated(leaves, g.Identity, r.Body)
	g.Terms = a.terms(r.Body, g.Created.Time)
	note, err := consent.Sign(g, key)
	if err != nil {
		return err
	}
	if err := h.disk().WriteFile(h.file(&a, "grant.note"), note, 0o600); err != nil {
		return err
	}
	return h.step(a.ID, "preparing", "waiting", func(a *Answer) error {
		a.Releases, a.Grant, a.NotBefore = releases, grant.IDOf(note), leaves
		return h.goesOn(a)
	})
}

// leaves draws the moment at which an answer may leave: within the delay the owner set, and within
// the first half of the time that the request still has.
func (h *Home) leaves(r request.Request) time.Time {
	now := h.peer.Now().UTC()
	most := min(time.Duration(h.peer.Config.Home.AnswerDelay), r.Expires.Sub(now)/2)
	return now.Add(time.Duration(randomBelow(int64(most))))
}

// dated is what a grant says of its making: the moment at which it may leave, and of an anonymous
// one only the hour, though never one before the request.
func dated(leaves time.Time, identity grant.Identity, r request.Request) consent.Time {
	if identity == grant.Anonymous {
		leaves = later(leaves.Truncate(time.Hour), r.Created.Time)
	}
	return consent.At(leaves)
}

// secrets opens the commitments of an answer, should its owner want to show later who wrote it or
// what a clip was cut from. It stays in the answer's folder.
type secrets struct {
	Authorship grant.Secret `json:"authorship"`
	Releases   []originals  `json:"releases"`
}

type originals struct {
	Camera string         `json:"camera"`
	Files  []original     `json:"files"`
	Salts  []grant.Secret `json:"salts"`
}

type original struct {
	Path   string `json:"path"`
	SHA256 string `json:"sha256"`
}

// made is what a release's manifest says, for the grant.
type made struct {
	root   string
	note   []byte
	sealed int64
}

func (h *Home) prepareOne(ctx context.Context, a Answer, i int, d grant.Decision, r node.Request, key consent.Key, s *originals) (Release, made, error) {
	fail := func(err error) (Release, made, error) { return Release{}, made{}, err }
	plain, err := os.OpenFile(h.file(&a, fmt.Sprintf("%d.clip", i)), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fail(err)
	}
	defer os.Remove(plain.Name())
	defer plain.Close()
	res, used, err := h.cut(ctx, plain, library.CameraID(d.Camera), d.Span.From.Time, d.Span.Until.Time)
	if err != nil {
		return fail(err)
	}
	var hashes [][32]byte
	for _, rec := range used {
		sum, err := hashFile(ctx, rec)
		if err != nil {
			return fail(err)
		}
		hashes = append(hashes, sum)
		s.Files = append(s.Files, original{Path: rec.Path, SHA256: hex.EncodeToString(sum[:])})
	}
	commitments, salts, err := grant.CommitOriginals(rand.Reader, hashes)
	if err != nil {
		return fail(err)
	}
	s.Salts = salts

	if _, err := plain.Seek(0, io.SeekStart); err != nil {
		return fail(err)
	}
	sealed, err := h.disk().Open(h.file(&a, fmt.Sprintf("%d.sealed", i)), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fail(err)
	}
	defer sealed.Close()
	releaseKey, sums, err := release.Seal(ctx, io.NewOffsetWriter(sealed, 0), plain)
	if err != nil {
		return fail(err)
	}
	if err := sealed.Sync(); err != nil {
		return fail(err)
	}
	if err := h.disk().WriteFile(h.file(&a, fmt.Sprintf("%d.key", i)), []byte(string(releaseKey)+"\n"), 0o600); err != nil {
		return fail(err)
	}
	dag, err := release.BuildDAG(ctx, io.NewSectionReader(sealed, 0, sums.SealedBytes), sums.SealedBytes)
	if err != nil {
		return fail(err)
	}
	if err := h.disk().WriteFile(h.file(&a, fmt.Sprintf("%d.nodes", i)), dag.Marshal(), 0o600); err != nil {
		return fail(err)
	}

	m := grant.Manifest{Request: r.ID, CID: consent.ReleaseID(dag.Root.String()), SealedBytes: sums.SealedBytes, SealedSHA256: sums.SealedSHA256,
		PlainBytes: sums.PlainBytes, PlainSHA256: sums.PlainSHA256,
		Asked:         d.Span,
		Clip:          whole(res.From, res.Until),
		LeadInSeconds: res.LeadIn.Round(time.Millisecond).Seconds(),
		Video:         grant.Video{Codec: res.Codec, Width: res.Width, Height: res.Height, Frames: res.Frames},
		AudioRemoved:  res.AudioRemoved,
		Originals:     commitments,
		Gaps:          []grant.Span{},
		Overlaps:      []grant.Span{},
		Clock:         h.clockOf(used, a.Identity == string(grant.Anonymous)),
		Key:           key.Verifier()}
	for _, gap := range joined(res.Gaps, grant.MaxGaps) {
		m.Gaps = append(m.Gaps, whole(gap.From, gap.Until))
	}
	var twice []clip.Gap
	for _, o := range res.Overlaps {
		twice = append(twice, clip.Gap{From: o.From, Until: o.Until})
	}
	for _, o := range joined(twice, grant.MaxGaps) {
		m.Overlaps = append(m.Overlaps, whole(o.From, o.Until))
	}
	if a.Identity != string(grant.Anonymous) {
		m.Camera = d.Camera
	}
	note, err := consent.Sign(m, key)
	if err != nil {
		return fail(err)
	}
	if err := h.disk().WriteFile(h.file(&a, fmt.Sprintf("%d.manifest", i)), note, 0o600); err != nil {
		return fail(err)
	}
	return Release{Camera: d.Camera, Root: dag.Root.String(), Sealed: sums.SealedBytes, Blocks: dag.Blocks(), From: m.Clip.From.Time, Until: m.Clip.Until.Time},
		made{root: dag.Root.String(), note: note, sealed: sums.SealedBytes}, nil
}

// whole is the smallest span of whole seconds around one: what manifests say, and so what an owner is shown.
func whole(from, until time.Time) grant.Span {
	return grant.Span{From: consent.At(from), Until: consent.At(until.Add(time.Second - 1))}
}

// joined makes at most most spans of them by joining those that lie closest, so that a clip with a
// great many holes or overlaps claims to show less than it does and never more.
func joined(gaps []clip.Gap, most int) []clip.Gap {
	gaps = slices.Clone(gaps)
	for len(gaps) > most {
		best := 1
		for i := 1; i < len(gaps); i++ {
			if gaps[i].From.Sub(gaps[i-1].Until) < gaps[best].From.Sub(gaps[best-1].Until) {
				best = i
			}
		}
		gaps[best-1].Until = gaps[best].Until
		gaps = slices.Delete(gaps, best, best+1)
	}
	return gaps
}

// hashFile is the SHA-256 of an original, as long as the file is the one that was indexed.
func hashFile(ctx context.Context, rec library.Recording) ([32]byte, error) {
	f, err := rec.Input().Open()
	if err != nil {
		return [32]byte{}, err
	}
	defer f.Close()
	sum, _, err := release.Measure(ctx, f)
	if err == nil {
		err = rec.Input().Check(f)
	}
	if err != nil {
		return [32]byte{}, err
	}
	return consent.ParseHash(sum)
}
