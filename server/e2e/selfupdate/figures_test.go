//go:build e2e && bench && linux

package selfupdate

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddy-evergreen/evergreen/server/testbed"
	"github.com/caddy-evergreen/evergreen/updater"
)

// The figures of docs/benchmarks.md, section "Caddy updates itself": `make bench`
// runs these with the build tag bench. They compare what runs side by side or
// one after the other in the same run, and hold nothing to a bound.

var shortLoads = []string{testbed.LoadNew, testbed.LoadNewTLS, testbed.LoadKeepAlive, testbed.LoadPost, testbed.LoadH2, testbed.LoadH2Post, testbed.LoadH3}

// calm is how long loads run before and after what is measured.
const calm = 10 * time.Second

// TestFiguresIdle compares Caddys that nobody asks anything: with updates off, told of, and
// installed, all with telemetry off.
func TestFiguresIdle(t *testing.T) {
	s := theUpdates(t)
	const rounds, each = 3, 30 * time.Second
	kinds := []string{"updates none", "updates critical notify", "updates critical install"}
	var caddys []*testbed.Caddy
	for _, k := range kinds {
		if k != kinds[0] {
			k += " {\n\t\tpin toolchain " + runtime.Version() + "\n\t}"
		}
		// There is no update for this one.
		caddys = append(caddys, loaded(t, testbed.Launch{}, s.after(t).copied(t), []string{"\t" + k}, "EVERGREEN_TELEMETRY=off"))
	}
	time.Sleep(calm) // the first check is over
	for range rounds {
		before := make([]time.Duration, len(caddys))
		for i, c := range caddys {
			before[i], _ = used(t, c.PID())
		}
		time.Sleep(each)
		for i, c := range caddys {
			cpu, resident := used(t, c.PID())
			t.Logf("%-20s %4d ms of processor time in %s, %.1f MiB resident", kinds[i], (cpu - before[i]).Milliseconds(), each, float64(resident)/(1<<20))
		}
	}
}

// used is the processor time of a process so far, and what it has in memory.
func used(t *testing.T, pid int) (cpu time.Duration, resident int64) {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	f := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	user, _ := strconv.ParseInt(f[11], 10, 64)
	system, _ := strconv.ParseInt(f[12], 10, 64)
	pages, _ := strconv.ParseInt(f[21], 10, 64)
	const ticks = 100 // a second, for all of Linux's programs
	return time.Duration(user+system) * time.Second / ticks, pages * int64(os.Getpagesize())
}

// TestFiguresSwitch measures whole updates, and what requests notice of a
// switch, of a plain restart and of `systemctl restart`.
func TestFiguresSwitch(t *testing.T) {
	s := theUpdates(t)
	cfg := testbed.LoadConfig{Kinds: shortLoads, Workers: 2, Pause: 20 * time.Millisecond}

	c := loaded(t, testbed.Launch{}, s.oldWithPlugins(t), append([]string{"\tgrace_period 5s"}, installs...))
	load := send(t, c, cfg)
	time.Sleep(calm)
	for i := range 3 {
		before, began := load.Results(), time.Now()
		do(t, c, "apply")
		o := ended(t, c, began)
		if o.State != updater.Healthy {
			t.Fatalf("the update ended as %s: %s", o.State, o.Why)
		}
		t.Logf("update %d: %s in all but watching, of which %s; %d bytes by %q of an executable of %d", i+1,
			(o.Ended.Sub(o.Began) - seconds1(o.Seconds[updater.Watching])).Round(10*time.Millisecond), seconds(o), o.Bytes, o.Method, sizeOf(t, c))
		from := o.Ended.Add(-seconds1(o.Seconds[updater.Watching] + o.Seconds[updater.Switching]))
		noticed(t, "switch to the update", before, load.Results(), from, o.Ended.Add(-seconds1(o.Seconds[updater.Watching])))

		before, began = load.Results(), time.Now()
		do(t, c, "rollback")
		o = ended(t, c, began)
		if o.State != updater.RolledBack {
			t.Fatalf("the way back ended as %s: %s", o.State, o.Why)
		}
		noticed(t, "switch back", before, load.Results(), o.Ended.Add(-seconds1(o.Seconds[updater.Switching])), o.Ended)
		time.Sleep(calm / 2)
	}
	before, at := load.Results(), time.Now()
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	until := time.Now()
	time.Sleep(calm / 2)
	noticed(t, "stop and start", before, load.Stop(), at, until)

	c = loaded(t, bySystemd(), s.oldWithPlugins(t), []string{"\tupdates none", "\tgrace_period 5s"})
	load = send(t, c, cfg)
	time.Sleep(calm)
	before, at = load.Results(), time.Now()
	systemctl(t, c, "restart", "caddy")
	until = time.Now()
	time.Sleep(calm / 2)
	noticed(t, "systemctl restart", before, load.Stop(), at, until)
}

func seconds1(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// noticed logs what requests noticed of what went on between two times, beside the
// time before and after it.
func noticed(t *testing.T, what string, before, all testbed.Results, from, until time.Time) {
	t.Helper()
	t.Logf("%s, which took %s:", what, until.Sub(from).Round(10*time.Millisecond))
	for _, r := range all {
		t.Logf("  %-11s p99 %8s meanwhile, %8s in the %s before; %d failed, longest stall so far %s", r.Kind,
			r.Quantile(0.99, from, until).Round(100*time.Microsecond), r.Quantile(0.99, from.Add(-calm), from).Round(100*time.Microsecond), calm, r.Failed-before.Of(r.Kind).Failed, r.Stall.Round(time.Millisecond))
		if known := before.Of(r.Kind).Failures; len(r.Failures) > len(known) {
			f := r.Failures[len(known)]
			t.Logf("    the first at %+.3f s: %v", f.At.Sub(from).Seconds(), f.Err)
		}
	}
}

func sizeOf(t *testing.T, c *testbed.Caddy) int64 {
	t.Helper()
	slot, err := runs(c)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(slotsOf(c).Executable(slot))
	if err != nil {
		t.Fatal(filepath.Base(slot), err)
	}
	return info.Size()
}

// TestFiguresInit has Go's runtime tell how long the packages of ours that do
// something when a process starts take for it, in `caddy run` without a slot; and
// compares how long such a process lives, which finds no configuration, with one whose
// active slot it becomes first.
func TestFiguresInit(t *testing.T) {
	s := theUpdates(t)
	exe := s.oldWithPlugins(t)
	c := loaded(t, testbed.Launch{}, exe, installs)
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	times := map[string][]float64{}
	life := func() float64 {
		cmd := exec.CommandContext(t.Context(), exe, "run", "--config", filepath.Join(c.Dir, "there-is-none.json"))
		cmd.Env = append(os.Environ(), "GODEBUG=inittrace=1", "HOME="+filepath.Join(c.Dir, "home"),
			"XDG_DATA_HOME="+filepath.Join(c.Dir, "data"), "XDG_CONFIG_HOME="+filepath.Join(c.Dir, "config"))
		began := time.Now()
		out, err := cmd.CombinedOutput()
		took := time.Since(began)
		if err == nil {
			t.Fatal("Caddy runs without a configuration")
		}
		for _, m := range initTrace.FindAllStringSubmatch(string(out), -1) {
			ms, _ := strconv.ParseFloat(m[2], 64)
			times[m[1]] = append(times[m[1]], ms)
		}
		return float64(took.Microseconds()) / 1000
	}
	var without, with []float64
	for range 20 {
		without = append(without, life())
	}
	for _, name := range slices.Sorted(maps.Keys(times)) {
		t.Logf("init of %s: %.3f ms by the clock, median of %d", name, median(times[name]), len(times[name]))
	}
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	do(t, c, "apply")
	if o := ended(t, c, began); o.State != updater.Healthy {
		t.Fatalf("the update ended as %s: %s", o.State, o.Why)
	}
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	for range 2 { // each takes one of the slot's tries
		with = append(with, life())
	}
	t.Logf("a process that finds no configuration lives %.1f ms without a slot, and %.1f ms with one that it verifies and becomes", median(without), median(with))
}

var initTrace = regexp.MustCompile(`(?m)^init (github\.com/caddy-evergreen/evergreen\S*) @\S+ ms, (\S+) ms clock`)

func median(all []float64) float64 {
	all = slices.Sorted(slices.Values(all))
	return all[len(all)/2]
}
