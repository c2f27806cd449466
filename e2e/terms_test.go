package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

// revision is what one transaction of etcd has changed.
type revision struct {
	puts    map[string]string
	deleted map[string]bool
	created map[string]bool // keys among puts that were not there before
}

// history is all transactions since the beginning; the revision with n is that of all[n]. What it has read etcd may forget.
func (c *etcd) history(t *testing.T) (all map[int64]*revision) {
	t.Helper()
	const end = "/end"
	endpoints := strings.Join(c.urls(2379), ",")
	output(t, "etcdctl", "--endpoints", endpoints, "put", end, "")
	watch := start(t, []string{"ETCDCTL_API=3"}, program(t, "etcdctl"), "--endpoints", endpoints, "watch", "--prefix", "", "--rev", fmt.Sprint(c.read+1), "-w", "json")
	watch.await(t, "tells all", func() error {
		log, err := os.Open(watch.log)
		if err != nil {
			return err
		}
		defer log.Close()
		return readHistory(json.NewDecoder(log), end, c.past)
	})
	watch.kill()
	c.read = slices.Max(slices.Collect(maps.Keys(c.past)))
	return c.past
}

// forget has etcd forget its history, after that was read.
func (c *etcd) forget(t *testing.T) {
	t.Helper()
	c.history(t)
	output(t, "etcdctl", "--endpoints", strings.Join(c.urls(2379), ","), "compaction", fmt.Sprint(c.read))
}

// readHistory reads events until the key of the end; it may be called again when that has not come yet.
func readHistory(in *json.Decoder, end string, all map[int64]*revision) error {
	for {
		var batch struct {
			Events []struct {
				Type int // 0: put, 1: deleted
				KV   struct {
					Key, Value []byte
					Mod        int64 `json:"mod_revision"`
					Version    int64
				}
			}
		}
		if err := in.Decode(&batch); err != nil {
			return err
		}
		for _, e := range batch.Events {
			r := all[e.KV.Mod]
			if r == nil {
				r = &revision{puts: map[string]string{}, deleted: map[string]bool{}, created: map[string]bool{}}
				all[e.KV.Mod] = r
			}
			key := string(e.KV.Key)
			switch {
			case key == end:
				return nil
			case e.Type == 1:
				r.deleted[key] = true
			default:
				r.puts[key] = string(e.KV.Value)
				r.created[key] = e.KV.Version == 1
			}
		}
	}
}

// Keys of etcd, see package store/etcd.
const (
	leaderKey = "/mxseal/leader"
	authorKey = "/mxseal/record/last" // begins with the node that has made a transaction
	chainKeys = "/mxseal/record/chains/"
)

// expectOneWriter fails the test unless every step of the keys was written by the node that led when etcd made it. That is provable: etcd
// has one order of all transactions, in which the key of the leader comes and goes, and each says who made it.
func expectOneWriter(t *testing.T, c *etcd) {
	t.Helper()
	steps, terms, err := stepsByNode(c.history(t))
	if err != nil {
		t.Error(err)
	}
	t.Logf("steps of the keys by node: %v, in %d terms, all by who led", steps, terms)
	if terms < 2 || len(steps) < 2 {
		t.Error("that is too little to say anything")
	}
}

// stepsByNode counts the steps of each node, and the terms.
func stepsByNode(all map[int64]*revision) (steps map[string]int, terms int, err error) {
	steps, leads := map[string]int{}, ""
	for _, n := range slices.Sorted(maps.Keys(all)) {
		r := all[n]
		for key := range r.puts {
			if !strings.HasPrefix(key, chainKeys) || r.created[key] { // whoever makes a zone makes its first keys
				continue
			}
			author, _, _ := strings.Cut(r.puts[authorKey], " ")
			if steps[author]++; author != leads {
				return nil, 0, fmt.Errorf("revision %d: %q has written %s while %q led", n, author, key, leads)
			}
		}
		if next, put := r.puts[leaderKey]; put {
			if leads != "" {
				return nil, 0, fmt.Errorf("revision %d: %s leads, and %s does still", n, next, leads)
			}
			leads, terms = next, terms+1
		}
		if r.deleted[leaderKey] {
			leads = ""
		}
	}
	return steps, terms, nil
}
