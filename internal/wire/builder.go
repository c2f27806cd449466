package wire

import "encoding/binary"

// Section is a record section of a message (RFC 1035 §4.1).
type Section uint8

// In the order in which they must be filled.
const (
	Answer Section = iota
	Authority
	Additional
)

// Builder appends one reply to a slice of the caller's. The order of calls is [Builder.Start], what the OPT
// record shall carry, records by section, [Builder.Finish]; then Start again. The OPT record is written last
// and its room is kept free from the start, so that no record can push it out.
//
// Nothing is allocated while the slice has room for the limit. The zero Builder is ready for Start.
type Builder struct {
	q     *Query
	msg   []byte // the caller's slice; the message is msg[start:]
	start int
	limit int
	body  int // offset in msg behind the question

	section Section
	counts  Counts

	optRoom int // octets that the OPT record will take, 0 without EDNS
	nsid    string
	ede     extendedError
}

// extendedError is an EDE option (RFC 8914 §2); size is 0 while there is none.
type extendedError struct {
	code uint16
	text string
	size int
}

// Counts is how many records a message has in each section.
type Counts [3]uint16

// Mark is a state of a Builder to return to; see [Builder.Rewind].
type Mark struct {
	length  int
	section Section
	counts  Counts
}

// Start begins the reply to q behind what out already holds: header, the question in the client's case if
// there is one, and room for an OPT record if the query had one. The limit is the size of the message in
// octets; it is taken as at least 512 and at most 65535. The query must not change until Finish.
func (b *Builder) Start(out []byte, q *Query, limit int) {
	*b = Builder{q: q, start: len(out), limit: min(max(limit, minUDPSize), maxMessage)}
	var header [headerLen]byte // filled in by Finish
	b.msg = append(out, header[:]...)
	b.msg = append(b.msg, q.question...)
	b.body = len(b.msg)
	if q.HasEDNS {
		b.optRoom = emptyOPTSize
	}
}

// NSID puts the server's identifier into the OPT record, once, if the query asked for it (RFC 5001 §2.2), and
// reports whether it did: not when there is no room, and not when the identifier is empty.
func (b *Builder) NSID(id string) bool {
	size := optionHeader + len(id)
	if !b.q.NSID || id == "" || b.nsid != "" || size > b.room() {
		return false
	}
	b.nsid = id
	b.optRoom += size
	return true
}

// EDE puts an extended error into the OPT record (RFC 8914 §2), in place of an earlier one, and reports whether
// there is an OPT record and it fits. The text is for people and is left out when only the code fits.
func (b *Builder) EDE(code uint16, text string) bool {
	if !b.q.HasEDNS {
		return false
	}
	size := optionHeader + 2 + len(text)
	if size > b.room()+b.ede.size {
		text = ""
		size = optionHeader + 2
		if size > b.room()+b.ede.size {
			return false
		}
	}
	b.optRoom += size - b.ede.size
	b.ede = extendedError{code, text, size}
	return true
}

// AddRR appends a record and reports whether it could: not when it would not fit, and not when a later section
// has been begun. The message is unchanged then.
//
// The owner is a valid name in wire form and lower case. What it has in common with the end of the question's
// name becomes a pointer (RFC 1035 §4.1.4) and so takes the client's case. The RDATA is copied as it is: names
// in it stay uncompressed (RFC 3597 §4), as validators want them.
func (b *Builder) AddRR(section Section, owner string, typ, class uint16, ttl uint32, rdata string) bool {
	if section < b.section || section > Additional {
		return false
	}
	literal, pointer := b.compress(owner)
	size := literal + recordFixed + len(rdata)
	if pointer != 0 {
		size += 2
	}
	if size > b.room() {
		return false
	}
	m := append(b.msg, owner[:literal]...)
	if pointer != 0 {
		m = binary.BigEndian.AppendUint16(m, 0xc000|uint16(pointer))
	}
	m = binary.BigEndian.AppendUint16(m, typ)
	m = binary.BigEndian.AppendUint16(m, class)
	m = binary.BigEndian.AppendUint32(m, ttl)
	m = binary.BigEndian.AppendUint16(m, uint16(len(rdata))) // room is below 65536, so it cannot overflow
	b.msg = append(m, rdata...)
	b.section = section
	b.counts[section]++
	return true
}

// compress splits an owner into what is written out and the offset of the pointer that ends it, 0 for none.
func (b *Builder) compress(owner string) (literal, pointer int) {
	for off := 0; off < len(owner) && owner[off] != 0; off += 1 + int(owner[off]) {
		if at := b.q.suffix(owner[off:]); at != 0 {
			return off, at
		}
	}
	return len(owner), 0
}

// room is the number of octets that are left for records.
func (b *Builder) room() int { return b.limit - b.optRoom - (len(b.msg) - b.start) }

// Mark remembers the records added so far, so that a set can be added whole or not at all.
func (b *Builder) Mark() Mark { return Mark{len(b.msg), b.section, b.counts} }

// Rewind removes the records added since the mark was taken, which must be of this reply.
func (b *Builder) Rewind(m Mark) {
	b.msg = b.msg[:m.length]
	b.section = m.section
	b.counts = m.counts
}

// Truncate removes all records. Question and OPT record stay; TC is for the caller to set, in Finish.
func (b *Builder) Truncate() { b.Rewind(Mark{length: b.body}) }

// Records returns the records added so far, as they are in the message, and how many there are. Pointers in them point into the
// question alone: they are good for any reply to a question of the same name and type.
func (b *Builder) Records() ([]byte, Counts) { return b.msg[b.body:], b.counts }

// Restore adds what Records has returned, as the only records of the reply, and reports whether it fits. The message is
// unchanged if it does not.
func (b *Builder) Restore(records string, counts Counts) bool {
	if len(records) > b.room() {
		return false
	}
	b.msg = append(b.msg, records...)
	b.section, b.counts = Additional, counts
	return true
}

// Finish writes OPT record and header and returns the caller's slice with the message behind what it held.
// An rcode above 15 needs an OPT record (RFC 6891 §6.1.3) and becomes SERVFAIL without one.
func (b *Builder) Finish(rcode Rcode, flags Flags) []byte {
	if b.q.HasEDNS {
		b.appendOPT(rcode)
		b.counts[Additional]++
	} else if rcode > 0xf {
		rcode = RcodeServFail
	}
	h := b.msg[b.start:]
	asked := uint16(b.q.Opcode) << opcodeShift
	if b.q.RD {
		asked |= flagRD
	}
	binary.BigEndian.PutUint16(h, b.q.ID)
	binary.BigEndian.PutUint16(h[2:], replyFlags(asked, flags, rcode))
	if b.q.HasQuestion {
		h[5] = 1
	}
	for i, n := range b.counts {
		binary.BigEndian.PutUint16(h[6+2*i:], n)
	}
	return b.msg
}

// appendOPT writes the OPT record (RFC 6891 §6.1.2) into the room kept for it: version 0, DO and CO as asked
// (RFC 3225 §3, RFC 9824 §5.1), all other flags clear (RFC 6891 §6.1.4).
func (b *Builder) appendOPT(rcode Rcode) {
	var flags uint16
	if b.q.DO {
		flags |= ednsDO
	}
	if b.q.CO {
		flags |= ednsCO
	}
	m := append(b.msg, 0)
	m = binary.BigEndian.AppendUint16(m, typeOPT)
	m = binary.BigEndian.AppendUint16(m, AdvertisedUDPSize)
	m = append(m, byte(rcode>>4), 0)
	m = binary.BigEndian.AppendUint16(m, flags)
	m = binary.BigEndian.AppendUint16(m, uint16(b.optRoom-emptyOPTSize))
	if b.nsid != "" {
		m = binary.BigEndian.AppendUint16(m, optionNSID)
		m = binary.BigEndian.AppendUint16(m, uint16(len(b.nsid)))
		m = append(m, b.nsid...)
	}
	if b.ede.size != 0 {
		m = binary.BigEndian.AppendUint16(m, optionEDE)
		m = binary.BigEndian.AppendUint16(m, uint16(b.ede.size-optionHeader))
		m = binary.BigEndian.AppendUint16(m, b.ede.code)
		m = append(m, b.ede.text...)
	}
	b.msg = m
}
