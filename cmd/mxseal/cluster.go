package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mxseal/mxseal/keymgmt"
	"github.com/mxseal/mxseal/store"
)

// How often a node looks whether it may answer, and how often while it may not.
const (
	staleEvery = time.Second
	freshEvery = 50 * time.Millisecond
)

// member is the engine of a node in a cluster.
type member interface {
	store.Engine
	store.Cluster
	Join(ctx context.Context) error
	Stale() error
	keymgmt.Nodes
	Kept() time.Time
	Heard() (ago, left time.Duration)
	FromImage() bool
	Mismatches() uint64
}

// clusterGauges say how a node stands in its cluster.
type clusterGauges struct{ stale, fromImage prometheus.Gauge }

func (n *node) measure() {
	n.gauges = clusterGauges{
		stale: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "mxseal_node_stale", Help: "1 while this node of a cluster answers SERVFAIL, because it may have missed something."}),
		fromImage: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "mxseal_node_from_image", Help: "1 while this node, which was started without etcd, answers from its image in data_dir and takes no changes."}),
	}
	kept := timestamp("mxseal_node_image_timestamp_seconds", "As of when this node can be started without etcd from its image in data_dir; 0 if it cannot.", n.cluster.Kept)
	current := timestamp("mxseal_node_current_timestamp_seconds", "As of when this node has everything that etcd has; it grows every three seconds while etcd is heard.",
		func() time.Time { ago, _ := n.cluster.Heard(); return time.Now().Add(-ago) })
	mismatches := prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "mxseal_node_mismatches_total",
		Help: "Times that this node was found to have something else than etcd, or than another node; it then loads everything again."},
		func() float64 { return float64(n.cluster.Mismatches()) })
	n.registry.MustRegister(n.gauges.stale, n.gauges.fromImage, kept, current, mismatches)
}

// timestamp is a gauge of a time; 0 for never.
func timestamp(name, help string, of func() time.Time) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 {
		return float64(max(0, of().Unix()))
	})
}

// enlist finds out whether this node is one of several, and has it not answer before it has heard everything.
func (n *node) enlist() {
	cluster, several := n.engine.(member)
	if !several {
		name, _ := os.Hostname()
		n.nodes = alone{n, store.Node{Name: name, Version: version(), Format: store.Format, Since: time.Now().UTC(), Offset: new(time.Duration(0)), Leads: true}}
		return
	}
	n.cluster, n.nodes = cluster, cluster
	n.silenced.Store(true)
	n.measure()
	n.gauges.stale.Set(1)
}

// join takes the seat of this node in its cluster, if it has one, before it loads what it will answer with.
func (n *node) join(ctx context.Context) error {
	if n.cluster == nil {
		return nil
	}
	return n.cluster.Join(ctx)
}

// alone is the cluster of a node that has none.
type alone struct {
	node *node
	self store.Node // but for its revision
}

// Nodes implements store.Cluster.
func (a alone) Nodes(context.Context) ([]store.Node, error) {
	a.self.Revision = a.node.store.State().Revision()
	return []store.Node{a.self}, nil
}

// Forget implements store.Cluster. It is not called: a node that says so itself is alive.
func (alone) Forget(context.Context, string) error {
	return errors.New("a node that is alone cannot be forgotten")
}

// guard keeps a node from answering while it may have missed something for too long: the others may have rolled the keys.
func (n *node) guard(ctx context.Context) error {
	for n.cluster != nil {
		why, pause := n.cluster.Stale(), staleEvery
		n.gauges.fromImage.Set(0)
		if n.cluster.FromImage() {
			n.gauges.fromImage.Set(1)
		}
		switch silenced := n.silenced.Load(); {
		case why != nil && !silenced:
			n.silenced.Store(true)
			n.store.ForgetAnswers() // after that: what is made from now on is not made
			n.gauges.stale.Set(1)
			n.log.Error("this node answers SERVFAIL", "error", why)
		case why == nil && silenced:
			n.silenced.Store(false)
			n.gauges.stale.Set(0)
			n.log.Info("this node answers", "from image", n.cluster.FromImage())
		}
		if why != nil {
			pause = freshEvery
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
	return nil
}

// ready returns no error if queries are answered as they should be, and a remark if there is one.
func (n *node) ready() (remark string, err error) {
	if n.cluster != nil && n.silenced.Load() {
		if err := n.cluster.Stale(); err != nil {
			return "", err
		}
	}
	if err := n.dns.Ready(); err != nil {
		return "", err
	}
	return n.remark(), nil
}

// lateAfter is for how long a node may not hear what etcd has before it says so. When etcd is there it does every three seconds; one that
// failed may take eight.
const lateAfter = 15 * time.Second

// remark says what is not as it should be with a node that answers as it should.
func (n *node) remark() string {
	if n.cluster == nil {
		return ""
	}
	switch ago, left := n.cluster.Heard(); {
	case n.cluster.FromImage():
		return fmt.Sprintf("started without etcd, from the image in data_dir: takes no changes, and answers for another %s", left.Round(time.Second))
	case ago > lateAfter:
		return fmt.Sprintf("not all that etcd has was heard for %s: this node answers for another %s", ago.Round(time.Second), left.Round(time.Second))
	}
	return ""
}
