package home

import "time"

// Approve is the arguments of "home.approve": the owner's decision for one request. Each camera
// is one decision over one time span.
type Approve struct {
	Request       string    `json:"request"`
	Cameras       []string  `json:"cameras"`         // which; at least one
	From          time.Time `json:"from,omitzero"`   // zero: the smallest span that covers the request
	Until         time.Time `json:"until,omitzero"`  // likewise
	FacesVisible  bool      `json:"faces_visible"`   // the owner knows that nothing but audio is removed
	AddressShown  bool      `json:"address_shown"`   // straight to the requester, which sees this home's IP address; else over two stewards
	RetentionDays int       `json:"retention_days"`  // 0: as the request offers; never longer
	UnusedDays    int       `json:"unused_days"`     // likewise, of what nobody signs to be used
	NoSharing     bool      `json:"no_sharing"`      // nobody else gets it
	ViewOnly      bool      `json:"view_only"`       // it is looked at in the requester's vault and does not leave it; nobody else gets it
	Identity      string    `json:"identity"`        // "anonymous" (default), "pseudonym" or "named"
	Name          string    `json:"name,omitempty"`  // with "named"
	Order         string    `json:"order,omitempty"` // of a household: one person's signed order (household.go)
	Check         bool      `json:"check,omitempty"` // only say whether it would be refused: nothing is approved
}

// AnswerStatus is one answer of this home and how far it is.
type AnswerStatus struct {
	ID        string          `json:"id"`
	Request   string          `json:"request"`
	Created   time.Time       `json:"created"`
	State     string          `json:"state"`             // preparing, waiting, sending, delivered, withdrawn, expired, failed, stopped
	Reason    Reason          `json:"reason,omitempty"`  // why it stands still, or ended undelivered
	Since     time.Time       `json:"since,omitzero"`    // since when it does for that reason
	Problem   string          `json:"problem,omitempty"` // the last attempt's error
	NotBefore time.Time       `json:"not_before,omitzero"`
	Attempts  int             `json:"attempts"`
	Grant     string          `json:"grant,omitempty"`
	Releases  []ReleaseStatus `json:"releases"`
	Direct    bool            `json:"direct"` // straight to the requester, which sees this home's IP address
	Paths     int             `json:"paths"`  // over stewards that were tried
	// Of a household: who has approved this, and how many more have to before there is an answer.
	By      []string `json:"by,omitempty"`
	Missing int      `json:"missing,omitempty"`
	// Of an answer that was just taken back: whether it was stopped on its way, and who is told to delete what they have.
	Stopped bool     `json:"stopped,omitempty"`
	Told    []Saying `json:"told,omitempty"`
}

// Retry is the arguments of "home.retry": how answers go on that wait for their owner.
type Retry struct {
	Request      string `json:"request"`
	AddressShown bool   `json:"address_shown"` // straight, also those that do not wait
}

// ReleaseStatus is one release of an answer.
type ReleaseStatus struct {
	Camera      string    `json:"camera"`
	From        time.Time `json:"from"` // of the clip: at most one GOP before the asked beginning
	Until       time.Time `json:"until"`
	Root        string    `json:"root"`
	SealedBytes int64     `json:"sealed_bytes"`
	Blocks      int64     `json:"blocks"`
	SentBlocks  int64     `json:"sent_blocks"`
	Receipt     bool      `json:"receipt"`   // the requester signed that it holds all of it
	KeyGiven    bool      `json:"key_given"` // the release key left
}

// Preview is the arguments of "home.preview": exactly the clip that approving would send.
type Preview struct {
	Request string    `json:"request"`
	Camera  string    `json:"camera"`
	From    time.Time `json:"from,omitzero"`
	Until   time.Time `json:"until,omitzero"`
	Out     string    `json:"out"` // file to write; absolute
}

// Previewed is the answer.
type Previewed struct {
	Out      string    `json:"out"`
	Bytes    int64     `json:"bytes"`
	From     time.Time `json:"from"`
	Until    time.Time `json:"until"`
	LeadIn   float64   `json:"lead_in_seconds"`
	Gaps     int       `json:"gaps"`
	Overlaps int       `json:"overlaps"`
}

// LedgerEntry is one line of "home.ledger": a step of what left this home.
type LedgerEntry struct {
	At      time.Time `json:"at"`
	Step    string    `json:"step"`
	Subject string    `json:"subject"`
	Detail  string    `json:"detail"`
}
