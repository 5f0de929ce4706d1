package node

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/porchlight-mesh/porchlight/p2p/host"
)

// A Reachability says in one word whether others can connect to a steward from the internet.
type Reachability string

// The reachabilities.
const (
	Reachable   Reachability = "reachable"   // another steward dialled it back
	Unreachable Reachability = "unreachable" // others tried all its public addresses in vain
	NotKnown    Reachability = "unknown"     // nobody has tried so far, or nobody can
	LocalOnly   Reachability = "local"       // it listens on this machine alone
)

// ReachStatus is what a running steward knows of how it is reached.
type ReachStatus struct {
	State   Reachability `json:"state"`
	Yes     []string     `json:"reachable"`
	No      []string     `json:"unreachable"`
	Unknown []string     `json:"unknown"`
	WayOut  string       `json:"way_out,omitempty"` // what its person can do
}

// reachStatus is nil for everybody but a running steward of a mesh that is not of one local network.
func (p *Peer) reachStatus() *ReachStatus {
	if p.host == nil || p.State.Role() != Steward || p.network.Simulated() || p.Charter().LANOnly {
		return nil
	}
	return judgeReach(p.host.Reachable())
}

func judgeReach(r host.Reach) *ReachStatus {
	s := &ReachStatus{Yes: append([]string{}, r.Yes...), No: append([]string{}, r.No...), Unknown: append([]string{}, r.Unknown...)}
	ports := strings.Join(r.Ports, " and ")
	open := fmt.Sprintf(`open %s in the firewall, and forward it on the router to this machine; where the world sees another address than this machine does, name it as announce under [steward] in config.toml`, ports)
	switch {
	case !r.Asked:
		s.State, s.WayOut = LocalOnly, `add an address of the network to listen in config.toml, as in "/ip4/0.0.0.0/tcp/4001"`
	case len(r.Yes) > 0:
		s.State = Reachable
		if len(r.No) > 0 {
			s.WayOut = "for the addresses that others tried in vain: " + open
		}
	case len(r.No) > 0 && len(r.Unknown) == 0:
		s.State, s.WayOut = Unreachable, open
	default:
		s.State = NotKnown
		s.WayOut = "it takes some minutes and other stewards to dial it back; until then: " + open
	}
	return s
}

// sayReach writes to the log how a steward is reached, once and whenever that changes.
func (p *Peer) sayReach() {
	var mu sync.Mutex
	var last Reachability
	say := func() {
		mu.Lock()
		defer mu.Unlock()
		s := p.reachStatus()
		if s == nil || s.State == last {
			return
		}
		switch last = s.State; s.State {
		case Reachable:
			p.Log.Info("this steward can be reached from the internet", "at", s.Yes)
		case Unreachable:
			p.Log.Warn("this steward cannot be reached from the internet", "tried", s.No, "way out", s.WayOut)
		case NotKnown:
			p.Log.Info("it is not known yet whether this steward can be reached from the internet", "way out", s.WayOut)
		case LocalOnly:
			p.Log.Info("this steward can be reached from this machine alone", "way out", s.WayOut)
		}
	}
	p.host.OnReach(say)
	say()
}

// Why a node keeps in touch with a steward.
const (
	ByConfig     = "config"     // its person wrote it into config.toml
	ByInvitation = "invitation" // it came with the invitation, and stands in config.toml since
	ByCache      = "cache"      // this node reached it before
)

// StewardStatus is a steward, or another peer that is dialled again and again, and how that goes.
type StewardStatus struct {
	ID      string    `json:"id"`
	Addrs   []string  `json:"addresses"`
	Why     string    `json:"why"` // "config", "invitation" or "cache"
	Since   time.Time `json:"connected_since,omitzero"`
	Failure string    `json:"last_failure,omitempty"` // of the last dial, where it failed
	At      time.Time `json:"failed_at,omitzero"`
	Next    time.Time `json:"next_try,omitzero"`
}

// stewardStatus lists whom this node keeps in touch with, of a node that does not run those of its settings. Neighbours
// on its LAN come and go by themselves and are not among them.
func (p *Peer) stewardStatus() []StewardStatus {
	var invited []string
	if err := ReadJSON(p.State.Path("invited.json"), &invited); err != nil && !errors.Is(err, fs.ErrNotExist) {
		p.Log.Warn("it is not known which stewards came with an invitation", "err", err)
	}
	came := map[string]bool{}
	for _, addr := range invited {
		came[addr[strings.LastIndexByte(addr, '/')+1:]] = true
	}
	all := []StewardStatus{}
	if p.host == nil {
		for _, addr := range p.Config.Stewards {
			id := addr[strings.LastIndexByte(addr, '/')+1:]
			i := slices.IndexFunc(all, func(s StewardStatus) bool { return s.ID == id })
			if i < 0 {
				i, all = len(all), append(all, StewardStatus{ID: id, Why: ByConfig})
			}
			all[i].Addrs = append(all[i].Addrs, addr)
			if came[id] {
				all[i].Why = ByInvitation
			}
		}
		return all
	}
	for _, k := range p.host.Kept() {
		if k.LAN {
			continue
		}
		s := StewardStatus{ID: k.ID, Addrs: k.Addrs, Why: ByCache, Since: k.Since}
		switch {
		case k.Named && came[k.ID]:
			s.Why = ByInvitation
		case k.Named:
			s.Why = ByConfig
		}
		if k.Failed != nil && k.Since.IsZero() {
			s.Failure, s.At, s.Next = strings.Join(strings.Fields(k.Failed.Error()), " "), k.At, k.Next
		}
		all = append(all, s)
	}
	return all
}

// RememberInvited notes beside the settings that these stewards, which go into them, came with an invitation.
func RememberInvited(s *State, addrs []string) error {
	var invited []string
	if err := ReadJSON(s.Path("invited.json"), &invited); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, addr := range addrs {
		if !slices.Contains(invited, addr) {
			invited = append(invited, addr)
		}
	}
	return WriteJSON(s.disk, s.Path("invited.json"), invited)
}
