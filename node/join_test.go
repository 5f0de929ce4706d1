package node

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
	"github.com/porchlight-mesh/porchlight/p2p/host"
	p2psync "github.com/porchlight-mesh/porchlight/p2p/sync"
)

// shelf is a steward that shows these notes for the charter, whatever they are.
type shelf [][]byte

func (s shelf) Heads() []p2psync.Head {
	return []p2psync.Head{{Log: charterLog, Size: int64(len(s)), Note: []byte("x")}}
}

func (s shelf) Entries(_ string, from int64, most int) ([][]byte, error) {
	if from < 0 || from > int64(len(s)) {
		return nil, errors.New("there is no more")
	}
	return s[from:][:min(most, len(s)-int(from))], nil
}

// steward serves notes on loopback and returns its addresses.
func steward(t *testing.T, notes ...[]byte) []string {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	h := must(host.New(host.Config{Key: key, Role: host.Steward, Listen: []string{"/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"}, Log: slog.New(slog.DiscardHandler)}))
	t.Cleanup(func() { h.Close() })
	s := must(p2psync.Serve(h, shelf(notes), nil))
	t.Cleanup(func() { s.Close() })
	return h.Addrs()
}

// street is a mesh of three signers, two of whom have to agree.
type street struct {
	keys  []consent.Key
	chain charter.Chain
}

func newStreet(mesh string) *street {
	s := &street{}
	now := consent.At(time.Now())
	c := charter.Charter{Mesh: mesh, Version: 1, Created: now, Ends: consent.At(now.AddDate(1, 0, 0)), Threshold: 2,
		Limits: charter.DefaultLimits(), Daily: charter.DefaultDaily(charter.DefaultLimits()),
		Quotas: charter.DefaultQuotas(), OffByDefault: charter.DefaultOff()}
	for _, name := range []string{"Ana", "Ben", "Cleo"} {
		k := must(consent.GenerateKey(rand.Reader, name))
		s.keys = append(s.keys, k)
		c.Signers = append(c.Signers, charter.Signer{Name: name, Key: k.Verifier()})
	}
	s.chain = must(charter.Start(must(consent.Sign(c, s.keys[:2]...))))
	return s
}

// next signs a version after the one that ends a chain, told from others by how much it lets a docket grow.
func (s *street) next(after charter.Chain, entries int, by ...consent.Key) []byte {
	c := *after[len(after)-1].Charter
	c.Version, c.Previous, c.Quotas.EntriesPerDay = c.Version+1, after[len(after)-1].Hash, entries
	return must(consent.Sign(c, by...))
}

func (s *street) join(t *testing.T, named []byte, stewards ...[]string) (Joined, error) {
	t.Helper()
	inv := charter.Invitation{Mesh: s.chain.Mesh(), Charter: consent.HashText(named)}
	for _, addrs := range stewards {
		inv.Peers = append(inv.Peers, addrs...)
	}
	return Join(t.Context(), inv, slog.New(slog.DiscardHandler))
}

func standings(j Joined) string {
	var s []string
	for _, p := range j.Peers {
		s = append(s, string(p.Standing))
	}
	return strings.Join(s, ", ")
}

// Whoever joins asks every steward of the invitation and sees where one stands apart.
func TestJoinComparesWhatStewardsShow(t *testing.T) {
	t.Parallel()
	s := newStreet("Elm Street")
	v1 := s.chain.Notes()[0]
	v2 := s.next(s.chain, 100, s.keys[:2]...)
	two := must(s.chain.Extend(v2))
	v3 := s.next(two, 101, s.keys[:2]...)
	// Ben and Cleo signed another version 2, which the lying steward shows.
	rival := s.next(s.chain, 99_999, s.keys[1:]...)
	honest, late, liar := steward(t, v1, v2, v3), steward(t, v1, v2), steward(t, v1, rival)

	j, err := s.join(t, v2, honest, late, liar)
	if err != nil || len(j.Chain) != 3 || j.Chain.Frozen() || standings(j) != "agrees, is behind, contradicts" {
		t.Fatalf("%s, %d versions: %v", standings(j), len(j.Chain), err)
	}
	if !strings.Contains(j.Peers[1].Why, "version 2, the newest is 3") || !strings.Contains(j.Peers[2].Why, "wrong-previous") {
		t.Errorf("the reasons are %q and %q", j.Peers[1].Why, j.Peers[2].Why)
	}
	if !slices.Equal(j.Addrs, append(honest, late...)) {
		t.Errorf("kept as stewards: %v", j.Addrs)
	}

	// A history of the same length: nobody can tell who is right, so nobody joins. It used to go unnoticed.
	j, err = s.join(t, v1, late, liar, steward(t, v1, v2))
	if consent.ClassOf(err) != consent.Frozen || HintOf(err) == "" || !j.Chain.Frozen() || standings(j) != "contradicts, contradicts, contradicts" {
		t.Errorf("two versions 2: %v, %s", err, standings(j))
	}
	// So does one where each side went on.
	other := must(s.chain.Extend(rival))
	j, err = s.join(t, v1, honest, steward(t, v1, rival, s.next(other, 7, s.keys[1:]...)))
	if consent.ClassOf(err) != consent.Frozen || standings(j) != "agrees, contradicts" {
		t.Errorf("two versions 3: %v, %s", err, standings(j))
	}
	// A steward that knows of both says what all of them together say.
	if _, err = s.join(t, v1, steward(t, v1, v2, rival)); consent.ClassOf(err) != consent.Frozen {
		t.Errorf("a frozen mesh: %v", err)
	}
	// Nor is a longer history believed where the invitation names the other one.
	if _, err = s.join(t, rival, honest, liar); consent.ClassOf(err) != consent.Frozen {
		t.Errorf("invited by the other side: %v", err)
	}
}

func TestJoinRefusesAnotherMeshAndRubbish(t *testing.T) {
	t.Parallel()
	s, oak := newStreet("Elm Street"), newStreet("Oak Street")
	v1 := s.chain.Notes()[0]
	v2 := s.next(s.chain, 100, s.keys[:2]...)
	honest := steward(t, v1, v2)
	alien := steward(t, oak.chain.Notes()...)
	j, err := s.join(t, v1, honest, alien)
	if consent.ClassOf(err) != consent.WrongPrevious || HintOf(err) == "" || standings(j) != "agrees, contradicts" || !strings.Contains(j.Peers[1].Why, "Oak Street") {
		t.Errorf("another mesh: %v, %s", err, standings(j))
	}
	// One that shows what nobody signed, one that has nothing, one that is not there.
	forged := steward(t, v1, []byte(strings.Replace(string(v2), `"entries_per_day":100`, `"entries_per_day":999`, 1)))
	gone := []string{"/ip4/127.0.0.1/tcp/1/p2p/12D3KooWHHzSeKaY8xuZVzkLbKFfvNgPPeKhFBGrMbNzbm5akpqu"}
	j, err = s.join(t, v2, honest, forged, steward(t), gone)
	if err != nil || len(j.Chain) != 2 || standings(j) != "agrees, contradicts, is behind, is silent" {
		t.Errorf("rubbish among the stewards: %v, %s", err, standings(j))
	}
	if _, err = s.join(t, []byte("another version"), honest); err == nil || !strings.Contains(err.Error(), "do not have the charter version") {
		t.Errorf("a version nobody has: %v", err)
	}
	if _, err = s.join(t, v1, gone); err == nil || !strings.Contains(err.Error(), "no peer of the invitation answered") {
		t.Errorf("nobody: %v", err)
	}
}
