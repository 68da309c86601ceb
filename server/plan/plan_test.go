package plan_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/server/plan"
	"github.com/caddy-evergreen/evergreen/wire"
)

// hand is a world made by hand: versions of modules with what they require, in
// lines such as "dep v1.1.0: lib v1.2.0, other v1.0.0". The first is Caddy's.
func hand(lines ...string) *world {
	w := &world{mods: map[string][]version{}, advisories: map[string][]wire.Advisory{}, releases: map[string][]wire.Release{}}
	for _, line := range lines {
		head, tail, _ := strings.Cut(line, ":")
		name, v, _ := strings.Cut(head, " ")
		m := version{v: v, pruned: true, require: map[string]string{}}
		for r := range strings.SplitSeq(tail, ",") {
			switch n, rv, ok := strings.Cut(strings.TrimSpace(r), " "); {
			case n == "go":
				m.goLine = rv
			case n == "retract":
				m.retract = rv
			case n == "module":
				m.renamed = full(rv)
			case ok:
				m.require[full(n)] = rv
			}
		}
		w.mods[full(name)] = append(w.mods[full(name)], m)
	}
	return w
}

func full(name string) string {
	if name == "caddy" {
		return wire.CaddyPath
	}
	return "example.com/" + name
}

// vulnerable adds an advisory: "dep v1.0.0..v1.2.0 important", with a ".." of
// which either end may be left out.
func (w *world) vulnerable(id, what string) *world {
	f := strings.Fields(what)
	from, to, _ := strings.Cut(f[1], "..")
	path := f[0]
	if path != wire.Stdlib {
		path = full(path)
	}
	w.advisories[path] = append(w.advisories[path], wire.Advisory{ID: id, Path: path, Severity: wire.Severity(f[2]), Ranges: []wire.Range{{Introduced: from, Fixed: to}}})
	return w
}

func (w *world) release(name, v string, severity wire.Severity, more ...func(*wire.Release)) *world {
	r := wire.Release{Path: full(name), Version: v, Severity: severity, Channel: wire.ChannelStable, Tagged: true}
	for _, m := range more {
		m(&r)
	}
	w.releases[r.Path] = append(w.releases[r.Path], r)
	return w
}

func yanked(r *wire.Release) { r.Yanked = "it loses data" }
func step(r *wire.Release)   { r.Step = true }
func beta(r *wire.Release)   { r.Channel = wire.ChannelBeta }
func found(r *wire.Release)  { r.Tagged = false }
func kernel(k string) func(*wire.Release) {
	return func(r *wire.Release) { r.MinKernel = map[string]string{"linux": k} }
}

// build is a build list: "caddy v2.0.0, plugin v1.0.0 plugin, dep v1.0.0".
func build(list string) wire.BuildList {
	b := wire.BuildList{Go: "go1.25.0"}
	for m := range strings.SplitSeq(list, ",") {
		f := strings.Fields(m)
		b.Modules = append(b.Modules, wire.ModuleVersion{Path: full(f[0]), Version: f[1], Plugin: len(f) > 2})
	}
	b.Sort()
	return b
}

// short is a plan in a line: what changes for which reasons, and what stays.
func short(p wire.Plan) string {
	name := func(path string) string {
		if path == wire.CaddyPath {
			return "caddy"
		}
		return strings.TrimPrefix(path, "example.com/")
	}
	var parts []string
	for _, c := range p.Changes {
		s := fmt.Sprintf("%s %s>%s", name(c.Path), c.From, c.To)
		for _, r := range c.Reasons {
			s += " " + r.ID
		}
		parts = append(parts, s)
	}
	for _, u := range p.Unfixed {
		parts = append(parts, fmt.Sprintf("UNFIXED %s %s: %s", name(u.Path), u.Reason.ID, u.Why))
	}
	return strings.Join(parts, "; ")
}

// chain is Caddy in three versions with a dependency in four.
func chain() *world {
	return hand("caddy v2.0.0: dep v1.0.0", "caddy v2.1.0: dep v1.1.0", "caddy v2.2.0: dep v1.1.0", "caddy v2.3.0-beta.1: dep v1.3.0",
		"dep v1.0.0", "dep v1.1.0", "dep v1.2.0", "dep v1.3.0")
}

func TestPlan(t *testing.T) {
	const list = "caddy v2.0.0, dep v1.0.0"
	for _, c := range []struct {
		name  string
		w     *world
		check wire.Check
		want  string
	}{
		{"nothing is wrong", chain(), wire.Check{Build: build(list), Scope: wire.ScopeAll}, ""},
		{"a dependency alone is raised, to the lowest version that helps",
			chain().vulnerable("A", "dep ..v1.2.0 important"), wire.Check{Build: build(list), Scope: wire.ScopeCritical}, ""},
		{"if the scope covers it",
			chain().vulnerable("A", "dep ..v1.2.0 important"), wire.Check{Build: build(list), Scope: wire.ScopeImportant}, "dep v1.0.0>v1.2.0 A"},
		{"Caddy's fix brings the dependency's",
			chain().vulnerable("A", "dep ..v1.1.0 important").vulnerable("B", "caddy ..v2.1.0 critical"),
			wire.Check{Build: build(list), Scope: wire.ScopeImportant}, "caddy v2.0.0>v2.1.0 B; dep v1.0.0>v1.1.0 A"},
		{"what nobody rated is important if nobody looked",
			chain().vulnerable("A", "dep ..v1.2.0 unrated"), wire.Check{Build: build(list), Scope: wire.ScopeImportant}, "dep v1.0.0>v1.2.0 A"},
		{"what nobody rated is never critical",
			chain().vulnerable("A", "dep ..v1.2.0 unrated"), wire.Check{Build: build(list), Scope: wire.ScopeCritical}, ""},
		{"no scope, no change",
			chain().vulnerable("A", "dep ..v1.2.0 critical"), wire.Check{Build: build(list)}, ""},
		{"the toolchain is the lowest patch",
			chain().vulnerable("A", "stdlib ..v1.25.1 unrated"), wire.Check{Build: build(list), Scope: wire.ScopeImportant}, "toolchain go1.25.0>go1.25.1 A"},
		{"and the next line only if this one has none",
			chain().vulnerable("A", "stdlib ..v1.26.0 unrated"), wire.Check{Build: build(list), Scope: wire.ScopeImportant}, "toolchain go1.25.0>go1.26.0 A"},
		{"no fix", chain().vulnerable("A", "dep .. critical"), wire.Check{Build: build(list), Scope: wire.ScopeAll}, "UNFIXED dep A: no fixed version"},
		{"a pin", chain().vulnerable("A", "dep ..v1.2.0 critical"),
			wire.Check{Build: build(list), Scope: wire.ScopeAll, Pins: map[string]string{full("dep"): "v1.0.0"}}, "UNFIXED dep A: pinned to v1.0.0"},
		{"a pinned dependency pins who needs a higher one",
			chain().vulnerable("A", "caddy ..v2.1.0 critical"),
			wire.Check{Build: build(list), Scope: wire.ScopeAll, Pins: map[string]string{full("dep"): "v1.0.0"}},
			"UNFIXED caddy A: it needs example.com/dep v1.1.0 (pinned to v1.0.0)"},
		{"a pinned toolchain", chain().vulnerable("A", "stdlib ..v1.25.1 critical"),
			wire.Check{Build: build(list), Scope: wire.ScopeAll, Pins: map[string]string{wire.Toolchain: "go1.25.0"}}, "UNFIXED toolchain A: pinned to go1.25.0"},

		{"releases of the scope", chain().release("caddy", "v2.1.0", wire.SeverityCritical).release("caddy", "v2.2.0", wire.SeverityFeature),
			wire.Check{Build: build(list), Scope: wire.ScopeImportant}, "caddy v2.0.0>v2.1.0 v2.1.0; dep v1.0.0>v1.1.0"},
		{"all of them", chain().release("caddy", "v2.1.0", wire.SeverityCritical).release("caddy", "v2.2.0", wire.SeverityFeature),
			wire.Check{Build: build(list), Scope: wire.ScopeFeature}, "caddy v2.0.0>v2.2.0 v2.1.0 v2.2.0; dep v1.0.0>v1.1.0"},
		{"beta releases only on their channel", chain().release("caddy", "v2.3.0-beta.1", wire.SeverityFeature, beta),
			wire.Check{Build: build(list), Scope: wire.ScopeAll}, ""},
		{"on it", chain().release("caddy", "v2.3.0-beta.1", wire.SeverityFeature, beta),
			wire.Check{Build: build(list), Scope: wire.ScopeAll, Channel: wire.ChannelBeta}, "caddy v2.0.0>v2.3.0-beta.1 v2.3.0-beta.1; dep v1.0.0>v1.3.0"},
		{"a fix that is a beta", hand("caddy v2.0.0", "caddy v2.1.0-rc.1").vulnerable("A", "caddy ..v2.1.0-rc.1 critical"),
			wire.Check{Build: build("caddy v2.0.0"), Scope: wire.ScopeAll}, "UNFIXED caddy A: v2.1.0-rc.1 is a beta version"},
		{"a withdrawn release is not planned to", chain().release("caddy", "v2.1.0", wire.SeverityCritical).release("caddy", "v2.2.0", wire.SeverityFeature, yanked),
			wire.Check{Build: build(list), Scope: wire.ScopeFeature}, "caddy v2.0.0>v2.1.0 v2.1.0; dep v1.0.0>v1.1.0"},
		{"nor is a fix in it", chain().vulnerable("A", "caddy ..v2.1.0 critical").release("caddy", "v2.1.0", wire.SeverityCritical, yanked),
			wire.Check{Build: build(list), Scope: wire.ScopeCritical}, "caddy v2.0.0>v2.2.0 A; dep v1.0.0>v1.1.0"},
		{"who runs one is offered the way off", chain().release("caddy", "v2.0.0", wire.SeverityMinor, yanked),
			wire.Check{Build: build(list), Scope: wire.ScopeCritical}, "caddy v2.0.0>v2.1.0 v2.0.0; dep v1.0.0>v1.1.0"},
		{"or hears that there is none", hand("caddy v2.0.0").release("caddy", "v2.0.0", wire.SeverityMinor, yanked),
			wire.Check{Build: build("caddy v2.0.0"), Scope: wire.ScopeCritical}, "UNFIXED caddy v2.0.0: no later version"},
		{"a step must be taken first", chain().release("caddy", "v2.1.0", wire.SeverityMinor, step).release("caddy", "v2.2.0", wire.SeverityCritical),
			wire.Check{Build: build(list), Scope: wire.ScopeAll}, "caddy v2.0.0>v2.1.0 v2.1.0; dep v1.0.0>v1.1.0; UNFIXED caddy v2.2.0: v2.1.0 must run first"},
		{"then the rest", chain().release("caddy", "v2.1.0", wire.SeverityMinor, step).release("caddy", "v2.2.0", wire.SeverityCritical),
			wire.Check{Build: build("caddy v2.1.0, dep v1.1.0"), Scope: wire.ScopeAll}, "caddy v2.1.0>v2.2.0 v2.2.0"},
		{"an old kernel", chain().release("caddy", "v2.1.0", wire.SeverityCritical).release("caddy", "v2.2.0", wire.SeverityCritical, kernel("5.10")),
			wire.Check{Build: build(list), Scope: wire.ScopeAll, System: wire.System{OS: "linux", Arch: "amd64", Kernel: "5.4.0-100-generic"}},
			"caddy v2.0.0>v2.1.0 v2.1.0; dep v1.0.0>v1.1.0; UNFIXED caddy v2.2.0: v2.2.0 needs a kernel of 5.10, and this one is 5.4.0-100-generic"},
		{"a new enough one", chain().release("caddy", "v2.2.0", wire.SeverityCritical, kernel("5.10")),
			wire.Check{Build: build(list), Scope: wire.ScopeAll, System: wire.System{OS: "linux", Arch: "amd64", Kernel: "5.10.0"}},
			"caddy v2.0.0>v2.2.0 v2.2.0; dep v1.0.0>v1.1.0"},
		{"what nobody tagged of a dependency is no reason", chain().release("dep", "v1.3.0", wire.SeverityFeature, found), wire.Check{Build: build(list), Scope: wire.ScopeAll}, ""},
		{"what somebody did is one", chain().release("dep", "v1.3.0", wire.SeverityImportant), wire.Check{Build: build(list), Scope: wire.ScopeAll}, "dep v1.0.0>v1.3.0 v1.3.0"},

		{"a dependency that was raised by hand stays raised",
			chain().vulnerable("B", "caddy ..v2.1.0 critical"), wire.Check{Build: build("caddy v2.0.0, dep v1.3.0"), Scope: wire.ScopeAll}, "caddy v2.0.0>v2.1.0 B"},
		{"a fix that brings a vulnerability is followed by the next",
			chain().vulnerable("A", "dep ..v1.1.0 critical").vulnerable("B", "dep v1.1.0..v1.3.0 critical"),
			wire.Check{Build: build(list), Scope: wire.ScopeAll}, "dep v1.0.0>v1.3.0 A"},
		{"a version that can't be had is passed over", hand("caddy v2.0.0: dep v1.0.0", "dep v1.0.0", "dep v1.2.0").vulnerable("A", "dep ..v1.1.0 critical"),
			wire.Check{Build: build(list), Scope: wire.ScopeAll}, "dep v1.0.0>v1.2.0 A"},
		{"and named if it was the only one", hand("caddy v2.0.0: dep v1.0.0", "dep v1.0.0").vulnerable("A", "dep ..v1.1.0 critical"),
			wire.Check{Build: build(list), Scope: wire.ScopeAll}, "UNFIXED dep A: v1.1.0 can't be had"},
		{"a fix that needs a newer Go brings it", hand("caddy v2.0.0", "caddy v2.1.0: go 1.26.0").vulnerable("A", "caddy ..v2.1.0 critical"),
			wire.Check{Build: build("caddy v2.0.0"), Scope: wire.ScopeAll}, "caddy v2.0.0>v2.1.0 A; toolchain go1.25.0>go1.26.0"},
		{"unless that can't be had", hand("caddy v2.0.0", "caddy v2.1.0: go 1.27.0").vulnerable("A", "caddy ..v2.1.0 critical"),
			wire.Check{Build: build("caddy v2.0.0"), Scope: wire.ScopeAll}, "UNFIXED caddy A: it needs go1.27.0 (go1.27.0 can't be had)"},
		{"what its author took back is passed over", hand("caddy v2.0.0: dep v1.0.0", "dep v1.0.0", "dep v1.1.0", "dep v1.2.0", "dep v1.3.0: retract v1.1.0").vulnerable("A", "dep ..v1.1.0 critical"),
			wire.Check{Build: build("caddy v2.0.0, dep v1.0.0"), Scope: wire.ScopeAll}, "dep v1.0.0>v1.2.0 A"},
		{"also the newest itself", hand("caddy v2.0.0: dep v1.0.0", "dep v1.0.0", "dep v1.1.0: retract v1.1.0").vulnerable("A", "dep ..v1.1.0 critical"),
			wire.Check{Build: build("caddy v2.0.0, dep v1.0.0"), Scope: wire.ScopeAll}, "UNFIXED dep A: v1.1.0 was taken back by its author"},
		{"a version of another name is passed over", hand("caddy v2.0.0: dep v1.0.0", "dep v1.0.0", "dep v1.1.0: module renamed").vulnerable("A", "dep ..v1.1.0 critical"),
			wire.Check{Build: build("caddy v2.0.0, dep v1.0.0"), Scope: wire.ScopeAll}, "UNFIXED dep A: v1.1.0 is of example.com/renamed, which it was renamed to"},
		{"a dependency without a fix goes with who asks for it",
			hand("caddy v2.0.0: plugin v1.0.0", "caddy v2.0.0: ", "plugin v1.0.0: old v1.0.0", "plugin v1.1.0: new v1.0.0", "old v1.0.0", "new v1.0.0").vulnerable("A", "old .. critical"),
			wire.Check{Build: build("caddy v2.0.0, plugin v1.0.0 plugin, old v1.0.0"), Scope: wire.ScopeAll}, "plugin v1.0.0>v1.1.0; new >v1.0.0; old v1.0.0> A"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := c.w.planner().Plan(context.Background(), c.check)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.want, short(got)); d != "" {
				t.Errorf("plan (-want +got):\n%s", d)
			}
		})
	}
}

// TestRemembers: what does not compile is planned around, and not tried again.
func TestRemembers(t *testing.T) {
	w := chain().vulnerable("A", "dep ..v1.2.0 critical")
	w.broken = []plan.Pair{{Module: wire.ModuleVersion{Path: full("dep"), Version: "v1.2.0"}, With: wire.ModuleVersion{Path: wire.CaddyPath, Version: "v2.0.0"}}}
	c := wire.Check{Build: build("caddy v2.0.0, dep v1.0.0"), Scope: wire.ScopeAll}
	p := w.planner()
	for _, compiled := range []int{3, 0} {
		w.compiled = 0
		got, err := p.Plan(context.Background(), c)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff("dep v1.0.0>v1.3.0 A", short(got)); d != "" {
			t.Errorf("plan (-want +got):\n%s", d)
		}
		if w.compiled != compiled {
			t.Errorf("compiled %d times, want %d", w.compiled, compiled)
		}
	}
	// Without a next version, a release of Caddy is the way; without that, none.
	w.mods[full("dep")] = w.mods[full("dep")][:3]
	w.mods[wire.CaddyPath] = w.mods[wire.CaddyPath][:2]
	got, err := w.planner().Plan(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff("caddy v2.0.0>v2.1.0; dep v1.0.0>v1.2.0 A", short(got)); d != "" {
		t.Errorf("plan (-want +got):\n%s", d)
	}
	w.mods[wire.CaddyPath] = w.mods[wire.CaddyPath][:1]
	if got, err = w.planner().Plan(context.Background(), c); err != nil {
		t.Fatal(err)
	}
	want := "UNFIXED dep A: example.com/dep v1.2.0 does not compile with github.com/caddyserver/caddy/v2@v2.0.0"
	if d := cmp.Diff(want, short(got)); d != "" {
		t.Errorf("plan (-want +got):\n%s", d)
	}
}

// TestBroken: what does not compile as it is today is nobody's raise.
func TestBroken(t *testing.T) {
	w := chain().vulnerable("A", "dep ..v1.2.0 critical")
	w.broken = []plan.Pair{{Module: wire.ModuleVersion{Path: wire.CaddyPath, Version: "v2.0.0"}, With: wire.ModuleVersion{Path: wire.CaddyPath, Version: "v2.0.0"}}}
	_, err := w.planner().Plan(context.Background(), wire.Check{Build: build("caddy v2.0.0, dep v1.0.0"), Scope: wire.ScopeAll})
	var failed *plan.CompileError
	if !errors.As(err, &failed) || !strings.Contains(err.Error(), "does not compile as it is") {
		t.Errorf("error %v", err)
	}
}

// TestGuessedPlugins: a build list that does not say what is a plugin has those
// that nobody asks for.
func TestGuessedPlugins(t *testing.T) {
	w := hand("caddy v2.0.0: dep v1.0.0", "plugin v1.0.0: caddy v2.0.0, lib v1.0.0", "dep v1.0.0", "lib v1.0.0", "lib v1.1.0").vulnerable("A", "lib ..v1.1.0 critical")
	got, err := w.planner().Plan(context.Background(), wire.Check{Build: build("caddy v2.0.0, plugin v1.0.0, dep v1.0.0, lib v1.0.0"), Scope: wire.ScopeAll})
	if err != nil {
		t.Fatal(err)
	}
	want := []wire.ModuleVersion{{Path: wire.CaddyPath, Version: "v2.0.0"}, {Path: full("plugin"), Version: "v1.0.0", Plugin: true}, {Path: full("lib"), Version: "v1.1.0"}}
	if d := cmp.Diff(want, got.Roots); d != "" {
		t.Errorf("roots (-want +got):\n%s", d)
	}
}

// TestRefused: what can't be planned for says why.
func TestRefused(t *testing.T) {
	for name, c := range map[string]struct {
		check wire.Check
		want  string
		is    error
	}{
		"no Caddy":       {wire.Check{Build: wire.BuildList{Go: "go1.25.0"}}, "modules has no " + wire.CaddyPath, nil},
		"a checkout":     {wire.Check{Build: build("caddy devel")}, `its version is "devel"`, plan.ErrNotReleased},
		"a dirty one":    {wire.Check{Build: build("caddy v2.0.0+dirty")}, "", plan.ErrNotReleased},
		"scope":          {wire.Check{Build: build("caddy v2.0.0"), Scope: "most"}, `scope is "most"`, nil},
		"channel":        {wire.Check{Build: build("caddy v2.0.0"), Channel: "nightly"}, `channel is "nightly"`, nil},
		"pin":            {wire.Check{Build: build("caddy v2.0.0"), Pins: map[string]string{"x": "latest"}}, "which is no version", nil},
		"a Go of nobody": {wire.Check{Build: wire.BuildList{Go: "go1.x", Modules: build("caddy v2.0.0").Modules}}, "", plan.ErrNotReleased},
	} {
		_, err := chain().planner().Plan(context.Background(), c.check)
		if err == nil || !strings.Contains(err.Error(), c.want) || c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("%s: error %v, want %q", name, err, c.want)
		}
	}
	// A hostile build list does not make the planner read on for ever.
	w := chain()
	p, err := plan.New(plan.Config{GoMods: w, MaxGoMods: 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Plan(context.Background(), wire.Check{Build: build("caddy v2.0.0, dep v1.0.0")}); err == nil || !strings.Contains(err.Error(), "more than 1 go.mod files") {
		t.Errorf("error %v", err)
	}
}

// TestPlanWithout: a release that a rollout holds back is as if it were not there.
func TestPlanWithout(t *testing.T) {
	w := chain().release("caddy", "v2.1.0", wire.SeverityFeature).release("caddy", "v2.2.0", wire.SeverityFeature).vulnerable("A", "dep ..v1.2.0 critical")
	c := wire.Check{Build: build("caddy v2.0.0, dep v1.0.0"), Scope: wire.ScopeAll}
	caddy := func(v string) wire.ModuleVersion { return wire.ModuleVersion{Path: wire.CaddyPath, Version: v} }
	dep := func(v string) wire.ModuleVersion { return wire.ModuleVersion{Path: full("dep"), Version: v} }
	for _, k := range []struct {
		held []wire.ModuleVersion
		want string
	}{
		{nil, "caddy v2.0.0>v2.2.0 v2.1.0 v2.2.0; dep v1.0.0>v1.2.0 A"},
		{[]wire.ModuleVersion{caddy("v2.2.0")}, "caddy v2.0.0>v2.1.0 v2.1.0; dep v1.0.0>v1.2.0 A"},
		{[]wire.ModuleVersion{caddy("v2.1.0"), caddy("v2.2.0")}, "dep v1.0.0>v1.2.0 A"},
		{[]wire.ModuleVersion{caddy("v2.1.0"), caddy("v2.2.0"), dep("v1.2.0")}, "dep v1.0.0>v1.3.0 A"},
		{[]wire.ModuleVersion{caddy("v2.1.0"), caddy("v2.2.0"), dep("v1.2.0"), dep("v1.3.0")}, "UNFIXED dep A: v1.2.0 is not offered yet"},
		{[]wire.ModuleVersion{caddy("v2.0.0"), dep("v1.0.0")}, "caddy v2.0.0>v2.2.0 v2.1.0 v2.2.0; dep v1.0.0>v1.2.0 A"},
	} {
		got, err := w.planner().PlanWithout(context.Background(), c, k.held)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(k.want, short(got)); d != "" {
			t.Errorf("without %v (-want +got):\n%s", k.held, d)
		}
	}
}
