package e2e

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/miekg/dns"
)

// authority is a named that serves a signed root with delegations to the servers of the test, and the signed zones
// of customers. Resolvers that know nothing but this root iterate and validate as they do on the Internet: they
// follow referrals, fetch DS records from the parent, minimise questions.
type authority struct {
	*daemon
	dir         string
	delegations []delegation
	addr        netip.Addr
	hints       string      // file with the root's name server
	ksk         *dns.DNSKEY // of the root
	kskFile     string      // the same as a zone file, for unbound, kresd and drill
	anchorDS    *dns.DS     // the same as a digest
}

// delegation is a zone below the root.
type delegation struct {
	zone    string       // fully qualified
	servers []netip.Addr // of its name servers
	ds      []string     // DS records as in a zone file
}

// rootServer is a name inside of the root zone.
const rootServer = "a.root-servers.test-root."

// startAuthority serves the root with the delegations. customers are zones with the lines of their zone files, which
// are signed and delegated to the same server.
func startAuthority(t testing.TB, addr netip.Addr, delegations []delegation, customers map[string]string) *authority {
	t.Helper()
	dir := t.TempDir()
	a := &authority{addr: addr, dir: dir}
	var conf strings.Builder
	fmt.Fprintf(&conf, `options {
	directory %q; listen-on { %s; }; listen-on-v6 { none; }; recursion no; dnssec-validation no; notify no;
	pid-file none; session-keyfile none; lock-file none;
};
controls { };
`, dir, addr)
	for zone, lines := range customers {
		ds := signZone(t, dir, zone, fmt.Sprintf("@ NS ns\nns A %s\n%s\n", addr, lines))
		delegations = append(delegations, delegation{zone, []netip.Addr{addr}, ds})
		addZone(&conf, zone)
	}
	a.delegations = delegations
	ds := signZone(t, dir, ".", a.rootLines())
	addZone(&conf, ".")
	a.readAnchor(t, dir, ds)
	a.hints = write(t, dir, "root.hints", fmt.Sprintf(". 3600000 NS %[1]s\n%[1]s 3600000 A %[2]s\n", rootServer, addr))
	a.daemon = runNamed(t, addr, write(t, dir, "named.conf", conf.String()))
	a.await(t, "serves the root", func() error {
		return expectAnswer(addr, ".", dns.TypeSOA)
	})
	return a
}

// rootLines are the records of the root zone.
func (a *authority) rootLines() string {
	var root strings.Builder
	fmt.Fprintf(&root, ". NS %[1]s\n%[1]s A %[2]s\n", rootServer, a.addr)
	for _, d := range a.delegations {
		for i, server := range d.servers {
			fmt.Fprintf(&root, "%[1]s NS ns%[2]d.%[1]s\nns%[2]d.%[1]s A %[3]s\n", d.zone, i+1, server)
		}
		fmt.Fprintln(&root, strings.Join(d.ds, "\n"))
	}
	return root.String()
}

// resign puts other DS records of a delegation into the root, signs it, and makes the server load it.
func (a *authority) resign(zone string, ds []string) error {
	for i := range a.delegations {
		if a.delegations[i].zone == zone {
			a.delegations[i].ds = ds
		}
	}
	file := filepath.Join(a.dir, zoneFile("."))
	if err := os.WriteFile(file, []byte(zoneHead(".")+a.rootLines()), 0o644); err != nil {
		return err
	}
	out, err := exec.Command("dnssec-signzone", signArgs(a.dir, ".", file)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return a.cmd.Process.Signal(syscall.SIGHUP)
}

func zoneHead(zone string) string {
	return fmt.Sprintf("$ORIGIN %s\n$TTL 60\n@ SOA hostmaster hostmaster 1 3600 600 86400 60\n", zone)
}

// signArgs are the arguments of dnssec-signzone for a zone file.
func signArgs(dir, zone, file string) []string {
	return []string{"-q", "-S", "-z", "-K", dir, "-d", dir, "-o", zone, "-f", file + ".signed", file}
}

func addZone(conf *strings.Builder, zone string) {
	fmt.Fprintf(conf, "zone %q { type primary; file %q; };\n", zone, zoneFile(zone)+".signed")
}

// zoneFile is the name of a zone file.
func zoneFile(zone string) string { return "zone-" + strings.Trim(zone, ".") }

// signZone signs a zone with one new key, and returns its DS records.
func signZone(t testing.TB, dir, zone, lines string) (ds []string) {
	t.Helper()
	file := write(t, dir, zoneFile(zone), zoneHead(zone)+lines)
	output(t, "dnssec-keygen", "-q", "-K", dir, "-a", "ECDSAP256SHA256", "-f", "KSK", zone)
	output(t, "dnssec-signzone", signArgs(dir, zone, file)...)
	text, err := os.ReadFile(filepath.Join(dir, "dsset-"+zone))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		ds = append(ds, strings.TrimSpace(line))
	}
	return ds
}

// readAnchor fills in the trust anchor of the root: what was signed with it is the key that its DS stands for.
func (a *authority) readAnchor(t testing.TB, dir string, ds []string) {
	t.Helper()
	rr, err := dns.NewRR(ds[0])
	if err != nil {
		t.Fatal(err)
	}
	a.anchorDS = rr.(*dns.DS)
	keys, err := filepath.Glob(filepath.Join(dir, fmt.Sprintf("K.+013+%05d.key", a.anchorDS.KeyTag)))
	if err != nil || len(keys) != 1 {
		t.Fatalf("key files of the root: %v %v", keys, err)
	}
	f, err := os.Open(keys[0])
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if rr, err = dns.ReadRR(f, keys[0]); err != nil {
		t.Fatal(err)
	}
	a.ksk = rr.(*dns.DNSKEY)
	a.kskFile = write(t, dir, "root.key", strings.ReplaceAll(a.ksk.String(), "\t", " ")+"\n")
}

// write puts text into a new file and returns its path.
func write(t testing.TB, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}
