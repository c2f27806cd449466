package dnstest

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/zone"
)

// CheckAnswer returns nil if m is a correct answer to q at now, from a server that is authoritative for a zone in
// keys and denies as RFC 9824 says. Refusals and failures are no answers: any RCODE but NOERROR and NXDOMAIN is an
// error, and so is a truncated message.
//
//   - Every RRset in the answer and authority sections has exactly one good signature of each algorithm of its
//     zone, with the right signer, labels and TTL, that lasts for the TTL and an hour beyond; there are no others.
//   - A positive answer is one RRset, of the name and type that was asked for (any type for ANY).
//   - A negative answer has the SOA and exactly one NSEC, at the name that was asked for, whose next name is the
//     next possible one and whose bitmap does not have the type that was asked for.
//   - A name that does not exist has the bitmap RRSIG NSEC NXNAME; the RCODE is NXDOMAIN only if CO was set.
//   - Without DO there are no RRSIG and NSEC records, unless one of them was asked for.
func CheckAnswer(keys Keys, q Query, m *dns.Msg, now time.Time) error {
	if err := checkAnswer(keys, q, m, now); err != nil {
		return fmt.Errorf("%s: %w\n%s", q, err, m)
	}
	return nil
}

func checkAnswer(keys Keys, q Query, m *dns.Msg, now time.Time) error {
	if err := checkHeader(q, m); err != nil {
		return err
	}
	answer, err := groupRecords(m.Answer)
	if err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	authority, err := groupRecords(m.Ns)
	if err != nil {
		return fmt.Errorf("authority: %w", err)
	}
	if q.DO {
		for _, set := range append(append([]*rrset{}, answer...), authority...) {
			if err := set.checkSignatures(keys, q, now); err != nil {
				return fmt.Errorf("%s: %w", set, err)
			}
		}
	} else if err := checkNoDNSSEC(q, m); err != nil {
		return err
	}
	name, err := nameOf(q.Name)
	if err != nil {
		return err
	}
	if len(answer) > 0 {
		return checkPositive(keys, q, name, m.Rcode, answer)
	}
	return checkNegative(keys, q, name, m.Rcode, authority)
}

// checkHeader checks flags, question and OPT record.
func checkHeader(q Query, m *dns.Msg) error {
	switch {
	case !m.Response || m.Opcode != dns.OpcodeQuery:
		return errors.New("is not a response to a query")
	case m.Truncated:
		return errors.New("is truncated")
	case m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError:
		return fmt.Errorf("has RCODE %s", dns.RcodeToString[m.Rcode])
	case !m.Authoritative || m.AuthenticatedData || m.RecursionAvailable || m.Zero:
		return errors.New("has wrong flags: AA must be set, and AD, RA and Z must be clear")
	case len(m.Question) != 1 || m.Question[0].Qtype != q.Type || m.Question[0].Qclass != dns.ClassINET:
		return errors.New("does not repeat the question")
	}
	asked, err := wireOf(q.Name)
	if err != nil {
		return err
	}
	repeated, err := wireOf(m.Question[0].Name)
	if err != nil {
		return err
	}
	if !bytes.Equal(asked, repeated) {
		return fmt.Errorf("changes the name in the question to %s", m.Question[0].Name)
	}
	return checkOPT(q, m)
}

// checkOPT: an OPT record comes with an answer if there was one with the query (RFC 6891 §7), with DO copied
// (RFC 3225 §3) and CO copied (RFC 9824 §5.1).
func checkOPT(q Query, m *dns.Msg) error {
	count := 0
	for _, rr := range m.Extra {
		if rr.Header().Rrtype == dns.TypeOPT {
			count++
		}
	}
	opt := m.IsEdns0()
	switch {
	case opt == nil && q.hasEDNS():
		return errors.New("has no OPT record, the query had one")
	case opt != nil && !q.hasEDNS():
		return errors.New("has an OPT record, the query had none")
	case opt == nil:
		return nil
	case count > 1:
		return errors.New("has more than one OPT record")
	case opt.Version() != 0 || opt.Do() != q.DO:
		return errors.New("has a wrong version or DO bit in the OPT record")
	case opt.Co() && !q.CO, q.DO && q.CO && !opt.Co():
		return errors.New("has a wrong CO bit in the OPT record")
	}
	return nil
}

// checkNoDNSSEC: RFC 4035 §3.1.
func checkNoDNSSEC(q Query, m *dns.Msg) error {
	for _, section := range [][]dns.RR{m.Answer, m.Ns, m.Extra} {
		for _, rr := range section {
			switch typ := rr.Header().Rrtype; typ {
			case dns.TypeRRSIG, dns.TypeNSEC, dns.TypeNSEC3:
				if typ != q.Type {
					return fmt.Errorf("has a record of type %s though DO is clear", dns.Type(typ))
				}
			}
		}
	}
	return nil
}

// checkPositive checks the RRsets of a non-empty answer section.
func checkPositive(keys Keys, q Query, name zone.Name, rcode int, answer []*rrset) error {
	if rcode != dns.RcodeSuccess {
		return errors.New("has records and says that the name does not exist")
	}
	if len(answer) != 1 {
		return fmt.Errorf("has %d RRsets", len(answer))
	}
	set := answer[0]
	typ := set.typ
	if len(set.records) == 0 {
		typ = dns.TypeRRSIG
	}
	if set.name != name || typ != q.Type && q.Type != dns.TypeANY {
		return fmt.Errorf("has the records of %s, which were not asked for", set)
	}
	if q.Type != dns.TypeNSEC {
		return nil
	}
	if len(set.records) != 1 {
		return errors.New("has more than one NSEC record")
	}
	apex, err := keys.signer(q, name, dns.TypeNSEC)
	if err != nil {
		return err
	}
	_, err = readNSEC(set, apex)
	return err
}
