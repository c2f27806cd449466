// Command cluster measures three nodes on three members of etcd, all on this machine: how long it takes from a call to one node until
// all nodes answer with the new tenant, how many octets of etcd's database a tenant takes, and how long a node takes to start, from etcd and
// without it.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sync/errgroup"

	"github.com/mxseal/mxseal/api"
	"github.com/mxseal/mxseal/api/client"
)

// result is what is printed.
type result struct {
	Commit     string    `json:"commit"`
	Tenants    int       `json:"tenants"`     // that were imported
	ImportS    float64   `json:"import_s"`    // of them
	Octets     float64   `json:"octets"`      // of etcd's database in use, for a tenant, without history
	StartS     float64   `json:"start_s"`     // of a node with all of them, until it is ready
	ImageS     float64   `json:"image_s"`     // the same of one that was killed, while no member of etcd runs
	Empty      latencies `json:"empty"`       // with a database that has nothing else
	Full       latencies `json:"full"`        // with all tenants
	Creates    float64   `json:"creates"`     // a second, over the API of one node, by 64 clients, with all tenants
	LoadBefore float64   `json:"load_before"` // processes that were running or about to, by the kernel, before anything was measured
}

// latencies are in milliseconds, of calls one after the other.
type latencies struct {
	Calls    int     `json:"calls"`
	CallP50  float64 `json:"call_p50_ms"` // until the call returned
	CallP99  float64 `json:"call_p99_ms"`
	AllP50   float64 `json:"all_p50_ms"` // from the beginning of the call until all nodes had answered with the tenant
	AllP99   float64 `json:"all_p99_ms"`
	AllMax   float64 `json:"all_max_ms"`
	Lagging  int     `json:"lagging"`      // calls after which some node did not answer with the tenant at once
	LagP99   float64 `json:"lag_p99_ms"`   // from the return of the call until all nodes had
	WaitP50  float64 `json:"wait_p50_ms"`  // the same calls with ?wait=all, until they returned
	WaitP99  float64 `json:"wait_p99_ms"`  //
	Unwaited int     `json:"unwaited"`     // of those, after which some node did not answer with the tenant at once
	Seconds  float64 `json:"wall_seconds"` // of all
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) (err error) {
	binary := flag.String("mxseal", "build/mxseal", "program to measure")
	calls := flag.Int("calls", 2000, "calls that are timed, with each of the two databases")
	tenants := flag.Int("tenants", 200_000, "tenants of the full database")
	flag.Parse()
	r := result{Tenants: *tenants, Commit: commit(ctx), LoadBefore: load()}
	c, err := startCluster(ctx, *binary)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.stop()) }()
	if err := c.furnish(ctx); err != nil {
		return err
	}
	if r.Empty, err = c.measure(ctx, "e", *calls); err != nil {
		return err
	}
	before, err := c.size(ctx)
	if err != nil {
		return err
	}
	begun := time.Now()
	if err := c.fill(ctx, *tenants); err != nil {
		return err
	}
	r.ImportS = time.Since(begun).Seconds()
	after, err := c.size(ctx)
	if err != nil {
		return err
	}
	r.Octets = (after - before) / float64(*tenants)
	if err := c.nodes[2].stop(); err != nil {
		return err
	}
	if r.StartS, err = c.starts(ctx, c.nodes[2]); err != nil {
		return err
	}
	if r.Full, err = c.measure(ctx, "f", *calls); err != nil {
		return err
	}
	if r.Creates, err = c.creates(ctx, 64, *calls*10); err != nil {
		return err
	}
	if r.ImageS, err = c.withoutEtcd(ctx, c.nodes[2]); err != nil {
		return err
	}
	out := json.NewEncoder(os.Stdout)
	out.SetIndent("", " ")
	return out.Encode(r)
}

// starts says how many seconds a node takes to start.
func (c *cluster) starts(ctx context.Context, n *process) (seconds float64, err error) {
	begun := time.Now()
	if err := n.start(); err != nil {
		return 0, err
	}
	err = c.ready(ctx, n)
	return time.Since(begun).Seconds(), err
}

// withoutEtcd kills a node and ends etcd, and says how many seconds the node takes to start then.
func (c *cluster) withoutEtcd(ctx context.Context, n *process) (seconds float64, err error) {
	n.kill()
	for _, m := range c.members {
		m.kill()
	}
	return c.starts(ctx, n)
}

// furnish makes what tenants need.
func (c *cluster) furnish(ctx context.Context) error {
	_, err := c.client.PutPool(ctx, "default", api.PoolSpec{Hosts: []api.MailServer{{Name: "in1", Addresses: []string{"192.0.2.10", "2001:db8::10"}}},
		TLSA: []api.TLSA{{Usage: 3, Selector: 1, MatchingType: 1, Data: strings.Repeat("11", 32)}}})
	if err != nil {
		return err
	}
	_, err = c.client.PutZone(ctx, apex, api.ZoneSpec{Nameservers: []api.Nameserver{{Name: "ns1." + apex, Addresses: []string{"192.0.2.53"}}}})
	return err
}

const apex = "mx.test."

// fill imports tenants. On a busy machine members of etcd take each other for dead at times; what is not done then is sent again.
func (c *cluster) fill(ctx context.Context, n int) error {
	for tries := 1; ; tries++ {
		err := c.send(ctx, n)
		if err == nil || ctx.Err() != nil || tries == 50 {
			return err
		}
		fmt.Fprintln(os.Stderr, "cluster: the import is begun again:", err)
		time.Sleep(5 * time.Second)
	}
}

func (c *cluster) send(ctx context.Context, n int) error {
	var lines bytes.Buffer
	out := json.NewEncoder(&lines)
	for i := range n {
		if err := out.Encode(api.ImportLine{ID: fmt.Sprintf("t%d", i), TenantSpec: api.TenantSpec{Pool: "default", Domains: []string{fmt.Sprintf("tenant%d.example", i)}}}); err != nil {
			return err
		}
	}
	done, err := c.client.Import(ctx, &lines, func(r api.ImportResult) error {
		if r.Problem != nil {
			return fmt.Errorf("%s: %+v", r.ID, *r.Problem)
		}
		return nil
	})
	if err == nil && done != n {
		err = fmt.Errorf("%d of %d tenants were imported", done, n)
	}
	return err
}

// measure creates tenants at the first node one after the other, and asks all nodes for each until they answer with it.
func (c *cluster) measure(ctx context.Context, prefix string, n int) (l latencies, err error) {
	l.Calls = n
	begun := time.Now()
	var call, all, lag, wait []time.Duration
	for i := range 2 * n {
		waits, by := i%2 == 1, c.client
		if waits {
			by = c.waiting
		}
		domain := fmt.Sprintf("%s%d.example", prefix, i)
		start := time.Now()
		if _, err := by.PutTenant(ctx, fmt.Sprintf("%s%d", prefix, i), api.TenantSpec{Pool: "default", Domains: []string{domain}}); err != nil {
			return l, err
		}
		returned := time.Since(start)
		late, err := c.asked(strings.ReplaceAll(domain, ".", "-") + "." + apex)
		if err != nil {
			return l, err
		}
		switch {
		case waits && late:
			l.Unwaited++
			wait = append(wait, returned)
		case waits:
			wait = append(wait, returned)
		default:
			call, all = append(call, returned), append(all, time.Since(start))
			lag = append(lag, time.Since(start)-returned)
			if late {
				l.Lagging++
			}
		}
	}
	for _, times := range [][]time.Duration{call, all, lag, wait} {
		slices.Sort(times)
	}
	p := func(times []time.Duration, percent int) float64 {
		return float64(times[min(len(times)*percent/100, len(times)-1)].Microseconds()) / 1000
	}
	l.CallP50, l.CallP99, l.AllP50, l.AllP99, l.AllMax = p(call, 50), p(call, 99), p(all, 50), p(all, 99), p(all, 100)
	l.LagP99, l.WaitP50, l.WaitP99, l.Seconds = p(lag, 99), p(wait, 50), p(wait, 99), time.Since(begun).Seconds()
	return l, nil
}

// creates says how many tenants a second so many clients create at the first node, n in all.
func (c *cluster) creates(ctx context.Context, clients, n int) (perSecond float64, err error) {
	var next atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	begun := time.Now()
	for range clients {
		group.Go(func() error {
			for i := next.Add(1); i <= int64(n); i = next.Add(1) {
				spec := api.TenantSpec{Pool: "default", Domains: []string{fmt.Sprintf("c%d.example", i)}}
				if _, err := c.client.PutTenant(ctx, fmt.Sprintf("c%d", i), spec); err != nil {
					return err
				}
			}
			return nil
		})
	}
	err = group.Wait()
	return float64(n) / time.Since(begun).Seconds(), err
}

// asked asks all nodes at once until each answers with a host, and reports whether one of them did not at first.
func (c *cluster) asked(host string) (late bool, err error) {
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, n := range c.nodes {
		all.Go(func() {
			tries, failed := 0, error(nil)
			for give := time.Now().Add(patience); ; tries++ {
				var m *dns.Msg
				m, _, failed = n.exchange(host)
				if failed != nil || m.Rcode == dns.RcodeSuccess && len(m.Answer) > 0 {
					break
				}
				if time.Now().After(give) {
					failed = fmt.Errorf("%s: no answer with %s after %v", n.name, host, patience)
					break
				}
			}
			mu.Lock()
			defer mu.Unlock()
			late = late || tries > 0
			err = errors.Join(err, failed)
		})
	}
	all.Wait()
	return late, err
}

// exchange asks for the MX of a host, over a socket that is kept.
func (n *process) exchange(host string) (*dns.Msg, time.Duration, error) {
	if n.conn == nil {
		conn, err := dns.DialTimeout("udp", n.dns, time.Second)
		if err != nil {
			return nil, 0, err
		}
		n.conn = conn
	}
	return (&dns.Client{Timeout: 5 * time.Second}).ExchangeWithConn(new(dns.Msg).SetQuestion(host, dns.TypeMX), n.conn)
}

// clients are those of the first node: one that waits for nobody, and one that waits for all nodes.
func clients(url, token string) (c, waiting *client.Client, err error) {
	config := client.Config{Server: url, Token: token, Timeout: 10 * time.Minute}
	if c, err = client.New(config); err != nil {
		return nil, nil, err
	}
	config.Lagging = func(string) {}
	waiting, err = client.New(config)
	return c, waiting, err
}
