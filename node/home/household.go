package home

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/node"
)

// A household is several owners of one home, in household.json. So many of them have to approve the very same thing before anything leaves; any
// one of them declines for all, and takes back. Each has a key of their own, sealed with their passphrase, and signs what they order: the node
// believes nobody who merely reaches its socket. Who controls the machine's disk controls the node, whatever is signed.

// Household says who the owners are. The zero Household is one owner, who is whoever uses the node.
type Household struct {
	Approvals int      `json:"approvals"` // how many have to approve
	Persons   []Person `json:"persons"`
}

// Person is one of several owners.
type Person struct {
	Name string              `json:"name"`
	Key  consent.VerifierKey `json:"key"`
}

// maxPersons bounds a household.
const maxPersons = 16

// orderFor is how far the time of an order may be from the node's, either way.
const orderFor = 10 * time.Minute

// Order is what one person of a household signs: that they approve, decline, take back, or say who the household is. It stays on this node.
type Order struct {
	What    string              `json:"what"`              // "approve", "decline", "withdraw" or "household"
	Request consent.RequestID   `json:"request,omitempty"` // of all but a household
	Of      string              `json:"of,omitempty"`      // SHA-256 of what is approved, or of the household
	At      consent.Time        `json:"at"`
	Person  consent.VerifierKey `json:"person"` // signs this
}

// Kind is "order".
func (Order) Kind() string { return "order" }

// Check refuses what no order is.
func (o Order) Check() error {
	if !slices.Contains([]string{"approve", "decline", "withdraw", "household"}, o.What) {
		return consent.Refuse(consent.BadValue, "what", "%.20q is no order", o.What)
	}
	if o.At.IsZero() {
		return consent.Refuse(consent.MissingField, "at", "when was it signed?")
	}
	_, err := o.Person.Public()
	return err
}

// OpenOrder reads an order signed by the person it names.
func OpenOrder(note []byte) (Order, error) {
	return consent.Open(note, func(o Order) ([]consent.VerifierKey, error) { return []consent.VerifierKey{o.Person}, nil })
}

// Signed is the order of a person for what is wanted.
func Signed(what string, request consent.RequestID, of string, at time.Time, key consent.Key) (string, error) {
	note, err := consent.Sign(Order{What: what, Request: request, Of: of, At: consent.At(at), Person: key.Verifier()}, key)
	return string(note), err
}

// Digest is what persons sign of a decision: two that differ in anything do not add up.
func (a Approve) Digest() string {
	a.Order, a.FacesVisible, a.Cameras = "", true, slices.Sorted(slices.Values(a.Cameras))
	return digest(a)
}

// Digest is what persons sign of something that is to be said.
func (s Say) Digest() string {
	s.Order = ""
	return digest(s)
}

// Digest is what persons sign of a breach record that is to be public.
func (b BreachArg) Digest() string {
	b.Order = ""
	return digest(b)
}

// Digest is what persons sign of a household.
func (h Household) Digest() string { return digest(h) }

func digest(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // plain values
	}
	return consent.HashText(b)
}

// household is what the file holds.
type household struct {
	Household
	// Approved are decisions, and households, that too few have approved so far: the names, by digest.
	Approved map[string][]string `json:"approved,omitempty"`
	About    map[string]string   `json:"about,omitempty"` // the request that a digest is about
	// Refused is when a request was last declined or taken back, or something about it done: what was signed before counts no more.
	Refused map[consent.RequestID]time.Time `json:"refused,omitempty"`
}

func (h *Home) householdFile() string { return h.peer.State.Path("household.json") }

func (h *Home) readHousehold() (k household, err error) {
	err = node.ReadJSON(h.householdFile(), &k)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if k.Approved == nil {
		k.Approved = map[string][]string{}
	}
	if k.About == nil {
		k.About = map[string]string{}
	}
	if k.Refused == nil {
		k.Refused = map[consent.RequestID]time.Time{}
	}
	return k, err
}

// person is the name of whoever signed an order for this; "" where there is one owner. The caller holds h.mu.
func (k household) person(note, what string, request consent.RequestID, of string, now time.Time) (string, error) {
	if len(k.Persons) == 0 {
		return "", nil
	}
	if note == "" {
		return "", node.WithHint(fmt.Errorf("this home has %d owners, and each orders with a key of their own", len(k.Persons)), "give yours with --as KEYFILE")
	}
	o, err := OpenOrder([]byte(note))
	if err != nil {
		return "", err
	}
	i := slices.IndexFunc(k.Persons, func(p Person) bool { return p.Key == o.Person })
	switch {
	case i < 0:
		return "", fmt.Errorf("%s is nobody's key in this household", o.Person.Name())
	case o.What != what || o.Request != request || o.Of != of:
		return "", errors.New("the order is for something else")
	case now.Sub(o.At.Time).Abs() > orderFor:
		return "", node.WithHint(fmt.Errorf("the order was signed at %s, and it is %s here", o.At, consent.At(now)), "sign it now, and look at the clock")
	case !o.At.After(k.Refused[request]):
		return "", node.WithHint(errors.New("it was declined, or done, after this was signed"), "sign it again if that is still what you want")
	}
	return k.Persons[i].Name, nil
}

// approve counts one person's approval, and says whether so many have approved this very thing that it counts. who is "" where there is one owner.
func (k *household) approve(note, what string, request consent.RequestID, of string, now time.Time) (who string, by []string, missing int, err error) {
	who, err = k.person(note, what, request, of, now)
	if err != nil || who == "" {
		return who, nil, 0, err
	}
	if by = k.Approved[of]; !slices.Contains(by, who) {
		by = append(slices.Clone(by), who)
	}
	k.Approved[of], k.About[of] = by, string(request)
	return who, by, max(0, k.Approvals-len(by)), nil
}

// refuse is any one person's no, which ends what was approved of a request so far.
func (k *household) refuse(note, what string, request consent.RequestID, now time.Time) (who string, err error) {
	who, err = k.person(note, what, request, "", now)
	if err == nil && who != "" {
		k.settle(request)
		k.Refused[request] = now.UTC().Truncate(time.Second)
	}
	return who, err
}

// approves is an approval that is on record and in the ledger before it counts; settled forgets it once what was approved is done. The
// caller holds h.mu.
func (h *Home) approves(note, what string, request consent.RequestID, of string) (done bool, by []string, missing int, err error) {
	k, err := h.readHousehold()
	if err != nil {
		return false, nil, 0, err
	}
	who, by, missing, err := k.approve(note, what, request, of, h.peer.Now())
	if err != nil || who == "" {
		return err == nil, nil, 0, err
	}
	err = errors.Join(h.ledger.Note(who, what+" signed", cmp.Or(string(request), of), fmt.Sprintf("%d of %d", len(by), k.Approvals)),
		node.WriteJSON(h.disk(), h.householdFile(), k))
	return err == nil && missing == 0, by, missing, err
}

// refuses is a refusal that is on record. The caller holds h.mu.
func (h *Home) refuses(note, what string, request consent.RequestID) error {
	k, err := h.readHousehold()
	if err != nil {
		return err
	}
	who, err := k.refuse(note, what, request, h.peer.Now())
	if err != nil || who == "" {
		return err
	}
	return errors.Join(h.ledger.Note(who, what+" signed", string(request), ""), node.WriteJSON(h.disk(), h.householdFile(), k))
}

// anyone lets each person of a household do what any one of them may. The caller holds h.mu.
func (h *Home) anyone(note, what string, request consent.RequestID, of string) error {
	k, err := h.readHousehold()
	if err != nil {
		return err
	}
	_, err = k.person(note, what, request, of, h.peer.Now())
	return err
}

// settle forgets what was approved of a request.
func (k *household) settle(request consent.RequestID) {
	for of, about := range k.About {
		if about == string(request) {
			delete(k.About, of)
			delete(k.Approved, of)
		}
	}
}

// settled forgets what was approved of a request once there is an answer. The caller holds h.mu.
func (h *Home) settled(request consent.RequestID) error {
	k, err := h.readHousehold()
	if err != nil || len(k.Persons) == 0 {
		return err
	}
	k.settle(request)
	k.Refused[request] = h.peer.Now().UTC().Truncate(time.Second)
	return node.WriteJSON(h.disk(), h.householdFile(), k)
}

// waitsFor says who has approved something about a request so far, and how many have to. The caller holds h.mu.
func (h *Home) waitsFor(request consent.RequestID) (all []Pending, approvals int) {
	k, err := h.readHousehold()
	if err != nil {
		h.peer.Log.Error("household unreadable", "err", err)
		return nil, 0
	}
	for of, by := range k.Approved {
		if k.About[of] == string(request) {
			all = append(all, Pending{of, by})
		}
	}
	slices.SortFunc(all, func(a, b Pending) int { return cmp.Compare(a.Of, b.Of) })
	return all, k.Approvals
}

// Pending is a decision that too few persons of a household have approved.
type Pending struct {
	Of string   `json:"of"` // its digest: persons who see the same one approved the same
	By []string `json:"by"`
}

// SetHousehold is the arguments of "home.household.set".
type SetHousehold struct {
	Household
	Order string `json:"order,omitempty"`
}

// HouseholdSet is the answer: how many of the present owners have to say the same before it counts.
type HouseholdSet struct {
	Household
	Missing int      `json:"missing"`
	By      []string `json:"by"`
}

// setHousehold says who the owners are from now on, once as many of the present ones want it as have to approve.
func (h *Home) setHousehold(_ context.Context, s SetHousehold) (HouseholdSet, error) {
	if err := s.Household.check(); err != nil {
		return HouseholdSet{}, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	done, by, missing, err := h.approves(s.Order, "household", "", s.Household.Digest())
	if err != nil || !done {
		return HouseholdSet{s.Household, missing, by}, err
	}
	k, err := h.readHousehold()
	if err != nil {
		return HouseholdSet{}, err
	}
	// Whatever was approved by others counts no more.
	k.Household, k.Approved, k.About = s.Household, map[string][]string{}, map[string]string{}
	k.Refused[""] = h.peer.Now().UTC().Truncate(time.Second)
	if err := h.ledger.Note("owner", "household set", "", fmt.Sprintf("%d of %d owners approve", s.Approvals, len(s.Persons))); err != nil {
		return HouseholdSet{}, err
	}
	return HouseholdSet{s.Household, 0, by}, node.WriteJSON(h.disk(), h.householdFile(), k)
}

func (h Household) check() error {
	if n := len(h.Persons); n > maxPersons || n == 1 || n > 0 && (h.Approvals < 1 || h.Approvals > n) || n == 0 && h.Approvals != 0 {
		return node.WithHint(fmt.Errorf("%d owners of whom %d approve: a household has 2 to %d, and from one to all of them approve", n, h.Approvals, maxPersons),
			"without any owner named there is one, who is whoever uses the node")
	}
	for i, p := range h.Persons {
		if p.Name == "" || len(p.Name) > 60 || strings.TrimSpace(p.Name) != p.Name || strings.ContainsFunc(p.Name, func(r rune) bool { return !unicode.IsPrint(r) }) {
			return fmt.Errorf("%.60q is no name of a person: a line of 1 to 60 printable bytes", p.Name)
		}
		if _, err := p.Key.Public(); err != nil {
			return err
		}
		if slices.ContainsFunc(h.Persons[:i], func(q Person) bool { return q.Name == p.Name || q.Key.Same(p.Key) }) {
			return fmt.Errorf("%s, or their key, stands there twice", p.Name)
		}
	}
	return nil
}

func (h *Home) showHousehold(context.Context, struct{}) (Household, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	k, err := h.readHousehold()
	if k.Persons == nil {
		k.Persons = []Person{}
	}
	return k.Household, err
}
