package etcd

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/mxseal/mxseal/store"
	"github.com/mxseal/mxseal/zone"
)

// line is one of a backup: a record, or the last line, which says how many there are.
type line struct {
	Kind     zone.Kind       `json:"kind,omitempty"`
	ID       string          `json:"id,omitempty"`
	Revision uint64          `json:"revision,omitempty"` // for the order alone
	Value    json.RawMessage `json:"value,omitempty"`
	Format   uint8           `json:"format,omitempty"` // of the value; without it 1
	Records  *int            `json:"records,omitempty"`
}

// Backup implements store.Engine: a JSON object for each record, and one for their number.
func (e *Engine) Backup(w io.Writer) error {
	out := bufio.NewWriter(w)
	lines, n := json.NewEncoder(out), 0
	_, _, err := e.load(e.ctx, func(r store.Record) error {
		n++
		return lines.Encode(line{Kind: r.Kind, ID: r.ID, Revision: r.Revision, Value: r.Value, Format: r.Format})
	})
	if err != nil {
		return err
	}
	return errors.Join(lines.Encode(line{Records: &n}), out.Flush())
}

// Restore is Fill with the records of a backup. If that is damaged or has no end, there is no database.
func Restore(ctx context.Context, c Config, backup io.Reader) (records int, err error) {
	in := json.NewDecoder(bufio.NewReader(backup))
	err = Fill(ctx, c, func(yield func(store.Record) error) error {
		for {
			var l line
			err := in.Decode(&l)
			switch {
			case errors.Is(err, io.EOF):
				return errors.New("the backup has no end")
			case err != nil:
				return fmt.Errorf("the backup is damaged after %d records: %w", records, err)
			case l.Records != nil && *l.Records == records:
				return nil
			case l.Kind == "" || l.ID == "" || l.Value == nil:
				return fmt.Errorf("the backup is damaged after %d records", records)
			}
			records++
			if err := yield(store.Record{Kind: l.Kind, ID: l.ID, Revision: l.Revision, Value: l.Value, Format: l.Format}); err != nil {
				return err
			}
		}
	})
	return records, err
}
