package etcd_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// Cluster is etcd on some members, on addresses of loopback. It ends with the test.
type Cluster struct {
	t       testing.TB
	Members []*Member
}

// Member is one process of etcd.
type Member struct {
	t        testing.TB
	Endpoint string // URL
	args     []string
	log      string // file
	process  *exec.Cmd
	ended    chan struct{}
}

// startCluster starts a cluster and waits until it answers. More is appended to the command line of each member.
func startCluster(t testing.TB, members int, more ...string) *Cluster {
	t.Helper()
	dir, c := t.TempDir(), &Cluster{t: t}
	var initial []string
	peers := make([]string, members)
	for i := range members {
		peers[i] = "http://" + free(t)
		initial = append(initial, fmt.Sprintf("m%d=%s", i, peers[i]))
	}
	for i := range members {
		endpoint := "http://" + free(t)
		m := &Member{t: t, Endpoint: endpoint, log: filepath.Join(dir, fmt.Sprintf("m%d.log", i)), args: append([]string{
			"--name", fmt.Sprintf("m%d", i), "--data-dir", filepath.Join(dir, fmt.Sprintf("m%d", i)),
			"--listen-client-urls", endpoint, "--advertise-client-urls", endpoint, "--listen-peer-urls", peers[i],
			"--initial-advertise-peer-urls", peers[i], "--initial-cluster", strings.Join(initial, ","), "--logger", "zap",
			"--heartbeat-interval", "50", "--election-timeout", "500"}, more...)}
		c.Members = append(c.Members, m)
		m.Run()
	}
	t.Cleanup(func() {
		for _, m := range c.Members {
			m.Kill()
		}
	})
	c.Wait()
	return c
}

// free returns an address on which nobody listens.
func free(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// Run starts a member that does not run.
func (m *Member) Run() {
	m.t.Helper()
	log, err := os.OpenFile(m.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		m.t.Fatal(err)
	}
	defer log.Close()
	m.process, m.ended = exec.Command("etcd", m.args...), make(chan struct{})
	m.process.Stdout, m.process.Stderr = log, log
	m.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := m.process.Start(); err != nil {
		m.t.Fatalf("etcd (Debian package etcd-server): %v", err)
	}
	go func() {
		defer close(m.ended)
		_ = m.process.Wait()
	}()
}

// Kill ends a member as a loss of power would.
func (m *Member) Kill() {
	_ = m.process.Process.Kill()
	<-m.ended
}

// Signal stops (SIGSTOP) or continues (SIGCONT) a member.
func (m *Member) Signal(s syscall.Signal) {
	m.t.Helper()
	if err := m.process.Process.Signal(s); err != nil {
		m.t.Fatal(err)
	}
}

// Endpoints are those of all members.
func (c *Cluster) Endpoints() (all []string) {
	for _, m := range c.Members {
		all = append(all, m.Endpoint)
	}
	return all
}

// Client is closed with the test.
func (c *Cluster) Client() *clientv3.Client {
	c.t.Helper()
	client, err := clientv3.New(clientv3.Config{Endpoints: c.Endpoints(), DialTimeout: 5 * time.Second, Logger: zap.NewNop()})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { client.Close() })
	return client
}

// Wait waits until the cluster answers.
func (c *Cluster) Wait() {
	c.t.Helper()
	client := c.Client()
	for end := time.Now().Add(30 * time.Second); ; {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		_, err := client.Get(ctx, "x")
		cancel()
		if err == nil || strings.Contains(err.Error(), "user name is empty") {
			return
		}
		if time.Now().After(end) {
			log, _ := os.ReadFile(c.Members[0].log)
			c.t.Fatalf("etcd does not answer: %v\n%s", err, bytes.TrimSpace(log))
		}
	}
}
