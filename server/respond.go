package server

import (
	"time"

	"github.com/mxseal/mxseal/internal/epoch"
	"github.com/mxseal/mxseal/internal/rrsig"
	"github.com/mxseal/mxseal/internal/wire"
	"github.com/mxseal/mxseal/zone"
)

// Transport is how a query came.
type Transport uint8

const (
	UDP Transport = iota
	TCP
	probe // by the readiness check; like TCP, but counted apart
	transports
)

const (
	classIN = 1  // RFC 1035 §3.2.4
	classCH = 3  // RFC 1035 §3.2.4
	typeOPT = 41 // RFC 6891 §6.1.1: cannot be asked for
	maxTCP  = 1<<16 - 1
)

// Extended errors (RFC 8914 §4; 30: RFC 9824 §3.5). Texts are for people and must not tell anything about the inside.
const (
	edeOther            = 0
	edeNotReady         = 14
	edeProhibited       = 18
	edeNotAuthoritative = 20
	edeInvalidQueryType = 30
)

// Respond appends the reply to one query to out. It returns out as it is when no reply is due. The packet is without
// the length that precedes it on TCP, and must not overlap with out. It is safe for concurrent use.
func (s *Server) Respond(out, packet []byte, via Transport) []byte {
	r := s.responders.Get().(*responder)
	r.now = s.Now()
	out = r.answer(out, packet, via)
	r.count.flush(s.Metrics)
	r.q, r.b = wire.Query{}, wire.Builder{} // so that the pool does not hold on to the caller's memory
	s.responders.Put(r)
	return out
}

// responder answers one query after the other. It belongs to the loop that reads them.
type responder struct {
	s     *Server
	now   time.Time // of the batch of queries
	q     wire.Query
	b     wire.Builder
	key   []byte
	count tally
}

// answer is respond behind a recover: a panic costs one query, not the server.
func (r *responder) answer(out, packet []byte, via Transport) (reply []byte) {
	defer func() {
		if p := recover(); p != nil {
			r.s.panicked(p)
			r.s.Metrics.failures[failPanic].Inc()
			reply = wire.AppendError(out, packet, wire.RcodeServFail)
			r.count.responses[via][outServFail]++
		}
	}()
	return r.respond(out, packet, via)
}

// respond takes the three steps: understand the query, decide what to say, write it down. The answer cache stands
// between the first and the second.
func (r *responder) respond(out, packet []byte, via Transport) []byte {
	verdict := r.q.Parse(packet)
	if verdict == wire.Drop {
		reason := dropResponse
		if len(packet) < headerLen {
			reason = dropShort
		}
		r.s.Metrics.dropped[reason].Inc()
		return out
	}
	asks := verdict == wire.Accept && r.q.Class == classIN && r.q.Version == 0 && !r.q.TSIG
	if asks {
		r.key = cacheKey(r.key[:0], &r.q)
		e, late := r.s.answers.get(r.key, r.now.Unix())
		if e != nil {
			r.start(out, via)
			if r.b.Restore(e.records, e.counts) {
				r.count.hits++
				r.count.responses[via][e.outcome]++
				return r.b.Finish(e.rcode, wire.AA)
			}
		}
		if late {
			r.count.late++
		} else {
			r.count.misses++
		}
	}
	re := r.decide(verdict)
	re.cacheable = re.cacheable && asks
	return r.pack(out, &re, via)
}

// start begins a reply.
func (r *responder) start(out []byte, via Transport) {
	room := maxTCP
	if via == UDP {
		room = min(int(r.q.UDPSize), r.s.UDPSize)
	}
	r.b.Start(out, &r.q, room)
	r.b.NSID(r.s.NSID)
}

const headerLen = 12 // RFC 1035 §4.1.1

// decide says what a query deserves that has a header to reply to.
func (r *responder) decide(verdict wire.Verdict) reply {
	q := &r.q
	switch {
	case verdict == wire.NotImp:
		return reply{rcode: wire.RcodeNotImp, outcome: outNotImp}
	case verdict != wire.Accept:
		return reply{rcode: wire.RcodeFormErr, outcome: outFormErr}
	case q.Version != 0:
		return reply{rcode: wire.RcodeBadVers, outcome: outBadVers} // RFC 6891 §6.1.3
	case q.TSIG:
		return reply{rcode: wire.RcodeNotAuth, outcome: outNotAuth} // RFC 8945 §5.2.1
	case q.Class == classCH && r.s.Chaos:
		return r.s.chaos(q)
	case q.Class != classIN:
		return refused(edeNotAuthoritative)
	case q.Type == uint16(zone.TypeNXNAME) || q.Type == typeOPT: // RFC 9824 §3.5
		return reply{rcode: wire.RcodeFormErr, outcome: outFormErr, ede: ede{is: true, code: edeInvalidQueryType}}
	}
	re, fault := r.fromState()
	if fault != nil {
		return r.s.failed(fault)
	}
	return re
}

// reply is what to say, before it is written down.
type reply struct {
	rcode   wire.Rcode
	flags   wire.Flags
	outcome outcome
	ede     ede
	sets    [2]section // the first count of them
	count   int

	cacheable bool // it may be given again, while
	mark      epoch.Mark
	span      rrsig.Span
}

// ede is an extended error, if is is set.
type ede struct {
	is   bool
	code uint16
	text string
}

// section is an RRset with its signatures, and where it goes.
type section struct {
	in       wire.Section
	set      zone.RRset
	sigs     []string // RDATA of RRSIG records; none for an unsigned set
	sigsOnly bool     // the signatures were asked for: leave out what they sign
}

// remembered is the reply as the answer cache has it, without the records.
func (re *reply) remembered(counts wire.Counts) answer {
	return answer{counts: counts, rcode: re.rcode, outcome: re.outcome, mark: re.mark, span: re.span}
}

func refused(code uint16) reply {
	return reply{rcode: wire.RcodeRefused, outcome: outRefused, ede: ede{is: true, code: code}}
}

// pack writes a reply. Over UDP, what does not fit becomes an empty message with TC: resolvers may not use part of
// an RRset, and what they cannot use need not be sent (RFC 9715 §3).
func (r *responder) pack(out []byte, re *reply, via Transport) []byte {
	b := &r.b
	r.start(out, via)
	if re.ede.is {
		b.EDE(re.ede.code, re.ede.text)
	}
	flags := re.flags
	if !r.addRecords(re) {
		if via != UDP {
			failed := r.s.failed(&fault{why: failTooLarge})
			return r.pack(out, &failed, via)
		}
		b.Truncate()
		flags |= wire.TC
		r.s.Metrics.truncated.Inc()
	} else if re.cacheable {
		records, counts := b.Records()
		r.s.answers.put(r.key, records, re.remembered(counts), r.now.Unix())
	}
	r.count.responses[via][re.outcome]++
	return b.Finish(re.rcode, flags)
}

// addRecords reports whether everything fits.
func (r *responder) addRecords(re *reply) bool {
	for i := range re.sets[:re.count] {
		sec := &re.sets[i]
		owner, ttl := sec.set.Name().Wire(), sec.set.TTL()
		if !sec.sigsOnly {
			for j := range sec.set.Len() {
				if !r.b.AddRR(sec.in, owner, uint16(sec.set.Type()), r.q.Class, ttl, sec.set.RData(j)) {
					return false
				}
			}
		}
		for _, sig := range sec.sigs { // RFC 4034 §3: the TTL of what it covers
			if !r.b.AddRR(sec.in, owner, uint16(zone.TypeRRSIG), r.q.Class, ttl, sig) {
				return false
			}
		}
	}
	return true
}
