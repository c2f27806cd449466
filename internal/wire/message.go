// Package wire reads hostile DNS queries and writes answers to them, from bytes to bytes and without
// allocating: [Query.Parse] decides what a packet deserves, [Builder] appends the reply to a slice of the
// caller's. It knows the format of messages (RFC 1035 §4, RFC 6891 §6) and nothing of zones.
package wire

import "encoding/binary"

// AdvertisedUDPSize is the payload size in octets that replies announce in their OPT record: what arrives
// unfragmented on any path that matters (RFC 9715 §3).
const AdvertisedUDPSize = 1232

// minUDPSize is what every client takes (RFC 1035 §4.2.1), whatever smaller it claims (RFC 6891 §6.2.3).
const minUDPSize = 512

// maxMessage is the largest message that the length field of TCP can frame (RFC 1035 §4.2.2).
const maxMessage = 65535

const (
	headerLen    = 12  // RFC 1035 §4.1.1
	maxName      = 255 // RFC 1035 §2.3.4, with the root label
	recordFixed  = 10  // TYPE, CLASS, TTL, RDLENGTH: RFC 1035 §4.1.3
	emptyOPTSize = 11  // root owner and recordFixed: RFC 6891 §6.1.2
	optionHeader = 4   // OPTION-CODE, OPTION-LENGTH: RFC 6891 §6.1.2
)

// The second 16 bits of a header (RFC 1035 §4.1.1, RFC 4035 §3).
const (
	flagQR uint16 = 1 << 15
	flagRD uint16 = 1 << 8
	flagCD uint16 = 1 << 4

	opcodeShift        = 11
	opcodeMask  uint16 = 0xf << opcodeShift
)

// Flags are the header bits that the writer of a reply decides.
type Flags uint16

// RFC 1035 §4.1.1.
const (
	AA Flags = 1 << 10 // authoritative answer
	TC Flags = 1 << 9  // truncated: ask again over TCP
)

// The flags field of an OPT record's TTL.
const (
	ednsDO uint16 = 0x8000 // RFC 3225 §3
	ednsCO uint16 = 0x4000 // RFC 9824 §5.1
)

// Options of an OPT record.
const (
	optionNSID uint16 = 3  // RFC 5001
	optionEDE  uint16 = 15 // RFC 8914
)

// Types that change how a query is read.
const (
	typeOPT  uint16 = 41
	typeTSIG uint16 = 250
	typeIXFR uint16 = 251
)

// OpcodeQuery is the one opcode that gets answers (RFC 1035 §4.1.1).
const OpcodeQuery uint8 = 0

// Rcode is a response code of up to 12 bits; the upper 8 travel in the OPT record (RFC 6891 §6.1.3).
type Rcode uint16

// RFC 6895 §2.3.
const (
	RcodeNoError  Rcode = 0
	RcodeFormErr  Rcode = 1
	RcodeServFail Rcode = 2
	RcodeNXDomain Rcode = 3
	RcodeNotImp   Rcode = 4
	RcodeRefused  Rcode = 5
	RcodeNotAuth  Rcode = 9
	RcodeBadVers  Rcode = 16
)

// replyFlags is the second 16 bits of a reply to a query that had flags there. RD is copied (RFC 1035 §4.1.1).
// RA and AD stay clear: there is no recursion and no validation. CD stays clear too: the rule to copy it is
// for the recursive side (RFC 4035 §3.2.2), an authoritative response SHOULD clear it (RFC 4035 §3.1.6).
func replyFlags(flags uint16, set Flags, rcode Rcode) uint16 {
	return flagQR | flags&(opcodeMask|flagRD) | uint16(set&(AA|TC)) | uint16(rcode&0xf)
}

// AppendError appends the smallest reply to packet: a bare header with the low four bits of rcode. It needs
// nothing but the header, so it serves when the packet could not be worked on at all. It returns out as it
// is when no reply is due, by the rules of [Drop].
func AppendError(out, packet []byte, rcode Rcode) []byte {
	if len(packet) < headerLen {
		return out
	}
	flags := binary.BigEndian.Uint16(packet[2:])
	if flags&flagQR != 0 {
		return out
	}
	out = append(out, packet[0], packet[1])
	out = binary.BigEndian.AppendUint16(out, replyFlags(flags, 0, rcode))
	return append(out, 0, 0, 0, 0, 0, 0, 0, 0)
}
