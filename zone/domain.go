package zone

import (
	"errors"
	"net/netip"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/net/publicsuffix"
)

// Domain is an accepted domain in A-label form (RFC 5890), lower case, without final dot: "contoso.com",
// "xn--mnchen-3ya.de". It holds only what [ParseDomain] accepts.
type Domain string

// Errors of ParseDomain, each the rule that is broken.
var (
	ErrDomainEmpty   = errors.New("must be a domain name, not empty")
	ErrDomainAddress = errors.New("must be a domain name, not an IP address")
	ErrDomainLength  = errors.New("must be at most 253 octets long in A-label form")
	ErrDomainLabel   = errors.New("every label must have 1 to 63 octets")
	ErrDomainSyntax  = errors.New("must be a host name of letters, digits and hyphens, or a valid internationalized name (UTS 46, IDNA 2008)")
	ErrDomainSuffix  = errors.New("must be below a public suffix, not a public suffix itself")
)

// domainProfile maps as a browser's address bar does (UTS 46, non-transitional: ß stays ß) and then insists
// on the registration rules of IDNA 2008, host name syntax included.
func domainProfile() *idna.Profile {
	return idna.New(
		idna.MapForLookup(),
		idna.Transitional(false),
		idna.BidiRule(),
		idna.ValidateLabels(true),
		idna.StrictDomainName(true),
		idna.CheckHyphens(true),
		idna.CheckJoiners(true),
	)
}

// ParseDomain reads an accepted domain in U-label or A-label form. One final dot is tolerated.
func ParseDomain(text string) (Domain, error) {
	text = strings.TrimSuffix(text, ".")
	if text == "" {
		return "", ErrDomainEmpty
	}
	if _, err := netip.ParseAddr(strings.Trim(text, "[]")); err == nil {
		return "", ErrDomainAddress
	}
	if len(text) > 4*MaxNameLen { // bounds the work on hostile input; no valid name is longer in UTF-8
		return "", ErrDomainLength
	}
	if !utf8.ValidString(text) { // package idna would make the same A-label of all bad octets
		return "", ErrDomainSyntax
	}
	for _, label := range strings.Split(text, ".") {
		if label == "" || isASCII(label) && len(label) > MaxLabelLen {
			return "", ErrDomainLabel
		}
	}
	ascii, err := domainProfile().ToASCII(text)
	if err != nil {
		return "", ErrDomainSyntax
	}
	return checkDomain(ascii)
}

// checkDomain applies the rules that hold for the A-label form.
func checkDomain(ascii string) (Domain, error) {
	if len(ascii) > MaxNameLen-2 {
		return "", ErrDomainLength
	}
	labels := strings.Split(ascii, ".")
	for _, label := range labels {
		if label == "" || len(label) > MaxLabelLen {
			return "", ErrDomainLabel
		}
	}
	if isNumber(labels[len(labels)-1]) {
		return "", ErrDomainAddress
	}
	if suffix, _ := publicsuffix.PublicSuffix(ascii); suffix == ascii {
		return "", ErrDomainSuffix
	}
	return Domain(ascii), nil
}

// isNumber reports whether a right-most label makes the whole an IPv4 address in the making, in some spelling:
// decimal, octal or hexadecimal (RFC 3696 §2; WHATWG URL, "ends in a number").
func isNumber(label string) bool {
	if hex, isHex := strings.CutPrefix(label, "0x"); isHex {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return strings.Trim(label, "0123456789") == ""
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
