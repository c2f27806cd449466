package bolt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/mxseal/mxseal/store"
)

// A value in the file is one octet of format, see [store.Format], 8 of revision, 4 of CRC-32C over all else and the key, then the
// value itself.
const (
	atRevision = 1
	atSum      = 9
	atValue    = 13
)

var (
	errChecksum = errors.New("the checksum is wrong")
	errShort    = errors.New("it is too short")
)

func sum(bucket string, key, b []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	s := crc32.Update(0, table, []byte(bucket+"\x00"))
	s = crc32.Update(s, table, key)
	s = crc32.Update(s, table, []byte{0})
	s = crc32.Update(s, table, b[:atSum])
	return crc32.Update(s, table, b[atValue:])
}

// seal makes what is written to the file. Format 0 is 1.
func seal(bucket string, key []byte, revision uint64, format uint8, value []byte) []byte {
	b := make([]byte, atValue, atValue+len(value))
	b[0] = max(1, format)
	binary.BigEndian.PutUint64(b[atRevision:], revision)
	b = append(b, value...)
	binary.BigEndian.PutUint32(b[atSum:], sum(bucket, key, b))
	return b
}

// unseal checks what was read from the file. The value is part of b. The errors wrap ErrCorrupt or store.ErrFormat.
func unseal(bucket string, key, b []byte) (revision uint64, format uint8, value []byte, err error) {
	switch {
	case len(b) < atValue:
		err = fmt.Errorf("%w: %w", ErrCorrupt, errShort)
	case binary.BigEndian.Uint32(b[atSum:]) != sum(bucket, key, b):
		err = fmt.Errorf("%w: %w", ErrCorrupt, errChecksum)
	default:
		err = store.CheckRecord(store.Format, b[0])
	}
	if err != nil {
		return 0, 0, nil, err
	}
	return binary.BigEndian.Uint64(b[atRevision:]), b[0], b[atValue:], nil
}
