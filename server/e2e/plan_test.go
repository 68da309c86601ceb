//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/server/goenv"
	"github.com/caddy-evergreen/evergreen/server/gomods"
	"github.com/caddy-evergreen/evergreen/server/plan"
	"github.com/caddy-evergreen/evergreen/server/vulndb"
	"github.com/caddy-evergreen/evergreen/wire"
)

// realPlanner plans with the module proxy's go.mod files, and with the
// vulnerability database that is among the test data, if it is.
func realPlanner(t *testing.T) *plan.Planner {
	t.Helper()
	dir, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	mods, err := gomods.New(gomods.Config{Dir: filepath.Join(dir, "evergreen", "mod"), Proxies: gomods.Proxies(goenv.Get("GOPROXY")), SumDB: goenv.Get("GOSUMDB")})
	if err != nil {
		t.Fatal(err)
	}
	cfg := plan.Config{GoMods: mods, Versions: mods}
	if zip := "../../../shared/data/vulndb/vulndb.zip"; exists(zip) {
		db, err := vulndb.Open(context.Background(), zip, vulndb.Options{})
		if err != nil {
			t.Fatal(err)
		}
		cfg.Advisories = func() plan.Advisories { return db }
	}
	p, err := plan.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

// goMain makes a main module that requires roots and imports Caddy and the
// plugins among them.
func goMain(t *testing.T, roots []wire.ModuleVersion) (dir string, run func(args ...string) string) {
	t.Helper()
	dir = t.TempDir()
	mod, main := "module caddy\n\ngo 1.25.0\n\n", "package main\n\nimport (\n\tcaddycmd \""+wire.CaddyPath+"/cmd\"\n\t_ \""+wire.CaddyPath+"/modules/standard\"\n"
	for _, r := range roots {
		mod += fmt.Sprintf("require %s %s\n", r.Path, r.Version)
		if r.Plugin {
			main += fmt.Sprintf("\t_ %q\n", r.Path)
		}
	}
	main += ")\n\nfunc main() { caddycmd.Main() }\n"
	for name, text := range map[string]string{"go.mod": mod, "main.go": main} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir, func(args ...string) string {
		t.Helper()
		cmd := exec.Command("go", args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=mod")
		var stderr strings.Builder
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
		}
		return string(out)
	}
}

func listed(out string) map[string]string {
	all := map[string]string{}
	for line := range strings.Lines(out) {
		if f := strings.Fields(line); len(f) == 2 {
			all[f[0]] = f[1]
		}
	}
	return all
}

// TestE2EPlanResolves compares the planner with the go command: what a go.mod
// with a release of Caddy, and plugins, selects.
func TestE2EPlanResolves(t *testing.T) {
	p := realPlanner(t)
	caddy := func(v string, more ...wire.ModuleVersion) []wire.ModuleVersion {
		return append([]wire.ModuleVersion{{Path: wire.CaddyPath, Version: v}}, more...)
	}
	for _, roots := range [][]wire.ModuleVersion{
		caddy("v2.4.6"), caddy("v2.7.6"), caddy("v2.10.2"), caddy("v2.11.3"), caddy("v2.11.9"),
		caddy("v2.11.8", wire.ModuleVersion{Path: "github.com/caddy-dns/cloudflare", Version: "v0.2.1"}, wire.ModuleVersion{Path: "github.com/mholt/caddy-ratelimit", Version: "v0.1.0"}),
		caddy("v2.11.3", wire.ModuleVersion{Path: "google.golang.org/grpc", Version: "v1.82.1"}),
	} {
		t.Run(fmt.Sprint(roots), func(t *testing.T) {
			_, run := goMain(t, roots)
			got, err := p.Resolve(context.Background(), roots)
			if err != nil {
				t.Fatal(err)
			}
			ours := map[string]string{}
			for _, m := range got {
				ours[m.Path] = m.Version
			}
			if d := cmp.Diff(listed(run("list", "-m", "all")), ours); d != "" {
				t.Errorf("selected versions (-go +planner):\n%s", d)
			}
		})
	}
}

// TestE2EPlanIsWhatGoResolves plans for a real build list and has `go mod tidy`
// resolve the planned go.mod: each module that it keeps has the version that was
// planned.
func TestE2EPlanIsWhatGoResolves(t *testing.T) {
	p := realPlanner(t)
	ctx := context.Background()
	for _, v := range []string{"v2.11.3", "v2.11.8"} {
		build, err := p.Fresh(ctx, v)
		if err != nil {
			t.Fatal(err)
		}
		found, err := p.Plan(ctx, wire.Check{Build: build, System: wire.System{OS: "linux", Arch: "amd64"}, Scope: wire.ScopeImportant})
		if err != nil {
			t.Fatal(err)
		}
		if len(found.Changes) == 0 && exists("../../../shared/data/vulndb/vulndb.zip") {
			t.Errorf("nothing is planned for Caddy %s", v)
		}
		_, run := goMain(t, found.Roots)
		run("mod", "tidy")
		planned := map[string]string{}
		for _, m := range found.Build.Modules {
			planned[m.Path] = m.Version
		}
		compared := 0
		// What go.mod names after tidying is what the build needs.
		for path, version := range listed(run("list", "-m", "-f", "{{if not .Main}}{{.Path}} {{.Version}}{{end}}", "all")) {
			want, ok := planned[path]
			if !ok {
				continue // nothing of it is linked
			}
			compared++
			if version != want {
				t.Errorf("Caddy %s: go resolves %s to %s, planned was %s", v, path, version, want)
			}
		}
		if compared < 50 {
			t.Errorf("Caddy %s: only %d modules of the plan are in go's list", v, compared)
		}
		t.Logf("Caddy %s: %d changes, %d modules as planned, roots %v", v, len(found.Changes), compared, found.Roots)
	}
}

// TestE2EPlanCompiles plans around what does not compile, with a real compiler:
// cel-go 0.30.0 breaks Caddy 2.11.3 and 2.11.4, so does 0.31.0, and 0.32.0 is of
// another name; Caddy 2.11.5 does without.
func TestE2EPlanCompiles(t *testing.T) {
	const cel = "github.com/google/cel-go"
	p := realPlanner(t)
	build, err := p.Fresh(t.Context(), "v2.11.3")
	if err != nil {
		t.Fatal(err)
	}
	build.Go = runtime.Version()
	list, err := json.Marshal(wire.Check{Build: build, System: wire.System{OS: "linux", Arch: "amd64"}, Scope: wire.ScopeImportant})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	const about = `"modified": "2026-08-21T00:00:00Z"`
	for name, text := range map[string]string{
		"build.json":            string(list),
		"db/index/db.json":      `{` + about + `}`,
		"db/index/modules.json": `[{"path": "` + cel + `", "vulns": [{"id": "GO-2026-6094", ` + about + `, "fixed": "0.30.0"}]}]`,
		"db/ID/GO-2026-6094.json": `{"schema_version": "1.3.1", "id": "GO-2026-6094", ` + about + `, "published": "2026-08-21T00:00:00Z", "summary": "made up", "details": "made up",
			"affected": [{"package": {"name": "` + cel + `", "ecosystem": "Go"}, "ranges": [{"type": "SEMVER", "events": [{"introduced": "0"}, {"fixed": "0.30.0"}]}], "ecosystem_specific": {}}]}`,
	} {
		to := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	run := func(flags ...string) wire.Plan {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), evergreen, append(append([]string{"plan", "--json", "--vulndb", filepath.Join(dir, "db")}, flags...), filepath.Join(dir, "build.json"))...)
		cmd.Stderr = logWriter{t}
		out, err := cmd.Output()
		if code := cmd.ProcessState.ExitCode(); code != 3 {
			t.Fatalf("evergreen plan: exit status %d (%v), want 3", code, err)
		}
		var found wire.Plan
		if err := json.Unmarshal(out, &found); err != nil {
			t.Fatal(err)
		}
		return found
	}
	plain := []wire.ModuleVersion{{Path: wire.CaddyPath, Version: "v2.11.3"}, {Path: cel, Version: "v0.30.0"}}
	if d := cmp.Diff(plain, run().Roots); d != "" {
		t.Errorf("roots, without compiling (-want +got):\n%s", d)
	}
	found := run("--compile")
	if d := cmp.Diff([]wire.ModuleVersion{{Path: wire.CaddyPath, Version: "v2.11.5"}}, found.Roots); d != "" {
		t.Errorf("roots (-want +got):\n%s", d)
	}
	if v := found.Build.Version(cel); v != "" || len(found.Unfixed) > 0 {
		t.Errorf("the plan has %s %s and leaves %v", cel, v, found.Unfixed)
	}
}
