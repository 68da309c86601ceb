package bridge

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// A Command is an executable to start, or to become.
type Command struct {
	Path string   // absolute
	Args []string // Args[0] is the name, as in os.Args
	Env  []string // whole environment, KEY=value. The bridge adds what is its own
	// Stdin is what the helper reads from its standard input, whole. A process
	// that becomes Next keeps the standard input it has.
	Stdin []byte
}

// A Server is what the old process and the helper can do. Its methods are
// called from one goroutine, one at a time, but for Abort.
type Server interface {
	// Retire makes HTTP/1.1 answers carry "Connection: close" (on), or no more.
	Retire(on bool)
	// Stop closes all listening sockets that are bridged. Connections finish
	// what they have begun; Stop may wait for them, until ctx ends, or return.
	Stop(ctx context.Context) error
	// Resume listens on all these addresses again, after Stop.
	Resume(ctx context.Context) error
	// Abort returns why the switch has to be given up, or nil: ErrExit when the
	// process was told to exit, anything else (a reload) to go on serving.
	// It is asked often, and from another goroutine.
	Abort() error
}

// ErrExit is what Server.Abort returns when the process was told to exit. The
// helper then leaves, and Switch returns when it has, without Resume.
var ErrExit = errors.New("the process was told to exit")

// Options of a switch.
type Options struct {
	Helper Command // what serves in the meantime: the candidate, other arguments
	Next   Command // what this process becomes: the candidate
	// Back is what the process becomes if Next does not come up within Patience:
	// what it is now. An empty Path: it stays as it is, the helper serving on.
	Back   Command
	Server Server
	// Skip tells which of the process's sockets are not to be bridged ("tcp" or
	// "udp"): the admin API's. nil: none.
	Skip func(network string, addr netip.AddrPort) bool
	// Healthy asks the helper real requests, and returns what is wrong. Called
	// before anything is committed, and again before this process gives itself
	// up. nil: that the helper says it is up is enough.
	Healthy func(ctx context.Context, helperPID int) error
	// Settle is how long requests and handshakes on the way are given to arrive,
	// at each of the two changes. 0: 3 s, or 0.3 s if all sockets are loopback's.
	Settle time.Duration
	// Grace is how long connections are given to finish. 0: as long as it takes.
	Grace time.Duration
	// Patience is how long the helper, and the next image, may take to be up, and
	// Healthy to answer; other answers are given a sixth of it. 0: a minute.
	Patience time.Duration
	// Before is called last, with nothing of this process listening: to flush
	// and to write down. An error gives up the switch; and the server may have to
	// serve again after it, if the next executable can't be executed.
	Before func() error
	// Log is told each step, as slog's methods are: a text, keys and values.
	Log func(event string, args ...any)
}

// A Step of a switch, as named in a StepError.
type Step string

const (
	StepSurvey Step = "looking at the sockets"         // 1
	StepPin    Step = "steering to this process"       // 2
	StepStart  Step = "starting the helper"            // 3
	StepUp     Step = "waiting for the helper"         // 3
	StepCheck  Step = "checking the helper"            // 4, 7
	StepTake   Step = "handing over to the helper"     // 5
	StepSettle Step = "letting requests arrive"        // 5
	StepStop   Step = "stopping to listen"             // 6
	StepDrain  Step = "letting connections finish"     // 6
	StepHold   Step = "having the helper hold"         // 7
	StepBefore Step = "writing down what is done"      // 7
	StepExec   Step = "becoming the new executable"    // 8
	StepNextUp Step = "waiting for the next image"     // 9
	StepYield  Step = "taking over from the helper"    // 10
	StepDetach Step = "ending the steering of sockets" // 11
)

// A StepError tells at which step a switch failed. The server serves on.
type StepError struct {
	Step Step
	Err  error
}

func (e *StepError) Error() string { return fmt.Sprintf("%s: %v", e.Step, e.Err) }
func (e *StepError) Unwrap() error { return e.Err }

// A Socket is a listening socket of this process, as Survey finds it.
type Socket struct {
	Network string         // "tcp", "udp", "unix" (listening) or "unixgram"
	Addr    netip.AddrPort // of tcp and udp
	Path    string         // of unix; "@name" in the abstract namespace
	// Passed: it was inherited (from systemd), survives execve and is inherited
	// by the helper under the same number: old and new accept from one queue.
	Passed bool
	// Why it can't be bridged, for people; "" if it can be.
	Why string
}

const (
	defaultPatience = time.Minute
	leaveWithin     = 10 * time.Second // a helper without connections, and Stop when called off
	settleRemote    = 3 * time.Second  // well above the slowest round trips
	settleLocal     = 300 * time.Millisecond
)

func (o *Options) log(event string, args ...any) {
	if o.Log != nil {
		o.Log(event, args...)
	}
}

// wayBack tells the next image how to become what this process is.
func (o *Options) wayBack() *way {
	if o.Back.Path == "" {
		return nil
	}
	w := &way{Path: o.Back.Path, Args: o.Back.Args}
	w.Set, w.Unset = difference(o.Next.Env, o.Back.Env)
	return w
}

// resume tries until the server serves, since nobody else may; or until the
// process is told to exit: false.
func (o *Options) resume(ctx context.Context) bool {
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		if errors.Is(o.Server.Abort(), ErrExit) {
			return false
		}
		err := o.Server.Resume(ctx)
		if err == nil {
			return true
		}
		o.log("this process can't serve again yet, and tries on", "error", err, "again in", wait)
		pause(ctx, wait)
	}
}
