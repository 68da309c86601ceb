package rehearse

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestChildren has a candidate that starts a process: it doesn't outlive it.
func TestChildren(t *testing.T) {
	t.Parallel()
	if r, err := Run(context.Background(), besideSite(t, "child")); err != nil || !r.Agrees() {
		t.Errorf("%v %s", err, r)
	}
	// It was killed, and is gone when the system comes to it.
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		left := sleeping(t)
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("still there: %q", left)
		}
	}
}

// TestParentDies kills the one who rehearses: the candidate goes with it.
func TestParentDies(t *testing.T) {
	t.Parallel()
	c := besideSite(t, "hang version")
	marker := "REHEARSED_BY=" + rand.Text()
	orders, err := json.Marshal(rehearserOrders{c.Live, c.Scratch, append(c.Env, marker)})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(c.Executable)
	cmd.Env = append(os.Environ(), rehearserVariable+"="+string(orders))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Wait() }()
	until := func(what string, ok func(running int) bool) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
			n := running(t, marker)
			if ok(n) {
				return
			}
			if time.Now().After(deadline) {
				_ = cmd.Process.Kill()
				t.Fatalf("%s: %d candidates", what, n)
			}
		}
	}
	until("it doesn't start", func(n int) bool { return n > 0 })
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	until("it doesn't end", func(n int) bool { return n == 0 })
}

// running counts the processes that have an entry in their environment.
func running(t *testing.T, entry string) (n int) {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil && slices.Contains(strings.Split(string(b), "\x00"), entry) {
			n++
		}
	}
	return n
}

// sleeping are the processes that sleep as the bad candidate's child does.
func sleeping(t *testing.T) (left []string) {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil && strings.Contains(string(b), childSleeps) {
			left = append(left, f)
		}
	}
	return left
}

func TestThreads(t *testing.T) {
	t.Parallel()
	c := besideSite(t, "threads")
	c.Settle, c.Memory = time.Minute, 4<<30
	_, err := Run(context.Background(), c)
	var failed *Error
	if !errors.As(err, &failed) || failed.Kind != Limit || !strings.Contains(err.Error(), "processes and threads") {
		t.Errorf("the error is %v", err)
	}
}
