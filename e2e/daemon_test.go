package e2e

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	patience = 3 * time.Minute       // before a condition is given up; ends a test that has failed, times none
	interval = 20 * time.Millisecond // between two looks at a condition
	logTail  = 60                    // lines of a log that are shown when a test has failed
)

// daemon is a server program at work, in a process group of its own. It ends with the test that started it, and
// its log is shown if the test has failed.
type daemon struct {
	name string
	cmd  *exec.Cmd
	log  string        // file with standard output and standard error
	done chan struct{} // closed when the process is gone
}

// start starts a program with additional environment variables. What tells that it is ready is up to the caller.
func start(t testing.TB, env []string, name string, args ...string) *daemon {
	t.Helper()
	log, err := os.CreateTemp(t.TempDir(), filepath.Base(name)+"-*.log")
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	d := &daemon{name: filepath.Base(name), cmd: exec.Command(name, args...), log: log.Name(), done: make(chan struct{})}
	d.cmd.Env = append(os.Environ(), env...)
	d.cmd.Stdout, d.cmd.Stderr = log, log
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := d.cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", d.cmd, err)
	}
	go func() {
		d.cmd.Wait() // how it ended is in the log
		close(d.done)
	}()
	t.Cleanup(func() {
		d.kill()
		if t.Failed() {
			t.Logf("end of the log of %s:\n%s", d.cmd, d.tail())
		}
	})
	return d
}

// kill ends the whole process group at once and waits until the program is gone.
func (d *daemon) kill() { d.end(syscall.SIGKILL) }

// stop asks the program to end, and waits until it has done so in good order.
func (d *daemon) stop(t testing.TB) {
	t.Helper()
	if !d.end(syscall.SIGTERM) {
		t.Fatalf("%s does not stop", d.name)
	}
	if state := d.cmd.ProcessState; !state.Success() {
		t.Fatalf("%s was asked to stop: %s\n%s", d.name, state, d.tail())
	}
}

// halt has the program stand still until resume, as with a machine that does. Its connections stay, and take what is sent to it.
func (d *daemon) halt() { d.signal(syscall.SIGSTOP) }

func (d *daemon) resume() { d.signal(syscall.SIGCONT) }

func (d *daemon) signal(signal syscall.Signal) {
	syscall.Kill(-d.cmd.Process.Pid, signal) // fails only if it has just ended
}

// end sends a signal to the process group. It reports whether the program has ended.
func (d *daemon) end(signal syscall.Signal) bool {
	select {
	case <-d.done:
		return true // the group may be somebody else's by now
	default:
	}
	d.signal(signal)
	select {
	case <-d.done:
		return true
	case <-time.After(patience):
		return false
	}
}

// await waits until the program does what it is there for: until check returns nil.
func (d *daemon) await(t testing.TB, what string, check func() error) {
	t.Helper()
	await(t, d.name+": "+what, func() error {
		select {
		case <-d.done:
			t.Fatalf("%s has ended: %s\n%s", d.name, d.cmd.ProcessState, d.tail())
		default:
		}
		return check()
	})
}

// logged is a condition for await: the log has the text.
func (d *daemon) logged(text string) func() error {
	return func() error {
		log, err := os.ReadFile(d.log)
		if err == nil && !strings.Contains(string(log), text) {
			err = errors.New("the log does not have it")
		}
		return err
	}
}

func (d *daemon) tail() string {
	log, err := os.ReadFile(d.log)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(log)), "\n")
	return strings.Join(lines[max(0, len(lines)-logTail):], "\n")
}

// await waits until check returns nil.
func await(t testing.TB, what string, check func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: still not after %v: %v", what, patience, err)
		}
		time.Sleep(interval)
	}
}
