package aggregate_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/proto"

	"github.com/caddy-evergreen/evergreen/server/aggregate"
	"github.com/caddy-evergreen/evergreen/server/hll"
	"github.com/caddy-evergreen/evergreen/server/ingestlog"
	"github.com/caddy-evergreen/evergreen/server/store"
	"github.com/caddy-evergreen/evergreen/server/store/duckdb"
	"github.com/caddy-evergreen/evergreen/wire"
)

var start = time.Date(2026, 11, 21, 9, 50, 0, 0, time.UTC)

func instanceID(n int) wire.InstanceID { return wire.IDOf([]byte(fmt.Sprint("instance ", n))) }

// report is one with a window for each of starts.
func report(instance int, number uint64, starts ...time.Time) *wire.Report {
	r := &wire.Report{Number: number, Created: start.Unix(), Facts: &wire.Facts{
		CaddyVersion: []string{"v2.11.9", "v2.11.3"}[instance%2], GoVersion: "go1.26.8", Os: "linux", Arch: "amd64",
		Cpus: 4, Sites: 3, UptimeSeconds: 7200, Deployment: "production", Features: []string{"ech", "http"},
		Modules: []*wire.Module{{Path: "github.com/a/b", Version: "v1.2.3", Plugin: true}, {Path: "other"}, {Path: "other", Plugin: true}},
	}}
	for _, at := range starts {
		r.Windows = append(r.Windows, &wire.Window{Start: at.Unix(), Seconds: 300, Series: []*wire.Series{
			{Metric: uint32(wire.HTTPRequests), Cells: []uint64{
				uint64(wire.Dims{wire.Protocol.Value("http/2"), wire.Status.Value("200"), 1}.Cell()),
				uint64(wire.Dims{wire.Protocol.Value("http/1.1"), wire.Status.Value("404"), 1}.Cell()),
			}, Values: []uint64{10 * number, 1}},
			{Metric: uint32(wire.HTTPDuration), Histograms: []*wire.Histogram{{Cell: uint64(wire.Dims{1, 2}.Cell()), Sum: 450, First: 28, Buckets: []uint64{1, 0, 2}}}},
			{Metric: uint32(wire.ConnectionsPeak), Cells: []uint64{0}, Values: []uint64{uint64(instance) + 5}},
		}})
	}
	return r
}

var encoder = sync.OnceValues(func() (*zstd.Encoder, error) { return zstd.NewWriter(nil) })

func record(t testing.TB, instance int, r *wire.Report) ingestlog.Record {
	t.Helper()
	b, err := proto.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	w, err := encoder()
	if err != nil {
		t.Fatal(err)
	}
	from, to := r.Span()
	return ingestlog.Record{
		Received: time.Unix(to+10, 0).UTC(), Instance: instanceID(instance), Number: r.Number, From: from, To: to,
		Country: []string{"NL", "DE", ""}[instance%3], MediaType: wire.TypeProtobuf, Body: w.EncodeAll(b, nil),
	}
}

func openLog(t testing.TB, dir string) *ingestlog.Log {
	t.Helper()
	l, err := ingestlog.Open(dir, ingestlog.Options{SegmentBytes: 8 << 10})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func openStore(t testing.TB) store.Store {
	t.Helper()
	s, err := duckdb.Open("", duckdb.Options{Memory: 256 << 20, Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// until runs an aggregator until the store has all of the log.
func until(t testing.TB, c aggregate.Config) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	a := aggregate.New(c)
	go func() { done <- a.Run(ctx) }()
	for {
		p, err := c.Store.Position(t.Context(), c.LogName)
		if err != nil {
			t.Fatal(err)
		}
		if p == store.Position(c.Log.Durable()) {
			break
		}
		select {
		case err := <-done:
			t.Fatalf("Run ended: %v", err)
		case <-time.After(time.Millisecond):
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// export is all that a store holds of a grain.
func export(t testing.TB, s store.Store, g store.Grain) []store.Row {
	t.Helper()
	var rows []store.Row
	for r, err := range s.Export(t.Context(), g, time.Unix(0, 0), start.AddDate(1, 0, 0)) {
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, r)
	}
	return rows
}

func query(t testing.TB, s store.Store, q store.Query) []store.Row {
	t.Helper()
	q.From, q.To = time.Unix(0, 0), start.AddDate(1, 0, 0)
	rows, err := s.Query(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

func TestFold(t *testing.T) {
	l, s := openLog(t, t.TempDir()), openStore(t)
	second := start.Add(5 * time.Minute)
	third := start.Add(10 * time.Minute) // of the next hour
	for _, r := range []ingestlog.Record{
		record(t, 0, report(0, 1, start, second, third)),
		record(t, 1, report(1, 1, start)),
		record(t, 1, report(1, 1, start)), // once more
		{Received: start, Instance: instanceID(9), Number: 1, MediaType: wire.TypeProtobuf, Body: []byte("poison")},
		record(t, 1, report(1, 2, second)),
	} {
		if err := l.Append(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	until(t, aggregate.Config{LogName: "test", Log: l, Store: s, FlushEvery: time.Millisecond})

	type counted struct {
		Start          string
		Value, Label   string
		Dims           wire.Dims
		Count, Sum     uint64
		Top            uint64
		Reports        uint32
		InBuckets, HLL int
	}
	of := func(q store.Query) []counted {
		var cs []counted
		for _, r := range query(t, s, q) {
			c := counted{Value: r.Value, Label: r.Label, Dims: r.Dims, Count: r.Count, Sum: r.Sum, Top: r.Top, Reports: r.Reports}
			if q.ByTime {
				c.Start = time.Unix(r.Start, 0).UTC().Format("15:04")
			}
			for _, n := range r.Buckets {
				c.InBuckets += int(n)
			}
			c.HLL = int(hll.Estimate(r.Registers) + 0.5)
			cs = append(cs, c)
		}
		return cs
	}
	for _, c := range []struct {
		name string
		q    store.Query
		want []counted
	}{
		{"requests by window", store.Query{Metric: wire.HTTPRequests, Grain: store.Window, ByTime: true}, []counted{
			{Start: "09:50", Count: 22, Top: 10, Reports: 4},
			{Start: "09:55", Count: 32, Top: 20, Reports: 4},
			{Start: "10:00", Count: 11, Top: 10, Reports: 2},
		}},
		{"requests by hour", store.Query{Metric: wire.HTTPRequests, Grain: store.Hour, ByTime: true}, []counted{
			{Start: "09:00", Count: 54, Top: 20, Reports: 8},
			{Start: "10:00", Count: 11, Top: 10, Reports: 2},
		}},
		{"requests by version", store.Query{Metric: wire.HTTPRequests, Grain: store.Day, Facet: wire.Version, ByValue: true}, []counted{
			{Value: "v2.11.9", Count: 33, Top: 10, Reports: 6},
			{Value: "v2.11.3", Count: 32, Top: 20, Reports: 4},
		}},
		{"requests by platform", store.Query{Metric: wire.HTTPRequests, Grain: store.Day, Facet: wire.Platform, ByValue: true}, []counted{
			{Value: "linux/amd64", Count: 65, Top: 20, Reports: 10},
		}},
		{"durations", store.Query{Metric: wire.HTTPDuration, Grain: store.Day}, []counted{
			{Count: 15, Sum: 2250, Top: 3, Reports: 5, InBuckets: 15},
		}},
		{"peaks", store.Query{Metric: wire.ConnectionsPeak, Grain: store.Hour, ByTime: true}, []counted{
			{Start: "09:00", Count: 4, Sum: 5 + 5 + 6 + 6, Top: 1, Reports: 4, InBuckets: 4},
			{Start: "10:00", Count: 1, Sum: 5, Top: 1, Reports: 1, InBuckets: 1},
		}},
		{"instances by window", store.Query{Metric: wire.InstancesActive, Grain: store.Window, ByTime: true}, []counted{
			{Start: "09:50", Count: 2, Top: 1, Reports: 2, HLL: 2},
			{Start: "09:55", Count: 2, Top: 1, Reports: 2, HLL: 2},
			{Start: "10:00", Count: 1, Top: 1, Reports: 1, HLL: 1},
		}},
		{"instances by hour", store.Query{Metric: wire.InstancesActive, Grain: store.Hour, ByTime: true}, []counted{
			{Start: "09:00", Count: 2, Top: 1, Reports: 2, HLL: 2},
			{Start: "10:00", Count: 1, Top: 1, Reports: 1, HLL: 1},
		}},
		{"instances by country", store.Query{Metric: wire.InstancesActive, Grain: store.Day, Facet: wire.Country, ByValue: true}, []counted{
			{Value: "DE", Count: 1, Top: 1, Reports: 1, HLL: 1},
			{Value: "NL", Count: 1, Top: 1, Reports: 1, HLL: 1},
		}},
		{"versions", store.Query{Metric: wire.InstancesVersion, Grain: store.Day, ByLabel: true}, []counted{
			{Label: "v2.11.3", Count: 1, Top: 1, Reports: 1},
			{Label: "v2.11.9", Count: 1, Top: 1, Reports: 1},
		}},
		{"modules", store.Query{Metric: wire.InstancesModules, Grain: store.Day, ByLabel: true}, []counted{
			{Label: "github.com/a/b@v1.2.3", Count: 2, Top: 1, Reports: 2},
			{Label: "other", Count: 2, Top: 1, Reports: 2},
		}},
		{"sites", store.Query{Metric: wire.InstancesSites, Grain: store.Day, ByDims: []int{0}}, []counted{
			{Dims: wire.Dims{wire.CountClass.Value("3-4")}, Count: 2, Top: 1, Reports: 2},
		}},
		{"uptime", store.Query{Metric: wire.InstancesUptime, Grain: store.Day, ByDims: []int{0}}, []counted{
			{Dims: wire.Dims{wire.UptimeClass.Value("1h-6h")}, Count: 2, Top: 1, Reports: 2},
		}},
	} {
		got := of(c.q)
		slices.SortStableFunc(got, func(a, b counted) int { // ties are in any order
			switch {
			case a.Start != b.Start:
				return cmpString(a.Start, b.Start)
			case a.Count != b.Count:
				return int(b.Count) - int(a.Count)
			}
			return cmpString(a.Value+a.Label, b.Value+b.Label)
		})
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, d)
		}
	}
}

func cmpString(a, b string) int {
	if a < b {
		return -1
	} else if a > b {
		return 1
	}
	return 0
}

// A crashing store fails as told, once for each word.
type crashing struct {
	store.Store
	mu      sync.Mutex
	rng     *rand.Rand
	batches map[store.Position]store.Batch // by From
	retried int
	t       testing.TB
}

var errCrash = errors.New("power failure")

func (s *crashing) roll() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rng.IntN(10)
}

func (s *crashing) Commit(ctx context.Context, b store.Batch) error {
	s.mu.Lock()
	if first, ok := s.batches[b.From]; ok {
		s.retried++
		if d := cmp.Diff(first, b); d != "" {
			s.t.Errorf("a batch that is tried again differs (-first +again):\n%s", d)
		}
	}
	s.batches[b.From] = b
	s.mu.Unlock()
	switch s.roll() {
	case 0, 1:
		return errCrash // before it was stored
	case 2, 3:
		if err := s.Store.Commit(ctx, b); err != nil {
			return err
		}
		return errCrash // afterwards
	}
	return s.Store.Commit(ctx, b)
}

func (s *crashing) Instances(ctx context.Context, ids []wire.InstanceID) ([]store.Instance, error) {
	if s.roll() == 0 {
		return nil, errCrash
	}
	return s.Store.Instances(ctx, ids)
}

func (s *crashing) Position(ctx context.Context, log string) (store.Position, error) {
	if s.roll() == 0 {
		return 0, errCrash
	}
	return s.Store.Position(ctx, log)
}

func (s *crashing) Query(ctx context.Context, q store.Query) ([]store.Row, error) {
	if s.roll() == 0 {
		return nil, errCrash
	}
	return s.Store.Query(ctx, q)
}

// shuffled are reports of several instances, some sent again, some out of order.
func shuffled(t testing.TB, rng *rand.Rand, n int) []ingestlog.Record {
	var rs []ingestlog.Record
	for i := range n {
		instance, number := i%7, i/7
		at := start.Add(time.Duration(number) * 5 * time.Minute)
		rs = append(rs, record(t, instance, report(instance, uint64(number)+1, at)))
		for rng.IntN(4) == 0 {
			rs = append(rs, rs[rng.IntN(len(rs))])
		}
	}
	for i := range rs { // a little out of order
		j := min(len(rs)-1, i+rng.IntN(10))
		rs[i], rs[j] = rs[j], rs[i]
	}
	return rs
}

func TestExactlyOnce(t *testing.T) {
	for seed := range uint64(2) {
		rng := rand.New(rand.NewPCG(seed, 1))
		rs := shuffled(t, rng, 280)
		dir := t.TempDir()
		l := openLog(t, dir)

		crashes := &crashing{Store: openStore(t), rng: rng, batches: map[store.Position]store.Batch{}, t: t}
		c := aggregate.Config{LogName: "test", Log: l, Store: crashes, CutFile: filepath.Join(dir, "cut"), FlushEvery: time.Nanosecond, MaxBatchRecords: 40}
		for part := range slices.Chunk(rs, 60) {
			for _, r := range part {
				if err := l.Append(t.Context(), r); err != nil {
					t.Fatal(err)
				}
			}
			// Each life of the aggregator ends somewhere.
			for range 3 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rng.IntN(30))*time.Millisecond)
				if err := aggregate.New(c).Run(ctx); err != nil {
					t.Fatal(err)
				}
				cancel()
			}
		}
		crashes.rng = rand.New(steady{})
		until(t, c)

		// One batch, of each report once, in the order in which they were first sent.
		plain := openStore(t)
		l2 := openLog(t, t.TempDir())
		once := map[string]bool{}
		for _, r := range rs {
			if k := fmt.Sprint(r.Instance, r.Number); !once[k] {
				once[k] = true
				if err := l2.Append(t.Context(), r); err != nil {
					t.Fatal(err)
				}
			}
		}
		until(t, aggregate.Config{LogName: "test", Log: l2, Store: plain, FlushEvery: time.Nanosecond})
		for _, g := range store.Grains {
			if d := cmp.Diff(export(t, plain, g), export(t, crashes.Store, g)); d != "" {
				t.Fatalf("seed %d, grain %s: (-once +with crashes):\n%s", seed, g, d)
			}
		}
		if got := query(t, plain, store.Query{Metric: wire.HTTPDuration, Grain: store.Day})[0].Count; got != 3*280 {
			t.Errorf("seed %d: %d observations, want %d", seed, got, 3*280)
		}
		t.Logf("seed %d: %d batches, %d of them tried again", seed, len(crashes.batches), crashes.retried)
	}
}

// steady is a source of nothing but high numbers.
type steady struct{}

func (steady) Uint64() uint64 { return 1<<64 - 1 }
