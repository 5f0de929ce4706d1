package demo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/porchlight-mesh/porchlight/cmd/porchlight/internal/demo/recordings"
	"github.com/porchlight-mesh/porchlight/node"
	"github.com/porchlight-mesh/porchlight/node/agency"
	"github.com/porchlight-mesh/porchlight/node/home"
)

// A person of the story and their home.
type neighbour struct {
	name, dir, camera, scene string
	at                       string // LAT,LON
	facing                   string
	recorded                 bool
	does                     string
}

// The street runs west to east; the shop that was broken into is at its middle. The town is
// invented, its coordinates lie in the sea.
var neighbours = []neighbour{
	{"Ana", "ana", "front-door", "front-door", "44.0003,-40.0004", "180", true, "agrees"},
	{"Ben", "ben", "driveway", "driveway", "43.9997,-40.0010", "0", true, "declines"},
	{"Chloe", "chloe", "side-street", "side-street", "44.0004,-39.9992", "200", true, "ignores it"},
	{"Dev", "dev", "garden", "garden", "43.9996,-39.9996", "10", false, "has no recording of that time"},
	{"Edith", "edith", "front-door", "front-door", "44.0300,-40.0300", "90", true, "lives outside the area"},
}

const (
	windowFrom  = "2026-11-22T18:55:00Z"
	windowUntil = "2026-11-22T19:10:00Z"
	askFrom     = "2026-11-22T19:03:05Z"
	askUntil    = "2026-11-22T19:03:45Z"
)

const jurisdiction = `{"type":"Polygon","coordinates":[[[-40.05,43.97],[-39.95,43.97],[-39.95,44.05],[-40.05,44.05],[-40.05,43.97]]]}`

func (s *story) tell(ctx context.Context) error {
	s.say(Step{Step: "start", Text: "Porchlight demo: one street, one agency, ten weeks by a calendar of its own. Real nodes on this machine's loopback, in " + s.Dir})
	if err := s.found(ctx); err != nil {
		return err
	}
	if err := s.settle(ctx); err != nil {
		return err
	}
	id, err := s.ask(ctx)
	if err != nil {
		return err
	}
	if err := s.decide(ctx, id); err != nil {
		return err
	}
	if err := s.arrive(ctx, id); err != nil {
		return err
	}
	return s.pass(ctx)
}

// found makes the charter, its witnesses and the agency, lets the charter admit the agency, and runs the steward.
func (s *story) found(ctx context.Context) error {
	if err := os.WriteFile(s.path("town.geojson"), []byte(jurisdiction), 0o644); err != nil {
		return err
	}
	for _, who := range []string{"signer", "officer", "supervisor"} {
		if err := s.do(ctx, nil, "key", "new", "--no-passphrase", "--name", map[string]string{"signer": "Ana.Silva", "officer": "Det.Ruiz", "supervisor": "Sgt.Stone"}[who], "--out", who+".key"); err != nil {
			return err
		}
	}
	if err := s.do(ctx, nil, "charter", "new", "--dir", "charter", "--mesh", "Elm Street", "--signer", "signer.key", "--lan-only"); err != nil {
		return err
	}
	s.say(Step{Step: "charter", Text: "Ana founds the mesh: its charter says how much any agency may ask, and who may ask at all. So far nobody.",
		Command: line("charter", "new", "--dir", "charter", "--mesh", "Elm Street", "--signer", "signer.key", "--lan-only")})
	if err := s.do(ctx, nil, "agency", "init", "--dir", "agency", "--name", "Elmford Police", "--class", "local-police", "--supervisor", "supervisor.pub",
		"--jurisdiction", "town.geojson", "--policy-url", "https://example.org/elmford-police/video-policy", "--listen", "/ip4/127.0.0.1/tcp/0"); err != nil {
		return err
	}
	if err := s.do(ctx, nil, "charter", "admit", "--dir", "charter", "--key", "signer.key", "--yes", "agency/agency.card"); err != nil {
		return err
	}
	s.say(Step{Step: "admit", Text: "Elmford Police hand Ana their card. She compares its fingerprint with the chief in person, then admits them.",
		Command: line("charter", "admit", "--dir", "charter", "--key", "signer.key", "agency/agency.card")})
	if err := s.do(ctx, nil, "steward", "init", "--dir", "steward", "--charter", "charter", "--listen", "/ip4/127.0.0.1/tcp/0", "--listen", "/ip4/127.0.0.1/udp/0/quic-v1"); err != nil {
		return err
	}
	if err := s.witnesses(ctx); err != nil {
		return err
	}
	if err := s.tune("steward"); err != nil {
		return err
	}
	if err := s.run("steward", "steward"); err != nil {
		return err
	}
	return s.second(ctx)
}

// second runs another steward, which somebody else runs in earnest: answers go over two.
func (s *story) second(ctx context.Context) error {
	link, err := s.invitation(ctx, "steward")
	if err != nil {
		return err
	}
	if err := s.do(ctx, nil, "join", link, "--dir", "steward2", "--role", "steward", "--yes"); err != nil {
		return err
	}
	if err := errors.Join(s.setListen("steward2"), s.tune("steward2")); err != nil {
		return err
	}
	return s.run("steward", "steward2")
}

// invitation is a link with the addresses of running stewards.
func (s *story) invitation(ctx context.Context, stewards ...string) (string, error) {
	args := []string{"charter", "invite", "--dir", "charter"}
	for _, n := range stewards {
		args = append(args, "--node", n)
	}
	var r struct {
		Link string `json:"link"`
	}
	err := s.until(ctx, "the stewards", func() (bool, error) {
		err := s.do(ctx, &r, args...)
		return err == nil, err
	})
	return r.Link, err
}

// witnesses lets the charter name the steward and the observer, who both have to cosign before anybody is shown a request.
func (s *story) witnesses(ctx context.Context) error {
	propose := []string{"charter", "propose", "--dir", "charter", "--key", "signer.key", "--add-witness", "steward.pub", "--add-witness", "observer.pub", "--quorum", "2"}
	for _, args := range [][]string{
		{"steward", "witness", "--dir", "steward", "--name", "Elm.Steward", "--out", "steward.pub"},
		{"observe", "init", "--dir", "observer"},
		{"observe", "witness", "--dir", "observer", "--name", "Elm.Herald", "--out", "observer.pub"},
		propose,
		{"charter", "publish", "--dir", "charter", "--node", "steward"},
	} {
		if err := s.do(ctx, nil, args...); err != nil {
			return err
		}
	}
	s.say(Step{Step: "witnesses", Text: "She names two witnesses, the steward and the Elm Herald, an observer. Both have to confirm what the agency signs of its docket, so that all homes are shown the same one.",
		Command: line(propose...)})
	return nil
}

// tune adapts a node's settings to a story that lasts a minute.
func (s *story) tune(name string) error {
	path := s.path(name, "config.toml")
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	text := strings.NewReplacer("mdns = true", "mdns = false", `poll = "10s"`, `poll = "1s"`,
		`answer_delay = "5m"`, `answer_delay = "2s"`).Replace(string(b))
	return os.WriteFile(path, []byte(text), 0o600)
}

// settle lets everybody join and start, and the owners offer their cameras.
func (s *story) settle(ctx context.Context) error {
	link, err := s.invitation(ctx, "steward", "steward2")
	if err != nil {
		return err
	}
	s.say(Step{Step: "invite", Text: "Two stewards run; Ana sends the neighbours an invitation link. Each node fetches the charter, checks it, and shows it before joining.",
		Command: line("join", link[:min(len(link), 60)]+"…", "--dir", "ana")})
	join := func(name, role string) error {
		if err := s.do(ctx, nil, "join", link, "--dir", name, "--role", role, "--yes"); err != nil {
			return err
		}
		if role != "agency" {
			if err := s.setListen(name); err != nil {
				return err
			}
		}
		return s.tune(name)
	}
	if err := join("agency", "agency"); err != nil {
		return err
	}
	if err := join("observer", "observe"); err != nil {
		return err
	}
	for _, n := range neighbours {
		if err := join(n.dir, "home"); err != nil {
			return err
		}
		folder := s.path("recordings-"+n.dir, n.camera)
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return err
		}
		if n.recorded {
			scene, err := fs.Sub(recordings.Files(), n.scene)
			if err != nil {
				return err
			}
			if err := os.CopyFS(folder, scene); err != nil {
				return err
			}
		}
		if err := s.do(ctx, nil, "home", "cameras", "add", n.camera, "--dir", n.dir, "--folder", folder, "--at", n.at, "--facing", n.facing, "--view", "110", "--range", "40"); err != nil {
			return err
		}
		if err := s.do(ctx, nil, "home", "cameras", "offer", n.camera, "--dir", n.dir); err != nil {
			return err
		}
	}
	s.say(Step{Step: "homes", Text: "Five homes join. Each owner names a camera, where it stands and looks, and offers it. That stays on their node: no list of cameras exists anywhere.",
		Command: line("home", "cameras", "add", "front-door", "--dir", "ana", "--folder", "recordings-ana/front-door", "--at", neighbours[0].at, "--facing", "180", "--view", "110", "--range", "40")})
	for _, n := range neighbours {
		if err := s.run("home", n.dir); err != nil {
			return err
		}
	}
	if err := s.run("observe", "observer"); err != nil {
		return err
	}
	if err := s.reachObserver(ctx); err != nil {
		return err
	}
	if err := s.run("agency", "agency"); err != nil {
		return err
	}
	names := []string{"agency", "observer"}
	for _, n := range neighbours {
		names = append(names, n.dir)
	}
	for _, name := range names {
		if err := s.until(ctx, name+" to be in the mesh", func() (bool, error) {
			var st node.Status
			err := s.do(ctx, &st, "status", "--dir", name)
			return st.Running && len(st.Peers) > 0, err
		}); err != nil {
			return err
		}
	}
	return nil
}

// reachObserver names the observer among the stewards of the agency, which has to reach its witnesses.
func (s *story) reachObserver(ctx context.Context) error {
	var st node.Status
	if err := s.until(ctx, "the observer to run", func() (bool, error) {
		err := s.do(ctx, &st, "status", "--dir", "observer")
		return len(st.Addrs) > 0, err
	}); err != nil {
		return err
	}
	path := s.path("agency", "config.toml")
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	text := strings.Replace(string(b), "stewards = [", fmt.Sprintf("stewards = [%q, ", st.Addrs[0]), 1)
	return os.WriteFile(path, []byte(text), 0o600)
}

func (s *story) setListen(name string) error {
	path := s.path(name, "config.toml")
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	lines := strings.Split(string(b), "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, "listen = ") {
			lines[i] = `listen = ["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"]`
		}
	}
	return os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o600)
}

// ask enrols an officer in the docket and publishes a request that officer and supervisor signed.
func (s *story) ask(ctx context.Context) (id string, err error) {
	for _, p := range []struct{ name, pub, role string }{{"Det. Ruiz", "officer.pub", "officer"}, {"Sgt. Stone", "supervisor.pub", "supervisor"}} {
		if p.role == "supervisor" {
			continue // the charter names the first supervisor
		}
		if err := s.do(ctx, nil, "agency", "officer", "enrol", "--name", p.name, "--key", p.pub, "--role", p.role, "--by", "supervisor.key", "--out", "enrol.note"); err != nil {
			return "", err
		}
		if err := s.do(ctx, nil, "agency", "publish", "--dir", "agency", "enrol.note"); err != nil {
			return "", err
		}
	}
	s.say(Step{Step: "enrol", Text: "The supervisor enrols Detective Ruiz in the agency's public docket.",
		Command: line("agency", "officer", "enrol", "--name", "Det. Ruiz", "--key", "officer.pub", "--role", "officer", "--by", "supervisor.key", "--out", "enrol.note")})
	p, err := s.request(ctx, "request.draft")
	if err != nil {
		return "", err
	}
	id = string(p.Request)
	s.say(Step{Step: "request", Text: fmt.Sprintf("Ruiz and Sergeant Stone sign a request, each on their own machine, and the agency publishes it: entry %d of its docket, id %s. It can never be edited or removed. %d of %d witnesses have confirmed it.", p.Index, id[:12], p.Cosigned, p.Quorum),
		Command: line("agency", "request", "publish", "--dir", "agency", "request.draft"), Data: p})

	began := time.Now()
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(2)
	for _, name := range append([]string{"observer"}, dirs()...) {
		g.Go(func() error {
			return s.until(gctx, "the request to reach "+name, func() (bool, error) {
				var st node.Status
				err := s.do(gctx, &st, "status", "--dir", name)
				return st.Requests == 1, err
			})
		})
	}
	if err := g.Wait(); err != nil {
		return "", err
	}
	s.say(Step{Step: "spread", Text: fmt.Sprintf("It reached all five homes and the observer within %.1f s. Every peer checked it before passing it on.", time.Since(began).Seconds())})
	return id, nil
}

// request drafts a request for the minutes around the burglary, has it signed and publishes it.
func (s *story) request(ctx context.Context, file string) (p agency.Published, err error) {
	draft := []string{"agency", "request", "draft", "--dir", "agency", "--out", file, "--case", "EP-2026-1187", "--offence", "220", "--basis", "reasonable-suspicion",
		"--incident-at", "2026-11-22T19:03:30Z", "--incident-place", "44.0000,-40.0000", "--around", "44.0000,-40.0000", "--radius", "250",
		"--from", windowFrom, "--until", windowUntil, "--text", "The corner shop was broken into at about 19:03. We look for a red car that left fast, and for a person who ran after it.",
		"--contact", "Det. Ruiz, +44 1632 960000", "--retention-days", "90", "--officer", "officer.pub", "--supervisor", "supervisor.pub"}
	if err := s.do(ctx, nil, draft...); err != nil {
		return p, err
	}
	for _, k := range []string{"officer.key", "supervisor.key"} {
		if err := s.do(ctx, nil, "agency", "request", "sign", file, "--key", k, "--yes"); err != nil {
			return p, err
		}
	}
	// A witness that the agency has not reached yet is asked again; what is published stands in the docket once.
	if err := s.until(ctx, "both witnesses", func() (bool, error) {
		err := s.do(ctx, &p, "agency", "request", "publish", "--dir", "agency", file)
		return err == nil && !p.Waits, err
	}); err != nil {
		return p, err
	}
	return p, nil
}
func dirs() (d []string) {
	for _, n := range neighbours {
		d = append(d, n.dir)
	}
	return d
}

// decide shows what each home makes of the request.
func (s *story) decide(ctx context.Context, id string) error {
	for _, n := range neighbours {
		var cards []home.Card
		expect := n.does == "agrees" || n.does == "declines" || n.does == "ignores it"
		if expect {
			if err := s.until(ctx, n.name+"'s node to match the request", func() (bool, error) {
				err := s.do(ctx, &cards, "home", "inbox", "--dir", n.dir)
				return len(cards) == 1, err
			}); err != nil {
				return err
			}
		} else if err := s.do(ctx, &cards, "home", "inbox", "--dir", n.dir); err != nil {
			return err
		} else if len(cards) != 0 {
			return fmt.Errorf("%s, who %s, was shown the request", n.name, n.does)
		}
		switch n.does {
		case "agrees":
			if err := s.agree(ctx, n, id); err != nil {
				return err
			}
		case "declines":
			if err := s.do(ctx, nil, "home", "decline", id, "--dir", n.dir); err != nil {
				return err
			}
			s.say(Step{Step: "declines", Text: "Ben's node shows him the request too. He declines. Nothing leaves his node, not even the no.", Command: line("home", "decline", id[:12], "--dir", n.dir)})
		case "ignores it":
			s.say(Step{Step: "ignores", Text: "Chloe does not look at hers. Nothing leaves her node either."})
		default:
			s.say(Step{Step: "silent", Text: fmt.Sprintf("%s %s: the node shows nothing and sends nothing.", n.name, n.does)})
		}
	}
	return nil
}

func (s *story) agree(ctx context.Context, n neighbour, id string) error {
	var p home.Previewed
	out := s.path("ana-preview.mp4")
	if err := s.do(ctx, &p, "home", "preview", id, "--dir", n.dir, "--camera", n.camera, "--from", askFrom, "--until", askUntil, "--out", out); err != nil {
		return err
	}
	s.say(Step{Step: "preview", Text: fmt.Sprintf("Ana reads who asks, why and for how long, and looks at exactly what would leave: %.0f s from her front door, %d kB, no sound.", p.Until.Sub(p.From).Seconds(), p.Bytes/1000),
		Command: line("home", "preview", id[:12], "--dir", n.dir, "--camera", n.camera, "--from", askFrom, "--until", askUntil, "--out", filepath.Base(out)), Data: p})
	if err := s.do(ctx, nil, "home", "approve", id, "--dir", n.dir, "--camera", n.camera, "--from", askFrom, "--until", askUntil, "--retention-days", "30", "--faces-visible", "--yes"); err != nil {
		return err
	}
	s.say(Step{Step: "agrees", Text: "She agrees, for this request, this camera and this span only, and for thirty days in place of ninety. Her node says plainly that faces are not hidden in this version. The clip goes over both stewards: one knows her home, the other the agency, and neither can open it.",
		Command: line("home", "approve", id[:12], "--dir", n.dir, "--camera", n.camera, "--from", askFrom, "--until", askUntil, "--retention-days", "30", "--faces-visible")})
	return nil
}

// arrive waits for the clip and opens it, and lists all that was addressed to the agency.
func (s *story) arrive(ctx context.Context, id string) error {
	var held []agency.Held
	if err := s.until(ctx, "the clip to arrive", func() (bool, error) {
		err := s.do(ctx, &held, "agency", "vault", "--dir", "agency")
		return len(held) == 1 && held[0].State == "open", err
	}); err != nil {
		return err
	}
	h := held[0]
	s.say(Step{Step: "delivered", Text: fmt.Sprintf("The clip arrived, sealed: %d kB, %s…. The agency signed Ana's terms before the first byte and a receipt before it got the key; the key dies on %s.",
		h.SealedBytes/1000, h.Release[:20], h.KeyUntil.Format("2 January 2006")), Command: line("agency", "vault", "--dir", "agency"), Data: h})
	var o agency.Opened
	out := s.path("clip.mp4")
	if err := s.do(ctx, &o, "agency", "export", h.Release, "--dir", "agency", "--out", out, "--officer-key", "officer.key", "--reason", "investigation EP-2026-1187"); err != nil {
		return err
	}
	same, err := sameFile(out, s.path("ana-preview.mp4"))
	if err != nil {
		return err
	}
	if !same {
		return fmt.Errorf("%s is not the clip that Ana saw in her preview", out)
	}
	s.say(Step{Step: "opened", Text: "Ruiz signs why she takes the clip out of the vault; the node keeps that, and verifies it: the bytes are those that Ana signed for and saw in her preview.",
		Command: line("agency", "export", h.Release[:16], "--dir", "agency", "--out", "clip.mp4", "--officer-key", "officer.key", "--reason", "investigation EP-2026-1187"), Data: o})

	var got []agency.Received
	if err := s.do(ctx, &got, "agency", "received", "--dir", "agency"); err != nil {
		return err
	}
	if len(got) != 1 || got[0].What != "grant" || string(got[0].Request) != id {
		return fmt.Errorf("the agency received %d things, want Ana's grant alone: %+v", len(got), got)
	}
	s.say(Step{Step: "received", Text: "All that was ever addressed to the agency: one grant. From Ben, Chloe, Dev and Edith nothing came, and nothing tells them apart.",
		Command: line("agency", "received", "--dir", "agency"), Data: got})
	var seen []node.RequestStatus
	if err := s.do(ctx, &seen, "requests", "--dir", "observer"); err != nil {
		return err
	}
	if len(seen) != 1 || string(seen[0].ID) != id {
		return fmt.Errorf("the observer has %d requests, want the one", len(seen))
	}
	var ledger []home.LedgerEntry
	if err := s.do(ctx, &ledger, "home", "ledger", "--dir", "ana"); err != nil {
		return err
	}
	s.say(Step{Step: "observed", Text: fmt.Sprintf("The observer, a reporter say, has the request in full and no word of who answered. Ana's own ledger has %d steps of what left her home.", len(ledger)),
		Command: line("observe", "requests", "--dir", "observer")})
	return nil
}

func sameFile(a, b string) (bool, error) {
	x, err := os.ReadFile(a)
	if err != nil {
		return false, err
	}
	y, err := os.ReadFile(b)
	return string(x) == string(y), err
}
