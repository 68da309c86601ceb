package evergreen

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// internalEnv begins the names of variables by which executables of ours tell
// each other what they are. Whoever reads one removes it.
const internalEnv = "EVERGREEN_INTERNAL_"

// envArgs tells an executable that takes another one's place which arguments to
// go by: a JSON of argsOverride. The process's real arguments stay as they are,
// for whoever looks at it from outside, and for the next switch.
const envArgs = internalEnv + "ARGS"

type argsOverride struct {
	// Args take the place of os.Args.
	Args []string `json:"args"`
	// Remove is a file to remove when the configuration in it is loaded.
	Remove string `json:"remove,omitempty"`
}

// started is how this process was started. It must be known before Caddy's
// main reads the arguments and adds its --envfile to the environment, so it is
// the process's, as boot's is.
var started = takeStart(os.Args, os.Environ())

type start struct {
	args []string // as the kernel has them
	env  []string // without what was said between executables of ours
}

func takeStart(args, env []string) start {
	if len(args) < 2 || args[1] != "run" {
		return start{args: args}
	}
	s := start{args: slices.Clone(args), env: slices.DeleteFunc(slices.Clone(env), func(kv string) bool {
		return strings.HasPrefix(kv, internalEnv)
	})}
	v, ok := os.LookupEnv(envArgs)
	if !ok {
		return s
	}
	_ = os.Unsetenv(envArgs)
	var o argsOverride
	if json.Unmarshal([]byte(v), &o) != nil || len(o.Args) < 2 || o.Args[1] != "run" {
		return s
	}
	os.Args = o.Args
	if o.Remove != "" {
		go removeWhenLoaded(o.Remove)
	}
	return s
}

// removeWhenLoaded removes the file that the first configuration was read from.
// It was written for this start alone: SIGUSR1 must not look for it.
func removeWhenLoaded(file string) {
	_ = guard("remove the configuration of a switch", func() error {
		for range 12000 { // ten minutes: a start that takes longer is not one
			if running() != 0 {
				caddy.SetLastConfig("", "", nil)
				break
			}
			time.Sleep(50 * time.Millisecond)
		}
		return os.Remove(file)
	})
}
