package agency

import (
	"encoding/json"
	"time"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/grant"
	"github.com/porchlight-mesh/porchlight/node"
)

// Draft is the arguments of "agency.draft": what an officer asks. Empty terms take the
// charter's defaults.
type Draft struct {
	Case          string              `json:"case"`
	Offence       string              `json:"offence"` // NIBRS code
	Basis         string              `json:"basis"`
	OrderHash     string              `json:"order_hash,omitempty"` // SHA-256 of the warrant or order, hex
	IncidentAt    time.Time           `json:"incident_at"`
	IncidentLat   float64             `json:"incident_lat"`
	IncidentLon   float64             `json:"incident_lon"`
	Area          json.RawMessage     `json:"area"` // GeoJSON polygon
	From          time.Time           `json:"from"`
	Until         time.Time           `json:"until"`
	Text          string              `json:"text"`
	Contact       string              `json:"contact"`
	RetentionDays int                 `json:"retention_days"`
	UnusedDays    int                 `json:"unused_days"`
	Recipients    []string            `json:"recipients"`
	Resharing     bool                `json:"resharing"`
	ExpiresDays   int                 `json:"expires_days"`
	Officer       consent.VerifierKey `json:"officer"`
	Supervisor    consent.VerifierKey `json:"supervisor"`
}

// Drafted is the answer: the text that officer and supervisor sign, each on their own machine.
type Drafted struct {
	Text string `json:"text"`
}

// Entry is the arguments of "agency.publish": one signed note for the docket.
type Entry struct {
	Note string `json:"note"`
}

// Published says where the entry stands.
type Published struct {
	Kind    string            `json:"kind"`
	Index   int64             `json:"index"`
	Size    int64             `json:"size"`
	Request consent.RequestID `json:"request,omitempty"`
	Peers   int               `json:"peers"` // connected peers it went to
	// Witnesses: how many have cosigned the docket with this entry, and how many have to before anybody is shown it. Waits says
	// that they are too few; the node goes on asking them.
	Cosigned int  `json:"cosigned"`
	Quorum   int  `json:"quorum"`
	Waits    bool `json:"waits"`
}

// DocketEntry is one line of "agency.docket".
type DocketEntry struct {
	Index int64  `json:"index"`
	Kind  string `json:"kind"`
	Note  string `json:"note"`
	Waits bool   `json:"waits,omitempty"` // for witnesses to cosign it
}

// Received is one line of "agency.received": something that was addressed to this agency.
type Received struct {
	At       time.Time         `json:"at"`
	What     string            `json:"what"` // "grant" or "refused"
	Grant    consent.GrantID   `json:"grant,omitempty"`
	Request  consent.RequestID `json:"request,omitempty"`
	Releases int               `json:"releases"`
	Name     string            `json:"name,omitempty"`   // of a refusal for want of room: "disk-full", "vault-full", "docket-full" or "release-too-large"
	Reason   string            `json:"reason,omitempty"` // of a refusal
}

// Held is one line of "agency.vault": a release and where it is in its life.
type Held struct {
	Release     string            `json:"release"` // root CID
	Grant       consent.GrantID   `json:"grant"`
	Request     consent.RequestID `json:"request"`
	State       string            `json:"state"`            // "arriving", "sealed", "open" (its key is here), "lost" (held once, on a disk that is gone), "deleted"
	Reason      string            `json:"reason,omitempty"` // why it stands still here: "disk-full", "vault-full" or "docket-full"
	SealedBytes int64             `json:"sealed_bytes"`
	Arrived     int64             `json:"arrived_bytes"`
	From        time.Time         `json:"from,omitzero"` // of the clip
	Until       time.Time         `json:"until,omitzero"`
	Camera      string            `json:"camera,omitempty"`
	Redaction   string            `json:"redaction"`
	KeyUntil    time.Time         `json:"key_until"`      // when the release key is destroyed
	Hold        string            `json:"hold,omitempty"` // the court and number of the hold that it is not destroyed under
	Used        bool              `json:"used"`
	Exported    bool              `json:"exported"`
	PassedOn    bool              `json:"passed_on"`
}

// Said is one line of "agency.said": what an owner said about a release since it came.
type Said struct {
	At      time.Time `json:"at"`
	Release string    `json:"release"` // root CID
	What    string    `json:"what"`    // "withdrawal", "extension", "statement" or "onward"
	Text    string    `json:"text,omitempty"`
}

// FindArgs is the arguments of "agency.find".
type FindArgs struct {
	Release string `json:"release"` // root CID or the beginning of it, or GRANT/ROOT
}

// Found is what an officer needs to know of a release to sign an act on it.
type Found struct {
	Agency  consent.AgencyID  `json:"agency"`
	Grant   consent.GrantID   `json:"grant"`
	Release consent.ReleaseID `json:"release"`
	Terms   grant.Terms       `json:"terms"`
	State   string            `json:"state"`
	Used    bool              `json:"used"`
}

// Sign makes the officer's act on the release.
func (f Found) Sign(act grant.ActKind, reason string, at time.Time, officer consent.Key) ([]byte, error) {
	return consent.Sign(grant.Act{Agency: f.Agency, Grant: f.Grant, CID: f.Release, Act: act, Reason: reason, At: consent.At(at), Officer: officer.Verifier()}, officer)
}

// Act is the arguments of "agency.view", "agency.use" and "agency.export".
type Act struct {
	Note string `json:"note"`          // the officer's signed act (package grant)
	Out  string `json:"out,omitempty"` // of an export: file to write; absolute
}

// View is the answer to "agency.view": where the clip can be looked at. It is there until the call of "agency.view.hold" that has to
// follow ends, and no longer than the deadline.
type View struct {
	ID   string    `json:"id"`
	URL  string    `json:"url"`       // on this machine
	Ends time.Time `json:"key_until"` // its deadline
	Clip Opened    `json:"clip"`
}

// Hold is the arguments of "agency.view.hold".
type Hold struct {
	ID string `json:"id"`
}

// Used is the answer to "agency.use".
type Used struct {
	Release  string    `json:"release"`
	KeyUntil time.Time `json:"key_until"`
	Receipt  string    `json:"receipt"` // signed by the reception key
}

// Opened says of a clip that was opened that its hash is the one the owner signed.
type Opened struct {
	Out         string    `json:"out,omitempty"`
	Bytes       int64     `json:"bytes"`
	PlainSHA256 string    `json:"plain_sha256"`
	From        time.Time `json:"from"`
	Until       time.Time `json:"until"`
	LeadIn      float64   `json:"lead_in_seconds"`
	Gaps        int       `json:"gaps"`
	Overlaps    int       `json:"overlaps"`
}

// Resume is the arguments of "agency.docket.resume".
type Resume struct {
	Alone bool `json:"alone"` // a person says that no other copy of the docket has more
}

// Resumed is the answer.
type Resumed struct {
	node.DocketState
	Deaf []consent.RequestID `json:"deaf"` // open requests that no answer can come to: their reception keys are not here
}

// ReplyStatus is the answer to "agency.reply": whether this node's own reply addresses work.
type ReplyStatus struct {
	Addrs   []string `json:"addrs"`
	Reached []string `json:"reached"`
	Problem string   `json:"problem,omitempty"`
	Hint    string   `json:"hint,omitempty"`
}
