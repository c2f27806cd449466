//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"
)

const (
	look   = 300 * time.Millisecond // how long the cores are watched at a time
	enough = 0.9                    // idle share of a core that is quiet
)

// awaitQuiet waits until nobody else uses the cores of the server and of the generator, or until its time is up: then
// what is measured has been disturbed, which shows in how busy the server was.
func awaitQuiet(ctx context.Context, limit time.Duration, cores ...int) error {
	for end := time.Now().Add(limit); time.Now().Before(end); {
		before, err := os.ReadFile("/proc/stat")
		if err != nil {
			return err
		}
		select {
		case <-time.After(look):
		case <-ctx.Done():
			return ctx.Err()
		}
		after, err := os.ReadFile("/proc/stat")
		if err != nil {
			return err
		}
		quiet := true
		for _, core := range cores {
			quiet = quiet && idleShare(string(before), string(after), core) >= enough
		}
		if quiet {
			return nil
		}
	}
	return nil
}

// idleShare is the part of the time between two readings of /proc/stat in which a core had nothing to do.
func idleShare(before, after string, core int) float64 {
	busy, all := busyTicks(before, after, core)
	return 1 - float64(busy)/float64(max(1, all))
}

// busyTicks are the ticks between two readings in which a core worked, and all.
func busyTicks(before, after string, core int) (busy, all int) {
	idleBefore, allBefore := coreTicks(before, core)
	idleAfter, allAfter := coreTicks(after, core)
	all = allAfter - allBefore
	return all - (idleAfter - idleBefore), all
}

// coreTicks reads the line of a core: user, nice, system, idle, iowait and so on. Without one both are 0.
func coreTicks(stat string, core int) (idle, all int) {
	for line := range strings.Lines(stat) {
		fields := strings.Fields(line)
		if len(fields) < 6 || fields[0] != fmt.Sprintf("cpu%d", core) {
			continue
		}
		for i, field := range fields[1:min(len(fields), 9)] { // the rest is part of user and nice
			n := 0
			fmt.Sscan(field, &n)
			all += n
			if i == 3 || i == 4 {
				idle += n
			}
		}
	}
	return idle, all
}
