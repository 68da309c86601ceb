package collect

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"io"
	"math/rand/v2"
	"net/http/httptest"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/caddy-evergreen/evergreen/server/ingestlog"
	"github.com/caddy-evergreen/evergreen/wire"
)

type nowhere struct{}

func (nowhere) Append(context.Context, ingestlog.Record) error { return nil }

// realistic has about 200 counters, some histograms and the build list of a
// Caddy with a few plugins.
func realistic() *wire.Report {
	rnd := rand.New(rand.NewPCG(1, 2))
	r := report()
	w := r.Windows[0]
	w.Series = nil
	for _, m := range wire.Metrics() {
		if m.Kind.FromServer() {
			continue
		}
		s := &wire.Series{Metric: uint32(m.ID)}
		var cells []wire.Cell
		for range min(m.Cells(), 12) {
			var d wire.Dims
			for i, dim := range m.Dims {
				d[i] = wire.Value(rnd.IntN(len(dim.Values)))
			}
			cells = append(cells, d.Cell())
		}
		slices.Sort(cells) // as a recorder's are
		for _, c := range slices.Compact(cells) {
			if m.Kind == wire.KindHistogram {
				buckets := make([]uint64, 24)
				for i := range buckets {
					buckets[i] = rnd.Uint64N(300)
				}
				s.Histograms = append(s.Histograms, &wire.Histogram{Cell: uint64(c), Sum: rnd.Uint64N(1 << 30), First: 30, Buckets: buckets})
			} else {
				s.Cells = append(s.Cells, uint64(c))
				s.Values = append(s.Values, rnd.Uint64N(10_000))
			}
		}
		w.Series = append(w.Series, s)
	}
	for i := range 150 {
		r.Facts.Modules = append(r.Facts.Modules, &wire.Module{
			Path:    "github.com/example/module-" + string([]byte{'a' + byte(i/26), 'a' + byte(i%26)}) + "/v2",
			Version: "v2.3.4-0.20260112195511-716be5621a96", Plugin: i%10 == 0})
	}
	return r
}

// BenchmarkReport is the processor time of one report, from the handler's
// start to its end: verify, decompress, decode, check; the log does nothing.
// One op is one report; 1e9 / (ns/op × processors used) are reports a second
// and core.
func BenchmarkReport(b *testing.B) {
	raw, err := proto.Marshal(realistic())
	if err != nil {
		b.Fatal(err)
	}
	body := compress(b, raw)
	c := newCollector(b, nowhere{}, func(cfg *Config) {
		cfg.Limits = Limits{Sender: 1e9, SenderBurst: 1e9, Global: 1e9, GlobalBurst: 1e9}
	})
	signed := postReport(newKey(b), body)
	b.ReportAllocs()
	b.ReportMetric(float64(len(body)), "B/report")
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			w := httptest.NewRecorder()
			r := *signed
			r.Body = io.NopCloser(bytes.NewReader(body))
			c.ServeHTTP(w, &r)
			if w.Code != 200 {
				b.Error(w.Body)
				return
			}
		}
	})
}

// BenchmarkVerify is the signature's share of it.
func BenchmarkVerify(b *testing.B) {
	key := newKey(b)
	body := make([]byte, 4096)
	sig := wire.Sign(key, wire.PurposeReport, body)
	pub := key.Public().(ed25519.PublicKey)
	for b.Loop() {
		if wire.Verify(pub, wire.PurposeReport, body, sig) != nil {
			b.Fatal("not verified")
		}
	}
}
