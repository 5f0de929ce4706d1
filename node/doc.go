// Package node introduces the three halves of Porchlight to each other: consent (who may ask,
// and what was answered), footage (recordings and what is made of them) and p2p (bytes between
// peers). It holds what every role has in common, the [Peer]; the packages home, agency and
// observer below it add what each role does.
//
// # The choke points
//
// One function for each guarantee:
//
//   - Peer.readDocket: a docket entry starts to count for this node. Everything that came by
//     gossip, by catch-up or from the disk passes it.
//   - Docket.Append: an agency's node signs its docket. One restored from a backup asks first ([Restored]).
//   - home.send: footage leaves a home. It reads the owner's stored decision first.
//   - release.Open (package footage/release): a sealed release is opened.
//
// # How a command reaches a node
//
// A node's CLI talks to it over a unix socket in its folder ([ServeControl], [Client]); only the
// user who runs the node can open it. Commands are names with a JSON object of arguments, in one
// table ([Commands]), so that the CLI can also run those that need no network on the folder of a
// stopped node. There is no other way in: no web port, no remote administration.
package node
