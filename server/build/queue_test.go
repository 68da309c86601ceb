package build

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-evergreen/evergreen/server/artifact"
	"github.com/caddy-evergreen/evergreen/server/control"
	"github.com/caddy-evergreen/evergreen/wire"
)

type fixture struct {
	*Queue
	m   *Maker
	now time.Time
	mu  sync.Mutex
}

func (f *fixture) clock() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now
}

func (f *fixture) pass(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now = f.now.Add(d)
}

func newFixture(t *testing.T, change func(*QueueConfig)) *fixture {
	t.Helper()
	dir := t.TempDir()
	db, err := control.Open(t.Context(), "sqlite:"+filepath.Join(dir, "control.sqlite"))
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{m: fakeMaker(t, nil), now: time.Now()}
	cfg := QueueConfig{
		Maker: f.m, DB: db, Folder: filepath.Join(dir, "executables"), Workers: 1, Logger: slog.New(slog.DiscardHandler),
		Registerer: prometheus.NewRegistry(), Now: f.clock,
	}
	if change != nil {
		change(&cfg)
	}
	if f.Queue, err = NewQueue(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(f.Close(), db.Close()); err != nil {
			t.Error(err)
		}
	})
	return f
}

// start runs the queue until the test ends, or stop is called.
func (f *fixture) start(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func (f *fixture) ask(t *testing.T, s artifact.Spec, p Priority) wire.BuildProgress {
	t.Helper()
	got, err := f.Ask(t.Context(), s, p)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func (f *fixture) state(t *testing.T, id string) string {
	t.Helper()
	p, err := f.Progress(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return p.State
}

// publisher notes what is published, and blocks while it is told to.
type publisher struct {
	mu    sync.Mutex
	ids   []string
	block chan struct{}
	began chan string
}

func (p *publisher) Publish(ctx context.Context, b artifact.Build, exe string) error {
	if _, err := os.Stat(exe); err != nil {
		return err
	}
	p.mu.Lock()
	p.ids = append(p.ids, b.Spec.ID())
	p.mu.Unlock()
	if p.began != nil {
		p.began <- b.Spec.ID()
	}
	if p.block != nil {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-p.block:
		}
	}
	return nil
}

// However many ask, a spec is built once, and all get it.
func TestOneBuildForAll(t *testing.T) {
	p := &publisher{}
	f := newFixture(t, func(c *QueueConfig) { c.Publish = p; c.Workers = 2 })
	f.start(t)
	spec := fakeSpec(f.m, "good")
	sums := make([]string, 20)
	var all sync.WaitGroup
	for i := range sums {
		all.Go(func() {
			got, err := f.Ask(t.Context(), spec, PriorityDownload)
			if err != nil {
				t.Error(err)
				return
			}
			b, err := f.Wait(t.Context(), got.ID)
			if err != nil {
				t.Error(err)
				return
			}
			sums[i] = b.SHA256
		})
	}
	all.Wait()
	for _, s := range sums {
		if s == "" || s != sums[0] {
			t.Fatalf("several executables: %q", sums)
		}
	}
	if len(p.ids) != 1 {
		t.Errorf("%d were published", len(p.ids))
	}
	b, file, err := f.Open(t.Context(), spec.ID())
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil || info.Size() != b.Size {
		t.Errorf("size %d, want %d (%v)", info.Size(), b.Size, err)
	}
	c, err := f.Counts(t.Context(), f.clock().Add(-time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(Counts{BuiltOut: 1}, c); d != "" {
		t.Error(d)
	}
}

func TestHandedByDay(t *testing.T) {
	f := newFixture(t, nil)
	with, without := fakeSpec(f.m), fakeSpec(f.m)
	with.Evergreen, without.Evergreen = "v1.0.0", ""
	hand := func(s artifact.Spec) {
		if err := f.Handed(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	today := f.clock().UTC().Truncate(24 * time.Hour)
	hand(with)
	hand(with)
	hand(without)
	f.pass(48 * time.Hour)
	hand(without)
	for since, want := range map[time.Time][]HandedDay{
		today:                         {{today, 2, 1}, {today.Add(48 * time.Hour), 0, 1}},
		today.Add(24 * time.Hour):     {{today.Add(48 * time.Hour), 0, 1}},
		today.Add(3 * 24 * time.Hour): nil,
	} {
		got, err := f.HandedByDay(t.Context(), since)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("since %s: %s", since, d)
		}
	}
}

func TestPriorities(t *testing.T) {
	p := &publisher{}
	f := newFixture(t, func(c *QueueConfig) { c.Publish = p })
	var want []string
	for i, c := range []struct {
		p  Priority
		at int // its place
	}{{PriorityPrewarm, 4}, {PriorityUpdate, 3}, {PriorityPrewarm, 1}, {PriorityDownload, 2}, {PriorityOf(wire.SeverityCritical), 0}} {
		s := fakeSpec(f.m)
		s.Service = fmt.Sprintf("https://%d.example", i)
		f.ask(t, s, c.p)
		f.pass(time.Second)
		want = append(want, s.ID())
		if i == 2 {
			// Somebody waits for it after all.
			f.ask(t, s, PriorityDownload)
		}
	}
	want = []string{want[4], want[2], want[3], want[1], want[0]}
	for i, id := range want {
		got, err := f.Progress(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(wire.BuildProgress{ID: id, State: "queued", Ahead: i}, got); d != "" {
			t.Error(d)
		}
	}
	f.start(t)
	for _, id := range want {
		if _, err := f.Wait(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	if d := cmp.Diff(want, p.ids); d != "" {
		t.Error(d)
	}
}

// A failure is told in the compiler's words, and not tried again until it is
// forgotten.
func TestFailureIsRemembered(t *testing.T) {
	f := newFixture(t, nil)
	f.start(t)
	spec := fakeSpec(f.m, "broken")
	id := f.ask(t, spec, PriorityDownload).ID
	_, err := f.Wait(t.Context(), id)
	var failure *Failure
	if !errors.As(err, &failure) || !strings.Contains(failure.Words, "undefined: undefinedFunction") {
		t.Fatal(err)
	}
	if got := f.ask(t, spec, PrioritySecurity); got.State != "failed" || !strings.Contains(got.Error, "undefinedFunction") {
		t.Errorf("asked again: %+v", got)
	}
	f.pass(25 * time.Hour)
	if got := f.ask(t, spec, PriorityDownload); got.State != "queued" {
		t.Errorf("asked a day later: %+v", got)
	}
	if _, err := f.Wait(t.Context(), id); err == nil {
		t.Error("it was built")
	}
	if err := f.Retry(t.Context(), id); err != nil {
		t.Error(err)
	}
}

func TestCancel(t *testing.T) {
	p := &publisher{block: make(chan struct{}), began: make(chan string, 1)}
	f := newFixture(t, func(c *QueueConfig) { c.Publish = p })
	waiting, being := fakeSpec(f.m), fakeSpec(f.m, "good")
	f.ask(t, waiting, PriorityUpdate)
	if err := f.Queue.Cancel(t.Context(), waiting.ID()); err != nil {
		t.Fatal(err)
	}
	f.start(t)
	f.ask(t, being, PriorityUpdate)
	<-p.began
	if got := f.state(t, being.ID()); got != "signing" {
		t.Errorf("it is %s", got)
	}
	if err := f.Queue.Cancel(t.Context(), being.ID()); err != nil {
		t.Fatal(err)
	}
	for _, s := range []artifact.Spec{waiting, being} {
		if got := f.state(t, s.ID()); got != "cancelled" {
			t.Errorf("it is %s", got)
		}
	}
	if _, _, err := f.Open(t.Context(), being.ID()); !errors.Is(err, ErrNotBuilt) {
		t.Error(err)
	}
	if err := f.Queue.Cancel(t.Context(), "none"); !errors.Is(err, ErrNoBuild) {
		t.Error(err)
	}
	close(p.block)
	// Whoever asks again gets it; what was made is made no second time.
	f.ask(t, being, PriorityUpdate)
	if _, err := f.Wait(t.Context(), being.ID()); err != nil {
		t.Error(err)
	}
}

// A server that stops puts its builds back; the next one goes on with them.
func TestStopAndGoOn(t *testing.T) {
	p := &publisher{block: make(chan struct{}), began: make(chan string, 2)}
	f := newFixture(t, func(c *QueueConfig) { c.Publish = p })
	stop := f.start(t)
	id := f.ask(t, fakeSpec(f.m), PriorityUpdate).ID
	<-p.began
	stop()
	if got := f.state(t, id); got != "queued" {
		t.Errorf("it is %s", got)
	}
	close(p.block)
	f.start(t)
	if _, err := f.Wait(t.Context(), id); err != nil {
		t.Error(err)
	}
}

type pins []string

func (p pins) Pinned(context.Context) (func(artifact.Spec) bool, error) {
	return func(s artifact.Spec) bool { return s.ID() == p[0] }, nil
}

func TestEviction(t *testing.T) {
	var specs []artifact.Spec
	pinned := pins{""}
	f := newFixture(t, func(c *QueueConfig) { c.MaxBytes = 1; c.Pins = pinned })
	f.start(t)
	for i := range 4 {
		s := fakeSpec(f.m)
		s.Service = fmt.Sprintf("https://%d.example", i)
		specs = append(specs, s)
		if i == 1 {
			pinned[0] = s.ID()
		}
		f.ask(t, s, PriorityUpdate)
		if _, err := f.Wait(t.Context(), s.ID()); err != nil {
			t.Fatal(err)
		}
		f.pass(10 * time.Minute)
	}
	if err := f.evict(t.Context()); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range specs {
		got = append(got, f.state(t, s.ID()))
		if f.has(s.ID()) != (got[len(got)-1] == "done") {
			t.Errorf("%s, but its file is %v", got[len(got)-1], f.has(s.ID()))
		}
	}
	if d := cmp.Diff([]string{"evicted", "done", "evicted", "evicted"}, got); d != "" {
		t.Error(d)
	}
	// What is asked for again is built again, to the same bytes.
	f.ask(t, specs[0], PriorityUpdate)
	if _, err := f.Wait(t.Context(), specs[0].ID()); err != nil {
		t.Error(err)
	}
}

// A file that is lost, or that another server has, is made again.
func TestRestore(t *testing.T) {
	f := newFixture(t, nil)
	f.start(t)
	spec := fakeSpec(f.m, "good")
	id := f.ask(t, spec, PriorityUpdate).ID
	b, err := f.Wait(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(f.folder(id)); err != nil {
		t.Fatal(err)
	}
	if got := f.ask(t, spec, PriorityUpdate); got.State != "done" {
		t.Errorf("asked again: %+v", got)
	}
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			got, file, err := f.Open(t.Context(), id)
			if err != nil {
				t.Error(err)
				return
			}
			defer file.Close()
			if sum, err := hashFile(file.Name()); err != nil || sum != b.SHA256 || got.SHA256 != b.SHA256 {
				t.Errorf("SHA-256 %s, want %s (%v)", sum, b.SHA256, err)
			}
		})
	}
	all.Wait()
}

func TestFull(t *testing.T) {
	f := newFixture(t, func(c *QueueConfig) { c.MaxQueued = 1 })
	f.ask(t, fakeSpec(f.m), PriorityUpdate)
	if _, err := f.Ask(t.Context(), fakeSpec(f.m, "good"), PriorityUpdate); !errors.Is(err, ErrFull) {
		t.Error(err)
	}
	if err := f.Prewarm(t.Context(), []artifact.Spec{fakeSpec(f.m, "good")}); err != nil {
		t.Error(err)
	}
	f.cfg.Registered = func(path string) bool { return path == "plugin.example/library" }
	if _, err := f.Ask(t.Context(), fakeSpec(f.m, "good"), PriorityUpdate); !errors.Is(err, ErrNotRegistered) || !errors.Is(err, ErrSpec) {
		t.Error(err)
	}
	if _, err := f.Ask(t.Context(), artifact.Spec{}, PriorityUpdate); !errors.Is(err, ErrSpec) {
		t.Error(err)
	}
}

// A folder is one queue's.
func TestFolderIsTaken(t *testing.T) {
	f := newFixture(t, nil)
	if _, err := NewQueue(t.Context(), f.cfg); err == nil {
		t.Error("two queues have one folder")
	}
}

// Every state and every change of it is in the table, and no other.
func TestStates(t *testing.T) {
	all := []state{queued, resolving, compiling, linking, signing, done, failed, cancelled, evicted}
	var known []state
	for s, to := range next {
		known = append(known, s)
		for _, n := range to {
			if _, ok := next[n]; !ok {
				t.Errorf("%s leads to %s, which leads nowhere", s, n)
			}
		}
	}
	if d := cmp.Diff(all, known, cmpopts.SortSlices(func(a, b state) bool { return a < b })); d != "" {
		t.Error(d)
	}
	for _, s := range all {
		for _, to := range all {
			switch {
			case s.working() && (!s.may(failed) || !s.may(queued) || !s.may(cancelled)):
				t.Errorf("%s can't end", s)
			case s.final() && s.may(to) && to != queued && to != evicted:
				t.Errorf("%s is final, but becomes %s", s, to)
			case s.may(to) && s == to:
				t.Errorf("%s becomes itself", s)
			}
		}
	}
}
