package api

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mxseal/mxseal/keymgmt"
)

// BackupDigest is the trailer that ends a complete backup (RFC 9530); without it the backup is torn.
const BackupDigest = "Content-Digest"

// FormatDigest renders a SHA-256 hash as the value of the trailer.
func FormatDigest(sum []byte) string {
	return "sha-256=:" + base64.StdEncoding.EncodeToString(sum) + ":"
}

// backupStall is how long a client may take to accept the next part of a backup. The store keeps the state
// that is being copied for as long as that takes.
const backupStall = 30 * time.Second

func (a *API) backupRoute() {
	e := endpoint{method: http.MethodGet, path: "/v1/backup", id: "backup", summary: "Stream a consistent copy of the store",
		need: keymgmt.ScopeAdmin, slow: true}
	op := a.describe(e)
	op.Responses["200"] = &huma.Response{
		Description: "the copy, for mxseal restore; complete if the trailer " + BackupDigest + " has the SHA-256 of it",
		Content:     map[string]*huma.MediaType{"application/octet-stream": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}},
	}
	a.add(op)
	a.route(e, op, a.backup)
}

// backup streams the copy. An error after the first octet can only be told by leaving the trailer out.
func (a *API) backup(w http.ResponseWriter, c *call) error {
	select {
	case a.copy <- struct{}{}:
		defer func() { <-a.copy }()
	default:
		return errBusy
	}
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Trailer", BackupDigest)
	sum := sha256.New()
	out := &patientWriter{ctx: c.ctx, to: io.MultiWriter(w, sum), deadline: http.NewResponseController(w), now: a.Now}
	if err := a.Store.Backup(out); err != nil {
		h.Del("Trailer")
		return fmt.Errorf("stream a backup: %w", err)
	}
	h.Set(BackupDigest, FormatDigest(sum.Sum(nil)))
	a.Log.Info("api backup", "token", c.token)
	return nil
}

// patientWriter gives the client a new deadline for each part, in place of one for the whole answer.
type patientWriter struct {
	ctx      context.Context
	to       io.Writer
	deadline *http.ResponseController
	now      func() time.Time
}

func (w *patientWriter) Write(b []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	if err := w.deadline.SetWriteDeadline(w.now().Add(backupStall)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	return w.to.Write(b)
}
