package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"log/slog"
	mrand "math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/geo"
	"github.com/porchlight-mesh/porchlight/consent/request"
	"github.com/porchlight-mesh/porchlight/footage/clip/cliptest"
	"github.com/porchlight-mesh/porchlight/node"
	"github.com/porchlight-mesh/porchlight/node/agency"
	"github.com/porchlight-mesh/porchlight/node/home"
	"github.com/porchlight-mesh/porchlight/p2p/host"
	"github.com/porchlight-mesh/porchlight/simnet/ranks"
)

// A home that indexes, matches and prepares answers its stewards as fast after a request that it has footage of as after one that asks
// about another place. A steward measures: how long a message takes there and back, again and again from each request on, and when the home
// first says something of the request by gossip; both less the same of a home that has nothing, in the same moment. Homes are processes
// of one processor, so that what works in a home holds up what answers there as much as it can. Nothing here depends on how fast the
// machine is, only on which of two is faster, and how often. Which request is about which place is drawn, so what is found is found by
// chance in one run of a thousand.
//
// While requests were matched as they came and drafts made at once, the mean told the two apart with an AUC of 0.83 to 0.88, and this test
// failed. At night it shows that it still sees work which is done in the very moment.
func TestPromise03TimingUnderLoad(t *testing.T) {
	slow(t)
	t.Setenv("GOMAXPROCS", "1")
	m := newMeter(t)
	const windows = 60
	m.windows(windows, func(n int, works bool) {
		m.write("footage/"+m.first.Add(-time.Duration(n+2)*time.Minute).Format("2006-01-02T15-04-05Z")+".mp4", m.minute)
		if at := (geo.Point{Lat: 44, Lon: -40}); works {
			m.asks(n, at)
		} else {
			m.asks(n, geo.Point{Lat: at.Lat + 0.02, Lon: at.Lon + 0.02})
		}
	})
	var matched []home.Card
	m.call("ana", "home.inbox", home.List{All: true}, &matched)
	t.Logf("%d requests are in the inbox", len(matched))
	for _, r := range m.compare() {
		if r.corrected < 0.001 {
			t.Errorf("whether a request is of footage that the home has is told by %s: AUC %.3f, corrected p %.2g", r.what, r.auc, r.corrected)
		}
	}
	if os.Getenv("PORCHLIGHT_NIGHTLY") == "" {
		return
	}
	m.windows(windows, func(n int, works bool) {
		if works {
			look := home.Preview{Request: m.request, Camera: "front-door", Out: filepath.Join(m.dir, fmt.Sprint("look", n, ".mp4"))}
			go node.Dial(filepath.Join(m.dir, "ana")).Call(t.Context(), "home.preview", look, nil)
		}
	})
	least := 1.0
	for _, r := range m.compare() {
		least = min(least, r.corrected)
	}
	if least >= 0.01 {
		t.Error("a home that makes a clip in the very moment is not told from one that does not: this test sees too little")
	}
}

// A meter is a village with two homes, and a steward in the test's own process that both list. Ana's home has footage, a recorder that goes
// on and a switch that prepares what is asked for; ben's has nothing.
type meter struct {
	*village
	host                *host.Host
	homes               map[string]peer.ID
	officer, supervisor consent.Key
	minute              []byte                        // what the recorder writes
	samples             map[string]map[bool][]float64 // seconds by which ana's home is behind ben's, by what was measured and whether it worked

	mu    sync.Mutex
	heard map[string]time.Time // first gossip of each home since the window began
}

func newMeter(t *testing.T) *meter {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	h, err := host.New(host.Config{Key: key, Listen: []string{"/ip4/127.0.0.1/tcp/0"}, Role: host.Steward, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- h.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended; h.Close() })

	m := &meter{host: h, homes: map[string]peer.ID{}, samples: map[string]map[bool][]float64{}, heard: map[string]time.Time{}}
	var ben *process
	m.village = build(t, plan{hours: 2, ready: func(v *village) {
		link := v.eventually(time.Minute, "charter", "invite", "--dir", "charter", "--node", "steward").find(`(porchlight://\S+)`)
		v.run("join", link, "--dir", "ben", "--listen", "/ip4/127.0.0.1/tcp/0", "--yes")
		v.configure("ben")
		for _, name := range []string{"ana", "ben"} {
			v.set(name, "stewards = [", fmt.Sprintf("stewards = [%q, ", h.Addrs()[0]))
		}
		ben = &process{v: v, role: "home", folder: "ben"}
		ben.start()
	}})
	// From here on both are as homes are by default, and ana's prepares.
	m.home.kill()
	ben.kill()
	for _, name := range []string{"ana", "ben"} {
		m.set(name, `poll = "1s"`, `poll = "10s"`, `answer_delay = "0s"`, `answer_delay = "5m"`)
	}
	m.write("ana/config.toml", append(m.read("ana/config.toml"), "\n[[home.switch]]\ndo = \"prepare\"\n"...))
	m.home.start()
	ben.start()

	var s node.Status
	m.call("ben", "status", struct{}{}, &s)
	m.joins(ctx, "porchlight/"+string(s.MeshID))
	for _, name := range []string{"ana", "ben"} {
		m.call(name, "status", struct{}{}, &s)
		id, err := peer.Decode(s.Addrs[0][len(s.Addrs[0])-52:])
		if err != nil {
			t.Fatal(err)
		}
		m.homes[name] = id
		for end := time.Now().Add(30 * time.Second); h.Libp2p().Network().Connectedness(id) != network.Connected; time.Sleep(50 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s does not connect to the steward that measures", name)
			}
		}
	}
	for name, k := range map[string]*consent.Key{"ruiz.key": &m.officer, "stone.key": &m.supervisor} {
		if *k, err = node.ParseKeyFile(name, m.read(name)); err != nil {
			t.Fatal(err)
		}
	}
	if m.minute, err = os.ReadFile(cliptest.Recording(t, t.TempDir(), "minute.mp4", 60)); err != nil {
		t.Fatal(err)
	}
	return m
}

// joins has the meter listen to gossip, as a steward of its own making.
func (m *meter) joins(ctx context.Context, topic string) {
	ps, err := pubsub.NewGossipSub(ctx, m.host.Libp2p(),
		pubsub.WithGossipSubProtocols([]protocol.ID{"/porchlight/gossip/1"}, func(f pubsub.GossipSubFeature, _ protocol.ID) bool {
			return f == pubsub.GossipSubFeatureMesh || f == pubsub.GossipSubFeatureIdontwant
		}),
		pubsub.WithMessageSignaturePolicy(pubsub.StrictNoSign),
		pubsub.WithMessageIdFn(func(m *pb.Message) string {
			sum := sha256.Sum256(m.Data)
			return string(sum[:])
		}),
		pubsub.WithEventTracer(m),
	)
	if err != nil {
		m.t.Fatal(err)
	}
	joined, err := ps.Join(topic)
	if err != nil {
		m.t.Fatal(err)
	}
	if _, err := joined.Relay(); err != nil {
		m.t.Fatal(err)
	}
}

// Trace notes when a home first names a message.
func (m *meter) Trace(e *pb.TraceEvent) {
	r := e.GetRecvRPC()
	if r == nil || len(r.GetMeta().GetMessages()) == 0 && len(r.GetMeta().GetControl().GetIdontwant()) == 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for name, id := range m.homes {
		if _, known := m.heard[name]; id == peer.ID(r.GetReceivedFrom()) && !known {
			m.heard[name] = time.Now()
		}
	}
}

func (m *meter) call(folder, name string, args, result any) {
	m.t.Helper()
	for end := time.Now().Add(60 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		err := node.Dial(filepath.Join(m.dir, folder)).Call(m.t.Context(), name, args, result)
		if err == nil {
			return
		}
		if time.Now().After(end) {
			m.t.Fatalf("%s: %s: %v", folder, name, err)
		}
	}
}

// asks has the police ask for two hours, of another offence each time, since what is alike counts as one case.
func (m *meter) asks(n int, about geo.Point) {
	m.t.Helper()
	offences := slices.DeleteFunc(request.Offences(), func(o request.Offence) bool { return o == "220" })
	ring := geo.Circle(about, 250, 16)
	area, err := json.Marshal(map[string]any{"type": "Polygon", "coordinates": [][]geo.Point{append(ring, ring[0])}})
	if err != nil {
		m.t.Fatal(err)
	}
	from := m.first.Add(time.Duration(n) * time.Second)
	var drafted agency.Drafted
	m.call("agency", "agency.draft", agency.Draft{Case: fmt.Sprintf("T-%04d", n), Offence: string(offences[n%len(offences)]), Basis: "reasonable-suspicion",
		IncidentAt: from.Add(time.Minute), IncidentLat: about.Lat, IncidentLon: about.Lon, Area: area, From: from, Until: from.Add(2 * time.Hour),
		Text: "The corner shop was broken into. We look for a person with a red jacket.", Contact: "Det. Ruiz, front desk",
		RetentionDays: 30, Officer: m.officer.Verifier(), Supervisor: m.supervisor.Verifier()}, &drafted)
	note := []byte(drafted.Text)
	for _, k := range []consent.Key{m.officer, m.supervisor} {
		if note, err = consent.AddSignature(note, k); err != nil {
			m.t.Fatal(err)
		}
	}
	m.call("agency", "agency.publish", agency.Entry{Note: string(note)}, nil)
}

// windows measures again and again, each time from some event on, in half of which, as drawn, ana's home works.
func (m *meter) windows(n int, event func(n int, works bool)) {
	m.t.Helper()
	clear(m.samples)
	drawn := mrand.Perm(n)
	for i := range n {
		works := drawn[i]%2 == 0
		m.mu.Lock()
		clear(m.heard)
		m.mu.Unlock()
		event(i, works)
		times := map[string][]float64{}
		for began, k := time.Now(), 0; time.Since(began) < 350*time.Millisecond; k++ {
			order := []string{"ana", "ben"}
			if k%2 == 0 {
				slices.Reverse(order)
			}
			for _, who := range order {
				times[who] = append(times[who], m.ping(who))
			}
			time.Sleep(time.Millisecond)
		}
		m.mu.Lock()
		a, b := m.heard["ana"], m.heard["ben"]
		m.mu.Unlock()
		if !a.IsZero() && !b.IsZero() {
			m.sample("gossip", works, a.Sub(b).Seconds())
		}
		for what, of := range map[string]func(all []float64) float64{
			"the first message": func(all []float64) float64 { return all[0] },
			"the mean": func(all []float64) (sum float64) {
				for _, x := range all {
					sum += x
				}
				return sum / float64(len(all))
			},
			"the median":        func(all []float64) float64 { return slices.Sorted(slices.Values(all))[len(all)/2] },
			"the slowest tenth": func(all []float64) float64 { return slices.Sorted(slices.Values(all))[len(all)*9/10] },
			"the slowest":       slices.Max[[]float64],
		} {
			m.sample(what, works, of(times["ana"])-of(times["ben"]))
		}
	}
}

func (m *meter) sample(what string, works bool, seconds float64) {
	if m.samples[what] == nil {
		m.samples[what] = map[bool][]float64{}
	}
	m.samples[what][works] = append(m.samples[what][works], seconds)
}

// ping asks a home for a protocol that nobody speaks, and says after how many seconds it said so.
func (m *meter) ping(who string) float64 {
	m.t.Helper()
	began := time.Now()
	st, err := m.host.Libp2p().NewStream(network.WithNoDial(m.t.Context(), "ping"), m.homes[who], "/porchlight/nothing/1")
	if err == nil {
		st.Reset()
		m.t.Fatalf("%s speaks it", who)
	}
	if m.host.Libp2p().Network().Connectedness(m.homes[who]) != network.Connected {
		m.t.Fatalf("%s is gone: %v", who, err)
	}
	return time.Since(began).Seconds()
}

// A rank is how well one thing that is measured tells the windows in which the home works from the others.
type rank struct {
	what              string
	auc, p, corrected float64
}

func (m *meter) compare() (all []rank) {
	m.t.Helper()
	var p []float64
	for what, by := range m.samples {
		r := rank{what: what}
		r.auc, r.p = ranks.Compare(by[true], by[false])
		all, p = append(all, r), append(p, r.p)
		middle := func(works bool) float64 { s := slices.Sorted(slices.Values(by[works])); return s[len(s)/2] * 1000 }
		m.t.Logf("%-18s AUC %.3f, p %.2g, %d windows and %d; behind the idle home by %.2f ms, and by %.2f ms", what, r.auc, r.p,
			len(by[true]), len(by[false]), middle(true), middle(false))
	}
	for i, c := range ranks.Holm(p) {
		all[i].corrected = c
	}
	return all
}
