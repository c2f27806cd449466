package main

import "golang.org/x/sys/unix"

// synchronised reports whether the kernel says that something keeps its clock right (adjtimex(2)).
func synchronised() bool {
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	return err == nil && state != unix.TIME_ERROR && t.Status&unix.STA_UNSYNC == 0
}
