// Command provision creates tenants over the admin API, from many clients side by side, and says how long a call takes: each is
// durable when it returns. With -dns it asks for the new host's MX right after each call, over UDP: the next answer has to have it.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
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
	server := flag.String("server", "127.0.0.1:8053", "address:port of the admin API, without TLS")
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
		c, err := dial(*server, strings.TrimSpace(string(secret)))
		if err != nil {
			return err
		}
		wg.Go(func() {
			defer c.Close()
			for i := int(next.Add(1)) - 1; i < *count; i = int(next.Add(1)) - 1 {
				if *rate > 0 {
					time.Sleep(time.Until(begun.Add(time.Duration(float64(i) / *rate * float64(time.Second)))))
				}
				domain := fmt.Sprintf("%s%d.example", *prefix, i)
				start := time.Now()
				err := c.create(fmt.Sprintf("%s-%d", *prefix, i), domain)
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

// caller is a connection to the API. It shares the core of whatever else measures, so it costs as little as it can.
type caller struct {
	net.Conn
	answers *bufio.Reader
	head    string
}

func dial(server, token string) (*caller, error) {
	c, err := net.Dial("tcp", server)
	if err != nil {
		return nil, err
	}
	head := fmt.Sprintf(" HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\n", server, token)
	return &caller{c, bufio.NewReader(c), head}, nil
}

// create makes a tenant of one domain.
func (c *caller) create(id, domain string) error {
	body := fmt.Sprintf(`{"pool":"default","domains":[%q]}`, domain)
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(c, "PUT /v1/tenants/%s%sContent-Length: %d\r\n\r\n%s", id, c.head, len(body), body); err != nil {
		return err
	}
	r, err := http.ReadResponse(c.answers, nil)
	if err != nil {
		return err
	}
	said, err := io.ReadAll(r.Body)
	if err == nil && r.StatusCode/100 != 2 {
		err = fmt.Errorf("%s: %s: %s", id, r.Status, said)
	}
	return err
}

// seen asks once for the MX of a host.
func seen(server, host string) bool {
	m := new(dns.Msg).SetQuestion(host, dns.TypeMX)
	answer, _, err := (&dns.Client{Timeout: 5 * time.Second}).Exchange(m, server)
	return err == nil && answer.Rcode == dns.RcodeSuccess && len(answer.Answer) > 0
}
