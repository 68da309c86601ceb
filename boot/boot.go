// Package boot decides at the start of the process which executable is to run:
// the installed one, or the one that Caddy updated itself to.
//
// In come the arguments and environment of the process and the folder of slots;
// the process either becomes the active slot's executable, with the same
// arguments, environment, process id, files and capabilities, or goes on as what
// it is, and Current tells why. A slot's executable runs only if
//
//   - it is the target that signed metadata, saved beside it, vouches for,
//     beginning at the root of trust of the installed executable;
//   - it is newer than the installed executable, so that what a package manager
//     or a person installs later wins;
//   - it has tries left. One is taken, durably, before each start, and all are
//     given back when Caddy has been up for 10 seconds, or ends in order: what
//     never comes up runs out of them, and at once if after a start that failed
//     it can't even print its version.
//
// An executable that is not up in time goes back to the installed one by itself
// (package early). One that was executed by boot, or that somebody else says
// they executed (Env), never executes another one.
//
// The decision is made in an init, before Caddy's own packages are initialised;
// without an active slot, and in commands other than `run`, it costs some
// microseconds and leaves no trace.
package boot

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/caddy-evergreen/evergreen/boot/early"
	"github.com/caddy-evergreen/evergreen/slots"
)

// Variables of the environment that an operator sets.
const (
	// Off is "off" where nothing is to be updated: the installed executable runs.
	Off = "EVERGREEN_UPDATES"
	// Root names a file with the root metadata to trust, in place of what the
	// build service embedded.
	Root = "EVERGREEN_ROOT"
	// Within is how long an executable of a slot may take until Caddy is up, as
	// a duration such as "90s"; DefaultWithin if it is not set.
	Within = "EVERGREEN_START_WITHIN"
)

const (
	// DefaultWithin is less than the 90 s after which systemd gives up on a start.
	DefaultWithin = 60 * time.Second
	// Tries are how many starts a slot is given to come up in.
	Tries = 3
	// goodStart is how long Caddy has to be up for a start to be a good one, or
	// less if it had less time to come up.
	goodStart = 10 * time.Second
)

// A Process is what this process is.
type Process struct {
	Slot      string // the slot's id; "": the installed executable
	Installed string // path of the installed executable
	// Refused is why the active slot isn't what runs; nil if there is none, or it
	// is. Its end is what to do.
	Refused error
}

// state is what is known of this process.
var state struct {
	sync.Mutex
	process Process
	tried   attempt
	final   bool // nothing is decided any more
	up      sync.Once
	given   bool // the tries are given back
}

// An attempt is what a decision depends on.
type attempt struct {
	dir  string
	root [32]byte
}

// Current tells what this process is.
func Current() Process {
	state.Lock()
	defer state.Unlock()
	if p := &state.process; p.Installed == "" {
		p.Installed, _ = os.Executable()
		dir := slots.Open(Updates(dataDir(os.Getenv)))
		if id, ok := slotOf(dir, p.Installed); ok {
			// A person executed a slot's.
			p.Slot = id
			if s, err := dir.Get(id); err == nil {
				p.Installed = s.Installed.Path
			}
		}
	}
	return state.process
}

// Env is an entry for the environment of an executable that is started by
// someone else than boot: it says which slot it is ("": the installed
// executable) and where the installed one is, and that boot must not execute
// another one.
func Env(slot, installed string) string {
	return early.Start{Slot: slot, Installed: installed}.Env()
}

// EnvGuarded is Env for an executable that is to be up (Up) within a time. If it
// is not, even because it hangs while it is initialised, its process executes
// back, which is slot backSlot, with the same arguments and environment, but
// for this entry.
func EnvGuarded(slot, installed string, within time.Duration, back, backSlot string) string {
	return early.Start{Slot: slot, Installed: installed, Within: within, Back: back, BackSlot: backSlot}.Env()
}

// Updates is the folder of slots below Caddy's data directory.
func Updates(data string) string { return filepath.Join(data, "evergreen", "updates") }

func init() {
	defer func() {
		if r := recover(); r != nil {
			state.process.Refused = panicked(r)
		}
	}()
	if s, ok := early.Taken(); ok {
		state.final = true
		state.process = Process{Slot: s.Slot, Installed: s.Installed}
		if s.Refused != "" {
			state.process.Refused = errors.New(s.Refused)
		}
		return
	}
	data, ok := applies(os.Args, os.Getenv)
	if !ok {
		state.final = true
		return
	}
	if data == "" {
		return
	}
	root, known, err := TrustedRoot(os.Getenv)
	switch {
	case err != nil:
		state.process.Refused = err
	case known:
		state.tried = attempt{data, root}
		state.process.Refused = start(data, root)
	}
}

// applies tells whether this is a process that boot decides about, and in which
// data directory there is an active slot; "": none so far. Where nothing was ever
// updated it costs one system call.
func applies(args []string, env func(string) string) (data string, ok bool) {
	if len(args) < 2 || args[1] != "run" || isOff(env(Off)) {
		return "", false
	}
	data = dataDir(env)
	if _, err := os.Readlink(filepath.Join(Updates(data), "active")); err != nil {
		return "", true
	}
	return data, true
}

func isOff(s string) bool {
	switch strings.ToLower(strings.TrimSpace(s)) {
	case "off", "none", "0", "false", "no":
		return true
	}
	return false
}

// Late decides when the first configuration is loaded, before any of it is
// started, if it could not be decided at the start of the process: because the
// data directory (caddy.AppDataDir) was another one before an environment file
// was read, or because the configuration has the root metadata to trust. root is
// nil if there is none. Late becomes the other executable, or returns why not;
// nil if none is active, or what runs is right. Later calls do nothing.
func Late(data string, root []byte) (err error) {
	state.Lock()
	defer state.Unlock()
	if state.final {
		return nil
	}
	state.final = true
	defer func() {
		if r := recover(); r != nil {
			err = panicked(r)
		}
		state.process.Refused = err
	}()
	if isOff(os.Getenv(Off)) {
		return nil
	}
	id, err := slots.Open(Updates(data)).ActiveID()
	if err != nil || id == "" {
		return err
	}
	now := attempt{dir: data}
	var known bool
	if root != nil {
		now.root, known = hash(root), true
	} else if now.root, known, err = TrustedRoot(os.Getenv); err != nil {
		return err
	}
	switch {
	case !known:
		return errNoRoot
	case now == state.tried:
		return state.process.Refused
	case readsStdin(os.Args):
		return errStdin
	}
	return start(data, now.root)
}

var errStdin = errors.New("the active slot is not started, since the configuration was read from standard input, where another executable could not read it again: name the file with the root metadata in " + Root)

// readsStdin tells whether the configuration came from standard input.
func readsStdin(args []string) bool {
	for i, a := range args {
		switch a {
		case "--config=-", "-c-", "-c=-":
			return true
		case "--config", "-c":
			if i+1 < len(args) && args[i+1] == "-" {
				return true
			}
		}
	}
	return false
}

// Up is called when Caddy has loaded its first configuration, by whatever
// process this is: the way back is closed, and when Caddy is still up after 10
// seconds, the slot has its tries back. data is Caddy's data directory. first is
// true the first time: the caller then sees to it that Down is called.
func Up(data string) (first bool) {
	early.Up()
	state.up.Do(func() {
		first = true
		if Current().Slot == "" {
			return
		}
		go func() {
			defer func() { _ = recover() }() // tries that are not given back are a smaller harm
			wait := goodStart
			if s, _ := early.Taken(); s.Within > 0 {
				wait = min(wait, s.Within)
			}
			time.Sleep(wait)
			giveBack(data)
		}()
	})
	return first
}

// Down is called when Caddy ends in order, after Up: an operator who restarts it
// a few times within seconds uses up no tries.
func Down(data string) {
	defer func() { _ = recover() }()
	giveBack(data)
}

// giveBack does so once.
func giveBack(data string) {
	state.Lock()
	id, done := state.process.Slot, state.given
	state.given = true
	state.Unlock()
	if id != "" && !done {
		_ = slots.Open(Updates(data)).GiveBack(id)
	}
}
