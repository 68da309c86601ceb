package main

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-evergreen/evergreen/wire"
)

// TestSimulated writes a small fleet, serves it, and sends another one's
// reports to the same service: pages say that it is simulated, and have both.
func TestSimulated(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	var out strings.Builder
	p := &pastFleet{days: 1, instances: 3, seed: 1}
	if err := p.write(t.Context(), data, wire.DefaultTiming, &out); err != nil {
		t.Fatal(err)
	}
	// It is its own folder: it may be made anew.
	if err := p.write(t.Context(), data, wire.DefaultTiming, io.Discard); err != nil {
		t.Fatal(err)
	}
	if err := bench(t.Context(), []string{"fleet", "--rollups", "--data", data, "--instances", "1", "--days", "1"}, io.Discard, io.Discard); err == nil {
		t.Error("another history is written over the first")
	}
	config := defaultConfig()
	config.Data, config.Roles = data, []string{roleCollect, roleDashboard}
	if err := config.complete(); err != nil {
		t.Fatal(err)
	}
	s, err := newService(t.Context(), config, wire.DefaultTiming, slog.New(slog.NewTextHandler(io.Discard, nil)), "")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	srv := httptest.NewServer(s.handler)
	defer srv.Close()
	resp, err := http.Get(srv.URL + "/?range=24h")
	if err != nil {
		t.Fatal(err)
	}
	page, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(string(page), `id="simulated"`) {
		t.Errorf("the page is not marked: %s, %v", resp.Status, err)
	}

	// The real protocol: all reports of a fleet are taken.
	before := s.reports.Durable()
	if err := bench(t.Context(), []string{"fleet", "--server", srv.URL, "--instances", "2", "--days", "1", "--senders", "2"}, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	if s.reports.Durable() == before || !strings.Contains(out.String(), "reports a second") {
		t.Errorf("no report arrived:\n%s", out.String())
	}
}

func TestBenchArguments(t *testing.T) {
	for _, args := range [][]string{
		{}, {"other"}, {"fleet"}, {"fleet", "--rollups"}, {"fleet", "--rollups", "--server", "http://x"},
		{"fleet", "--server", "http://x", "--days", "8"}, {"fleet", "--rollups", "--data", "x", "--days", "0"},
		{"fleet", "--server", "http://x", "--senders", "0"}, {"pages", "--times", "0"}, {"fleet", "--rollups", "--data", "x", "--windows", "-1h"},
	} {
		if err := bench(t.Context(), args, io.Discard, io.Discard); !errors.Is(err, errUsage) {
			t.Errorf("%q: %v", args, err)
		}
	}
	for _, s := range []string{"", "d", "0d", "90", "1001d", "-1d", "1.5d"} {
		if _, err := parseDays(s); err == nil {
			t.Errorf("a history of %q is taken", s)
		}
	}
	if n, err := parseDays("90d"); n != 90 || err != nil {
		t.Errorf("90d is %d days, %v", n, err)
	}
}
