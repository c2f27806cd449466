package bolt

import (
	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
)

// forgetPages takes the pages of the file out of our memory: after everything was read they would be counted as ours, while
// hardly any will be needed again. The kernel keeps what it has room for. A transaction keeps the file mapped where it is.
func forgetPages(tx *bbolt.Tx) {
	// An error changes nothing: then the pages stay.
	_, _, _ = unix.Syscall(unix.SYS_MADVISE, tx.DB().Info().Data, uintptr(tx.Size()), unix.MADV_DONTNEED)
}
