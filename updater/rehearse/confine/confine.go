// Package confine limits what a program can do to the machine that it is tried
// on.
//
// The program itself can't be trusted to limit itself, and this process must
// not be limited. So an executable that has this package in it, the running one,
// is started once more as a launcher: before anything else of it runs, the
// init below finds a Box in the environment, applies the limits to itself, which
// can't be taken back, and becomes the program by execve. What could not be
// limited on this system is told to the one who started it.
//
// On Linux: no new privileges, none of root's but reading files, resource
// limits, low priority for processors, first to be killed
// when memory is short, killed when its parent ends, and with Landlock: writes
// only below the Box's folders, TCP ports to listen on only the Box's, and no
// signals to others. Elsewhere on Unix: resource limits. On other systems
// nothing can be started.
package confine

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

// Variable has the launcher's orders, as JSON.
const Variable = "EVERGREEN_INTERNAL_CONFINE"

// reportFD is the launcher's descriptor to tell by what it could not limit.
const reportFD = 3

// A Box is a program with its limits. Zero limits are none.
type Box struct {
	Path string   `json:"path"` // of the program
	Args []string `json:"args"` // after its name
	// Env is added to the environment of the Command. It is not in the launcher's.
	Env []string `json:"env,omitempty"`

	Write   []string `json:"write"`              // folders below which it may write
	Bind    []int    `json:"bind"`               // TCP ports that it may listen on
	MaxFile uint64   `json:"max_file,omitempty"` // bytes of one file
	MaxData uint64   `json:"max_data,omitempty"` // bytes of private memory
	MaxCPU  uint64   `json:"max_cpu,omitempty"`  // seconds of processor time
}

// A Result is what the launcher tells.
type Result struct {
	Missing []string `json:"missing,omitempty"` // limits that this system doesn't have, with the reason
	Error   string   `json:"error,omitempty"`   // why the program could not be started
}

// ErrExec is that the program can't be executed.
var ErrExec = errors.New("it can't be executed")

// Command is the launcher's start, with env as the program's environment. The
// caller sets what else it wants, starts it, and calls Started.
func (b Box) Command(launcher string, env []string) (cmd *exec.Cmd, started func() (Result, error), err error) {
	text, err := json.Marshal(b)
	if err != nil {
		return nil, nil, fmt.Errorf("writing a launcher's orders: %w", err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, nil, fmt.Errorf("making a pipe for a launcher: %w", err)
	}
	cmd = exec.Command(launcher, "confined") // no command of Caddy's, lest anything else acts on it
	cmd.Env = append(without(env, Variable), Variable+"="+string(text))
	cmd.ExtraFiles = []*os.File{w}
	return cmd, func() (Result, error) {
		w.Close()
		defer r.Close()
		if cmd.Process == nil {
			return Result{}, errors.New("the launcher was not started")
		}
		// It is closed by execve, or when the launcher ends.
		said := json.NewDecoder(io.LimitReader(r, 64<<10))
		var res Result
		if err := said.Decode(&res); err != nil {
			return Result{}, fmt.Errorf("the launcher %s ended before it had confined anything: either it is no executable with this module in it, or a filter of system calls (such as SystemCallFilter= of systemd) ended it, and should allow landlock_create_ruleset, landlock_add_rule, landlock_restrict_self, prctl, capset and setrlimit", launcher)
		}
		// Only if execve fails, there is more.
		if err := said.Decode(&res); err != nil && !errors.Is(err, io.EOF) {
			return Result{}, fmt.Errorf("reading what the launcher says: %w", err)
		}
		if res.Error != "" {
			return res, fmt.Errorf("%w: %s", ErrExec, res.Error)
		}
		return res, nil
	}, nil
}

func without(env []string, name string) []string {
	kept := make([]string, 0, len(env)+1)
	for _, e := range env {
		if !strings.HasPrefix(e, name+"=") {
			kept = append(kept, e)
		}
	}
	return kept
}

func init() {
	if orders := os.Getenv(Variable); orders != "" {
		launch(orders)
	}
}
