package updater

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-evergreen/evergreen/slots"
	"github.com/caddy-evergreen/evergreen/wire"
)

// A world is a server with a data directory: its processes come and go, its
// Updater and slots are real, and what the Updater acts through is scripted.
// All of it happens in a synctest bubble, so that days take no time.
type world struct {
	t       *testing.T
	dir     string
	policy  Policy
	free    func(string) (int64, error)
	boot    string
	offset  time.Duration // of the wall clock
	refused error
	edit    func(*Actions)     // last, on the actions of each process
	fault   func(string) error // of the disk, by operation
	ending  atomic.Bool

	mu       sync.Mutex
	answer   wire.Answer
	askErr   error
	asked    []wire.Check
	told     []Notice
	outcomes []Outcome
	states   []State
	logs     *observer.ObservedLogs
	log      *zap.Logger
	p        *proc
}

// A proc is a process of the server.
type proc struct {
	w    *world
	u    *Updater
	slot string
	stop context.CancelFunc
	done chan struct{}
	dead atomic.Bool // killed: nothing reaches the disk any more
}

const (
	gib        = int64(1) << 30
	selfPlugin = "example.com/plugin"
)

func build(caddy, plugin string) wire.BuildList {
	b := wire.BuildList{Go: "go1.26.3", Modules: []wire.ModuleVersion{
		{Path: wire.CaddyPath, Version: caddy}, {Path: "golang.org/x/net", Version: "v0.50.0"}, {Path: selfPlugin, Version: plugin, Plugin: true},
	}}
	b.Sort()
	return b
}

// content is what a candidate's file has; versions can be told apart by it.
func content(version string) []byte { return []byte("the executable of " + version) }

func idOf(version string) string {
	sum := sha256.Sum256(content(version))
	return hex.EncodeToString(sum[:])
}

// offer is an answer with an update.
func offer(from, to string, s wire.Severity) wire.Answer {
	return wire.Answer{
		NeedsUpdate: true,
		Plan: &wire.Plan{
			Changes: []wire.Change{{Path: wire.CaddyPath, From: from, To: to, Kind: wire.ChangeCaddy, Reasons: []wire.Reason{
				{Kind: "release", ID: to, Severity: s, Summary: "Fixes much", Link: "https://example.com/" + to},
				{Kind: "advisory", ID: "GO-2026-0001", Severity: s, Summary: "A hole"},
			}}},
			Build: build(to, "v1.0.0"), Severity: s,
		},
		Target: &wire.Target{
			Name: "caddy-" + to, SHA256: idOf(to), Size: int64(len(content(to))),
			Files: []wire.TargetFile{{Name: "delta", Method: "bsdiff", Size: 10}},
		},
	}
}

// inWorld runs f in a world where v2.11.3 is installed and v2.11.9 is offered.
func inWorld(t *testing.T, f func(t *testing.T, w *world)) {
	t.Helper()
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.InfoLevel)
		w := &world{
			t: t, dir: dir + "/updates", boot: "1", logs: logs, log: zap.New(core),
			policy: Policy{Scope: wire.ScopeAll, Channel: wire.ChannelStable, Service: "https://updates.example"},
			free:   func(string) (int64, error) { return gib, nil },
			answer: offer("v2.11.3", "v2.11.9", wire.SeverityCritical),
		}
		defer func() {
			if w.p != nil {
				w.p.end()
			}
			for _, e := range logs.FilterMessageSnippet("a fault in the updater").All() {
				t.Errorf("%s: %v", e.Message, e.ContextMap())
			}
		}()
		f(t, w)
	})
}

// start starts a process, as boot would: with the active slot.
func (w *world) start() *proc {
	w.t.Helper()
	d := slots.Open(w.dir)
	slot := ""
	if s, ok, err := d.Active(); err == nil && ok && w.refused == nil {
		if _, err := d.TakeTry(s.ID); err == nil {
			slot = s.ID
		}
	}
	return w.become(slot)
}

// become starts a process that runs a slot.
func (w *world) become(slot string) *proc {
	w.t.Helper()
	p := &proc{w: w, slot: slot, done: make(chan struct{})}
	self, err := os.Executable()
	if err != nil {
		w.t.Fatal(err)
	}
	u, err := New(Config{
		Dir: w.dir, Running: Running{Slot: slot, Installed: self, Refused: w.refused}, Policy: w.policy, Log: w.log,
		Now: func() time.Time { return time.Now().Add(w.offset) }, Random: func() float64 { return 0.5 },
		Actions: w.actions(p),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	u.boot, u.free = w.boot, w.free
	u.disk = &testDisk{osDisk{}, p}
	u.written = func(j journal) {
		w.mu.Lock()
		defer w.mu.Unlock()
		if n := len(w.states); n == 0 || w.states[n-1] != j.State {
			w.states = append(w.states, j.State)
		}
	}
	p.u = u
	ctx, cancel := context.WithCancel(context.Background())
	p.stop = cancel
	w.mu.Lock()
	w.p = p
	w.mu.Unlock()
	go func() {
		defer close(p.done)
		u.Run(ctx)
	}()
	return p
}

// end ends a process in order, kill without notice.
func (p *proc) end() { p.stop(); <-p.done }
func (p *proc) kill() {
	p.dead.Store(true)
	p.end()
}

// now is the process that runs.
func (w *world) now() *proc {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.p
}

// running is the version that runs.
func (w *world) running() string {
	w.t.Helper()
	slot := w.now().slot
	if slot == "" {
		return "v2.11.3"
	}
	s, err := slots.Open(w.dir).Get(slot)
	if err != nil {
		w.t.Fatal(err)
	}
	return s.Caddy
}

func (w *world) actions(p *proc) Actions {
	a := Actions{
		Self: func() (wire.Check, error) {
			return wire.Check{Build: build(w.running(), "v1.0.0"), System: wire.System{OS: "linux", Arch: "amd64", Kernel: "6.1"}}, nil
		},
		Ask: func(_ context.Context, c wire.Check) (wire.Answer, time.Duration, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.asked = append(w.asked, c)
			if w.askErr != nil {
				return wire.Answer{}, 0, w.askErr
			}
			if w.answer.Plan != nil && c.Build.Version(wire.CaddyPath) == w.answer.Plan.Build.Version(wire.CaddyPath) {
				return wire.Answer{}, 0, nil
			}
			return w.answer, 0, nil
		},
		Vouched: func(context.Context, wire.Target) (wire.TargetCustom, error) {
			return wire.TargetCustom{Kind: wire.TargetExecutable, System: &wire.System{OS: "linux", Arch: "amd64"}}, nil
		},
		Fetch: func(_ context.Context, t wire.Target, file string) (Fetched, error) {
			b := content(t.Name[len("caddy-"):])
			if err := os.WriteFile(file, b, 0o600); err != nil {
				return Fetched{}, err
			}
			return Fetched{Metadata: map[string][]byte{"root.json": []byte("{}")}, Bytes: int64(len(b)), Method: "bsdiff"}, nil
		},
		Inspect: func(file string) (wire.BuildList, error) {
			b, err := os.ReadFile(file)
			if err != nil {
				return wire.BuildList{}, err
			}
			return build(string(b[len("the executable of "):]), "v1.0.0"), nil
		},
		Rehearse: func(context.Context, Candidate) (string, error) { return "", nil },
		Switch: func(ctx context.Context, to Destination, commit func() error) error {
			if err := commit(); err != nil {
				return err
			}
			// This process is gone, and the next one is there.
			go func() { p.kill(); w.become(to.Slot) }()
			<-ctx.Done()
			return ctx.Err()
		},
		Up: func(context.Context) error { return nil },
		Watch: func(ctx context.Context, _ Candidate) (string, error) {
			select {
			case <-time.After(10 * time.Minute):
				return "", nil
			case <-ctx.Done():
				return "", ctx.Err()
			}
		},
		Ending:  w.ending.Load,
		Tell:    func(n Notice) { w.mu.Lock(); w.told = append(w.told, n); w.mu.Unlock() },
		Outcome: func(o Outcome) { w.mu.Lock(); w.outcomes = append(w.outcomes, o); w.mu.Unlock() },
	}
	if w.edit != nil {
		w.edit(&a)
	}
	return a
}

// reach lets time go by until the running process is in a state.
func (w *world) reach(s State) {
	w.t.Helper()
	w.until(fmt.Sprintf("it is %s", s), func() bool { return w.now().u.Status().State == s })
}

// until lets time go by, at most two weeks.
func (w *world) until(what string, cond func() bool) {
	w.t.Helper()
	step := time.Second / 2
	for began := time.Now(); time.Since(began) < 14*24*time.Hour; time.Sleep(step) {
		synctest.Wait()
		if cond() {
			return
		}
		if time.Since(began) > 15*time.Minute {
			step = 20 * time.Second
		}
	}
	w.t.Fatalf("it never happens that %s: %+v", what, w.now().u.Status())
}

// pass lets time go by.
func (w *world) pass(d time.Duration) { time.Sleep(d); synctest.Wait() }

// setAnswer changes what the service says.
func (w *world) setAnswer(a wire.Answer, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answer, w.askErr = a, err
}

// What happened up to now.
func (w *world) checks() []wire.Check { return seen(w, &w.asked) }
func (w *world) notices() []Notice    { return seen(w, &w.told) }
func (w *world) ends() []Outcome      { return seen(w, &w.outcomes) }
func (w *world) went() []State        { return seen(w, &w.states) }

func seen[T any](w *world, s *[]T) []T {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(*s)
}

func (w *world) warnings() (n int) {
	return w.logs.Filter(func(e observer.LoggedEntry) bool { return e.Level >= zap.WarnLevel }).Len()
}

type testDisk struct {
	disk
	p *proc
}

var errDead = errors.New("this process is gone")

func (d *testDisk) err(op string) error {
	if d.p.dead.Load() {
		return errDead
	}
	if f := d.p.w.fault; f != nil {
		return f(op)
	}
	return nil
}

func (d *testDisk) create(name string) (file, error) {
	if err := d.err("create"); err != nil {
		return nil, err
	}
	f, err := d.disk.create(name)
	return testFile{f, d}, err
}

func (d *testDisk) rename(from, to string) error {
	if err := d.err("rename"); err != nil {
		return err
	}
	return d.disk.rename(from, to)
}

func (d *testDisk) syncDir(name string) error {
	if err := d.err("syncdir"); err != nil {
		return err
	}
	return d.disk.syncDir(name)
}

type testFile struct {
	file
	d *testDisk
}

func (f testFile) Write(b []byte) (int, error) {
	if err := f.d.err("write"); err != nil {
		n, _ := f.file.Write(b[:len(b)/2])
		return n, err
	}
	return f.file.Write(b)
}

func (f testFile) Sync() error {
	if err := f.d.err("sync"); err != nil {
		return err
	}
	return f.file.Sync()
}
