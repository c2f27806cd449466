package stats

import (
	"os"
	"os/exec"
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	got, err := parseStat("7 (a ) b) S 1 7 7 0 -1 4194560 1 2 3 4 250 50 9 9 20 0 1 0")
	if err != nil || got != 3*time.Second {
		t.Errorf("%v %v", got, err)
	}
	for _, text := range []string{"", "7 (a) S 1 2 3", "7 (a) S 1 7 7 0 -1 4194560 1 2 3 4 x 50 9", "7 (a) S 1 7 7 0 -1 4194560 1 2 3 4 5 x 9"} {
		if _, err := parseStat(text); err == nil {
			t.Errorf("%q is accepted", text)
		}
	}
}

// A process has time of its own, and children; one that is gone has none.
func TestCPU(t *testing.T) {
	child := exec.Command("cat")
	in, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	if used, err := CPU(os.Getpid()); err != nil || used < 0 {
		t.Errorf("own time is %v, %v", used, err)
	}
	if tree := Tree(os.Getpid()); len(tree) != 2 || tree[1] != child.Process.Pid {
		t.Errorf("processes are %v, want %d as well", tree, child.Process.Pid)
	}
	in.Close()
	if err := child.Wait(); err != nil {
		t.Fatal(err)
	}
	if _, err := CPU(child.Process.Pid); err == nil {
		t.Error("a process that is gone has used time")
	}
}
