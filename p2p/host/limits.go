package host

import (
	"net/netip"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/network"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/libp2p/go-libp2p/x/rate"
)

// connections gives the connection manager's marks: above high it trims to low, unprotected and least useful first.
func connections(r Role) (low, high int) {
	switch r {
	case Steward:
		return 384, 512
	case Requester:
		return 96, 128
	}
	return 24, 48
}

// streams is how many one peer may have open towards this host. A steward brings up to 32 paths (package forward) and a
// few of its own; nobody brings paths to a home.
func streams(r Role) int {
	switch r {
	case Steward:
		return 40
	case Requester:
		return 20
	}
	return 16
}

// perPeerMemory bounds the windows of one peer's streams, and at a requester what deliveries are stored from. Windows grow
// up to half of it; at all of it the connection ends.
func perPeerMemory(r Role) rcmgr.LimitVal64 {
	if r == Requester {
		return 128 << 20
	}
	return 24 << 20
}

// resources bounds what strangers can make this process hold. libp2p's defaults allow 8 connections from one IPv4
// address, which is one street behind one carrier's NAT; here one address may hold a quarter of what the host takes, or
// a third where deliveries arrive, and the 256 addresses around it twice that.
//
// A stream whose data nobody reads holds yamux's initial window, so the streams of one peer are what bounds its memory (see
// streams). libp2p's further limit for streams that have not said yet what they are for is lifted: it is so low that three
// peers would use it up for everybody.
func resources(r Role, simulated bool) (network.ResourceManager, error) {
	if simulated {
		return &network.NullResourceManager{}, nil
	}
	memory, inbound, perAddr := int64(128<<20), 48, 16
	switch r {
	case Steward:
		memory, inbound, perAddr = 768<<20, 768, 192
	case Requester:
		memory, inbound, perAddr = 512<<20, 192, 64
	}
	lim := rcmgr.DefaultLimits
	libp2p.SetDefaultServiceLimits(&lim)
	over := rcmgr.PartialLimitConfig{
		System: rcmgr.ResourceLimits{
			Conns: rcmgr.LimitVal(inbound + 128), ConnsInbound: rcmgr.LimitVal(inbound), ConnsOutbound: 128,
			Streams: rcmgr.LimitVal(16 * (inbound + 128)), StreamsInbound: rcmgr.LimitVal(16 * inbound),
			StreamsOutbound: rcmgr.LimitVal(16 * (inbound + 128)), FD: rcmgr.LimitVal(inbound + 192), Memory: rcmgr.LimitVal64(memory),
		},
		Transient: rcmgr.ResourceLimits{
			Conns: rcmgr.LimitVal(inbound/2 + 64), ConnsInbound: rcmgr.LimitVal(inbound / 2), ConnsOutbound: 64,
			FD:      rcmgr.LimitVal(inbound/2 + 64),
			Streams: rcmgr.LimitVal(16 * (inbound + 128)), StreamsInbound: rcmgr.LimitVal(16 * inbound),
			StreamsOutbound: rcmgr.LimitVal(16 * (inbound + 128)),
		},
		PeerDefault: rcmgr.ResourceLimits{
			Conns: 8, ConnsInbound: 3, Memory: perPeerMemory(r),
			Streams: rcmgr.LimitVal(streams(r) + 64), StreamsInbound: rcmgr.LimitVal(streams(r)), StreamsOutbound: 64,
		},
	}
	v4 := []rcmgr.ConnLimitPerSubnet{{PrefixLength: 32, ConnCount: perAddr}, {PrefixLength: 24, ConnCount: 2 * perAddr}}
	v6 := []rcmgr.ConnLimitPerSubnet{{PrefixLength: 56, ConnCount: perAddr}, {PrefixLength: 48, ConnCount: 2 * perAddr}}
	newConns := rate.Limit{RPS: float64(perAddr) / 16, Burst: 2 * perAddr}
	blockConns := rate.Limit{RPS: 2 * newConns.RPS, Burst: 2 * newConns.Burst}
	limiter := &rate.Limiter{
		NetworkPrefixLimits: []rate.PrefixLimit{ // loopback is this machine
			{Prefix: netip.MustParsePrefix("127.0.0.0/8")}, {Prefix: netip.MustParsePrefix("::1/128")},
		},
		SubnetRateLimiter: rate.SubnetLimiter{
			// A block of sites gets twice what one of them does, so that one that redials without end keeps none of the others out.
			IPv4SubnetLimits: []rate.SubnetLimit{{PrefixLength: 32, Limit: newConns}, {PrefixLength: 24, Limit: blockConns}},
			IPv6SubnetLimits: []rate.SubnetLimit{{PrefixLength: 56, Limit: newConns}, {PrefixLength: 48, Limit: blockConns}},
			GracePeriod:      time.Minute,
		},
	}
	return rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(over.Build(lim.Scale(memory, inbound+192))),
		rcmgr.WithMetricsDisabled(), rcmgr.WithLimitPerSubnet(v4, v6), rcmgr.WithConnRateLimiters(limiter))
}
