package release_test

import (
	"archive/zip"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/server/release"
	"github.com/caddy-evergreen/evergreen/wire"
)

// vulns is a small database: two of a plugin, one of them with a score, and
// one of the standard library.
func vulns(t *testing.T, asOf string) string {
	t.Helper()
	entry := func(id, module, fixed string) string {
		return fmt.Sprintf(`{"id": %q, "modified": "2026-08-02T00:00:00Z", "published": "2026-08-0%sT00:00:00Z", "aliases": ["CVE-%[1]s"], "summary": "of %[3]s",
			"affected": [{"package": {"name": %[3]q, "ecosystem": "Go"}, "ranges": [{"type": "SEMVER", "events": [{"introduced": "0"}, {"fixed": %[4]q}]}]}]}`, id, id[len(id)-1:], module, fixed)
	}
	file := filepath.Join(t.TempDir(), "vulndb.zip")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	z := zip.NewWriter(f)
	for name, body := range map[string]string{
		"index/db.json":        fmt.Sprintf(`{"modified": %q}`, asOf),
		"ID/GO-2026-0001.json": entry("GO-2026-0001", plugin, "1.2.3"),
		"ID/GO-2026-0002.json": entry("GO-2026-0002", plugin, "1.3.0"),
		"ID/GO-2026-0003.json": entry("GO-2026-0003", "stdlib", "1.26.4"),
	} {
		w, err := z.Create(name)
		if err == nil {
			_, err = io.WriteString(w, body)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestSeverities(t *testing.T) {
	s := start(t, release.Config{Vulndb: vulns(t, "2026-08-21T00:00:00Z")})
	if got := s.Snapshot().AsOf(); !got.IsZero() || len(s.Snapshot().AdvisoriesFor(plugin)) != 0 {
		t.Errorf("before the database is read, it is of %v", got)
	}
	if err := s.RefreshAdvisories(t.Context()); err != nil {
		t.Fatal(err)
	}
	check := func(when string, want ...string) {
		t.Helper()
		var got []string
		as, all := s.Snapshot().RecentAdvisories("", "", 2)
		if len(as) != 2 || all != 3 {
			t.Errorf("%s: %d of %d advisories, not 2 of 3", when, len(as), all)
		}
		as, _ = s.Snapshot().RecentAdvisories("", "", 3)
		for _, a := range as {
			got = append(got, fmt.Sprint(a.ID[len(a.ID)-1:], " ", a.Severity, " ", a.Why))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", when, diff)
		}
		// Every way to them says the same.
		for _, path := range []string{plugin, wire.Stdlib} {
			for _, a := range s.Snapshot().AdvisoriesFor(path) {
				if diff := cmp.Diff([]wire.Advisory{a}, s.Snapshot().Advisory(a.Aliases[0])); diff != "" {
					t.Errorf("%s: by module and by alias (-want +got):\n%s", when, diff)
				}
			}
		}
	}
	tag := func(path, v string, severity wire.Severity) {
		t.Helper()
		s.ok(s.admin, "/api/v1/releases/tag", release.Tag{Path: path, Version: v, Severity: severity}, nil)
	}
	check("at first", "3 unrated unrated", "2 unrated unrated", "1 unrated unrated")
	tag(plugin, "v1.3.0", wire.SeverityFeature)
	check("a feature release that also fixes something", "3 unrated unrated", "2 unrated unrated", "1 unrated unrated")
	tag(plugin, "v1.2.3", wire.SeverityCritical)
	check("a critical release", "3 unrated unrated", "2 unrated unrated", "1 critical release")
	tag(wire.Toolchain, "go1.26.4", wire.SeverityImportant)
	check("an important toolchain", "3 important release", "2 unrated unrated", "1 critical release")
	override := release.OverrideRequest{ID: "CVE-GO-2026-0001", Severity: wire.SeverityMinor, Reason: "we don't use that"}
	s.ok(s.admin, "/api/v1/advisories/override", override, nil)
	check("an override, by alias", "3 important release", "2 unrated unrated", "1 minor override")
	var shown release.AdvisoryShown
	s.get("/api/v1/advisories/GO-2026-0001", &shown)
	want := &release.Override{ID: "GO-2026-0001", Severity: wire.SeverityMinor, Reason: "we don't use that", By: "admin", Time: s.clock.Now()}
	if diff := cmp.Diff(want, shown.Override); diff != "" || shown.Link != "https://pkg.go.dev/vuln/GO-2026-0001" {
		t.Errorf("shown with %q (-want +got):\n%s", shown.Link, diff)
	}
	override.Severity = ""
	s.ok(s.admin, "/api/v1/advisories/override", override, nil)
	s.ok(s.admin, "/api/v1/releases/yank", release.YankRequest{Path: wire.Toolchain, Version: "go1.26.4", Reason: "does not build"}, nil)
	check("taken back, and a release withdrawn", "3 unrated unrated", "2 unrated unrated", "1 critical release")

	override.ID, override.Severity = "GO-2026-0009", wire.SeverityMinor
	s.refused(http.StatusNotFound, "2026-08-21", s.admin, "/api/v1/advisories/override", override)
	override.ID, override.Severity = "GO-2026-0001", "grave"
	s.refused(http.StatusUnprocessableEntity, "severity is", s.admin, "/api/v1/advisories/override", override)
	override.Severity = wire.SeverityMinor
	s.refused(http.StatusForbidden, "admin of all", s.maintainer("ann", plugin), "/api/v1/advisories/override", override)

	before := s.Snapshot()
	if err := s.RefreshAdvisories(t.Context()); err != nil || s.Snapshot() != before {
		t.Errorf("the same database makes another snapshot: %v", err)
	}
}

func TestRead(t *testing.T) {
	s := start(t, release.Config{})
	for i, v := range []string{"v0.1.0", "v0.3.0", "v0.2.0"} {
		s.ok(s.admin, "/api/v1/releases/tag", release.Tag{Path: plugin, Version: v, Severity: wire.Severities[i]}, nil)
		s.clock.add(time.Second)
	}
	s.ok(s.admin, "/api/v1/releases/tag", release.Tag{Path: "example.com/b", Version: "v1.0.0", Severity: wire.SeverityMinor}, nil)
	for query, want := range map[string][]string{
		"":                               {"example.com/b v1.0.0", plugin + " v0.2.0", plugin + " v0.3.0", plugin + " v0.1.0"},
		"?path=" + plugin:                {plugin + " v0.3.0", plugin + " v0.2.0", plugin + " v0.1.0"},
		"?severity=critical":             {plugin + " v0.1.0"},
		"?channel=beta":                  nil,
		"?limit=1":                       {"example.com/b v1.0.0"},
		"?path=" + plugin + "&limit=1":   {plugin + " v0.3.0"},
		"?path=example.com/none&limit=1": nil,
	} {
		var list release.ReleaseList
		if status, text := s.get("/api/v1/releases"+query, &list); status != http.StatusOK {
			t.Errorf("%s: %d %s", query, status, text)
		}
		var got []string
		for _, r := range list.Releases {
			got = append(got, r.Path+" "+r.Version)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", query, diff)
		}
	}
	for path, want := range map[string]string{
		"/api/v1/releases?limit=0":                                 "400 a parameter is not understood: limit is",
		"/api/v1/releases?limt=3":                                  `400 a parameter is not understood: There is no parameter "limt". Did you mean "limit"?`,
		"/api/v1/releases?limit=3&limit=4":                         "400 a parameter is not understood: limit is given twice.",
		"/api/v1/releases?severity=grave":                          "400 a parameter is not understood: severity is",
		"/api/v1/releases/show?path=x":                             "404 there is nothing here: No release of",
		"/api/v1/releases/show?path=" + plugin + "&version=v9.9.9": "404 there is nothing here: " + plugin + " has no release \"v9.9.9\" that is known; the highest is v0.3.0.",
		"/api/v1/releases/audit?before=x":                          "400 a parameter is not understood: before is",
		"/api/v1/advisories/GO-1":                                  "404 there is nothing here: The database of vulnerabilities, of no date",
	} {
		if status, text := s.get(path, nil); !strings.HasPrefix(fmt.Sprint(status, " ", text), want) {
			t.Errorf("%s: %d %s, which should begin %s", path, status, text, want)
		}
	}
	// Asking again costs nothing until something changes.
	r := s.request("GET", "/api/v1/releases", nil)
	r.Header.Set("If-None-Match", `"`+s.Snapshot().Generation()+`"`)
	if status, _ := s.do(r, nil); status != http.StatusNotModified {
		t.Errorf("asked again: %d", status)
	}
	s.ok(s.admin, "/api/v1/releases/yank", release.YankRequest{Path: plugin, Version: "v0.1.0", Reason: "x"}, nil)
	if status, _ := s.do(r, nil); status != http.StatusOK {
		t.Errorf("asked again after a change: %d", status)
	}
}

// TestServersShare has two servers change the same releases at once: no change
// is lost, and each sees the other's.
func TestServersShare(t *testing.T) {
	a := start(t, release.Config{})
	b := start(t, release.Config{DB: a.db, AdminTokenFile: filepath.Join(t.TempDir(), "none")})
	ctx, stop := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- b.Run(ctx) }()
	var wg sync.WaitGroup
	for i, s := range []*server{a, b} {
		wg.Go(func() {
			for n := range 10 {
				s.ok(a.admin, "/api/v1/releases/tag", release.Tag{Path: plugin, Version: fmt.Sprintf("v0.%d.%d", i, n), Severity: wire.SeverityMinor}, nil)
			}
		})
	}
	wg.Wait()
	// Each has its own at once; the other's when it next looks.
	for len(b.Snapshot().Releases(plugin)) < 20 {
		select {
		case <-b.Snapshot().Superseded():
		case <-t.Context().Done():
			t.Fatal("the other server's changes are never seen")
		}
	}
	stop()
	if err := <-ran; err != nil {
		t.Error(err)
	}
	if lines, _, err := a.VerifyAudit(t.Context()); err != nil || lines != 21 {
		t.Errorf("the log has %d lines: %v", lines, err)
	}
}
