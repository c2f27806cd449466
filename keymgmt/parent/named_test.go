package parent

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// errPortTaken is why named may have to be started again.
var errPortTaken = errors.New("the port is taken")

// BIND as the primary of the parent: what it says, what it does with an update, and where it wants to be notified.
func TestNamed(t *testing.T) {
	t.Parallel()
	recipient := acknowledge(t, dns.RcodeSuccess)
	server := startNamed(t, recipient.Port())
	servers := []netip.AddrPort{server}
	client := &Client{Timeout: patience, Resolver: resolving(t, "127.0.0.1")}
	key := TSIG{Name: "key.test", Algorithm: "hmac-sha256", Secret: secret}
	one, two, three := wireDS(1, 1), wireDS(2, 2), wireDS(3, 3)
	for _, step := range []struct {
		ds  []string
		ttl uint32
	}{{nil, 0}, {[]string{two, one}, 120}, {[]string{three}, 60}, {[]string{three}, 90}, {nil, 0}, {nil, 0}} {
		if err := client.Update(t.Context(), parentName, childName, server, key, step.ds, step.ttl); err != nil {
			t.Fatal(err)
		}
		expect(t, client, server, sorted(append([]string(nil), step.ds...)), step.ttl, "")
	}
	thief := key
	thief.Secret = "b3RoZXIgc2VjcmV0"
	err := client.Update(t.Context(), parentName, childName, server, thief, []string{one}, 60)
	if err == nil || !strings.Contains(err.Error(), "NOTAUTH, TSIG error BADSIG") {
		t.Errorf("update with a wrong secret: %v", err)
	}
	stranger := key
	stranger.Name = "stranger.test"
	err = client.Update(t.Context(), parentName, childName, server, stranger, []string{one}, 60)
	if err == nil || !strings.Contains(err.Error(), "NOTAUTH, TSIG error BADKEY") {
		t.Errorf("update with a key that named does not know: %v", err)
	}
	expect(t, client, server, nil, 0, "")
	for _, child := range []string{"child.test.", "a.b.test."} {
		if above, err := client.ZoneAbove(t.Context(), mustName(t, child), servers); err != nil || above != parentName {
			t.Errorf("above %s: %s, %v", child, above, err)
		}
	}
	if above, err := client.ZoneAbove(t.Context(), mustName(t, "child.example."), servers); err == nil {
		t.Errorf("above a zone that is elsewhere: %s", above)
	}
	if _, err := client.Notify(t.Context(), childName, parentName, servers); err != nil {
		t.Error(err)
	}
	expectName(t, client, server, "nowhere.test.", "")
	expectName(t, client, server, "below.child.test.", "referral")
	expectName(t, client, server, "example.", "REFUSED")
	expectName(t, client, server, "test.", "from the child's side")
}

// expectName asks for the DS of a name that has none.
func expectName(t *testing.T, c *Client, server netip.AddrPort, name, text string) {
	t.Helper()
	a := c.AskDS(t.Context(), mustName(t, name), []netip.AddrPort{server})[0]
	if len(a.DS) > 0 || (a.Err != nil) != (text != "") || a.Err != nil && !strings.Contains(a.Err.Error(), text) {
		t.Errorf("DS of %s: %+v, want an error with %q", name, a, text)
	}
}

// startNamed runs named until the test ends. The port was free when it was looked for, and may be taken again.
func startNamed(t *testing.T, notifyPort uint16) netip.AddrPort {
	t.Helper()
	for range 5 {
		udp, tcp, addr := loopback(t)
		udp.Close()
		tcp.Close()
		if err := runNamed(t, addr, writeNamed(t, addr, notifyPort)); err == nil {
			return addr
		} else if !errors.Is(err, errPortTaken) {
			t.Fatal(err)
		}
	}
	t.Fatal("named finds no free port")
	return netip.AddrPort{}
}

// writeNamed makes a configuration and returns its file.
func writeNamed(t *testing.T, addr netip.AddrPort, notifyPort uint16) (conf string) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"test.zone": fmt.Sprintf("$TTL 60\n@ SOA ns hostmaster 1 3600 600 86400 60\n@ NS ns\nns A 127.0.0.1\n"+
			"child NS ns.child\nns.child A 127.0.0.2\n%s\n", rawDSYNC("*._dsync", dns.TypeCDS, 1, notifyPort, target)),
		"named.conf": fmt.Sprintf(`options {
	directory %q; listen-on port %d { %s; }; listen-on-v6 { none; }; recursion no; dnssec-validation no; notify no;
	pid-file none; session-keyfile none; lock-file none;
};
controls { };
key "key.test" { algorithm hmac-sha256; secret %q; };
zone "test" { type primary; file "test.zone"; allow-update { key "key.test"; }; };
`, dir, addr.Port(), addr.Addr(), secret),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "named.conf")
}

// runNamed starts named and waits until it serves the zone. Its log goes to a file, and is shown if the test fails.
func runNamed(t *testing.T, addr netip.AddrPort, conf string) error {
	t.Helper()
	logFile := filepath.Join(filepath.Dir(conf), "log")
	log, err := os.Create(logFile)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command("named", "-g", "-4", "-n", "1", "-c", conf)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start named: %w", err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		cmd.Wait() // how it ended is in the log
	}()
	t.Cleanup(func() {
		select {
		case <-done: // the process group may be somebody else's by now
		default:
			syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // fails only if it has just ended
			<-done
		}
		if text, err := os.ReadFile(logFile); t.Failed() && err == nil {
			t.Logf("log of named:\n%s", text)
		}
	})
	return awaitNamed(addr, logFile, done)
}

// awaitNamed waits until named says that it runs, on all of its addresses.
func awaitNamed(addr netip.AddrPort, logFile string, done <-chan struct{}) error {
	end := time.After(patience)
	for {
		text, err := os.ReadFile(logFile)
		if err != nil {
			return err
		}
		switch log := string(text); {
		case strings.Contains(log, "address in use"):
			return errPortTaken
		case strings.Contains(log, "\n") && strings.Contains(log, " running\n"):
			return nil
		}
		select {
		case <-done:
			return fmt.Errorf("named has ended:\n%s", text)
		case <-end:
			return fmt.Errorf("named does not serve %s:\n%s", addr, text)
		case <-time.After(interval):
		}
	}
}
