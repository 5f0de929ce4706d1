package simnet

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
	"github.com/porchlight-mesh/porchlight/consent/docket"
	"github.com/porchlight-mesh/porchlight/consent/geo"
	"github.com/porchlight-mesh/porchlight/consent/grant"
	"github.com/porchlight-mesh/porchlight/node"
	"github.com/porchlight-mesh/porchlight/node/agency"
	"github.com/porchlight-mesh/porchlight/node/home"
	"github.com/porchlight-mesh/porchlight/simnet/wire"
)

// diary writes a node's log into the story.
type diary struct{ n *Node }

// Write notes a line. Of those for debugging only what became of messages is told.
func (d diary) Write(b []byte) (int, error) {
	if bytes.Contains(b, []byte(" level=DEBUG ")) && !bytes.Contains(b, []byte(` msg="message `)) {
		return len(b), nil
	}
	d.n.w.tell(d.n.Name, "| %s", strings.TrimSpace(string(b)))
	return len(b), nil
}

// Police is the agency's node with an officer and a supervisor before it.
type Police struct {
	*Node
	agency              charter.Agency
	officer, supervisor consent.Key
	enrolled            bool
	cases               int
}

// founds makes an agency's folder. Its node is made once there is a charter.
func (w *World) founds(folder, name string) *Police {
	w.t.Helper()
	p := &Police{Node: &Node{w: w}, officer: w.key("Det.Ruiz"), supervisor: w.key("Sgt.Stone")}
	card, err := agency.Init(filepath.Join(w.dir, folder), agency.InitArgs{Name: name, Class: charter.LocalPolice,
		Supervisors: []consent.VerifierKey{p.supervisor.Verifier()}, Jurisdiction: geo.Circle(Corner, 5000, 32), PolicyURL: "https://example.org/policy"})
	w.must(err)
	p.agency = charter.Agency(card)
	return p
}

// opens starts the agency's node.
func (p *Police) opens(folder string, stewards []string) {
	p.w.t.Helper()
	station := p.w.cfg.Station
	if station.Up == 0 {
		station.Up, station.Down = p.w.hub.Up, p.w.hub.Down
	}
	p.Node = p.w.node(folder, node.Agency, station)
	p.stewards = stewards
	if n := p.w.cfg.Over; n > 0 {
		p.reply = []string{p.w.Stewards[n-1].addr() + "/p2p-circuit"}
	}
	p.Start()
}

// Twin is a second node with the agency's docket key, in a copy of its folder as it is now. From here on what either of them enters
// makes two versions of the docket. The twin dials those nodes only.
func (p *Police) Twin(dials ...*Node) *Police {
	w := p.w
	w.t.Helper()
	twin := *p
	w.must(os.CopyFS(filepath.Join(w.dir, "twin"), os.DirFS(p.dir)))
	seed := make([]byte, ed25519.SeedSize)
	rand.Read(seed)
	w.must(os.WriteFile(filepath.Join(w.dir, "twin", "keys", "peer.key"), []byte(hex.EncodeToString(seed)+"\n"), 0o600))
	twin.opens("twin", w.addrs(dials))
	w.others = append(w.others, twin.Node)
	return &twin
}

// Enrols makes the docket's first entry, which names the officer. Asks does it where it is not done.
func (p *Police) Enrols() {
	w := p.w
	w.t.Helper()
	if p.enrolled {
		return
	}
	note, err := consent.Sign(docket.Officer{Action: docket.Enrol, Role: docket.RoleOfficer, Name: "Det. Ruiz", Key: p.officer.Verifier(),
		Expires: consent.At(w.Now().AddDate(1, 0, 0)), By: p.supervisor.Verifier(), Created: consent.At(w.Now())}, p.supervisor)
	w.must(err)
	p.do("agency.publish", agency.Entry{Note: string(note)}, nil)
	p.enrolled = true
}

// Exports has the officer write a release's clip to a file.
func (p *Police) Exports(release, out string) {
	w := p.w
	w.t.Helper()
	var found agency.Found
	p.do("agency.find", agency.FindArgs{Release: release}, &found)
	note, err := found.Sign(grant.ActExport, "to see what can be seen", w.Now(), p.officer)
	w.must(err)
	p.do("agency.export", agency.Act{Note: string(note), Out: out}, nil)
}

// Asks publishes a request for the hour before, around the corner, and returns its id and the moment. Each one is of a
// case of its own.
func (p *Police) Asks() (consent.RequestID, time.Time) {
	w := p.w
	w.t.Helper()
	p.Enrols()
	p.cases++
	ring := geo.Circle(Corner, 250, 16)
	area, err := json.Marshal(map[string]any{"type": "Polygon", "coordinates": [][]geo.Point{append(ring, ring[0])}})
	w.must(err)
	until := w.Now().Add(-time.Hour * time.Duration(p.cases)).Truncate(time.Minute)
	var drafted agency.Drafted
	p.do("agency.draft", agency.Draft{Case: fmt.Sprintf("EP-2026-%04d", p.cases), Offence: "220", Basis: "reasonable-suspicion",
		IncidentAt: until.Add(-10 * time.Minute), IncidentLat: Corner.Lat, IncidentLon: Corner.Lon, Area: area, From: until.Add(-20 * time.Minute), Until: until,
		Text: "The corner shop was broken into. We look for a person with a red jacket.", Contact: "Det. Ruiz, front desk",
		RetentionDays: min(90, w.cfg.Limits.MaxRetentionDays), Officer: p.officer.Verifier(), Supervisor: p.supervisor.Verifier()}, &drafted)
	note := []byte(drafted.Text)
	for _, k := range []consent.Key{p.officer, p.supervisor} {
		note, err = consent.AddSignature(note, k)
		w.must(err)
	}
	at := time.Now()
	var published agency.Published
	p.do("agency.publish", agency.Entry{Note: string(note)}, &published)
	w.tell(p.Name, "asks: request %.12s, %d bytes", published.Request, len(note))
	return published.Request, at
}

// Vault waits until the police hold that many releases in a state.
func (p *Police) Vault(within time.Duration, count int, state string) (held []agency.Held) {
	p.w.t.Helper()
	p.w.Until(within, fmt.Sprintf("%d releases that are %s", count, state), func() bool {
		p.do("agency.vault", struct{}{}, &held)
		return len(slices.DeleteFunc(slices.Clone(held), func(h agency.Held) bool { return h.State != state })) == count
	})
	return held
}

// Owner is a home's node with its owner before it.
type Owner struct{ *Node }

// Films gives the owner a camera called door, which stands there, looks south and records into a folder; the owner
// offers it where offered says so.
func (o *Owner) Films(folder string, at geo.Point, offered bool) {
	o.w.t.Helper()
	o.do("home.cameras.add", home.CamerasAdd{Name: "door", Folder: folder, Lat: at.Lat, Lon: at.Lon, Facing: 180, Angle: 120, Range: 50}, nil)
	if offered {
		o.do("home.cameras.offer", home.CameraName{Name: "door"}, nil)
	}
	o.w.tell(o.Name, "has a camera")
}

// Sees waits until a request is in the owner's inbox.
func (o *Owner) Sees(within time.Duration, id consent.RequestID) (c home.Card) {
	o.w.t.Helper()
	o.w.Until(within, o.Name+" to see the request", func() bool {
		return o.commands.Call(o.w.t.Context(), "home.show", home.RequestArg{Request: string(id)}, &c) == nil
	})
	return c
}

// Prepares waits until the owner's switches have made a request's clip ready for approval.
func (o *Owner) Prepares(within time.Duration, id consent.RequestID) {
	o.w.t.Helper()
	o.w.Until(within, o.Name+" to prepare a clip", func() bool {
		var c home.Card
		return o.commands.Call(o.w.t.Context(), "home.show", home.RequestArg{Request: string(id)}, &c) == nil && len(c.Drafts) == 1 && c.Drafts[0].Problem == ""
	})
}

// Agrees approves the camera for the whole window of a request; the clip goes over stewards.
func (o *Owner) Agrees(id consent.RequestID) { o.agrees(id, false) }

// AgreesStraight approves it, and the clip goes straight to the police.
func (o *Owner) AgreesStraight(id consent.RequestID) { o.agrees(id, true) }

func (o *Owner) agrees(id consent.RequestID, straight bool) {
	o.w.t.Helper()
	o.do("home.approve", home.Approve{Request: string(id), Cameras: []string{"door"}, FacesVisible: true, AddressShown: straight}, nil)
	o.w.tell(o.Name, "agrees to %.12s", id)
}

// Declines says no.
func (o *Owner) Declines(id consent.RequestID) {
	o.w.t.Helper()
	o.do("home.decline", home.RequestArg{Request: string(id)}, nil)
	o.w.tell(o.Name, "declines %.12s", id)
}

// sights says, a line for each person, what that person's node shows: an owner's inbox, the police's vault.
func (w *World) sights() (lines []string) {
	look := func(n *Node, command string, args any, found any, say func() []string) {
		line := "has no running node to look at"
		if n.peer != nil {
			line = "sees nothing"
			if err := n.commands.Call(w.t.Context(), command, args, found); err != nil {
				line = "cannot look: " + err.Error()
			} else if all := say(); len(all) > 0 {
				line = "sees " + strings.Join(all, ", ")
			}
		}
		lines = append(lines, fmt.Sprintf("   at last  %-10s %s", n.Name, line))
	}
	for _, o := range w.Homes {
		var cards []home.Card
		look(o.Node, "home.inbox", home.List{All: true}, &cards, func() (all []string) {
			for _, c := range cards {
				all = append(all, fmt.Sprintf("%.12s (%s)", c.Request, c.State))
			}
			return all
		})
	}
	if w.Police != nil {
		var held []agency.Held
		look(w.Police.Node, "agency.vault", struct{}{}, &held, func() (all []string) {
			for _, h := range held {
				all = append(all, fmt.Sprintf("a release for %.12s (%s)", h.Request, h.State))
			}
			return all
		})
	}
	return lines
}

// LosesPower ends a node without a farewell: its link is dead before it stops. PowerReturns starts it again.
func (n *Node) LosesPower() {
	n.w.tell(n.Name, "loses power")
	n.Link.Off()
	n.Stop()
}

// PowerReturns undoes LosesPower.
func (n *Node) PowerReturns() {
	n.w.t.Helper()
	n.w.tell(n.Name, "has power again")
	n.Link.On()
	n.Start()
}

// Splits parts the mesh: each group of nodes hears only itself; everybody else stays together.
func (w *World) Splits(groups ...[]*Node) {
	var sides [][]*wire.Link
	for _, g := range groups {
		var side []*wire.Link
		for _, n := range g {
			side = append(side, n.Link)
		}
		sides = append(sides, side)
	}
	w.tell("mesh", "splits into %d", len(groups)+1)
	w.Split(sides...)
}

// Heals undoes Splits.
func (w *World) Heals() {
	w.tell("mesh", "heals")
	w.Heal()
}

// Reach is how a request spread.
type Reach struct {
	Homes, Reached int
	Took           []time.Duration // of those reached, shortest first
}

// Quantile is the time within which that share of the reached homes had the request.
func (r Reach) Quantile(q float64) time.Duration {
	if len(r.Took) == 0 {
		return 0
	}
	return r.Took[min(int(math.Ceil(q*float64(len(r.Took))))-1, len(r.Took)-1)]
}

// Reach says which running homes show a request that was asked at a moment, and how long it took.
func (w *World) Reach(id consent.RequestID, at time.Time) (r Reach) {
	for _, h := range w.Homes {
		if h.peer == nil {
			continue
		}
		r.Homes++
		if !h.Knows(id) {
			continue
		}
		r.Reached++
		if d, ok := h.ArrivedAfter(at); ok {
			r.Took = append(r.Took, d)
		}
	}
	slices.Sort(r.Took)
	return r
}
