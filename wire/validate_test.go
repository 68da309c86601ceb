package wire

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
)

const validStart = 1_763_719_200 // a whole hour

func validReport() *Report {
	return &Report{
		Dictionary: DictionaryVersion,
		Number:     7,
		Created:    validStart + 320,
		Facts: &Facts{
			CaddyVersion: "v2.11.9", GoVersion: "go1.26.8", EvergreenVersion: "v0.1.0",
			Modules: []*Module{
				{Path: "github.com/caddyserver/caddy/v2", Version: "v2.11.9"},
				{Path: "github.com/mholt/caddy-ratelimit", Version: "v0.1.1-0.20250101000000-0123456789ab", Plugin: true},
			},
			Os: "linux", Arch: "amd64", Kernel: "linux-6", Cpus: 2, CpuFeatures: []string{"aes", "avx2"},
			Memory: "2G-4G", Container: "none", Init: "systemd", Installation: "dpkg", UptimeSeconds: 60,
			Sites: 1, Listeners: 2, Servers: 2, Protocols: []string{"h1", "h2", "h3"}, ConfigAdapter: "caddyfile",
			Features: []string{"http.handlers.file_server"}, Deployment: "production", Label: "blue-1",
		},
		Windows: []*Window{{Start: validStart, Seconds: 300, Series: []*Series{
			{Metric: uint32(HTTPRequests), Cells: []uint64{cellOf(2, 101, 1), cellOf(3, 305, 1)}, Values: []uint64{12, 1}},
			{Metric: uint32(HTTPDuration), Histograms: []*Histogram{{Cell: cellOf(2, 2), Sum: 2_500, First: 39, Buckets: []uint64{2, 0, 1}}}},
			{Metric: uint32(HTTPRequestsPeak), Cells: []uint64{0}, Values: []uint64{0}},
		}}},
	}
}

func cellOf(vs ...Value) uint64 {
	var d Dims
	copy(d[:], vs)
	return uint64(d.Cell())
}

func TestCleanKeepsAnHonestReport(t *testing.T) {
	r := validReport()
	dropped, err := r.Clean()
	if err != nil || dropped != 0 {
		t.Fatalf("Clean() = %d, %v", dropped, err)
	}
	if d := cmp.Diff(validReport(), r, protocmp.Transform()); d != "" {
		t.Error(d)
	}
	if from, to := r.Span(); from != validStart || to != validStart+300 {
		t.Errorf("Span() = %d, %d", from, to)
	}
}

func TestCleanRefuses(t *testing.T) {
	series := func(s ...*Series) func(*Report) {
		return func(r *Report) { r.Windows[0].Series = s }
	}
	for _, c := range []struct {
		name   string
		change func(*Report)
		want   string
	}{
		{"no number", func(r *Report) { r.Number = 0 }, "number: "},
		{"no time", func(r *Report) { r.Created = 0 }, "created: "},
		{"a far time", func(r *Report) { r.Created = math.MaxInt64 }, "created: "},
		{"no window", func(r *Report) { r.Windows = nil }, "windows: "},
		{"too many windows", func(r *Report) {
			for len(r.Windows) <= MaxWindows {
				r.Windows = append(r.Windows, &Window{Start: validStart, Seconds: 300})
			}
		}, "windows: 97 are more than 96"},
		{"a null window", func(r *Report) { r.Windows = append(r.Windows, nil) }, "windows[1]: "},
		{"no seconds", func(r *Report) { r.Windows[0].Seconds = 0 }, "windows[0].seconds: "},
		{"more than an hour", func(r *Report) { r.Windows[0].Seconds = 7200 }, "windows[0].seconds: "},
		{"no part of an hour", func(r *Report) { r.Windows[0].Seconds = 7 }, "windows[0].seconds: "},
		{"not aligned", func(r *Report) { r.Windows[0].Start++ }, "windows[0].start: "},
		{"before 1970", func(r *Report) { r.Windows[0].Start = -300 }, "windows[0].start: "},
		{"beyond arithmetic", func(r *Report) { r.Windows[0].Start = math.MaxInt64 / 300 * 300 }, "windows[0].start: "},
		{"a null series", series(nil), "windows[0].series[0]: "},
		{"a metric twice", series(&Series{Metric: 1}, &Series{Metric: 2}, &Series{Metric: 1}), "windows[0].series[2]: metric 1 is there twice"},
		{"cells without values", series(&Series{Metric: 1, Cells: []uint64{1}}), "windows[0].series[0]: "},
		{"values without cells", series(&Series{Metric: 1, Values: []uint64{1}}), "windows[0].series[0]: "},
		{"a cell twice", series(&Series{Metric: 1, Cells: []uint64{1, 2, 1}, Values: []uint64{1, 1, 1}}), "windows[0].series[0].cells[2]: cell 1 is there twice"},
		{"a cell twice of many", series(manyCells(100)), "windows[0].series[0].cells[100]: "},
		{"a cell twice of many, in any order", series(backwards(manyCells(100))), "windows[0].series[0].cells["},
		{"a cell twice of a few, in any order", series(backwards(manyCells(9))), "windows[0].series[0].cells["},
		{"a counter with a histogram", series(&Series{Metric: 1, Histograms: []*Histogram{{}}}), "windows[0].series[0]: "},
		{"a histogram with values", series(&Series{Metric: uint32(HTTPDuration), Cells: []uint64{1}, Values: []uint64{1}}), "windows[0].series[0]: "},
		{"too great a value", series(&Series{Metric: 1, Cells: []uint64{1}, Values: []uint64{MaxCount + 1}}), "windows[0].series[0].values[0]: "},
		{"too great a total", series(&Series{Metric: 1, Cells: []uint64{1, 2}, Values: []uint64{MaxCount, 1}}), "windows[0].series[0].values[1]: "},
		{"a total that overflows", series(&Series{Metric: 1, Cells: []uint64{1, 2}, Values: []uint64{1, math.MaxUint64}}), "windows[0].series[0].values[1]: "},
		{"a null histogram", series(&Series{Metric: 7, Histograms: []*Histogram{nil}}), "windows[0].series[0].histograms[0]: "},
		{"a histogram twice", series(&Series{Metric: 7, Histograms: []*Histogram{{Cell: 1}, {Cell: 1}}}), "windows[0].series[0].histograms[1]: "},
		{"too many buckets", series(&Series{Metric: 7, Histograms: []*Histogram{{First: 1, Buckets: make([]uint64, Buckets)}}}), "windows[0].series[0].histograms[0]: "},
		{"a first bucket that overflows", series(&Series{Metric: 7, Histograms: []*Histogram{{First: math.MaxUint32, Buckets: []uint64{1}}}}), "windows[0].series[0].histograms[0]: "},
		{"too many observations", series(&Series{Metric: 7, Histograms: []*Histogram{{Buckets: []uint64{MaxCount}}, {Cell: 1, Buckets: []uint64{0, 1}}}}), "windows[0].series[0].histograms[1].buckets[1]: "},
		{"a long fact", func(r *Report) { r.Facts.Os = strings.Repeat("x", MaxFactString+1) }, "facts.os: "},
		{"a fact that is no text", func(r *Report) { r.Facts.Label = "\xff" }, "facts.label: "},
		{"a long fact in a list", func(r *Report) { r.Facts.Features[0] = strings.Repeat("x", MaxFactString+1) }, "facts.features[0]: "},
		{"too many modules", func(r *Report) { r.Facts.Modules = make([]*Module, MaxModules+1) }, "facts.modules: "},
		{"a null module", func(r *Report) { r.Facts.Modules = []*Module{nil} }, "facts.modules[0]: "},
		{"a long module", func(r *Report) { r.Facts.Modules[1].Path = strings.Repeat("x", MaxFactString+1) }, "facts.modules[1]: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := validReport()
			c.change(r)
			_, err := r.Clean()
			if err == nil {
				t.Fatal("no error")
			}
			if !strings.HasPrefix(err.Error(), c.want) {
				t.Errorf("error %q, want one that begins with %q", err, c.want)
			}
		})
	}
}

// manyCells has n cells and one of them again.
func manyCells(n int) *Series {
	s := &Series{Metric: uint32(HTTPRequests)}
	for i := range n {
		s.Cells = append(s.Cells, cellOf(1, Value(i)))
		s.Values = append(s.Values, 1)
	}
	s.Cells = append(s.Cells, s.Cells[n/2])
	s.Values = append(s.Values, 1)
	return s
}

func backwards(s *Series) *Series {
	slices.Reverse(s.Cells)
	return s
}

func TestCleanKeepsManyCellsInAnyOrder(t *testing.T) {
	s := manyCells(300)
	s.Cells, s.Values = s.Cells[:300], s.Values[:300]
	slices.Reverse(s.Cells)
	r := validReport()
	r.Windows[0].Series = []*Series{s}
	if dropped, err := r.Clean(); dropped != 0 || err != nil || len(s.Cells) != 300 {
		t.Errorf("%d cells left, %d dropped, %v", len(s.Cells), dropped, err)
	}
}

func TestCleanDropsWhatTheDictionaryLacks(t *testing.T) {
	r := validReport()
	r.Windows[0].Series = []*Series{
		{Metric: 0, Cells: []uint64{1}, Values: []uint64{1, 2}},
		{Metric: 60_000, Cells: []uint64{1, 1}, Values: []uint64{1}},
		{Metric: 1 << 16, Cells: []uint64{1}, Values: []uint64{1}}, // not metric 0
		{Metric: 1<<16 + 1, Cells: []uint64{1}, Values: []uint64{1}},
		{Metric: uint32(InstancesActive), Cells: []uint64{0}, Values: []uint64{1}},
		{Metric: uint32(InstancesPlatform), Cells: []uint64{0}, Values: []uint64{1}},
		{Metric: uint32(HTTPRequests), Cells: []uint64{cellOf(4095), cellOf(4095), cellOf(1), cellOf(1, 1, 1, 1), 1 << 60}, Values: []uint64{1, 1, 5, 1, 1}},
		{Metric: uint32(HTTPDuration), Histograms: []*Histogram{{Cell: cellOf(9), Buckets: []uint64{1}}, {Cell: cellOf(1), Buckets: []uint64{1}}}},
		{Metric: uint32(HTTPPanics), Cells: []uint64{1}, Values: []uint64{0}},
	}
	dropped, err := r.Clean()
	if err != nil {
		t.Fatal(err)
	}
	if dropped != 6+4+1 {
		t.Errorf("%d dropped, want 11", dropped)
	}
	want := []*Series{
		{Metric: uint32(HTTPRequests), Cells: []uint64{cellOf(1)}, Values: []uint64{5}},
		{Metric: uint32(HTTPDuration), Histograms: []*Histogram{{Cell: cellOf(1), Buckets: []uint64{1}}}},
	}
	if d := cmp.Diff(want, r.Windows[0].Series, protocmp.Transform()); d != "" {
		t.Error(d)
	}
}

func TestCleanHistogram(t *testing.T) {
	for _, c := range []struct {
		name     string
		in, want *Histogram
	}{
		{"trims", &Histogram{Sum: 30, First: 10, Buckets: []uint64{0, 0, 3, 0, 1, 0}}, &Histogram{Sum: 30, First: 12, Buckets: []uint64{3, 0, 1}}},
		{"drops an empty one", &Histogram{Sum: 30, First: 10, Buckets: []uint64{0, 0}}, nil},
		{"drops one without buckets", &Histogram{Sum: 30}, nil},
		{"raises a sum", &Histogram{Sum: 0, First: 41, Buckets: []uint64{10}}, &Histogram{Sum: 10_239, First: 41, Buckets: []uint64{10}}},
		{"lowers a sum", &Histogram{Sum: math.MaxUint64, First: 40, Buckets: []uint64{1}}, &Histogram{Sum: 1025, First: 40, Buckets: []uint64{1}}},
		{"bounds the open bucket", &Histogram{Sum: math.MaxUint64, First: 127, Buckets: []uint64{1}}, &Histogram{Sum: 1 << 56, First: 127, Buckets: []uint64{1}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := validReport()
			r.Windows[0].Series = []*Series{{Metric: uint32(HTTPDuration), Histograms: []*Histogram{c.in}}}
			if _, err := r.Clean(); err != nil {
				t.Fatal(err)
			}
			var got *Histogram
			if s := r.Windows[0].Series; len(s) > 0 {
				got = s[0].Histograms[0]
			}
			if d := cmp.Diff(c.want, got, protocmp.Transform()); d != "" {
				t.Error(d)
			}
		})
	}
}

// What a recorder counts must pass unchanged, whatever the values are.
func TestCleanLeavesTrueSums(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		buckets := make([]uint64, Buckets)
		var sum uint64
		for range 1 + rnd.IntN(50) {
			v := rnd.Uint64N(1 << (1 + rnd.IntN(40)))
			buckets[Bucket(v)]++
			sum += v
		}
		h := &Histogram{Sum: sum, Buckets: buckets}
		if !h.clean() || h.Sum != sum {
			t.Fatalf("a sum of %d became %d in %v", sum, h.Sum, h)
		}
	}
	for i := range Buckets { // at a bucket's bound, many times over
		v := uint64(Bound(min(i, Buckets-2)))
		buckets := make([]uint64, Buckets)
		buckets[Bucket(v)] = 1 << 20
		if h := (&Histogram{Sum: v << 20, Buckets: buckets}); !h.clean() || h.Sum != v<<20 {
			t.Errorf("%d observations of %d add up to %d", 1<<20, v, h.Sum)
		}
	}
}

func TestCleanFacts(t *testing.T) {
	r := validReport()
	r.Facts = &Facts{
		CaddyVersion: "2.11.9", GoVersion: "go1.26.8 X:nodwarf5", EvergreenVersion: "(devel)",
		Os: "templeos", Arch: "", Kernel: "linux-6", Memory: "1T", Deployment: "other",
		CpuFeatures: []string{"aes", "", "aes", "secret", "unknown"},
		Label:       "Not a label",
		Modules: []*Module{
			{Path: "github.com/a/b", Version: "v1.0.0"},
			{Path: "github.com/a/b", Version: "v1.0.1"},
			{Path: "github.com/a/c", Version: "latest"},
			{Path: "corp/secret", Version: "v1.0.0"},
			{Path: "localhost/x", Version: "v1.0.0"},
			{Path: "other", Plugin: true},
			{Path: "", Plugin: true},
		},
	}
	if _, err := r.Clean(); err != nil {
		t.Fatal(err)
	}
	want := &Facts{
		CaddyVersion: "other", GoVersion: "go1.26.8", EvergreenVersion: "devel",
		Os: "other", Kernel: "linux-6", Memory: "other", Deployment: "other",
		CpuFeatures: []string{"aes", "other"},
		Modules: []*Module{
			{Path: "github.com/a/b", Version: "v1.0.0"},
			{Path: "github.com/a/c", Version: "other"},
			{Path: "other"},
			{Path: "other", Plugin: true},
		},
	}
	if d := cmp.Diff(want, r.Facts, protocmp.Transform()); d != "" {
		t.Error(d)
	}

	r.Facts = nil
	if _, err := r.Clean(); err != nil || r.Facts == nil {
		t.Errorf("without facts: %v, %v", r.Facts, err)
	}
}

func TestGrammars(t *testing.T) {
	for _, c := range []struct {
		what string
		f    func(string) string
		in   string
		want string
	}{
		{"version", cleanVersion, "v1.2.3", "v1.2.3"},
		{"version", cleanVersion, "v1.2.3-beta.1", "v1.2.3-beta.1"},
		{"version", cleanVersion, "v0.0.0-20260112195511-716be5621a96", "v0.0.0-20260112195511-716be5621a96"},
		{"version", cleanVersion, "v25.12.19+incompatible", "v25.12.19+incompatible"},
		{"version", cleanVersion, "v2.11.9-0.20260101000000-abcdefabcdef+dirty", "v2.11.9-0.20260101000000-abcdefabcdef+dirty"},
		{"version", cleanVersion, "unknown", ""},
		{"version", cleanVersion, "v1.2", "other"},
		{"version", cleanVersion, "v1.2.3.4", "other"},
		{"version", cleanVersion, "v01.2.3", "other"},
		{"version", cleanVersion, "v1.2.3-", "other"},
		{"version", cleanVersion, "v1.2.3+", "other"},
		{"version", cleanVersion, "v1.2.3-a..b", "other"},
		{"version", cleanVersion, "v1.2.3-a b", "other"},
		{"version", cleanVersion, "v1.2.3-" + strings.Repeat("a", 64), "other"},
		{"version", cleanVersion, "v9999999999.0.0", "other"},
		{"go", cleanGoVersion, "go1.26", "go1.26"},
		{"go", cleanGoVersion, "go1.27rc1", "go1.27rc1"},
		{"go", cleanGoVersion, "go1.25.3-distro1", "go1.25.3"},
		{"go", cleanGoVersion, "devel go1.27-abcdef Mon", "devel"},
		{"go", cleanGoVersion, "go2.0", "other"},
		{"go", cleanGoVersion, "go1.", "other"},
		{"go", cleanGoVersion, "go1.26.", "other"},
		{"go", cleanGoVersion, "go1.26.8x", "other"},
		{"label", cleanLabel, "a-1", "a-1"},
		{"label", cleanLabel, "A", ""},
		{"label", cleanLabel, strings.Repeat("a", 33), ""},
	} {
		if got := c.f(c.in); got != c.want {
			t.Errorf("%s %q became %q, want %q", c.what, c.in, got, c.want)
		} else if again := c.f(got); again != got {
			t.Errorf("%s %q became %q when cleaned again", c.what, got, again)
		}
	}
	for path, want := range map[string]bool{
		"github.com/caddyserver/caddy/v2": true, "tailscale.com": true, "gopkg.in/yaml.v3": true,
		"github.com/BurntSushi/toml": true, "git.sr.ht/~a/b": true, "go.uber.org/zap": true, "cel.dev/expr": true,
		"": false, "other": false, "std": false, "example/x": false, "192.0.2.1/x": false, "github.com/": false,
		"github.com//x": false, "github.com/../x": false, ".com/x": false, "host.com:8080/x": false,
		"Github.com/x": false, "github.com/a b": false, "github.com/ü": false, "example./x": false, "-a.com/x": false,
	} {
		if got := isModulePath(path); got != want {
			t.Errorf("isModulePath(%q) = %t", path, got)
		}
	}
}

// FuzzClean holds Clean to its promise for every report that can be decoded.
func FuzzClean(f *testing.F) {
	seed, err := proto.Marshal(validReport())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		r := &Report{}
		if proto.Unmarshal(b, r) != nil {
			return
		}
		twin := proto.CloneOf(r)
		n1, err1 := r.Clean()
		n2, err2 := twin.Clean()
		if n1 != n2 || (err1 == nil) != (err2 == nil) || err1 != nil && err1.Error() != err2.Error() {
			t.Fatalf("cleaning twice gives %d, %v and %d, %v", n1, err1, n2, err2)
		}
		if err1 != nil {
			return
		}
		if d := cmp.Diff(r, twin, protocmp.Transform()); d != "" {
			t.Fatal(d)
		}
		if n, err := twin.Clean(); n != 0 || err != nil {
			t.Fatalf("a clean report cleaned: %d dropped, %v", n, err)
		}
		if d := cmp.Diff(r, twin, protocmp.Transform()); d != "" {
			t.Fatalf("cleaning again changed: %s", d)
		}
		for _, w := range r.Windows {
			for _, s := range w.Series {
				m := MetricByID(MetricID(s.Metric))
				if m == nil || m.Kind.FromServer() || len(s.Cells) != len(s.Values) {
					t.Fatalf("series %v is left", s)
				}
				for i, c := range s.Cells {
					if !m.Valid(Cell(c)) || s.Values[i] > MaxCount {
						t.Fatalf("cell %d of %s is left with %d", c, m.Name, s.Values[i])
					}
				}
				for _, h := range s.Histograms {
					if !m.Valid(Cell(h.Cell)) || int(h.First)+len(h.Buckets) > Buckets || len(h.Buckets) == 0 {
						t.Fatalf("histogram %v of %s is left", h, m.Name)
					}
				}
			}
		}
	})
}

func BenchmarkClean(b *testing.B) {
	seed, err := proto.Marshal(validReport())
	if err != nil {
		b.Fatal(err)
	}
	r := &Report{}
	if err := proto.Unmarshal(seed, r); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Clean(); err != nil {
			b.Fatal(err)
		}
	}
}
