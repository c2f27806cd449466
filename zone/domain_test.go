package zone

import (
	"errors"
	"strings"
	"testing"
)

func TestParseDomain(t *testing.T) {
	label63, label64 := strings.Repeat("a", 63), strings.Repeat("a", 64)
	octets253 := strings.Repeat(label63+".", 3) + strings.Repeat("b", 57) + ".com"
	umlauts := strings.Repeat("ü", 62) // 62 characters; the A-label is longer
	for _, c := range []struct {
		text string
		want Domain
		err  error
	}{
		{"contoso.com", "contoso.com", nil},
		{"Contoso.COM", "contoso.com", nil},
		{"contoso.com.", "contoso.com", nil},
		{"mail.example.co.uk", "mail.example.co.uk", nil},
		{"münchen.de", "xn--mnchen-3ya.de", nil},
		{"MÜNCHEN.de", "xn--mnchen-3ya.de", nil},
		{"mu\u0308nchen.de", "xn--mnchen-3ya.de", nil}, // decomposed
		{"xn--mnchen-3ya.de", "xn--mnchen-3ya.de", nil},
		{"XN--Mnchen-3ya.DE", "xn--mnchen-3ya.de", nil},
		{"straße.de", "xn--strae-oqa.de", nil}, // IDNA 2008 keeps ß
		{"strasse.de", "strasse.de", nil},
		{"STRAẞE.de", "strasse.de", nil}, // of the capital ẞ, UTS 46 made ss until Unicode 15.1
		{"例え.テスト", "xn--r8jz45g.xn--zckzah", nil},
		{"a。example。com", "a.example.com", nil}, // the ideographic full stop separates labels
		{"ｅｘａｍｐｌｅ.com", "example.com", nil},
		{"a-b.com", "a-b.com", nil},
		{"1.com", "1.com", nil},
		{"4.3.2.1.in-addr.arpa.example", "4.3.2.1.in-addr.arpa.example", nil},
		{label63 + ".com", Domain(label63 + ".com"), nil},
		{octets253, Domain(octets253), nil},
		{octets253 + ".", Domain(octets253), nil},

		{"", "", ErrDomainEmpty},
		{".", "", ErrDomainEmpty},
		{"contoso.com..", "", ErrDomainLabel},
		{"..", "", ErrDomainLabel},
		{".contoso.com", "", ErrDomainLabel},
		{"a..com", "", ErrDomainLabel},
		{"a。。com", "", ErrDomainLabel},
		{"contoso.com。", "", ErrDomainLabel},
		{label64 + ".com", "", ErrDomainLabel},
		{umlauts + ".de", "", ErrDomainLabel},
		{strings.Repeat(label63+".", 3) + strings.Repeat("b", 58) + ".com", "", ErrDomainLength},
		{strings.Repeat("a.", 125) + "abcd", "", ErrDomainLength},
		{strings.Repeat("a.", 200) + "com", "", ErrDomainLength},
		{strings.Repeat("ü.", 60) + "com", "", ErrDomainLength},
		{strings.Repeat("a", 1<<20), "", ErrDomainLength},

		{"192.0.2.1", "", ErrDomainAddress},
		{"192.0.2.1.", "", ErrDomainAddress},
		{"[192.0.2.1]", "", ErrDomainAddress},
		{"192.0.2", "", ErrDomainAddress},
		{"3221225985", "", ErrDomainAddress},
		{"0300.0.2.1", "", ErrDomainAddress},
		{"192.0.2.0x1", "", ErrDomainAddress},
		{"0xC0.0x00.0x02.0x01", "", ErrDomainAddress},
		{"１９２.０.２.１", "", ErrDomainAddress},
		{"192.0.2.256", "", ErrDomainAddress},
		{"example.123", "", ErrDomainAddress},
		{"::1", "", ErrDomainAddress},
		{"2001:db8::1", "", ErrDomainAddress},
		{"2001:DB8:0:0:0:0:0:1", "", ErrDomainAddress},
		{"[2001:db8::1]", "", ErrDomainAddress},
		{"::ffff:192.0.2.1", "", ErrDomainAddress},
		{"fe80::1%eth0", "", ErrDomainAddress},

		{"com", "", ErrDomainSuffix},
		{"COM.", "", ErrDomainSuffix},
		{"co.uk", "", ErrDomainSuffix},
		{"github.io", "", ErrDomainSuffix}, // of the list's private section: its subdomains belong to different people
		{"localhost", "", ErrDomainSuffix},
		{"公司.cn", "", ErrDomainSuffix},

		{"not a domain!.com", "", ErrDomainSyntax},
		{"user@contoso.com", "", ErrDomainSyntax},
		{"_dmarc.contoso.com", "", ErrDomainSyntax},
		{"*.contoso.com", "", ErrDomainSyntax},
		{"-a.com", "", ErrDomainSyntax},
		{"a-.com", "", ErrDomainSyntax},
		{"ab--cd.com", "", ErrDomainSyntax},
		{"xn--.com", "", ErrDomainLabel},
		{"xn--0.com", "", ErrDomainSyntax},        // no punycode
		{"xn--mnchen-.de", "", ErrDomainSyntax},   // decodes to ASCII
		{"xn--55555577.com", "", ErrDomainSyntax}, // decodes to nothing
		{"xn--strasse-.de", "", ErrDomainSyntax},  // not the A-label of anything
		{"a\u200db.com", "", ErrDomainSyntax},     // a joiner without context
		{"\u0627a.com", "", ErrDomainSyntax},      // breaks the rule for right-to-left labels
		{"a\xffb.com", "", ErrDomainSyntax},       // not UTF-8
		{"a\uFFFDb.com", "", ErrDomainSyntax},
		{"xn--ab-gg4n.com", "", ErrDomainSyntax}, // the same
		{"a\x00b.com", "", ErrDomainSyntax},      // NUL
		{"contoso.com\n", "", ErrDomainSyntax},   // line feed
		{"https://contoso.com", "", ErrDomainSyntax},
		{`a\.b.com`, "", ErrDomainSyntax},
	} {
		got, err := ParseDomain(c.text)
		if got != c.want || !errors.Is(err, c.err) {
			t.Errorf("%.80q: %q, %v; want %q, %v", c.text, got, err, c.want, c.err)
		}
	}
}

// FuzzDomain: what is accepted is a host name in A-label form, is accepted again as it is, and has labels that
// fit into a zone.
func FuzzDomain(f *testing.F) {
	for _, seed := range []string{"contoso.com", "münchen.de", "straße.de", "xn--mnchen-3ya.de", "a。b.com", "192.0.2.1", "[::1]", "co.uk", "a..b", "A.B.C.",
		strings.Repeat("a", 63) + ".com", strings.Repeat("ab.", 84) + "c", "\u0627.com", "_x.y", "0x7f.1", "x.0x7f", "ﬁ.com", "Ⅷ.com", "a\u0338.com"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d, err := ParseDomain(text)
		if err != nil {
			if d != "" {
				t.Errorf("%q: %v, and %q", text, err, d)
			}
			return
		}
		if again, err := ParseDomain(string(d)); again != d || err != nil {
			t.Errorf("%q is %q, which is %q: %v", text, d, again, err)
		}
		if again, err := ParseDomain(strings.ToUpper(string(d)) + "."); again != d || err != nil {
			t.Errorf("%q is %q, which in upper case is %q: %v", text, d, again, err)
		}
		n, err := ParseName(string(d))
		if err != nil || n.String() != string(d)+"." || len(n.Wire()) > MaxNameLen || n.Labels() < 2 {
			t.Errorf("%q is %q, as a name %s: %v", text, d, n, err)
		}
		for label := range strings.SplitSeq(string(d), ".") {
			checkLDH(t, label)
		}
		checkLDH(t, HashedLabel(DomainOwner(d)))
		if plain := PlainLabel(DomainOwner(d)); len(plain) <= MaxLabelLen {
			checkLDH(t, plain)
		}
	})
}

// checkLDH checks that a label is one of a host name (RFC 1123 §2.1), in lower case.
func checkLDH(t *testing.T, label string) {
	t.Helper()
	if len(label) == 0 || len(label) > MaxLabelLen || label[0] == '-' || label[len(label)-1] == '-' ||
		strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		t.Errorf("%q is not a label of a host name", label)
	}
}
