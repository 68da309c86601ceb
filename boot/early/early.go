// Package early is what an executable does first, before the packages that
// might hang are initialised: it reads what it is from whoever executed it, and
// keeps a way back open.
//
// In comes one environment variable, which is removed at once, so that no child
// inherits it. If it gives a time in which Caddy is to be up, and nobody calls
// Up within that, the process executes what is named to go back to, with the
// environment as it came. It imports almost nothing: its initialisation is among
// the first of the program's.
package early

import (
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Variable is the environment variable's name.
const Variable = "EVERGREEN_INTERNAL_BOOT"

// protocol is what the value begins with. Who reads another one knows that it
// was not started by itself, and no more.
const protocol = "1"

// A Start is what an executable is told.
type Start struct {
	Slot      string // the slot's id; "": the installed executable
	Installed string // path of the installed executable
	// Within is when the executable at Back, which is slot BackSlot, is executed
	// unless Up was called; 0: never.
	Within         time.Duration
	Back, BackSlot string
	// Refused is why it is not another one that runs.
	Refused string
}

// Env is the entry for the environment.
func (s Start) Env() string {
	clean := strings.NewReplacer("\n", " ", "\x00", " ")
	return Variable + "=" + strings.Join([]string{
		protocol, s.Slot, clean.Replace(s.Installed), strconv.FormatInt(s.Within.Milliseconds(), 10),
		clean.Replace(s.Back), s.BackSlot, clean.Replace(s.Refused),
	}, "\n")
}

func parse(value string) Start {
	f := strings.Split(value, "\n")
	if len(f) != 7 || f[0] != protocol {
		return Start{}
	}
	ms, err := strconv.ParseInt(f[3], 10, 64)
	if err != nil || ms < 0 || ms > int64(24*time.Hour/time.Millisecond) || f[4] == "" {
		ms = 0
	}
	return Start{
		Slot: f[1], Installed: f[2], Within: time.Duration(ms) * time.Millisecond,
		Back: f[4], BackSlot: f[5], Refused: f[6],
	}
}

// The state of this process, which nobody else has.
var (
	taken  bool
	handed Start
	phase  atomic.Int32
	up     = make(chan struct{})
)

const (
	starting int32 = iota
	isUp
	goingBack
)

func init() {
	value, ok := os.LookupEnv(Variable)
	if !ok {
		return
	}
	os.Unsetenv(Variable)
	taken, handed = true, parse(value)
	if handed.Within > 0 {
		go watch(handed, os.Args, os.Environ())
	}
}

// Taken is what this process was told by who executed it; false: nothing, it is
// an ordinary start.
func Taken() (Start, bool) { return handed, taken }

// Up ends the wait: Caddy is up.
func Up() {
	if phase.CompareAndSwap(starting, isUp) {
		close(up)
	}
}

// watch goes back if Caddy is not up in time.
func watch(s Start, args, env []string) {
	defer func() { _ = recover() }() // the server goes on as it is
	t := time.NewTimer(s.Within)
	defer t.Stop()
	select {
	case <-up:
		return
	case <-t.C:
	}
	if !phase.CompareAndSwap(starting, goingBack) {
		return
	}
	why := "the executable of slot " + short(s.Slot) + " was not up within " + s.Within.String()
	back := Start{Slot: s.BackSlot, Installed: s.Installed, Refused: why}
	err := execute(s.Back, args, append(env, back.Env()))
	os.Stderr.WriteString("evergreen: " + why + ", and executing " + s.Back + " fails: " + err.Error() + "\n")
}

func short(id string) string {
	if len(id) > 12 {
		return id[:12]
	}
	return id
}
