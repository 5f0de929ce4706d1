package agency

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/grant"
	"github.com/porchlight-mesh/porchlight/node"
	"github.com/porchlight-mesh/porchlight/p2p/deliver"
)

// Terms as they were offered are accepted by the node. An owner may grant tighter ones, which an agency may be unable to work with: config.toml says
// which of them an officer decides about. Such a grant waits in vault/waiting until an officer accepts it with a signed reason, or it
// expires; its home tries again meanwhile. To refuse it nobody has to do anything.
//
//	vault/waiting/GRANT.note      the grant
//	vault/waiting/GRANT.accept    the officer's act, until it is with the grant: vault/GRANT/accept.note

// maxWaiting bounds the grants that wait for an officer who has not said yes. One more takes the place of the one that has waited longest, whose home
// comes back, within half an hour at most while it is tried. A stranger makes grants for a signature each: it can make others come and go in the list
// as long as it goes on, and cannot shut them out once and for all. What an officer accepted stays.
const maxWaiting = 200

// Waiting is one line of "agency.waiting": a grant that an officer has to decide about.
type Waiting struct {
	Grant    consent.GrantID   `json:"grant"`
	Request  consent.RequestID `json:"request"`
	Releases int               `json:"releases"`
	Terms    grant.Terms       `json:"terms"`
	Created  time.Time         `json:"created"`
	Expires  time.Time         `json:"expires"`
	Why      string            `json:"why"`
	Accepted bool              `json:"accepted"`

	first consent.ReleaseID
	since time.Time
}

// undecided says why terms are for an officer to decide about, "" where the node accepts them.
func (a *Agency) undecided(g grant.Grant) string {
	c := a.peer.Config.Agency
	var why []string
	if g.Terms.ViewOnly && c.AskViewOnly {
		why = append(why, "it may only be looked at in the vault")
	}
	if days := daysUntil(g.Created.Time, g.Terms.RetainUntil.Time); days < c.AskBelowDays {
		why = append(why, fmt.Sprintf("it may be kept for %d days", days))
	}
	return strings.Join(why, "; ")
}

func (v *vault) waitingPath(id consent.GrantID, ext string) string {
	return filepath.Join(v.dir, "waiting", string(id)+ext)
}

// decided lets a grant through that the node or an officer accepts, with the officer's act; another one is put before the officers. The caller holds
// vault.mu.
func (a *Agency) decided(id consent.GrantID, g grant.Grant, note []byte) (act []byte, err error) {
	why := a.undecided(g)
	if why == "" {
		return nil, nil
	}
	act, err = os.ReadFile(a.vault.waitingPath(id, ".accept"))
	if !errors.Is(err, fs.ErrNotExist) {
		return act, err
	}
	waits := &deliver.Error{Class: deliver.ClassOfficer, Err: errors.New("an officer has to decide: " + why)}
	all, err := a.waitingGrants()
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(all, func(w Waiting) bool { return w.Grant == id }) {
		return nil, waits
	}
	all = slices.DeleteFunc(all, func(w Waiting) bool { return w.Accepted })
	slices.SortFunc(all, func(a, b Waiting) int { return a.since.Compare(b.since) })
	for ; len(all) >= maxWaiting; all = all[1:] {
		if err := a.vault.remove(a.vault.waitingPath(all[0].Grant, ".note")); err != nil {
			return nil, err
		}
	}
	if err := a.vault.disk.MkdirAll(filepath.Join(a.vault.dir, "waiting"), 0o700); err != nil {
		return nil, err
	}
	if err := a.vault.disk.WriteFile(a.vault.waitingPath(id, ".note"), note, 0o600); err != nil {
		return nil, err
	}
	return nil, waits
}

// undecidedGrants lists the grants that wait, those that expire first before the others.
func (a *Agency) undecidedGrants() ([]Waiting, error) {
	a.vault.mu.Lock()
	defer a.vault.mu.Unlock()
	return a.waitingGrants()
}

// waitingGrants drops those that are over as well. The caller holds vault.mu.
func (a *Agency) waitingGrants() ([]Waiting, error) {
	names, err := a.peer.State.Glob("vault/waiting/*.note")
	if err != nil {
		return nil, err
	}
	out := []Waiting{}
	for _, name := range names {
		note, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		info, err := os.Stat(name)
		if err != nil {
			return nil, err
		}
		id := grant.IDOf(note)
		g, err := grant.OpenGrant(note)
		if err != nil || !a.peer.Now().Before(g.Expires.Time) || a.vault.grants[id] != nil {
			for _, ext := range []string{".note", ".accept"} {
				if err := a.vault.remove(strings.TrimSuffix(name, ".note") + ext); err != nil {
					return nil, err
				}
			}
			continue
		}
		_, err = os.Stat(a.vault.waitingPath(id, ".accept"))
		out = append(out, Waiting{id, g.Request, len(g.Releases), g.Terms, g.Created.Time, g.Expires.Time, a.undecided(g), err == nil, g.Releases[0].CID, info.ModTime()})
	}
	slices.SortFunc(out, func(a, b Waiting) int { return a.Expires.Compare(b.Expires) })
	return out, nil
}

// findGrant says what a waiting grant is, for an officer to sign that it is accepted.
func (a *Agency) findGrant(_ context.Context, args FindArgs) (Found, error) {
	w, err := a.undecidedGrant(args.Release)
	return Found{Agency: a.agency, Grant: w.Grant, Release: w.first, Terms: w.Terms, State: "waiting"}, err
}

func (a *Agency) undecidedGrant(name string) (Waiting, error) {
	all, err := a.undecidedGrants()
	if err != nil {
		return Waiting{}, err
	}
	all = slices.DeleteFunc(all, func(w Waiting) bool { return name == "" || !strings.HasPrefix(string(w.Grant), name) })
	if len(all) != 1 {
		return Waiting{}, node.WithHint(fmt.Errorf("%d grants that wait begin with %q", len(all), name), "`porchlight agency accept` lists them")
	}
	return all[0], nil
}

// accept puts an officer's yes to a grant on record; its home comes back for it.
func (a *Agency) accept(_ context.Context, args Act) (Waiting, error) {
	act, err := a.signedBy(args.Note, grant.ActAccept)
	if err != nil {
		return Waiting{}, err
	}
	w, err := a.undecidedGrant(string(act.Grant))
	if err != nil {
		return w, err
	}
	a.vault.mu.Lock()
	defer a.vault.mu.Unlock()
	if _, err := os.Stat(a.vault.waitingPath(w.Grant, ".note")); err != nil {
		return w, node.WithHint(fmt.Errorf("the grant waits no more: %w", err), "its home comes back, unless it was accepted; `porchlight agency accept` lists those that wait")
	}
	if err := a.custody.Note(act.Officer.Name(), "grant accepted", string(w.Grant), act.Reason); err != nil {
		return w, err
	}
	w.Accepted = true
	return w, a.vault.disk.WriteFile(a.vault.waitingPath(w.Grant, ".accept"), []byte(args.Note), 0o600)
}
