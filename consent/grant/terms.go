package grant

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
	"github.com/porchlight-mesh/porchlight/consent/request"
)

// Terms are what the requester may do with a release. The zero value grants nothing: its
// retention is over before it began.
type Terms struct {
	RetainUntil consent.Time `json:"retain_until"` // the release key is destroyed then at the latest
	UnusedUntil consent.Time `json:"unused_until"` // likewise, where nobody signed that the clip is used
	Recipients  []string     `json:"recipients"`   // who else may receive it; [] for nobody
	Resharing   bool         `json:"resharing"`    // whether recipients may pass it on
	// What an owner adds, and no request offers: the clip is looked at in the vault and never leaves it, and no public body of these
	// classes is given it, whoever hands it on.
	ViewOnly      bool                  `json:"view_only,omitempty"`
	DeniedClasses []charter.AgencyClass `json:"denied_classes,omitempty"` // ascending, each once
}

// maxRecipients bounds the list; maxText any one text, in bytes.
const (
	maxRecipients = 20
	maxText       = 200
)

// Check refuses terms that no grant may carry.
func (t Terms) Check() error {
	switch {
	case t.RetainUntil.IsZero():
		return consent.Refuse(NothingOffered, "terms.retain_until", "terms without an end grant nothing")
	case t.UnusedUntil.IsZero() || t.UnusedUntil.After(t.RetainUntil.Time):
		return consent.Refuse(request.TermsInvalid, "terms.unused_until", "must be set and not after retain_until")
	case t.Recipients == nil:
		return consent.Refuse(consent.NullValue, "terms.recipients", "[] when there are none")
	case len(t.Recipients) > maxRecipients:
		return consent.Refuse(consent.BadValue, "terms.recipients", "over %d recipients", maxRecipients)
	}
	for i, r := range t.Recipients {
		if err := checkText("terms.recipients", r); err != nil {
			return err
		}
		if i > 0 && t.Recipients[i-1] >= r {
			return consent.Refuse(request.TermsInvalid, "terms.recipients", "recipients stand in ascending order, each once")
		}
	}
	for i, c := range t.DeniedClasses {
		if !c.Valid() || i > 0 && t.DeniedClasses[i-1] >= c {
			return consent.Refuse(request.TermsInvalid, "terms.denied_classes", "classes of the list stand in ascending order, each once")
		}
	}
	if t.ViewOnly && (len(t.Recipients) > 0 || t.Resharing) {
		return consent.Refuse(request.TermsInvalid, "terms.view_only", "what nobody may take out of the vault has no recipients")
	}
	return nil
}

// Equal says whether two terms are the same in every part.
func (t Terms) Equal(u Terms) bool { return t.TighterOrEqual(u) && u.TighterOrEqual(t) }

// TighterOrEqual says whether t permits nothing that u does not: a partial order.
func (t Terms) TighterOrEqual(u Terms) bool {
	return !t.RetainUntil.After(u.RetainUntil.Time) && !t.UnusedUntil.After(u.UnusedUntil.Time) && (!t.Resharing || u.Resharing) &&
		(t.ViewOnly || !u.ViewOnly) && within(t.Recipients, u.Recipients) && within(u.DeniedClasses, t.DeniedClasses)
}

// within says whether every one of a is one of b.
func within[T comparable](a, b []T) bool {
	return !slices.ContainsFunc(a, func(x T) bool { return !slices.Contains(b, x) })
}

// Offered are the terms that a request offers to an answer made at that time.
func Offered(r request.Terms, made time.Time) Terms {
	recipients := append([]string{}, r.Recipients...)
	slices.Sort(recipients)
	made = made.UTC()
	return Terms{RetainUntil: consent.At(made.AddDate(0, 0, r.RetentionDays)), UnusedUntil: consent.At(made.AddDate(0, 0, min(r.UnusedDays, r.RetentionDays))),
		Recipients: recipients, Resharing: r.Resharing}
}

// A Decision is what an owner decided about one camera and one span for one request. The zero
// value is a refusal.
type Decision struct {
	Request      consent.RequestID `json:"request"`
	Camera       string            `json:"camera"`
	Span         Span              `json:"span"`
	Release      bool              `json:"release"`
	FacesVisible bool              `json:"faces_visible"` // the owner was told that faces are not hidden
	At           consent.Time      `json:"at"`
}

// Allows says whether the decision covers footage of that camera and span for that request.
func (d Decision) Allows(r consent.RequestID, camera string, s Span) bool {
	return d.Release && d.Request == r && r != "" && d.Camera == camera && camera != "" && s.check("") == nil &&
		!s.From.Before(d.Span.From.Time) && !s.Until.After(d.Span.Until.Time)
}

// A Span is a stretch of time, From before Until.
type Span struct {
	From  consent.Time `json:"from"`
	Until consent.Time `json:"until"`
}

func (s Span) check(field string) error {
	if s.From.IsZero() || !s.From.Before(s.Until.Time) {
		return consent.Refuse(SpanInvalid, field, "a span begins before it ends")
	}
	return nil
}

// A Commitment is the lower-case hex SHA-256 of a salt of 32 bytes and a value.
type Commitment string

// A Secret is the salt of a commitment, 64 lower-case hex digits. Logs do not show it.
type Secret string

// LogValue keeps the salt out of logs.
func (Secret) LogValue() slog.Value { return slog.StringValue("secret withheld") }

// Commit commits to a value under a fresh salt of 32 bytes of random, which is crypto/rand.Reader but in
// tests.
func Commit(random io.Reader, value []byte) (Commitment, Secret, error) {
	var salt [32]byte
	if _, err := io.ReadFull(random, salt[:]); err != nil {
		return "", "", fmt.Errorf("making a commitment: no randomness: %w", err)
	}
	return commitment(salt[:], value), Secret(hex.EncodeToString(salt[:])), nil
}

func commitment(salt, value []byte) Commitment {
	h := sha256.New()
	h.Write(salt)
	h.Write(value)
	return Commitment(hex.EncodeToString(h.Sum(nil)))
}

// Opens says whether the commitment was made to that value with that secret.
func (c Commitment) Opens(s Secret, value []byte) bool {
	salt, err := consent.ParseHash(string(s))
	return err == nil && c == commitment(salt[:], value)
}

func (c Commitment) check(field string) error {
	if _, err := consent.ParseHash(string(c)); err != nil {
		return consent.Refuse(consent.BadValue, field, "not a SHA-256 in hex")
	}
	return nil
}

// Commitment is that by which the docket follows the release, SHA-256(secret ‖ CID); "" where the secret is none.
func (r Release) Commitment() Commitment {
	salt, err := consent.ParseHash(string(r.Secret))
	if err != nil {
		return ""
	}
	return commitment(salt[:], []byte(r.CID))
}

// CommitOriginals commits to the SHA-256 hashes of the recordings a clip was cut from, in the order of
// time. Up to 100 files each has a commitment of its own; of more, each commitment is to the
// concatenated hashes of a run of n files, the last run perhaps shorter, where n is the least for which
// they fit. Salts are fresh for each release, so that answers cannot be linked.
func CommitOriginals(random io.Reader, hashes [][32]byte) ([]Commitment, []Secret, error) {
	run := max((len(hashes)+maxOriginals-1)/maxOriginals, 1)
	var list []Commitment
	var secrets []Secret
	for part := range slices.Chunk(hashes, run) {
		var value []byte
		for _, h := range part {
			value = append(value, h[:]...)
		}
		c, s, err := Commit(random, value)
		if err != nil {
			return nil, nil, err
		}
		list, secrets = append(list, c), append(secrets, s)
	}
	return list, secrets, nil
}

// checkText refuses a line of text that is too long or would show as something else than it is.
func checkText(field, s string) error { return checkLine(field, s, maxText) }

func checkLine(field, s string, most int) error {
	if s == "" || len(s) > most || strings.TrimSpace(s) != s || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return consent.Refuse(consent.BadText, field, "%.40q is no line of 1 to %d printable bytes", s, most)
	}
	return nil
}
