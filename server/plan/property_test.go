package plan_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/mod/semver"

	"github.com/caddy-evergreen/evergreen/server/plan"
	"github.com/caddy-evergreen/evergreen/wire"
)

// worlds is how many are generated; each is small, so that everything that
// could be planned can be tried. With 20,000 the test passes, too.
const worlds = 800

// TestProperties plans in generated worlds and compares with every build list
// that there could be.
func TestProperties(t *testing.T) {
	changed, unfixed, replanned := 0, 0, 0
	for seed := range uint64(worlds) {
		r := rand.New(rand.NewPCG(seed, 4))
		w, c := generate(r)
		if r.IntN(3) == 0 {
			// The newest of something does not compile with something.
			for _, p := range w.order[1:] {
				vs := w.mods[p]
				with := w.order[0]
				if u := w.mods[with][r.IntN(len(w.mods[with]))]; u.require[p] != "" && r.IntN(2) == 0 {
					pair := plan.Pair{Module: wire.ModuleVersion{Path: p, Version: vs[len(vs)-1].v}, With: wire.ModuleVersion{Path: with, Version: u.v}}
					if c.Build.Version(p) != pair.Module.Version {
						w.broken = append(w.broken, pair)
					}
				}
			}
		}
		if r.IntN(4) == 0 {
			p := w.order[r.IntN(len(w.order))]
			if v := c.Build.Version(p); v != "" {
				c.Pins = map[string]string{p: v}
			}
		}
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			check(t, w, c)
			p, _ := w.planner().Plan(context.Background(), c)
			if len(p.Changes) > 0 {
				changed++
			}
			if len(p.Unfixed) > 0 {
				unfixed++
			}
			if w.compiled > 2 {
				replanned++
			}
		})
	}
	// The worlds must be worth the trouble.
	if changed < worlds/4 || unfixed < worlds/8 || replanned < worlds/100 {
		t.Errorf("of %d worlds %d had changes, %d something unfixed, %d what does not compile: too few to prove anything", worlds, changed, unfixed, replanned)
	}
}

func check(t *testing.T, w *world, c wire.Check) {
	ctx := context.Background()
	p, err := w.planner().Plan(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	again, err := w.planner().Plan(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(p, again); d != "" {
		t.Errorf("not deterministic (-first +second):\n%s", d)
	}
	before, after := versionsOf(c.Build), versionsOf(p.Build)
	for path, v := range after {
		if semver.Compare(v, before[path]) < 0 {
			t.Errorf("%s goes down from %s to %s", path, before[path], v)
		}
		if pin := c.Pins[path]; pin != "" && v != pin {
			t.Errorf("%s is pinned to %s and goes to %s", path, pin, v)
		}
	}
	if len(p.Changes) == 0 {
		if d := cmp.Diff(c.Build, p.Build); d != "" {
			t.Errorf("the build list changes without changes (-want +got):\n%s", d)
		}
	}

	// The planned go.mod resolves to the planned build list.
	want := map[string]string{}
	for _, r := range p.Roots {
		want[r.Path] = r.Version
	}
	if d := cmp.Diff(after, w.resolve(want, nil)); d != "" {
		t.Errorf("the planned go.mod resolves otherwise (-plan +go):\n%s", d)
	}

	// Planning for the plan plans nothing more.
	next := c
	next.Build = p.Build
	more, err := w.planner().Plan(ctx, next)
	if err != nil {
		t.Fatal(err)
	}
	if len(more.Changes) > 0 {
		t.Errorf("not idempotent: planning again gives\n%s", cmp.Diff([]wire.Change{}, more.Changes))
	}
	// Why is told from what was tried, which may be other ways.
	if d := cmp.Diff(p.Unfixed, more.Unfixed, cmpopts.IgnoreFields(wire.Unfixed{}, "Why")); d != "" {
		t.Errorf("planning again leaves other things unfixed (-first +second):\n%s", d)
	}

	// No other build list is better.
	isRoot := map[string]bool{wire.CaddyPath: true}
	for _, m := range c.Build.Modules {
		isRoot[m.Path] = isRoot[m.Path] || m.Plugin
	}
	best, bestCost, bestAt := w.wrong(c, after), cost(w, before, after, isRoot), after
	mine, mineCost := best, bestCost
	w.each(c, func(at map[string]string) {
		wrong, k := w.wrong(c, at), cost(w, before, at, isRoot)
		d := slices.Compare(wrong[:], best[:])
		if d == 0 {
			d = slices.Compare(k[:], bestCost[:])
		}
		if d < 0 || d == 0 && below(at, bestAt) {
			best, bestCost, bestAt = wrong, k, at
		}
	})
	if best != mine {
		t.Errorf("%v is wrong with what was planned, %v with\n%s", mine, best, cmp.Diff(after, bestAt))
	} else if bestCost != mineCost || below(bestAt, after) {
		t.Errorf("the plan costs %v, another that fixes as much %v:\n%s", mineCost, bestCost, cmp.Diff(after, bestAt))
	}
}

// cost is how many of Caddy and the plugins change, and how far.
func cost(w *world, before, after map[string]string, isRoot map[string]bool) (k [2]int) {
	for path, from := range before {
		if to := after[path]; isRoot[path] && from != to {
			k[0]++
			k[1] += w.index(path, to) - w.index(path, from)
		}
	}
	return k
}

// below tells whether a has no module that b has not, none at a higher version,
// and one at a lower.
func below(a, b map[string]string) bool {
	lower := false
	for path, v := range a {
		c := semver.Compare(v, b[path])
		if b[path] == "" || c > 0 {
			return false
		}
		lower = lower || c < 0
	}
	return lower
}

func (w *world) index(path, v string) int {
	return slices.IndexFunc(w.mods[path], func(o version) bool { return o.v == v })
}

// each calls f with every build list that `go` could be made to resolve, keeps
// pins and compiles.
func (w *world) each(c wire.Check, f func(at map[string]string)) {
	before := versionsOf(c.Build)
	paths := slices.Sorted(maps.Keys(before))
	roots := map[string]bool{wire.CaddyPath: true}
	for _, m := range c.Build.Modules {
		roots[m.Path] = roots[m.Path] || m.Plugin
	}
	start := map[string]string{}
	for p := range roots {
		start[p] = before[p]
	}
	// What somebody raised by hand stays raised.
	now := w.resolve(start, nil)
	for p, v := range before {
		if now[p] != v {
			start[p] = v
		}
	}
	var try func(i int, bounds map[string]string)
	try = func(i int, bounds map[string]string) {
		if i == len(paths) {
			at := w.resolve(bounds, nil)
			for p, v := range at {
				if semver.Compare(v, before[p]) < 0 || c.Pins[p] != "" && v != c.Pins[p] {
					return
				}
			}
			for _, b := range w.broken {
				if at[b.Module.Path] == b.Module.Version && at[b.With.Path] == b.With.Version {
					return
				}
			}
			f(at)
			return
		}
		try(i+1, bounds)
		for _, v := range w.mods[paths[i]] {
			if semver.Compare(v.v, before[paths[i]]) > 0 {
				with := maps.Clone(bounds)
				with[paths[i]] = v.v
				try(i+1, with)
			}
		}
	}
	try(0, start)
}
