package main

import (
	"archive/zip"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/caddy-evergreen/evergreen/server/control"
	"github.com/caddy-evergreen/evergreen/server/release"
)

// TestReleaseScripts asks a service as its users would. Each script has one of
// its own, at EVERGREEN_SERVER, whose administrator's token is in admin.token.
func TestReleaseScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: filepath.Join("testdata", "release"), Setup: func(e *testscript.Env) error {
		vulns := filepath.Join(e.WorkDir, "vulndb.zip")
		if err := writeVulns(vulns); err != nil {
			return err
		}
		db, err := control.Open(t.Context(), "sqlite:"+filepath.Join(e.WorkDir, "control.db"))
		if err != nil {
			return err
		}
		e.Defer(func() { db.Close() })
		s, err := release.Open(t.Context(), release.Config{
			DB: db, AdminTokenFile: filepath.Join(e.WorkDir, "admin.token"), TwoPeople: true, Vulndb: vulns,
		})
		if err != nil {
			return err
		}
		if err := s.RefreshAdvisories(t.Context()); err != nil {
			return err
		}
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		mux := http.NewServeMux()
		s.Register(mux)
		web := &http.Server{Handler: mux}
		go web.Serve(ln)
		e.Defer(func() { web.Close() })
		e.Setenv("EVERGREEN_SERVER", "http://"+ln.Addr().String())
		return nil
	}})
}

func writeVulns(file string) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	z := zip.NewWriter(f)
	for name, body := range map[string]string{
		"index/db.json": `{"modified": "2026-08-21T00:00:00Z"}`,
		"ID/GO-2026-0001.json": `{"id": "GO-2026-0001", "modified": "2026-08-02T00:00:00Z", "published": "2026-08-01T00:00:00Z", "aliases": ["CVE-2026-1"],
			"summary": "A request is believed", "affected": [{"package": {"name": "example.com/plugin", "ecosystem": "Go"},
			"ranges": [{"type": "SEMVER", "events": [{"introduced": "0"}, {"fixed": "1.2.3"}]}]}]}`,
	} {
		w, err := z.Create(name)
		if err != nil {
			return err
		}
		if _, err := io.WriteString(w, body); err != nil {
			return err
		}
	}
	return errors.Join(z.Close(), f.Close())
}
