// Package client is the typed client of the admin API. It uses the shapes of package api, so that the two
// cannot drift apart.
package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/mxseal/mxseal/api"
)

// Config says where the server is and who we are. File names may be empty.
type Config struct {
	Server     string // such as http://127.0.0.1:8053 or https://mx-admin.example:8053
	Token      string
	CA         string        // PEM file with the CAs to trust instead of the system's
	ClientCert string        // PEM file, with ClientKey
	ClientKey  string        // PEM file
	Timeout    time.Duration // of one call, backups excepted; 0 means one minute
	// Lagging, unless nil, makes every write wait until all nodes have it that can be heard of. It is called with the names of
	// those that do not have it in time, or api.UnknownNodes.
	Lagging func(nodes string)
}

// Client calls the API. Safe for concurrent use.
type Client struct {
	base    string
	token   string
	timeout time.Duration
	lagging func(nodes string) // nil: do not wait for other nodes
	http    *http.Client
}

// Error is a refusal by the server.
type Error struct{ api.Problem }

// Error names every field that the server complains about.
func (e *Error) Error() string {
	if len(e.Errors) == 0 {
		text := e.Detail
		if e.ID != "" {
			text += " (id " + e.ID + ")"
		}
		return text
	}
	parts := make([]string, len(e.Errors))
	for i, f := range e.Errors {
		parts[i] = f.Field + ": " + f.Rule
	}
	return strings.Join(parts, "; ")
}

const (
	defaultTimeout = time.Minute
	maxAnswer      = 64 << 20 // octets; a page is at most a few MiB
)

// New builds a client. It refuses to send a token over a network in clear.
func New(cfg Config) (*Client, error) {
	u, err := url.Parse(cfg.Server)
	if err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	switch {
	case u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.RawQuery != "" || u.Fragment != "" || u.User != nil:
		return nil, fmt.Errorf("server %q: must be a URL such as http://127.0.0.1:8053", cfg.Server)
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		return nil, fmt.Errorf("server %q: must be https: the token would be readable on the network", cfg.Server)
	case cfg.Token == "":
		return nil, errors.New("token: none given")
	}
	tlsConfig, err := cfg.tls()
	if err != nil {
		return nil, err
	}
	c := &Client{base: strings.TrimSuffix(u.String(), "/"), token: cfg.Token, timeout: cfg.Timeout, lagging: cfg.Lagging}
	if c.timeout == 0 {
		c.timeout = defaultTimeout
	}
	c.http = &http.Client{
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, TLSClientConfig: tlsConfig, ForceAttemptHTTP2: true,
			DialContext:         (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
			TLSHandshakeTimeout: 10 * time.Second, MaxIdleConnsPerHost: 64,
		},
		// The API never redirects; a token must not follow whoever does.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c, nil
}

func (cfg Config) tls() (*tls.Config, error) {
	out := &tls.Config{MinVersion: tls.VersionTLS12}
	if cfg.CA != "" {
		pool, err := api.LoadCAs(cfg.CA)
		if err != nil {
			return nil, fmt.Errorf("CA: %w", err)
		}
		out.RootCAs = pool
	}
	if cfg.ClientCert != "" || cfg.ClientKey != "" {
		pair, err := tls.LoadX509KeyPair(cfg.ClientCert, cfg.ClientKey)
		if err != nil {
			return nil, fmt.Errorf("client certificate: %w", err)
		}
		out.Certificates = []tls.Certificate{pair}
	}
	return out, nil
}

func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

// Condition makes a write depend on what it meets.
type Condition func(http.Header)

// IfRevision lets a write succeed only if the resource still has the revision.
func IfRevision(revision uint64) Condition {
	return func(h http.Header) { h.Set("If-Match", `"`+strconv.FormatUint(revision, 10)+`"`) }
}

// IfAbsent lets a write succeed only if the resource does not exist.
func IfAbsent() Condition { return func(h http.Header) { h.Set("If-None-Match", "*") } }

// path joins segments below /v1, each escaped.
func path(segments ...string) string {
	for i, s := range segments {
		segments[i] = url.PathEscape(s)
	}
	return "/v1/" + strings.Join(segments, "/")
}

// call sends a request and decodes the answer into an R, unless that is struct{}; a nil body sends none.
func call[R any](ctx context.Context, c *Client, method, path string, body any, conditions ...Condition) (*R, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	res, err := c.send(ctx, method, path, body, conditions)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	out := new(R)
	if _, none := any(out).(*struct{}); none {
		return out, nil
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, maxAnswer)).Decode(out); err != nil {
		return nil, fmt.Errorf("%s %s: read the answer: %w", method, path, err)
	}
	return out, nil
}

// send sends a request. An answer that is not a success becomes an error.
func (c *Client) send(ctx context.Context, method, path string, body any, conditions []Condition) (*http.Response, error) {
	var content io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("%s %s: encode the request: %w", method, path, err)
		}
		content = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, content)
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for _, condition := range conditions {
		condition(req.Header)
	}
	return c.do(c.http, req)
}

// do sends a request with the token. An answer that is not a success becomes an error.
func (c *Client) do(h *http.Client, req *http.Request) (*http.Response, error) {
	req.Header.Set("Authorization", "Bearer "+c.token)
	if c.lagging != nil && req.Method != http.MethodGet {
		req.URL.RawQuery = "wait=all"
	}
	res, err := h.Do(req)
	if err != nil {
		return nil, err
	}
	if res.StatusCode/100 == 2 {
		c.report(res.Header)
		return res, nil
	}
	defer res.Body.Close()
	failed := &Error{}
	if err := json.NewDecoder(io.LimitReader(res.Body, maxAnswer)).Decode(&failed.Problem); err != nil || failed.Code == "" {
		return nil, fmt.Errorf("%s %s: the server answered %s and no problem document; is it mxseal?", req.Method, req.URL.Path, res.Status)
	}
	return nil, failed
}

// report tells which nodes do not have a write yet.
func (c *Client) report(h http.Header) {
	if nodes := h.Get(api.LaggingNodes); nodes != "" && c.lagging != nil {
		c.lagging(nodes)
	}
}
