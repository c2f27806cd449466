//go:build linux

package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// signing is how fast crypto/ecdsa signs with P-256, deterministically as mxseal does (RFC 6979).
type signing struct {
	PerSecond float64 `json:"per_second"`
	CPU       float64 `json:"cpu_us"` // processor time of one signature, in us
}

// signAlone signs digests for a time in one thread on a core, and nothing else.
func signAlone(core int, d time.Duration) (signing, error) {
	type outcome struct {
		signing
		err error
	}
	result := make(chan outcome)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine, since it stays on its core
		s, err := signPinned(core, d)
		result <- outcome{s, err}
	}()
	o := <-result
	return o.signing, o.err
}

func signPinned(core int, d time.Duration) (s signing, err error) {
	var set unix.CPUSet
	set.Set(core)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return s, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return s, err
	}
	var before, after unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &before); err != nil {
		return s, err
	}
	start, n := time.Now(), 0
	for ; n == 0 || time.Since(start) < d; n++ {
		digest := sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(n)))
		if _, err := key.Sign(nil, digest[:], crypto.SHA256); err != nil {
			return s, err
		}
	}
	elapsed := time.Since(start)
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &after); err != nil {
		return s, err
	}
	used := after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano()
	return signing{PerSecond: float64(n) / elapsed.Seconds(), CPU: float64(used) / 1000 / float64(n)}, nil
}
