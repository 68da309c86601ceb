package plan_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/server/linked"
	"github.com/caddy-evergreen/evergreen/server/plan"
	"github.com/caddy-evergreen/evergreen/wire"
)

// names are the functions of a program that parses a URL and marshals JSON.
func names(t *testing.T) *linked.Names {
	t.Helper()
	dir := t.TempDir()
	const program = "package main\n\nimport (\n\t\"net/url\"\n\t\"os\"\n)\n\nfunc main() { u, err := url.Parse(os.Args[0]); println(u.String(), err) }\n"
	for name, text := range map[string]string{"go.mod": "module m\n\ngo 1.25.0\n", "main.go": program} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("go", "build", "-ldflags=-s -w", "-o", "m", ".")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=", "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building: %v\n%s", err, out)
	}
	f, err := os.Open(filepath.Join(dir, "m"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	n, err := linked.Read(f)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// stdlib is a database with what is about packages of the standard library, so
// that a real executable can be looked into.
func stdlib() *world {
	w := chain()
	add := func(id string, severity wire.Severity, why string, packages ...wire.AffectedPackage) {
		w.advisories[wire.Stdlib] = append(w.advisories[wire.Stdlib], wire.Advisory{
			ID: id, Path: wire.Stdlib, Severity: severity, Why: why, Ranges: []wire.Range{{Fixed: "v1.25.1"}}, Packages: packages,
		})
	}
	add("CALLED", wire.SeverityUnrated, "unrated", wire.AffectedPackage{Path: "net/url", Symbols: []string{"Parse", "Nothing"}})
	add("NEARBY", wire.SeverityUnrated, "unrated", wire.AffectedPackage{Path: "net/url", Symbols: []string{"JoinPath"}})
	add("ABSENT", wire.SeverityCritical, "ghsa", wire.AffectedPackage{Path: "crypto/tls"})
	add("RATED", wire.SeverityCritical, "ghsa", wire.AffectedPackage{Path: "net/url"})
	add("OVERRIDE", wire.SeverityImportant, "override", wire.AffectedPackage{Path: "crypto/tls"})
	add("WINDOWS", wire.SeverityUnrated, "unrated", wire.AffectedPackage{Path: "net/url", GOOS: []string{"windows"}})
	return w
}

func TestAudit(t *testing.T) {
	real := names(t)
	c := wire.Check{Build: build("caddy v2.0.0, dep v1.0.0"), System: wire.System{OS: "linux", Arch: "amd64"}}
	for _, k := range []struct {
		name  string
		names *linked.Names
		want  []string
	}{
		{"an executable", real, []string{"RATED critical symbol", "CALLED important symbol net/url.Parse", "OVERRIDE important absent", "NEARBY minor package", "ABSENT unrated absent", "WINDOWS unrated absent"}},
		{"a build list", nil, []string{"ABSENT critical unknown", "RATED critical unknown", "CALLED important unknown", "NEARBY important unknown", "OVERRIDE important unknown", "WINDOWS unrated absent"}},
	} {
		t.Run(k.name, func(t *testing.T) {
			a, err := stdlib().planner().Audit(context.Background(), c, k.names, asOf, plan.DefaultMaxAge)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, f := range a.Findings {
				got = append(got, strings.TrimSpace(strings.Join([]string{f.ID, string(f.Severity), string(f.Linked), strings.Join(f.Symbols, " ")}, " ")))
				if f.FixedIn != "go1.25.1" || f.Version != "go1.25.0" {
					t.Errorf("%s: in %s, fixed in %s", f.ID, f.Version, f.FixedIn)
				}
			}
			if d := cmp.Diff(k.want, got); d != "" {
				t.Errorf("findings (-want +got):\n%s", d)
			}
			if a.Plan == nil || short(*a.Plan) == "" || a.Plan.Build.Go != "go1.25.1" {
				t.Errorf("the plan is %+v", a.Plan)
			}
		})
	}
}

// TestVerdict: an old database calls nothing clean.
func TestVerdict(t *testing.T) {
	clean := wire.Check{Build: build("caddy v2.0.0, dep v1.0.0")}
	for _, k := range []struct {
		name string
		w    *world
		c    wire.Check
		now  time.Time
		want plan.Verdict
		says string
	}{
		{"current", chain(), clean, asOf.Add(time.Hour), plan.Clean, "clean: the vulnerability database is of 2026-11-01"},
		{"old", chain(), clean, asOf.AddDate(0, 1, 0), plan.Unknown, "unknown since 2026-11-01"},
		{"vulnerable", chain().vulnerable("A", "dep ..v1.1.0 unrated"), clean, asOf, plan.Vulnerable, "vulnerable"},
		{"vulnerable to what an old one knows", chain().vulnerable("A", "dep ..v1.1.0 unrated"), clean, asOf.AddDate(0, 1, 0), plan.Vulnerable, "perhaps to more"},
		{"of nobody's version", chain(), wire.Check{Build: build("caddy v2.0.0, dep devel")}, asOf, plan.Unknown, "unknown: nothing is known of 1 modules"},
		{"only what is not linked", chain().vulnerable("A", "other ..v9.0.0 critical"), clean, asOf, plan.Clean, "clean"},
	} {
		a, err := k.w.planner().Audit(context.Background(), k.c, nil, k.now, plan.DefaultMaxAge)
		if err != nil {
			t.Fatal(err)
		}
		if a.Verdict != k.want || !strings.Contains(a.Says, k.says) {
			t.Errorf("%s: %s, %q, want %s, %q", k.name, a.Verdict, a.Says, k.want, k.says)
		}
	}
	p, err := plan.New(plan.Config{GoMods: chain()})
	if err != nil {
		t.Fatal(err)
	}
	a, err := p.Audit(context.Background(), clean, nil, asOf, plan.DefaultMaxAge)
	if err != nil || a.Verdict != plan.Unknown {
		t.Errorf("without a database: %s, error %v", a.Verdict, err)
	}
}

// TestAPI asks a server over HTTP.
func TestAPI(t *testing.T) {
	mux := http.NewServeMux()
	w := chain().vulnerable("A", "dep ..v1.1.0 unrated")
	plan.NewAPI(w.planner(), 0, func() time.Time { return asOf }, slog.New(slog.NewTextHandler(io.Discard, nil))).Register(mux)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: mux}
	go srv.Serve(ln)
	defer srv.Close()
	ask := func(body string) (*http.Response, []byte) {
		t.Helper()
		r, err := http.Post("http://"+ln.Addr().String()+wire.PathAudit, "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		return r, b
	}
	list, err := json.Marshal(build("caddy v2.0.0, dep v1.0.0"))
	if err != nil {
		t.Fatal(err)
	}
	for _, body := range []string{string(list), `{"build": ` + string(list) + `, "system": {"os": "linux", "arch": "amd64"}, "scope": "all"}`} {
		r, b := ask(body)
		var a plan.Audit
		if err := json.Unmarshal(b, &a); err != nil || r.StatusCode != http.StatusOK || a.Verdict != plan.Vulnerable || short(*a.Plan) != "dep v1.0.0>v1.1.0 A" {
			t.Errorf("status %d, error %v, answer %s", r.StatusCode, err, b)
		}
	}
	for body, want := range map[string]string{
		"":                                 "it is no JSON object",
		`{"go": "go1.25.0", "moduls": []}`: "moduls",
		`{"go": "1.25", "modules": []}`:    "it should be a toolchain",
		string(list) + string(list):        "invalid character",
		strings.Repeat(" ", 2<<20):         "at most",
	} {
		r, b := ask(body)
		var p wire.Problem
		if err := json.Unmarshal(b, &p); err != nil || r.StatusCode < 400 || p.Status != r.StatusCode || r.Header.Get("Content-Type") != wire.TypeProblem || !strings.Contains(p.Detail, want) {
			t.Errorf("%.40q: status %d, %s, want %q", body, r.StatusCode, b, want)
		}
	}
}

// FuzzParseCheck: what is taken is a build list that can be written again.
func FuzzParseCheck(f *testing.F) {
	f.Add([]byte(`{"go":"go1.25.0","modules":[{"path":"b","version":"v1.0.0"},{"path":"a","version":"v1.0.0","plugin":true}]}`))
	f.Add([]byte(`{"build":{"go":"go1.25.0","modules":[]},"system":{"os":"linux","arch":"arm","variant":"v7"},"scope":"all","pins":{"a":"v1.0.0"}}`))
	f.Add([]byte(`{"build":null}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := plan.ParseCheck(b)
		if err != nil {
			return
		}
		again, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		d, err := plan.ParseCheck(again)
		if err != nil {
			t.Fatalf("%s is not taken again: %v", again, err)
		}
		if diff := cmp.Diff(c, d); diff != "" {
			t.Errorf("(-first +second):\n%s", diff)
		}
	})
}

// FuzzPlan: whatever go.mod files a proxy serves, planning ends, and lowers
// nothing.
func FuzzPlan(f *testing.F) {
	f.Add([]byte("module github.com/caddyserver/caddy/v2\n\ngo 1.16\n\nrequire example.com/dep v1.3.0\n"), []byte("module example.com/dep\n\ngo 1.25.0\n\nrequire (\n\texample.com/dep v1.1.0\n\texample.com/lib v0.0.0-20200102030405-0123456789ab // indirect\n)\n"))
	f.Add([]byte("require example.com/dep v9.0.0"), []byte("go go\n"))
	f.Add([]byte("module m\ngo 1.99.9\nreplace example.com/dep => ../..\nexclude example.com/dep v1.1.0\n"), []byte("\x00"))
	f.Fuzz(func(t *testing.T, first, second []byte) {
		w := chain().vulnerable("A", "dep ..v1.1.0 critical").vulnerable("B", "caddy ..v2.1.0 critical")
		p, err := plan.New(plan.Config{Advisories: func() plan.Advisories { return w }, GoMods: hostile{w, first, second}, Versions: w})
		if err != nil {
			t.Fatal(err)
		}
		c := wire.Check{Build: build("caddy v2.0.0, dep v1.0.0"), Scope: wire.ScopeAll}
		got, err := p.Plan(context.Background(), c)
		if err != nil {
			return
		}
		for _, k := range got.Changes {
			if k.From != "" && k.To != "" && k.Path != wire.Toolchain && strings.Compare(k.From, k.To) > 0 && len(k.From) == len(k.To) {
				t.Errorf("%s goes from %s to %s", k.Path, k.From, k.To)
			}
		}
	})
}

// hostile serves Caddy's and the dependency's go.mod as somebody made them up.
type hostile struct {
	*world
	caddy, dep []byte
}

func (h hostile) GoMod(ctx context.Context, path, v string) ([]byte, error) {
	switch path {
	case wire.CaddyPath:
		return bytes.Clone(h.caddy), nil
	case full("dep"):
		return bytes.Clone(h.dep), nil
	}
	return h.world.GoMod(ctx, path, v)
}
