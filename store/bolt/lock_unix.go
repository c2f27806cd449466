//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package bolt

import (
	"errors"
	"os"
	"syscall"
	"time"
)

// lockPause is the time between two attempts to lock a file.
const lockPause = 50 * time.Millisecond

// lock locks a file as bbolt does, which then finds it locked by its own descriptor.
func lock(f *os.File) error {
	for range lockWait / lockPause {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return err
		}
		time.Sleep(lockPause)
	}
	return ErrInUse
}
