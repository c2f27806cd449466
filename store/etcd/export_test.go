package etcd

import "context"

// Raise is one attempt to raise the format in a term.
func (e *Engine) Raise(ctx context.Context, term uint64) error {
	r, err := e.nodes(ctx)
	if err == nil {
		e.raise(ctx, term, r)
	}
	return err
}
