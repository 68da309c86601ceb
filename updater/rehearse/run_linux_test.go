package rehearse

import (
	"context"
	"errors"
	"os"
	"path/filepath"
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
