// Package charter holds the shared rules of a mesh: which agencies may ask, within which limits, and
// who may change that.
//
// # Charter
//
// A charter is a signed document (package consent) of kind "charter": mesh name, version, the hash of
// the version before, its end, the signers and their threshold, the agencies, the witnesses and their
// quorum, limits, quotas, the size and plans of every docket's daily entry (without them there are none), the classes
// of agency that stay off until an owner turns them on, and whether reply addresses may be private ones.
//
// An agency in it may be suspended, with the reason, and may succeed a docket that was lost, by that one's last
// checkpoint. The agencies of the version before that it does not list stand under "removed", each with the reason.
//
// Version 1 is signed by at least threshold of its own signers, and its hash (SHA-256 of the signed
// note) is the id of the mesh. Version n+1 names the hash of version n and is signed by at least the
// threshold of version n's signers and at least the threshold of its own. A threshold is over half of
// the signers, so that no two halves of a neighbourhood can go separate ways. Any signers beyond the
// threshold may sign too; lines stand in the order of the old list, then of the new list for those who
// are not on the old one. A signer on both lists signs once and counts for both.
//
// # Two successors
//
// When version n has two valid successors, somebody signed both. The chain is then frozen at version n:
// [Chain.Current] is version n, whose agencies may go on, and neither successor admits anybody. What
// heals it is a version n+2 that names one as its predecessor and all others in "also", signed by the
// threshold of version n's signers, neither successor's, and of its own. A version that has a successor
// of its own is settled: a rival that turns up later is refused, because it would let signers who were
// voted out, or thieves of their keys, bring back the rules of their day.
//
// # Agency card
//
// A document of kind "agency-card" holds what a charter says of one agency, signed by its docket key. It says
// neither that the agency is suspended nor whom it succeeds: that is for the charter's signers.
// The agency makes it, the charter's signers compare its [Card.Fingerprint] with the agency by voice.
//
// # Invitation
//
//	porchlight://join?mesh=<mesh id>&charter=<hash of the newest version>&peer=<multiaddr>&peer=…
package charter

import (
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/geo"
)

// Bounds of the lists in a charter, within the 16 KiB of a document.
const (
	MaxSigners     = 15
	MaxAgencies    = 32
	MaxSupervisors = 16
	MaxWitnesses   = 32
	MaxRivals      = 7
	MaxName        = 120 // bytes, of a mesh, agency, signer or witness
	MaxReason      = 300 // bytes, why an agency is suspended or removed
)

// AgencyClass says what sort of public body an agency is. The list is closed.
type AgencyClass string

// The classes of agency.
const (
	LocalPolice   AgencyClass = "local-police"
	CountySheriff AgencyClass = "county-sheriff"
	StatePolice   AgencyClass = "state-police"
	Fire          AgencyClass = "fire"
	Campus        AgencyClass = "campus"
	Prosecutor    AgencyClass = "prosecutor"
	Federal       AgencyClass = "federal"
	Immigration   AgencyClass = "immigration"
	OtherPublic   AgencyClass = "other-public"
)

// Classes returns the closed list of agency classes.
func Classes() []AgencyClass {
	return []AgencyClass{LocalPolice, CountySheriff, StatePolice, Fire, Campus, Prosecutor, Federal, Immigration, OtherPublic}
}

// Valid reports whether c is on the list.
func (c AgencyClass) Valid() bool { return slices.Contains(Classes(), c) }

// Charter is one version of a mesh's rules.
type Charter struct {
	Mesh         string        `json:"mesh"`               // the mesh's name
	Version      int           `json:"version"`            // from 1
	Previous     string        `json:"previous,omitempty"` // hex SHA-256 of the version before; absent in version 1
	Also         []string      `json:"also,omitempty"`     // rivals of previous that this version settles, ascending
	Created      consent.Time  `json:"created"`
	Ends         consent.Time  `json:"ends"`
	Signers      []Signer      `json:"signers"`
	Threshold    int           `json:"threshold"` // over half of the signers
	Agencies     []Agency      `json:"agencies,omitempty"`
	Removed      []Removal     `json:"removed,omitempty"` // the agencies of the version before that this one does not list
	Witnesses    []Witness     `json:"witnesses,omitempty"`
	Quorum       int           `json:"quorum"` // cosignatures a checkpoint needs; 0 is shown as "not witnessed"
	Limits       Limits        `json:"limits"`
	Quotas       Quotas        `json:"quotas"`
	Daily        Daily         `json:"daily,omitzero"` // the daily entry of every docket; absent: there are none
	OffByDefault []AgencyClass `json:"off_by_default,omitempty"`
	LANOnly      bool          `json:"lan_only,omitempty"` // reply addresses may be private ones
}

// Signer is a resident who signs charters.
type Signer struct {
	Name string              `json:"name"`
	Key  consent.VerifierKey `json:"key"`
}

// Witness cosigns checkpoints of dockets.
type Witness struct {
	Name string              `json:"name"`
	Key  consent.VerifierKey `json:"key"`
}

// Agency is a public body that may ask.
type Agency struct {
	Name         string                `json:"name"`
	Class        AgencyClass           `json:"class"`
	Key          consent.VerifierKey   `json:"key"`         // signs the docket's checkpoints
	Supervisors  []consent.VerifierKey `json:"supervisors"` // the first ones; the docket enrols others
	Jurisdiction geo.Polygon           `json:"jurisdiction"`
	PolicyURL    string                `json:"policy_url"`          // https; its published policy on footage
	Suspended    string                `json:"suspended,omitempty"` // why it may not ask for now; empty: it is not suspended
	Succeeds     *Succession           `json:"succeeds,omitempty"`  // the docket it lost; never changes
}

// ID returns the agency's id, which is that of its docket key, and "" when the key is unusable.
func (a Agency) ID() consent.AgencyID {
	pub, err := a.Key.Public()
	if err != nil {
		return ""
	}
	return consent.AgencyIDOf(pub)
}

// Limits bound what a request may ask.
type Limits struct {
	MinWindowMinutes int     `json:"min_window_minutes"`
	MaxWindowMinutes int     `json:"max_window_minutes"`
	MinAreaM2        float64 `json:"min_area_m2"`
	MaxAreaM2        float64 `json:"max_area_m2"`
	PostsPerCase     int     `json:"posts_per_case"`
	DailyAreaHours   float64 `json:"daily_area_hours"` // m² × hours of window, of all requests of an agency in a day
	MaxExpiryDays    int     `json:"max_expiry_days"`
	MaxRetentionDays int     `json:"max_retention_days"`
	MaxUnusedDays    int     `json:"max_unused_days"` // retention of what no "used" receipt stands for
}

// DefaultLimits follow the strictest published practice: 15 min to 12 h, 0.025 to 0.5 square miles, two
// posts a case, 14 days to answer, a year's retention at most and 30 days when unused. The daily cap is that
// of four requests of the largest area and window.
func DefaultLimits() Limits {
	return Limits{MinWindowMinutes: 15, MaxWindowMinutes: 12 * 60, MinAreaM2: 65_000, MaxAreaM2: 1_295_000, PostsPerCase: 2,
		DailyAreaHours: 4 * 12 * 1_295_000, MaxExpiryDays: 14, MaxRetentionDays: 365, MaxUnusedDays: 30}
}

// Quotas bound what an agency's docket may make every peer keep.
type Quotas struct {
	EntriesPerDay int `json:"entries_per_day"`
	BytesPerDay   int `json:"bytes_per_day"`
	MessageBytes  int `json:"message_bytes"` // the longest gossip message
}

// DefaultQuotas are 200 entries and 1 MiB a day, and messages of 64 KiB.
func DefaultQuotas() Quotas {
	return Quotas{EntriesPerDay: 200, BytesPerDay: 1 << 20, MessageBytes: 64 << 10}
}

// DefaultOff is the classes that stay off until an owner turns them on.
func DefaultOff() []AgencyClass { return []AgencyClass{Federal, Immigration} }

// Kind is "charter".
func (Charter) Kind() string { return "charter" }

// Check refuses a charter that no signatures could make valid.
func (c Charter) Check() error {
	if err := checkName("mesh", c.Mesh); err != nil {
		return err
	}
	if c.Version < 1 || c.Version > 1<<30 {
		return consent.Refuse(consent.BadValue, "version", "%d; versions count from 1", c.Version)
	}
	if err := c.checkPrevious(); err != nil {
		return err
	}
	if c.Created.IsZero() || !c.Ends.After(c.Created.Time) {
		return consent.Refuse(consent.BadValue, "ends", "a charter ends after it was created")
	}
	var keys uniqueKeys
	names := map[string]bool{}
	if len(c.Signers) == 0 || len(c.Signers) > MaxSigners {
		return consent.Refuse(consent.BadValue, "signers", "%d signers; 1 to %d may be", len(c.Signers), MaxSigners)
	}
	for _, s := range c.Signers {
		if err := checkName("signers", s.Name); err != nil {
			return err
		}
		if err := keys.add("signers", s.Key); err != nil {
			return err
		}
		// Lines are told apart by name and a short hash; names alone must do.
		if names[s.Key.Name()] {
			return consent.Refuse(consent.BadValue, "signers", "two signers' keys have the name %s", s.Key.Name())
		}
		names[s.Key.Name()] = true
	}
	if 2*c.Threshold <= len(c.Signers) || c.Threshold > len(c.Signers) {
		return consent.Refuse(consent.BadThreshold, "threshold", "%d of %d; it has to be over half", c.Threshold, len(c.Signers))
	}
	if err := c.checkAgencies(); err != nil {
		return err
	}
	if err := c.checkRemoved(); err != nil {
		return err
	}
	keys = nil
	if len(c.Witnesses) > MaxWitnesses {
		return consent.Refuse(consent.BadValue, "witnesses", "%d witnesses; at most %d may be", len(c.Witnesses), MaxWitnesses)
	}
	for _, w := range c.Witnesses {
		if err := checkName("witnesses", w.Name); err != nil {
			return err
		}
		if err := keys.add("witnesses", w.Key); err != nil {
			return err
		}
	}
	if c.Quorum < 0 || c.Quorum > len(c.Witnesses) {
		return consent.Refuse(consent.BadValue, "quorum", "%d of %d witnesses", c.Quorum, len(c.Witnesses))
	}
	if err := c.Limits.Check(); err != nil {
		return err
	}
	if q := c.Quotas; q.EntriesPerDay < 1 || q.EntriesPerDay > 100_000 || q.BytesPerDay < consent.MaxNote || q.BytesPerDay > 1<<30 ||
		q.MessageBytes < 32<<10 || q.MessageBytes > 1<<20 {
		return consent.Refuse(consent.BadValue, "quotas", "%+v: 1 to 100,000 entries and %d bytes to 1 GiB a day, messages of 32 KiB to 1 MiB", q, consent.MaxNote)
	}
	if err := c.Daily.Check(c.Limits); err != nil {
		return err
	}
	for i, k := range c.OffByDefault {
		if !k.Valid() || slices.Contains(c.OffByDefault[:i], k) {
			return consent.Refuse(consent.BadValue, "off_by_default", "%.40q is no class of agency, or stands there twice", string(k))
		}
	}
	return nil
}

func (c Charter) checkPrevious() error {
	if c.Version == 1 {
		if c.Previous != "" || len(c.Also) != 0 {
			return consent.Refuse(consent.BadValue, "previous", "version 1 follows nothing")
		}
		return nil
	}
	if _, err := consent.ParseHash(c.Previous); err != nil {
		return consent.Refuse(consent.BadValue, "previous", "%w", err)
	}
	if len(c.Also) > MaxRivals {
		return consent.Refuse(consent.BadValue, "also", "%d rivals; at most %d", len(c.Also), MaxRivals)
	}
	for i, h := range c.Also {
		if _, err := consent.ParseHash(h); err != nil || h == c.Previous || i > 0 && c.Also[i-1] >= h {
			return consent.Refuse(consent.BadValue, "also", "rivals are hashes in ascending order, each once")
		}
	}
	if len(c.Also) > 0 && c.Version < 3 {
		return consent.Refuse(consent.BadValue, "also", "version 1, which names the mesh, has no rival")
	}
	return nil
}

func (c Charter) checkAgencies() error {
	if len(c.Agencies) > MaxAgencies {
		return consent.Refuse(consent.BadValue, "agencies", "%d agencies; at most %d may be", len(c.Agencies), MaxAgencies)
	}
	var keys uniqueKeys
	names := map[string]bool{}
	for _, a := range c.Agencies {
		if err := a.Check(); err != nil {
			return err
		}
		if err := keys.add("agencies", a.Key); err != nil {
			return err
		}
		if names[a.Name] {
			return consent.Refuse(consent.BadValue, "agencies", "two agencies have the name %q", a.Name)
		}
		names[a.Name] = true
	}
	return nil
}

// Check refuses limits that make no sense; how strict they are is the signers' choice.
func (l Limits) Check() error {
	const day = 24 * 60
	ok := l.MinWindowMinutes >= 1 && l.MinWindowMinutes <= l.MaxWindowMinutes && l.MaxWindowMinutes <= 7*day &&
		l.MinAreaM2 >= 1 && l.MinAreaM2 <= l.MaxAreaM2 && l.MaxAreaM2 <= 1e9 &&
		l.PostsPerCase >= 1 && l.PostsPerCase <= 100 && l.DailyAreaHours > 0 && l.DailyAreaHours <= 1e12 &&
		l.MaxExpiryDays >= 1 && l.MaxExpiryDays <= 90 && l.MaxRetentionDays >= 1 && l.MaxRetentionDays <= 3653 &&
		l.MaxUnusedDays >= 1 && l.MaxUnusedDays <= l.MaxRetentionDays
	if !ok {
		return consent.Refuse(consent.BadValue, "limits", "%+v: each is positive, each least is at most its most, "+
			"windows up to a week, areas up to 1,000 km², expiry up to 90 days, retention up to ten years", l)
	}
	return nil
}

// Check refuses an agency whose entry could not be used.
func (a Agency) Check() error {
	if err := checkName("name", a.Name); err != nil {
		return err
	}
	if !a.Class.Valid() {
		return consent.Refuse(consent.BadValue, "class", "%.40q is no class of agency", string(a.Class))
	}
	var keys uniqueKeys
	if err := keys.add("key", a.Key); err != nil {
		return err
	}
	if len(a.Supervisors) == 0 || len(a.Supervisors) > MaxSupervisors {
		return consent.Refuse(consent.BadValue, "supervisors", "%d first supervisors; 1 to %d may be", len(a.Supervisors), MaxSupervisors)
	}
	for _, s := range a.Supervisors {
		if err := keys.add("supervisors", s); err != nil {
			return err
		}
	}
	if err := a.Jurisdiction.Validate(); err != nil {
		return consent.Refuse(consent.AreaInvalid, "jurisdiction", "%s: %w", a.Name, err)
	}
	u, err := url.Parse(a.PolicyURL)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || len(a.PolicyURL) > 300 || u.String() != a.PolicyURL {
		return consent.Refuse(consent.BadValue, "policy_url", "%.80q is no https address of at most 300 bytes", a.PolicyURL)
	}
	return a.checkStanding()
}

// Ended reports whether the charter's end has come. An ended charter lets nobody ask; it can still be followed by a
// version that ends later.
func (c *Charter) Ended(now time.Time) bool { return !now.Before(c.Ends.Time) }

// Agency finds an agency that the charter lists, a suspended one too.
func (c *Charter) Agency(id consent.AgencyID) (Agency, bool) {
	for _, a := range c.Agencies {
		if id != "" && a.ID() == id {
			return a, true
		}
	}
	return Agency{}, false
}

// uniqueKeys refuses one public key under two names: it would count twice, or play two roles.
type uniqueKeys []consent.VerifierKey

func (u *uniqueKeys) add(field string, k consent.VerifierKey) error {
	if _, err := k.Public(); err != nil {
		return consent.Refuse(consent.BadKey, field, "%w", err)
	}
	if slices.ContainsFunc(*u, k.Same) {
		return consent.Refuse(consent.BadValue, field, "the key of %s stands there twice", k.Name())
	}
	*u = append(*u, k)
	return nil
}

func checkReason(field, s string) error {
	if s == "" || len(s) > MaxReason || !utf8.ValidString(s) || strings.TrimSpace(s) != s || strings.ContainsFunc(s, unprintable) {
		return consent.Refuse(consent.BadValue, field, "%.60q is no reason: one line of 1 to %d printable bytes", s, MaxReason)
	}
	return nil
}

func checkName(field, s string) error {
	if s == "" || len(s) > MaxName || !utf8.ValidString(s) || strings.TrimSpace(s) != s || strings.ContainsFunc(s, unprintable) {
		return consent.Refuse(consent.BadValue, field, "%.60q is no name of 1 to %d printable bytes", s, MaxName)
	}
	return nil
}

// unprintable holds for control and format characters, which can make one name look like another.
func unprintable(r rune) bool { return !unicode.IsPrint(r) }
