// Package node introduces the three halves of Porchlight to each other: consent (who may ask,
// and what was answered), footage (recordings and what is made of them) and p2p (bytes between
// peers). It holds what every role has in common, the [Peer]; the packages home, agency and
// observer below it add what each role does. Below it, too: record, the public record for people; tiles, which serves
// dockets over HTTP; and backup.
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
// # What is on the disk when
//
// All state is written through the [State]'s disk (package durable). What a step has on the disk when
// it says that it is done, and what an error of it, or a crash amid it, leaves:
//
//	step                 done means                           otherwise
//	Create, agency.Init  keys, card and role are there        the folder is no node's, and is made anew
//	Docket.Append        entry, then checkpoint; only then    the docket as it was; no checkpoint of the
//	                     is the checkpoint shown              same size with another root is ever shown
//	Docket.Extend        all entries of a checkpoint          none of them
//	AdmitCharter         the version                          the versions before, or with it
//	Custody.Note         the line, before what it is about    the chain without it, or with it
//	home: approve        the answer's one record              none, or the error says it is not known
//	home: withdraw       the record says so                   it stops all the same; the error says what to
//	                                                          do should the node be restarted before
//	home: prepare        grant, keys, manifests and sealed    it is prepared anew
//	                     files, then the state "waiting"
//	home: key given      receipt, ledger and record           the key does not leave
//	home: delivered      the record                           it is sent again, and answered the same
//	home: cameras        the list                             nothing more is offered than before; what is
//	                                                          to be offered less counts until a restart
//	agency: acceptance   grant and acceptance                 the home sends the grant again
//	agency: blocks       all up to the last 2 MiB             what is there was verified
//	agency: receipt      the whole sealed file, measured      no receipt
//	agency: key          the key, then the state "open"       the home gives it again
//	agency: open         the reason, then the clip            no clip
//	agency: destroy      no byte of the key or the blocks     it is tried again every minute and at start
//
// After an error the node goes on, and does the step again when asked; a restart is never needed.
// Tests named TestFaults try every call that these steps make of the disk, with each thing that can go
// wrong there and each end that the process and the machine may come to.
//
// # How a command reaches a node
//
// A node's CLI talks to it over a unix socket in its folder ([ServeControl], [Client]); only the
// user who runs the node can open it. Commands are names with a JSON object of arguments, in one
// table ([Commands]), so that the CLI can also run those that need no network on the folder of a
// stopped node. There is no other way in and no remote administration. Where its owner names an address,
// a steward or observer serves what is public for reading (package tiles).
package node
