package agency

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
	"github.com/porchlight-mesh/porchlight/consent/docket"
	"github.com/porchlight-mesh/porchlight/consent/grant"
	"github.com/porchlight-mesh/porchlight/node"
)

// Holds and transfers are declared in the docket by entries that an officer and a supervisor sign. An entry covers a release under a salt
// that is made when it is drafted and kept with the release; whether a hold stands in the way of a deletion the docket alone says, each
// time anew. The owner is told which entry and which salt in a receipt, sealed, in one of the next daily entries.

// A blind is one salted commitment to a release's commitment.
type blind struct {
	Of   grant.Commitment `json:"of"`
	As   grant.Commitment `json:"as"`
	Salt grant.Secret     `json:"salt"`
	// Of a transfer: to whom it was passed on by it.
	To consent.AgencyID `json:"to,omitempty"`
}

// maxBlinds bounds the drafts that a release is part of.
const maxBlinds = 64

// DraftHold is the arguments of "agency.hold": of which order, over which releases; or the hold that goes on, without some.
type DraftHold struct {
	Releases       []string            `json:"releases"` // each the beginning of a root CID; of a renewal those that it leaves out
	Court          string              `json:"court"`
	Number         string              `json:"number"`
	DocumentSHA256 string              `json:"document_sha256"`
	Renews         string              `json:"renews,omitempty"` // the beginning of a live hold's id
	Officer        consent.VerifierKey `json:"officer"`
	Supervisor     consent.VerifierKey `json:"supervisor"`
}

// DraftTransfer is the arguments of "agency.transfer".
type DraftTransfer struct {
	Releases       []string            `json:"releases"`
	To             charter.AgencyClass `json:"to"`
	Ground         docket.Ground       `json:"ground"`
	DocumentSHA256 string              `json:"document_sha256,omitempty"`
	Officer        consent.VerifierKey `json:"officer"`
	Supervisor     consent.VerifierKey `json:"supervisor"`
}

// HoldStatus is one line of "agency.holds".
type HoldStatus struct {
	ID       string    `json:"id"`
	Court    string    `json:"court"`
	Number   string    `json:"number"`
	Covers   int       `json:"covers"`
	Releases []string  `json:"releases"` // those that are here
	Until    time.Time `json:"until"`    // when it ends, unless it is renewed before
}

// draftHold makes the text of a hold that officer and supervisor sign.
func (a *Agency) draftHold(_ context.Context, d DraftHold) (Drafted, error) {
	h := docket.Hold{Court: d.Court, Number: d.Number, DocumentSHA256: d.DocumentSHA256, Covers: []grant.Commitment{}, Created: consent.At(a.peer.Now()), Officer: d.Officer, Supervisor: d.Supervisor}
	if d.Renews != "" {
		return a.draftRenewal(d, h)
	}
	var err error
	if h.Covers, err = a.cover(d.Releases); err != nil {
		return Drafted{}, err
	}
	return text(h)
}

func (a *Agency) draftRenewal(d DraftHold, h docket.Hold) (Drafted, error) {
	live, err := a.liveHolds()
	if err != nil {
		return Drafted{}, err
	}
	i := slices.IndexFunc(live, func(l docket.LiveHold) bool { return strings.HasPrefix(l.ID, d.Renews) })
	if i < 0 {
		return Drafted{}, node.WithHint(fmt.Errorf("no live hold %q", d.Renews), "`porchlight agency hold list` lists them; one that is over cannot be renewed, a new order is another hold")
	}
	h.Renews, h.Court, h.Number, h.Covers = live[i].ID, live[i].Court, live[i].Number, live[i].Covers
	for _, name := range d.Releases {
		_, k, err := a.vault.find(name)
		if err != nil {
			return Drafted{}, err
		}
		n := len(h.Covers)
		if h.Covers = slices.DeleteFunc(h.Covers, k.blinded); len(h.Covers) == n {
			return Drafted{}, fmt.Errorf("the hold does not cover release %s", k.Root)
		}
	}
	return text(h)
}

// draftTransfer makes the text of a transfer that officer and supervisor sign.
func (a *Agency) draftTransfer(_ context.Context, d DraftTransfer) (Drafted, error) {
	t := docket.Transfer{To: d.To, Ground: d.Ground, DocumentSHA256: d.DocumentSHA256, Created: consent.At(a.peer.Now()), Officer: d.Officer, Supervisor: d.Supervisor}
	var err error
	if t.Covers, err = a.cover(d.Releases); err != nil {
		return Drafted{}, err
	}
	return text(t)
}

func text(b consent.Body) (Drafted, error) {
	note, err := consent.Text(b)
	return Drafted{Text: string(note)}, err
}

// cover makes a fresh salt for each release, and keeps it before the draft is shown.
func (a *Agency) cover(names []string) ([]grant.Commitment, error) {
	if len(names) == 0 {
		return nil, node.WithHint(errors.New("no release named"), "`porchlight agency vault` lists them")
	}
	covers := []grant.Commitment{}
	for _, name := range names {
		h, k, err := a.vault.find(name)
		if err != nil {
			return nil, err
		}
		if k.State == "deleted" {
			return nil, fmt.Errorf("release %s is deleted", k.Root)
		}
		of := h.commitment(&k)
		as, salt, err := grant.Commit(rand.Reader, []byte(of))
		if err != nil {
			return nil, err
		}
		if err := a.vault.note(h, k.Root, func(k *kept) error {
			if len(k.Blinds) >= maxBlinds {
				return fmt.Errorf("release %s is part of %d drafts already", k.Root, len(k.Blinds))
			}
			k.Blinds = append(slices.Clone(k.Blinds), blind{Of: of, As: as, Salt: salt})
			return nil
		}); err != nil {
			return nil, err
		}
		covers = append(covers, as)
	}
	slices.Sort(covers)
	return covers, nil
}

// commitment is that by which the docket follows a release now.
func (h *held) commitment(k *kept) grant.Commitment {
	holding, err := h.holding(k)
	if err != nil {
		return ""
	}
	return holding.Commitment()
}

// blinded says whether a commitment of a hold or transfer is to this release.
func (k *kept) blinded(c grant.Commitment) bool {
	return slices.ContainsFunc(k.Blinds, func(b blind) bool { return b.As == c })
}

// liveHolds are those of this agency's docket, whether or not the charter admits the agency any more.
func (a *Agency) liveHolds() ([]docket.LiveHold, error) {
	d := a.peer.Docket(a.agency)
	if d == nil {
		return nil, nil
	}
	live, sure := d.LiveHolds(a.now())
	if !sure {
		return nil, errors.New("the docket cannot be read")
	}
	return live, nil
}

func (a *Agency) holds(context.Context, struct{}) ([]HoldStatus, error) {
	live, err := a.liveHolds()
	if err != nil {
		return nil, err
	}
	out := []HoldStatus{}
	for _, l := range live {
		s := HoldStatus{ID: l.ID, Court: l.Court, Number: l.Number, Covers: len(l.Covers), Releases: []string{}, Until: l.Until}
		for _, roots := range a.vault.which(func(k *kept) bool { return slices.ContainsFunc(l.Covers, k.blinded) }) {
			s.Releases = append(s.Releases, roots...)
		}
		slices.Sort(s.Releases)
		out = append(out, s)
	}
	return out, nil
}

// law is what a docket says stands in the way of a release's deletion: the hold, and what of the release it covers.
type law struct {
	docket.LiveHold
	blind
}

// over returns the hold that covers a release, nil where none does.
func (k *kept) over(live []docket.LiveHold) *law {
	for _, l := range live {
		for _, b := range k.Blinds {
			if slices.Contains(l.Covers, b.As) {
				return &law{l, b}
			}
		}
	}
	return nil
}

// lookForHolds looks at the docket for holds. Where it cannot be read, what may be on hold is taken to be. Owners of what came under a hold are
// told, sealed.
func (a *Agency) lookForHolds() error {
	if len(a.vault.which(func(k *kept) bool { return len(k.Blinds) > 0 })) == 0 {
		return nil
	}
	live, err := a.liveHolds()
	a.vault.mu.Lock()
	var tell []*held
	var roots []string
	for _, h := range a.vault.grants {
		for root, k := range h.releases {
			if k.State == "deleted" || len(k.Blinds) == 0 {
				continue
			}
			if err != nil {
				k.law = &law{}
				continue
			}
			k.law = k.over(live)
			if k.law != nil && k.Told != k.law.ID {
				tell, roots = append(tell, h), append(roots, root)
			}
		}
	}
	a.vault.mu.Unlock()
	errs := []error{err}
	for i, h := range tell {
		errs = append(errs, a.tell(h, roots[i]))
	}
	return errors.Join(errs...)
}

// tell signs what is so of a release now and leaves it for its owner.
func (a *Agency) tell(h *held, root string) error {
	k := a.vault.copyOf(h, root)
	receipt, err := a.receiptNow(h, root)
	if err != nil {
		return err
	}
	if err := a.queueFor(h, receipt); err != nil {
		return err
	}
	detail := ""
	if k.law != nil {
		detail = "kept by law: " + k.law.Court + ", " + k.law.Number
	}
	return a.vault.note(h, root, func(k *kept) error {
		if k.law != nil {
			k.Told = k.law.ID
		}
		return a.custody.Note("node", "owner told", root, detail)
	})
}

// queueFor leaves a note for the owner of a grant for one of the next daily entries. Where the charter has none, nobody is told.
func (a *Agency) queueFor(h *held, note []byte) error {
	_, d, err := a.self()
	if err != nil {
		return err
	}
	_, plan, _, ok := d.NextDaily(a.peer.Now())
	if !ok || plan.Messages == 0 {
		return nil
	}
	// What cannot be sealed would wait for ever.
	if _, err := node.SealMessage(h.grant.Reach, note, plan.MessageBytes); err != nil {
		return err
	}
	return a.vault.queue(message{h.grant.Reach, string(note)})
}

// transferred is the place in a release's blinds of the transfer by which the docket declares that it goes to an agency, and the entry. An entry
// declares one.
func (a *Agency) transferred(k *kept, to charter.Agency) (i int, entry string) {
	d := a.peer.Docket(a.agency)
	for i, b := range k.Blinds {
		if d != nil && (b.To == "" || b.To == to.ID()) {
			if entry := d.TransferOf(b.As, to.Class); entry != "" {
				return i, entry
			}
		}
	}
	return -1, ""
}

// note changes a release's record, past its deadline, too.
func (v *vault) note(h *held, root string, change func(k *kept) error) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.grants[h.id] != h || h.dropping {
		return errGone
	}
	k := *h.releases[root]
	if err := change(&k); err != nil {
		return err
	}
	if err := v.save(h, &k); err != nil {
		return err
	}
	*h.releases[root] = k
	return nil
}

// which are the releases whose records are like that: their roots, by grant.
func (v *vault) which(like func(k *kept) bool) map[*held][]string {
	v.mu.Lock()
	defer v.mu.Unlock()
	out := map[*held][]string{}
	for _, h := range v.grants {
		for root, k := range h.releases {
			if like(k) {
				out[h] = append(out[h], root)
			}
		}
	}
	return out
}
