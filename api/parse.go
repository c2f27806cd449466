package api

import (
	"encoding/hex"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/mxseal/mxseal/zone"
)

// parser turns the texts of a request into the types of package zone and collects what cannot be one.
type parser struct{ errs zone.FieldErrors }

func (p *parser) report(field, rule string) {
	p.errs = append(p.errs, zone.FieldError{Field: field, Rule: rule})
}

// err is nil when everything could be read.
func (p *parser) err() error {
	if len(p.errs) == 0 {
		return nil
	}
	return p.errs
}

func (p *parser) name(field, text string) zone.Name {
	n, err := zone.ParseName(text)
	if err != nil {
		p.report(field, "must be a domain name: "+err.Error())
	}
	return n
}

func (p *parser) domains(field string, texts []string) []zone.Domain {
	domains := make([]zone.Domain, len(texts))
	for i, text := range texts {
		var err error
		if domains[i], err = zone.ParseDomain(text); err != nil {
			p.report(index(field, i), err.Error())
		}
	}
	return domains
}

func (p *parser) addresses(field string, texts []string) []netip.Addr {
	addrs := make([]netip.Addr, len(texts))
	for i, text := range texts {
		var err error
		if addrs[i], err = netip.ParseAddr(text); err != nil {
			p.report(index(field, i), "must be an IPv4 or IPv6 address")
		}
	}
	return addrs
}

func (p *parser) addrPorts(field string, texts []string) []netip.AddrPort {
	var addrs []netip.AddrPort
	for i, text := range texts {
		addrs = append(addrs, p.addrPort(index(field, i), text))
	}
	return addrs
}

func (p *parser) addrPort(field, text string) netip.AddrPort {
	a, err := netip.ParseAddrPort(text)
	if err != nil || a.Port() == 0 {
		p.report(field, "must be address:port, such as 203.0.113.1:53 or [2001:db8::1]:53")
	}
	return a
}

func (p *parser) hex(field, text string) []byte {
	b, err := hex.DecodeString(text)
	if err != nil {
		p.report(field, "must be pairs of hexadecimal digits")
	}
	return b
}

func (p *parser) duration(field string, text *string, into *time.Duration) {
	if text == nil {
		return
	}
	d, err := time.ParseDuration(*text)
	if err != nil {
		p.report(field, "must be a duration such as 8h, 30m or 1h30m")
	}
	*into = d
}

func (p *parser) time(field, text string) time.Time {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		p.report(field, "must be a time as in RFC 3339, such as 2030-01-31T12:00:00Z")
	}
	return t.UTC()
}

func index(field string, i int) string { return field + "[" + strconv.Itoa(i) + "]" }

// or returns what a request says, or the default when it is silent.
func or[T any](given *T, otherwise T) T {
	if given == nil {
		return otherwise
	}
	return *given
}

// durationText is the shortest form that parses to d: 8h and not 8h0m0s.
func durationText(d time.Duration) *string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return &s
}

// texts renders a slice of anything that knows its text; never nil, so that JSON has an array.
func texts[T interface{ String() string }](values []T) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = v.String()
	}
	return out
}
