package e2e

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/internal/dnstest"
)

// witness looks at what the nodes of a fleet answer, each by itself, while the keys roll and whatever else happens.
type witness struct {
	nodes []*server

	mu        sync.Mutex                   // guards what follows
	packets   map[string]string            // by a packet without its signatures: the packet
	told      map[dnstest.Query][][]string // of each node the answers one after the other, without repetition
	resolvers *dnstest.Population          // remember what all nodes say
	looks     int
	broken    bool // something was wrong; there is no end of it then
	led       int  // how often it was seen that a node leads
	both      int  // and how often that two say so
}

func newWitness(nodes []*server) *witness {
	return &witness{nodes: nodes, packets: map[string]string{}, told: map[dnstest.Query][][]string{}, resolvers: dnstest.NewPopulation()}
}

// witnessed are the questions: all that changes when keys roll.
func witnessed() (all []dnstest.Query) {
	host := hostOf(hostDomain(rolled), rolled)
	for _, q := range []struct {
		name string
		typ  uint16
	}{
		{host, dns.TypeA}, {host, dns.TypeMX}, {"_25._tcp." + host, dns.TypeTLSA}, {"absent." + rolled, dns.TypeA}, {rolled, dns.TypeSOA},
		{rolled, dns.TypeDNSKEY}, {rolled, dns.TypeCDS}, {rolled, dns.TypeDS}, {ownParent, dns.TypeDNSKEY}, {ownParent, dns.TypeSOA},
	} {
		all = append(all, dnstest.Query{Name: q.name, Type: q.typ, DO: true})
	}
	return all
}

// watch asks a node until ctx is done.
func (w *witness) watch(ctx context.Context, t *testing.T, node int) {
	for ctx.Err() == nil {
		for _, q := range witnessed() {
			packet, err := w.nodes[node].packet(q)
			m := new(dns.Msg)
			if err != nil || m.Unpack(packet) != nil || m.Rcode == dns.RcodeServerFailure {
				continue // it is not there, or does not answer
			}
			if err := w.note(node, q, packet, m); err != nil {
				t.Errorf("%s: node %d: %v", time.Now().Format(time.TimeOnly), node, err)
			}
		}
		pause(ctx, betweenLooks)
	}
}

// note takes in an answer. It returns an error if another node has signed the same otherwise, or if there is a resolver for which
// what it may remember does not validate.
func (w *witness) note(node int, q dnstest.Query, packet []byte, m *dns.Msg) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.broken {
		return nil
	}
	w.looks++
	if w.told[q] == nil {
		w.told[q] = make([][]string, len(w.nodes))
	}
	if told := &w.told[q][node]; len(*told) == 0 || (*told)[len(*told)-1] != string(packet) {
		*told = append(*told, string(packet))
		bare, err := withoutSignatures(m)
		if err != nil {
			return err
		}
		if before, known := w.packets[bare]; known && before != string(packet) {
			w.broken = true
			return fmt.Errorf("%s: the same is signed otherwise:\n%x\n%x", q, before, packet)
		}
		w.packets[bare] = string(packet)
	}
	w.remember(q, m)
	if err := w.resolvers.Check(); err != nil {
		w.broken = true
		return err
	}
	return nil
}

// remember has resolvers cache an answer, if it is of the kinds that their validation begins or ends with.
func (w *witness) remember(q dnstest.Query, m *dns.Msg) {
	caches := map[dnstest.Query]dnstest.Cache{
		{Name: rolled, Type: dns.TypeDS, DO: true}:                                             w.resolvers.DS,
		{Name: rolled, Type: dns.TypeDNSKEY, DO: true}:                                         w.resolvers.Keys,
		{Name: hostOf(hostDomain(rolled), rolled), Type: dns.TypeMX, DO: true}:                 w.resolvers.Data,
		{Name: hostOf(hostDomain(rolled), rolled), Type: dns.TypeA, DO: true}:                  w.resolvers.Data,
		{Name: "_25._tcp." + hostOf(hostDomain(rolled), rolled), Type: dns.TypeTLSA, DO: true}: w.resolvers.Data,
	}
	now := time.Now()
	if cache := caches[q]; cache != nil && len(m.Answer) > 0 {
		cache.Serve(now, dnstest.NewCached(dns.Type(q.Type).String(), m.Answer, m.Answer[0].Header().Ttl))
	}
	w.resolvers.Forget(now)
}

// withoutSignatures is a message whose signatures are all the same: who signs the same records for the same time gives the same.
func withoutSignatures(m *dns.Msg) (string, error) {
	bare := m.Copy()
	for _, rr := range slices.Concat(bare.Answer, bare.Ns) {
		if sig, is := rr.(*dns.RRSIG); is {
			sig.Signature = ""
		}
	}
	packed, err := bare.Pack()
	return string(packed), err
}

// watchLeaders looks who says that it leads. Who was seen to say so before and after another one did has led beside it.
func (w *witness) watchLeaders(ctx context.Context) {
	for ctx.Err() == nil {
		leads := w.leading()
		both := 0
		if len(leads) > 1 {
			for _, i := range w.leading() {
				if slices.Contains(leads, i) {
					both++
				}
			}
		}
		w.mu.Lock()
		if len(leads) > 0 {
			w.led++
		}
		if both > 1 {
			w.both++
		}
		w.mu.Unlock()
		pause(ctx, betweenLooks)
	}
}

func (w *witness) leading() (nodes []int) {
	for i, s := range w.nodes {
		if n, err := metricAt(s.monitor("metrics"), "mxseal_node_leading", ""); err == nil && n == 1 {
			nodes = append(nodes, i)
		}
	}
	return nodes
}

// verify compares the histories of the nodes.
func (w *witness) verify(t *testing.T) {
	t.Helper()
	answers := 0
	for q, told := range w.told {
		if err := inOneOrder(told); err != nil {
			t.Errorf("%s: %v", q, err)
		}
		for _, mine := range told {
			answers += len(mine)
		}
	}
	t.Logf("%d looks at the nodes, %d different answers, %d combinations of what resolvers remember", w.looks, answers, w.resolvers.Combinations)
	t.Logf("a node led in %d looks; in %d of them two said so", w.led, w.both)
	if w.looks == 0 || answers < 2*len(w.told)*len(w.nodes) {
		t.Errorf("%d answers in %d looks are too few to say anything", answers, w.looks)
	}
}

// inOneOrder returns nil if no node went back to what it had answered before, and what two of them have answered came in the same order.
func inOneOrder(told [][]string) error {
	for i, mine := range told {
		place := map[string]int{}
		for n, packet := range mine {
			if _, before := place[packet]; before {
				return fmt.Errorf("node %d has gone back to answer %d of %d", i, place[packet], len(mine))
			}
			place[packet] = n
		}
		for j, others := range told {
			last := -1
			for _, packet := range others {
				if n, both := place[packet]; both && n < last {
					return fmt.Errorf("nodes %d and %d have answered in different orders", i, j)
				} else if both {
					last = n
				}
			}
		}
	}
	return nil
}

// What the witness and the history of etcd are there to find, they find.
func TestWitness(t *testing.T) {
	for _, c := range []struct {
		told [][]string
		good bool
	}{
		{[][]string{{"a", "b", "c"}, {"a", "c"}, {}}, true}, {[][]string{{"a", "b", "a"}}, false}, {[][]string{{"a", "b"}, {"b", "a"}}, false},
	} {
		if err := inOneOrder(c.told); (err == nil) != c.good {
			t.Errorf("%v: %v", c.told, err)
		}
	}

	w, q := newWitness(make([]*server, 2)), witnessed()[0]
	for node, signature := range []string{"AAAA", "BBBB"} {
		m := dnstest.Query{Name: q.Name, Type: q.Type}.Message()
		m.Answer = []dns.RR{&dns.RRSIG{Hdr: dns.RR_Header{Name: q.Name, Rrtype: dns.TypeRRSIG, Class: dns.ClassINET}, SignerName: rolled, Signature: signature}}
		m.Id = 1
		packet := must[[]byte](t)(m.Pack())
		if err := w.note(node, q, packet, m); (err == nil) != (node == 0) {
			t.Errorf("node %d: %v", node, err)
		}
	}

	led := func(by string) *revision { return &revision{puts: map[string]string{leaderKey: by}} }
	step := func(by string) *revision {
		return &revision{puts: map[string]string{authorKey: by, chainKeys + "x": ""}}
	}
	ended := &revision{deleted: map[string]bool{leaderKey: true}}
	for _, c := range []struct {
		revisions []*revision
		good      bool
	}{
		{[]*revision{led("a"), step("a"), ended, led("b"), step("b")}, true}, {[]*revision{led("a"), step("b")}, false},
		{[]*revision{led("a"), ended, step("a")}, false}, {[]*revision{led("a"), led("b")}, false},
	} {
		all := map[int64]*revision{}
		for i, r := range c.revisions {
			all[int64(i)] = r
		}
		if _, _, err := stepsByNode(all); (err == nil) != c.good {
			t.Errorf("%v: %v", c.revisions, err)
		}
	}
}
