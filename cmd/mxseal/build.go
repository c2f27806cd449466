package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/net/netutil"
	"golang.org/x/sync/errgroup"

	"github.com/mxseal/mxseal/api"
	"github.com/mxseal/mxseal/conf"
	"github.com/mxseal/mxseal/internal/epoch"
	"github.com/mxseal/mxseal/internal/rrsig"
	"github.com/mxseal/mxseal/keymgmt"
	"github.com/mxseal/mxseal/keymgmt/parent"
	"github.com/mxseal/mxseal/server"
	"github.com/mxseal/mxseal/signer"
	"github.com/mxseal/mxseal/store"
	"github.com/mxseal/mxseal/zone"
)

// node is all parts of one server. Sockets are open from build on; store is set when the state is loaded.
type node struct {
	cfg      conf.Config
	log      *slog.Logger
	registry *prometheus.Registry
	token    keymgmt.HSM // nil if none is configured
	vault    *keymgmt.Vault
	tsig     map[zone.Name]parent.TSIG
	engine   store.Engine
	cluster  member // the same; nil if this node is alone
	nodes    store.Cluster
	silenced atomic.Bool // a node of a cluster that may have missed something
	gauges   clusterGauges
	dns      *server.Server
	state    atomic.Pointer[store.Store] // what the DNS service answers from; nil while loading
	store    *store.Store                // the same, for run
	keys     *keymgmt.Manager            // set with store
	leading  prometheus.Gauge
	term     atomic.Uint64 // in which this node leads; 0: it does not
	metrics  net.Listener
	api      net.Listener
	admin    *http.Server // of the API; without a handler until the state is loaded
}

// build opens what can fail for reasons outside of the program: key-encryption key, database, sockets.
func build(ctx context.Context, cfg conf.Config, log *slog.Logger) (*node, error) {
	n := &node{cfg: cfg, log: log, registry: prometheus.NewRegistry(), leading: prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "mxseal_node_leading", Help: "1 while this node leads: it alone rolls the keys."})}
	if err := n.open(ctx); err != nil {
		return nil, errors.Join(err, n.close())
	}
	n.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), buildInfo(), n.leading)
	return n, nil
}

func (n *node) open(ctx context.Context) (err error) {
	if n.token, err = openToken(n.cfg.Keys); err != nil {
		return err
	}
	if n.vault, err = keymgmt.OpenVault(kekSources(n.cfg.Keys, n.token)); err != nil {
		return err
	}
	if n.tsig, err = parent.ReadTSIG(n.cfg.Keys.TSIGFile); err != nil {
		return err
	}
	if n.engine, err = openNode(ctx, n.cfg, n.log); err != nil {
		return err
	}
	n.enlist()
	if n.dns, err = n.newDNS(); err != nil {
		return err
	}
	if err := n.dns.Listen(n.cfg.DNS.Listen); err != nil {
		return err
	}
	if n.admin, err = newAdmin(n.cfg, n.log); err != nil {
		return err
	}
	if n.metrics, err = listen("metrics.listen", n.cfg.Metrics.Listen); err != nil {
		return err
	}
	n.api, err = listen("api.listen", n.cfg.API.Listen)
	return err
}

// newAdmin makes the HTTP server of the API, without its handler.
func newAdmin(cfg conf.Config, log *slog.Logger) (*http.Server, error) {
	t := cfg.API.TLS
	return api.NewServer(api.ServerConfig{Listen: cfg.API.Listen.String(), Cert: t.Cert, Key: t.Key, ClientCA: t.ClientCA}, nil, log)
}

// maxHTTP is how many connections a listener for HTTP has at a time. They share the file descriptors of the process with
// DNS over TCP and the database.
const maxHTTP = 1024

func listen(key string, addr netip.AddrPort) (net.Listener, error) {
	l, err := net.Listen("tcp", addr.String())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	return netutil.LimitListener(l, maxHTTP), nil
}

// newDNS makes signer and DNS service.
func (n *node) newDNS() (*server.Server, error) {
	s := signer.New(signer.Options{CacheSize: int64(n.cfg.Signer.CacheSize)})
	m := server.NewMetrics()
	n.registry.MustRegister(s.Collectors()...)
	n.registry.MustRegister(m.Collectors()...)
	d := n.cfg.DNS
	return server.New(server.Options{
		State: n.current, Mark: n.mark, CacheSize: int64(d.CacheSize), Signer: dnsSigner{s}, Now: time.Now, Log: n.log, Metrics: m,
		NSID: d.NSID, Chaos: d.Chaos, Version: version(), UDPSize: d.UDPSize,
		TCPIdle: d.TCP.IdleTimeout, TCPMax: d.TCP.MaxConnections, TCPMaxPerClient: d.TCP.MaxPerClient,
	})
}

// current is the state to answer from, nil while it is being loaded.
func (n *node) current() server.State {
	if s := n.state.Load(); s != nil && !n.silenced.Load() {
		return s.State()
	}
	return nil
}

// mark takes the epochs of a label; it is called after there was a state.
func (n *node) mark(apex zone.Name, label string) epoch.Mark { return n.state.Load().Mark(apex, label) }

// run loads the state and serves until ctx is done or a listener fails; it closes the node. loaded is called when
// everything is there, before the API is open. A store that fails does not end it: to answer from the last state is
// better than not to answer.
func (n *node) run(ctx context.Context, loaded func() error) (err error) {
	defer func() { err = errors.Join(err, n.close()) }()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return n.dns.Serve(ctx) })
	g.Go(func() error { return serveHTTP(ctx, n.metrics, healthServer(n.registry, n.ready, n.log)) })
	g.Go(func() error {
		term, err := n.load(ctx)
		if err != nil {
			return err
		}
		g.Go(func() error { return n.guard(ctx) })
		if err := loaded(); err != nil {
			return err
		}
		handler, err := n.newAPI()
		if err != nil {
			return err
		}
		n.admin.Handler = handler
		g.Go(func() error { return n.lead(ctx, term) })
		g.Go(func() error { return serveHTTP(ctx, n.api, n.admin) })
		n.log.Info("serving", "version", version(), "dns", n.dns.Addrs(), "api", n.api.Addr().String(), "metrics", n.metrics.Addr().String(),
			"revision", n.store.State().Revision())
		return nil
	})
	return g.Wait()
}

// load reads the database and opens the keys. A node that is alone leads from then on, and makes the steps of rollovers that were due
// while nothing ran.
func (n *node) load(ctx context.Context) (term store.Term, err error) {
	if err := n.join(ctx); err != nil {
		return term, err
	}
	m := store.NewMetrics()
	n.registry.MustRegister(m.Collectors()...)
	defer collectRarely()()
	s, err := store.Start(ctx, n.engine, store.Options{Open: n.vault.Open, Log: n.log, Metrics: m})
	if err != nil {
		return term, fmt.Errorf("load the database: %w", err)
	}
	n.store = s
	km := keymgmt.NewMetrics()
	n.registry.MustRegister(km.Collectors()...)
	clock := newSystemClock(n.cfg.Keys.TrustClock)
	options := keymgmt.Options{Store: keyStore{s, &n.term}, Vault: n.vault, Clock: clock, Parents: parentServers{keys: n.tsig}, Log: n.log, Metrics: km}
	if n.cluster != nil {
		options.Nodes = n.cluster
	}
	n.keys = keymgmt.NewManager(options)
	if n.cluster == nil {
		if term, err = n.takeTerm(ctx); err != nil {
			return term, err
		}
		n.keys.CatchUp(ctx)
	}
	n.state.Store(s)
	return term, nil
}

// takeTerm waits until this node leads.
func (n *node) takeTerm(ctx context.Context) (store.Term, error) {
	term, err := n.engine.Lead(ctx)
	if err != nil {
		return term, err
	}
	n.term.Store(term.Token)
	n.leading.Set(1)
	if n.cluster != nil {
		n.log.Info("this node leads: it rolls the keys", "term", term.Token)
	}
	return term, nil
}

// leadPause is between attempts to lead, when the engine cannot say who does.
const leadPause = time.Second

// lead rolls keys whenever this node leads, as it does already in a term that is not the zero one, until ctx is done.
func (n *node) lead(ctx context.Context, term store.Term) error {
	ctx, resign := context.WithCancel(ctx)
	defer resign()
	go func() {
		select {
		case <-n.store.Done(): // who hears nothing does not lead
			resign()
		case <-ctx.Done():
		}
	}()
	said := ""
	for {
		if term.Token != 0 {
			if err := n.reign(ctx, term); err != nil {
				return err
			}
		}
		if ctx.Err() != nil {
			return nil
		}
		var err error
		if term, err = n.takeTerm(ctx); err == nil {
			said = ""
			continue
		}
		if text := err.Error(); text != said && ctx.Err() == nil {
			n.log.Warn("it is not known who leads", "error", err)
			said = text
		}
		select {
		case <-ctx.Done():
		case <-time.After(leadPause):
		}
	}
}

// reign rolls keys until a term is over.
func (n *node) reign(ctx context.Context, term store.Term) error {
	ctx, end := context.WithCancel(ctx)
	defer end()
	go func() {
		defer end()
		select {
		case <-term.Ended:
		case <-ctx.Done():
		}
	}()
	err := n.keys.Run(ctx)
	n.leading.Set(0)
	n.term.Store(0)
	return err
}

// newAPI makes the admin API.
func (n *node) newAPI() (http.Handler, error) {
	m := api.NewMetrics()
	n.registry.MustRegister(m.Collectors()...)
	return api.New(api.Options{
		Store: apiStore{n.store}, Vault: n.vault, Keys: n.keys, Cluster: apiCluster{n.nodes}, Now: time.Now, Log: n.log, Metrics: m, Version: version(),
	})
}

// close releases everything that is open. Listeners that were served are closed already.
func (n *node) close() error {
	var errs []error
	for _, l := range []net.Listener{n.metrics, n.api} {
		if l != nil {
			if err := l.Close(); !errors.Is(err, net.ErrClosed) {
				errs = append(errs, err)
			}
		}
	}
	if n.dns != nil {
		n.dns.Close()
	}
	switch {
	case n.store != nil:
		errs = append(errs, n.store.Close())
	case n.engine != nil:
		errs = append(errs, n.engine.Close())
	}
	return errors.Join(errs...)
}

// shutdownTime is how long requests that are at work may take when the node stops.
const shutdownTime = 5 * time.Second

// serveHTTP serves until ctx is done, then lets the requests at work finish.
func serveHTTP(ctx context.Context, l net.Listener, s *http.Server) error {
	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTime)
		defer cancel()
		stopped <- s.Shutdown(ctx)
	})
	defer stop()
	var err error
	if s.TLSConfig != nil {
		err = s.ServeTLS(l, "", "")
	} else {
		err = s.Serve(l)
	}
	if !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	if err := <-stopped; err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return s.Close()
}

// apiStore lets the API see the store through the interface that it declares.
type apiStore struct{ store *store.Store }

func (s apiStore) State() api.State         { return s.store.State() }
func (s apiStore) Backup(w io.Writer) error { return s.store.Backup(w) }
func (s apiStore) Portion() int             { return s.store.Portion() }

func (s apiStore) Update(ctx context.Context, plan func(api.State) (zone.Changes, error)) (uint64, error) {
	return s.store.Update(ctx, func(st *store.State) (zone.Changes, error) { return plan(st) })
}

// apiCluster lets the API see the nodes through the interface that it declares.
type apiCluster struct{ store.Cluster }

func (c apiCluster) Nodes(ctx context.Context) ([]api.Member, error) {
	nodes, err := c.Cluster.Nodes(ctx)
	all := make([]api.Member, len(nodes))
	for i, n := range nodes {
		all[i] = api.Member(n)
	}
	return all, err
}

// keyStore lets the key manager see the store through the interface that it declares. It writes only in a term.
type keyStore struct {
	store *store.Store
	term  *atomic.Uint64
}

// errFollows says why a node that does not lead changes no keys.
func errFollows() error {
	return &zone.RefusedError{Kind: zone.ErrUnavailable, FieldError: zone.FieldError{Field: "keys", Rule: "are changed by the node that leads the cluster, and this one does not"}}
}

func (s keyStore) View() keymgmt.View { return s.store.State() }
func (s keyStore) Update(ctx context.Context, plan func(keymgmt.View) (zone.Changes, error)) error {
	term := s.term.Load()
	if term == 0 {
		return errFollows()
	}
	_, err := s.store.UpdateInTerm(ctx, term, func(st *store.State) (zone.Changes, error) { return plan(st) })
	return err
}

// parentServers lets the key manager ask the servers of parents.
type parentServers struct {
	client parent.Client
	keys   map[zone.Name]parent.TSIG
}

func (p parentServers) AskDS(ctx context.Context, child zone.Name, servers []netip.AddrPort) []keymgmt.ParentAnswer {
	answers := p.client.AskDS(ctx, child, servers)
	out := make([]keymgmt.ParentAnswer, len(answers))
	for i, a := range answers {
		out[i] = keymgmt.ParentAnswer(a)
	}
	return out
}

func (p parentServers) Notify(ctx context.Context, child zone.Name, servers []netip.AddrPort) (string, error) {
	above, err := p.client.ZoneAbove(ctx, child, servers)
	if err != nil {
		return "", err
	}
	return p.client.Notify(ctx, child, above, servers)
}

func (p parentServers) Push(ctx context.Context, child zone.Name, server netip.AddrPort, key string, ds []string, ttl uint32) error {
	name, err := zone.ParseName(key)
	if err != nil {
		return fmt.Errorf("name of the TSIG key: %w", err)
	}
	tsig, known := p.keys[name]
	if !known {
		return fmt.Errorf("keys.tsig_file has no key %s", name)
	}
	above, err := p.client.ZoneAbove(ctx, child, []netip.AddrPort{server})
	if err != nil {
		return err
	}
	return p.client.Update(ctx, above, child, server, tsig, ds, ttl)
}

// dnsSigner lets the DNS service see the signer through the interface that it declares.
type dnsSigner struct{ *signer.Signer }

func (s dnsSigner) Sign(ks *keymgmt.KeySet, z *zone.Zone, set zone.RRset, now time.Time) ([]string, rrsig.Span, error) {
	signed, err := s.Signer.Sign(ks, z, set, now)
	return signed.Sigs, signed.Span, err
}

func (s dnsSigner) Verify(ks *keymgmt.KeySet, set zone.RRset, sigs []string, now time.Time) error {
	return signer.Verify(ks, signer.Signed{RRset: set, Sigs: sigs}, now)
}
