//go:build unix

package duckdb

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-evergreen/evergreen/server/store"
)

// TestFull lets writes fail as on a full disk, by a limit on the size of files,
// and then gives room again.
func TestFull(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.duckdb")
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"=full "+path)
	out, err := cmd.CombinedOutput()
	t.Logf("%s", strings.TrimSpace(string(out)))
	if err != nil {
		t.Fatal(err)
	}
	s := open(t, path, Options{})
	if p := checkCrash(t, s); p < 75 {
		t.Errorf("position %d: the child committed at least 75 batches", p)
	}
}

func childFull(s *Store) error {
	signal.Ignore(syscall.SIGXFSZ) // the write then fails with EFBIG
	ctx := context.Background()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	var p store.Position
	step := func() error {
		err := s.Commit(ctx, crashBatch(p))
		if err == nil {
			p++
			return nil
		}
		// The outcome may be unknown: the position tells.
		if now, perr := s.Position(ctx, "crash"); perr == nil {
			p = now
		}
		return err
	}
	for round := range 3 {
		for range 25 {
			if err := step(); err != nil {
				return fmt.Errorf("with room: %w", err)
			}
		}
		// A different place each time: in a commit, in a checkpoint.
		size := max(fileSize(s.path), fileSize(s.path+".wal")) + int64(round)*50_000
		small := limit
		small.Cur = min(uint64(size), limit.Max)
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &small); err != nil {
			return err
		}
		failed := 0
		var first error
		for range 200 {
			if err := step(); err != nil {
				first = errors.Join(first, err)
				if failed++; failed == 1 {
					first = err
				}
				if failed == 3 {
					break
				}
			}
		}
		cerr := s.Compact(ctx, time.Unix(1<<40, 0))
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
			return err
		}
		if failed == 0 {
			return fmt.Errorf("round %d: nothing failed with files limited to %d bytes", round, size)
		}
		fmt.Printf("round %d: %d failed at position %d: %.300v; compaction: %.100v\n", round, failed, p, first, cerr)
		now, err := s.Position(ctx, "crash")
		if err != nil {
			return fmt.Errorf("reading the position when there is room again: %w", err)
		}
		p = now
	}
	for range 25 {
		if err := step(); err != nil {
			return fmt.Errorf("with room at the end: %w", err)
		}
	}
	if err := s.Compact(ctx, time.Unix(1<<40, 0)); err != nil {
		return err
	}
	return s.Close()
}

func fileSize(path string) int64 {
	i, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return i.Size()
}
