package simnet

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
	"github.com/porchlight-mesh/porchlight/consent/geo"
	"github.com/porchlight-mesh/porchlight/node"
	"github.com/porchlight-mesh/porchlight/node/agency"
	"github.com/porchlight-mesh/porchlight/node/home"
	"github.com/porchlight-mesh/porchlight/node/observer"
	"github.com/porchlight-mesh/porchlight/p2p/host"
	"github.com/porchlight-mesh/porchlight/simnet/wire"
)

// Config is a neighbourhood. The zero value of everything but Homes works.
type Config struct {
	wire.Conditions
	Homes     int
	Stewards  int             // 5 if 0; NoStewards for none
	Attackers []Attack        // homes choose among all stewards, these included
	NATShare  float64         // of homes
	Kinds     []wire.NATKind  // of the NATs of the first homes, who have one then
	Station   wire.LinkConfig // of the police; as Hub where it names no speed
	Over      int             // the steward, from 1, over whom the police are reached; 0 says that they are reached straight
	Link      wire.LinkConfig // of homes; its NAT is drawn by NATShare
	Hub       wire.LinkConfig // of stewards and police; wire.DefaultDown both ways where it names no speed
	Does      []string        // what the switches of the first homes do with every request, such as "prepare"; "" for no switch
	Known     int             // stewards that each home keeps; 4 if 0
	Witnesses int             // of the stewards, how many are witnesses: the first ones
	Quorum    int             // of witnesses
	Limits    charter.Limits  // of the charter; charter.DefaultLimits if zero
	Records   string          // folder for what nodes keep, the test's own if empty
	Quiet     bool            // nodes do not log into the story
}

// NoStewards is a neighbourhood in which nodes only know whom they are told of.
const NoStewards = -1

// World is a neighbourhood of whole nodes: an agency, stewards and homes, each with its folder, its docket copies and
// its network, in one synctest bubble. What people do in it is told in the order of virtual time, and printed when a
// story fails.
type World struct {
	*wire.Net
	Police    *Police
	Stewards  []*Node
	Homes     []*Owner
	Attackers []*Attacker

	others []*Node // who joined later

	hub  wire.LinkConfig
	hubs []string // addresses of stewards, and of attackers who are some

	signer    consent.Key // of the charter
	witnesses []consent.Key

	t     testing.TB
	cfg   Config
	dir   string
	shift atomic.Int64 // from virtual time to the clocks of this world, in nanoseconds
	chain charter.Chain

	mu    sync.Mutex
	told  []string
	began time.Time
}

// Opening is what clocks show when a world begins, and Corner is the place that its police ask about. The town is
// invented; its coordinates lie in the sea.
var (
	Opening = time.Date(2026, 11, 22, 20, 0, 0, 0, time.UTC)
	Corner  = geo.Point{Lat: 44, Lon: -40}
)

// New builds the neighbourhood and starts its nodes, stewards first. It returns before they are connected: see Settle.
// The test's cleanup stops everything; call New inside synctest.Test.
func New(t testing.TB, cfg Config) *World {
	t.Helper()
	switch cfg.Stewards {
	case 0:
		cfg.Stewards = 5
	case NoStewards:
		cfg.Stewards = 0
	}
	if cfg.Known == 0 {
		cfg.Known = 4
	}
	w := &World{Net: wire.New(cfg.Conditions), t: t, cfg: cfg, dir: cfg.Records, began: time.Now()}
	w.shift.Store(int64(Opening.Sub(w.began)))
	if cfg.Limits == (charter.Limits{}) {
		cfg.Limits = charter.DefaultLimits()
	}
	if w.dir == "" {
		w.dir = t.TempDir()
	}
	t.Cleanup(w.end)
	w.signer = w.key("Ana")
	police := w.founds("police", "Elmford Police")
	first := charter.Charter{Mesh: "Elm Street", Version: 1, Created: consent.At(w.Now()), Ends: consent.At(w.Now().AddDate(2, 0, 0)),
		Signers: []charter.Signer{{Name: "Ana", Key: w.signer.Verifier()}}, Threshold: 1, Agencies: []charter.Agency{police.agency}, Quorum: cfg.Quorum,
		Limits: cfg.Limits, Daily: charter.DefaultDaily(cfg.Limits),
		Quotas: charter.DefaultQuotas(), OffByDefault: charter.DefaultOff()}
	for i := range cfg.Witnesses {
		k := w.key(fmt.Sprintf("witness%d", i+1))
		w.witnesses = append(w.witnesses, k)
		first.Witnesses = append(first.Witnesses, charter.Witness{Name: fmt.Sprintf("Witness %d", i+1), Key: k.Verifier()})
	}
	note, err := consent.Sign(first, w.signer)
	w.must(err)
	w.chain, err = charter.Start(note)
	w.must(err)

	if w.hub = cfg.Hub; w.hub.Up == 0 {
		w.hub.Up = wire.DefaultDown
	}
	for i := range cfg.Stewards {
		n := w.node(fmt.Sprintf("steward%d", i+1), node.Steward, w.hub)
		if i < cfg.Witnesses {
			w.must(os.WriteFile(filepath.Join(n.dir, "keys", "witness.key"), []byte(w.witnesses[i].Encode()+"\n"), 0o600))
		}
		w.Stewards = append(w.Stewards, n)
	}
	w.hubs = w.addrs(w.Stewards)
	for _, does := range cfg.Attackers {
		if a := w.attacker(does); !does.Home {
			w.hubs = append(w.hubs, a.addr())
		}
	}
	// Every steward's address is known before the first one runs, so that each lists all others.
	for i, n := range w.Stewards {
		n.stewards = slices.Delete(slices.Clone(w.hubs), i, i+1)
		n.Start()
	}
	for i, a := range w.Attackers {
		lists := slices.DeleteFunc(slices.Clone(w.hubs), func(s string) bool { return s == a.addr() })
		if a.does.Home {
			lists = cfg.chosen(w.hubs, cfg.Homes+i)
		}
		a.starts(lists)
	}
	police.opens("police", w.hubs)
	w.Police = police
	for i := range cfg.Homes {
		link := cfg.Link
		link.NAT = wire.Share(cfg.Seed, drawNAT, uint64(i)) < cfg.NATShare
		if i < len(cfg.Kinds) {
			link.NAT, link.Kind = true, cfg.Kinds[i]
		}
		o := &Owner{Node: w.node(fmt.Sprintf("home%d", i+1), node.Home, link)}
		o.stewards = cfg.chosen(w.hubs, i)
		if i < len(cfg.Does) {
			o.does = cfg.Does[i]
		}
		w.Homes = append(w.Homes, o)
		o.Start()
	}
	return w
}

// keeps picks the stewards of a home; those behind the honest ones are attackers. Neighbouring picks of one rotation
// are different stewards.
func (c Config) keeps(home int) (stewards []int) {
	all := c.Stewards
	for _, a := range c.Attackers {
		if !a.Home {
			all++
		}
	}
	first := int(wire.Share(c.Seed, drawStewards, uint64(home)) * float64(all))
	for k := range min(c.Known, all) {
		stewards = append(stewards, (first+k*max(1, all/c.Known))%all)
	}
	return stewards
}

// chosen are the addresses of those.
func (c Config) chosen(hubs []string, home int) (addrs []string) {
	for _, s := range c.keeps(home) {
		addrs = append(addrs, hubs[s])
	}
	return addrs
}

// What worlds draw, beside what the network draws.
const (
	drawNAT uint64 = iota + 100
	drawStewards
)

func (w *World) key(name string) consent.Key {
	k, err := consent.GenerateKey(rand.Reader, name)
	w.must(err)
	return k
}

func (w *World) must(err error) {
	w.t.Helper()
	if err != nil {
		w.fail("%v", err)
	}
}

// fail ends the story and prints what was told.
func (w *World) fail(format string, args ...any) {
	w.t.Helper()
	w.t.Fatalf("%s\n\nWhat happened:\n%s", fmt.Sprintf(format, args...), w.story())
}

// story is what everybody did, and what each person sees in the end.
func (w *World) story() string {
	end := w.sights()
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(append(slices.Clone(w.told), end...), "\n")
}

// tell adds a line to the story.
func (w *World) tell(who, format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.told = append(w.told, fmt.Sprintf("%9.3f s  %-10s %s", time.Since(w.began).Seconds(), who, fmt.Sprintf(format, args...)))
}

// Now is what the clocks of this world show.
func (w *World) Now() time.Time { return time.Now().Add(time.Duration(w.shift.Load())) }

// Tomorrow sets everybody's clock a day on, as if all had been asleep, and lets so much time pass.
func (w *World) Tomorrow(then time.Duration) {
	w.shift.Add(int64(24 * time.Hour))
	w.Settle(then)
}

// Settle lets time pass.
func (w *World) Settle(d time.Duration) { time.Sleep(d) }

// Until waits for something to become true, in virtual time, and fails the story when it does not.
func (w *World) Until(within time.Duration, what string, done func() bool) {
	w.t.Helper()
	for end := time.Now().Add(within); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			w.fail("waited %v in vain for %s", within, what)
		}
	}
}

func (w *World) addrs(nodes []*Node) (out []string) {
	for _, n := range nodes {
		out = append(out, n.addr())
	}
	return out
}

func (w *World) end() {
	for _, h := range w.Homes {
		h.Stop()
	}
	if w.Police != nil {
		w.Police.Stop()
	}
	for _, n := range w.others {
		n.Stop()
	}
	for _, s := range w.Stewards {
		s.Stop()
	}
	for _, a := range w.Attackers {
		a.Stop()
	}
	w.Close()
}

// A Node is one whole node of the world.
type Node struct {
	Name string
	Link *wire.Link

	w        *World
	role     node.Role
	dir      string
	id       string // peer id
	stewards []string
	reply    []string // reply addresses of the police's config; empty: where the node listens
	does     string   // what a home's one switch does; "" for no switch

	peer     *node.Peer // nil while it does not run
	commands node.Commands
	stop     func()

	mu      sync.Mutex
	arrived []arrival // when requests came
}

// An arrival is a moment at which a node's dockets grew.
type arrival struct {
	at     time.Time
	copies int64 // gossip messages that had come since the node started
}

const port = 4001

// node makes a node's folder and link. It does not run yet.
func (w *World) node(name string, role node.Role, link wire.LinkConfig) *Node {
	n := &Node{Name: name, Link: w.Join(name, link), w: w, role: role, dir: filepath.Join(w.dir, name)}
	if _, err := node.RoleOf(n.dir); err != nil {
		w.must(node.Create(n.dir, role))
	}
	state, err := node.OpenState(n.dir)
	w.must(err)
	w.must(node.WriteCharter(state.Disk(), state.Path("charter"), w.chain))
	key, err := state.PeerKey()
	w.must(errors.Join(err, state.Close()))
	n.id, err = host.IDOf(key)
	w.must(err)
	return n
}

func (n *Node) listen() string { return fmt.Sprintf("/ip4/%s/udp/%d/quic-v1", n.Link.IP(), port) }
func (n *Node) addr() string   { return n.listen() + "/p2p/" + n.id }

// Start runs a node that does not run.
func (n *Node) Start() {
	w := n.w
	w.t.Helper()
	stewards, err := json.Marshal(append([]string{}, n.stewards...))
	w.must(err)
	reply, err := json.Marshal(append([]string{}, n.reply...))
	w.must(err)
	config := fmt.Sprintf("version = 1\nlisten = [%q]\nmdns = false\nstewards = %s\n[home]\nanswer_delay = \"0s\"\n[agency]\nreply = %s\n", n.listen(), stewards, reply)
	if n.does != "" {
		config += fmt.Sprintf("[[home.switch]]\ndo = %q\n", n.does)
	}
	w.must(os.WriteFile(filepath.Join(n.dir, "config.toml"), []byte(config), 0o600))
	opt := node.Options{Now: w.Now, Network: n.Link.Network()}
	if !w.cfg.Quiet {
		opt.Log = slog.New(slog.NewTextHandler(diary{n}, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	ctx, cancel := context.WithCancel(context.Background())
	var r interface {
		Run(context.Context) error
		Close() error
		Peer() *node.Peer
		Commands() node.Commands
	}
	switch n.role {
	case node.Home:
		r, err = home.Open(ctx, n.dir, opt)
	case node.Agency:
		r, err = agency.Open(ctx, n.dir, opt)
	default:
		r, err = observer.Open(ctx, n.dir, opt)
	}
	w.must(err)
	n.peer, n.commands = r.Peer(), r.Commands()
	peer, wake := n.peer, n.peer.Arrived
	n.peer.Arrived = func() {
		n.mu.Lock()
		n.arrived = append(n.arrived, arrival{time.Now(), peer.Copies()})
		n.mu.Unlock()
		if wake != nil {
			wake()
		}
	}
	ended := make(chan error, 1)
	go func() { ended <- errors.Join(r.Run(ctx), r.Close()) }()
	n.stop = func() {
		cancel()
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			w.t.Errorf("%s ended with: %v", n.Name, err)
		}
	}
	w.tell(n.Name, "starts")
}

// Stop ends a node as its person would. A node that does not run stays so.
func (n *Node) Stop() {
	if n.stop == nil {
		return
	}
	n.stop()
	n.stop, n.peer = nil, nil
	n.w.tell(n.Name, "stops")
}

// do runs a command that must succeed.
func (n *Node) do(name string, args, result any) {
	n.w.t.Helper()
	if err := n.commands.Call(n.w.t.Context(), name, args, result); err != nil {
		n.w.fail("%s: %s: %v", n.Name, name, err)
	}
}

// Knows says whether the node shows a request.
func (n *Node) Knows(id consent.RequestID) bool {
	if n.peer == nil {
		return false
	}
	_, err := n.peer.Request(string(id))
	return err == nil
}

// Peers is the number of connected peers.
func (n *Node) Peers() int {
	if n.peer == nil || n.peer.Host() == nil {
		return 0
	}
	return len(n.peer.Host().Peers())
}

// ArrivedAfter is how long after a moment the next request came; ok is false when none did.
func (n *Node) ArrivedAfter(at time.Time) (d time.Duration, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, a := range n.arrived {
		if !a.at.Before(at) {
			return a.at.Sub(at), true
		}
	}
	return 0, false
}
