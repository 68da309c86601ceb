package updater

import (
	"context"
	"time"

	"github.com/caddy-evergreen/evergreen/wire"
)

// A Policy is what the operator wants of updates. It can change at any time.
type Policy struct {
	// Off is why nothing is to be done at all; "" if updates are on. Scope none is
	// off as well.
	Off   string
	Scope wire.Scope
	// Notify: tell of updates and install none, for the reason NotifyWhy ("in a
	// container", "notify is set").
	Notify    bool
	NotifyWhy string
	Channel   wire.Channel
	// Every is how often to ask when the service does not say; 0 is DefaultEvery.
	// The service may move it by up to a factor of four either way.
	Every time.Duration
	// Window is when a switch may begin; nil: at any time.
	Window *Window
	Pins   map[string]string // module path → the version that it must keep
	// Service is the URL that is asked, for logs; another one makes what is known void.
	Service string
}

// A Candidate is an executable that is to run, or runs on trial.
type Candidate struct {
	Slot     string        `json:"slot"` // SHA-256 of the executable, hexadecimal
	Path     string        `json:"path,omitempty"`
	Target   wire.Target   `json:"target"`
	Plan     wire.Plan     `json:"plan"`
	Severity wire.Severity `json:"severity"`
	From     string        `json:"from"`         // the slot of what it replaces; "" is the installed executable
	Version  string        `json:"version"`      // of Caddy: "v2.11.9"
	Before   string        `json:"from_version"` // of Caddy, in what it replaces
	// Since is when the process became it; zero before that.
	Since time.Time `json:"since,omitzero"`
}

// A Destination is what the process is to become.
type Destination struct {
	Slot string // "": the installed executable
	Path string // of the executable
	// Back: it is what ran before, and what runs now does harm, as Why says (or a
	// person wants it). Then nothing needs to be rehearsed, and after the first
	// try, Rough is set: get there even with a gap, since staying is worse.
	Back  bool
	Rough bool
	Why   string
}

// Fetched is what a download left behind.
type Fetched struct {
	// Metadata is what slots.Dir.Seal takes.
	Metadata map[string][]byte
	Bytes    int64  // that went over the network
	Method   string // of wire.TargetFile: "bsdiff", "zstd-patch", "zstd", "" for the executable itself
}

// Actions are how an Updater acts. Each must return when its context is done,
// and may be called again after that. A panic in one is an error of its step.
// Only Self and Ask are needed where nothing is to be installed.
type Actions struct {
	// Self is this build and system; scope, channel and pins are filled in later.
	Self func() (wire.Check, error)
	// Ask asks the service; the duration is when to ask again, 0 if it did not say.
	Ask func(context.Context, wire.Check) (wire.Answer, time.Duration, error)
	// Vouched is what is signed of a target, before anything of it is downloaded.
	Vouched func(context.Context, wire.Target) (wire.TargetCustom, error)
	// Fetch writes the verified executable to file, not yet executable. It goes on
	// with what an earlier call got.
	Fetch func(ctx context.Context, t wire.Target, file string) (Fetched, error)
	// Discard removes what Fetch left of a target that is no longer wanted. nil:
	// nothing is left.
	Discard func(wire.Target)
	// Inspect reads from an executable what it was built from, without running it.
	Inspect func(file string) (wire.BuildList, error)
	// Config is a number that changes when the running configuration does: what
	// was rehearsed with another one is rehearsed again. nil: it never changes.
	Config func() uint64
	// Rehearse runs the candidate beside the server. The report is what differs,
	// for a person to read; "" means that they agree.
	Rehearse func(context.Context, Candidate) (report string, err error)
	// Switch makes this process the destination: it returns only if that failed,
	// and then what ran before serves on. It must call commit last before the
	// point of no return, and give up if that fails. ErrNextStart says that it can't
	// be done here, and that the next start of the process shall do it.
	Switch func(ctx context.Context, to Destination, commit func() error) error
	// Up returns when this process serves, with its part of a switch done; an error
	// says why it never will. Called before a candidate counts as running. nil: it does.
	Up func(context.Context) error
	// Watch returns what harm the running candidate does, as soon as it is clear,
	// or "" when it was watched for long enough.
	Watch func(context.Context, Candidate) (harm string, err error)
	// Ending tells that the process began to end in order. It may be killed before
	// Run is told to end, when connections take longer than who stops it waits, and
	// that is no crash. Called each second while Watch runs; nil: Run is always told.
	Ending func() bool
	// Tell is called for each notice that is due: once for each update, and again
	// each day that it is still there.
	Tell func(Notice)
	// Outcome is called once for each attempt that ended.
	Outcome func(Outcome)
}

// A Notice is an update that there is for this build.
type Notice struct {
	From       string         `json:"from"` // version of Caddy
	To         string         `json:"to"`   // equal to From if only other modules change
	Severity   wire.Severity  `json:"severity"`
	Changes    []wire.Change  `json:"changes"`
	Reasons    []string       `json:"reasons"`    // "v2.11.9: Fixes …", once each
	Advisories []string       `json:"advisories"` // "GO-2026-5346"
	Unfixed    []wire.Unfixed `json:"unfixed,omitempty"`
	Link       string         `json:"link,omitempty"` // where to read on
	// Installs tells whether it will be installed without a person; if not, Why
	// says what is in the way ("notify is set", "the rollout has not reached …").
	Installs bool   `json:"installs"`
	Why      string `json:"why,omitempty"`
}

// An Outcome is how an attempt ended.
type Outcome struct {
	State    State         `json:"state"` // Healthy, RolledBack or Failed
	Step     State         `json:"step"`  // the state that it ended from
	Cause    Cause         `json:"cause,omitempty"`
	Why      string        `json:"why,omitempty"` // for a person
	From     string        `json:"from"`          // version of Caddy
	To       string        `json:"to"`
	Slot     string        `json:"slot,omitempty"` // of the candidate
	Severity wire.Severity `json:"severity,omitempty"`
	Try      int           `json:"try"` // 1 is the first
	Began    time.Time     `json:"began"`
	Ended    time.Time     `json:"ended"`
	// Seconds is how long each step took, over all processes that took part.
	Seconds map[State]float64 `json:"seconds,omitempty"`
	Bytes   int64             `json:"bytes,omitempty"`
	Method  string            `json:"method,omitempty"`
	Person  bool              `json:"person,omitempty"` // a person asked for it
}

// A Quarantined executable failed here and is not tried again by itself.
type Quarantined struct {
	Slot    string    `json:"slot"`
	Version string    `json:"version"` // of Caddy
	Cause   Cause     `json:"cause"`
	Why     string    `json:"why"`
	Time    time.Time `json:"time"`
}

// A Status is what an Updater knows and does.
type Status struct {
	State State     `json:"state"`
	Since time.Time `json:"since,omitzero"`
	// Waiting says what it waits for, and what a person can do about it.
	Waiting   string     `json:"waiting,omitempty"`
	Off       string     `json:"off,omitempty"`
	Scope     wire.Scope `json:"scope,omitempty"`
	Notify    string     `json:"notify,omitempty"` // why nothing is installed
	Service   string     `json:"service,omitempty"`
	Window    string     `json:"window,omitempty"`
	Running   string     `json:"running"` // slot; "": the installed executable
	Candidate *Candidate `json:"candidate,omitempty"`
	LastCheck time.Time  `json:"last_check,omitzero"`
	NextCheck time.Time  `json:"next_check,omitzero"`
	// CheckError is why the last check had no answer.
	CheckError string        `json:"check_error,omitempty"`
	Notice     *Notice       `json:"notice,omitempty"`
	Paused     *Paused       `json:"paused,omitempty"`
	Quarantine []Quarantined `json:"quarantine,omitempty"`
	Last       *Outcome      `json:"last,omitempty"`
	// Problem is why the state can't be kept, or another process keeps it.
	Problem string `json:"problem,omitempty"`
}

// Paused is who paused updates, and when.
type Paused struct {
	Who  string    `json:"who"`
	Time time.Time `json:"time"`
}
