package grant

import (
	"fmt"
	"regexp"
	"slices"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/request"
)

// The names that grant and reception keys sign under, the same for everybody.
const (
	KeyName       = "grant"
	ReceptionName = "reception"
)

// Limits of the documents.
const (
	MaxReleases  = 40      // releases of one grant; a note of them stays under consent.MaxNote
	MaxSealed    = 1 << 38 // bytes of one release, 256 GiB
	maxOriginals = 100     // commitments to the files a clip was cut from
	MaxGaps      = 50      // gaps, and overlaps, named in one manifest
)

// Identity is how much an owner says of themselves.
type Identity string

// The identity modes.
const (
	Anonymous Identity = "anonymous"
	Pseudonym Identity = "pseudonym" // the same name for all answers of one case
	Named     Identity = "named"
)

// Redaction says what was removed from what leaves. "audio only" leaves every face visible.
type Redaction string

// RedactionAudioOnly: sound was removed, pictures are as recorded.
const RedactionAudioOnly Redaction = "audio only"

// State is what a receipt says of a release.
type State string

// The states of a release at its requester.
const (
	Held      State = "held"        // complete, verified and stored; the release key is sent for this one
	Used      State = "used"        // part of the case, so that retain_until counts
	Deleted   State = "deleted"     // its key was destroyed, which nobody can prove
	KeptByLaw State = "kept-by-law" // a legal hold, which detail names, outranks the terms
	PassedOn  State = "passed-on"   // handed to whom detail names
)

// Refusals that package consent does not list. Append-only.
const (
	SpanInvalid     consent.Class = "span-invalid"     // a span that ends before it begins, or gaps out of order
	NothingAsked    consent.Class = "nothing-asked"    // a clip outside of the span that was asked for
	NothingOffered  consent.Class = "nothing-offered"  // no release, or terms that permit nothing
	IdentityInvalid consent.Class = "identity-invalid" // a name in an anonymous answer, or none in another
	UnknownState    consent.Class = "unknown-state"    // a receipt of a state that is not on the list
	DetailMissing   consent.Class = "detail-missing"   // a receipt whose state needs a detail, without one
)

// A Release is one sealed release as its grant names it.
type Release struct {
	CID            consent.ReleaseID `json:"cid"`
	SealedBytes    int64             `json:"sealed_bytes"`
	ManifestSHA256 string            `json:"manifest_sha256"`   // of the signed manifest note
	Secret         Secret            `json:"commitment_secret"` // the docket follows the release as SHA-256(secret ‖ CID): see Commitment
}

// Grant is the owner's signed offer.
type Grant struct {
	Request    consent.RequestID   `json:"request"`
	Agency     consent.AgencyID    `json:"agency"`
	Releases   []Release           `json:"releases"`
	Terms      Terms               `json:"terms"`
	Redaction  Redaction           `json:"redaction"`
	Identity   Identity            `json:"identity"`
	Name       string              `json:"name,omitempty"` // pseudonym or name; none when anonymous
	Authorship Commitment          `json:"authorship"`     // to the owner's lasting authorship key
	Reach      string              `json:"reach"`          // age recipient for messages about this grant
	Created    consent.Time        `json:"created"`
	Expires    consent.Time        `json:"expires"` // the offer stands until then
	Key        consent.VerifierKey `json:"key"`     // the grant key, which signs this
}

// Kind is "grant".
func (Grant) Kind() string { return "grant" }

var ageRecipient = regexp.MustCompile(`^age1[02-9ac-hj-np-z]{58}$`)

// Check refuses what is wrong with a grant whatever it answers.
func (g Grant) Check() error {
	if _, err := consent.ParseRequestID(string(g.Request)); err != nil {
		return consent.Refuse(consent.BadValue, "request", "%w", err)
	}
	if _, err := consent.ParseAgencyID(string(g.Agency)); err != nil {
		return consent.Refuse(consent.BadValue, "agency", "%w", err)
	}
	if len(g.Releases) == 0 {
		return consent.Refuse(NothingOffered, "releases", "a grant offers at least one release")
	}
	if n := len(g.Releases); n > MaxReleases {
		return consent.Refuse(consent.BadValue, "releases", "%d releases, at most %d", n, MaxReleases)
	}
	seen := map[consent.ReleaseID]bool{}
	secrets := map[Secret]bool{}
	for i, r := range g.Releases {
		field := fmt.Sprintf("releases[%d]", i)
		if seen[r.CID] {
			return consent.Refuse(consent.BadValue, field, "the release stands twice")
		}
		seen[r.CID] = true
		if err := checkRelease(field, r.CID, r.SealedBytes, r.ManifestSHA256); err != nil {
			return err
		}
		if _, err := consent.ParseHash(string(r.Secret)); err != nil {
			return consent.Refuse(consent.BadValue, field+".commitment_secret", "not 64 hex digits")
		}
		if secrets[r.Secret] {
			return consent.Refuse(consent.BadValue, field+".commitment_secret", "stands there twice")
		}
		secrets[r.Secret] = true
	}
	if err := g.Terms.Check(); err != nil {
		return err
	}
	if err := g.CheckIdentity(); err != nil {
		return err
	}
	if g.Redaction != RedactionAudioOnly {
		return consent.Refuse(consent.BadValue, "redaction", "%.40q is no redaction", g.Redaction)
	}
	if !ageRecipient.MatchString(g.Reach) {
		return consent.Refuse(consent.BadValue, "reach", "not an age X25519 recipient")
	}
	if g.Created.IsZero() || !g.Created.Before(g.Expires.Time) {
		return consent.Refuse(request.ExpiryInvalid, "expires", "a grant is made before it expires")
	}
	if !g.Created.Before(g.Terms.UnusedUntil.Time) {
		return consent.Refuse(NothingOffered, "terms.unused_until", "the terms end before the grant was made")
	}
	if err := g.Authorship.check("authorship"); err != nil {
		return err
	}
	return checkKey("key", g.Key, KeyName)
}

// CheckIdentity refuses a name that does not go with the identity mode.
func (g Grant) CheckIdentity() error {
	switch g.Identity {
	case Anonymous:
		if g.Name != "" {
			return consent.Refuse(IdentityInvalid, "name", "an anonymous grant carries no name")
		}
		return nil
	case Pseudonym, Named:
		if g.Name == "" {
			return consent.Refuse(IdentityInvalid, "name", "a grant in the mode %s carries a name", g.Identity)
		}
		return checkText("name", g.Name)
	}
	return consent.Refuse(IdentityInvalid, "identity", "%.40q is no identity mode", string(g.Identity))
}

func checkRelease(field string, cid consent.ReleaseID, sealed int64, sum string) error {
	if _, err := consent.ParseReleaseID(string(cid)); err != nil {
		return consent.Refuse(consent.BadValue, field, "%w", err)
	}
	if sealed < 1 || sealed > MaxSealed {
		return consent.Refuse(consent.BadValue, field+".sealed_bytes", "%d is not between 1 and %d", sealed, int64(MaxSealed))
	}
	if _, err := consent.ParseHash(sum); err != nil {
		return consent.Refuse(consent.BadValue, field, "not a SHA-256 in hex")
	}
	return nil
}

func checkKey(field string, k consent.VerifierKey, name string) error {
	if _, err := k.Public(); err != nil {
		return consent.Refuse(consent.BadKey, field, "%w", err)
	}
	if k.Name() != name {
		return consent.Refuse(consent.BadKey, field, "is named %.40q, must be %q: a name of its own would tell answers apart", k.Name(), name)
	}
	return nil
}

// Answers refuses, with class terms-wider, a grant whose terms are wider than those its request offers:
// that is a mistake the agency must not profit from.
func (g Grant) Answers(r request.Terms) error {
	if offered := Offered(r, g.Created.Time); !g.Terms.TighterOrEqual(offered) {
		return consent.Refuse(consent.TermsWider, "terms", "wider than what the request offers")
	}
	return nil
}

// OpenGrant reads a signed grant.
func OpenGrant(note []byte) (Grant, error) {
	return consent.Open(note, func(g Grant) ([]consent.VerifierKey, error) { return []consent.VerifierKey{g.Key}, nil })
}

// IDOf is the id of a signed grant.
func IDOf(note []byte) consent.GrantID { return consent.GrantID(consent.HashText(note)) }

// Video describes the pictures of a clip.
type Video struct {
	Codec  string `json:"codec"`  // "h264" or "h265"
	Width  int    `json:"width"`  // pixels
	Height int    `json:"height"` // pixels
	Frames int    `json:"frames"`
}

// Clock says where the clip's times come from and how far they may be off.
type Clock struct {
	Source             string  `json:"source"` // "path", "name", "mvhd" or "mtime" of the recording
	UncertaintySeconds float64 `json:"uncertainty_seconds"`
}

// Manifest is the owner's signed description of one release.
type Manifest struct {
	Request       consent.RequestID   `json:"request"`
	CID           consent.ReleaseID   `json:"cid"`
	SealedBytes   int64               `json:"sealed_bytes"`
	SealedSHA256  string              `json:"sealed_sha256"`
	PlainBytes    int64               `json:"plain_bytes"`
	PlainSHA256   string              `json:"plain_sha256"`
	Camera        string              `json:"camera,omitempty"` // the owner's name for it; none when anonymous
	Asked         Span                `json:"asked"`
	Clip          Span                `json:"clip"`            // what the clip shows, whole seconds around it
	LeadInSeconds float64             `json:"lead_in_seconds"` // shown before the asked beginning: less than one GOP
	Gaps          []Span              `json:"gaps"`
	Overlaps      []Span              `json:"overlaps"` // claimed by two recordings, of which the clip shows one: a clock was wrong
	Video         Video               `json:"video"`
	AudioRemoved  bool                `json:"audio_removed"` // the recording had sound
	Originals     []Commitment        `json:"originals"`     // to the SHA-256 of each file the clip was cut from, in time order
	Clock         Clock               `json:"clock"`
	Key           consent.VerifierKey `json:"key"` // the grant key, which signs this
}

// Kind is "manifest".
func (Manifest) Kind() string { return "manifest" }

// Check refuses what is wrong with a manifest whatever it describes.
func (m Manifest) Check() error {
	if _, err := consent.ParseRequestID(string(m.Request)); err != nil {
		return consent.Refuse(consent.BadValue, "request", "%w", err)
	}
	if err := checkRelease("sealed_sha256", m.CID, m.SealedBytes, m.SealedSHA256); err != nil {
		return err
	}
	if _, err := consent.ParseHash(m.PlainSHA256); err != nil || m.PlainBytes < 1 || m.PlainBytes > m.SealedBytes {
		return consent.Refuse(consent.BadValue, "plain_sha256", "hash or length of the clip is not one")
	}
	if m.Camera != "" {
		if err := checkText("camera", m.Camera); err != nil {
			return err
		}
	}
	if err := m.checkSpans(); err != nil {
		return err
	}
	if v := m.Video; (v.Codec != "h264" && v.Codec != "h265") || v.Width < 1 || v.Height < 1 || v.Frames < 1 {
		return consent.Refuse(consent.BadValue, "video", "codec, size or number of frames is not one")
	}
	if n := len(m.Originals); n == 0 || n > maxOriginals {
		return consent.Refuse(consent.BadValue, "originals", "%d originals, want 1 to %d", n, maxOriginals)
	}
	for i, c := range m.Originals {
		if err := c.check(fmt.Sprintf("originals[%d]", i)); err != nil {
			return err
		}
		if slices.Contains(m.Originals[:i], c) {
			return consent.Refuse(consent.BadValue, "originals", "a commitment stands there twice, so its salt was used twice")
		}
	}
	if s := m.LeadInSeconds; !(s >= 0 && s <= 3600) {
		return consent.Refuse(consent.BadValue, "lead_in_seconds", "must be between 0 and 3600")
	}
	switch m.Clock.Source {
	case "path", "name", "mvhd", "mtime":
	default:
		return consent.Refuse(consent.BadValue, "clock.source", "%.40q is no source of a time", m.Clock.Source)
	}
	if u := m.Clock.UncertaintySeconds; !(u >= 0 && u <= 86400) {
		return consent.Refuse(consent.BadValue, "clock.uncertainty_seconds", "must be between 0 and 86400")
	}
	return checkKey("key", m.Key, KeyName)
}

// checkSpans wants the clip to show something of what was asked for, and its gaps and overlaps in order.
func (m Manifest) checkSpans() error {
	if err := m.Asked.check("asked"); err != nil {
		return err
	}
	if err := m.Clip.check("clip"); err != nil {
		return err
	}
	if !m.Clip.From.Before(m.Asked.Until.Time) || !m.Asked.From.Before(m.Clip.Until.Time) {
		return consent.Refuse(NothingAsked, "clip", "shows nothing of the span that was asked for")
	}
	if err := checkList("gaps", m.Gaps); err != nil {
		return err
	}
	return checkList("overlaps", m.Overlaps)
}

// checkList wants spans in the order of time. Rounding to whole seconds lets one end a second after the
// next begins.
func checkList(field string, spans []Span) error {
	if spans == nil {
		return consent.Refuse(consent.NullValue, field, "[] when there are none")
	}
	if n := len(spans); n > MaxGaps {
		return consent.Refuse(consent.BadValue, field, "%d of them, at most %d", n, MaxGaps)
	}
	for i, s := range spans {
		if err := s.check(fmt.Sprintf("%s[%d]", field, i)); err != nil {
			return err
		}
		if i > 0 && s.From.Before(spans[i-1].From.Time) {
			return consent.Refuse(SpanInvalid, fmt.Sprintf("%s[%d]", field, i), "they stand in the order of time")
		}
	}
	return nil
}

// OpenManifest reads a manifest signed by that grant key.
func OpenManifest(note []byte, key consent.VerifierKey) (Manifest, error) {
	m, err := consent.Open(note, func(m Manifest) ([]consent.VerifierKey, error) { return []consent.VerifierKey{key}, nil })
	if err == nil && m.Key != key {
		err = consent.Refuse(consent.WrongSubject, "key", "names another key than the one that signed")
	}
	return m, err
}

// Acceptance is the requester's signed agreement to a grant's terms.
type Acceptance struct {
	Grant   consent.GrantID     `json:"grant"`
	Terms   Terms               `json:"terms"` // as in the grant
	Created consent.Time        `json:"created"`
	Key     consent.VerifierKey `json:"key"` // the reception key, which signs this
}

// Kind is "acceptance".
func (Acceptance) Kind() string { return "acceptance" }

// Check refuses what is wrong with an acceptance whatever it accepts.
func (a Acceptance) Check() error {
	if _, err := consent.ParseGrantID(string(a.Grant)); err != nil {
		return consent.Refuse(consent.BadValue, "grant", "%w", err)
	}
	if err := a.Terms.Check(); err != nil {
		return err
	}
	if a.Created.IsZero() {
		return consent.Refuse(consent.MissingField, "created", "when was it signed?")
	}
	return checkKey("key", a.Key, ReceptionName)
}

// OpenAcceptance reads an acceptance signed by the reception key that the request names.
func OpenAcceptance(note []byte, reception consent.VerifierKey) (Acceptance, error) {
	a, err := consent.Open(note, func(Acceptance) ([]consent.VerifierKey, error) { return []consent.VerifierKey{reception}, nil })
	if err == nil && a.Key != reception {
		err = consent.Refuse(consent.WrongSubject, "key", "names another key than the one that signed")
	}
	return a, err
}

// Answers refuses an acceptance of another grant (wrong-subject), or of terms wider than those it
// offers (terms-wider).
func (a Acceptance) Answers(id consent.GrantID, g Grant) error {
	if a.Grant != id {
		return consent.Refuse(consent.WrongSubject, "grant", "accepts the grant %s, not %s", a.Grant, id)
	}
	if !a.Terms.TighterOrEqual(g.Terms) {
		return consent.Refuse(consent.TermsWider, "terms", "wider than those the grant offers")
	}
	return nil
}

// Receipt is the requester's signed word about one release. It names the commitment and the grant key, so that the owner can show it to
// others as a promise that the docket does not keep ([Breach]) without showing the grant.
type Receipt struct {
	Grant        consent.GrantID     `json:"grant"`
	GrantKey     consent.VerifierKey `json:"grant_key"` // of the grant, to whose owner this is said
	CID          consent.ReleaseID   `json:"cid"`
	Commitment   Commitment          `json:"commitment"` // by which the docket follows the release: Release.Commitment
	State        State               `json:"state"`
	SealedSHA256 string              `json:"sealed_sha256"`
	DeleteBy     consent.Time        `json:"delete_by"` // when its key is destroyed at the latest, where no hold stands in the way
	// For kept-by-law and passed-on: the docket entry that declares it, by its record hash (an id as requests have), the salt under which
	// it covers the commitment, or one that the release had before an extension ([Commitment.Opens]), and by which order, or to whom.
	Entry  string              `json:"entry,omitempty"`
	Salt   Secret              `json:"salt,omitempty"`
	Detail string              `json:"detail,omitempty"`
	At     consent.Time        `json:"at"`
	Key    consent.VerifierKey `json:"key"` // the reception key, which signs this
}

// Kind is "receipt".
func (Receipt) Kind() string { return "receipt" }

// Check refuses what is wrong with a receipt whatever it is for.
func (r Receipt) Check() error {
	if _, err := consent.ParseGrantID(string(r.Grant)); err != nil {
		return consent.Refuse(consent.BadValue, "grant", "%w", err)
	}
	if err := checkRelease("sealed_sha256", r.CID, 1, r.SealedSHA256); err != nil {
		return err
	}
	if err := r.Commitment.check("commitment"); err != nil {
		return err
	}
	switch r.State {
	case Held, Used, Deleted:
		if r.Entry != "" || r.Salt != "" {
			return consent.Refuse(consent.BadValue, "entry", "%s is declared in no entry of its own", r.State)
		}
	case KeptByLaw, PassedOn:
		if r.Detail == "" {
			return consent.Refuse(DetailMissing, "detail", "%s says by which order, or to whom", r.State)
		}
		for field, h := range map[string]string{"entry": r.Entry, "salt": string(r.Salt)} {
			if _, err := consent.ParseHash(h); err != nil {
				return consent.Refuse(DetailMissing, field, "%s says where the docket declares it: %w", r.State, err)
			}
		}
	default:
		return consent.Refuse(UnknownState, "state", "%.40q is no state", string(r.State))
	}
	if r.Detail != "" {
		if err := checkText("detail", r.Detail); err != nil {
			return err
		}
	}
	if r.At.IsZero() || r.DeleteBy.IsZero() {
		return consent.Refuse(consent.MissingField, "at", "when was it signed, and when is the release deleted?")
	}
	if err := checkKey("grant_key", r.GrantKey, KeyName); err != nil {
		return err
	}
	return checkKey("key", r.Key, ReceptionName)
}

// OpenReceipt reads a receipt signed by the reception key that the request names.
func OpenReceipt(note []byte, reception consent.VerifierKey) (Receipt, error) {
	r, err := consent.Open(note, func(Receipt) ([]consent.VerifierKey, error) { return []consent.VerifierKey{reception}, nil })
	if err == nil && r.Key != reception {
		err = consent.Refuse(consent.WrongSubject, "key", "names another key than the one that signed")
	}
	return r, err
}
