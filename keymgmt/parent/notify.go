package parent

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/zone"
)

const (
	typeDSYNC      = 66 // RFC 9859 §2; miekg/dns does not know it and gives it as an RFC3597
	schemeNotify   = 1  // RFC 9859 §2.3
	notifyTries    = 3  // of one address
	maxTargetAddrs = 4  // that are tried: whoever owns the name of the target decides how many it has
)

// ErrNoTarget is the error of Notify if the parent does not want to be notified of CDS records.
var ErrNoTarget = errors.New("the parent names no target for NOTIFY(CDS)")

// dsync is the RDATA of a DSYNC record (RFC 9859 §2.1).
type dsync struct {
	rrtype uint16
	scheme uint8
	port   uint16
	target zone.Name
}

// parseDSYNC reads RDATA in wire form. The name must not be compressed.
func parseDSYNC(rdata []byte) (dsync, error) {
	const fixed = 5 // octets before the target
	if len(rdata) < fixed {
		return dsync{}, fmt.Errorf("DSYNC record with %d octets", len(rdata))
	}
	target, err := zone.NameFromWire(rdata[fixed:])
	if err != nil {
		return dsync{}, fmt.Errorf("target of a DSYNC record: %w", err)
	}
	return dsync{binary.BigEndian.Uint16(rdata), rdata[2], binary.BigEndian.Uint16(rdata[3:]), target}, nil
}

// ZoneAbove returns the zone that child is delegated from, as one of its servers says.
func (c *Client) ZoneAbove(ctx context.Context, child zone.Name, servers []netip.AddrPort) (apex zone.Name, err error) {
	name := child.Parent()
	for _, server := range servers {
		var m *dns.Msg
		var records []dns.RR
		if m, err = c.query(ctx, server, name, dns.TypeSOA); err != nil {
			continue
		}
		if records, apex, err = authoritative(m, name, dns.TypeSOA); err != nil {
			continue
		}
		if len(records) > 0 {
			return name, nil
		}
		if err = checkBelow(child, apex); err == nil {
			return apex, nil
		}
	}
	return zone.Name{}, fmt.Errorf("zone that %s is delegated from: %w", child, err)
}

// Notify tells the parent that child has a new CDS RRset (RFC 9859 §4): it asks the servers of the parent for the
// target and sends it a NOTIFY message. It returns the target as host:port, also with an error if it got that far. The
// error is ErrNoTarget if the parent has no target for this child.
func (c *Client) Notify(ctx context.Context, child, parent zone.Name, servers []netip.AddrPort) (target string, err error) {
	d, err := c.discover(ctx, child, parent, servers)
	if err != nil {
		return "", err
	}
	target = hostPort(d.target, d.port)
	if d.target.IsRoot() || d.port == 0 {
		return target, fmt.Errorf("the DSYNC record for %s has the target %q, to which nothing can be sent", child, target)
	}
	addrs, err := c.resolve(ctx, d.target.String())
	if err != nil {
		return target, fmt.Errorf("addresses of %s for NOTIFY(CDS) of %s: %w", target, child, err)
	}
	var all []error
	for _, addr := range addrs[:min(len(addrs), maxTargetAddrs)] {
		server := netip.AddrPortFrom(addr.Unmap(), d.port)
		if err = c.tell(ctx, child, server); err == nil {
			return target, nil
		}
		all = append(all, fmt.Errorf("NOTIFY(CDS) of %s to %s at %s: %w", child, target, server, err))
	}
	return target, errors.Join(all...)
}

// resolve returns at least one address.
func (c *Client) resolve(ctx context.Context, host string) (addrs []netip.Addr, err error) {
	if c.Resolver != nil {
		addrs, err = c.Resolver(ctx, host)
	} else {
		addrs, err = net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	}
	if err == nil && len(addrs) == 0 {
		err = errors.New("there are none")
	}
	return addrs, err
}

// discover finds the DSYNC record for CDS and the scheme NOTIFY (RFC 9859 §4.1). As the parent zone is known, that
// procedure comes down to two names: that of the child, which a wildcard may answer for, and that of the parent. Once
// a name has DSYNC records, no other is asked for.
func (c *Client) discover(ctx context.Context, child, parent zone.Name, servers []netip.AddrPort) (dsync, error) {
	names, err := dsyncNames(child, parent)
	if err != nil {
		return dsync{}, err
	}
	for _, name := range names {
		records, err := c.askDSYNC(ctx, name, parent, servers)
		if err != nil {
			return dsync{}, err
		}
		for _, d := range records {
			if d.rrtype == dns.TypeCDS && d.scheme == schemeNotify {
				return d, nil // there must not be another (RFC 9859 §3)
			}
		}
		if len(records) > 0 {
			break
		}
	}
	return dsync{}, fmt.Errorf("%s: %w", child, ErrNoTarget)
}

// dsyncNames returns <labels of the child>._dsync.<parent> and _dsync.<parent>. The first is missing if it would be
// too long.
func dsyncNames(child, parent zone.Name) ([]zone.Name, error) {
	if err := checkBelow(child, parent); err != nil {
		return nil, err
	}
	general, err := parent.Child("_dsync")
	if err != nil {
		return nil, fmt.Errorf("_dsync.%s: %w", parent, err)
	}
	var labels []string
	for n := child; n != parent; n = n.Parent() {
		labels = append(labels, n.FirstLabel())
	}
	specific := general
	for i := len(labels) - 1; i >= 0; i-- {
		if specific, err = specific.Child(labels[i]); err != nil {
			return []zone.Name{general}, nil
		}
	}
	return []zone.Name{specific, general}, nil
}

// askDSYNC returns the DSYNC RRset of a name as the first server has it that gives an authoritative answer.
func (c *Client) askDSYNC(ctx context.Context, name, parent zone.Name, servers []netip.AddrPort) ([]dsync, error) {
	if len(servers) == 0 {
		return nil, fmt.Errorf("DSYNC of %s: no server of %s is known", name, parent)
	}
	var all []error
	for _, server := range servers {
		records, err := c.askDSYNCAt(ctx, name, parent, server)
		if err == nil {
			return records, nil
		}
		all = append(all, fmt.Errorf("DSYNC of %s at %s: %w", name, server, err))
		if ctx.Err() != nil {
			break
		}
	}
	return nil, errors.Join(all...)
}

func (c *Client) askDSYNCAt(ctx context.Context, name, parent zone.Name, server netip.AddrPort) ([]dsync, error) {
	m, err := c.query(ctx, server, name, typeDSYNC)
	if err != nil {
		return nil, err
	}
	records, apex, err := authoritative(m, name, typeDSYNC)
	if err != nil {
		return nil, err
	}
	// _dsync.<parent> may be a zone of its own.
	if len(records) == 0 && !(name.Within(apex) && apex.Within(parent)) {
		return nil, fmt.Errorf("the answer is from the zone %s", apex)
	}
	var list []dsync
	for _, rr := range records {
		rdata, err := rdataOf(rr)
		if err != nil {
			return nil, err
		}
		d, err := parseDSYNC([]byte(rdata))
		if err != nil {
			return nil, err
		}
		list = append(list, d)
	}
	return list, nil
}

// tell sends NOTIFY(CDS) to one address (RFC 1996 §3, with the type of RFC 9859 §4) until it is acknowledged.
func (c *Client) tell(ctx context.Context, child zone.Name, server netip.AddrPort) error {
	var err error
	for range notifyTries {
		var answer *dns.Msg
		if answer, err = c.sendNotify(ctx, child, server); err == nil {
			if answer.Rcode != dns.RcodeSuccess {
				return fmt.Errorf("the target answers %s", rcodeName(answer.Rcode))
			}
			return nil
		}
		if ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
	}
	return fmt.Errorf("no answer to %d messages, the last: %w", notifyTries, err)
}

func (c *Client) sendNotify(ctx context.Context, child zone.Name, server netip.AddrPort) (*dns.Msg, error) {
	m := newRequest(dns.OpcodeNotify, child, dns.TypeCDS)
	m.Authoritative = true // RFC 1996 §3.7
	r, err := pack(m)
	if err != nil {
		return nil, err
	}
	answer, _, err := c.exchange(ctx, "udp", server, r)
	return answer, err
}
