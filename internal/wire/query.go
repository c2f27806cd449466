package wire

import "encoding/binary"

// Verdict is what a packet deserves.
type Verdict uint8

const (
	// Drop: no reply. The packet is too short to have a header to reply to, or is itself a response, and
	// answering responses is how two servers keep each other busy for ever.
	Drop Verdict = iota
	// FormErr: reply RCODE 1. The question is echoed if [Query.HasQuestion], the OPT record if
	// [Query.HasEDNS]; a [Builder] does both.
	FormErr
	// NotImp: reply RCODE 4, the opcode is not QUERY. Question and OPT record as for FormErr.
	NotImp
	// Accept: the query is well formed. Its EDNS version, a TSIG and types that cannot be asked for are
	// still the responder's to judge.
	Accept
)

// Query is one parsed query. It belongs to the loop that reads packets and is used again for each. After
// [Query.Parse] the fields hold what was understood up to the fault that the verdict is about; after [Drop]
// they mean nothing.
type Query struct {
	ID     uint16
	Opcode uint8
	RD     bool // recursion desired; copied into replies
	CD     bool // checking disabled; never copied, see RFC 4035 §3.1.6

	HasQuestion bool   // there is one question, and it is whole
	Type        uint16 // as sent, meta types included
	Class       uint16 // as sent

	HasEDNS bool   // an OPT record was found, so the reply must have one (RFC 6891 §6.1.1)
	Version uint8  // of EDNS; not 0 means BADVERS (RFC 6891 §6.1.3), and the options were not read
	UDPSize uint16 // the largest reply in octets that the client takes over UDP, at least 512
	DO      bool   // DNSSEC records wanted (RFC 3225 §3)
	CO      bool   // NXDOMAIN wanted with compact denial (RFC 9824 §5.1)
	NSID    bool   // name server identifier wanted; data in the option is ignored (RFC 5001 §2.1)

	// TSIG: the query is signed with a key. There are no keys here, so the reply is NOTAUTH (RFC 8945
	// §5.2.1), never an answer that the client could take for one whose request was authenticated.
	TSIG bool

	question []byte // name, type and class as sent; part of the packet
	nameLen  int
	name     [maxName]byte // in wire form and lower case
}

// Name returns the name asked for, uncompressed, in wire form and lower case, at most 255 octets. It is valid
// until the next Parse, and only if HasQuestion.
func (q *Query) Name() []byte { return q.name[:q.nameLen] }

// RawName returns the name asked for in wire form with the client's case. It is part of the packet, and nil
// unless HasQuestion.
func (q *Query) RawName() []byte { return q.question[:q.nameLen] }

// Parse reads one message, without the length that precedes it on TCP. The packet must stay as it is for as
// long as q or a [Builder] started with q is used. The rules are those of RFC 1035 §4 as strict as peers can
// expect: one question (RFC 9619 §4), no compression in it, no answers, authority records in IXFR alone (RFC
// 1995 §3), at most one OPT record (RFC 6891 §6.1.1) and one TSIG record, the last (RFC 8945 §5.1), nothing
// behind the last record. All other additional records are skipped.
func (q *Query) Parse(packet []byte) Verdict {
	*q = Query{UDPSize: minUDPSize}
	if len(packet) < headerLen {
		return Drop
	}
	flags := binary.BigEndian.Uint16(packet[2:])
	if flags&flagQR != 0 {
		return Drop
	}
	q.ID = binary.BigEndian.Uint16(packet)
	q.Opcode = uint8(flags & opcodeMask >> opcodeShift)
	q.RD = flags&flagRD != 0
	q.CD = flags&flagCD != 0

	wellFormed := q.parseBody(packet)
	switch {
	case q.Opcode != OpcodeQuery:
		// Sections may mean something else in other opcodes (RFC 2136 §2.2, RFC 8490 §5.4), so what the
		// body looks like cannot matter.
		return NotImp
	case !wellFormed || !q.HasQuestion || !q.sectionsFit(packet):
		return FormErr
	}
	return Accept
}

// sectionsFit reports whether a QUERY has records only where a question may bring some.
func (q *Query) sectionsFit(packet []byte) bool {
	answers := binary.BigEndian.Uint16(packet[6:])
	authority := binary.BigEndian.Uint16(packet[8:])
	return answers == 0 && (authority == 0 || q.Type == typeIXFR && authority == 1)
}

// parseBody reads what follows the header and reports whether it is what the counts promise.
func (q *Query) parseBody(packet []byte) bool {
	off := headerLen
	switch binary.BigEndian.Uint16(packet[4:]) {
	case 0:
	case 1:
		if off = q.parseQuestion(packet); off < 0 {
			return false
		}
	default:
		return false
	}
	return q.parseRecords(packet, off)
}

// parseQuestion reads the question behind the header and returns the offset of what follows it, or -1. There
// is nothing before the name for a pointer to point to, so a pointer there is a fault (RFC 1035 §4.1.4: to a
// prior occurrence), as are the extended label types (RFC 6891 §5).
func (q *Query) parseQuestion(packet []byte) int {
	end := headerLen
	for {
		if end >= len(packet) {
			return -1
		}
		length := int(packet[end])
		if length > 63 {
			return -1
		}
		end += 1 + length
		if end-headerLen > maxName {
			return -1
		}
		if length == 0 {
			break
		}
	}
	if len(packet)-end < 4 {
		return -1
	}
	q.nameLen = end - headerLen
	for i, c := range packet[headerLen:end] {
		// Length octets are below 'A', so there is no need to tell them from letters.
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		q.name[i] = c
	}
	q.Type = binary.BigEndian.Uint16(packet[end:])
	q.Class = binary.BigEndian.Uint16(packet[end+2:])
	q.question = packet[headerLen : end+4]
	q.HasQuestion = true
	return end + 4
}

// parseRecords walks the three record sections from off and reports whether they end where the packet ends.
// Every record takes at least 11 octets, so the counts cannot make it walk for long.
func (q *Query) parseRecords(packet []byte, off int) bool {
	first := int(binary.BigEndian.Uint16(packet[6:])) + int(binary.BigEndian.Uint16(packet[8:])) // of the additional section
	total := first + int(binary.BigEndian.Uint16(packet[10:]))
	for i := range total {
		owner := off
		if off = skipName(packet, off); off < 0 || len(packet)-off < recordFixed {
			return false
		}
		fixed := packet[off : off+recordFixed]
		off += recordFixed
		length := int(binary.BigEndian.Uint16(fixed[8:]))
		if len(packet)-off < length {
			return false
		}
		rdata := packet[off : off+length]
		off += length
		switch binary.BigEndian.Uint16(fixed) {
		case typeOPT:
			if i < first || packet[owner] != 0 || q.HasEDNS || !q.parseOPT(fixed, rdata) {
				return false
			}
		case typeTSIG:
			if i < first || i != total-1 {
				return false
			}
			q.TSIG = true
		}
	}
	return off == len(packet)
}

// parseOPT reads an OPT record (RFC 6891 §6.1.2, §6.1.3) and reports whether its options are framed well.
func (q *Query) parseOPT(fixed, rdata []byte) bool {
	q.HasEDNS = true
	q.UDPSize = max(binary.BigEndian.Uint16(fixed[2:]), minUDPSize)
	q.Version = fixed[5]
	flags := binary.BigEndian.Uint16(fixed[6:])
	q.DO = flags&ednsDO != 0
	q.CO = flags&ednsCO != 0
	if q.Version != 0 {
		return true // how a later version frames its options is not known: the reply is BADVERS, not FORMERR
	}
	for len(rdata) > 0 {
		if len(rdata) < optionHeader {
			return false
		}
		code := binary.BigEndian.Uint16(rdata)
		length := int(binary.BigEndian.Uint16(rdata[2:]))
		rdata = rdata[optionHeader:]
		if len(rdata) < length {
			return false
		}
		rdata = rdata[length:]
		if code == optionNSID {
			q.NSID = true
		}
	}
	return true
}

// skipName returns the offset behind the name at off, or -1. A pointer ends a name and is not followed, so
// there is no loop to fall into; where it leads does not matter for a record that is skipped.
func skipName(packet []byte, off int) int {
	for length := 0; off < len(packet); {
		c := int(packet[off])
		switch {
		case c == 0:
			return off + 1
		case c >= 0xc0:
			if off+2 > len(packet) {
				return -1
			}
			return off + 2
		case c > 63:
			return -1
		}
		off += 1 + c
		if length += 1 + c; length >= maxName { // the root label is still to come
			return -1
		}
	}
	return -1
}

// suffix returns where in the message the name in wire form lies that is the name asked for or an ancestor of
// it, or 0. The name must not be empty.
func (q *Query) suffix(name string) int {
	at := q.nameLen - len(name)
	if at < 0 || string(q.name[at:q.nameLen]) != name {
		return 0
	}
	for off := 0; off <= at; off += 1 + int(q.name[off]) {
		if off == at {
			return headerLen + at
		}
	}
	return 0 // equal octets, but not from the start of a label
}
