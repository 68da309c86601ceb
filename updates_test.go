package evergreen

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	zapobserver "go.uber.org/zap/zaptest/observer"

	"github.com/caddy-evergreen/evergreen/recorder"
	"github.com/caddy-evergreen/evergreen/updater"
	"github.com/caddy-evergreen/evergreen/wire"
)

func TestRootMetadata(t *testing.T) {
	roots := map[string]string{"/tuf/1.root.json": "the first", "/tuf/2.root.json": "the second", "/tuf/3.root.json": "the third"}
	var asked atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if b, ok := roots[r.URL.Path]; ok {
			w.Write([]byte(b))
			return
		}
		http.NotFound(w, r)
	}))
	defer srv.Close()
	url, dir := srv.URL+"/tuf", filepath.Join(t.TempDir(), "tuf")
	sum := func(s string) string { h := sha256.Sum256([]byte(s)); return hex.EncodeToString(h[:]) }
	get := func(p updatesPolicy) (string, error) {
		b, err := rootMetadata(context.Background(), &p, url, dir)
		return string(b), err
	}
	if got, err := get(updatesPolicy{RootSum: sum("the second")}); err != nil || got != "the second" {
		t.Errorf("by hash: %q, %v", got, err)
	}
	before := asked.Load()
	if got, err := get(updatesPolicy{RootSum: strings.ToUpper(sum("the second"))}); err != nil || got != "the second" || asked.Load() != before {
		t.Errorf("kept: %q, %v, asked %d times", got, err, asked.Load()-before)
	}
	var why *updater.Error
	if _, err := get(updatesPolicy{RootSum: sum("another")}); !errors.As(err, &why) || why.Cause != updater.CauseSignature {
		t.Errorf("no such root: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "pinned.root.json"), []byte("changed"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := get(updatesPolicy{RootSum: sum("the second")}); err != nil || got != "the second" {
		t.Errorf("what was kept was changed: %q, %v", got, err)
	}
	file := filepath.Join(t.TempDir(), "root.json")
	if err := os.WriteFile(file, []byte("my own"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := get(updatesPolicy{Root: file}); err != nil || got != "my own" {
		t.Errorf("a file: %q, %v", got, err)
	}
	if _, err := get(updatesPolicy{Root: file + ".not"}); err == nil {
		t.Error("a file that is not there is none")
	}
	roots["/tuf/1.root.json"] = strings.Repeat("x", maxRoot+1)
	if _, err := get(updatesPolicy{RootSum: sum("the first")}); !errors.As(err, &why) || why.Cause != updater.CauseNetwork {
		t.Errorf("too large: %v", err)
	}
}

func TestMeter(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("12345")) }))
	defer srv.Close()
	var m meter
	client := &http.Client{Transport: &m}
	for _, path := range []string{"/tuf/timestamp.json", "/tuf/targets/aa/abc.delta"} {
		resp, err := client.Get(srv.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	target := wire.Target{Files: []wire.TargetFile{{SHA256: "abc", Method: "bsdiff"}, {SHA256: "def"}}}
	if m.bytes.Load() != 10 || m.method(target) != "bsdiff" {
		t.Errorf("%d bytes by %q, want 10 by bsdiff", m.bytes.Load(), m.method(target))
	}
}

func TestTell(t *testing.T) {
	core, logs := zapobserver.New(zapcore.DebugLevel)
	u := &updates{log: zap.New(core)}
	n := updater.Notice{
		From: "v2.11.3", To: "v2.11.9", Severity: wire.SeverityCritical, Link: "https://example.com", Advisories: []string{"GO-2026-1"},
		Changes: []wire.Change{{Path: wire.CaddyPath, From: "v2.11.3", To: "v2.11.9"}}, Installs: true,
	}
	u.tell(n)
	n.Installs, n.Why = false, "notify is set"
	u.tell(n)
	want := []map[string]any{
		{
			"from": "v2.11.3", "to": "v2.11.9", "severity": "critical", "link": "https://example.com", "reasons": []any{}, "advisories": []any{"GO-2026-1"},
			"changes": []any{wire.CaddyPath + " v2.11.3 → v2.11.9"}, "installs": true,
		}, {
			"from": "v2.11.3", "to": "v2.11.9", "severity": "critical", "link": "https://example.com", "reasons": []any{}, "advisories": []any{"GO-2026-1"},
			"changes": []any{wire.CaddyPath + " v2.11.3 → v2.11.9"}, "installs": false, "because": "notify is set",
		},
	}
	var got []map[string]any
	for _, e := range logs.All() {
		got = append(got, e.ContextMap())
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("entries (-want +got):\n%s", d)
	}
	if l := logs.All(); l[0].Level != zapcore.InfoLevel || l[1].Level != zapcore.WarnLevel {
		t.Errorf("levels are %s and %s", l[0].Level, l[1].Level)
	}
}

// Each cause, step and method of the updater has its word in the dictionary.
func TestCountOutcome(t *testing.T) {
	for _, c := range updater.Causes {
		if c != updater.CauseNone && c != updater.CauseOther && !wire.UpdateCause.Has(string(c)) {
			t.Errorf("the dictionary lacks the cause %q", c)
		}
	}
	for _, s := range updater.States {
		if s.Ended() != wire.UpdateResult.Has(string(s)) || !s.Ended() && s != updater.Idle && !wire.UpdateStep.Has(string(s)) {
			t.Errorf("the dictionary lacks the state %q", s)
		}
	}
	rec, err := recorder.New(recorder.Options{Timing: wire.DefaultTiming})
	if err != nil {
		t.Fatal(err)
	}
	countOutcome(rec, updater.Outcome{
		State: updater.Healthy, Step: updater.Watching, Began: moment, Ended: moment.Add(12 * time.Minute), Bytes: 500_000, Method: "bsdiff",
		Seconds: map[updater.State]float64{updater.Watching: 600, updater.Downloading: -1},
	})
	countOutcome(rec, updater.Outcome{State: updater.Failed, Step: updater.Rehearsing, Cause: updater.CauseRehearsal})
	want := []string{
		"updates_attempts_step{update_result=failed,update_step=rehearsing} 1", "updates_attempts_step{update_result=healthy,update_step=watching} 1",
		"updates_attempts{update_cause=none,update_result=healthy} 1", "updates_attempts{update_cause=rehearsal,update_result=failed} 1",
	}
	reg := prometheus.NewRegistry()
	reg.MustRegister(rec.Collector())
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	histograms := map[string]uint64{}
	for _, f := range families {
		name := strings.TrimSuffix(strings.TrimPrefix(f.GetName(), "caddy_evergreen_"), "_total")
		if !strings.HasPrefix(name, "updates_") {
			continue
		}
		for _, m := range f.GetMetric() {
			if f.GetType() == dto.MetricType_HISTOGRAM {
				histograms[name] += m.GetHistogram().GetSampleCount()
				continue
			}
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			got = append(got, name+"{"+strings.Join(labels, ",")+"} "+strconv.FormatFloat(m.GetCounter().GetValue(), 'g', -1, 64))
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("counted (-want +got):\n%s", d)
	}
	if d := cmp.Diff(map[string]uint64{"updates_step_duration_seconds": 2, "updates_duration_seconds": 1, "updates_download_size_bytes": 1}, histograms); d != "" {
		t.Errorf("observed (-want +got):\n%s", d)
	}
}

// With updates off, in any way, nothing is asked and no file is written; setting
// it twice is refused.
func TestUpdatesOffWritesNothing(t *testing.T) {
	var asked atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		http.NotFound(w, r)
	}))
	defer srv.Close()
	t.Setenv("EVERGREEN_UPDATES_SERVER", srv.URL)
	t.Setenv("XDG_DATA_HOME", t.TempDir()) // where no other test has written
	for name, test := range map[string]struct{ option, env, why string }{
		"option":      {"updates none", "", "updates none in the configuration"},
		"environment": {"updates all install", "off", "EVERGREEN_UPDATES in the environment"},
		"both":        {"", "none", "EVERGREEN_UPDATES in the environment"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("EVERGREEN_UPDATES", test.env)
			_, c := newSite(t, test.option, `respond "fine"`)
			mustLoad(t, c)
			if got := currentUpdatesInstance().Document(); got.Off != test.why {
				t.Errorf("off because of %q, want %q", got.Off, test.why)
			}
			if currentUpdates() != nil {
				t.Error("there is an updater")
			}
			if err := caddy.Stop(); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(updatesDir()); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the folder is there: %v", err)
			}
		})
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("the service was asked %d times", n)
	}
	t.Setenv("EVERGREEN_UPDATES", "")
	_, c := newSite(t, "updates none\n evergreen {\n updates none\n }", `respond "fine"`)
	if err := load(t, c); err == nil || !strings.Contains(err.Error(), "updates is set twice") {
		t.Errorf("set twice: %v", err)
	}
}

func TestDiscard(t *testing.T) {
	u := &updates{dir: t.TempDir()}
	parts := filepath.Join(u.dir, "tuf", "parts")
	if err := os.MkdirAll(parts, 0o700); err != nil {
		t.Fatal(err)
	}
	wanted, sum, other := strings.Repeat("aa", 32), strings.Repeat("bb", 32), strings.Repeat("cc", 32)
	outside := filepath.Join(u.dir, "outside")
	for _, file := range []string{filepath.Join(parts, wanted), filepath.Join(parts, sum), filepath.Join(parts, other+".packed"), outside} {
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	u.discard(wire.Target{SHA256: sum, Files: []wire.TargetFile{{SHA256: other}, {SHA256: "../../outside"}}})
	left, err := filepath.Glob(filepath.Join(parts, "*"))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{filepath.Join(parts, wanted)}, left); d != "" {
		t.Errorf("left (-want +got):\n%s", d)
	}
	if _, err := os.Stat(outside); err != nil {
		t.Error(err)
	}
}
