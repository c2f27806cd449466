package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/rogpeppe/go-internal/testscript"
)

// TestScripts runs the scripts in testdata: what a person does at the command line. Each has addresses of its own,
// which every mxseal that it starts takes from the environment.
func TestScripts(t *testing.T) {
	for _, name := range []string{"curl", "delv", "dig", "dnssec-keygen", "dnssec-dsfromkey", "openssl"} {
		program(t, name)
	}
	runScripts(t, "testdata", binary)
}

// TestTokenScripts runs the scripts that need a PKCS #11 token, with a mxseal that can use one.
func TestTokenScripts(t *testing.T) {
	program(t, "softhsm2-util")
	built := filepath.Join(t.TempDir(), "mxseal")
	if text, err := run(t, "go", "build", "-tags", "pkcs11", "-o", built, "../cmd/mxseal"); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	runScripts(t, "testdata/token", built)
}

// runScripts runs the scripts of a directory.
func runScripts(t *testing.T, dir, program string) {
	testscript.Run(t, testscript.Params{
		Dir: dir,
		Setup: func(env *testscript.Env) error {
			at := newSite().loopback()
			env.Setenv("PATH", filepath.Dir(program)+string(os.PathListSeparator)+env.Getenv("PATH"))
			env.Setenv("HOST", at.String())
			env.Setenv("MXSEAL_DNS_LISTEN", fmt.Sprintf("%s:53", at))
			env.Setenv("MXSEAL_API_LISTEN", fmt.Sprintf("%s:8053", at))
			env.Setenv("MXSEAL_METRICS_LISTEN", fmt.Sprintf("%s:9153", at))
			env.Setenv("MXSEAL_SERVER", fmt.Sprintf("http://%s:8053", at))
			env.Setenv("MXSEAL_TOKEN", filepath.Join(env.WorkDir, "data", "admin.token"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"ready":  scriptReady,
			"exits":  scriptExits,
			"anchor": scriptAnchor,
			"cut":    scriptCut,
		},
		RequireUniqueNames: true,
	})
}

// scriptReady is "ready [ADDRESS]": wait until the mxseal with its metrics on the address is ready.
func scriptReady(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 1 {
		ts.Fatalf("usage: ready [ADDRESS]")
	}
	addr := ts.Getenv("MXSEAL_METRICS_LISTEN")
	if len(args) == 1 {
		addr = args[0]
	}
	deadline := time.Now().Add(patience)
	for {
		err := get("http://" + addr + "/readyz")
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("mxseal is not ready: %v", err)
		}
		time.Sleep(interval)
	}
}

// scriptExits is "exits CODE PROGRAM ARGUMENTS...": exec with an exit code.
func scriptExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM [ARGUMENTS...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	err = ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		got = exit.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// scriptAnchor is "anchor FILE": a trust anchor for delv from what "mxseal zone ds" prints, which is in FILE, in place
// of that.
func scriptAnchor(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: anchor FILE")
	}
	var answer struct{ DS []string }
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &answer))
	var b strings.Builder
	b.WriteString("trust-anchors {\n")
	for _, line := range answer.DS {
		rr, err := dns.NewRR(line)
		ts.Check(err)
		ds := rr.(*dns.DS)
		fmt.Fprintf(&b, "%q static-ds %d %d %d %q;\n", ds.Hdr.Name, ds.KeyTag, ds.Algorithm, ds.DigestType, ds.Digest)
	}
	b.WriteString("};\n")
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(b.String()), 0o644))
}

// scriptCut is "cut FILE": half of the file is lost.
func scriptCut(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: cut FILE")
	}
	file := ts.MkAbs(args[0])
	info, err := os.Stat(file)
	ts.Check(err)
	ts.Check(os.Truncate(file, info.Size()/2))
}
