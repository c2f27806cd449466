//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/bench/stats"
)

const (
	address  = "127.99.0.1"            // of all servers; each has a port
	patience = 2 * time.Minute         // before a server that does not get ready is given up
	interval = 50 * time.Millisecond   // between two looks
	grace    = 10 * time.Second        // for a server to stop by itself
	mxseal   = "mxseal"                // its name in the table
	echo     = "bare echo (the limit)" // and that of the echo
)

// server is a program that answers DNS, bound to one core.
type server struct {
	name   string // in the table
	port   int
	args   []string // program and arguments; it stays in the foreground
	env    []string
	signed bool // before it starts; others sign when they are asked
	log    string

	cmd  *exec.Cmd
	done chan struct{} // closed when the process is gone
}

func (s *server) addr() string { return net.JoinHostPort(address, strconv.Itoa(s.port)) }

// signs reports whether the server makes signatures when it is asked.
func (s *server) signs() bool { return !s.signed && s.name != echo }

// start starts the server on a core.
func (s *server) start(core int) error {
	log, err := os.Create(s.log)
	if err != nil {
		return err
	}
	defer log.Close()
	s.cmd = exec.Command("taskset", append([]string{"-c", strconv.Itoa(core)}, s.args...)...)
	s.cmd.Env = append(os.Environ(), s.env...)
	s.cmd.Stdout, s.cmd.Stderr = log, log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := s.cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", s.name, err)
	}
	s.done = make(chan struct{})
	go func() {
		s.cmd.Wait() // how it ended is in its log
		close(s.done)
	}()
	return nil
}

// stop ends the server, by force with all its processes if it does not do so by itself.
func (s *server) stop() {
	if s.cmd == nil {
		return
	}
	s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.done:
	case <-time.After(grace):
		syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL)
		<-s.done
	}
	s.cmd = nil
}

// await waits until a condition is met. It fails with the end of the log if the server ends or takes too long.
func (s *server) await(ctx context.Context, condition func() error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		err := condition()
		if err == nil {
			return nil
		}
		select {
		case <-time.After(interval):
			continue
		case <-s.done:
			err = errors.New("has ended")
		case <-ctx.Done():
		}
		text, _ := os.ReadFile(s.log)
		return fmt.Errorf("%s: %w\n%s", s.name, err, text[max(0, len(text)-2000):])
	}
}

// answers is a condition: the server answers a question about the zone without an error.
func (s *server) answers() error {
	conn, err := net.DialTimeout("udp", s.addr(), time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Second))
	query, err := new(dns.Msg).SetQuestion(zoneName, dns.TypeSOA).Pack()
	if err != nil {
		return err
	}
	if _, err := conn.Write(query); err != nil {
		return err
	}
	answer := make([]byte, 4096)
	n, err := conn.Read(answer)
	if err != nil {
		return err
	}
	if n < 12 || answer[3]&0xf != dns.RcodeSuccess {
		return errors.New("answers with an error")
	}
	return nil
}

// checkCore returns an error if a thread of the server may run elsewhere than on the core.
func (s *server) checkCore(core int) error {
	for _, pid := range stats.Tree(s.cmd.Process.Pid) {
		files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
		if err != nil {
			return err
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if errors.Is(err, os.ErrNotExist) {
				continue // the thread has ended
			}
			if err != nil {
				return err
			}
			_, rest, _ := strings.Cut(string(text), "Cpus_allowed_list:")
			if list, _, _ := strings.Cut(strings.TrimSpace(rest), "\n"); list != strconv.Itoa(core) {
				return fmt.Errorf("%s: %s may run on the cores %s", s.name, file, list)
			}
		}
	}
	return nil
}
