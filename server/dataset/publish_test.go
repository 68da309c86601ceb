package dataset

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/server/hll"
	"github.com/caddy-evergreen/evergreen/server/store"
	"github.com/caddy-evergreen/evergreen/wire"
)

var day0 = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

// A fleet is a source: instances of a few countries that answer requests all
// day, some countries with few instances, some only at times.
type fleet struct {
	rows  []store.Row
	until time.Time // what is reported so far
}

func newFleet(days int) *fleet {
	f := &fleet{until: day0.AddDate(0, 0, days)}
	r := rand.New(rand.NewPCG(1, 2))
	countries := map[string]int{"DE": 400, "FR": 200, "NZ": 60, "IS": 30, "LI": 3, "": 90}
	versions := []string{"v2.11.3", "v2.11.9"}
	for h := range days * 24 {
		at := day0.Add(time.Duration(h) * time.Hour)
		for country, n := range countries {
			if country == "LI" && h%7 != 3 {
				continue
			}
			for i, status := range []string{"200", "404", "500", "418"} {
				events := uint64(n) * uint64(1000+r.IntN(200)) / [...]uint64{1, 4, 60, 2000}[i]
				instances := max(n/[...]int{1, 1, 2, 40}[i], 1)
				row := store.Row{
					Key: store.Key{
						Grain: store.Hour, Start: at.Unix(), Metric: wire.HTTPRequests, Facet: wire.Country, Value: country,
						Dims: wire.Dims{wire.Protocol.Value("http/2"), wire.Status.Value(status), wire.Role.Value("site")},
					},
					Count: events, Reports: uint32(12 * instances), Top: 3 * events / uint64(instances+2),
				}
				f.add(row)
			}
			buckets := make([]uint64, wire.Buckets)
			for range 50 * n {
				buckets[wire.Bucket(uint64(1000+r.IntN(9000)))] += 4
			}
			f.add(store.Row{
				Key:   store.Key{Grain: store.Hour, Start: at.Unix(), Metric: wire.HTTPFirstByte, Facet: wire.Country, Value: country, Dims: wire.Dims{wire.Protocol.Value("http/2"), wire.StatusClass.Value("2xx")}},
				Count: uint64(200 * n), Buckets: buckets, Reports: uint32(12 * n), Top: uint64(400),
			})
		}
		f.instances(store.Hour, at, versions, 650)
		if h%24 == 0 {
			f.instances(store.Day, at, versions, 700)
		}
	}
	f.sort()
	return f
}

// add puts a row of a country into the sum over all, too.
func (f *fleet) add(r store.Row) {
	all := r
	all.Facet, all.Value = wire.All, ""
	f.rows = append(f.rows, r, all)
}

func (f *fleet) instances(g store.Grain, at time.Time, versions []string, n int) {
	reg := make([]byte, hll.Registers)
	for i := range n {
		hll.Add(reg, rand.New(rand.NewPCG(uint64(i), 7)).Uint64())
	}
	f.rows = append(f.rows, store.Row{Key: store.Key{Grain: g, Start: at.Unix(), Metric: wire.InstancesActive}, Registers: reg, Reports: uint32(n)})
	for i, v := range versions {
		f.rows = append(f.rows, store.Row{Key: store.Key{Grain: g, Start: at.Unix(), Metric: wire.InstancesVersion, Label: v}, Count: uint64(n * (i + 1) / 3), Reports: uint32(n), Top: 1})
	}
}

func (f *fleet) sort() {
	merged := map[store.Key]store.Row{}
	for _, r := range f.rows {
		m, ok := merged[r.Key]
		if !ok {
			merged[r.Key] = r
			continue
		}
		m.Count += r.Count
		m.Reports += r.Reports
		m.Top = max(m.Top, r.Top)
		if r.Buckets != nil {
			m.Buckets = slices.Clone(m.Buckets)
			for i, n := range r.Buckets {
				m.Buckets[i] += n
			}
		}
		merged[r.Key] = m
	}
	f.rows = slices.SortedFunc(maps.Values(merged), func(a, b store.Row) int {
		return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.Metric, b.Metric), cmp.Compare(a.Facet, b.Facet),
			cmp.Compare(a.Value, b.Value), slices.Compare(a.Dims[:], b.Dims[:]), cmp.Compare(a.Label, b.Label))
	})
}

func (f *fleet) Export(ctx context.Context, g store.Grain, from, to time.Time) iter.Seq2[store.Row, error] {
	return func(yield func(store.Row, error) bool) {
		for _, r := range f.rows {
			if ctx.Err() != nil {
				yield(store.Row{}, ctx.Err())
				return
			}
			at := time.Unix(r.Start, 0)
			if r.Grain == g && !at.Before(from) && at.Before(to) && at.Before(f.until) && !yield(r, nil) {
				return
			}
		}
	}
}

func key(t *testing.T) ed25519.PrivateKey {
	t.Helper()
	_, k, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func open(t *testing.T, c Config) *Publisher {
	t.Helper()
	p, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func publish(t *testing.T, p *Publisher) int {
	t.Helper()
	n, err := p.Publish(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// shown are a table's rows of one facet that are told apart, and its rests, by time.
func shown(rows []Row, facet wire.Facet) (apart, rests map[string]uint64) {
	apart, rests = map[string]uint64{}, map[string]uint64{}
	for _, r := range rows {
		if r.Facet != facet {
			continue
		}
		name := fmt.Sprint(r.Time.Format("02T15"), r.Dims, r.Label, r.Value)
		if r.Rest {
			rests[name] = r.Count
		} else {
			apart[name] = r.Count
		}
	}
	return apart, rests
}

func TestPublish(t *testing.T) {
	f := newFleet(3)
	now := day0.Add(5*time.Hour + 30*time.Minute)
	c := Config{
		Store: f, Folder: filepath.Join(t.TempDir(), "data"), State: t.TempDir(), Key: key(t), Name: "test",
		Delay: 20 * time.Minute, Now: func() time.Time { return now },
	}
	p := open(t, c)
	if n := publish(t, p); n == 0 {
		t.Fatal("nothing was published")
	}
	if n := publish(t, p); n != 0 {
		t.Errorf("%d files were written again, with no news", n)
	}
	pub := c.Key.Public().(ed25519.PublicKey)
	m, err := Verify(t.Context(), os.DirFS(c.Folder), pub)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range m.Files {
		if want := day0.Add(5 * time.Hour); !file.To.Equal(want) || file.Final || file.Grain != "hour" {
			t.Errorf("%+v: it should end at %s", file, want)
		}
	}

	// What is reported late is left out, and said.
	now = day0.AddDate(0, 0, 2).Add(30 * time.Minute)
	late := store.Row{
		Key: store.Key{
			Grain: store.Hour, Start: day0.Add(2 * time.Hour).Unix(), Metric: wire.HTTPRequests,
			Dims: wire.Dims{wire.Protocol.Value("http/2"), wire.Status.Value("200"), wire.Role.Value("site")},
		}, Count: 1_000_000, Reports: 12, Top: 1_000_000,
	}
	f.rows = append(f.rows, late)
	f.sort()
	publish(t, p)
	p.Close()
	p = open(t, c) // another process goes on
	publish(t, p)
	m, err = Verify(t.Context(), os.DirFS(c.Folder), nil)
	if err != nil {
		t.Fatal(err)
	}
	var lost []string
	for _, l := range m.Days {
		lost = append(lost, l.Day)
		if l.Hours <= 0 || l.Hours > 0.1 || l.Days > l.Hours || l.Values <= 0 || l.Values > 0.5 {
			t.Errorf("%+v is not how much is lost", l)
		}
		if (l.Late > 0) != (l.Day == "2026-11-01") {
			t.Errorf("%+v: the late report was of the first day", l)
		}
	}
	if d := gocmp.Diff([]string{"2026-11-01", "2026-11-02"}, lost); d != "" {
		t.Error(d)
	}

	hours := make([]time.Time, 24)
	for h := range hours {
		hours[h] = day0.Add(time.Duration(h) * time.Hour)
	}
	got, err := p.compute(t.Context(), day0, hours, true)
	if err != nil {
		t.Fatal(err)
	}
	apart, _ := shown(got.hours["http.requests"], wire.All)
	days, _ := shown(got.days["http.requests"], wire.All)
	var sum uint64
	for name, n := range apart {
		if strings.Contains(name, " 200 ") {
			sum += n
		}
	}
	if n := days["01T00[http/2 200 site]"]; n == 0 || n != sum {
		t.Errorf("the day has %d requests, its hours %d", n, sum)
	}
	for name := range apart {
		if strings.Contains(name, " 418 ") {
			t.Errorf("%s is of few events", name)
		}
	}
	byCountry, _ := shown(got.hours["http.requests"], wire.Country)
	for _, small := range []string{"IS", "LI"} {
		for name := range byCountry {
			if strings.HasSuffix(name, small) {
				t.Errorf("%s is of few instances", name)
			}
		}
	}
	if byCountry["01T00[http/2 200 site]DE"] == 0 || byCountry["01T00[http/2 200 site]"] == 0 {
		t.Errorf("large countries, and the unknown one, are missing: %v", byCountry)
	}
	for _, r := range got.hours["http.first_byte"] {
		if len(r.Quantiles) != len(Quantiles) || r.Quantiles[2] < 4000 || r.Quantiles[2] > 7000 {
			t.Fatalf("quantiles are %v", r.Quantiles)
		}
	}
	active, _ := shown(got.days["instances.active"], wire.All)
	if n := active["01T00[]"]; n != 690 && n != 700 && n != 710 && n != 680 && n != 720 {
		t.Errorf("about 700 instances were active: %v", active)
	}
	versions, _ := shown(got.days["instances.version"], wire.All)
	if d := gocmp.Diff(map[string]uint64{"01T00[]v2.11.3": 233, "01T00[]v2.11.9": 466}, versions); d != "" {
		t.Error(d)
	}
}

// A stricter rule needs all to be published again; looser numbers do not stay.
func TestAgain(t *testing.T) {
	now := day0.AddDate(0, 0, 1).Add(5 * time.Hour)
	c := Config{Store: newFleet(2), Folder: filepath.Join(t.TempDir(), "data"), State: t.TempDir(), Key: key(t), Now: func() time.Time { return now }}
	p := open(t, c)
	publish(t, p)
	before := p.manifest.Files
	p.Close()

	c.Rule = Rule{MinInstances: 100, MinEvents: 5000, MaxShare: 0.25}
	if _, err := Open(c); !errors.Is(err, ErrOtherRule) {
		t.Fatalf("goes on with another rule: %v", err)
	}
	p, err := OpenAgain(c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Again(t.Context(), "fifty were too few"); err != nil {
		t.Fatal(err)
	}
	p.Close()
	m, err := Verify(t.Context(), os.DirFS(c.Folder), nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Reprocessed) != 1 || m.Reprocessed[0].From != "2026-11-01" || m.Reprocessed[0].To != "2026-11-02" || m.Reprocessed[0].Why != "fifty were too few" || m.Rule != c.Rule {
		t.Errorf("the manifest does not tell of it: %+v %+v", m.Reprocessed, m.Rule)
	}
	if slices.Equal(before, m.Files) {
		t.Error("no file has changed")
	}
	if _, err := Open(c); err != nil {
		t.Errorf("after it was published again: %v", err)
	}
}

// What was stopped while it was published again goes on, wherever it was, and
// ends with the same files; until then the manifest says so.
func TestAgainGoesOn(t *testing.T) {
	now := day0.AddDate(0, 0, 3).Add(5 * time.Hour)
	c := Config{Store: newFleet(4), Folder: filepath.Join(t.TempDir(), "data"), State: t.TempDir(), Key: key(t), Now: func() time.Time { return now }}
	p := open(t, c)
	publish(t, p)
	p.Close()
	strict := Rule{MinInstances: 100, MinEvents: 5000, MaxShare: 0.25}
	whole := func(c Config) []File {
		t.Helper()
		m, err := Verify(t.Context(), os.DirFS(c.Folder), nil)
		if err != nil {
			t.Fatal(err)
		}
		if m.Rule != strict || m.Reprocessing != nil || len(m.Reprocessed) != 1 || m.Reprocessed[0].Why != "a test" {
			t.Errorf("%+v %+v %+v", m.Rule, m.Reprocessing, m.Reprocessed)
		}
		return m.Files
	}
	var want []File
	stopped := 0
	for stop := range 5 {
		c := c
		c.Rule, c.Folder, c.State = strict, t.TempDir(), t.TempDir()
		for from, to := range map[string]string{p.c.Folder: c.Folder, p.c.State: c.State} {
			if err := os.CopyFS(to, os.DirFS(from)); err != nil {
				t.Fatal(err)
			}
		}
		p, err := OpenAgain(c)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		days := 0
		p.c.Now = func() time.Time { // is asked once a day, at least
			if m, err := os.ReadFile(filepath.Join(c.Folder, ManifestName)); err == nil && strings.Contains(string(m), `"reprocessing"`) {
				days++
			}
			if days > stop && stop > 0 {
				cancel()
			}
			return now
		}
		_, err = p.Again(ctx, "a test")
		cancel()
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		if stop == 0 {
			if err != nil {
				t.Fatal(err)
			}
			want = whole(c)
			continue
		}
		if err == nil {
			continue // it was over by then
		}
		stopped++
		if m, err := os.ReadFile(filepath.Join(c.Folder, ManifestName)); err != nil || !strings.Contains(string(m), `"reprocessing"`) {
			t.Errorf("stopped after %d days, and the manifest does not say so: %v", stop, err)
		}
		loose := c
		loose.Rule = Public
		if _, err := Open(loose); !errors.Is(err, ErrOtherRule) {
			t.Errorf("goes on with the former rule: %v", err)
		}
		if p, err = Open(c); err != nil {
			t.Fatal(err)
		}
		publish(t, p)
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		if d := gocmp.Diff(want, whole(c)); d != "" {
			t.Errorf("stopped after %d days:\n%s", stop, d)
		}
	}
	if stopped == 0 {
		t.Error("nothing was stopped")
	}
}

func TestMirror(t *testing.T) {
	now := day0.AddDate(0, 0, 1).Add(5 * time.Hour)
	c := Config{Store: newFleet(2), Folder: filepath.Join(t.TempDir(), "data"), State: t.TempDir(), Key: key(t), Now: func() time.Time { return now }}
	p := open(t, c)
	publish(t, p)
	files := http.FileServer(http.Dir(c.Folder))
	cut := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "http.requests/2026-11-01.parquet") && r.Header.Get("Range") == "" && cut == 0 {
			cut++ // a connection that ends in the middle
			b, _ := os.ReadFile(filepath.Join(c.Folder, r.URL.Path))
			w.Header().Set("Content-Length", fmt.Sprint(len(b)))
			w.Write(b[:len(b)/2])
			return
		}
		if r.Header.Get("Range") != "" {
			cut++
		}
		files.ServeHTTP(w, r)
	}))
	defer srv.Close()
	m := Mirror{URL: srv.URL + "/", Folder: t.TempDir(), Key: c.Key.Public().(ed25519.PublicKey)}
	if _, err := m.Copy(t.Context()); err == nil {
		t.Fatal("a file was cut off, and nobody said so")
	}
	if _, err := m.Copy(t.Context()); err != nil {
		t.Fatal(err)
	}
	if cut != 2 {
		t.Errorf("the file that was cut off was not resumed: %d", cut)
	}
	if _, err := Verify(t.Context(), os.DirFS(m.Folder), m.Key); err != nil {
		t.Fatal(err)
	}

	fetched := 0
	m.Progress = func(File, int, int) { fetched++ }
	if _, err := m.Copy(t.Context()); err != nil || fetched > 0 {
		t.Errorf("%d files were fetched again: %v", fetched, err)
	}
	damaged := filepath.Join(m.Folder, "v1/hour/http.requests/2026-11-01.csv.zst")
	if err := os.WriteFile(damaged, []byte("damaged"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(m.Folder, "v1/hour/http.requests/2020-01-01.parquet"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Verify(t.Context(), os.DirFS(m.Folder), m.Key); err == nil || !strings.Contains(err.Error(), "2026-11-01.csv.zst") {
		t.Errorf("a damaged file is not named: %v", err)
	}
	if _, err := m.Copy(t.Context()); err != nil || fetched != 1 {
		t.Errorf("%d files were fetched, for one that was damaged: %v", fetched, err)
	}
	if exists(filepath.Join(m.Folder, "v1/hour/http.requests/2020-01-01.parquet")) {
		t.Error("a file that the data set does not have is still there")
	}
	m.Key = key(t).Public().(ed25519.PublicKey)
	if _, err := m.Copy(t.Context()); !errors.Is(err, ErrSignature) {
		t.Errorf("signed by another key: %v", err)
	}
}

func TestKeys(t *testing.T) {
	k := key(t)
	pub := k.Public().(ed25519.PublicKey)
	line := PublicKey(pub)
	for _, s := range []string{line, "untrusted comment: x\n" + line + "\n"} {
		got, err := ParsePublicKey(s)
		if err != nil || !got.Equal(pub) {
			t.Errorf("%q: %v", s, err)
		}
	}
	content := []byte("content")
	sig := sign(k, content, "a comment")
	if err := checkSignature(pub, content, sig); err != nil {
		t.Error(err)
	}
	for name, bad := range map[string][]byte{
		"the comment": []byte(strings.Replace(string(sig), "a comment", "b comment", 1)),
		"nothing":     nil,
		"another key": sign(key(t), content, "a comment"),
	} {
		if err := checkSignature(pub, content, bad); !errors.Is(err, ErrSignature) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := checkSignature(pub, []byte("other"), sig); !errors.Is(err, ErrSignature) {
		t.Errorf("of other content: %v", err)
	}
}

// TestColumns: no table has two columns of a name, which readers refuse.
func TestColumns(t *testing.T) {
	for _, m := range wire.Metrics() {
		seen := map[string]bool{}
		for _, c := range columns(m) {
			if seen[c.name] {
				t.Errorf("%s has two columns %s", m.Name, c.name)
			}
			seen[c.name] = true
		}
	}
}

func FuzzManifest(f *testing.F) {
	f.Add([]byte(`{"layout":1,"files":[{"path":"v1/hour/http.requests/2026-11-21.parquet","sha256":"` + strings.Repeat("0", 64) + `"}]}`))
	f.Add([]byte(`{"layout":1,"files":[{"path":"v1/hour/../../x/2026-11-21.parquet"}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := ParseManifest(b)
		if err != nil {
			return
		}
		for _, file := range m.Files {
			if !filepath.IsLocal(file.Path) || !strings.HasPrefix(file.Path, "v1/") {
				t.Errorf("%q is taken", file.Path)
			}
		}
	})
}

func FuzzSignature(f *testing.F) {
	k := ed25519.NewKeyFromSeed(make([]byte, 32))
	pub := k.Public().(ed25519.PublicKey)
	f.Add(sign(k, []byte("x"), "c"))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _ = ParsePublicKey(string(b))
		if err := checkSignature(pub, []byte("y"), b); err == nil {
			t.Errorf("%q is taken", b)
		}
	})
}
