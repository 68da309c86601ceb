//go:build !linux

package sandbox

import (
	"context"
	"errors"
	"os/exec"
	"runtime"
	"time"
)

// A Sandbox runs programs.
type Sandbox struct{}

// New tells in its second result why there is less than Namespaces.
func New(context.Context) (*Sandbox, error) {
	return &Sandbox{}, errors.New("no namespaces: " + runtime.GOOS + " has none; run the builds on Linux to keep them apart")
}

// Isolation is how much the programs are kept apart.
func (s *Sandbox) Isolation() Isolation { return Limits }

func (s *Sandbox) run(ctx context.Context, c Command) error {
	cmd := exec.CommandContext(ctx, c.Path, c.Args...)
	cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr = c.Env, c.Dir, c.Stdout, c.Stderr
	cmd.WaitDelay = 5 * time.Second
	return cmd.Run()
}

// Enter does nothing here.
func Enter() {}
