//go:build nextformat

package store

import (
	"encoding/json"
	"errors"
)

// A program that is built with the tag nextformat is one of a later version: tests of upgrades run it beside the present one. In its
// format rows are wrapped, so that they have to be written and read as the format of their record says.
const ahead = 1

type wrapped struct {
	Row json.RawMessage `json:"row"`
}

// wrap makes the value of a record of a format out of a row in JSON.
func wrap(row []byte, format uint8) []byte {
	if format < Format {
		return row
	}
	return append(append([]byte(`{"row":`), row...), '}')
}

// unwrap is the inverse of wrap.
func unwrap(value []byte, format uint8) ([]byte, error) {
	if format < Format {
		return value, nil
	}
	var w wrapped
	if err := json.Unmarshal(value, &w); err != nil {
		return nil, err
	}
	if w.Row == nil {
		return nil, errors.New("it has no row")
	}
	return w.Row, nil
}
