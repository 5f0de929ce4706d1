// Package simnet runs whole neighbourhoods in virtual time: every home, steward and police node is the real one, with
// its folder on disk, its dockets and its libp2p host, and only the network and the clock are simulated. A minute of
// fifty homes takes seconds, and what is measured in it does not depend on how busy the machine is.
//
// The network is that of package wire, which says what its links do. Not simulated are TCP, mDNS and the time that
// computing takes. Keys are random and goroutines are scheduled as the machine likes, so figures repeat within some
// percent and not to the bit: tests assert bounds.
//
// # Stories
//
// [World] is a neighbourhood. People act in it by name (Police.Asks, Owner.Agrees, World.Splits), after the runner of
// Upspin's tests; when a story fails it prints what everybody did and what every node logged, in the order of virtual
// time, and what each person sees in the end: an owner's inbox, the police's vault.
//
//	town := wire.Conditions{Seed: 1, MinLatency: 20 * time.Millisecond, MaxLatency: 60 * time.Millisecond}
//	w := simnet.New(t, simnet.Config{Homes: 50, Conditions: town})
//	w.Settle(time.Minute)
//	id, at := w.Police.Asks()
//	w.Settle(5 * time.Second)
//	fmt.Println(w.Reach(id, at).Quantile(0.99))
//
// # Attackers
//
// Whoever means ill is a person of the story too: [Config.Attackers], and [World.Attacks] in the midst of it. An attacker
// runs a program of package attack, as a steward whom homes choose like any other or as a home that only dials out. What
// takes minutes runs where PORCHLIGHT_NIGHTLY is set, or is a scenario.
//
// # Scenarios
//
// [Scenario] is a neighbourhood with a timetable, in a TOML file: `porchlight sim` plays it and prints the [Result]. It
// counts for each request when each home had it, by gossip or by catching up, how many copies came, and how many bytes
// of UDP payload went in and out within five seconds, less what went in the five before.
// Package model computes the same for more homes than nodes would fit a machine.
package simnet
