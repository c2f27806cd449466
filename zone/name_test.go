package zone

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

func TestParseName(t *testing.T) {
	label63 := strings.Repeat("a", 63)
	// 3*64 + 62 + root = 255 octets in wire form.
	longest := label63 + "." + label63 + "." + label63 + "." + strings.Repeat("b", 61) + "."
	for _, c := range []struct {
		text, printed string
		err           error
	}{
		{".", ".", nil},
		{"example", "example.", nil},
		{"Mail.EXAMPLE.com.", "mail.example.com.", nil},
		{`a\.b.c.`, `a\.b.c.`, nil},
		{`\097\065.`, "aa.", nil},
		{`\000\255.`, `\000\255.`, nil},
		{`\\.`, `\\.`, nil},
		{`a\032b.`, `a\032b.`, nil},
		{"a b.", `a\032b.`, nil},
		{`\@\$\(\)\;\".`, `\@\$\(\)\;\".`, nil},
		{`\ .`, `\032.`, nil},
		{"*.example.", "*.example.", nil},
		{"_25._tcp.a.", "_25._tcp.a.", nil},
		{"münchen.", `m\195\188nchen.`, nil},
		{`a\.`, `a\..`, nil},
		{label63 + ".", label63 + ".", nil},
		{longest, longest, nil},
		{longest[:len(longest)-1], longest, nil},
		{"", "", ErrEmptyLabel},
		{"..", "", ErrEmptyLabel},
		{".a", "", ErrEmptyLabel},
		{"a..b", "", ErrEmptyLabel},
		{"a..", "", ErrEmptyLabel},
		{label63 + "a", "", ErrLabelTooLong},
		{label63 + "a.b", "", ErrLabelTooLong},
		{strings.TrimSuffix(longest, ".") + "b.", "", ErrNameTooLong},
		{"b." + longest, "", ErrNameTooLong},
		{`\`, "", ErrBadEscape},
		{`a\`, "", ErrBadEscape},
		{`\1`, "", ErrBadEscape},
		{`\12`, "", ErrBadEscape},
		{`\12a`, "", ErrBadEscape},
		{`\256`, "", ErrBadEscape},
		{`\999`, "", ErrBadEscape},
	} {
		n, err := ParseName(c.text)
		if !errors.Is(err, c.err) || n.String() != c.printed || n.IsZero() != (c.err != nil) {
			t.Errorf("%q: %q, %v; want %q, %v", c.text, n, err, c.printed, c.err)
		}
	}
}

func TestNameFromWire(t *testing.T) {
	label63 := "\x3f" + strings.Repeat("a", 63)
	for _, c := range []struct {
		wire, printed string
		err           error
	}{
		{"\x00", ".", nil},
		{"\x01a\x00", "a.", nil},
		{"\x01A\x02Bc\x00", "a.bc.", nil},
		{"\x01.\x00", `\..`, nil},
		{strings.Repeat(label63, 3) + "\x3d" + strings.Repeat("b", 61) + "\x00",
			strings.Repeat(label63[1:]+".", 3) + strings.Repeat("b", 61) + ".", nil},
		{strings.Repeat(label63, 3) + "\x3e" + strings.Repeat("b", 62) + "\x00", "", ErrNameTooLong},
		{"", "", ErrBadWire},
		{"\x01a", "", ErrBadWire},
		{"\x02a\x00", "", ErrBadWire},
		{"\x01a\x00\x00", "", ErrBadWire},
		{"\x00\x00", "", ErrBadWire},
		{"\x40" + strings.Repeat("a", 64) + "\x00", "", ErrLabelTooLong},
		{"\x01a\xc0\x00", "", ErrLabelTooLong},
	} {
		n, err := NameFromWire([]byte(c.wire))
		if !errors.Is(err, c.err) || n.String() != c.printed || n.IsZero() != (c.err != nil) {
			t.Errorf("%q: %q, %v; want %q, %v", c.wire, n, err, c.printed, c.err)
		}
	}
}

func TestNameParts(t *testing.T) {
	for _, c := range []struct {
		text   string
		labels int
		first  string
		parent string
	}{
		{".", 0, "", "."},
		{"a.", 1, "a", "."},
		{`a\.b.c.`, 2, "a.b", "c."},
		{"_25._tcp.x.mx.test.", 5, "_25", "_tcp.x.mx.test."},
	} {
		n := MustParseName(c.text)
		if n.Labels() != c.labels || n.FirstLabel() != c.first || n.Parent().String() != c.parent {
			t.Errorf("%s: %d %q %s", c.text, n.Labels(), n.FirstLabel(), n.Parent())
		}
	}
	var zero Name
	if !zero.IsZero() || zero.IsRoot() || zero.Labels() != 0 || zero.FirstLabel() != "" || zero.Parent() != zero || zero.String() != "" {
		t.Error("the zero Name is not nothing")
	}
}

func TestChild(t *testing.T) {
	for _, c := range []struct {
		apex, label, want string
		err               error
	}{
		{"mx.test.", "A.b", `a\.b.mx.test.`, nil},
		{".", "a", "a.", nil},
		{"mx.test.", "", "", ErrEmptyLabel},
		{"mx.test.", strings.Repeat("a", 63), strings.Repeat("a", 63) + ".mx.test.", nil},
		{"mx.test.", strings.Repeat("a", 64), "", ErrLabelTooLong},
		{strings.Repeat("a.", 126), "a", strings.Repeat("a.", 127), nil},
		{strings.Repeat("a.", 127), "a", "", ErrNameTooLong},
	} {
		if n, err := MustParseName(c.apex).Child(c.label); n.String() != c.want || !errors.Is(err, c.err) {
			t.Errorf("%s below %s: %s, %v", c.label, c.apex, n, err)
		}
	}
}

// What has the same octets at its end is below an apex only if they begin at a label.
func TestWithinAndLabelBelow(t *testing.T) {
	for _, c := range []struct {
		name, apex string
		within     bool
		label      string
	}{
		{"mx.test.", "mx.test.", true, ""},
		{"a.mx.test.", "MX.test.", true, "a"},
		{"_25._tcp.a.mx.test.", "mx.test.", true, "a"},
		{"a.mx.test.", ".", true, "test"},
		{".", ".", true, ""},
		{"test.", "mx.test.", false, ""},
		{".", "mx.test.", false, ""},
		{"xmx.test.", "mx.test.", false, ""},
		{`a\.mx.test.`, "mx.test.", false, ""},
		{`a\002mx.test.`, "mx.test.", false, ""}, // ends in the very octets of the apex
		{`b.a\002mx.test.`, "test.", true, "a\x02mx"},
		{"a.mx.test.", "a.b.mx.test.", false, ""},
	} {
		n, apex := MustParseName(c.name), MustParseName(c.apex)
		if n.Within(apex) != c.within || n.LabelBelow(apex) != c.label {
			t.Errorf("%s within %s: %v, label %q", n, apex, n.Within(apex), n.LabelBelow(apex))
		}
	}
	if mx.Within(Name{}) || (Name{}).Within(mx) || (Name{}).Within(Root) || mx.LabelBelow(Name{}) != "" {
		t.Error("the zero Name encloses or is enclosed")
	}
}

// The example of RFC 4034 §6.1.
func TestCompareNames(t *testing.T) {
	want := []string{"example.", "a.example.", "yljkjljk.a.example.", "Z.a.example.", "zABC.a.EXAMPLE.", "z.example.", `\001.z.example.`,
		"*.z.example.", `\200.z.example.`}
	var names []Name
	for _, text := range want {
		names = append(names, MustParseName(text))
	}
	for i, a := range names {
		for j, b := range names {
			if got := CompareNames(a, b); (got < 0) != (i < j) || (got == 0) != (i == j) {
				t.Errorf("%s and %s compare as %d", a, b, got)
			}
		}
	}
	if CompareNames(Root, names[0]) >= 0 {
		t.Error("the root is not the first name")
	}
}

func TestNameAsText(t *testing.T) {
	type shape struct{ N Name }
	for text, want := range map[string]string{`{"N":"A.Test"}`: `{"N":"a.test."}`, `{"N":""}`: `{"N":""}`, `{"N":"."}`: `{"N":"."}`} {
		var s shape
		if err := json.Unmarshal([]byte(text), &s); err != nil {
			t.Fatal(err)
		}
		if b, err := json.Marshal(s); string(b) != want || err != nil {
			t.Errorf("%s became %s, %v", text, b, err)
		}
	}
	kept := shape{mx}
	if err := json.Unmarshal([]byte(`{"N":"a..b"}`), &kept); err == nil || kept.N != mx {
		t.Errorf("a bad name: %v, %s", err, kept.N)
	}
}

func TestMustParseNamePanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a bad name does not panic")
		}
	}()
	MustParseName("a..b")
}

// FuzzName: what parses prints, and what is printed parses to the same octets, here and in another
// implementation.
func FuzzName(f *testing.F) {
	for _, seed := range []string{".", "", "a", "A.b.", `a\.b`, `\000.\255`, `\ `, "a..b", `\1`, strings.Repeat("a", 64), strings.Repeat("a.", 128), "m\xc3\xbc.", `\"`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n, err := ParseName(text)
		theirs := make([]byte, MaxNameLen+1)
		used, theirErr := dns.PackDomainName(dns.Fqdn(text), theirs, 0, nil, false)
		if err != nil {
			if !n.IsZero() {
				t.Errorf("%q: %v, and a name", text, err)
			}
			return
		}
		if again, err := ParseName(n.String()); err != nil || again != n {
			t.Errorf("%q prints as %s, which parses as %q: %v", text, n, again.Wire(), err)
		}
		if again, err := NameFromWire([]byte(n.Wire())); err != nil || again != n {
			t.Errorf("%q: octets %q are read as %q: %v", text, n.Wire(), again.Wire(), err)
		}
		if len(n.Wire()) > MaxNameLen || len(n.Wire()) == 0 || n.Within(n) == false || CompareNames(n, n) != 0 {
			t.Errorf("%q: %q", text, n.Wire())
		}
		if theirErr == nil && isASCII(text) { // of other texts dns.Fqdn misjudges the end
			if folded, err := NameFromWire(theirs[:used]); err != nil || folded != n {
				t.Errorf("%q: miekg/dns packs %q, %v; we have %q", text, theirs[:used], err, n.Wire())
			}
		}
		used, err = dns.PackDomainName(n.String(), theirs, 0, nil, false)
		if err != nil || string(theirs[:used]) != n.Wire() {
			t.Errorf("%q prints as %s, which miekg/dns packs as %q, %v", text, n, theirs[:used], err)
		}
	})
}

// FuzzNameFromWire: what is accepted is the wire form, folded, and nothing else is.
func FuzzNameFromWire(f *testing.F) {
	for _, seed := range []string{"\x00", "\x01a\x00", "\x01A\x00", "\x01a", "\x01a\x00\x00", "\xc0\x00", "\x3f", ""} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		before := slices.Clone(wire)
		n, err := NameFromWire(wire)
		if !slices.Equal(before, wire) {
			t.Errorf("%q was changed to %q", before, wire)
		}
		theirs, used, theirErr := dns.UnpackDomainName(wire, 0)
		same := theirErr == nil && used == len(wire) && len(wire) <= MaxNameLen && !slices.ContainsFunc(lengths(wire), func(l byte) bool { return l > MaxLabelLen })
		if (err == nil) != same {
			t.Fatalf("%q: %v, miekg/dns reads %q (%d of %d octets), %v", wire, err, theirs, used, len(wire), theirErr)
		}
		if err == nil && (len(n.Wire()) != len(wire) || n != MustParseName(theirs)) {
			t.Errorf("%q is read as %s, by miekg/dns as %s", wire, n, theirs)
		}
	})
}

// lengths returns the length octets of a name, until one is not that of a label.
func lengths(wire []byte) (out []byte) {
	for len(wire) > 0 && wire[0] != 0 {
		out = append(out, wire[0])
		if int(wire[0])+1 > len(wire) || wire[0] > MaxLabelLen {
			return out
		}
		wire = wire[1+wire[0]:]
	}
	return out
}
