package parent

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/zone"
)

const (
	fudge    = 300 // seconds that clocks may differ, as RFC 8945 §10 recommends
	maxRData = 1<<16 - 1
)

// Update pushes the DS RRset of child into the zone parent with one DNS UPDATE message (RFC 2136), signed with TSIG
// (RFC 8945): it deletes what is there and adds ds, RDATA in wire form, with a TTL in seconds. An empty ds deletes
// alone. It goes over TCP and is sent once. If it returns nil, the server has signed that it was done; with an error it
// may have been done all the same, and can be repeated.
func (c *Client) Update(ctx context.Context, parent, child zone.Name, server netip.AddrPort, key TSIG, ds []string, ttl uint32) error {
	if err := c.update(ctx, parent, child, server, key, ds, ttl); err != nil {
		return fmt.Errorf("update of the DS of %s at %s: %w", child, server, err)
	}
	return nil
}

func (c *Client) update(ctx context.Context, parent, child zone.Name, server netip.AddrPort, key TSIG, ds []string, ttl uint32) error {
	k, err := key.parse()
	if err != nil {
		return err
	}
	m, err := newUpdate(parent, child, ds, ttl)
	if err != nil {
		return err
	}
	r, mac, err := k.sign(m)
	if err != nil {
		return err
	}
	answer, raw, err := c.exchange(ctx, "tcp", server, r)
	if err != nil {
		return err
	}
	if answer.Rcode != dns.RcodeSuccess {
		return refusal(answer)
	}
	return k.verify(answer, raw, mac)
}

// newUpdate makes the message. Its parts are worked off in order and as a whole (RFC 2136 §3.4.2): nobody sees the
// child without DS in between.
func newUpdate(parent, child zone.Name, ds []string, ttl uint32) (*dns.Msg, error) {
	if err := checkBelow(child, parent); err != nil {
		return nil, err
	}
	m := newRequest(dns.OpcodeUpdate, parent, dns.TypeSOA)
	m.RemoveRRset([]dns.RR{&dns.ANY{Hdr: dns.RR_Header{Name: child.String(), Rrtype: dns.TypeDS}}})
	for _, rdata := range ds {
		if len(rdata) < minDS || len(rdata) > maxRData {
			return nil, fmt.Errorf("DS record with %d octets", len(rdata))
		}
		m.Ns = append(m.Ns, &dns.RFC3597{
			Hdr:   dns.RR_Header{Name: child.String(), Rrtype: dns.TypeDS, Class: dns.ClassINET, Ttl: ttl},
			Rdata: hex.EncodeToString([]byte(rdata)),
		})
	}
	return m, nil
}

// refusal says what is known of an update that was not done. Whether the answer is signed makes no difference: forged
// or not, there is none that says that it was done.
func refusal(answer *dns.Msg) error {
	text := "the server answers " + rcodeName(answer.Rcode)
	if t := answer.IsTsig(); t != nil && t.Error != dns.RcodeSuccess {
		text += ", TSIG error " + rcodeName(int(t.Error))
	}
	return errors.New(text)
}
