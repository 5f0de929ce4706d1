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
	Copies  [][]byte // notes of the same text with the signatures of others
	Rivals  [][]byte // notes of other valid successors of the version before; not empty on the newest: frozen
}

// notes lists the link's note, its copies and its rivals.
func (l Link) notes() [][]byte { return slices.Concat([][]byte{l.Note}, l.Copies, l.Rivals) }

// isNamed reports whether one of the hashes is that of the link's version, in any of its copies.
func (l Link) isNamed(hashes []string) bool {
	return slices.ContainsFunc(append([][]byte{l.Note}, l.Copies...), func(n []byte) bool { return slices.Contains(hashes, consent.HashText(n)) })
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
	return Chain{{Charter: c, Note: bytes.Clone(msg), Hash: consent.HashText(msg)}}, nil
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
	at := len(c)
	next, err := open(msg, func(n *Charter) (*Charter, error) {
		if n.Mesh != c[0].Charter.Mesh {
			return nil, consent.Refuse(consent.BadValue, "mesh", "%q where the mesh is %q", n.Mesh, c[0].Charter.Mesh)
		}
		at = n.Version - 1
		if err := c.joins(n, msg); err != nil {
			return nil, err
		}
		return c.precedes(n)
	})
	if err != nil {
		return nil, err
	}
	if at == len(c) {
		return append(slices.Clip(c), Link{Charter: next, Note: bytes.Clone(msg), Hash: consent.HashText(msg)}), nil
	}
	l := c[at]
	list := &l.Rivals
	if bytes.Equal(textOf(l.Note), textOf(msg)) {
		list = &l.Copies
	}
	if len(*list) >= MaxRivals {
		return c, nil
	}
	*list = append(slices.Clip(*list), bytes.Clone(msg))
	c = slices.Clone(c)
	c[at] = l
	return c, nil
}

// joins says whether a version has a place in the chain: after its end, as a copy of what is there, as a rival of the
// newest, or as a rival that a later version settled.
func (c Chain) joins(n *Charter, msg []byte) error {
	at := n.Version - 1
	if at == len(c) {
		return c.follows(n)
	}
	if at > 0 && at < len(c) {
		known := slices.ContainsFunc(c[at].notes(), func(o []byte) bool { return bytes.Equal(textOf(o), textOf(msg)) })
		settled := at+1 < len(c) && slices.Contains(c[at+1].Charter.named(), consent.HashText(msg))
		alike := (len(n.Also) == 0) == (len(c[at].Charter.Also) == 0)
		if known || (settled || at == len(c)-1 && alike) && c[:at].follows(n) == nil {
			return nil
		}
	}
	return consent.Refuse(consent.WrongPrevious, "version", "version %d after %.16s… cannot follow or rival version %d", n.Version, n.Previous, len(c))
}

// named lists the hashes of the versions that c follows.
func (c *Charter) named() []string { return append([]string{c.Previous}, c.Also...) }

// follows checks that n names the end of the chain, with all the rivals known there. Any copy of a version stands
// for it.
func (c Chain) follows(n *Charter) error {
	last := c[len(c)-1]
	if !last.isNamed(n.named()) {
		return consent.Refuse(consent.WrongPrevious, "previous", "version %d follows %.16s…, not our version %d, %.16s…",
			n.Version, n.Previous, last.Charter.Version, last.Hash)
	}
	for _, r := range last.Rivals {
		copies := slices.DeleteFunc(slices.Clone(last.Rivals), func(o []byte) bool { return !bytes.Equal(textOf(o), textOf(r)) })
		if !slices.ContainsFunc(copies, func(o []byte) bool { return slices.Contains(n.named(), consent.HashText(o)) }) {
			return consent.Refuse(consent.Frozen, "also", "version %d has rivals; what follows has to name every one of them, %.16s… too",
				last.Charter.Version, consent.HashText(r))
		}
	}
	return nil
}

// precedes returns the version whose signers have to agree to n, and holds n against it.
func (c Chain) precedes(n *Charter) (*Charter, error) {
	i := c.before(n.Version-1, len(n.Also) > 0)
	old := c[i].Charter
	if n.Created.Before(old.Created.Time) {
		return nil, consent.Refuse(consent.BadValue, "created", "%s is before the version it follows", n.Created)
	}
	// What was promised in daily entries is kept in daily entries.
	if n.Daily.IsZero() && !old.Daily.IsZero() {
		return nil, consent.Refuse(consent.BadValue, "daily", "a mesh whose dockets have daily entries keeps them")
	}
	return old, c[:i+1].account(n)
}

// Predecessor returns the version that a proposal, signed or not, changes: the one whose signers have to agree to
// it. It refuses what no signatures could make the next version of this chain.
func (c Chain) Predecessor(n *Charter) (*Charter, error) {
	if err := n.Check(); err != nil {
		return nil, err
	}
	if len(c) == 0 || n.Version != len(c)+1 {
		return nil, consent.Refuse(consent.WrongPrevious, "version", "version %d is not the next after version %d", n.Version, len(c))
	}
	if err := c.follows(n); err != nil {
		return nil, err
	}
	return c.precedes(n)
}

// before returns the index of the version that counts before the one at index at: the one just before it, or where
// that one heals a fork, the one before the fork.
func (c Chain) before(at int, heals bool) int {
	i := at - 1
	if heals {
		for i--; len(c[i+1].Charter.Also) > 0; i-- {
		}
	}
	return i
}

// counts reports whether the version at index i has no rival, known here or named by the version that follows.
func (c Chain) counts(i int) bool {
	return len(c[i].Rivals) == 0 && (i+1 == len(c) || len(c[i+1].Charter.Also) == 0)
}

func (c Chain) has(msg []byte) bool {
	return slices.ContainsFunc(c, func(l Link) bool {
		return slices.ContainsFunc(l.notes(), func(n []byte) bool { return bytes.Equal(n, msg) })
	})
}

// Holds reports whether the chain has a note of that hash, be it of a rival.
func (c Chain) Holds(hash string) bool {
	return slices.ContainsFunc(c, func(l Link) bool {
		return slices.ContainsFunc(l.notes(), func(n []byte) bool { return consent.HashText(n) == hash })
	})
}

// textOf returns what the signatures of a note cover.
func textOf(msg []byte) []byte { return msg[:bytes.LastIndex(msg, []byte("\n\n"))+1] }

// open reads a charter and holds its signatures against both thresholds. after returns the version whose
// signers have to agree, nil for version 1.
func open(msg []byte, after func(*Charter) (*Charter, error)) (*Charter, error) {
	return consent.Open(msg, func(c *Charter) ([]consent.VerifierKey, error) {
		old, err := after(c)
		if err != nil {
			return nil, err
		}
		ids, err := consent.SignerIDs(msg)
		if err != nil {
			return nil, err
		}
		var keys []consent.VerifierKey
		for _, k := range c.Signatories(old) {
			id, err := k.ID()
			if err != nil {
				return nil, err
			}
			if slices.Contains(ids, id) {
				keys = append(keys, k)
			}
		}
		for _, l := range []*Charter{old, c} {
			if l == nil {
				continue
			}
			if n := l.signedBy(keys); n < l.Threshold {
				return nil, consent.Refuse(consent.BelowQuorum, "", "version %d has %d signatures of the signers of version %d; it needs %d",
					c.Version, n, l.Version, l.Threshold)
			}
		}
		return keys, nil
	})
}

// Signatories lists the keys that may sign c as the successor of old, which is nil for version 1, in the order of
// their signature lines: the old signers, then those who are new.
func (c *Charter) Signatories(old *Charter) []consent.VerifierKey {
	var keys []consent.VerifierKey
	for _, l := range []*Charter{old, c} {
		if l == nil {
			continue
		}
		for _, s := range l.Signers {
			if !slices.Contains(keys, s.Key) {
				keys = append(keys, s.Key)
			}
		}
	}
	return keys
}

// signedBy counts the signers of c among the keys.
func (c *Charter) signedBy(keys []consent.VerifierKey) (n int) {
	for _, s := range c.Signers {
		if slices.Contains(keys, s.Key) {
			n++
		}
	}
	return n
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
		return c[c.before(len(c), true)]
	}
	return c[len(c)-1]
}

// Current returns the version that counts: the newest, or when frozen the one before the fork. It belongs to
// the chain and is not to be changed. For the empty Chain it is a Charter that admits nobody.
func (c Chain) Current() *Charter { return c.current().Charter }

// CurrentHash returns the hash of the version that counts, "" for the empty Chain.
func (c Chain) CurrentHash() string { return c.current().Hash }

// Agency finds an agency that the current version lists, a suspended one too.
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
		if !c.counts(v - 1) {
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
// order, copies and rivals included.
func (c Chain) Notes() [][]byte {
	var notes [][]byte
	for _, l := range c {
		for _, n := range l.notes() {
			notes = append(notes, bytes.Clone(n))
		}
	}
	return notes
}

// Card is what a charter is to say of one agency; convert with Agency(card).
type Card Agency

// Kind is "agency-card".
func (Card) Kind() string { return "agency-card" }

// Check refuses what [Agency.Check] refuses, and what an agency cannot say of itself.
func (c Card) Check() error {
	if c.Suspended != "" || c.Succeeds != nil {
		return consent.Refuse(consent.BadValue, "", "a card says neither that its agency is suspended nor whom it succeeds; a charter does")
	}
	return Agency(c).Check()
}

// OpenCard reads an agency card signed by the docket key it names. That the key belongs to the agency
// is what comparing the fingerprint by voice shows.
func OpenCard(msg []byte) (Card, error) {
	return consent.Open(msg, func(c Card) ([]consent.VerifierKey, error) { return []consent.VerifierKey{c.Key}, nil })
}

// Fingerprint returns the words over the whole text of the card, "" for a card that has no text. What a charter's
// signers added is left out, so that an agency in a charter has the fingerprint of its card.
func (c Card) Fingerprint() string {
	c.Suspended, c.Succeeds = "", nil
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
