package wire

import (
	"net/netip"
	"time"
)

// NATKind is what a NAT does beside keeping strangers out, in the terms of RFC 4787.
type NATKind int

// The kinds. All but the first give a port outside to each port inside, which is another one.
const (
	Filtering         NATKind = iota // translates nothing
	FullCone                         // one port outside for each inside, and everybody may send to it
	AddressRestricted                // one port outside; who may send is known by address
	PortRestricted                   // one port outside; who may send is known by address and port
	Symmetric                        // a port outside for each that is spoken to, who alone may send
	CarrierGrade                     // as PortRestricted, behind one address for all links of this kind
)

// carrier is the address of all CarrierGrade links.
var carrier = netip.AddrFrom4([4]byte{20, 255, 255, 1})

// mapKey is whom a port outside is for: a port inside and, with Symmetric, whom it speaks to.
type mapKey struct {
	local uint16
	to    netip.AddrPort
}

// outer is what is behind an address and port outside.
type outer struct {
	link  *Link
	local uint16
}

func (l *Link) publicIP() netip.Addr {
	if l.cfg.Kind == CarrierGrade {
		return carrier
	}
	return l.ip
}

// outside is where a packet seems to come from. The caller holds net.mu.
func (l *Link) outside(local uint16, to netip.AddrPort) netip.AddrPort {
	if l.cfg.Kind == Filtering || local == l.cfg.Open {
		return netip.AddrPortFrom(l.ip, local)
	}
	key := mapKey{local: local}
	if l.cfg.Kind == Symmetric {
		key.to = to
	}
	ip := l.publicIP()
	port, ok := l.maps[key]
	if !ok {
		for port = 20000; ; port++ {
			if _, taken := l.net.outer[netip.AddrPortFrom(ip, port)]; !taken {
				break
			}
		}
		l.maps[key] = port
		l.net.outer[netip.AddrPortFrom(ip, port)] = outer{l, local}
	}
	return netip.AddrPortFrom(ip, port)
}

// inside is the port that a packet from a stranger goes to, and whether it may. The caller holds net.mu.
func (l *Link) inside(port uint16, from netip.AddrPort) (local uint16, passes bool) {
	local = port
	if !l.cfg.NAT || l.cfg.Open != 0 && port == l.cfg.Open {
		return local, true
	}
	if l.cfg.Kind != Filtering {
		o, ok := l.net.outer[netip.AddrPortFrom(l.publicIP(), port)]
		if !ok {
			return local, false
		}
		local = o.local
		if l.cfg.Kind == Symmetric && l.maps[mapKey{local, from}] != port {
			return local, false
		}
	}
	recent := func(f flow) bool {
		at, ok := l.went[f]
		return ok && time.Since(at) <= natTimeout
	}
	switch l.cfg.Kind {
	case FullCone, AddressRestricted:
		for f := range l.went {
			if f.local == local && (l.cfg.Kind == FullCone || f.ip == from.Addr()) && recent(f) {
				return local, true
			}
		}
		return local, false
	}
	return local, recent(flow{local, from.Port(), from.Addr()})
}
