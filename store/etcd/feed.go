package etcd

import (
	"context"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mxseal/mxseal/store"
)

// feed puts the events of one watch together to commits. etcd tells events in order, and those of one revision at once.
type feed struct {
	e    *Engine
	held *arrival         // what was heard of a large commit that is not all there yet
	late <-chan time.Time // somebody should have gone on with it by then
}

// arrival is a commit as it is heard of.
type arrival struct {
	store.Commit
	link     link // not there: it was written by what is not a node
	previous link // that of the commit before it
	change   digest
}

// helpAfter is how long a node hears nothing of a large commit before it helps: who made it may be gone.
const helpAfter = 2 * time.Second

// take returns the commits that are complete now.
func (f *feed) take(events []*clientv3.Event) (all []arrival, err error) {
	for len(events) > 0 {
		n := 1
		for n < len(events) && events[n].Kv.ModRevision == events[0].Kv.ModRevision {
			n++
		}
		c, marker, err := f.e.group(events[:n])
		if err != nil {
			return nil, err
		}
		complete, err := f.join(&c, marker)
		if err != nil {
			return nil, err
		}
		if complete {
			all = append(all, c)
		}
		events = events[n:]
	}
	return all, nil
}

// group returns what was written at one revision, and the event of the key of large commits, if there is one.
func (e *Engine) group(events []*clientv3.Event) (c arrival, marker *clientv3.Event, err error) {
	c.Revision = uint64(events[0].Kv.ModRevision)
	for _, event := range events {
		key := string(event.Kv.Key)
		if key == e.config.largeKey() {
			marker = event
			continue
		}
		if !event.IsCreate() && event.PrevKv == nil { // etcd looks it up when it sends the event, not in the transaction
			return c, nil, fmt.Errorf("etcd has no history any more of what was replaced at revision %d: %w", c.Revision, store.ErrGap)
		}
		if key == e.config.lastKey() {
			c.link, c.previous = linkOf(event.Kv), linkOf(event.PrevKv)
			continue
		}
		w := store.Write{}
		if event.Type == clientv3.EventTypeDelete {
			w.Kind, w.ID, err = e.identify(event.Kv.Key)
		} else {
			var r store.Record
			r, err = e.record(event.Kv)
			w = store.Write{Kind: r.Kind, ID: r.ID, Value: r.Value, Revision: r.Revision, Format: r.Format}
		}
		if err != nil {
			return c, nil, err
		}
		c.Writes = append(c.Writes, w)
		c.change += changeBy(event)
	}
	return c, marker, nil
}

// join reports whether a commit is complete. One that ends a large commit becomes all of that.
func (f *feed) join(c *arrival, marker *clientv3.Event) (complete bool, err error) {
	ends := marker != nil && marker.Type == clientv3.EventTypeDelete
	if marker != nil && !ends {
		l, err := readLarge(marker.Kv.Value)
		switch {
		case err != nil:
			return false, err
		case l.Blocks == 0: // it is only being prepared
			return false, nil
		case f.held == nil && !l.begins():
			return false, fmt.Errorf("revision %d is in the middle of a large commit: %w", c.Revision, store.ErrGap)
		case f.held == nil:
			f.held = &arrival{}
		}
	}
	if f.held == nil {
		return !ends, nil
	}
	f.held.Writes = append(f.held.Writes, c.Writes...)
	f.held.change += c.change
	f.late = time.After(helpAfter)
	if ends {
		c.Writes, c.change = f.held.Writes, f.held.change
		f.held, f.late = nil, nil
	}
	return ends, nil
}

// help goes on with the large commit. What fails is tried again.
func (f *feed) help(ctx context.Context) {
	f.late = time.After(helpAfter)
	_, _ = f.e.complete(ctx)
}
