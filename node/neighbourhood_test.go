package node_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
	"github.com/porchlight-mesh/porchlight/consent/docket"
	"github.com/porchlight-mesh/porchlight/consent/geo"
	"github.com/porchlight-mesh/porchlight/consent/grant"
	"github.com/porchlight-mesh/porchlight/footage/clip/cliptest"
	"github.com/porchlight-mesh/porchlight/footage/durable"
	"github.com/porchlight-mesh/porchlight/node"
	"github.com/porchlight-mesh/porchlight/node/agency"
	"github.com/porchlight-mesh/porchlight/node/home"
	"github.com/porchlight-mesh/porchlight/node/observer"
)

// A neighbourhood is a charter with one agency, on real hosts on loopback. Tests tell stories
// with it: police ask, an owner agrees, another says nothing.
type neighbourhood struct {
	t      *testing.T
	dir    string
	signer consent.Key
	chain  charter.Chain

	officer, supervisor consent.Key

	steward  *running
	more     []string            // addresses of further stewards, for nodes that are started from now on
	watchers map[string]*running // observers that are witnesses
	police   *running            // the agency that the methods below mean
	homes    map[string]*running
	now      *clock
}

// running is a node that runs until stopped.
type running struct {
	t    *testing.T
	dir  string
	call node.Caller
	stop func()
}

// clock is the machine's clock, shifted by what a test adds.
type clock struct {
	mu    sync.Mutex
	shift time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.shift)
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shift += d
}

var (
	// The town is invented; its coordinates lie in the sea.
	corner = geo.Point{Lat: 44, Lon: -40}
	recAt  = time.Date(2026, 11, 22, 19, 3, 0, 0, time.UTC)
)

func town() geo.Polygon { return geo.Circle(corner, 5000, 32) }

// newNeighbourhood makes one without witnesses; or one whose steward and these observers are witnesses, and all have to cosign.
func newNeighbourhood(t *testing.T, watchers ...string) *neighbourhood {
	t.Helper()
	return newNeighbourhoodWith(t, nil, watchers...)
}

// newNeighbourhoodWith makes one whose charter admits further agencies; the folder of each is made, named by its class.
func newNeighbourhoodWith(t *testing.T, more []charter.AgencyClass, watchers ...string) *neighbourhood {
	t.Helper()
	t.Parallel()
	n := &neighbourhood{t: t, dir: t.TempDir(), watchers: map[string]*running{}, homes: map[string]*running{}, now: &clock{}}
	n.signer, n.officer, n.supervisor = newKey(t, "Ana"), newKey(t, "Det.Ruiz"), newKey(t, "Sgt.Stone")
	card, err := agency.Init(filepath.Join(n.dir, "police"), agency.InitArgs{Name: "Elmford Police", Class: charter.LocalPolice,
		Supervisors: []consent.VerifierKey{n.supervisor.Verifier()}, Jurisdiction: town(), PolicyURL: "https://example.org/policy"})
	ok(t, err)
	now := time.Now()
	c := charter.Charter{Mesh: "Elm Street", Version: 1, Created: consent.At(now), Ends: consent.At(now.AddDate(2, 0, 0)),
		Signers: []charter.Signer{{Name: "Ana", Key: n.signer.Verifier()}}, Threshold: 1, Agencies: []charter.Agency{charter.Agency(card)},
		Limits: charter.DefaultLimits(), Daily: charter.DefaultDaily(charter.DefaultLimits()),
		Quotas: charter.DefaultQuotas(), OffByDefault: charter.DefaultOff(), LANOnly: true}
	for _, class := range more {
		card, err := agency.Init(filepath.Join(n.dir, string(class)), agency.InitArgs{Name: "The " + string(class), Class: class,
			Supervisors: []consent.VerifierKey{n.supervisor.Verifier()}, Jurisdiction: town(), PolicyURL: "https://example.org/policy"})
		ok(t, err)
		c.Agencies = append(c.Agencies, charter.Agency(card))
	}
	if len(watchers) > 0 {
		c.Witnesses = append(c.Witnesses, n.witness("steward", node.Steward))
	}
	for _, name := range watchers {
		c.Witnesses = append(c.Witnesses, n.witness(name, node.Observe))
	}
	c.Quorum = len(c.Witnesses)
	note, err := consent.Sign(c, n.signer)
	ok(t, err)
	n.chain, err = charter.Start(note)
	ok(t, err)
	n.steward = n.start("steward", node.Steward)
	for _, name := range watchers {
		n.watchers[name] = n.start(name, node.Observe)
	}
	n.police = n.start("police", node.Agency)
	n.publish(n.officerEntry())
	n.police.wait("all witnesses", func() bool {
		var entries []agency.DocketEntry
		n.police.do("agency.docket", struct{}{}, &entries)
		return len(entries) > 0 && !entries[len(entries)-1].Waits
	})
	return n
}

// witness makes the folder of a witness.
func (n *neighbourhood) witness(name string, role node.Role) charter.Witness {
	n.t.Helper()
	dir := filepath.Join(n.dir, name)
	ok(n.t, node.Create(dir, role))
	k, err := node.MakeWitness(dir, name)
	ok(n.t, err)
	return charter.Witness{Name: name, Key: k}
}

// believed makes an agency's stopped node trust the clock, as it does after it ran for a day.
func (n *neighbourhood) believed(dir string) {
	n.t.Helper()
	now := n.now.now()
	ok(n.t, node.WriteJSON(durable.Disk{}, filepath.Join(dir, "clock"), map[string]any{"time": now, "local": now}))
}

func newKey(t *testing.T, name string) consent.Key {
	t.Helper()
	k, err := consent.GenerateKey(rand.Reader, name)
	ok(t, err)
	return k
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// start makes the folder if it is not there, gives it the charter and the steward, and runs the node.
func (n *neighbourhood) start(name string, role node.Role) *running {
	n.t.Helper()
	dir := filepath.Join(n.dir, name)
	if _, err := node.RoleOf(dir); err != nil {
		ok(n.t, node.Create(dir, role))
	}
	ok(n.t, node.WriteCharter(durable.Disk{}, filepath.Join(dir, "charter"), n.chain))
	config := `version = 1
listen = ["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"]
mdns = false
catch_up = "2s"
[home]
poll = "1s"
answer_delay = "0s"
`
	if n.steward != nil {
		var s node.Status
		n.steward.do("status", struct{}{}, &s)
		addrs := append(s.Addrs, n.more...)
		if role == node.Agency {
			for _, w := range n.watchers {
				addrs = append(addrs, w.addrs()...)
			}
		}
		config = strings.Replace(config, "mdns", "stewards = "+string(node.RawJSON(addrs))+"\nmdns", 1)
	}
	ok(n.t, os.WriteFile(filepath.Join(dir, "config.toml"), []byte(config), 0o600))
	r := n.run(dir, role)
	if n.steward != nil {
		r.wait("a peer", func() bool {
			var s node.Status
			r.do("status", struct{}{}, &s)
			return len(s.Peers) > 0
		})
	}
	return r
}

func (r *running) addrs() []string {
	r.t.Helper()
	var s node.Status
	r.do("status", struct{}{}, &s)
	return s.Addrs
}

// listenAt lets a stopped node listen where it listened before.
func (n *neighbourhood) listenAt(dir string, addrs []string) {
	n.t.Helper()
	config := filepath.Join(dir, "config.toml")
	b, err := os.ReadFile(config)
	ok(n.t, err)
	var listen []string
	for _, a := range addrs {
		listen = append(listen, a[:strings.Index(a, "/p2p/")])
	}
	lines := strings.Split(string(b), "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, "listen = ") {
			lines[i] = "listen = " + string(node.RawJSON(listen))
		}
	}
	ok(n.t, os.WriteFile(config, []byte(strings.Join(lines, "\n")), 0o600))
}

type runner interface {
	Run(context.Context) error
	Close() error
}

// run runs the node of a folder until the test ends or stop is called.
func (n *neighbourhood) run(dir string, role node.Role) *running {
	n.t.Helper()
	log := slog.New(slog.NewTextHandler(testLog{n.t, filepath.Base(dir)}, nil))
	opt := node.Options{Now: n.now.now, Log: log}
	var r runner
	var err error
	ctx, cancel := context.WithCancel(context.Background())
	switch role {
	case node.Home:
		r, err = home.Open(ctx, dir, opt)
	case node.Agency:
		r, err = agency.Open(ctx, dir, opt)
	default:
		r, err = observer.Open(ctx, dir, opt)
	}
	ok(n.t, err)
	ended := make(chan error, 1)
	go func() { ended <- errors.Join(r.Run(ctx), r.Close()) }()
	stop := sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil && !errors.Is(err, context.Canceled) {
				n.t.Errorf("%s ended with: %v", filepath.Base(dir), err)
			}
		case <-time.After(20 * time.Second):
			n.t.Errorf("%s did not end", filepath.Base(dir))
		}
	})
	n.t.Cleanup(stop)
	run := &running{t: n.t, dir: dir, call: node.Dial(dir), stop: stop}
	run.wait("the control socket", func() bool { return run.call.Call(ctx, "status", struct{}{}, nil) == nil })
	return run
}

type testLog struct {
	t    *testing.T
	name string
}

func (l testLog) Write(b []byte) (int, error) {
	if testing.Verbose() {
		fmt.Fprintf(os.Stderr, "%s %s: %s", l.t.Name(), l.name, b)
	}
	return len(b), nil
}

// do runs a command that must succeed.
func (r *running) do(name string, args, result any) {
	r.t.Helper()
	if err := r.call.Call(r.t.Context(), name, args, result); err != nil {
		r.t.Fatalf("%s: %s: %v", filepath.Base(r.dir), name, err)
	}
}

// fails runs a command that must fail with that text in its error.
func (r *running) fails(name string, args any, want string) {
	r.t.Helper()
	if err := r.call.Call(r.t.Context(), name, args, nil); err == nil || !strings.Contains(err.Error(), want) {
		r.t.Fatalf("%s: %s = %v, want an error with %q", filepath.Base(r.dir), name, err, want)
	}
}

func (r *running) wait(what string, done func() bool) {
	r.t.Helper()
	for end := time.Now().Add(60 * time.Second); !done(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			r.t.Fatalf("%s: waited in vain for %s", filepath.Base(r.dir), what)
		}
	}
}

// home makes a home with one offered camera that looks at the corner and has a minute of footage.
func (n *neighbourhood) home(name string, at geo.Point, minutesLater int) *running {
	n.t.Helper()
	dir := filepath.Join(n.dir, name)
	ok(n.t, node.Create(dir, node.Home))
	folder := filepath.Join(n.dir, "recordings-"+name, "door")
	for i := range 3 {
		start := recAt.Add(time.Duration(minutesLater)*time.Minute + time.Duration(i)*20*time.Second)
		cliptest.Recording(n.t, folder, start.Format("2006-01-02/15.04.05")+".mp4", 20)
	}
	r := n.start(name, node.Home)
	n.homes[name] = r
	r.do("home.cameras.add", home.CamerasAdd{Name: "door", Folder: folder, Lat: at.Lat, Lon: at.Lon, Facing: 180, Angle: 120, Range: 50}, nil)
	r.do("home.cameras.offer", home.CameraName{Name: "door"}, nil)
	return r
}

func (n *neighbourhood) officerEntry() []byte {
	note, err := consent.Sign(docket.Officer{Action: docket.Enrol, Role: docket.RoleOfficer, Name: "Det. Ruiz", Key: n.officer.Verifier(),
		Expires: consent.At(time.Now().AddDate(1, 0, 0)), By: n.supervisor.Verifier(), Created: consent.At(time.Now())}, n.supervisor)
	ok(n.t, err)
	return note
}

func (n *neighbourhood) publish(note []byte) (p agency.Published) {
	n.t.Helper()
	n.police.do("agency.publish", agency.Entry{Note: string(note)}, &p)
	return p
}

// act is what the officer signs to do something with a release.
func (n *neighbourhood) act(kind grant.ActKind, release, reason string) agency.Act {
	n.t.Helper()
	var found agency.Found
	n.police.do("agency.find", agency.FindArgs{Release: release}, &found)
	note, err := found.Sign(kind, reason, n.now.now(), n.officer)
	ok(n.t, err)
	return agency.Act{Note: string(note)}
}

// export is what the officer signs to have a clip written to a file.
func (n *neighbourhood) export(release, out, reason string) agency.Act {
	n.t.Helper()
	a := n.act(grant.ActExport, release, reason)
	a.Out = out
	return a
}

// draft is a request for a quarter of an hour around the corner.
func (n *neighbourhood) draft() agency.Draft {
	area, _ := json.Marshal(map[string]any{"type": "Polygon", "coordinates": [][]geo.Point{append(geo.Circle(corner, 250, 16), geo.Circle(corner, 250, 16)[0])}})
	return agency.Draft{Case: "EP-2026-1187", Offence: "220", Basis: "reasonable-suspicion", IncidentAt: recAt.Add(30 * time.Second),
		IncidentLat: corner.Lat, IncidentLon: corner.Lon, Area: area, From: recAt.Add(-8 * time.Minute), Until: recAt.Add(7 * time.Minute),
		Text: "The corner shop was broken into at about 19:03. We look for a person with a red jacket.", Contact: "Det. Ruiz, front desk",
		RetentionDays: 90, Officer: n.officer.Verifier(), Supervisor: n.supervisor.Verifier()}
}

// policeAsk publishes a request and returns its id.
func (n *neighbourhood) policeAsk(d agency.Draft) string {
	n.t.Helper()
	return string(n.publish(n.signed(d)).Request)
}

// signed is a request that officer and supervisor signed.
func (n *neighbourhood) signed(d agency.Draft) []byte {
	n.t.Helper()
	var drafted agency.Drafted
	n.police.do("agency.draft", d, &drafted)
	note := []byte(drafted.Text)
	for _, k := range []consent.Key{n.officer, n.supervisor} {
		var err error
		note, err = consent.AddSignature(note, k)
		ok(n.t, err)
	}
	return note
}

// shown waits until the request is in a home's inbox.
func (r *running) shown(id string) (c home.Card) {
	r.t.Helper()
	r.wait("the request in the inbox", func() bool {
		return r.call.Call(r.t.Context(), "home.show", home.RequestArg{Request: id}, &c) == nil
	})
	return c
}

// knows waits until the node has admitted the request.
func (r *running) knows(id string) {
	r.t.Helper()
	r.wait("the request", func() bool {
		return r.call.Call(r.t.Context(), "request", node.RequestArg{Request: id}, nil) == nil
	})
}

func (r *running) agrees(id string) (a home.AnswerStatus) {
	r.t.Helper()
	r.do("home.approve", home.Approve{Request: id, Cameras: []string{"door"}, From: recAt.Add(5 * time.Second), Until: recAt.Add(45 * time.Second),
		FacesVisible: true, AddressShown: true}, &a)
	return a
}

// vault waits until the agency's vault has that many releases in that state.
func (n *neighbourhood) vault(count int, state string) (held []agency.Held) {
	n.t.Helper()
	n.police.wait(fmt.Sprintf("%d releases that are %s", count, state), func() bool {
		n.police.do("agency.vault", struct{}{}, &held)
		good := 0
		for _, h := range held {
			if h.State == state {
				good++
			}
		}
		return good == count
	})
	return held
}

func resolveBody(id consent.RequestID, by consent.Key) docket.Resolve {
	return docket.Resolve{Request: id, Reason: "the case is closed", Created: consent.At(time.Now()), Officer: by.Verifier()}
}
