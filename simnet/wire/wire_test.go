package wire

import (
	"fmt"
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// wired runs a network in virtual time.
func wired(t *testing.T, c Conditions, tell func(t *testing.T, n *Net)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := New(c)
		defer n.Close()
		tell(t, n)
	})
}

// opens opens a port of a link.
func opens(t *testing.T, l *Link, port int) net.PacketConn {
	t.Helper()
	c, err := l.Network().ListenUDP("udp4", &net.UDPAddr{Port: port})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func writes(t *testing.T, from net.PacketConn, text string, to net.PacketConn) {
	t.Helper()
	if _, err := from.WriteTo([]byte(text), to.LocalAddr()); err != nil {
		t.Fatal(err)
	}
}

// hears says what comes within a time, "" for nothing, and how long it took.
func hears(c net.PacketConn, within time.Duration) (text string, took time.Duration) {
	began, b := time.Now(), make([]byte, maxPacket)
	c.SetReadDeadline(began.Add(within))
	n, _, err := c.ReadFrom(b)
	if err != nil {
		return "", within
	}
	return string(b[:n]), time.Since(began)
}

func TestPacketsAreLostAndDelayedBySeedEndsAndTime(t *testing.T) {
	run := func(seed uint64) (came []string) {
		wired(t, Conditions{Seed: seed, MinLatency: 20 * time.Millisecond, MaxLatency: 60 * time.Millisecond, Jitter: 5 * time.Millisecond, Loss: 0.2},
			func(t *testing.T, n *Net) {
				a, b := opens(t, n.Join("a", LinkConfig{}), 1), opens(t, n.Join("b", LinkConfig{}), 1)
				began := time.Now()
				for i := range 500 {
					writes(t, a, fmt.Sprint(i), b)
					writes(t, a, fmt.Sprint(i, " again"), b)
					if text, took := hears(b, 100*time.Millisecond); text != "" {
						came = append(came, fmt.Sprint(text, " ", took))
						if took < 20*time.Millisecond || took > 66*time.Millisecond {
							t.Errorf("%s took %v", text, took)
						}
					}
					for text := "?"; text != ""; text, _ = hears(b, 100*time.Millisecond) {
					}
					time.Sleep(time.Until(began.Add(time.Duration(i+1) * 400 * time.Millisecond)))
				}
				if lost := float64(a.(*socket).link.Traffic().Lost) / 1000; lost < 0.15 || lost > 0.25 {
					t.Errorf("%.0f %% are lost, of 20 %%", 100*lost)
				}
			})
		return came
	}
	first := run(1)
	if !slices.Equal(first, run(1)) {
		t.Error("the same world lost or delayed other packets")
	}
	if slices.Equal(first, run(2)) {
		t.Error("another seed lost and delayed the same packets")
	}
}

func TestANATLetsInWhomOneWroteTo(t *testing.T) {
	wired(t, Conditions{}, func(t *testing.T, n *Net) {
		home, other := opens(t, n.Join("home", LinkConfig{NAT: true}), 1), n.Join("other", LinkConfig{})
		asked, stranger := opens(t, other, 1), opens(t, other, 2)
		comes := func(from net.PacketConn) bool {
			writes(t, from, "hello", home)
			text, _ := hears(home, time.Second)
			return text != ""
		}
		if comes(asked) {
			t.Error("what nobody asked for came in")
		}
		writes(t, home, "hello", asked)
		if !comes(asked) || comes(stranger) {
			t.Error("an answer comes in from the port that was written to, and nothing from another port")
		}
		time.Sleep(natTimeout)
		if comes(asked) {
			t.Error("the NAT never forgets")
		}
	})
}

func TestSplitsAndCutsAreSilent(t *testing.T) {
	wired(t, Conditions{}, func(t *testing.T, n *Net) {
		la, lb := n.Join("a", LinkConfig{}), n.Join("b", LinkConfig{})
		a, b := opens(t, la, 1), opens(t, lb, 1)
		var dropped []string
		stop := n.Tap(func(p Packet) { dropped = append(dropped, p.Dropped) })
		send := func() string {
			writes(t, a, "hello", b)
			text, _ := hears(b, time.Second)
			return text
		}
		n.Split([]*Link{lb})
		split := send()
		n.Heal()
		lb.Off()
		cut := send()
		lb.On()
		whole := send()
		if _, err := a.WriteTo([]byte("hello"), &net.UDPAddr{IP: net.IPv4(9, 9, 9, 9), Port: 1}); err != nil {
			t.Errorf("who writes to nobody is told so: %v", err)
		}
		stop()
		if split+cut != "" || whole != "hello" || !slices.Equal(dropped, []string{"split", "off", "", "nobody"}) {
			t.Errorf("heard %q, %q, %q; the tap tells %q", split, cut, whole, dropped)
		}
	})
}

// Ports of one household share its uplink.
func TestOneLinkHasOneBandwidth(t *testing.T) {
	wired(t, Conditions{}, func(t *testing.T, n *Net) {
		from, to := n.Join("a", LinkConfig{Up: 1_000_000}), n.Join("b", LinkConfig{})
		one, two, b := opens(t, from, 1), opens(t, from, 2), opens(t, to, 1)
		began, text := time.Now(), string(make([]byte, 1200))
		for range 20 {
			writes(t, one, text, b)
			writes(t, two, text, b)
		}
		var came int
		var last time.Time
		for text, _ := hears(b, time.Second); text != ""; text, _ = hears(b, time.Second) {
			came, last = came+len(text), time.Now()
		}
		// The queue lets some go that waited long (CoDel), and a few may come at once.
		if rate := float64(8*came) / last.Sub(began).Seconds(); came < 40_000 || rate < 0.8e6 || rate > 1.2e6 {
			t.Errorf("%d bytes came at %.0f bit/s, over a link of 1 Mbit/s", came, rate)
		}
	})
}
