package simnet

import (
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"
)

func unwatched(_, _ time.Duration) {}

// raced says whether the race detector watches this test.
func raced() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

func TestShippedScenariosAreWellFormed(t *testing.T) {
	for _, name := range Shipped() {
		text, err := ShippedScenario(name)
		if err == nil {
			_, err = ParseScenario(name, text)
		}
		if err != nil {
			t.Error(err)
		}
	}
}

const small = `
about = "A small street."
homes = 6
stewards = 2
nat = 0.5
seed = 7
settle = "30s"
[network]
min_latency = "20ms"
max_latency = "60ms"
[[do]]
at = "10s"
who = "police"
what = "asks"
[[do]]
at = "20s"
who = "home2, home4-5"
what = "loses power"
[[do]]
at = "21s"
who = "steward1, home1"
what = "splits off"
[[do]]
at = "30s"
who = "police"
what = "asks"
[[do]]
at = "40s"
who = "mesh"
what = "heals"
[[do]]
at = "40s"
who = "home2, home4"
what = "has power again"
[must]
reached = 1.0
p99 = "1s"
late = "10s"
copies = 7
bytes = 30_000
`

func TestAScenarioIsPlayedAndMeasured(t *testing.T) {
	s, err := ParseScenario("small", []byte(small))
	if err != nil {
		t.Fatal(err)
	}
	if raced() {
		// Under it the bubble can deadlock on several processors: golang/go issue 78156.
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	}
	r := s.Play(t, "", nil, unwatched)
	var out strings.Builder
	if err := r.Table(&out); err != nil {
		t.Fatal(err)
	}
	t.Log("\n" + out.String())
	if len(r.Requests) != 2 || len(r.Broken) > 0 {
		t.Fatalf("%d requests, broken: %q", len(r.Requests), r.Broken)
	}
	first, second := r.Requests[0].Groups[0], r.Requests[1].Groups[0]
	switch {
	case first.Nodes != 5 || first.Reached != 5 || first.Pushed != 5 || first.Late != 0:
		t.Errorf("home5 stays without power, the others hear at once: %+v", first)
	case *first.Copies < 1 || *first.Bytes < float64(r.Requests[0].Size):
		t.Errorf("each home gets the request: %v copies, %v bytes of a note of %d", *first.Copies, *first.Bytes, r.Requests[0].Size)
	case second.Reached != 5 || second.Late < 2 || second.Fetched < 2:
		t.Errorf("homes that were away catch up: %+v", second)
	}
	page := new(strings.Builder)
	if err := r.HTML(page); err != nil {
		t.Fatal(err)
	}
	for _, outside := range []string{"<script", "http:", "https:", "src="} {
		if strings.Contains(page.String(), outside) {
			t.Errorf("the page has %s", outside)
		}
	}
}

func TestBoundsThatAreNotKeptAreNamed(t *testing.T) {
	v := 9.0
	r := Result{Requests: []Spread{{Groups: []Group{{Nodes: 10, Reached: 9, P50: 2, P99: 3, Max: 4, LateMax: 5, Copies: &v, Bytes: &v}}}}}
	ms := Duration(time.Millisecond)
	got := Scenario{Must: Must{1, ms, ms, ms, ms, 1, 1}}.broken(r)
	if len(got) != 7 {
		t.Errorf("7 bounds are broken, named are %q", got)
	}
	if got := (Scenario{}).broken(r); len(got) != 0 {
		t.Errorf("no bound is set, broken are %q", got)
	}
}

func TestAScenarioThatIsWrongIsRefusedByLine(t *testing.T) {
	for _, row := range []struct{ from, to, want string }{
		{"homes = 6", "hoems = 6", "x:3: hoems: no such key"},
		{"min_latency", "min_latenzy", "x:9: network.min_latenzy: no such key"},
		{`what = "heals"`, `wath = "heals"`, "x:30: do.wath: no such key"},
		{`at = "10s"`, `at = "-10s"`, "x:12: do.at: write a duration"},
		{`p99 = "1s"`, `p99 = "soon"`, "x:37: must.p99: write a duration"},
		{"homes = 6", "homes = 0", "x:3: homes: 0 is not"},
		{"nat = 0.5", "nat = 50", "x:5: nat: 50 is not a share"},
		{"home4-5", "home4-7", `x:15: do: who = "home2, home4-7": "home4-7" is not among`},
		{`who = "mesh"`, `who = "home1"`, `x:27: do: who = "home1": only "mesh" heals`},
		{`what = "heals"`, `what = "sings"`, `x:27: do: what = "sings": people do one of`},
		{"[must]", "attackers = []\n[must]", "x:35: do.attackers: no such key"},
		{"[must]", "[attackers]\nsilent = -1\n[must]", "x:36: attackers.silent: -1 is not"},
		{"[must]", "[attackers]\njunk = -1\n[must]", "x:36: attackers.junk: -1 is not"},
		{"nat = 0.5", "witnesses = 3", "x:5: witnesses: 3 of the stewards"},
		{"nat = 0.5", "quorum = 1", "x:5: quorum: 1 is not"},
		{"[must]", "[attackers]\nloud = 1\n[must]", "x:36: attackers.loud: no such key"},
		{"seed = 7", "seed = ", "x:6: "},
		{"seed = 7", "model = true", "x:6: model: in the model one request"},
	} {
		text := strings.Replace(small, row.from, row.to, 1)
		if _, err := ParseScenario("x", []byte(text)); err == nil || !strings.HasPrefix(err.Error(), row.want) {
			t.Errorf("%s: %v, want %s", row.to, err, row.want)
		}
	}
}
