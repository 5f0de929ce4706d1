package request

import (
	"crypto/ed25519"
	"math/big"
	"net/netip"
	"strconv"
	"strings"

	"github.com/porchlight-mesh/porchlight/consent"
)

// Reply is a parsed reply address.
type Reply struct {
	Addr  netip.AddrPort    // what is dialled: the requester node or, with Relay, a steward
	QUIC  bool              // QUIC over UDP, else TCP
	Relay ed25519.PublicKey // the steward's peer key in a circuit address, else nil
	Peer  ed25519.PublicKey // the requester node's peer key
}

// Public reports whether the address is one that the public internet routes to
// one host.
func (r Reply) Public() bool {
	a := r.Addr.Addr()
	if !a.IsGlobalUnicast() || a.IsPrivate() {
		return false
	}
	for _, p := range notPublic {
		if netip.MustParsePrefix(p).Contains(a) {
			return false
		}
	}
	return true
}

// notPublic lists what IsGlobalUnicast lets pass and the IANA special-purpose
// registries (RFC 6890) do not call globally reachable, and the tunnels 6to4
// and Teredo and NAT64, whose addresses carry an IPv4 address of any kind.
var notPublic = [...]string{
	"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24",
	"198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
	"::/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32",
	"2002::/16", "3fff::/20", "5f00::/16", "fec0::/10",
}

// maxReplyLen is longer than any address of the forms parseReply reads.
const maxReplyLen = 256

// parseReply reads an address in one of the forms of the package comment, in
// its one spelling. Refusals have the class bad-reply.
func parseReply(s string) (Reply, error) {
	bad := func(why string) (Reply, error) {
		return Reply{}, consent.Refuse(consent.BadReply, "reply", "%.100q: %s", s, why)
	}
	parts := strings.Split(s, "/")
	if len(s) > maxReplyLen || len(parts) < 7 || parts[0] != "" {
		return bad("expected /ip4|ip6/<address>/tcp/<port>/p2p/<id> or …/udp/<port>/quic-v1/p2p/<id>")
	}
	addr, err := netip.ParseAddr(parts[2])
	if err != nil || addr.String() != parts[2] || addr.Zone() != "" || addr.Is4In6() {
		return bad("no literal IP address in its usual spelling; names are not allowed")
	}
	if parts[1] == "ip4" && !addr.Is4() || parts[1] == "ip6" && !addr.Is6() || parts[1] != "ip4" && parts[1] != "ip6" {
		return bad("begins with neither /ip4/ nor /ip6/ and such an address")
	}
	if addr.IsUnspecified() || addr.IsMulticast() {
		return bad("not the address of one host")
	}
	port, err := strconv.ParseUint(parts[4], 10, 16)
	if err != nil || port == 0 || strconv.FormatUint(port, 10) != parts[4] {
		return bad("no port from 1 to 65535")
	}
	r := Reply{Addr: netip.AddrPortFrom(addr, uint16(port))}
	rest := parts[5:]
	switch {
	case parts[3] == "tcp":
	case parts[3] == "udp" && rest[0] == "quic-v1":
		r.QUIC, rest = true, rest[1:]
	default:
		return bad("the transport is neither tcp nor udp with quic-v1")
	}
	ids := []string{}
	switch {
	case len(rest) == 2 && rest[0] == "p2p":
		ids = append(ids, rest[1])
	case len(rest) == 5 && rest[0] == "p2p" && rest[2] == "p2p-circuit" && rest[3] == "p2p":
		ids = append(ids, rest[1], rest[4])
	default:
		return bad("does not end in /p2p/<id> or /p2p/<id>/p2p-circuit/p2p/<id>")
	}
	for _, id := range ids {
		key, ok := peerKey(id)
		if !ok {
			return bad("holds a peer id that is no Ed25519 key in base58")
		}
		r.Relay, r.Peer = r.Peer, key
	}
	return r, nil
}

const base58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"

// peerKey reads a libp2p peer id of an Ed25519 key: the identity multihash of
// its protobuf (libp2p peer-ids specification), which is 38 bytes that begin
// with a zero, in the base58 of Bitcoin.
func peerKey(id string) (ed25519.PublicKey, bool) {
	const prefix = "\x00\x24\x08\x01\x12\x20"
	if len(id) != 52 || id[0] != '1' {
		return nil, false
	}
	n := new(big.Int)
	for i := 1; i < len(id); i++ {
		digit := strings.IndexByte(base58, id[i])
		if digit < 0 {
			return nil, false
		}
		n.Add(n.Mul(n, big.NewInt(58)), big.NewInt(int64(digit)))
	}
	if n.BitLen() > 37*8 {
		return nil, false
	}
	b := n.FillBytes(make([]byte, 38))
	if string(b[:6]) != prefix {
		return nil, false
	}
	return ed25519.PublicKey(b[6:]), true
}
