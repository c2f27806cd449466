package zone

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestNewPoolRefuses(t *testing.T) {
	host := func(addresses ...string) []MailServer { return poolSpec(addresses...).Hosts }
	good := host("192.0.2.1")
	many := func(n int) (hosts []MailServer) {
		for i := range n {
			hosts = append(hosts, MailServer{fmt.Sprint(i), []netip.Addr{netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)})}})
		}
		return hosts
	}
	tlsa := func(usage, selector, matching uint8, size int) PoolSpec {
		return PoolSpec{Hosts: good, TLSA: []TLSA{{usage, selector, matching, make([]byte, size)}}}
	}
	for name, c := range map[string]struct {
		id   string
		spec PoolSpec
		want []string // fields
	}{
		"no hosts":                     {"p", PoolSpec{}, []string{"hosts"}},
		"hosts without addresses":      {"p", PoolSpec{Hosts: []MailServer{{Name: "a"}, {Name: "b"}}}, []string{"hosts"}},
		"too many hosts":               {"p", PoolSpec{Hosts: many(maxPoolHosts + 1)}, []string{"hosts"}},
		"too many addresses":           {"p", PoolSpec{Hosts: many(maxPoolAddresses + 1)}, []string{"hosts"}},
		"host without name":            {"p", PoolSpec{Hosts: []MailServer{{"", good[0].Addresses}}}, []string{"hosts[0].name"}},
		"host with a long name":        {"p", PoolSpec{Hosts: []MailServer{{strings.Repeat("a", 64), good[0].Addresses}}}, []string{"hosts[0].name"}},
		"host name used twice":         {"p", PoolSpec{Hosts: append(slices.Clone(good), MailServer{Name: "in1"})}, []string{"hosts[1].name"}},
		"address given twice":          {"p", PoolSpec{Hosts: host("192.0.2.1", "192.0.2.1")}, []string{"hosts[1].addresses[0]"}},
		"no address":                   {"p", PoolSpec{Hosts: []MailServer{{"a", []netip.Addr{{}}}}}, []string{"hosts[0].addresses[0]"}},
		"unspecified v4":               {"p", PoolSpec{Hosts: host("0.0.0.0")}, []string{"hosts[0].addresses[0]"}},
		"unspecified v6":               {"p", PoolSpec{Hosts: host("192.0.2.1", "::")}, []string{"hosts[1].addresses[0]"}},
		"multicast v4":                 {"p", PoolSpec{Hosts: host("239.1.2.3")}, []string{"hosts[0].addresses[0]"}},
		"multicast v6":                 {"p", PoolSpec{Hosts: host("ff05::1")}, []string{"hosts[0].addresses[0]"}},
		"broadcast":                    {"p", PoolSpec{Hosts: host("255.255.255.255")}, []string{"hosts[0].addresses[0]"}},
		"zone":                         {"p", PoolSpec{Hosts: host("fe80::1%eth0")}, []string{"hosts[0].addresses[0]"}},
		"IPv4-mapped":                  {"p", PoolSpec{Hosts: host("::ffff:192.0.2.1")}, []string{"hosts[0].addresses[0]"}},
		"usage 0":                      {"p", tlsa(0, 1, 1, 32), []string{"tlsa[0].usage"}},
		"usage 1":                      {"p", tlsa(1, 1, 1, 32), []string{"tlsa[0].usage"}},
		"usage 4":                      {"p", tlsa(4, 1, 1, 32), []string{"tlsa[0].usage"}},
		"selector 2":                   {"p", tlsa(3, 2, 1, 32), []string{"tlsa[0].selector"}},
		"matching type 3":              {"p", tlsa(3, 1, 3, 32), []string{"tlsa[0].matching_type"}},
		"SHA-256 of 31 octets":         {"p", tlsa(3, 1, 1, 31), []string{"tlsa[0].data"}},
		"SHA-256 of 0 octets":          {"p", tlsa(3, 1, 1, 0), []string{"tlsa[0].data"}},
		"SHA-512 of 32 octets":         {"p", tlsa(2, 0, 2, 32), []string{"tlsa[0].data"}},
		"full without data":            {"p", tlsa(3, 0, 0, 0), []string{"tlsa[0].data"}},
		"full, too long":               {"p", tlsa(3, 0, 0, maxTLSAData+1), []string{"tlsa[0].data"}},
		"too many TLSA":                {"p", PoolSpec{Hosts: good, TLSA: slices.Repeat([]TLSA{{3, 1, 1, make([]byte, 32)}}, maxTLSARecords+1)}, []string{"tlsa"}},
		"TLSA too long for one answer": {"p", PoolSpec{Hosts: good, TLSA: slices.Repeat([]TLSA{{3, 0, 0, make([]byte, maxTLSAData)}}, maxTLSARecords)}, []string{"tlsa"}},
		"port 0":                       {"p", PoolSpec{Hosts: good, TLSAPorts: []uint16{25, 0}}, []string{"tlsa_ports"}},
		"too many ports":               {"p", PoolSpec{Hosts: good, TLSAPorts: []uint16{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17}}, []string{"tlsa_ports"}},
		"no id":                        {"", PoolSpec{Hosts: good}, []string{"pool"}},
		"id in upper case":             {"Default", PoolSpec{Hosts: good}, []string{"pool"}},
		"id with a slash":              {"a/b", PoolSpec{Hosts: good}, []string{"pool"}},
		"id that begins with a hyphen": {"-a", PoolSpec{Hosts: good}, []string{"pool"}},
		"id that ends with a dot":      {"a.", PoolSpec{Hosts: good}, []string{"pool"}},
		"id of 65 octets":              {strings.Repeat("a", 65), PoolSpec{Hosts: good}, []string{"pool"}},
		"everything": {"P", PoolSpec{Hosts: host("0.0.0.0", "ff02::1"), TLSA: []TLSA{{0, 2, 1, nil}, {3, 1, 9, nil}}, TLSAPorts: []uint16{0}},
			[]string{"pool", "hosts[0].addresses[0]", "hosts[1].addresses[0]", "tlsa[0].usage", "tlsa[0].selector", "tlsa[0].data", "tlsa[1].matching_type", "tlsa_ports"}},
	} {
		p, err := NewPool(c.id, c.spec)
		if p != nil || !errors.Is(err, ErrInvalid) || !slices.Equal(fields(err), c.want) {
			t.Errorf("%s: %v, %v; want the fields %v", name, p, err, c.want)
		}
	}
}

func TestNewPoolAccepts(t *testing.T) {
	spec := poolSpec("192.0.2.1", "2001:db8::1", "127.0.0.1", "10.0.0.1", "fe80::1")
	spec.Hosts = append(spec.Hosts, MailServer{Name: "standby"})
	spec.TLSAPorts = []uint16{465, 25, 465}
	p, err := NewPool("a.b_c-1", spec)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(p.TLSAPorts, []uint16{25, 465}) || !slices.Equal(spec.TLSAPorts, []uint16{465, 25, 465}) {
		t.Errorf("ports %v of %v", p.TLSAPorts, spec.TLSAPorts)
	}
	if p, err := NewPool("p", poolSpec("192.0.2.1")); err != nil || !slices.Equal(p.TLSAPorts, []uint16{25}) {
		t.Errorf("default ports: %+v, %v", p, err)
	}
	if got := spec.TLSA[0].String(); got != "3 1 1 "+strings.Repeat("64", 32) {
		t.Errorf("TLSA prints as %s", got)
	}
}

func TestPoolSame(t *testing.T) {
	base, err := NewPool("p", poolSpec("192.0.2.1"))
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Pool){
		"preference":    func(p *Pool) { p.MXPreference++ },
		"closing":       func(p *Pool) { p.Closing = true },
		"ports":         func(p *Pool) { p.TLSAPorts = []uint16{25, 465} },
		"usage":         func(p *Pool) { p.TLSA = []TLSA{{2, 1, 1, p.TLSA[0].Data}} },
		"selector":      func(p *Pool) { p.TLSA = []TLSA{{3, 0, 1, p.TLSA[0].Data}} },
		"matching type": func(p *Pool) { p.TLSA = []TLSA{{3, 1, 0, p.TLSA[0].Data}} },
		"data":          func(p *Pool) { p.TLSA = []TLSA{{3, 1, 1, make([]byte, 32)}} },
		"no TLSA":       func(p *Pool) { p.TLSA = nil },
		"host name":     func(p *Pool) { p.Hosts = []MailServer{{"x", p.Hosts[0].Addresses}} },
		"address":       func(p *Pool) { p.Hosts = poolSpec("192.0.2.2").Hosts },
	} {
		changed := *base
		change(&changed)
		if changed.Same(base) || base.Same(&changed) {
			t.Errorf("a pool with another %s is the same", name)
		}
	}
	if same := *base; !same.Same(base) {
		t.Error("a copy is not the same")
	}
}
