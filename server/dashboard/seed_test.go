package dashboard_test

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/proto"

	"github.com/caddy-evergreen/evergreen/server/dashboard"
	"github.com/caddy-evergreen/evergreen/server/hll"
	"github.com/caddy-evergreen/evergreen/server/ingestlog"
	"github.com/caddy-evergreen/evergreen/server/store"
	"github.com/caddy-evergreen/evergreen/server/store/duckdb"
	"github.com/caddy-evergreen/evergreen/wire"
)

// now is when all tests take place: some windows into an hour.
var now = time.Date(2026, 11, 21, 10, 23, 20, 0, time.UTC)

// A rollup sums observations up by all grains, as package aggregate does.
type rollup map[store.Key]*store.Row

func (ro rollup) row(g store.Grain, at time.Time, m wire.MetricID, f wire.Facet, value string, d wire.Dims, label string) *store.Row {
	k := store.Key{Grain: g, Start: g.Start(at).Unix(), Metric: m, Facet: f, Value: value, Dims: d, Label: label}
	if ro[k] == nil {
		ro[k] = &store.Row{Key: k}
	}
	return ro[k]
}

// count counts n events of instances in a window.
func (ro rollup) count(at time.Time, m wire.MetricID, d wire.Dims, n, instances uint64) {
	for _, g := range store.Grains {
		r := ro.row(g, at, m, wire.All, "", d, "")
		r.Count += n
		r.Reports += uint32(instances)
		r.Top = max(r.Top, n/max(instances, 1))
	}
}

// observe adds n observations around the median with a long tail.
func (ro rollup) observe(at time.Time, m wire.MetricID, d wire.Dims, n uint64, median float64) {
	buckets := make([]uint64, wire.Buckets)
	var sum uint64
	const steps = 40
	for i := range uint64(steps) {
		z := math.Log((float64(i) + 0.5) / (steps - float64(i) - 0.5))
		v := uint64(median * math.Exp(0.9*z))
		c := n*(i+1)/steps - n*i/steps
		buckets[wire.Bucket(v)] += c
		sum += c * v
	}
	for _, g := range store.Grains {
		r := ro.row(g, at, m, wire.All, "", d, "")
		r.Count += n
		r.Sum += sum
		if r.Buckets == nil {
			r.Buckets = make([]uint64, wire.Buckets)
		}
		for i, c := range buckets {
			r.Buckets[i] += c
		}
		r.Reports += 200
	}
}

// active marks an instance as one that reported in a window.
func (ro rollup) active(at time.Time, id uint64, facet wire.Facet, value string) {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], id)
	h := sha256.Sum256(b[:])
	for _, g := range store.Grains {
		r := ro.row(g, at, wire.InstancesActive, facet, value, wire.Dims{}, "")
		if r.Registers == nil {
			r.Registers = make([]byte, hll.Registers)
		}
		hll.Add(r.Registers, binary.LittleEndian.Uint64(h[:]))
		r.Reports++
	}
}

// label counts instances by a label or a dimension, once in each period.
func (ro rollup) fact(at time.Time, m wire.MetricID, d wire.Dims, label string, n uint64) {
	for _, g := range store.Grains {
		r := ro.row(g, at, m, wire.All, "", d, label)
		r.Count = max(r.Count, n)
		r.Reports += uint32(n)
		r.Top = 1
	}
}

func (ro rollup) commit(t testing.TB, s store.Store) {
	t.Helper()
	b := store.Batch{Log: "test", To: 1}
	for _, r := range ro {
		b.Rows = append(b.Rows, *r)
	}
	sortRows(b.Rows)
	if err := s.Commit(context.Background(), b); err != nil {
		t.Fatal(err)
	}
}

func sortRows(rows []store.Row) {
	slices.SortFunc(rows, func(x, y store.Row) int { return compareKeys(x.Key, y.Key) })
}

func compareKeys(a, b store.Key) int {
	for _, c := range []int{
		int(a.Grain) - int(b.Grain), int(a.Start - b.Start), int(a.Metric) - int(b.Metric), int(a.Facet) - int(b.Facet),
	} {
		if c != 0 {
			return c
		}
	}
	if a.Value != b.Value {
		if a.Value < b.Value {
			return -1
		}
		return 1
	}
	if c := slices.Compare(a.Dims[:], b.Dims[:]); c != 0 {
		return c
	}
	if a.Label < b.Label {
		return -1
	}
	return 1
}

func openStore(t testing.TB) *duckdb.Store {
	t.Helper()
	s, err := duckdb.Open("", duckdb.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func openLog(t testing.TB) *ingestlog.Log {
	t.Helper()
	l, err := ingestlog.Open(t.TempDir(), ingestlog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func serve(t testing.TB, cfg dashboard.Config) http.Handler {
	t.Helper()
	if cfg.Now == nil {
		cfg.Now = func() time.Time { return now }
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	d, err := dashboard.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	d.Register(mux)
	return mux
}

type weighted struct {
	name   string
	weight float64
}

func dims(m wire.MetricID, names ...string) wire.Dims {
	var d wire.Dims
	for i, n := range names {
		d[i] = wire.MetricByID(m).Dims[i].Value(n)
	}
	return d
}

// plausible fills a store with what a fleet of some hundred instances might
// report in the time before at.
func plausible(t testing.TB, s store.Store, at time.Time, length time.Duration) {
	t.Helper()
	ro := rollup{}
	rnd := rand.New(rand.NewPCG(1, 2))
	from := at.Add(-length).Truncate(5 * time.Minute)
	versions := []weighted{{"v2.11.9", 0.46}, {"v2.11.8", 0.21}, {"v2.11.3", 0.14}, {"v2.10.2", 0.09}, {"v2.9.1", 0.06}, {"other", 0.04}}
	countries := []weighted{{"DE", 0.22}, {"US", 0.2}, {"FR", 0.11}, {"NL", 0.09}, {"GB", 0.07}, {"JP", 0.06}, {"CA", 0.05}, {"SG", 0.04}, {"BR", 0.04}, {"IN", 0.04}, {"", 0.03}, {"AU", 0.03}, {"SE", 0.02}}
	platforms := []weighted{{"linux/amd64", 0.71}, {"linux/arm64", 0.2}, {"windows/amd64", 0.04}, {"darwin/arm64", 0.03}, {"freebsd/amd64", 0.02}}
	deployments := []weighted{{"production", 0.72}, {"local", 0.17}, {"unknown", 0.11}}
	for w := from; w.Before(at.Add(-time.Minute)); w = w.Add(5 * time.Minute) {
		day := 1 + 0.45*math.Sin(2*math.Pi*(w.Sub(from).Hours()/24-0.3))
		noise := 1 + 0.08*rnd.NormFloat64()
		progress := float64(w.Sub(from)) / float64(length)
		if w.Add(10 * time.Minute).After(at) {
			noise *= 0.6 // not all have reported
		}
		n := 60_000 * day * noise
		instances := uint64(240 + 60*progress + 8*rnd.NormFloat64())
		for id := range instances {
			ro.active(w, id, wire.All, "")
			for f, ws := range map[wire.Facet][]weighted{wire.Version: versions, wire.Country: countries, wire.Platform: platforms, wire.Deployment: deployments} {
				if !mixed(id, w) { // a third each window is enough for the union
					continue
				}
				ro.active(w, id, f, pick(ws, id*uint64(7+f)))
			}
		}
		h3 := 0.24 + 0.08*progress
		for _, p := range []weighted{{"http/1.1", 0.2}, {"http/2", 0.8 - h3 - 0.01}, {"http/3", h3}, {"http/1.0", 0.01}} {
			for _, st := range []weighted{{"200", 0.71}, {"304", 0.09}, {"404", 0.06}, {"301", 0.04}, {"206", 0.03}, {"302", 0.02}, {"308", 0.02}, {"403", 0.011}, {"500", 0.006}, {"502", 0.005}, {"429", 0.004}, {"other", 0.004}} {
				c := uint64(n * p.weight * st.weight * (1 + 0.05*rnd.NormFloat64()))
				ro.count(w, wire.HTTPRequests, dims(wire.HTTPRequests, p.name, st.name, "site"), c, instances)
				class := st.name[:1] + "xx"
				ro.count(w, wire.HTTPRequestsMethod, dims(wire.HTTPRequestsMethod, "GET", class, "site"), c*86/100, instances)
				ro.count(w, wire.HTTPRequestsMethod, dims(wire.HTTPRequestsMethod, "POST", class, "site"), c*11/100, instances)
				ro.count(w, wire.HTTPRequestsMethod, dims(wire.HTTPRequestsMethod, "HEAD", class, "site"), c*3/100, instances)
			}
			c := uint64(n * p.weight)
			v6 := 0.38 + 0.05*progress
			ro.count(w, wire.HTTPRequestsTransport, dims(wire.HTTPRequestsTransport, "tls", "ipv6", p.name, "site"), uint64(float64(c)*v6), instances)
			ro.count(w, wire.HTTPRequestsTransport, dims(wire.HTTPRequestsTransport, "tls", "ipv4", p.name, "site"), uint64(float64(c)*(0.97-v6)), instances)
			ro.count(w, wire.HTTPRequestsTransport, dims(wire.HTTPRequestsTransport, "plain", "ipv4", p.name, "site"), uint64(float64(c)*0.03), instances)
			median := map[string]float64{"http/1.0": 5200, "http/1.1": 3900, "http/2": 2400, "http/3": 2100}[p.name] * (0.8 + 0.3*day) * (1 + 0.05*rnd.NormFloat64())
			ro.observe(w, wire.HTTPFirstByte, dims(wire.HTTPFirstByte, p.name, "2xx"), c, median)
			ro.observe(w, wire.HTTPDuration, dims(wire.HTTPDuration, p.name, "2xx"), c, 3.1*median)
		}
		for _, v := range []weighted{{"TLS 1.3", 0.92}, {"TLS 1.2", 0.078}, {"TLS 1.0", 0.002}} {
			suite := map[string]string{"TLS 1.3": "TLS_AES_128_GCM_SHA256", "TLS 1.2": "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS 1.0": "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA"}[v.name]
			for _, res := range []weighted{{"full", 0.6}, {"resumed", 0.4}} {
				ro.count(w, wire.TLSConnections, dims(wire.TLSConnections, v.name, suite, res.name), uint64(n*0.2*v.weight*res.weight), instances)
			}
			for _, gr := range []weighted{{"X25519MLKEM768", 0.55}, {"X25519", 0.38}, {"secp256r1", 0.07}} {
				ro.count(w, wire.TLSGroups, dims(wire.TLSGroups, gr.name, v.name), uint64(n*0.2*v.weight*gr.weight), instances)
			}
		}
		for _, f := range []struct {
			family                string
			weight, flag, unknown float64
		}{{"chromium", 0.33, 0.021, 0.03}, {"safari", 0.13, 0.004, 0.12}, {"firefox", 0.06, 0.012, 0.05}, {"bot", 0.1, 0, 1}, {"search-bot", 0.05, 0, 1}, {"curl", 0.06, 0.002, 0.3}, {"go", 0.03, 0.01, 0.02}, {"python", 0.04, 0.03, 0.2}} {
			c := n * 0.2 * f.weight
			for v, part := range map[string]float64{"inconsistent": f.flag, "unknown": f.unknown, "consistent": 1 - f.flag - f.unknown} {
				if part > 0 {
					ro.count(w, wire.TLSInterception, dims(wire.TLSInterception, v, f.family), uint64(c*part), instances)
				}
			}
			for lib, part := range map[string]float64{"openssl": 0.6, "go": 0.25, "schannel": 0.1, "gnutls": 0.05} {
				ro.count(w, wire.TLSInterceptionLibraries, dims(wire.TLSInterceptionLibraries, lib, "inconsistent"), uint64(c*f.flag*part), instances)
			}
		}
		for _, f := range []weighted{{"chromium", 0.45}, {"safari", 0.18}, {"firefox", 0.08}, {"bot", 0.14}, {"search-bot", 0.06}, {"python", 0.05}, {"go", 0.04}} {
			all := n * 0.2 * f.weight
			browser := f.name == "chromium" || f.name == "firefox" || f.name == "safari"
			for _, part := range []weighted{{"all", 1}, {"tls", 0.98}, {"sni", 0.97}, {"tls13", 0.86}, {"http3", 0.04}, {"ipv6", 0.36 + 0.05*progress}, {"pq_negotiated", 0.11}, {"pq_offered", 0.12}, {"resumed", 0.2}, {"ech_offered", 0.01}} {
				if browser && part.name != "all" && part.name != "ipv6" {
					part.weight = map[string]float64{"tls": 0.99, "sni": 0.985, "tls13": 0.975, "http3": h3, "pq_negotiated": 0.7, "pq_offered": 0.74, "resumed": 0.5, "ech_offered": 0.6}[part.name]
				}
				ro.count(w, wire.ConnectionFeatures, dims(wire.ConnectionFeatures, part.name, f.name), uint64(all*part.weight*(1+0.01*rnd.NormFloat64())), instances)
			}
		}
		for _, f := range []struct {
			cause, library string
			weight         float64
		}{{"connect_and_close", "unknown", 0.4}, {"plain_http", "unknown", 0.15}, {"no_common_version", "openssl", 0.09}, {"client_unknown_ca", "go", 0.08}, {"closed_after_hello", "boringssl", 0.12}, {"timeout", "apple", 0.04}, {"no_common_suite", "schannel", 0.05}, {"reset", "openssl", 0.07}} {
			ro.count(w, wire.TLSFailures, dims(wire.TLSFailures, f.cause, f.library), uint64(n*0.02*f.weight*(1+0.05*rnd.NormFloat64())), instances)
		}
		for i, kind := range []string{"scan", "request_flood", "credential_stuffing", "handshake_flood"} {
			many := rnd.Float64() * 4 / float64(i+1)
			if hour := int(at.Sub(w).Hours()); hour == 5*(i+1) || hour == 5*(i+1)+1 {
				many += 12
			}
			if wire.IncidentKind.Has(kind) {
				ro.count(w, wire.AttackIncidents, dims(wire.AttackIncidents, kind, ""), uint64(many), instances)
			}
		}
		for _, k := range []weighted{{"browser", 0.55}, {"bot", 0.24}, {"tool", 0.11}, {"app", 0.05}, {"none", 0.05}} {
			ro.count(w, wire.ClientRequests, dims(wire.ClientRequests, k.name, "http/2"), uint64(n*k.weight*(1+0.1*rnd.NormFloat64())), instances)
		}
		newest := "142"
		if progress > 0.8 {
			newest = "143"
		}
		for _, b := range []struct {
			family, version string
			weight          float64
		}{{"chrome", newest, 0.31}, {"chrome", "141", 0.16}, {"safari", "26", 0.17}, {"firefox", "144", 0.09}, {"edge", "142", 0.08}, {"chrome", "140", 0.05}, {"safari", "18", 0.07}, {"firefox", "140", 0.02}, {"chrome", "109", 0.01}} {
			ro.count(w, wire.ClientBrowsers, dims(wire.ClientBrowsers, b.family, b.version), uint64(n*0.55*b.weight), instances)
		}
		for _, o := range []weighted{{"windows", 0.4}, {"android", 0.22}, {"ios", 0.15}, {"macos", 0.14}, {"linux", 0.09}} {
			ro.count(w, wire.ClientPlatforms, dims(wire.ClientPlatforms, o.name, "browser"), uint64(n*0.55*o.weight), instances)
		}
		ro.count(w, wire.ClientBots, dims(wire.ClientBots, "search", "googlebot"), uint64(n*0.1), instances)
		ro.count(w, wire.ClientBots, dims(wire.ClientBots, "search", "bingbot"), uint64(n*0.05), instances)
		ro.count(w, wire.ClientBots, dims(wire.ClientBots, "ai", "other"), uint64(n*0.08), instances)
		ro.count(w, wire.ClientTools, dims(wire.ClientTools, "curl"), uint64(n*0.06), instances)
		ro.count(w, wire.ClientTools, dims(wire.ClientTools, "wget"), uint64(n*0.01), instances)
		ro.count(w, wire.HTTPAborted, dims(wire.HTTPAborted, "http/2", "before_header"), uint64(n*0.002), instances)
		ro.count(w, wire.HTTPAborted, dims(wire.HTTPAborted, "http/2", "after_header"), uint64(n*0.005*day), instances)
		ro.count(w, wire.HTTPHandlerErrors, dims(wire.HTTPHandlerErrors, "502", "site"), uint64(n*0.005), instances)
		ro.count(w, wire.HTTPHandlerErrors, dims(wire.HTTPHandlerErrors, "404", "site"), uint64(n*0.03), instances)
		for i, part := range []float64{0.16 + 0.3*progress, 0.36 - 0.15*progress, 0.29 - 0.15*progress, 0.09, 0.06, 0.04} {
			ro.fact(w, wire.InstancesVersion, wire.Dims{}, versions[i].name, uint64(float64(instances)*part))
		}
		for label, part := range map[string]float64{"go1.25.4": 0.5, "go1.25.1": 0.3, "go1.24.9": 0.2} {
			ro.fact(w, wire.InstancesGo, wire.Dims{}, label, uint64(float64(instances)*part))
		}
		for label, part := range map[string]float64{"github.com/caddy-dns/cloudflare@v0.2.1": 0.18, "github.com/mholt/caddy-ratelimit@v0.1.0": 0.07, "github.com/caddyserver/cache-handler@v0.16.0": 0.05} {
			ro.fact(w, wire.InstancesPlugins, wire.Dims{}, label, uint64(float64(instances)*part))
		}
		for i, f := range []string{"http.handlers.reverse_proxy", "http.handlers.file_server", "automatic_https", "http.encoders.zstd", "http.handlers.headers", "on_demand_tls", "access_log", "metrics", "wildcard_site"} {
			if wire.Feature.Has(f) {
				ro.fact(w, wire.InstancesFeatures, dims(wire.InstancesFeatures, f), "", instances*uint64(10-i)/11)
			}
		}
		for _, c := range []weighted{{"docker", 0.44}, {"none", 0.38}, {"kubernetes", 0.1}, {"podman", 0.05}, {"lxc", 0.03}} {
			ro.fact(w, wire.InstancesContainer, dims(wire.InstancesContainer, c.name), "", uint64(float64(instances)*c.weight))
		}
	}
	ro.everything(from, at, rnd)
	ro.facet(wire.Country, countries, rnd)
	ro.facet(wire.Version, versions, rnd)
	ro.commit(t, s)
}

// everything counts something for each metric that has nothing yet, so that a
// metric is on its page as soon as it is in the dictionary.
func (ro rollup) everything(from, at time.Time, rnd *rand.Rand) {
	has := map[wire.MetricID]bool{}
	for k := range ro {
		has[k.Metric] = true
	}
	for _, m := range wire.Metrics() {
		if has[m.ID] {
			continue
		}
		// The cells of the first values of each dimension, the first the most.
		cells := []wire.Dims{{}}
		weights := []float64{1}
		for i, d := range m.Dims {
			var more []wire.Dims
			var heavier []float64
			for j, c := range cells {
				if len(d.Values) == 1 { // none is named yet
					more, heavier = append(more, c), append(heavier, weights[j])
				}
				for v := 1; v <= min(len(d.Values)-1, max(2, 8-2*i)); v++ {
					c[i] = wire.Value(v)
					more = append(more, c)
					heavier = append(heavier, weights[j]*math.Pow(float64(v), -0.8-0.3*rnd.Float64()))
				}
			}
			cells, weights = more, heavier
		}
		for w := from; w.Before(at.Add(-time.Minute)); w = w.Add(30 * time.Minute) {
			for i, c := range cells {
				n := uint64(5000*weights[i]*(1+0.1*rnd.NormFloat64())) + 1
				switch {
				case m.Kind == wire.KindHistogram || m.Kind == wire.KindPeak:
					ro.observe(w, m.ID, c, n, 1200)
				case m.Kind == wire.KindCounter:
					ro.count(w, m.ID, c, n, 250)
				case m.Kind == wire.KindInstances && m.Label != "":
					ro.fact(w, m.ID, c, "v1.2.3", uint64(200*weights[i])+1)
				case m.Kind == wire.KindInstances:
					ro.fact(w, m.ID, c, "", uint64(200*weights[i])+1)
				}
			}
		}
	}
}

// facet splits by a facet what charts show by it.
func (ro rollup) facet(f wire.Facet, values []weighted, rnd *rand.Rand) {
	metrics := dashboard.ByFacet(f)
	var of []*store.Row
	for _, r := range ro {
		if r.Facet == wire.All && metrics[r.Metric] {
			of = append(of, r)
		}
	}
	slices.SortFunc(of, func(x, y *store.Row) int { return compareKeys(x.Key, y.Key) })
	skew := map[string]float64{}
	for _, r := range of {
		for _, c := range values {
			k := fmt.Sprint(r.Metric, r.Dims, c.name)
			if skew[k] == 0 {
				skew[k] = 0.6 + 0.8*rnd.Float64()
			}
			key := r.Key
			key.Facet, key.Value = f, c.name
			n := uint64(float64(r.Count) * c.weight * skew[k])
			if wire.MetricByID(key.Metric).Kind.FromServer() {
				ro[key] = &store.Row{Key: key, Count: n, Reports: r.Reports/10 + 1, Top: n / 20}
				continue
			}
			if key.Grain != store.Window {
				continue // follows from its windows
			}
			for _, g := range store.Grains {
				up := ro.row(g, time.Unix(key.Start, 0), key.Metric, f, c.name, key.Dims, key.Label)
				up.Count += n
				up.Reports += r.Reports/10 + 1
				up.Top = max(up.Top, n/20)
			}
		}
	}
}

func mixed(id uint64, w time.Time) bool { return (id+uint64(w.Unix()/300))%3 == 0 }

func pick(ws []weighted, id uint64) string {
	f := float64(id*2654435761%1000) / 1000
	for _, w := range ws {
		if f < w.weight {
			return w.name
		}
		f -= w.weight
	}
	return ws[0].name
}

// ownKey is the key of the instance whose page tests look at.
var ownKey = ed25519.NewKeyFromSeed([]byte("an instance's key in tests, 32 b"))

// report makes one report of windows of five minutes from start on.
func report(number uint64, start time.Time, windows int) *wire.Report {
	r := &wire.Report{
		Dictionary: wire.DictionaryVersion, Number: number, Created: start.Add(time.Duration(windows) * 5 * time.Minute).Unix(),
		Facts: &wire.Facts{
			CaddyVersion: "v2.11.9", GoVersion: "go1.25.4", EvergreenVersion: "v0.1.0", Os: "linux", Arch: "amd64", Kernel: "linux-6",
			Cpus: 4, CpuFeatures: []string{"aes", "avx2"}, Memory: "4G-8G", Container: "none", Init: "systemd", Installation: "dpkg",
			UptimeSeconds: number * 300, Sites: 3, Listeners: 2, Servers: 2, Protocols: []string{"h1", "h2", "h3"}, ConfigAdapter: "caddyfile",
			Features: []string{"http.handlers.reverse_proxy", "http.handlers.file_server"}, Deployment: "production",
			Modules: []*wire.Module{{Path: "github.com/caddyserver/caddy/v2", Version: "v2.11.9"}, {Path: "github.com/caddy-dns/cloudflare", Version: "v0.2.1", Plugin: true}},
		},
	}
	for i := range windows {
		at := start.Add(time.Duration(i) * 5 * time.Minute)
		n := 100 + uint64(at.Unix()/300%50)
		cell := func(m wire.MetricID, names ...string) uint64 { return uint64(dims(m, names...).Cell()) }
		series := []*wire.Series{
			{Metric: uint32(wire.HTTPRequests), Cells: []uint64{cell(wire.HTTPRequests, "http/2", "200", "site"), cell(wire.HTTPRequests, "http/3", "404", "site")}, Values: []uint64{n, n / 4}},
			{Metric: uint32(wire.HTTPRequestsMethod), Cells: []uint64{cell(wire.HTTPRequestsMethod, "GET", "2xx", "site"), cell(wire.HTTPRequestsMethod, "GET", "4xx", "site")}, Values: []uint64{n, n / 4}},
			{Metric: uint32(wire.HTTPRequestsTransport), Cells: []uint64{cell(wire.HTTPRequestsTransport, "tls", "ipv6", "http/2", "site"), cell(wire.HTTPRequestsTransport, "tls", "ipv4", "http/3", "site")}, Values: []uint64{n, n / 4}},
			{Metric: uint32(wire.TLSConnections), Cells: []uint64{cell(wire.TLSConnections, "TLS 1.3", "TLS_AES_128_GCM_SHA256", "full")}, Values: []uint64{n / 3}},
			{Metric: uint32(wire.ClientRequests), Cells: []uint64{cell(wire.ClientRequests, "browser", "http/2"), cell(wire.ClientRequests, "tool", "http/3")}, Values: []uint64{n, n / 4}},
			{Metric: uint32(wire.HTTPRequestsPeak), Cells: []uint64{0}, Values: []uint64{3 + n%7}},
		}
		for _, m := range []wire.MetricID{wire.HTTPFirstByte, wire.HTTPDuration} {
			h := &wire.Histogram{Cell: cell(m, "http/2", "2xx"), First: uint32(wire.Bucket(1500)), Buckets: []uint64{n / 2, n / 4, n - n/2 - n/4}}
			for j, c := range h.Buckets {
				h.Sum += c * uint64(wire.Bound(int(h.First)+j))
			}
			series = append(series, &wire.Series{Metric: uint32(m), Histograms: []*wire.Histogram{h}})
		}
		r.Windows = append(r.Windows, &wire.Window{Start: at.Unix(), Seconds: 300, Series: series})
	}
	return r
}

func appendReport(t testing.TB, l *ingestlog.Log, r *wire.Report) {
	t.Helper()
	clean := proto.Clone(r).(*wire.Report)
	if dropped, err := clean.Clean(); err != nil || dropped > 0 {
		t.Fatalf("a report of the test is not what an instance sends: %d dropped, %v", dropped, err)
	}
	b, err := proto.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	from, to := clean.Span()
	err = l.Append(context.Background(), ingestlog.Record{
		Received: time.Unix(to+3, 0), Instance: wire.IDOf(ownKey.Public().(ed25519.PublicKey)), Number: r.Number,
		From: from, To: to, Country: "DE", Network: 64496, MediaType: wire.TypeProtobuf, Body: z.EncodeAll(b, nil),
	})
	if err != nil {
		t.Fatal(err)
	}
}
