// Package goenv tells what the go command would use: the environment's value of
// a variable, or what `go env` says, which knows `go env -w` and the defaults.
package goenv

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

var (
	mu    sync.Mutex
	known = map[string]string{}
)

// Get is the value of a variable of the go command, such as "GOPROXY"; "" if it
// is not set and there is no go command.
func Get(name string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	mu.Lock()
	defer mu.Unlock()
	if v, ok := known[name]; ok {
		return v
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "env", name)
	cmd.Dir = os.TempDir() // no go.mod there asks for another toolchain
	out, err := cmd.Output()
	if err != nil {
		return ""
	}
	known[name] = strings.TrimSpace(string(out))
	return known[name]
}
