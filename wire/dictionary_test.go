package wire

import (
	"math"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestDictionary(t *testing.T) {
	name := regexp.MustCompile(`^[a-z]+(_[a-z]+)*(\.[a-z]+(_[a-z]+)*)*$`)
	for _, m := range Metrics() {
		if !name.MatchString(m.Name) {
			t.Errorf("%s: a metric's name is lower-case words and dots", m.Name)
		}
		if m.ID == 0 || m.ID >= 1<<dimBits {
			t.Errorf("%s: number %d is out of range", m.Name, m.ID)
		}
		if m.Doc == "" {
			t.Errorf("%s has no documentation", m.Name)
		}
		if len(m.Facets) == 0 || m.Facets[0] != All || !slices.IsSorted(m.Facets) {
			t.Errorf("%s: facets %v must be ascending and begin with all", m.Name, m.Facets)
		}
		if m.Label != "" && m.Kind != KindInstances {
			t.Errorf("%s: only instances have a label", m.Name)
		}
		if m.Kind == KindPeak && len(m.Dims) > 0 {
			t.Errorf("%s: a peak has no dimensions", m.Name)
		}
		for _, d := range m.Dims {
			if len(d.Values) > 1<<dimBits-1 {
				t.Errorf("%s.%s has %d values: a cell holds less than %d", m.Name, d.Name, len(d.Values), 1<<dimBits-1)
			}
		}
		if MetricByID(m.ID) != m || MetricByName(m.Name) != m {
			t.Errorf("%s is not found by its number and name", m.Name)
		}
	}
}

func TestMetricsUnder(t *testing.T) {
	var names []string
	for _, m := range MetricsUnder("http.requests") {
		names = append(names, m.Name)
	}
	want := []string{"http.requests", "http.requests.method", "http.requests.transport", "http.requests.peak"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := MetricsUnder("http.req"); got != nil {
		t.Errorf("half a word named %v", got)
	}
}

func TestCell(t *testing.T) {
	for _, d := range []Dims{{}, {1, 2, 3, 4, 5}, {4095, 4095, 4095, 4095, 4095}, {0, 0, 0, 0, 1}} {
		if got := d.Cell().Dims(); got != d {
			t.Errorf("%v packed and unpacked is %v", d, got)
		}
	}
	m := MetricByID(HTTPRequests)
	for c, want := range map[Cell]bool{
		0:                         true,
		Dims{1, 500, 2}.Cell():    true,
		Dims{1, 501, 2}.Cell():    false, // beyond the statuses
		Dims{1, 1, 1, 1}.Cell():   false, // a dimension too many
		Cell(1 << 60):             false, // beyond all dimensions
		Cell(math.MaxUint64):      false,
		Dims{5, 1, 1}.Cell():      false,
		Dims{4, 100, 1, 0}.Cell(): true,
	} {
		if m.Valid(c) != want {
			t.Errorf("Valid(%v) = %v", c.Dims(), !want)
		}
	}
}

func TestBucketAgreesWithBound(t *testing.T) {
	check := func(v uint64) {
		i := Bucket(v)
		// Compare logarithms' arguments with care: bounds are irrational but for whole powers.
		if f := float64(v); i > 0 && f <= Bound(i-1) || f > Bound(i) {
			t.Fatalf("Bucket(%d) = %d, whose bounds are %g and %g", v, i, Bound(i-1), Bound(i))
		}
	}
	for v := range uint64(1 << 17) {
		check(v)
	}
	for e := range 63 {
		for d := uint64(0); d < 3; d++ {
			check(1<<e + d - 1)
		}
	}
	if Bucket(math.MaxUint64) != Buckets-1 {
		t.Error("the greatest value is not in the last bucket")
	}
}

func TestQuantile(t *testing.T) {
	if q := Quantile(nil, 0.5); !math.IsNaN(q) {
		t.Errorf("the median of nothing is %v", q)
	}
	b := make([]uint64, Buckets)
	for v := uint64(1); v <= 100_000; v++ {
		b[Bucket(v)]++
	}
	for _, q := range []float64{0.01, 0.1, 0.5, 0.9, 0.99} {
		want := q * 100_000
		if got := Quantile(b, q); math.Abs(got-want)/want > 0.19 {
			t.Errorf("the %g-quantile of 1…100000 is %g, more than a bucket from %g", q, got, want)
		}
	}
	clear(b)
	b[Buckets-1] = 1
	if got := Quantile(b, 0.5); got != Bound(Buckets-2) {
		t.Errorf("the median in the open bucket is %g", got)
	}
}

func TestTimingFromEnv(t *testing.T) {
	env := func(kv map[string]string) func(string) string { return func(k string) string { return kv[k] } }
	got, err := TimingFromEnv(env(nil))
	if err != nil || got != DefaultTiming {
		t.Errorf("without variables: %v, %v", got, err)
	}
	got, err = TimingFromEnv(env(map[string]string{"EVERGREEN_WINDOW": "2s", "EVERGREEN_NOTICE": "0s", "EVERGREEN_REPORT_EVERY": "2s"}))
	want := Timing{Window: 2 * time.Second, ReportEvery: 2 * time.Second}
	if err != nil || got != want {
		t.Errorf("shortened: %v, %v", got, err)
	}
	for k, v := range map[string]string{"EVERGREEN_WINDOW": "7s", "EVERGREEN_NOTICE": "soon", "EVERGREEN_REPORT_EVERY": "1ms"} {
		if got, err := TimingFromEnv(env(map[string]string{k: v})); err == nil || got != DefaultTiming {
			t.Errorf("%s=%s: %v, %v; want an error and the default", k, v, got, err)
		}
	}
	at := time.Date(2026, 11, 21, 10, 7, 31, 5, time.FixedZone("", 3600))
	if got, want := DefaultTiming.WindowStart(at), time.Date(2026, 11, 21, 9, 5, 0, 0, time.UTC); !got.Equal(want) {
		t.Errorf("WindowStart(%v) = %v", at, got)
	}
}
