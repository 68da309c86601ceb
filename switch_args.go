package evergreen

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/spf13/cobra"

	"github.com/caddy-evergreen/evergreen/bridge"
)

// internalEnv begins the names of variables by which executables of ours tell
// each other what they are. Whoever reads one removes it.
const internalEnv = "EVERGREEN_INTERNAL_"

// envSwitch tells an executable that takes another one's place what that left
// to it: a JSON of leftOver.
const envSwitch = internalEnv + "SWITCH"

type leftOver struct {
	// Args take the place of os.Args; nil: they hold. The process's real
	// arguments stay as they are, for whoever looks at it from outside, and for
	// the next switch.
	Args []string `json:"args,omitempty"`
	// Config is the file named in Args, to be removed when it is loaded.
	Config string `json:"config,omitempty"`
	// Sockets is the folder of the helper's sockets, to be removed.
	Sockets string `json:"sockets,omitempty"`
	// Close are inherited descriptors that the helper has, too.
	Close []int `json:"close,omitempty"`
	// Admin is the admin endpoint's queue.
	Admin json.RawMessage `json:"admin,omitempty"`
}

// started is how this process was started. It must be known before Caddy's
// main reads the arguments and adds its --envfile to the environment, so it is
// the process's, as boot's is.
var started = takeStart(os.Args, os.Environ())

type start struct {
	args   []string // as the kernel has them
	env    []string // without what was said between executables of ours
	helper *bridge.Helper
	landed *landed // nil: no switch made this process
}

func takeStart(args, env []string) start {
	if len(args) < 2 || args[1] != "run" {
		return start{args: args}
	}
	s := start{args: slices.Clone(args), env: slices.DeleteFunc(slices.Clone(env), func(kv string) bool {
		return strings.HasPrefix(kv, internalEnv)
	})}
	// The roles first: the way back needs the environment as it came.
	if h, ok := bridge.AsHelper(); ok {
		s.helper = h
		go help(h)
	} else if n, ok := bridge.AsNext(); ok {
		s.landed = &landed{done: make(chan struct{})}
		go s.landed.finish(n)
		cobra.OnFinalize(func() { s.landed.ended(n) })
	}
	v, ok := os.LookupEnv(envSwitch)
	if !ok {
		return s
	}
	_ = os.Unsetenv(envSwitch)
	var l leftOver
	if json.Unmarshal([]byte(v), &l) != nil {
		return s
	}
	if len(l.Args) >= 2 && l.Args[1] == "run" {
		os.Args = l.Args
	}
	// At once, while a listening socket with that number can be no other one.
	for _, fd := range l.Close {
		closeInherited(fd)
	}
	if h := inheritedAdmin(l.Admin); h != nil {
		if ln, err := inheritedListener(h.Descriptor); err == nil {
			go h.inherit(ln)
		}
	}
	go l.clean()
	return s
}

// clean removes what the executable before this one left behind.
func (l *leftOver) clean() {
	_ = guard("clean up after a switch", func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
		defer cancel()
		for running() == 0 && ctx.Err() == nil {
			time.Sleep(20 * time.Millisecond)
		}
		if l.Config != "" {
			if ctx.Err() == nil {
				// The file was for this start: SIGUSR1 must not look for it.
				caddy.SetLastConfig("", "", nil)
			}
			_ = os.Remove(l.Config)
		}
		if strings.HasPrefix(filepath.Base(l.Sockets), socketsFolder) {
			return os.RemoveAll(l.Sockets)
		}
		return nil
	})
}
