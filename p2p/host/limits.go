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

// resources bounds what strangers can make this process hold. libp2p's defaults allow 8 connections from one IPv4
// address, which is one street behind one carrier's NAT; here one address may hold a quarter of what the host takes.
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
			FD: rcmgr.LimitVal(inbound/2 + 64),
		},
	}
	v4 := []rcmgr.ConnLimitPerSubnet{{PrefixLength: 32, ConnCount: perAddr}}
	v6 := []rcmgr.ConnLimitPerSubnet{{PrefixLength: 56, ConnCount: perAddr}, {PrefixLength: 48, ConnCount: 2 * perAddr}}
	newConns := rate.Limit{RPS: float64(perAddr) / 16, Burst: 2 * perAddr}
	limiter := &rate.Limiter{
		NetworkPrefixLimits: []rate.PrefixLimit{ // loopback is this machine
			{Prefix: netip.MustParsePrefix("127.0.0.0/8")}, {Prefix: netip.MustParsePrefix("::1/128")},
		},
		SubnetRateLimiter: rate.SubnetLimiter{
			IPv4SubnetLimits: []rate.SubnetLimit{{PrefixLength: 32, Limit: newConns}},
			// A block of sites gets twice what one of them does, so that one that redials without end keeps none of the others out.
			IPv6SubnetLimits: []rate.SubnetLimit{{PrefixLength: 56, Limit: newConns},
				{PrefixLength: 48, Limit: rate.Limit{RPS: 2 * newConns.RPS, Burst: 2 * newConns.Burst}}},
			GracePeriod: time.Minute,
		},
	}
	return rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(over.Build(lim.Scale(memory, inbound+192))),
		rcmgr.WithMetricsDisabled(), rcmgr.WithLimitPerSubnet(v4, v6), rcmgr.WithConnRateLimiters(limiter))
}
