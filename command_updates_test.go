package evergreen

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/updater"
	"github.com/caddy-evergreen/evergreen/wire"
)

// anUpdate is one that waits for its window, after another one failed.
func anUpdate() updatesDocument {
	return updatesDocument{
		Channel: wire.ChannelStable,
		Status: updater.Status{
			State: updater.Verified, Waiting: "for the window Sun 02:00-05:00 UTC", Scope: wire.ScopeCritical,
			LastCheck: moment.Add(-time.Hour), NextCheck: moment.Add(5 * time.Hour),
			Notice: &updater.Notice{
				From: "v2.11.3", To: "v2.11.9", Severity: wire.SeverityCritical, Advisories: []string{"GO-2026-5346"}, Installs: true,
				Link: "https://example.com/v2.11.9",
			},
			Last: &updater.Outcome{
				State: updater.Failed, Step: updater.Rehearsing, Cause: updater.CauseRehearsal, From: "v2.11.3", To: "v2.11.8",
				Why: "https://a.example/ answers 500, was 200", Ended: moment.Add(-24 * time.Hour),
			},
		},
	}
}

// scriptedUpdates are updates whose answers a test sets.
type scriptedUpdates struct {
	mu    sync.Mutex
	calls []string
	fail  error
	docs  []updatesDocument // answered one after the other; the last one again and again
	build buildDocument
}

func (s *scriptedUpdates) did(what string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, what)
	return s.fail
}

func (s *scriptedUpdates) Document() updatesDocument {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.docs[0]
	if len(s.docs) > 1 {
		s.docs = s.docs[1:]
	}
	return d
}

func (s *scriptedUpdates) Build() (buildDocument, error)           { return s.build, s.fail }
func (s *scriptedUpdates) Apply(_ context.Context, v string) error { return s.did("apply " + v) }
func (s *scriptedUpdates) Rollback(context.Context) error          { return s.did("rollback") }
func (s *scriptedUpdates) Pause(who string) error                  { return s.did("pause " + who) }
func (s *scriptedUpdates) Resume() error                           { return s.did("resume") }
func (s *scriptedUpdates) admin() http.Handler {
	return serveAdmin(adminAPI{func() (instance, bool) { return reporting(), true }, func() updatesInstance { return s }}.routes())
}

func TestAdminAPIUpdates(t *testing.T) {
	for name, test := range map[string]struct {
		method, path, body string
		fail               error
		status             int
		want               string // a part of the answer
		calls              []string
	}{
		"updates":              {"GET", "updates", "", nil, 200, `"waiting":"for the window Sun 02:00-05:00 UTC"`, nil},
		"build":                {"GET", "build", "", nil, 200, `"service":"https://updates.example"`, nil},
		"apply":                {"POST", "apply", "", nil, 200, "has begun", []string{"apply "}},
		"apply a version":      {"POST", "apply", `{"version":"v2.11.9"}`, nil, 200, "has begun", []string{"apply v2.11.9"}},
		"apply, refused":       {"POST", "apply", "", errors.New("there is none"), 409, "there is none", []string{"apply "}},
		"apply by GET":         {"GET", "apply", "", nil, 405, "takes POST", nil},
		"apply, misspelled":    {"POST", "apply", `{"verson":"v2.11.9"}`, nil, 400, "not understood", nil},
		"apply, more than one": {"POST", "apply", `{} {}`, nil, 400, "after the request's end", nil},
		"apply, too long":      {"POST", "apply", `{"version":"` + strings.Repeat("x", 5000) + `"}`, nil, 400, "too long", nil},
		"rollback":             {"POST", "rollback", "", nil, 200, "way back has begun", []string{"rollback"}},
		"rollback, refused":    {"POST", "rollback", "", errors.New("nothing ran before"), 409, "nothing ran before", []string{"rollback"}},
		"pause":                {"POST", "pause", `{"who":"me"}`, nil, 200, "are paused", []string{"pause me"}},
		"pause by nobody":      {"POST", "pause", "", nil, 200, "are paused", []string{"pause someone at the admin API"}},
		"pause by too many":    {"POST", "pause", `{"who":"` + strings.Repeat("x", 300) + `"}`, nil, 400, "too long", nil},
		"resume":               {"POST", "resume", "", nil, 200, "go on", []string{"resume"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := &scriptedUpdates{docs: []updatesDocument{anUpdate()}, fail: test.fail, build: buildDocument{Service: "https://updates.example"}}
			w := httptest.NewRecorder()
			s.admin().ServeHTTP(w, httptest.NewRequest(test.method, apiBase+test.path, strings.NewReader(test.body)))
			if w.Code != test.status || !strings.Contains(w.Body.String(), test.want) {
				t.Errorf("answer is %d %s, want %d with %q", w.Code, w.Body, test.status, test.want)
			}
			if d := cmp.Diff(test.calls, s.calls); d != "" {
				t.Errorf("what was done (-want +got):\n%s", d)
			}
		})
	}
}

func TestCommandsOfUpdates(t *testing.T) {
	serve := func(s *scriptedUpdates) string {
		srv := httptest.NewServer(s.admin())
		t.Cleanup(srv.Close)
		return srv.Listener.Addr().String()
	}
	step := func(state updater.State, last *updater.Outcome) updatesDocument {
		return updatesDocument{Status: updater.Status{State: state, Candidate: &updater.Candidate{Version: "v2.11.9"}, Last: last}}
	}
	healthy := &updater.Outcome{State: updater.Healthy, From: "v2.11.3", To: "v2.11.9", Ended: moment}
	failed := &updater.Outcome{State: updater.Failed, Step: updater.Downloading, From: "v2.11.3", To: "v2.11.9", Why: "the disk is full", Ended: moment}
	back := &updater.Outcome{State: updater.RolledBack, Step: updater.Watching, From: "v2.11.3", To: "v2.11.9", Why: "a person asked for it", Ended: moment}
	for name, test := range map[string]struct {
		args        []string
		docs        []updatesDocument
		fail        error
		out, stderr string
		err         string
		calls       []string
	}{
		"apply": {
			args: []string{"apply", "--version", "v2.11.9"},
			docs: []updatesDocument{step(updater.Idle, failed), step(updater.Downloading, failed), step(updater.Switching, failed), step(updater.Healthy, &updater.Outcome{State: updater.Healthy, From: "v2.11.3", To: "v2.11.9", Ended: moment.Add(time.Minute)})},
			out:  "updated from v2.11.3 to v2.11.9.\n", stderr: "downloading v2.11.9\nswitching v2.11.9\nhealthy v2.11.9\n", calls: []string{"apply v2.11.9"},
		},
		"apply fails": {
			args: []string{"apply"}, docs: []updatesDocument{step(updater.Idle, nil), step(updater.Failed, failed)},
			stderr: "failed v2.11.9\n", err: "the update from v2.11.3 to v2.11.9 failed while downloading: the disk is full; what runs serves on", calls: []string{"apply "},
		},
		"apply is refused": {args: []string{"apply"}, docs: []updatesDocument{step(updater.Idle, nil)}, fail: errors.New("there is none"), err: "there is none", calls: []string{"apply "}},
		"apply and rolled back": {
			args: []string{"apply"}, docs: []updatesDocument{step(updater.Idle, healthy), step(updater.RolledBack, &updater.Outcome{State: updater.RolledBack, From: "v2.11.3", To: "v2.11.9", Why: "5xx rate", Ended: moment.Add(time.Second)})},
			stderr: "rolled-back v2.11.9\n", err: "back from v2.11.9 to v2.11.3: 5xx rate; what runs serves on", calls: []string{"apply "},
		},
		"apply and don't wait": {args: []string{"apply", "--detach"}, docs: []updatesDocument{step(updater.Idle, nil)}, out: "The update has begun: GET /evergreen/updates tells how it goes.\n", calls: []string{"apply "}},
		"rollback": {
			args: []string{"rollback"}, docs: []updatesDocument{step(updater.Healthy, healthy), step(updater.RolledBack, &updater.Outcome{State: updater.RolledBack, From: back.From, To: back.To, Why: back.Why, Ended: moment.Add(time.Hour)})},
			out: "back from v2.11.9 to v2.11.3: a person asked for it.\n", stderr: "rolled-back v2.11.9\n", calls: []string{"rollback"},
		},
		"resume": {args: []string{"resume"}, docs: []updatesDocument{step(updater.Idle, nil)}, out: "Updates go on.\n", calls: []string{"resume"}},
		"pause":  {args: []string{"pause"}, docs: []updatesDocument{step(updater.Idle, nil)}, out: "Updates are paused, over restarts as well, until they are resumed.\n", calls: []string{"pause " + whoami()}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &scriptedUpdates{docs: test.docs, fail: test.fail}
			out, stderr, err := run("", append(test.args, "--address", serve(s))...)
			if out != test.out || stderr != test.stderr {
				t.Errorf("printed %q and %q, want %q and %q", out, stderr, test.out, test.stderr)
			}
			if got := ""; err != nil || test.err != "" {
				if err != nil {
					got = err.Error()
				}
				if got != test.err {
					t.Errorf("error %q, want %q", got, test.err)
				}
			}
			if d := cmp.Diff(test.calls, s.calls); d != "" {
				t.Errorf("what was done (-want +got):\n%s", d)
			}
		})
	}
}

func TestCommandAudit(t *testing.T) {
	answer := updater.Audit{
		Verdict: updater.Vulnerable, Says: "vulnerable", AdvisoriesAsOf: moment,
		Findings: []updater.Finding{
			{ID: "GO-2026-5346", Summary: "Smuggling of requests", Link: "https://pkg.go.dev/vuln/GO-2026-5346", Path: wire.CaddyPath, Version: "v2.11.3", Severity: wire.SeverityCritical, FixedIn: "v2.11.9"},
			{ID: "GO-2026-1", Path: "example.com/x", Version: "v1.0.0", Severity: wire.SeverityUnrated},
		},
		Plan: &wire.Plan{Changes: []wire.Change{{Path: wire.CaddyPath, From: "v2.11.3", To: "v2.11.9"}}},
	}
	var asked wire.Check
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != wire.PathAudit || json.NewDecoder(r.Body).Decode(&asked) != nil {
			http.NotFound(w, r)
			return
		}
		json.NewEncoder(w).Encode(answer)
	}))
	defer service.Close()
	s := &scriptedUpdates{build: buildDocument{Service: service.URL, Check: wire.Check{
		Build: wire.BuildList{Go: "go1.26.3", Modules: []wire.ModuleVersion{{Path: wire.CaddyPath, Version: "v2.11.3"}}},
	}}}
	admin := httptest.NewServer(s.admin())
	defer admin.Close()
	address := admin.Listener.Addr().String()

	out, _, err := run("", "audit", "--address", address)
	if err == nil || err.Error() != "vulnerable" {
		t.Errorf("error %v, want that it is vulnerable", err)
	}
	want := `The running Caddy: vulnerable.

GO-2026-5346 (critical) in github.com/caddyserver/caddy/v2 v2.11.3, fixed in v2.11.9
    Smuggling of requests
    https://pkg.go.dev/vuln/GO-2026-5346

1 finding more in what is not linked here, or unrated: --json lists them.

This changes it:
  github.com/caddyserver/caddy/v2 v2.11.3 → v2.11.9
` + "`caddy evergreen apply` installs what the update service offers." + `

As of 2026-11-21.
`
	if d := cmp.Diff(want, out); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
	if asked.Build.Version(wire.CaddyPath) != "v2.11.3" || asked.Scope != wire.ScopeImportant {
		t.Errorf("the service was asked for %+v", asked)
	}

	answer = updater.Audit{Verdict: updater.Clean, Says: "clean: the vulnerability database is of 2026-11-21, and knows no vulnerability of what is linked"}
	out, _, err = run("", "audit", "--address", address, "--json")
	if err != nil || !strings.Contains(out, `"verdict": "clean"`) {
		t.Errorf("clean: %q, %v", out, err)
	}
	answer = updater.Audit{Verdict: "perhaps"}
	if _, _, err = run("", "audit", "--address", address); err == nil || !strings.Contains(err.Error(), `the verdict "perhaps"`) {
		t.Errorf("an unheard-of verdict: %v", err)
	}
	if _, _, err = run("", "audit", "--address", address, "--service", service.URL+"/elsewhere"); err == nil || !strings.Contains(err.Error(), "no service that knows about vulnerabilities") {
		t.Errorf("no service: %v", err)
	}
}
