package consent

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
)

// Ids are texts with a type of their own, so that one is never taken for another. The empty id names
// nothing.
type (
	// MeshID is the lower-case hex SHA-256 of the signed note of a mesh's first charter.
	MeshID string
	// AgencyID is the first 32 hex digits of the SHA-256 of the agency's 32-byte docket public key.
	AgencyID string
	// RequestID is the lower-case hex tlog record hash (RFC 6962 leaf hash) of a request's signed note.
	RequestID string
	// ReleaseID is the root of a release: a CIDv1 in lower-case base32, sha2-256, codec raw or dag-pb.
	ReleaseID string
	// GrantID is the lower-case hex SHA-256 of a grant's signed note.
	GrantID string
	// Fingerprint is the words a person compares, as [Words] writes them.
	Fingerprint string
)

// ParseMeshID reads 64 lower-case hex digits.
func ParseMeshID(s string) (MeshID, error) { return MeshID(s), checkHex("mesh id", s, 64) }

// ParseAgencyID reads 32 lower-case hex digits.
func ParseAgencyID(s string) (AgencyID, error) { return AgencyID(s), checkHex("agency id", s, 32) }

// ParseRequestID reads 64 lower-case hex digits.
func ParseRequestID(s string) (RequestID, error) { return RequestID(s), checkHex("request id", s, 64) }

// ParseGrantID reads 64 lower-case hex digits.
func ParseGrantID(s string) (GrantID, error) { return GrantID(s), checkHex("grant id", s, 64) }

// ParseHash reads a SHA-256 as 64 lower-case hex digits.
func ParseHash(s string) (h [32]byte, err error) {
	if err = checkHex("SHA-256", s, 64); err == nil {
		_, err = hex.Decode(h[:], []byte(s))
	}
	return h, err
}

// HashText is the lower-case hex SHA-256 of b, the name by which one document refers to another.
func HashText(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

// AgencyIDOf derives an agency's id from its docket key.
func AgencyIDOf(pub ed25519.PublicKey) AgencyID { return AgencyID(HashText(pub)[:32]) }

var base32Lower = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// ParseReleaseID reads a CIDv1 in its one base32 text (multibase prefix b) with a 32-byte sha2-256
// multihash over raw (0x55) or dag-pb (0x70) content, which is all that the unixfs-v1-2025 profile
// (IPIP-0499) makes.
func ParseReleaseID(s string) (ReleaseID, error) {
	const want = "a release id is a CIDv1 in base32 with sha2-256, like bafybei…"
	if len(s) != 59 || s[0] != 'b' {
		return "", Refuse(BadValue, "", "%.70q: %s", s, want)
	}
	b, err := base32Lower.DecodeString(s[1:])
	if err != nil || base32Lower.EncodeToString(b) != s[1:] ||
		b[0] != 1 || b[1] != 0x55 && b[1] != 0x70 || b[2] != 0x12 || b[3] != 0x20 {
		return "", Refuse(BadValue, "", "%.70q: %s", s, want)
	}
	return ReleaseID(s), nil
}

func checkHex(what, s string, digits int) error {
	bad := len(s) != digits
	for i := 0; i < len(s) && !bad; i++ {
		bad = (s[i] < '0' || s[i] > '9') && (s[i] < 'a' || s[i] > 'f')
	}
	if bad {
		return Refuse(BadValue, "", "%.70q: a %s is %d lower-case hex digits", s, what, digits)
	}
	return nil
}
