package e2e

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// insideVar tells the test binary that it runs in the sandbox, and where its directory is.
const insideVar = "E2E_SANDBOX"

// binary is the mxseal that is tested, and nextBinary the same with the format of records after the present one. Set before the first
// test runs.
var binary, nextBinary string

// TestMain builds mxseal and starts the test binary again inside of the sandbox. Listing the tests needs neither.
func TestMain(m *testing.M) {
	flag.Parse()
	if flag.Lookup("test.list").Value.String() != "" {
		os.Exit(m.Run())
	}
	if dir := os.Getenv(insideVar); dir != "" {
		binary, nextBinary = filepath.Join(dir, "mxseal"), filepath.Join(dir, "mxseal-next")
		if err := furnishSandbox(dir); err != nil {
			fmt.Fprintln(os.Stderr, "e2e: sandbox:", err)
			os.Exit(1)
		}
		os.Exit(m.Run())
	}
	code, err := runInSandbox()
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
	}
	os.Exit(code)
}

// runInSandbox runs this program as the first process of a process namespace: when it ends, the kernel ends all
// others. It ends when we do, however that happens.
func runInSandbox() (code int, err error) {
	if os.Geteuid() != 0 {
		return 1, errors.New("the end-to-end tests make namespaces and use port 53: run them as root")
	}
	dir, err := os.MkdirTemp("", "mxseal-e2e-")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	// Postfix works under accounts of its own and has to get at its files.
	if err := os.Chmod(dir, 0o755); err != nil {
		return 1, err
	}
	for name, tags := range map[string]string{"mxseal": "", "mxseal-next": "nextformat"} {
		build := exec.Command("go", "build", "-tags", tags, "-o", filepath.Join(dir, name), "../cmd/mxseal")
		if out, err := build.CombinedOutput(); err != nil {
			return 1, fmt.Errorf("%s: %w\n%s", build, err, out)
		}
	}
	self, err := os.Executable()
	if err != nil {
		return 1, err
	}
	inside := exec.Command(self, os.Args[1:]...)
	// What is set for a mxseal of the caller must not reach those of the tests.
	inside.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "MXSEAL_") })
	// Some have no servers in their path, although they are root.
	inside.Env = append(inside.Env, insideVar+"="+dir, "TMPDIR="+dir, "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	inside.Stdin, inside.Stdout, inside.Stderr = os.Stdin, os.Stdout, os.Stderr
	inside.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID,
		Pdeathsig:  syscall.SIGKILL,
	}
	signal.Notify(make(chan os.Signal, 1), os.Interrupt) // it ends by itself, and we clean up
	runtime.LockOSThread()                               // Pdeathsig is about the thread that started the process
	err = inside.Run()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		return max(exit.ExitCode(), 1), nil
	case errors.Is(err, syscall.EPERM):
		return 1, fmt.Errorf("make namespaces: %w; in a container the tests need the capabilities SYS_ADMIN and NET_ADMIN", err)
	case err != nil:
		return 1, err
	}
	return 0, nil
}

// furnishSandbox makes the namespaces usable: /proc of our processes, all of 127.0.0.0/8 and 10.53.0.0/16 as
// addresses of our own, and the resolver of the mail tests as that of the system. Resolvers take 10.53.0.0/16 for
// the Internet; some refuse to ask servers on loopback.
func furnishSandbox(dir string) error {
	if err := syscall.Mount("none", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := syscall.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	// Without trust-ad the C library hides from Postfix what the resolver has validated.
	conf := filepath.Join(dir, "resolv.conf")
	if err := os.WriteFile(conf, []byte("nameserver "+systemResolver+"\noptions edns0 trust-ad\n"), 0o644); err != nil {
		return err
	}
	target, err := filepath.EvalSymlinks("/etc/resolv.conf")
	if err != nil {
		return err
	}
	if err := syscall.Mount(conf, target, "", syscall.MS_BIND, ""); err != nil {
		return fmt.Errorf("replace /etc/resolv.conf: %w", err)
	}
	// Each query over TCP is a connection; without this there are soon no ports left for them.
	if err := os.WriteFile("/proc/sys/net/ipv4/tcp_tw_reuse", []byte("1"), 0); err != nil {
		return err
	}
	for _, args := range []string{"link set lo up", "address add 10.53.0.1/16 dev lo"} {
		ip := exec.Command("ip", strings.Fields(args)...)
		if out, err := ip.CombinedOutput(); err != nil {
			return fmt.Errorf("%s (package iproute2): %w\n%s", ip, err, out)
		}
	}
	return furnishRouter()
}

// TestDependencies makes go test look at the sources of mxseal when it decides whether a result in its cache is
// still good. It looks at directories that a test reads; the binary that we build is no import of ours.
func TestDependencies(t *testing.T) {
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		if entry != nil && entry.IsDir() && (entry.Name() == ".git" || entry.Name() == "build") {
			return filepath.SkipDir
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
