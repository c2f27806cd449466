package bolt_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/mxseal/mxseal/store/bolt"
)

// crashDir is the variable that makes the test binary a process to be killed.
const crashDir = "MXSEAL_TEST_CRASH_DIR"

// commitUntilKilled commits from 64 goroutines and prints what was acknowledged.
func commitUntilKilled(dir string) {
	e, err := bolt.Open(dir)
	if err != nil {
		fmt.Println("failed:", err)
		os.Exit(1)
	}
	var mu sync.Mutex
	for w := range 64 {
		go func() {
			for i := 0; ; i++ {
				id := fmt.Sprintf("%d-%d-%d", os.Getpid(), w, i)
				_, err := e.Commit(context.Background(), put(id))
				mu.Lock()
				if err != nil {
					fmt.Println("failed:", err)
				} else {
					fmt.Println(id)
				}
				mu.Unlock()
			}
		}()
	}
	select {}
}

// What was acknowledged is there after kill -9, round after round on the same file.
func TestAcknowledgedSurvivesKill(t *testing.T) {
	dir := create(t)
	acknowledged := map[string]bool{}
	for round := range 8 {
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), crashDir+"="+dir)
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			if strings.HasPrefix(lines.Text(), "failed") {
				t.Fatal(lines.Text())
			}
			acknowledged[lines.Text()] = true
			if n == 100+37*round { // somewhere in the middle of many
				if err := child.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := child.Wait(); err == nil {
			t.Fatal("the process ended by itself")
		}
		e := open(t, dir)
		all := ids(t, e)
		for id := range acknowledged {
			if !all[id] {
				t.Fatalf("round %d: %s was acknowledged and is gone", round, id)
			}
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d acknowledged commits were there", len(acknowledged))
}
