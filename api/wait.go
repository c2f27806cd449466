package api

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Headers of the answer to a write; of an import, which is under way before, trailers.
const (
	// WriteRevision is a revision: a node that has everything up to it has the write.
	WriteRevision = "Mxseal-Revision"
	// LaggingNodes names the nodes that do not have the write yet though it was waited for them; it is [UnknownNodes] if they
	// could not be asked, and absent if all have it.
	LaggingNodes = "Mxseal-Lagging"
	UnknownNodes = "*"
)

// Bounds on waiting for nodes.
const (
	maxWait     = 10 * time.Second
	censusPause = 50 * time.Millisecond // between two questions to the cluster, however many requests wait
)

// settle tells up to where a node has to have everything to have a write that was made, and waits for the nodes if the request wants
// that. It reports whether any of them lag.
func (a *API) settle(h http.Header, c *call) (lag bool) {
	revision := a.Store.State().Revision()
	h.Set(WriteRevision, strconv.FormatUint(revision, 10))
	if !c.waits {
		return false
	}
	lagging := a.await(c.ctx, revision)
	if lagging == "" {
		return false
	}
	h.Set(LaggingNodes, lagging)
	return true
}

// await waits until every node that is alive has a revision, and returns LaggingNodes if that takes too long.
func (a *API) await(ctx context.Context, revision uint64) (lagging string) {
	ctx, cancel := context.WithTimeout(ctx, maxWait)
	defer cancel()
	lagging = UnknownNodes
	for {
		all, err := a.census.take(ctx)
		if err == nil {
			lagging = without(all, revision)
		}
		if lagging == "" || ctx.Err() != nil {
			return lagging
		}
	}
}

// without names the nodes that are alive and do not have a revision.
func without(all []Member, revision uint64) string {
	var names []string
	for _, m := range all {
		if m.isAlive() && m.Revision < revision {
			names = append(names, m.Name)
		}
	}
	return strings.Join(names, ", ")
}

// census asks the cluster for all requests that wait: one question at a time, and a pause after each.
type census struct {
	ask func(ctx context.Context) ([]Member, error)

	mu   sync.Mutex // guards what follows
	next *count     // the question that comes next; nil: nobody waits for one
	busy bool       // questions are being asked
}

// count is a question and its answer.
type count struct {
	done chan struct{} // closed when the answer is there
	all  []Member
	err  error
}

// take asks a question, which others may share. It is asked after the call began.
func (s *census) take(ctx context.Context) ([]Member, error) {
	n := s.enlist()
	select {
	case <-n.done:
		return n.all, n.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// enlist returns the question that comes next.
func (s *census) enlist() *count {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next == nil {
		s.next = &count{done: make(chan struct{})}
	}
	if !s.busy {
		s.busy = true
		go s.run()
	}
	return s.next
}

// run asks as long as somebody wants to know.
func (s *census) run() {
	for n := s.begin(); n != nil; n = s.begin() {
		ctx, cancel := context.WithTimeout(context.Background(), maxWait)
		n.all, n.err = s.ask(ctx)
		cancel()
		close(n.done)
		time.Sleep(censusPause)
	}
}

// begin returns the question to be asked now; who comes from now on is told the answer to the one after it.
func (s *census) begin() *count {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.next
	s.next, s.busy = nil, n != nil
	return n
}
