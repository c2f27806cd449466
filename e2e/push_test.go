package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/api"
	"github.com/mxseal/mxseal/internal/dnstest"
)

// A parent that takes the DS by DNS UPDATE: BIND, which is told to believe a TSIG key. The first DS, and those of a KSK
// rollover, get there without anybody's help, also where the parent zone is not the next name above.
func TestPush(t *testing.T) {
	t.Parallel()
	const zone, parent = "o-v1.mx.pushed.", "pushed."
	secret := "c2VjcmV0LW9mLXRoZS1wYXJlbnQtem9uZSEhMTIzNDU="
	s := &server{site: newSite(), dir: filepath.Join(t.TempDir(), "data")}
	s.addr = s.site.addr(53)
	tsig := write(t, t.TempDir(), "tsig", "# of the parent\nhmac-sha256 Push.Key. "+secret+"\n")
	if err := os.Chmod(tsig, 0o600); err != nil {
		t.Fatal(err)
	}
	s.more = []string{"MXSEAL_KEYS_TSIG_FILE=" + tsig}
	above := s.site.addr(10)
	dir := t.TempDir()
	write(t, dir, "pushed.zone", fmt.Sprintf("$TTL 2\n@ SOA ns hostmaster 1 3600 600 86400 2\n@ NS ns\nns A %s\no-v1.mx NS ns1.o-v1.mx\nns1.o-v1.mx A %s\n", above, s.addr))
	named := runNamed(t, above, write(t, dir, "named.conf", fmt.Sprintf(`options {
	directory %q; listen-on { %s; }; listen-on-v6 { none; }; recursion no; dnssec-validation no; notify no;
	pid-file none; session-keyfile none; lock-file none;
};
controls { };
key "push.key" { algorithm hmac-sha256; secret %q; };
zone "pushed" { type primary; file "pushed.zone"; allow-update { key "push.key"; }; };
`, dir, above, secret)))
	ask := func(name string, typ uint16) (*dns.Msg, error) {
		return dnstest.Client{Addr: dnsPort(above), Net: "tcp", Timeout: patience}.Ask(dnstest.Query{Name: name, Type: typ})
	}
	named.await(t, "serves the parent zone", func() error {
		m, err := ask(parent, dns.TypeSOA)
		if err == nil && len(m.Answer) == 0 {
			err = fmt.Errorf("no SOA: %v", m)
		}
		return err
	})
	s.launch(t)
	spec := quickPolicy(s, zone, dnsPort(above))
	spec.Parent.Push, spec.Parent.PushKey = dnsPort(above), "push.key."
	must[*api.Zone](t)(s.PutZone(t.Context(), zone, spec))
	// The parent has what the zone asks for, of one key.
	settled := func() error {
		m, err := ask(zone, dns.TypeDS)
		if err != nil {
			return err
		}
		var have []string
		for _, rr := range m.Answer {
			have = append(have, strings.ToUpper(strings.Join(strings.Fields(rr.String())[4:], " ")))
		}
		want := s.ds(t, zone)
		if len(want) != 2 || len(have) != 2 {
			return fmt.Errorf("the parent has %v, want %v", have, want)
		}
		for _, line := range want {
			if text := strings.ToUpper(strings.Join(strings.Fields(line)[4:], " ")); !strings.Contains(strings.Join(have, "\n"), text) {
				return fmt.Errorf("the parent has %v, want %v", have, want)
			}
		}
		status, err := s.KeyStatus(t.Context(), zone)
		if err == nil && status.DSSeen == nil {
			err = fmt.Errorf("nobody has seen it: %s", status.Wanted)
		}
		return err
	}
	s.await(t, "has put the first DS into the parent", settled)
	before := fmt.Sprint(s.ds(t, zone))
	must[*api.Rollover](t)(s.RollKey(t.Context(), zone, api.RollRequest{Role: "ksk"}))
	s.await(t, "asks for another DS", func() error {
		if fmt.Sprint(s.ds(t, zone)) == before {
			return fmt.Errorf("still %s", before)
		}
		return nil
	})
	s.await(t, "has put the next DS into the parent", settled)
}
