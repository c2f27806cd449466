package server

import (
	"encoding/binary"
	"math"
	"strings"

	"github.com/mxseal/mxseal/internal/epoch"
	"github.com/mxseal/mxseal/internal/memo"
	"github.com/mxseal/mxseal/internal/rrsig"
	"github.com/mxseal/mxseal/internal/wire"
	"github.com/mxseal/mxseal/zone"
)

// answers is the answer cache. Names that do not exist, of which anybody can make up as many as they like, have a part of their
// own and push out nothing but each other.
type answers struct{ known, unknown *memo.Table[answer] }

// answer is one without header, question and OPT record.
type answer struct {
	records string
	counts  wire.Counts
	rcode   wire.Rcode
	outcome outcome
	mark    epoch.Mark // current while no commit has changed the answer
	span    rrsig.Span // of its signatures
	next    *answer    // to the same question, for when the span is over; nil if it is not made yet
}

// answerSize is the memory that an answer takes besides its records.
const answerSize = 96

// isCurrent reports whether the answer may be given in second now.
func (a *answer) isCurrent(now int64) bool {
	return now >= a.span.From && now <= a.span.Until && a.mark.Current()
}

// line is how many octets a processor's cache reads at a time.
const line = 64

// read reads what an answer consists of, for memo.Table.Fetch: of the records as much as an answer over UDP mostly has.
func (a *answer) read() (sum int) {
	if a.mark.Current() {
		sum++
	}
	for i := 0; i < min(len(a.records), 8*line); i += line {
		sum += int(a.records[i])
	}
	return sum + int(a.span.From)
}

// at returns the answer that may be given in second now, this one or the next; nil if there is none.
func (a *answer) at(now int64) *answer {
	for a != nil && !a.isCurrent(now) {
		a = a.next
	}
	return a
}

// A quarter is for names that do not exist.
func newAnswers(limit int64, m *Metrics) answers {
	part := func(limit int64, m *partMetrics) *memo.Table[answer] {
		return memo.New(memo.Options[answer]{Limit: limit, Spent: func(a *answer, now int64) bool { return a.at(now) == nil },
			Evictions: m.evictions, Octets: m.octets})
	}
	return answers{known: part(limit-limit/4, &m.known), unknown: part(limit/4, &m.unknown)}
}

// get returns the answer for a key that may be given in second now, nil if there is none; it is late if there was one in use until
// its signatures came to their end, and the next had not been made by then. It looks in both parts: which of them a name is in is
// only known from its answer.
func (a answers) get(key []byte, now int64) (found *answer, late bool) {
	for _, part := range [...]*memo.Table[answer]{a.known, a.unknown} {
		last, used := part.Get(key)
		if found = last.at(now); found != nil {
			return found, false
		}
		late = late || used && now > last.span.Until && last.mark.Current()
	}
	return nil, late
}

// put remembers an answer under a key. Both lie next to each other in memory, since one is read after the other.
func (a answers) put(key, records []byte, found answer, now int64) {
	both := string(append(key, records...))
	found.records = both[len(key):]
	part := a.known
	if found.outcome == outNXName || found.outcome == outNXDomain {
		part = a.unknown
	}
	part.Put(both[:len(key)], found, len(records), now)
}

// Flags in the last octet of a key: those of EDNS (RFC 3225 §3, RFC 9824 §5.1), of which the message has them in that place too.
const (
	keyDO = 0x80
	keyCO = 0x40
)

// cacheKey appends what an answer depends on besides the state and the time: name, type, and whether DO and CO are set. How
// much room the client has does not matter: entries are whole, and are used only if they fit.
func cacheKey(key []byte, q *wire.Query) []byte {
	var flags byte
	if q.DO {
		flags |= keyDO
	}
	if q.CO {
		flags |= keyCO
	}
	return append(append(key, q.Name()...), byte(q.Type>>8), byte(q.Type), flags)
}

// splitKey is the reverse of cacheKey.
func splitKey(key string) (name string, typ zone.Type, flags byte) {
	n := len(key) - 3
	return key[:n], zone.Type(key[n])<<8 | zone.Type(key[n+1]), key[n+2]
}

// appendQuery appends a query that has a key of this name, type and flags.
func appendQuery(p []byte, name string, typ zone.Type, flags byte) []byte {
	p = append(p, 0x6d, 0x78, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1) // RFC 1035 §4.1.1: one question, one additional record
	p = append(p, name...)
	p = binary.BigEndian.AppendUint16(p, uint16(typ))
	p = binary.BigEndian.AppendUint16(p, classIN)
	p = append(p, 0, 0, typeOPT) // RFC 6891 §6.1.2: root, OPT
	p = binary.BigEndian.AppendUint16(p, wire.AdvertisedUDPSize)
	return append(p, 0, 0, flags, 0, 0, 0) // version 0, no options
}

// forever is the span of an answer without signatures.
func forever() rrsig.Span { return rrsig.Span{From: math.MinInt64, Until: math.MaxInt64} }

// markOf takes the epochs that an answer about a name depends on, before the state that the answer is made from is read; false
// if it depends on more than its zone and its label, or is not worth it.
func (s *Server) markOf(name zone.Name, typ zone.Type) (m epoch.Mark, apex zone.Name, ok bool) {
	state := s.State()
	if state == nil {
		return m, apex, false
	}
	z := zone.Enclosing(state, name)
	if z == nil || typ == zone.TypeDS && name == z.Name || strings.Contains(name.Wire(), "\x07_signal") {
		return m, apex, false // a DS is the parent's; signals are of other zones (RFC 9615)
	}
	return s.Mark(z.Name, name.LabelBelow(z.Name)), z.Name, true
}
