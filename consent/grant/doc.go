// Package grant holds what is signed when footage is given: the owner's grant and the manifest of
// each release, the requester's acceptance and receipts, and the owner's decision behind them.
//
// # Documents
//
// All are envelopes of package consent.
//
//	kind        signed by         says
//	manifest    the grant key     what one release is: address, hashes, span, gaps, clock, originals
//	grant       the grant key     which releases answer which request, under which terms
//	acceptance  the reception key that the terms of a grant are agreed to
//	receipt     the reception key that a release is held, is used, was deleted, is kept by law, was passed on
//	act         an officer        what is to be done with a release, or that a grant that waits is accepted, and
//	                              why; it never leaves the agency
//	message     the reception key what a holder asks the owner for; sealed, in a daily entry
//	withdrawal  the grant key     that a release is taken back: it is to be deleted, or kept by law
//	extension   the grant key     that a holder may keep a release that is used until a later time
//	statement   the grant key     one line of text, which may answer a message
//	onward      the grant key     that a holder may pass a release on to one other agency, under which terms
//	taking      a docket key      a card: for whom another agency seals a release, and which key then signs
//	breach      the grant key     that a holder's docket fails one receipt, which it carries
//
// A release that was passed on has several holders. For each but the first the reception key is the one that its
// card names, and [Holding] is what binds it: the grant's terms, with what the owner said since.
//
// The grant key is made for one answer and never used again; it is also the identity of the
// session that carries the answer, so that nothing ties two answers of one home together. Its
// note name is [KeyName], the reception key's is [ReceptionName], for everybody.
//
// # Commitments
//
// What may be opened later, and to whom, is its maker's choice: the lasting authorship key, the
// originals a clip was cut from, the release that a docket's daily entry follows. A document
// carries SHA-256(salt ‖ value) with a fresh salt of 32 bytes ([Commit]); whoever was given the
// salt and the value checks it ([Commitment.Opens]).
//
// # Terms
//
// Terms are ordered: [Terms.TighterOrEqual] says whether one is as tight as another in every part. An
// owner may tighten what a request offers and never loosen it. The zero Terms grants nothing, the
// zero Decision is a refusal.
//
// The members are those of consent-receipt practice (ISO/IEC TS 27560:2023) in substance: the record's
// identifier is the [consent.GrantID]; the data subject stands in identity and key; the controller in agency;
// the purpose in request; storage in terms.retain_until and terms.unused_until; recipients and onward
// transfer in terms.recipients and terms.resharing; the events of the record's life are the acceptance
// and the receipts.
package grant
