package updater

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-evergreen/evergreen/slots"
	"github.com/caddy-evergreen/evergreen/wire"
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
	Slot      string // "": the installed executable
	Installed string // path of the installed executable
	Refused   error  // why the active slot isn't what runs; nil if it is
}

// An Updater brings this process's executable up to date. Its methods can be
// called at the same time, also while Run runs.
type Updater struct {
	c     Config
	slots *slots.Dir
	disk  disk
	free  func(string) (int64, error)
	boot  string
	build string // hash of what this executable was built from
	// written is called after each write of the journal; nil but in tests.
	written func(journal)

	woken chan struct{}

	mu       sync.Mutex
	over     bool // Run returned
	policy   Policy
	changed  bool // the policy, since Run looked last
	requests []*request
	status   Status

	// All below belongs to Run's goroutine.
	j        journal
	unlock   func() // nil: another process has the folder, or it can't be used
	nextLock time.Time
	problem  string // why unlock is nil although it should not be
	waiting  string
	dirty    bool // j is not on disk
	settled  bool // what belongs to the attempt's end is done
	p        Policy
	paused   *Paused
	say      sayer
	asked    time.Time // last, by this process
	why      string    // there is no target
	commits  chan chan error
	watches  int // that failed, of the running candidate
}

// A request is a person's.
type request struct {
	rollback bool
	version  string
	reply    chan error // holds one
}

// New makes an Updater that does nothing before Run.
func New(c Config) (*Updater, error) {
	if c.Dir == "" || c.Actions.Self == nil || c.Actions.Ask == nil {
		return nil, errors.New("an updater needs a folder and a way to ask")
	}
	if c.Log == nil {
		c.Log = zap.NewNop()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Random == nil {
		c.Random = rand.Float64
	}
	u := &Updater{
		c: c, slots: slots.Open(c.Dir), disk: osDisk{}, free: freeSpace, boot: bootID(), build: buildHash(), policy: c.Policy,
		woken: make(chan struct{}, 1), commits: make(chan chan error),
		j: journal{Version: journalVersion, State: Idle}, say: sayer{now: c.Now},
		status: Status{State: Idle, Running: c.Running.Slot},
	}
	return u, nil
}

// bootID names the run of the machine; "" where that is not known.
func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

func buildHash() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	sum := sha256.Sum256([]byte(info.String()))
	return hex.EncodeToString(sum[:8])
}

// askedAs is what an answer depends on; another one makes it void.
func (u *Updater) askedAs() string {
	b, err := json.Marshal([]any{u.p.Scope, u.p.Channel, u.p.Pins, u.p.Service, u.c.Running.Slot, u.build})
	if err != nil {
		return ""
	}
	return string(b)
}

func (u *Updater) now() time.Time { return u.c.Now().Round(0) }

// wake makes Run look again at what is to be done.
func (u *Updater) wake() {
	select {
	case u.woken <- struct{}{}:
	default:
	}
}

// Run does all the work until ctx is done, which means that the process ends in
// order, or that its last configuration with updates is gone. It must have
// returned before the process ends: else, while a candidate is watched, the next
// start takes it for a crash. It is called once.
func (u *Updater) Run(ctx context.Context) {
	defer u.leave()
	for ctx.Err() == nil {
		wait := u.turn(ctx)
		u.publish()
		t := time.NewTimer(min(max(wait, 0), wakeUp))
		select {
		case <-ctx.Done():
		case <-t.C:
		case <-u.woken:
		}
		t.Stop()
	}
}

// leave writes down that the process ended in order, if that matters, and lets
// go of the folder.
func (u *Updater) leave() {
	defer u.recovered("ending")
	u.mu.Lock()
	u.over = true
	for _, r := range u.requests {
		r.reply <- errNotRunning
	}
	u.requests = nil
	u.mu.Unlock()
	if u.unlock != nil {
		if u.j.State == Watching {
			u.note(func(j *journal) { j.Clean = true })
		}
		u.hold() // what is under way when a process ends otherwise may be why
		u.unlock()
		u.unlock = nil
	}
}

func (u *Updater) recovered(what string) bool {
	r := recover()
	if r == nil {
		return false
	}
	u.c.Log.Error("a fault in the updater, please report it; Caddy goes on", zap.String("step", what), zap.Any("panic", r), zap.ByteString("stack", debug.Stack()))
	return true
}

// turn does what is to be done now, and returns for how long there is nothing.
func (u *Updater) turn(ctx context.Context) (wait time.Duration) {
	wait = wakeUp
	defer u.recovered("update")
	u.waiting = ""
	u.mu.Lock()
	u.p, u.changed = u.policy, false
	u.mu.Unlock()
	off := u.p.off() != ""
	if u.unlock == nil && (!off || u.unfinished()) && until(u.now(), u.nextLock, 2*time.Minute) == 0 {
		u.enter()
	}
	if u.dirty {
		u.note(func(*journal) {}) // try to write it again
	}
	if u.unlock != nil && (u.j.State == Switching || u.j.State == Watching) {
		u.settle()
		return u.drive(ctx)
	}
	if off {
		u.stop()
		return wait
	}
	if u.problem != "" || u.dirty {
		wait = time.Minute
	}
	u.settle()
	if u.j.AskedAs != "" && u.j.AskedAs != u.askedAs() {
		u.note(func(j *journal) { j.NextCheck, j.AskedAs = time.Time{}, "" })
	}
	u.readPaused()
	if r := u.request(); r != nil {
		if r.rollback {
			r.reply <- u.rollBack()
			return 0
		}
		u.serve(ctx, r)
	}
	wait = min(wait, u.checkIfDue(ctx))
	if ctx.Err() != nil {
		return 0
	}
	return min(wait, u.advance(ctx))
}

// unfinished tells whether the journal of an updater that is off has a candidate
// that already serves.
func (u *Updater) unfinished() bool {
	j, err := readJournal(u.c.Dir)
	return err == nil && (j.State == Switching || j.State == Watching)
}

// enter takes the folder and reads where its updates are.
func (u *Updater) enter() {
	u.nextLock = u.now().Add(time.Minute)
	unlock, err := u.slots.Lock()
	if err == nil {
		if err = u.load(); err != nil {
			unlock()
		}
	}
	if err != nil {
		u.problem = err.Error()
		switch {
		case !u.say.news("lock", u.problem):
		case errors.Is(err, slots.ErrLocked):
			u.c.Log.Info("another Caddy with this data directory does the updates; this one only tells of them", zap.String("dir", u.c.Dir), zap.Error(err))
		default:
			u.c.Log.Warn("nothing about updates can be kept, so that this Caddy only tells of them: let its user write to the folder, or set Caddy's data directory", zap.String("dir", u.c.Dir), zap.Error(err))
		}
		return
	}
	u.problem, u.unlock = "", unlock
	u.say.over("lock")
	u.resume()
}

// stop is what there is to do while updates are off: nothing is left under way.
func (u *Updater) stop() {
	for r := u.request(); r != nil; r = u.request() {
		r.reply <- fmt.Errorf("updates are off: %s", u.p.off())
	}
	if u.unlock == nil {
		return
	}
	u.settle()
	u.drop()
	u.unlock()
	u.unlock = nil
	u.j = journal{Version: journalVersion, State: Idle}
	u.nextLock = time.Time{}
}

// drop forgets the attempt, and the slot of one that never served.
func (u *Updater) drop() {
	a := u.j.Attempt
	if u.j.State != Idle {
		u.is(Idle, func(j *journal) { j.Attempt = nil })
	}
	if a == nil || a.Try == 0 || u.unlock == nil {
		return
	}
	u.clean()
	if u.c.Actions.Discard != nil {
		u.c.Actions.Discard(a.Target)
	}
}

// clean removes the executables that nobody needs any more.
func (u *Updater) clean() {
	keep := []string{u.c.Running.Slot}
	if a := u.j.Attempt; a != nil && u.j.quarantined(a.Slot) == nil {
		keep = append(keep, a.Slot, a.From)
	}
	if err := u.slots.Prune(keep...); err != nil {
		u.warn("prune", "old executables are not removed", err)
	}
}

func (u *Updater) readPaused() {
	p, err := ReadPaused(u.c.Dir)
	if err != nil {
		// Whoever made it unreadable may have meant to pause.
		p = &Paused{Who: err.Error()}
	}
	u.paused = p
}

// request takes the next one.
func (u *Updater) request() *request {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.requests) == 0 {
		return nil
	}
	r := u.requests[0]
	u.requests = u.requests[1:]
	return r
}

// requested looks at the next one.
func (u *Updater) requested() *request {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.requests) == 0 {
		return nil
	}
	return u.requests[0]
}

// during does f while watching for what makes it pointless: then f's context is
// canceled, and the error is errUnwanted. A panic of f is an error.
func (u *Updater) during(ctx context.Context, unwanted func() bool, f func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done := make(chan error, 1)
	go func() { done <- guarded(ctx, f) }()
	look := time.NewTicker(time.Second)
	defer look.Stop()
	defer u.wake() // what was noticed here is looked at again afterwards
	for {
		select {
		case err := <-done:
			if errors.Is(context.Cause(ctx), errUnwanted) {
				return errUnwanted
			}
			return err
		case c := <-u.commits:
			c <- u.committing()
			continue
		case <-u.woken:
		case <-look.C:
		}
		if unwanted() {
			cancel(errUnwanted)
		}
	}
}

// errUnwanted is why a step was given up that was no longer wanted.
var errUnwanted = errors.New("it is no longer wanted")

func guarded(ctx context.Context, f func(context.Context) error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("a fault in the updater, please report it: %v\n%s", r, debug.Stack())
		}
	}()
	return f(ctx)
}

// SetPolicy takes effect at once, also in the middle of a download or rehearsal.
// A candidate that already serves is watched to the end whatever the policy.
func (u *Updater) SetPolicy(p Policy) {
	u.mu.Lock()
	if !reflect.DeepEqual(u.policy, p) {
		u.changed = u.changed || !u.policy.asksAs(p)
		u.policy = p
	}
	u.mu.Unlock()
	u.wake()
}

// asksAs tells whether both have the same answer and make the same of it.
func (p Policy) asksAs(q Policy) bool {
	p.Window, q.Window, p.Every, q.Every = nil, nil, 0, 0
	return reflect.DeepEqual(p, q)
}

// off is why there is nothing to do at all; "" if there may be.
func (p Policy) off() string {
	if p.Off == "" && p.Scope == wire.ScopeNone {
		return "updates are set to none"
	}
	return p.Off
}

// policyChanged tells whether what is being done was begun under another policy.
func (u *Updater) policyChanged() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.changed
}

var errNotRunning = errors.New("updates are not running in this process")

// ask hands a person's request to Run.
func (u *Updater) ask(ctx context.Context, r *request) error {
	r.reply = make(chan error, 1)
	u.mu.Lock()
	if u.over {
		u.mu.Unlock()
		return errNotRunning
	}
	u.requests = append(u.requests, r)
	u.mu.Unlock()
	u.wake()
	select {
	case err := <-r.reply:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Apply installs what the service has for this build, whatever the policy but
// off, at once and without a window; also what failed here before. A version
// ("v2.11.9") that is not "" must be what is offered, in whatever scope; else it
// is what is offered in the policy's. It returns when the attempt has begun, or
// is being built for, or with the reason why not.
func (u *Updater) Apply(ctx context.Context, version string) error {
	return u.ask(ctx, &request{version: version})
}

// Rollback goes back to what ran before, and puts what runs now in quarantine.
// It returns when that has begun, or with the reason why not.
func (u *Updater) Rollback(ctx context.Context) error {
	return u.ask(ctx, &request{rollback: true})
}

// warn logs what is news.
func (u *Updater) warn(kind, text string, err error) {
	if u.say.news(kind, text+err.Error()) {
		u.c.Log.Warn(text, zap.Error(err))
	}
}
