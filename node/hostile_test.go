package node_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/grant"
	"github.com/porchlight-mesh/porchlight/consent/request"
	"github.com/porchlight-mesh/porchlight/footage/clip/cliptest"
	"github.com/porchlight-mesh/porchlight/footage/release"
	"github.com/porchlight-mesh/porchlight/node"
	"github.com/porchlight-mesh/porchlight/node/agency"
	"github.com/porchlight-mesh/porchlight/node/home"
	"github.com/porchlight-mesh/porchlight/p2p/deliver"
)

// mallory answers requests with whatever a test wants.
type mallory struct {
	t      *testing.T
	key    consent.Key
	sealed []byte
	dag    *release.DAG
	secret release.ReleaseKey
	grant  grant.Grant
	m      grant.Manifest
	reply  []string
}

func newMallory(t *testing.T, r node.RequestStatus) *mallory {
	t.Helper()
	m := &mallory{t: t, key: newKey(t, grant.KeyName)}
	var sealed bytes.Buffer
	secret, sums, err := release.Seal(t.Context(), &sealed, bytes.NewReader(make([]byte, 3<<20)))
	ok(t, err)
	m.sealed, m.secret = sealed.Bytes(), secret
	m.dag, err = release.BuildDAG(t.Context(), bytes.NewReader(m.sealed), sums.SealedBytes)
	ok(t, err)
	body, err := request.Open([]byte(r.Note))
	ok(t, err)
	m.reply = body.Reply
	id, err := age.GenerateX25519Identity()
	ok(t, err)
	c, salt, err := grant.Commit(rand.Reader, []byte("x"))
	ok(t, err)
	now := consent.At(time.Now())
	root := consent.ReleaseID(m.dag.Root.String())
	at := grant.Span{From: body.From, Until: body.Until}
	m.m = grant.Manifest{Request: r.ID, CID: root, SealedBytes: sums.SealedBytes, SealedSHA256: sums.SealedSHA256, PlainBytes: sums.PlainBytes,
		PlainSHA256: sums.PlainSHA256, Asked: at, Clip: at, Gaps: []grant.Span{}, Overlaps: []grant.Span{}, Video: grant.Video{Codec: "h264", Width: 1, Height: 1, Frames: 1},
		Originals: []grant.Commitment{c}, Clock: grant.Clock{Source: "path"}, Key: m.key.Verifier()}
	m.grant = grant.Grant{Request: r.ID, Agency: body.Agency, Releases: []grant.Release{{CID: root, SealedBytes: sums.SealedBytes, Secret: salt}},
		Terms: grant.Offered(body.Terms, now.Time), Redaction: grant.RedactionAudioOnly, Identity: grant.Anonymous, Authorship: c,
		Reach: id.Recipient().String(), Created: now, Expires: body.Expires, Key: m.key.Verifier()}
	return m
}

func (m *mallory) Blocks() int64 { return m.dag.Blocks() }

func (m *mallory) Block(i int64, buf []byte) ([]byte, error) {
	return m.dag.Block(i, bytes.NewReader(m.sealed), buf)
}

// send delivers; keyGiven says whether the requester got as far as the key.
func (m *mallory) send(blocks deliver.BlockSource, key []byte) (keyGiven bool, err error) {
	m.t.Helper()
	manifest, err := consent.Sign(m.m, m.key)
	ok(m.t, err)
	sum := sha256.Sum256(manifest)
	m.grant.Releases[0].ManifestSHA256 = hex.EncodeToString(sum[:])
	note, err := consent.Sign(m.grant, m.key)
	ok(m.t, err)
	ctx, cancel := context.WithTimeout(m.t.Context(), 30*time.Second)
	defer cancel()
	// A grant key has one session at a time, and the requester may still be closing the last one.
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		keyGiven, err = m.try(ctx, blocks, key, manifest, note)
		var refused *deliver.Error
		if !errors.As(err, &refused) || refused.Class != deliver.ClassBusy || time.Now().After(end) {
			return keyGiven, err
		}
	}
}

func (m *mallory) try(ctx context.Context, blocks deliver.BlockSource, key, manifest, note []byte) (keyGiven bool, err error) {
	err = deliver.Send(ctx, deliver.SendConfig{Key: m.key.Private(), Addrs: m.reply},
		deliver.Offer{Grant: note, Releases: []deliver.Release{{Root: string(m.grant.Releases[0].CID), Blocks: blocks, Manifest: manifest,
			Key: func() []byte { keyGiven = true; return bytes.Clone(key) }}}},
		deliver.Hooks{Accepted: func([]byte) error { return nil }, Received: func(string, []byte) error { return nil }})
	return keyGiven, err
}

// wrongBlock is mallory with one leaf exchanged.
type wrongBlock struct{ *mallory }

func (w wrongBlock) Block(i int64, buf []byte) ([]byte, error) {
	b, err := w.mallory.Block(i, buf)
	if i == 2 {
		b = append([]byte{b[0] ^ 1}, b[1:]...)
	}
	return b, err
}

// Homes that lie to the agency are refused with a reason, leave nothing that looks like a clip,
// and the next honest home is served.
func TestHostileHomes(t *testing.T) {
	n := newNeighbourhood(t)
	ana := n.home("ana", near, 0)
	id := n.policeAsk(n.draft())
	ana.shown(id)
	var r node.RequestStatus
	n.police.do("request", node.RequestArg{Request: id}, &r)

	for want, attack := range map[string]func(m *mallory) (bool, error){
		"wider than": func(m *mallory) (bool, error) {
			m.grant.Terms.RetainUntil = consent.At(time.Now().AddDate(0, 0, 300))
			return m.send(m, nil)
		},
		"answers no request": func(m *mallory) (bool, error) {
			m.grant.Request = consent.RequestID(strings.Repeat("0", 64))
			m.m.Request = m.grant.Request
			return m.send(m, nil)
		},
		"is for the agency 00000000000000000000000000000000, this is": func(m *mallory) (bool, error) {
			m.grant.Agency = consent.AgencyID(strings.Repeat("0", 32))
			return m.send(m, nil)
		},
		"too-large": func(m *mallory) (bool, error) {
			m.grant.Releases[0].SealedBytes, m.m.SealedBytes = 20<<30, 20<<30
			return m.send(m, nil)
		},
		"manifest and grant": func(m *mallory) (bool, error) {
			m.m.SealedBytes--
			return m.send(m, nil)
		},
		"wrong-block": func(m *mallory) (bool, error) { return m.send(wrongBlock{m}, nil) },
	} {
		t.Run(want, func(t *testing.T) {
			m := newMallory(t, r)
			given, err := attack(m)
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v, want one with %q", err, want)
			}
			if given {
				t.Error("the requester asked for the key")
			}
		})
	}
	t.Run("key of another release", func(t *testing.T) {
		m := newMallory(t, r)
		if _, err := m.send(m, []byte(newMallory(t, r).secret)); err == nil {
			t.Error("a key that opens nothing was confirmed")
		}
		// The right one is still taken afterwards.
		if given, err := m.send(m, []byte(m.secret)); err != nil || !given {
			t.Errorf("the right key: %v", err)
		}
	})
	// A whole release whose key was refused stays a sealed one; only the one that came right opens.
	states := map[string]int{}
	for _, h := range n.vault(1, "open") {
		states[h.State]++
	}
	if states["open"] != 1 || states["sealed"] != 0 {
		t.Errorf("after the attacks the vault has releases in the states %v, want one that is open and none without its key", states)
	}
	ana.agrees(id)
	n.vault(2, "open")
}

// Broken files in a camera's folder neither stop the node nor hide the good ones beside them.
func TestBadRecordings(t *testing.T) {
	n := newNeighbourhood(t)
	ana := n.home("ana", near, 0)
	day := filepath.Join(n.dir, "recordings-ana", "door", "2026-11-22")
	good, err := os.ReadFile(filepath.Join(day, "19.03.20.mp4"))
	ok(t, err)
	for name, b := range map[string][]byte{"19.04.00.mp4": nil, "19.04.20.mp4": bytes.Repeat([]byte("garbage "), 5000), "19.04.40.mp4": good[:len(good)/3],
		"19.05.00.mp4": append([]byte{0xff, 0xff, 0xff, 0xff, 'm', 'o', 'o', 'v'}, make([]byte, 100)...)} {
		ok(t, os.WriteFile(filepath.Join(day, name), b, 0o600))
	}
	recordings := func(has int) func() bool {
		return func() bool {
			var cams []home.CameraStatus
			ana.do("home.cameras", struct{}{}, &cams)
			return cams[0].Recordings == has
		}
	}
	ana.wait("the three that are whole", recordings(3))
	cliptest.Recording(t, filepath.Dir(day), "2026-11-22/19.10.00.mp4", 20)
	ana.wait("one that came after the broken ones, which were seen before it", recordings(4))
	n.now.add(11 * time.Minute) // long enough to call a file damaged that never became whole
	ana.wait("the damage to be named", func() bool {
		var cams []home.CameraStatus
		ana.do("home.cameras", struct{}{}, &cams)
		return cams[0].Recordings >= 4 && strings.Contains(cams[0].Problem, "cannot be read")
	})
	id := n.policeAsk(n.draft())
	ana.shown(id)
	ana.agrees(id)
	h := n.vault(1, "open")
	n.police.do("agency.export", n.export(h[0].Release, filepath.Join(t.TempDir(), "clip.mp4"), "test"), nil)
}

// A clip of many blocks arrives whole.
func TestLongClip(t *testing.T) {
	n := newNeighbourhood(t)
	ana := n.home("ana", near, 0)
	cliptest.Recording(t, filepath.Join(n.dir, "recordings-ana", "door"), "2026-11-22/18.55.00.mp4", 480)
	cliptest.Recording(t, filepath.Join(n.dir, "recordings-ana", "door"), "2026-11-22/19.04.00.mp4", 360)
	ana.wait("the recordings", func() bool {
		var cams []home.CameraStatus
		ana.do("home.cameras", struct{}{}, &cams)
		return cams[0].Recordings == 5
	})
	id := n.policeAsk(n.draft())
	ana.shown(id)
	ana.do("home.approve", home.Approve{Request: id, Cameras: []string{"door"}, FacesVisible: true, AddressShown: true}, nil)
	h := n.vault(1, "open")[0]
	if h.SealedBytes < 1<<20 {
		t.Errorf("a clip of %d bytes tests nothing", h.SealedBytes)
	}
	var o agency.Opened
	n.police.do("agency.export", n.export(h.Release, filepath.Join(t.TempDir(), "clip.mp4"), "test"), &o)
	if got := o.Until.Sub(o.From); got < 15*time.Minute-2*time.Second || got > 15*time.Minute+3*time.Second || o.Gaps != 0 {
		t.Errorf("%s of footage with %d gaps, want a quarter of an hour without", got, o.Gaps)
	}
}
