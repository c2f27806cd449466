package server

import (
	"errors"
	"time"

	"github.com/mxseal/mxseal/internal/wire"
	"github.com/mxseal/mxseal/keymgmt"
	"github.com/mxseal/mxseal/zone"
)

// errUnsigned means that a signer succeeded without a signature.
var errUnsigned = errors.New("the signer made no signature")

// fault is why a question cannot be answered. The zone and the error may be empty.
type fault struct {
	why  failure
	zone string
	err  error
}

// fromState answers a question of class IN from one state.
func (r *responder) fromState() (reply, *fault) {
	q, s := &r.q, r.s
	name, err := zone.NameFromWire(q.Name())
	if err != nil { // cannot be: Parse has the same rules
		return reply{rcode: wire.RcodeFormErr, outcome: outFormErr}, nil
	}
	typ := zone.Type(q.Type)
	mark, apex, cacheable := s.markOf(name, typ) // before the state
	state := s.State()
	if state == nil {
		return reply{}, &fault{why: failNotReady}
	}
	if typ == zone.TypeAXFR || typ == zone.TypeIXFR {
		// A zone that is signed online cannot be had by transfer.
		if zone.Enclosing(state, name) == nil {
			return refused(edeNotAuthoritative), nil
		}
		return refused(edeProhibited), nil
	}
	a := zone.Lookup(state, state, name, typ)
	switch a.Outcome {
	case zone.NotHere:
		return refused(edeNotAuthoritative), nil
	case zone.NoKeys:
		return reply{}, &fault{why: failNoKeys, zone: a.Zone.Name.String()}
	case zone.Broken:
		return reply{}, &fault{why: failBroken, zone: a.Zone.Name.String()}
	}
	w := &writer{s: s, keys: state.KeySet(a.Zone.Name), zone: a.Zone, now: r.now}
	w.reply.span = forever()
	if err := w.write(q, a); err != nil {
		return reply{}, &fault{failSigning, a.Zone.Name.String(), err}
	}
	w.reply.mark, w.reply.cacheable = mark, cacheable && a.Zone.Name == apex
	return w.reply, nil
}

// writer collects and signs what one answer from a zone has.
type writer struct {
	s     *Server
	keys  *keymgmt.KeySet
	zone  *zone.Zone
	now   time.Time
	reply reply
}

// write turns an answer into records. DNSSEC records come with DO, or when they were asked for (RFC 4035 §3.1).
func (w *writer) write(q *wire.Query, a zone.Answer) error {
	w.reply.flags = wire.AA
	w.reply.outcome = outNoError
	switch a.Outcome {
	case zone.Positive:
		return w.add(wire.Answer, a.RRset, q.DO)
	case zone.OwnNSEC:
		return w.add(wire.Answer, w.s.Signer.Denial(a), q.DO)
	case zone.OwnRRSIG:
		set := a.RRset
		if set.IsEmpty() {
			set = w.s.Signer.Denial(a)
		}
		err := w.add(wire.Answer, set, true)
		w.reply.sets[0].sigsOnly = true
		return err
	}
	return w.deny(q, a)
}

// deny writes a negative answer: the SOA (RFC 2308 §3) and with DO the one NSEC of compact denial (RFC 9824 §3). A
// name that does not exist is NXDOMAIN to those who do not look at the NSEC, and to those who say that they know of
// compact denial (RFC 9824 §5); to others, NXDOMAIN with this proof would be bogus.
func (w *writer) deny(q *wire.Query, a zone.Answer) error {
	w.reply.outcome = outNoData
	if a.Outcome == zone.NoName {
		w.reply.outcome = outNXName
		if !q.DO || q.CO {
			w.reply.outcome = outNXDomain
			w.reply.rcode = wire.RcodeNXDomain
		}
	}
	if err := w.add(wire.Authority, a.Zone.SOA(), q.DO); err != nil || !q.DO {
		return err
	}
	return w.add(wire.Authority, w.s.Signer.Denial(a), true)
}

// add appends an RRset, signed or for those who do not want signatures.
func (w *writer) add(in wire.Section, set zone.RRset, sign bool) error {
	sec := section{in: in, set: set}
	if sign {
		sigs, span, err := w.s.Signer.Sign(w.keys, w.zone, set, w.now)
		if err != nil {
			return err
		}
		if len(sigs) == 0 {
			return errUnsigned
		}
		sec.sigs = sigs
		w.reply.span = w.reply.span.Both(span)
	}
	w.reply.sets[w.reply.count] = sec
	w.reply.count++
	return nil
}
