package home

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
	"github.com/porchlight-mesh/porchlight/consent/grant"
	"github.com/porchlight-mesh/porchlight/consent/request"
	"github.com/porchlight-mesh/porchlight/consent/rules"
	"github.com/porchlight-mesh/porchlight/node"
)

// at looks again, when the clock shows a time of the following day, under these switches.
func (h *house) at(day int, clock string, switches ...rules.Switch) {
	h.t.Helper()
	now, err := time.Parse("2006-01-02 15:04", "2026-11-22 "+clock)
	ok(h.t, err)
	now = now.AddDate(0, 0, day)
	h.peer.Now = func() time.Time { return now }
	h.peer.Config.Home.Switches = switches
	h.match(h.t.Context())
	ok(h.t, h.makeDrafts(h.t.Context()))
}

// inboxHas counts what the owner is told of, and of that everything with all.
func (h *house) inboxHas(all bool) int {
	h.t.Helper()
	cards, err := h.list(h.t.Context(), List{All: all})
	ok(h.t, err)
	return len(cards)
}

// kept says what of the request is on this disk: its item, a hold, drafts.
func (h *house) kept() string {
	h.t.Helper()
	holds, err := h.library.Holds(h.t.Context())
	ok(h.t, err)
	var s []string
	items, err := h.peer.State.Glob("inbox/*.json")
	ok(h.t, err)
	if len(items) > 0 {
		s = append(s, "item")
	}
	if len(holds) > 0 {
		s = append(s, "hold")
	}
	drafts, err := h.peer.State.Glob("drafts/*/*")
	ok(h.t, err)
	if len(drafts) > 0 {
		s = append(s, "draft")
	}
	return strings.Join(s, " ")
}

var night = rules.Hours{From: 22 * 60, Until: 7 * 60}

// Ana ignores burglaries: the request that had come leaves nothing behind. Then she only wants her nights.
func TestOwnersSwitches(t *testing.T) {
	h := newHouse(t)
	ignore := rules.Switch{Offences: []request.Offence{"220"}}
	sleep := rules.Switch{Quiet: night, Do: rules.Hold}
	sleepWell := rules.Switch{Quiet: night, Do: rules.Ignore}
	for _, tt := range []struct {
		name        string
		day         int
		clock       string
		switches    []rules.Switch
		told, items int
		kept        string
	}{
		{"as it came", 0, "21:00", nil, 1, 1, "item hold"},
		{"burglaries are ignored", 0, "21:00", []rules.Switch{ignore}, 0, 0, ""},
		{"it is night", 0, "22:00", []rules.Switch{sleep}, 0, 1, "item hold"},
		{"it is night still", 1, "06:59", []rules.Switch{sleep}, 0, 1, "item hold"},
		{"it is morning", 1, "07:00", []rules.Switch{sleep}, 1, 1, "item hold"},
		{"what was told is not hidden again", 1, "22:00", []rules.Switch{sleep}, 1, 1, "item hold"},
		{"not even by more silence", 1, "23:00", []rules.Switch{sleepWell}, 1, 1, "item hold"},
		{"ignored at all", 1, "23:00", []rules.Switch{ignore, sleep}, 0, 0, ""},
		{"ignored at night", 1, "23:30", []rules.Switch{sleepWell}, 0, 0, ""},
		{"and told in the morning", 2, "07:00", []rules.Switch{sleepWell}, 1, 1, "item hold"},
		{"only ever held", 2, "08:00", []rules.Switch{{Do: rules.Hold}}, 0, 1, "item hold"},
		{"when it is over, the footage is let go", 11, "08:00", []rules.Switch{{Do: rules.Hold}}, 0, 1, "item"},
	} {
		h.at(tt.day, tt.clock, tt.switches...)
		if told, items := h.inboxHas(false), h.inboxHas(true); told != tt.told || items != tt.items || h.kept() != tt.kept {
			t.Errorf("%s: %d told, %d with all, on disk %q; want %d, %d, %q", tt.name, told, items, h.kept(), tt.told, tt.items, tt.kept)
		}
		if len(h.answers) != 0 {
			t.Fatalf("%s: something was approved", tt.name)
		}
	}
}

// A rule that is only for some hours, and a decision that was made: the switches do not undo it.
func TestSwitchesLeaveDecisionsAlone(t *testing.T) {
	h := newHouse(t)
	ok(t, h.agree())
	h.at(0, "21:00", rules.Switch{})
	if h.going() != 1 || h.inboxHas(false) != 1 || h.kept() != "item hold" {
		t.Errorf("an answer under a switch that ignores: %s, %d in the inbox, %q on disk", h.states(), h.inboxHas(false), h.kept())
	}
	ok(t, h.takeBack())
	h.at(0, "21:00", rules.Switch{})
	if item := h.inbox[h.asked()]; item.State != "declined" || h.kept() != "item" {
		t.Errorf("taken back and ignored: %+v, %q on disk", item, h.kept())
	}
}

// What is prepared is the very clip that would leave; it waits on this disk, within its room, and goes
// when its owner decides or the request ends.
func TestPrepared(t *testing.T) {
	prepare := rules.Switch{Do: rules.Prepare}
	for _, end := range []string{"decline", "approve", "expiry", "camera withdrawn", "rule removed"} {
		h := newHouse(t)
		h.peer.Config.Home.AnswerDelay = 0
		h.at(0, "21:00", prepare)
		card, err := h.show(t.Context(), RequestArg{Request: string(h.asked())})
		ok(t, err)
		if len(card.Drafts) != 1 || card.Drafts[0].Problem != "" {
			t.Fatalf("prepared: %+v", card.Drafts)
		}
		look := filepath.Join(t.TempDir(), "look.mp4")
		p, err := h.preview(t.Context(), Preview{Request: string(h.asked()), Camera: "door", Out: look})
		ok(t, err)
		d := card.Drafts[0]
		want, err := os.ReadFile(look)
		ok(t, err)
		if got, err := os.ReadFile(d.File); err != nil || !bytes.Equal(got, want) || d.Bytes != p.Bytes || d.From != p.From || d.Until != p.Until {
			t.Errorf("%+v is not what the preview is, %+v: %v", d, p, err)
		}
		made, err := os.Stat(d.File)
		ok(t, err)
		h.restart()
		h.peer.Config.Home.AnswerDelay = 0
		h.at(0, "21:30", prepare)
		if again, err := os.Stat(d.File); err != nil || !again.ModTime().Equal(made.ModTime()) {
			t.Errorf("it was made again, or is gone: %v", err)
		}
		if len(h.answers) != 0 {
			t.Fatal("preparing approved something")
		}
		switch end {
		case "decline":
			_, err = h.decline(t.Context(), RequestArg{Request: string(h.asked())})
		case "approve":
			err = h.agree()
		case "expiry":
			h.at(11, "00:00", prepare)
		case "camera withdrawn":
			_, err = h.cameraOffer(false)(t.Context(), CameraName{"door"})
			h.at(0, "22:00", prepare)
		case "rule removed":
			h.at(0, "22:00", rules.Switch{Do: rules.Tell})
		}
		ok(t, err)
		if strings.Contains(h.kept(), "draft") || len(h.inbox[h.asked()].Drafts) != 0 {
			t.Errorf("after %s: %q on disk, %+v", end, h.kept(), h.inbox[h.asked()].Drafts)
		}
		h.at(0, "23:00", prepare)
		if again := strings.Contains(h.kept(), "draft"); again != (end == "rule removed" || end == "expiry") { // the clock was set back
			t.Errorf("after %s it was prepared anew: %v", end, again)
		}
	}
}

// What is prepared is so at a moment of its own: a request is told before, and who measures how busy the machine is learns nothing of it.
func TestPreparedLater(t *testing.T) {
	h := newHouse(t)
	prepare := rules.Switch{Do: rules.Prepare}
	h.peer.Config.Home.AnswerDelay = node.Duration(1000 * time.Hour) // of which no more counts than half of what the request still has
	h.at(0, "21:00", prepare)
	if h.inboxHas(false) != 1 || strings.Contains(h.kept(), "draft") {
		t.Fatalf("at once there are %d in the inbox, and %q on disk", h.inboxHas(false), h.kept())
	}
	drawn := h.draftAt[h.asked()]
	h.at(0, "21:01", prepare)
	if again := h.draftAt[h.asked()]; !again.Equal(drawn) {
		t.Errorf("the moment is drawn again: %v, then %v", drawn, again)
	}
	h.at(6, "21:00", prepare)
	if !strings.Contains(h.kept(), "draft") {
		t.Errorf("six days later there is %q on disk; drawn was %v", h.kept(), drawn)
	}
	h.at(11, "21:00", prepare)
	if len(h.draftAt) != 0 {
		t.Errorf("of a request that is over it keeps %v", h.draftAt)
	}
}

func TestNoRoomToPrepare(t *testing.T) {
	h := newHouse(t)
	h.peer.Config.Home.HoldQuotaMB, h.peer.Config.Home.AnswerDelay = 0, 0
	h.at(0, "21:00", rules.Switch{Do: rules.Prepare})
	d := h.inbox[h.asked()].Drafts
	if len(d) != 1 || !strings.Contains(d[0].Problem, "hold_quota_mb") || strings.Contains(h.kept(), "draft") {
		t.Errorf("without room: %+v, %q on disk", d, h.kept())
	}
	left, err := filepath.Glob(filepath.Join(h.r.Dir, "drafts", "*", "*"))
	ok(t, err)
	if hidden, _ := filepath.Glob(filepath.Join(h.r.Dir, "drafts", ".*")); len(left)+len(hidden) != 0 {
		t.Errorf("left behind: %v %v", left, hidden)
	}
}

// Ana tries a change before she makes it.
func TestRehearsal(t *testing.T) {
	h := newHouse(t)
	before := h.sum()
	replay := func(config string, since time.Time) Replayed {
		t.Helper()
		a := RulesTest{Since: since}
		if config != "" {
			a.Config = filepath.Join(t.TempDir(), "try.toml")
			ok(t, os.WriteFile(a.Config, []byte("[home]\nzone = \"UTC\"\n"+config), 0o600))
		}
		list, err := h.testRules(t.Context(), a)
		ok(t, err)
		if len(list) != 1 {
			t.Fatalf("%d requests were tried", len(list))
		}
		return list[0]
	}
	if r := replay("", time.Time{}); r.Done != "told" || r.Why != "no switch is about it" || len(r.Cameras) != 1 || r.Cameras[0].Recordings != 1 || r.Before != nil {
		t.Errorf("by the rules of now: %+v", r)
	}
	for config, want := range map[string]Outcome{
		`offences_off = ["220"]`:  {Done: "not shown", Why: "this home has turned off requests about the offence 220 (Burglary/Breaking & Entering)"},
		`max_retention_days = 30`: {Done: "not shown", Why: "footage would be kept 90 days; this home allows 30"},
		"[[home.switch]]\nclass = [\"local-police\"]\ndo = \"prepare\"":      {Done: "prepared", Why: "switch 1: requests of the class local-police"},
		"[[home.switch]]\nquiet = \"19:00-07:00\"\ndo = \"hold\"":            {Done: "held", Why: "switch 1: every request, from 19:00 to 07:00", Then: "told", After: faultNow.Add(11 * time.Hour)},
		"[[home.switch]]\nbasis = [\"reasonable-suspicion\"]\ndo=\"ignore\"": {Done: "ignored", Why: "switch 1: every request, on the basis reasonable-suspicion"},
	} {
		if r := replay(config, faultNow); r.Outcome != want || r.Before == nil || r.Before.Done != "told" {
			t.Errorf("with %s: %+v, before %+v", config, r.Outcome, r.Before)
		}
	}
	if list, err := h.testRules(t.Context(), RulesTest{Since: faultNow.Add(time.Second)}); err != nil || len(list) != 0 {
		t.Errorf("since a time after it: %+v, %v", list, err)
	}
	if _, err := h.testRules(t.Context(), RulesTest{Config: filepath.Join(t.TempDir(), "none.toml")}); err == nil {
		t.Error("a config that is not there was tried")
	}
	if h.sum() != before {
		t.Error("the rehearsal changed something")
	}
	// Weeks later the recordings are gone and the camera is another's.
	h.peer.Now = func() time.Time { return faultNow.AddDate(0, 0, 30) }
	ok(t, os.RemoveAll(h.cameras[0].Folder))
	ok(t, os.MkdirAll(h.cameras[0].Folder, 0o700))
	_, err := h.library.Poll(t.Context())
	ok(t, err)
	if r := replay("", time.Time{}); r.Done != "told" || r.Live || len(r.Cameras) != 1 {
		t.Errorf("long after: %+v", r)
	}
	_, err = h.cameraOffer(false)(t.Context(), CameraName{"door"})
	ok(t, err)
	if r := replay("", time.Time{}); r.Done != "no camera" {
		t.Errorf("with no camera offered: %+v", r)
	}
}

// A misspelt rule would turn nothing off: it is refused, with the key, the line and what may stand there.
func TestRulesInConfig(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.toml")
	for text, want := range map[string]string{
		"classes_off = [\"polise\"]": `home.classes_off: "polise" is not on the list`,
		"offences_off = [\"999\"]":   `home.offences_off: "999" is not on the list`,
		"bases_off = [\"hunch\"]":    `home.bases_off: "hunch" is not on the list`,
		"max_retention_days = -1":    "home.max_retention_days is -1",
		"zone = \"Elmford\"":         `line 2 (last key "home.zone"): time zone "Elmford" is not known`,
		"[[home.switch]]\nclass = [\"federal\"]\nbasis = [\"hunch\"]\ndo = \"hold\"": `[[home.switch]] 1, basis: "hunch" is not on the list`,
		"[[home.switch]]\ndo = \"hold\"\n[[home.switch]]\nclass = [\"federal\"]":     "a [[home.switch]] does not say what to do",
		"[[home.switch]]\ndo = \"drop\"":                                             `line 3 (last key "home.switch.do"): "drop" is no action: it must be ignore, hold, tell or prepare`,
		"[[home.switch]]\nquiet = \"22-7\"\ndo = \"hold\"":                           `line 3 (last key "home.switch.quiet"): "22-7" are no hours`,
		"[[home.switch]]\nwhen = \"22:00-07:00\"\ndo = \"hold\"":                     `unknown key "home.switch.when"`,
	} {
		ok(t, os.WriteFile(path, []byte("[home]\n"+text+"\n"), 0o600))
		if _, err := node.ReadConfig(path, node.Home); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		} else if strings.Contains(want, "list") && !strings.Contains(node.HintOf(err), "the list is [") {
			t.Errorf("%s: hint %q", text, node.HintOf(err))
		}
	}
	ok(t, os.WriteFile(path, []byte("[home]\nswitch = [{quiet = \"22:00-07:00\", do = \"hold\"}, {do = \"tell\"}]\n"), 0o600))
	if c, err := node.ReadConfig(path, node.Home); err != nil || len(c.Home.Switches) != 2 {
		t.Errorf("written on one line: %+v, %v", c.Home.Switches, err)
	}
	// The example in the default config works as it stands there.
	text := node.DefaultConfig(node.Home)
	example := strings.ReplaceAll(text[strings.Index(text, "# [[home.switch]]"):], "\n# ", "\n")
	ok(t, os.WriteFile(path, []byte(strings.ReplaceAll("[home]\n"+example[2:], "#\n", "\n")), 0o600))
	c, err := node.ReadConfig(path, node.Home)
	ok(t, err)
	if s := c.Home.Switches; len(s) != 3 || !s[2].Breaches || s[2].Do != rules.Ignore || s[0].Breaches || s[0].Quiet != night || s[0].Do != rules.Hold || s[1].Do != rules.Ignore || s[1].Classes[1] != charter.Immigration {
		t.Errorf("the example says %+v", s)
	}
}

// Cai shows that the police are silent about her clip. Every card of theirs says so, and Ana, who wants to hear from no such agency, is told
// nothing more, for as long as it stands.
func TestOwnersRefuseOnBreaches(t *testing.T) {
	h := newHouse(t)
	refuse := rules.Switch{Breaches: true, Do: rules.Ignore}
	h.at(0, "21:00", refuse)
	if h.inboxHas(false) != 1 {
		t.Fatal("without a breach the request is not told")
	}
	r := h.peer.Requests()[0]
	card := func() Card {
		c, err := h.show(t.Context(), RequestArg{Request: string(r.ID)})
		ok(t, err)
		return c
	}
	if c := card(); c.Promises.Words() != "" {
		t.Errorf("before anybody showed anything the card says %q", c.Promises.Words())
	}
	key, then := mustKey(grant.KeyName), consent.At(faultNow.AddDate(0, 0, -16))
	release := grant.Release{CID: "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi", Secret: grant.Secret(consent.HashText([]byte("secret")))}
	receipt, err := consent.Sign(grant.Receipt{Grant: consent.GrantID(consent.HashText([]byte("grant"))), GrantKey: key.Verifier(), CID: release.CID,
		Commitment: release.Commitment(), State: grant.Held, SealedSHA256: consent.HashText([]byte("sealed")), DeleteBy: consent.At(then.AddDate(0, 0, 30)), At: then,
		Key: reception.Verifier()}, reception)
	ok(t, err)
	breach, err := consent.Sign(grant.Breach{Agency: r.Agency, Request: r.ID, Fault: grant.FaultMissing, Receipt: string(receipt), Created: consent.At(faultNow),
		Key: key.Verifier()}, key)
	ok(t, err)
	ok(t, h.peer.AdmitPaper(breach))
	if c := card(); c.Promises.BreachesStand != 1 || !strings.Contains(c.Promises.Words(), "owners showed once") {
		t.Errorf("the card says %q", c.Promises.Words())
	}
	h.at(0, "21:05")
	if h.inboxHas(false) != 1 {
		t.Error("without the switch the request is told no more")
	}
	h.at(0, "21:10", refuse)
	if h.inboxHas(true) != 0 || h.kept() != "" {
		t.Errorf("%d in the inbox, %q on disk", h.inboxHas(true), h.kept())
	}
	list, err := h.testRules(t.Context(), RulesTest{})
	if ok(t, err); len(list) != 1 || list[0].Done != "ignored" || list[0].Why != "switch 1: every request, of an agency that owners showed to break what it signed" {
		t.Errorf("%+v", list)
	}
	h.at(0, "21:15")
	if h.inboxHas(false) != 1 {
		t.Error("what the switch no longer ignores is not told")
	}
}
