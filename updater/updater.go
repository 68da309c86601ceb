package updater

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.uber.org/zap"
)

// DefaultEvery is how often the service is asked when neither the operator nor
// the service says.
const DefaultEvery = 6 * time.Hour

// A Config is what an Updater needs. Dir, Actions.Self and Actions.Ask must be
// there.
type Config struct {
	// Dir is the folder of updates; it is made when there is something to keep.
	Dir     string
	Running Running
	Policy  Policy
	Actions Actions
	Log     *zap.Logger      // nil: no log
	Now     func() time.Time // nil: time.Now
	Random  func() float64   // in [0,1), spreads what many would do at once; nil: math/rand/v2
}

// Running is what this process is.
type Running struct {
	Slot    string // "": the installed executable
	Path    string // of the running executable
	Refused error  // why the active slot isn't what runs; nil if it is
}

// An Updater brings this process's executable up to date. Its methods can be
// called at the same time, also while Run runs.
type Updater struct {
	c      Config
	mu     sync.Mutex
	policy Policy
	status Status
}

// New makes an Updater that does nothing before Run.
func New(c Config) (*Updater, error) {
	if c.Dir == "" || c.Actions.Self == nil || c.Actions.Ask == nil {
		return nil, errors.New("an updater needs a folder and a way to ask")
	}
	return &Updater{c: c, policy: c.Policy, status: Status{State: Idle, Running: c.Running.Slot}}, nil
}

// Run does all the work until ctx is done, which means that the process ends in
// order, or that its last configuration with updates is gone. It must have
// returned before the process ends: else, while a candidate is watched, the next
// start takes it for a crash.
func (u *Updater) Run(ctx context.Context) { <-ctx.Done() }

// SetPolicy takes effect at once, also in the middle of a download or rehearsal.
// A candidate that already serves is watched to the end whatever the policy.
func (u *Updater) SetPolicy(p Policy) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.policy = p
}

// Status is what is known and done.
func (u *Updater) Status() Status {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.status
}

// Apply installs what the service has for this build, whatever the policy but
// off, at once and without a window; also what failed here before. A version
// ("v2.11.9") that is not "" must be what is offered. It returns when the attempt
// has begun, or with the reason why not.
func (u *Updater) Apply(ctx context.Context, version string) error {
	return errors.New("updates are not running in this process")
}

// Rollback goes back to what ran before, and puts what runs now in quarantine.
// It returns when that has begun, or with the reason why not.
func (u *Updater) Rollback(ctx context.Context) error {
	return errors.New("updates are not running in this process")
}

func (u *Updater) now() time.Time {
	if u.c.Now != nil {
		return u.c.Now()
	}
	return time.Now()
}

// wake makes Run look again at what is to be done.
func (u *Updater) wake() {}
