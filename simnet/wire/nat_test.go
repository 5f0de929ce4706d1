package wire

import (
	"net"
	"testing"
	"time"
)

// Who may send to a home behind each kind of NAT, once it has spoken to one port of b.
func TestNATKinds(t *testing.T) {
	for _, row := range []struct {
		kind                             NATKind
		otherPort, otherAddress, onePort bool // b's other port and c are let in; c sees the port that b sees
		translates                       bool
	}{
		{kind: Filtering, onePort: true},
		{kind: FullCone, otherPort: true, otherAddress: true, onePort: true, translates: true},
		{kind: AddressRestricted, otherPort: true, onePort: true, translates: true},
		{kind: PortRestricted, onePort: true, translates: true},
		{kind: Symmetric, translates: true},
		{kind: CarrierGrade, onePort: true, translates: true},
	} {
		wired(t, Conditions{}, func(t *testing.T, n *Net) {
			link := n.Join("a", LinkConfig{NAT: true, Kind: row.kind})
			a := opens(t, link, 4001)
			atB, atC := n.Join("b", LinkConfig{}), n.Join("c", LinkConfig{})
			b, b2, c := opens(t, atB, 1), opens(t, atB, 2), opens(t, atC, 1)
			seen := func(at net.PacketConn) *net.UDPAddr {
				writes(t, a, "hello", at)
				at.SetReadDeadline(time.Now().Add(time.Second))
				_, from, err := at.ReadFrom(make([]byte, 100))
				if err != nil {
					t.Fatalf("kind %d: %v", row.kind, err)
				}
				return from.(*net.UDPAddr)
			}
			first := seen(b)
			if (first.Port != 4001) != row.translates || first.IP.Equal(link.IP().AsSlice()) == (row.kind == CarrierGrade) {
				t.Errorf("kind %d: b sees %v of %v", row.kind, first, link.IP())
			}
			in := func(from net.PacketConn) bool {
				if _, err := from.WriteTo([]byte("in"), first); err != nil {
					t.Fatal(err)
				}
				text, _ := hears(a, time.Second)
				return text == "in"
			}
			if !in(b) {
				t.Errorf("kind %d: whom it spoke to is not let in", row.kind)
			}
			if in(b2) != row.otherPort || in(c) != row.otherAddress {
				t.Errorf("kind %d lets others in, or keeps them out", row.kind)
			}
			if second := seen(c); (second.Port == first.Port) != row.onePort {
				t.Errorf("kind %d: b sees port %d, c sees %d", row.kind, first.Port, second.Port)
			}
			time.Sleep(natTimeout + time.Second)
			if in(b) {
				t.Errorf("kind %d forgets nothing", row.kind)
			}
		})
	}
	wired(t, Conditions{}, func(t *testing.T, n *Net) {
		one, other := opens(t, n.Join("one", LinkConfig{NAT: true, Kind: CarrierGrade}), 4001), opens(t, n.Join("other", LinkConfig{NAT: true, Kind: CarrierGrade}), 4001)
		b := opens(t, n.Join("b", LinkConfig{}), 1)
		from := map[string]bool{}
		for _, c := range []net.PacketConn{one, other} {
			writes(t, c, "hello", b)
			b.SetReadDeadline(time.Now().Add(time.Second))
			_, at, err := b.ReadFrom(make([]byte, 100))
			if err != nil {
				t.Fatal(err)
			}
			from[at.String()] = true
			if _, err := b.WriteTo([]byte("back"), at); err != nil {
				t.Fatal(err)
			}
			if text, _ := hears(c, time.Second); text != "back" {
				t.Errorf("the answer to %v did not come back", at)
			}
			if !at.(*net.UDPAddr).IP.Equal(carrier.AsSlice()) {
				t.Errorf("%v is not the carrier's address", at)
			}
		}
		if len(from) != 2 {
			t.Errorf("two homes behind one address are seen as %v", from)
		}
		mapped := n.Join("mapped", LinkConfig{NAT: true, Kind: PortRestricted, Open: 4001})
		c := opens(t, mapped, 4001)
		writes(t, b, "in", c)
		if text, _ := hears(c, time.Second); text != "in" {
			t.Error("a mapped port lets nobody in")
		}
	})
}
