// Command provision creates tenants over the admin API, from many clients side by side, and says how long a call takes: each is
// durable when it returns. With -dns it asks for the new host's MX right after each call, over UDP: the next answer has to have it.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/api"
	"github.com/mxseal/mxseal/api/client"
)

// result is what is printed.
type result struct {
	Clients   int     `json:"clients"`
	Created   int     `json:"created"`
	PerSecond float64 `json:"per_second"`
	P50       float64 `json:"p50_ms"`
	P99       float64 `json:"p99_ms"`
	Max       float64 `json:"max_ms"`
	Unseen    int64   `json:"unseen"` // next answers that did not have the new tenant
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "provision:", err)
		os.Exit(1)
	}
}

func run() error {
	server := flag.String("server", "http://127.0.0.1:8053", "URL of the admin API")
	token := flag.String("token-file", "", "file with a token")
	clients := flag.Int("clients", 1, "clients side by side")
	count := flag.Int("count", 1000, "tenants to create")
	rate := flag.Float64("rate", 0, "tenants a second, of all clients together; 0: as fast as it goes")
	prefix := flag.String("prefix", "new", "of the tenants' ids and domains")
	zone := flag.String("zone", "mx.test.", "of the hosts, for -dns")
	asked := flag.String("dns", "", "address:port to ask after each call; empty: nobody is asked")
	flag.Parse()
	secret, err := os.ReadFile(*token)
	if err != nil {
		return err
	}
	r := result{Clients: *clients, Created: *count}
	times := make([]time.Duration, *count)
	var next atomic.Int64
	var mu sync.Mutex
	var failed error
	var wg sync.WaitGroup
	begun := time.Now()
	for range *clients {
		c, err := client.New(client.Config{Server: *server, Token: strings.TrimSpace(string(secret)), Timeout: time.Minute})
		if err != nil {
			return err
		}
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < *count; i = int(next.Add(1)) - 1 {
				if *rate > 0 {
					time.Sleep(time.Until(begun.Add(time.Duration(float64(i) / *rate * float64(time.Second)))))
				}
				domain := fmt.Sprintf("%s%d.example", *prefix, i)
				start := time.Now()
				_, err := c.PutTenant(context.Background(), fmt.Sprintf("%s-%d", *prefix, i), api.TenantSpec{Pool: "default", Domains: []string{domain}})
				times[i] = time.Since(start)
				if err == nil && *asked != "" && !seen(*asked, strings.ReplaceAll(domain, ".", "-")+"."+*zone) {
					atomic.AddInt64(&r.Unseen, 1)
				}
				if err != nil {
					mu.Lock()
					failed = errors.Join(failed, err)
					mu.Unlock()
					return
				}
			}
		})
	}
	wg.Wait()
	if failed != nil {
		return failed
	}
	r.PerSecond = float64(*count) / time.Since(begun).Seconds()
	slices.Sort(times)
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	r.P50, r.P99, r.Max = ms(times[len(times)/2]), ms(times[len(times)*99/100]), ms(times[len(times)-1])
	return json.NewEncoder(os.Stdout).Encode(r)
}

// seen asks once for the MX of a host.
func seen(server, host string) bool {
	m := new(dns.Msg).SetQuestion(host, dns.TypeMX)
	answer, _, err := (&dns.Client{Timeout: 5 * time.Second}).Exchange(m, server)
	return err == nil && answer.Rcode == dns.RcodeSuccess && len(answer.Answer) > 0
}
