package charter

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"slices"
	"strings"

	"github.com/porchlight-mesh/porchlight/consent"
)

// A Link is one verified version: what it says, the note that says so, and the note's hash.
type Link struct {
	Charter *Charter
	Note    []byte
	Hash    string   // lower-case hex SHA-256 of Note
	Rivals  [][]byte // notes of other valid successors of the version before; not empty: frozen
}

// A Chain is the verified versions of a mesh's charter, oldest first. Chains are made by [Start] and
// [Chain.Extend] only, and are never changed in place. The empty Chain admits nobody.
type Chain []Link

// Start verifies version 1, whose hash is the id of the mesh. Hold [Chain.Mesh] against the one that
// was asked for.
func Start(msg []byte) (Chain, error) {
	c, err := open(msg, func(c *Charter) (*Charter, error) {
		if c.Version != 1 {
			return nil, consent.Refuse(consent.WrongPrevious, "version", "a mesh starts with version 1, not %d", c.Version)
		}
		return nil, nil
	})
	if err != nil {
		return nil, err
	}
	return Chain{link(c, msg)}, nil
}

// Extend verifies a note against the chain and returns the chain with it. A note the chain already has
// changes nothing. A second valid successor freezes the chain, as the package comment says, and is no
// error: look at [Chain.Frozen].
func (c Chain) Extend(msg []byte) (Chain, error) {
	if len(c) == 0 {
		return nil, consent.Refuse(consent.WrongPrevious, "", "an empty chain has no successor; it starts with version 1")
	}
	if c.has(msg) {
		return c, nil
	}
	last := c[len(c)-1]
	rival := false
	next, err := open(msg, func(n *Charter) (*Charter, error) {
		if n.Mesh != c[0].Charter.Mesh {
			return nil, consent.Refuse(consent.BadValue, "mesh", "%q where the mesh is %q", n.Mesh, c[0].Charter.Mesh)
		}
		var old *Charter
		switch {
		case n.Version == last.Charter.Version+1:
			old = last.Charter
			if len(n.Also) > 0 && len(c) > 1 {
				old = c[len(c)-2].Charter
			}
			if err := c.follows(n); err != nil {
				return nil, err
			}
		case n.Version == last.Charter.Version && len(c) > 1 && n.Previous == last.Charter.Previous && len(n.Also) == 0:
			rival = true
			old = c[len(c)-2].Charter
		default:
			return nil, consent.Refuse(consent.WrongPrevious, "version", "version %d after %.16s… cannot follow or rival version %d",
				n.Version, n.Previous, last.Charter.Version)
		}
		if n.Created.Before(old.Created.Time) {
			return nil, consent.Refuse(consent.BadValue, "created", "%s is before the version it follows", n.Created)
		}
		return old, nil
	})
	if err != nil {
		return nil, err
	}
	if !rival {
		return append(slices.Clip(c), link(next, msg)), nil
	}
	if len(last.Rivals) >= MaxRivals {
		return c, nil
	}
	last.Rivals = append(slices.Clip(last.Rivals), bytes.Clone(msg))
	return append(slices.Clone(c[:len(c)-1]), last), nil
}

// follows checks that n names the end of the chain, with all the rivals known there.
func (c Chain) follows(n *Charter) error {
	last := c[len(c)-1]
	named := append([]string{n.Previous}, n.Also...)
	if !slices.Contains(named, last.Hash) {
		return consent.Refuse(consent.WrongPrevious, "previous", "version %d follows %.16s…, not our version %d, %.16s…",
			n.Version, n.Previous, last.Charter.Version, last.Hash)
	}
	for _, r := range last.Rivals {
		if !slices.Contains(named, consent.HashText(r)) {
			return consent.Refuse(consent.Frozen, "also", "version %d has rivals; what follows has to name every one of them, %.16s… too",
				last.Charter.Version, consent.HashText(r))
		}
	}
	return nil
}

func (c Chain) has(msg []byte) bool {
	for _, l := range c {
		if bytes.Equal(l.Note, msg) || slices.ContainsFunc(l.Rivals, func(r []byte) bool { return bytes.Equal(r, msg) }) {
			return true
		}
	}
	return false
}

// open reads a charter and holds its signatures against both thresholds. after returns the version whose
// signers have to agree, nil for version 1.
func open(msg []byte, after func(*Charter) (*Charter, error)) (*Charter, error) {
	return consent.Open(msg, func(c *Charter) ([]consent.VerifierKey, error) {
		old, err := after(c)
		if err != nil {
			return nil, err
		}
		lists := []*Charter{c}
		if old != nil {
			lists = []*Charter{old, c}
		}
		ids, err := consent.SignerIDs(msg)
		if err != nil {
			return nil, err
		}
		var keys []consent.VerifierKey
		for _, l := range lists {
			n := 0
			for _, s := range l.Signers {
				id, err := s.Key.ID()
				if err != nil {
					return nil, err
				}
				if !slices.Contains(ids, id) {
					continue
				}
				n++
				if !slices.Contains(keys, s.Key) {
					keys = append(keys, s.Key)
				}
			}
			if n < l.Threshold {
				return nil, consent.Refuse(consent.BelowQuorum, "", "version %d has %d signatures of the signers of version %d; it needs %d",
					c.Version, n, l.Version, l.Threshold)
			}
		}
		return keys, nil
	})
}

func link(c *Charter, msg []byte) Link {
	return Link{Charter: c, Note: bytes.Clone(msg), Hash: consent.HashText(msg)}
}

// Mesh returns the id of the mesh, "" for the empty Chain.
func (c Chain) Mesh() consent.MeshID {
	if len(c) == 0 {
		return ""
	}
	return consent.MeshID(c[0].Hash)
}

// Frozen reports whether the newest version has a rival, so that neither counts.
func (c Chain) Frozen() bool { return len(c) > 0 && len(c[len(c)-1].Rivals) > 0 }

func (c Chain) current() Link {
	switch {
	case len(c) == 0:
		return Link{Charter: &Charter{}}
	case c.Frozen():
		return c[len(c)-2]
	}
	return c[len(c)-1]
}

// Current returns the version that counts: the newest, or when frozen the one before it. It belongs to
// the chain and is not to be changed. For the empty Chain it is a Charter that admits nobody.
func (c Chain) Current() *Charter { return c.current().Charter }

// CurrentHash returns the hash of the version that counts, "" for the empty Chain.
func (c Chain) CurrentHash() string { return c.current().Hash }

// Agency finds an agency that the current version admits.
func (c Chain) Agency(id consent.AgencyID) (Agency, bool) { return c.Current().Agency(id) }

// DocketAgency is Agency with the first supervisors of every version that counts, newest version first,
// which is what the agency's docket is judged by: entries that an earlier version's supervisors signed stay
// lawful when a charter names others. A supervisor whom a charter no longer names is therefore also to
// be revoked in the docket.
func (c Chain) DocketAgency(id consent.AgencyID) (Agency, bool) {
	a, ok := c.Agency(id)
	if !ok {
		return Agency{}, false
	}
	a.Supervisors = slices.Clone(a.Supervisors)
	for v := c.Current().Version - 1; v > 0; v-- {
		if len(c[v-1].Rivals) > 0 {
			continue
		}
		old, _ := c[v-1].Charter.Agency(id)
		for _, k := range old.Supervisors {
			if !slices.ContainsFunc(a.Supervisors, k.Same) {
				a.Supervisors = append(a.Supervisors, k)
			}
		}
	}
	return a, true
}

// Notes returns what another peer needs to rebuild this chain with [Start] and [Chain.Extend], in
// order, rivals included.
func (c Chain) Notes() [][]byte {
	var notes [][]byte
	for _, l := range c {
		notes = append(notes, bytes.Clone(l.Note))
		for _, r := range l.Rivals {
			notes = append(notes, bytes.Clone(r))
		}
	}
	return notes
}

// Card is what a charter is to say of one agency; convert with Agency(card).
type Card Agency

// Kind is "agency-card".
func (Card) Kind() string { return "agency-card" }

// Check refuses what [Agency.Check] refuses.
func (c Card) Check() error { return Agency(c).Check() }

// OpenCard reads an agency card signed by the docket key it names. That the key belongs to the agency
// is what comparing the fingerprint by voice shows.
func OpenCard(msg []byte) (Card, error) {
	return consent.Open(msg, func(c Card) ([]consent.VerifierKey, error) { return []consent.VerifierKey{c.Key}, nil })
}

// Fingerprint returns the words over the whole text of the card, "" for a card that has no text.
func (c Card) Fingerprint() string {
	text, err := consent.Text(c)
	if err != nil {
		return ""
	}
	return consent.Words(sha256.Sum256(text))
}

// Bounds of an invitation.
const (
	MaxInvitation      = 4096 // bytes
	MaxInvitationPeers = 16
)

// An Invitation is what a joiner is told outside the network: the mesh, its newest charter and some
// peers, whose addresses are opaque here.
type Invitation struct {
	Mesh    consent.MeshID
	Charter string // hash of the newest version's note, which a joiner compares with what peers say
	Peers   []string
}

// String writes the invitation as a link.
func (i Invitation) String() string {
	var b strings.Builder
	b.WriteString("porchlight://join?mesh=" + url.QueryEscape(string(i.Mesh)) + "&charter=" + url.QueryEscape(i.Charter))
	for _, p := range i.Peers {
		// Multiaddrs are mostly slashes and colons, which a query may hold as they are.
		b.WriteString("&peer=" + strings.NewReplacer("%2F", "/", "%3A", ":").Replace(url.QueryEscape(p)))
	}
	return b.String()
}

// ParseInvitation reads the link of an invitation, with white space around it.
func ParseInvitation(s string) (Invitation, error) {
	bad := func(why string) (Invitation, error) {
		return Invitation{}, consent.Refuse(consent.Malformed, "", "the invitation %.40q… %s; expected porchlight://join?mesh=…&charter=…&peer=…", s, why)
	}
	s = strings.TrimSpace(s)
	if len(s) > MaxInvitation {
		return Invitation{}, consent.Refuse(consent.Oversize, "", "an invitation of %d bytes; the most is %d", len(s), MaxInvitation)
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "porchlight" || u.Host != "join" || u.Path != "" || u.Fragment != "" || u.User != nil {
		return bad("is no link to join")
	}
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return bad("has a broken query")
	}
	for name, values := range q {
		switch {
		case name != "mesh" && name != "charter" && name != "peer":
			return Invitation{}, consent.Refuse(consent.UnknownField, name, "an invitation has no such part")
		case name != "peer" && len(values) != 1:
			return Invitation{}, consent.Refuse(consent.DuplicateField, name, "it stands there twice")
		}
	}
	var inv Invitation
	if inv.Mesh, err = consent.ParseMeshID(q.Get("mesh")); err != nil {
		return Invitation{}, err
	}
	inv.Charter = q.Get("charter")
	if raw, err := hex.DecodeString(inv.Charter); err != nil || len(raw) != 32 || strings.ToLower(inv.Charter) != inv.Charter {
		return bad("names no charter by its hash")
	}
	inv.Peers = q["peer"]
	if len(inv.Peers) > MaxInvitationPeers {
		return bad("has too many peers")
	}
	for _, p := range inv.Peers {
		if !strings.HasPrefix(p, "/") || strings.ContainsFunc(p, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
			return bad("has a peer that is no multiaddr")
		}
	}
	return inv, nil
}
