package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/internal/dnstest"
)

// photograph has dnsviz save the state of one zone after the other, from the root down, and looks at each for errors. What
// changed while it was looked at is mixed of two states, more seconds apart than the TTLs, and does not count. It returns how
// many states of each zone were seen.
func (w *rollWorld) photograph(ctx context.Context, t *testing.T) (done *sync.WaitGroup, seen map[string]int) {
	program(t, "dnsviz")
	dir := t.TempDir()
	done, seen = &sync.WaitGroup{}, map[string]int{}
	done.Go(func() {
		quiet := 0 // looks since everything has ended: then no zone changes while it is looked at
		for i := 0; ctx.Err() == nil || len(seen) < len(rolledZones) && quiet < 10*len(rolledZones); i++ {
			if ctx.Err() != nil {
				quiet++
			}
			zone := rolledZones[i%len(rolledZones)]
			before := w.stateOf(zone)
			file := filepath.Join(dir, fmt.Sprintf("state-%d.json", i))
			if err := w.probe(zone, file); err != nil || before == "" || w.stateOf(zone) != before {
				continue
			}
			if len(seen) == 0 && problemsOf(otherKey(t, w.root.ksk), file) == "" {
				out, _ := exec.Command("dnsviz", "print", "-t", otherKey(t, w.root.ksk), "-r", file).CombinedOutput()
				t.Errorf("dnsviz sees no error with another trust anchor: %s", out)
			}
			if problems := problemsOf(w.root.kskFile, file); problems != "" {
				t.Errorf("dnsviz sees errors in %s at %s:\n%s", zone, time.Now().Format(time.TimeOnly), problems)
			}
			seen[zone]++
		}
	})
	return done, seen
}

// stateOf says which step a zone is at, and which DS its parent serves; empty if that is not known.
func (w *rollWorld) stateOf(zone string) string {
	s, err := w.KeyStatus(context.Background(), zone)
	parent := w.addr
	if zone == checkZone {
		parent = w.root.addr
	}
	m, err2 := dnstest.Client{Addr: dnsPort(parent), Net: "tcp", Timeout: time.Second}.Ask(dnstest.Query{Name: zone, Type: dns.TypeDS})
	if err != nil || err2 != nil || len(s.Past) == 0 {
		return ""
	}
	var ds []string
	for _, rr := range m.Answer {
		ds = append(ds, rr.String())
	}
	return fmt.Sprint(len(s.Past), s.Past[len(s.Past)-1], ds)
}

// probe asks the servers of a zone and of those above it. At times dnsviz waits for ever.
func (w *rollWorld) probe(zone, file string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience/2)
	defer cancel()
	server := func(name, ns string, addr fmt.Stringer) string { return fmt.Sprintf("%s:%s=%s", name, ns, addr) }
	args := []string{"probe", "-d", "0", "-A", "-a", ".", "-x", server(".+", "ns.root.", w.root.addr), "-x", server(zone, "ns1."+zone, w.addr)}
	if zone != checkZone {
		args = append(args, "-x", server(ownParent, "ns1."+ownParent, w.addr))
	}
	return exec.CommandContext(ctx, "dnsviz", append(args, "-o", file, zone)...).Run()
}

// otherKey writes a trust anchor that is not that of the root.
func otherKey(t *testing.T, ksk *dns.DNSKEY) string {
	other := dns.Copy(ksk).(*dns.DNSKEY)
	if _, err := other.Generate(256); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "other.key")
	if err := os.WriteFile(file, []byte(other.String()+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// problemsOf returns what dnsviz print marks as an error in a state: a status of "!", or a line that begins with E.
func problemsOf(anchor, file string) string {
	out, err := exec.Command("dnsviz", "print", "-t", anchor, "-r", file).CombinedOutput()
	if err != nil {
		return fmt.Sprintf("dnsviz print: %v: %s", err, out)
	}
	if !strings.Contains(string(out), "DNSKEY") {
		return "dnsviz has seen nothing: " + string(out)
	}
	var bad []string
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "[!") || strings.HasPrefix(strings.TrimSpace(line), "E:") {
			bad = append(bad, line)
		}
	}
	return strings.Join(bad, "")
}
