package zone

import (
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
)

// tail is the end of a hashed label, computed as design §5 says.
func tail(owner string) string {
	sum := sha256.Sum256([]byte(owner))
	return "-" + strings.ToLower(base32.StdEncoding.EncodeToString(sum[:]))[:8]
}

func TestLabels(t *testing.T) {
	long := strings.Repeat("a", 60) + ".com" // 64 octets when plain
	fits := strings.Repeat("a", 59) + ".com" // 63
	for _, c := range []struct {
		owner         Owner
		plain, hashed string
	}{
		{DomainOwner("contoso.com"), "contoso-com", "contoso-com" + tail("contoso.com")},
		{DomainOwner("a-b.co.uk"), "a-b-co-uk", "a-b-co-uk" + tail("a-b.co.uk")},
		{DomainOwner("xn--mnchen-3ya.de"), "xn--mnchen-3ya-de", "xn--mnchen-3ya-de" + tail("xn--mnchen-3ya.de")},
		{DomainOwner(Domain(fits)), strings.Repeat("a", 59) + "-com", strings.Repeat("a", 54) + tail(fits)},
		{DomainOwner(Domain(long)), strings.Repeat("a", 60) + "-com", strings.Repeat("a", 54) + tail(long)},
		{SmarthostOwner("acme"), "acme", "acme" + tail("@acme")},
		{SmarthostOwner("a_b.c"), "a-b-c", "a-b-c" + tail("@a_b.c")},
	} {
		if PlainLabel(c.owner) != c.plain || HashedLabel(c.owner) != c.hashed {
			t.Errorf("%s: %s and %s, want %s and %s", c.owner, PlainLabel(c.owner), HashedLabel(c.owner), c.plain, c.hashed)
		}
	}
	// What is in customers' MX records must not change with the program.
	if got := HashedLabel(DomainOwner("contoso.com")); got != "contoso-com-gsfum7pt" {
		t.Error(got)
	}
	if !SmarthostOwner("acme").IsSmarthost() || DomainOwner("acme.com").IsSmarthost() {
		t.Error("the kinds of owners are mixed up")
	}
}

func TestAssignLabel(t *testing.T) {
	const owner = Owner("a.b.com")
	plain, hashed := PlainLabel(owner), HashedLabel(owner)
	long := DomainOwner(Domain(strings.Repeat("a", 60) + ".com"))
	for name, c := range map[string]struct {
		owner Owner
		taken map[string]Owner
		want  string
	}{
		"free":                              {owner, nil, plain},
		"again":                             {owner, map[string]Owner{plain: owner}, plain},
		"plain one taken":                   {owner, map[string]Owner{plain: "a-b.com"}, hashed},
		"again, hashed":                     {owner, map[string]Owner{plain: "a-b.com", hashed: owner}, hashed},
		"again, hashed, plain one now free": {owner, map[string]Owner{hashed: owner}, hashed},
		"reserved":                          {owner, map[string]Owner{plain: ""}, hashed},
		"hashed one taken":                  {owner, map[string]Owner{hashed: "x.com"}, plain},
		"both taken":                        {owner, map[string]Owner{plain: "a-b.com", hashed: "x.com"}, ""},
		"too long":                          {long, nil, HashedLabel(long)},
		"too long, and taken":               {long, map[string]Owner{HashedLabel(long): "x.com"}, ""},
	} {
		got, err := AssignLabel(c.owner, func(label string) (Owner, bool) {
			o, found := c.taken[label]
			return o, found
		})
		if got != c.want || (c.want == "") != errors.Is(err, ErrConflict) {
			t.Errorf("%s: %q, %v; want %q", name, got, err, c.want)
		}
	}
}

// In whatever order owners come, and however often, each has one label for ever and nobody else has it.
func TestLabelsStayWithTheirOwners(t *testing.T) {
	long := strings.Repeat("l", 58)
	owners := []Owner{"a.b.com", "a-b.com", "a.b-com.net", "a-b.com.net", "a.b.com.net", "@a-b-com", "@a_b_com", "@a.b.com", "ns1.com", "@ns1-com",
		Owner(long + ".co.uk"), Owner(long + "-co.uk"), Owner(long + ".com"), "@" + Owner(strings.Repeat("x", 64))}
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 0))
		held := map[string]Owner{"ns1-com": ""} // a name server's
		labels := map[Owner]string{}
		for range 100 {
			o := owners[random.IntN(len(owners))]
			label, err := AssignLabel(o, func(label string) (Owner, bool) {
				by, found := held[label]
				return by, found
			})
			if err != nil {
				t.Fatalf("seed %d: %s: %v", seed, o, err)
			}
			if by, taken := held[label]; taken && by != o {
				t.Fatalf("seed %d: %s gets %s, which %s has", seed, o, label, by)
			}
			if had, known := labels[o]; known && had != label {
				t.Fatalf("seed %d: %s had %s and gets %s", seed, o, had, label)
			}
			checkLDH(t, label)
			held[label], labels[o] = o, label
		}
	}
}

// FuzzLabel: whatever id a tenant may have, its labels are those of host names; what was given is found again.
func FuzzLabel(f *testing.F) {
	for _, seed := range []string{"acme", "a.b_c-d", "a", strings.Repeat("x", 64), "0", "a..b", "-a"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, id string) {
		var errs FieldErrors
		if checkID(&errs, "id", id); errs != nil {
			return
		}
		o := SmarthostOwner(id)
		checkLDH(t, HashedLabel(o))
		for _, plainTaken := range []bool{false, true} {
			held := map[string]Owner{}
			if plainTaken {
				held[PlainLabel(o)] = "somebody.else"
			}
			taken := func(label string) (Owner, bool) { by, found := held[label]; return by, found }
			label, err := AssignLabel(o, taken)
			if err != nil {
				t.Fatal(err)
			}
			checkLDH(t, label)
			if held[label] != "" {
				t.Errorf("%q gets a label that is taken", id)
			}
			held[label] = o
			delete(held, PlainLabel(o)) // not even when the other label becomes free
			held[label] = o
			if again, err := AssignLabel(o, taken); again != label || err != nil {
				t.Errorf("%q: %q, then %q, %v", id, label, again, err)
			}
		}
	})
}
