//go:build !nextformat

package store

// ahead is by how much Format is newer than the present one.
const ahead = 0

// wrap makes the value of a record of a format out of a row in JSON.
func wrap(row []byte, _ uint8) []byte { return row }

// unwrap is the inverse of wrap.
func unwrap(value []byte, _ uint8) ([]byte, error) { return value, nil }
