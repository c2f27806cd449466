package main

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/mxseal/mxseal/store"
	"github.com/mxseal/mxseal/store/etcd"
)

// How often a node looks whether it may answer, and how often while it may not.
const (
	staleEvery = time.Second
	freshEvery = 50 * time.Millisecond
)

// join takes the seat of this node in its cluster, if it has one, before it loads what it will answer with.
func (n *node) join(ctx context.Context) error {
	cluster, several := n.engine.(*etcd.Engine)
	if !several {
		name, _ := os.Hostname()
		n.nodes = alone{n, store.Node{Name: name, Version: version(), Since: time.Now().UTC(), Leads: true}}
		return nil
	}
	n.cluster, n.nodes = cluster, cluster
	n.silenced.Store(true)
	n.registry.MustRegister(n.stale)
	n.stale.Set(1)
	return cluster.Join(ctx)
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
		switch silenced := n.silenced.Load(); {
		case why != nil && !silenced:
			n.silenced.Store(true)
			n.store.ForgetAnswers() // after that: what is made from now on is not made
			n.stale.Set(1)
			n.log.Error("this node answers SERVFAIL", "error", why)
		case why == nil && silenced:
			n.silenced.Store(false)
			n.stale.Set(0)
			n.log.Info("this node has heard everything, and answers")
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

// ready returns nil if queries are answered as they should be.
func (n *node) ready() error {
	if n.cluster != nil && n.silenced.Load() {
		if err := n.cluster.Stale(); err != nil {
			return err
		}
	}
	return n.dns.Ready()
}
