package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/api/client"
)

// patience is how long something is waited for that must come.
const patience = 2 * time.Minute

// process is a member of etcd or a node.
type process struct {
	name string
	args []string
	env  []string
	log  string // file

	dns, api, metrics string // addresses of a node
	conn              *dns.Conn

	cmd  *exec.Cmd
	done chan struct{} // closed when it is gone
}

func (p *process) start() error {
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	p.cmd, p.done = exec.Command(p.args[0], p.args[1:]...), make(chan struct{})
	p.cmd.Env = append(os.Environ(), p.env...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	go func() {
		p.cmd.Wait() // how it ended is in its log
		close(p.done)
	}()
	return nil
}

func (p *process) stop() error {
	if p.cmd == nil || p.cmd.Process == nil {
		return nil
	}
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
		return nil
	case <-time.After(30 * time.Second):
		p.kill()
		return fmt.Errorf("%s does not stop", p.name)
	}
}

func (p *process) kill() {
	p.cmd.Process.Kill()
	<-p.done
}

// cluster is three members of etcd and three nodes.
type cluster struct {
	dir             string
	members, nodes  []*process
	urls            []string // of the members
	client, waiting *client.Client
}

const size = 3

func startCluster(ctx context.Context, binary string) (c *cluster, err error) {
	dir, err := os.MkdirTemp("", "mxseal-cluster-")
	if err != nil {
		return nil, err
	}
	c = &cluster{dir: dir}
	started := c
	defer func() {
		if err != nil {
			err = errors.Join(err, started.stop())
		}
	}()
	if err := c.startEtcd(); err != nil {
		return nil, err
	}
	for i := range size {
		config := filepath.Join(dir, fmt.Sprintf("n%d.yaml", i))
		n := &process{name: fmt.Sprintf("n%d", i), args: []string{binary, "serve", "--config", config}, log: filepath.Join(dir, fmt.Sprintf("n%d.log", i)),
			dns: free(), api: free(), metrics: free()}
		text := fmt.Sprintf("data_dir: %s\nkeys: {kek: \"file:%s/kek\", clock: trusted}\ndns: {listen: [%q]}\napi: {listen: %q}\nmetrics: {listen: %q}\n"+
			"store: {engine: etcd, etcd: {node: %s, endpoints: [%s]}}\n", dir, dir, n.dns, n.api, n.metrics, n.name, strings.Join(c.urls, ", "))
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			return nil, err
		}
		if i == 0 {
			if out, err := command(ctx, binary, "init", "--config", config); err != nil {
				return nil, fmt.Errorf("mxseal init: %w: %s", err, out)
			}
		}
		c.nodes = append(c.nodes, n)
		if err := n.start(); err != nil {
			return nil, err
		}
		if err := c.ready(ctx, n); err != nil {
			return nil, err
		}
	}
	token, err := os.ReadFile(filepath.Join(dir, "admin.token"))
	if err != nil {
		return nil, err
	}
	c.client, c.waiting, err = clients("http://"+c.nodes[0].api, strings.TrimSpace(string(token)))
	return c, err
}

// startEtcd starts the members with the settings that docs/cluster.md asks for, and patience with each other, and waits until one leads.
func (c *cluster) startEtcd() error {
	var initial, peers []string
	for i := range size {
		peers, c.urls = append(peers, "http://"+free()), append(c.urls, "http://"+free())
		initial = append(initial, fmt.Sprintf("m%d=%s", i, peers[i]))
	}
	for i := range size {
		m := &process{name: fmt.Sprintf("m%d", i), log: filepath.Join(c.dir, fmt.Sprintf("m%d.log", i)), args: []string{"etcd", "--name", fmt.Sprintf("m%d", i),
			"--data-dir", filepath.Join(c.dir, fmt.Sprintf("m%d", i)), "--listen-client-urls", c.urls[i], "--advertise-client-urls", c.urls[i],
			"--listen-peer-urls", peers[i], "--initial-advertise-peer-urls", peers[i], "--initial-cluster", strings.Join(initial, ","),
			"--heartbeat-interval", "500", "--election-timeout", "5000", "--auto-compaction-mode", "periodic", "--auto-compaction-retention", "1h"}}
		c.members = append(c.members, m)
		if err := m.start(); err != nil {
			return err
		}
	}
	return await("etcd answers", func() error {
		_, err := c.etcdctl(context.Background(), "get", "x")
		return err
	})
}

func (c *cluster) stop() (err error) {
	for _, p := range append(c.nodes, c.members...) {
		err = errors.Join(err, p.stop())
	}
	return errors.Join(err, os.RemoveAll(c.dir))
}

// ready waits until a node answers.
func (c *cluster) ready(ctx context.Context, n *process) error {
	return await(n.name+" is ready", func() error {
		select {
		case <-n.done:
			log, err := os.ReadFile(n.log)
			return errors.Join(err, fmt.Errorf("it has ended: %s", log))
		default:
		}
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.metrics+"/readyz", nil)
		if err != nil {
			return err
		}
		res, err := http.DefaultClient.Do(request)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		if res.StatusCode != http.StatusOK {
			return errors.New(res.Status)
		}
		return nil
	})
}

// size compacts etcd's history and returns how many octets of its database are in use.
func (c *cluster) size(ctx context.Context) (float64, error) {
	text, err := c.etcdctl(ctx, "get", "x", "--write-out", "json")
	if err != nil {
		return 0, err
	}
	var answer struct{ Header struct{ Revision int64 } }
	if err := json.Unmarshal(text, &answer); err != nil {
		return 0, err
	}
	if _, err := c.etcdctl(ctx, "compact", "--physical", strconv.FormatInt(answer.Header.Revision, 10)); err != nil {
		return 0, err
	}
	var in float64
	for before := -1.0; in != before; { // what a compaction frees is seen a little later
		before = in
		time.Sleep(3 * time.Second)
		if in, err = c.metric(ctx, "etcd_mvcc_db_total_size_in_use_in_bytes"); err != nil {
			return 0, err
		}
	}
	return in, nil
}

// metric asks the first member.
func (c *cluster) metric(ctx context.Context, name string) (float64, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.urls[0]+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	res, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		if value, found := strings.CutPrefix(lines.Text(), name+" "); found {
			return strconv.ParseFloat(value, 64)
		}
	}
	return 0, fmt.Errorf("etcd has no metric %s", name)
}

func (c *cluster) etcdctl(ctx context.Context, args ...string) ([]byte, error) {
	return command(ctx, "etcdctl", append([]string{"--endpoints", c.urls[0], "--command-timeout", "60s"}, args...)...)
}

func command(ctx context.Context, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "ETCDCTL_API=3")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s %s: %w: %s", name, args[0], err, errs.String())
	}
	return out.Bytes(), nil
}

func await(what string, check func() error) error {
	for give := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		err := check()
		if err == nil {
			return nil
		}
		if time.Now().After(give) {
			return fmt.Errorf("%s: still not after %v: %w", what, patience, err)
		}
	}
}

// free returns an address on loopback that nobody uses; empty if there is none, which whoever listens there finds out.
func free() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return ""
	}
	defer l.Close()
	return l.Addr().String()
}

// commit names what is measured, as far as the repository tells.
func commit(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty", "--match=").Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

// load is how many processes ran or were about to in the last minute.
func load() float64 {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(text), " ")
	value, _ := strconv.ParseFloat(first, 64)
	return value
}
