package fleet

import (
	"crypto/ed25519"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/proto"

	"github.com/caddy-evergreen/evergreen/wire"
)

// A Reporter makes the reports of one instance, in order.
type Reporter struct {
	f      *Fleet
	in     *instance
	key    ed25519.PrivateKey
	number uint64
	at     time.Time // start of the next report's first window
	zip    *zstd.Encoder
}

// A Signed is a report as it is sent.
type Signed struct {
	Body      []byte // protobuf, as a Zstandard frame
	Key       ed25519.PublicKey
	Signature []byte
	Windows   int
}

// Reporter is that of the instance with number i, 0 to Instances()-1.
func (f *Fleet) Reporter(i int) (*Reporter, error) {
	zip, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	return &Reporter{f: f, in: &f.pop[i], key: f.key(i), at: f.cfg.From, zip: zip}, nil
}

// Next is the next report: the windows of an hour in which the instance ran and
// could be reached. ok is false when there is no more.
func (r *Reporter) Next() (s Signed, ok bool, err error) {
	for ; r.at.Before(r.f.cfg.To); r.at = r.at.Add(time.Hour) {
		h := r.at.Unix() / 3600
		if r.in.alive(h) && r.in.reports(h) && !r.f.gap(h) {
			break
		}
	}
	if !r.at.Before(r.f.cfg.To) {
		return s, false, nil
	}
	h := r.at.Unix() / 3600
	report := &wire.Report{Dictionary: wire.DictionaryVersion, Number: r.number + 1, Facts: r.f.factsOf(r.in, h)}
	for at := r.at; at.Before(r.at.Add(time.Hour)) && at.Before(r.f.cfg.To); at = at.Add(r.f.cfg.Timing.Window) {
		report.Windows = append(report.Windows, r.window(at))
	}
	_, end := report.Span()
	report.Created = end + 3
	r.at = r.at.Add(time.Hour)
	r.number++
	b, err := proto.Marshal(report)
	if err != nil {
		return s, false, fmt.Errorf("encoding a report: %w", err)
	}
	s.Body, s.Windows = r.zip.EncodeAll(b, nil), len(report.Windows)
	s.Key = r.key.Public().(ed25519.PublicKey)
	s.Signature = wire.Sign(r.key, wire.PurposeReport, s.Body)
	return s, true, nil
}

// window draws what the instance counts in a window.
func (r *Reporter) window(at time.Time) *wire.Window {
	f, h := r.f, at.Unix()/3600
	rng := rand.New(rand.NewPCG(r.in.seed, uint64(at.Unix())))
	seconds := f.cfg.Timing.Window.Seconds()
	mo := &moment{hour: h, before: float64(f.end-h) / 24}
	mo.bases[requests] = r.in.weight * f.rhythm(int(r.in.country), h) * seconds
	mo.bases[connections] = mo.bases[requests] * 0.21
	mo.bases[held] = 1
	mo.bases[attacks] = 22 * seconds / 3600
	f.happenings(mo)
	version := r.in.version(h)
	if i := slices.IndexFunc(r.in.upgrades[1:], func(u upgrade) bool { return u.at == h }); i >= 0 && r.in.policy == automatic && at.Unix()%3600 == 0 {
		mo.bases[updating] = 1
	}
	w := &wire.Window{Start: at.Unix(), Seconds: uint32(seconds)}
	for _, s := range f.shapes {
		if series := r.series(rng, s, mo, version); series != nil {
			w.Series = append(w.Series, series)
		}
	}
	return w
}

func (r *Reporter) series(rng *rand.Rand, s *shape, mo *moment, version uint8) *wire.Series {
	total := mo.bases[s.base] * s.rate
	if total == 0 {
		return nil
	}
	weights := make([]float64, len(s.cells))
	var sum float64
	for i := range s.cells {
		weights[i] = s.cells[i].at(mo.before) * s.cells[i].likes[wire.Country][r.in.country]
		sum += weights[i]
	}
	series := &wire.Series{Metric: uint32(s.m.ID)}
	for i := range s.cells {
		c := &s.cells[i]
		mean := total * weights[i] / sum
		if c.error5 && mo.worse[wire.Version] != nil {
			mean *= mo.worse[wire.Version][version]
		}
		if c.scan != "" {
			mean *= 1 + mo.surge[c.scan]
		}
		n := poisson(rng, mean)
		if s.m.Kind == wire.KindPeak {
			// The most in the window, of a busy instance more.
			n = uint64(s.median * (0.3 + r.in.weight) * math.Exp(0.4*rng.NormFloat64()))
		}
		if n == 0 {
			continue
		}
		if s.m.Kind != wire.KindHistogram {
			series.Cells = append(series.Cells, uint64(c.dims.Cell()))
			series.Values = append(series.Values, n)
			continue
		}
		b := make([]uint64, wire.Buckets)
		sum := s.buckets(b, n, c.slow, rng.Float64())
		first := slices.IndexFunc(b, func(n uint64) bool { return n > 0 })
		for b[len(b)-1] == 0 {
			b = b[:len(b)-1]
		}
		series.Histograms = append(series.Histograms, &wire.Histogram{Cell: uint64(c.dims.Cell()), Sum: sum, First: uint32(first), Buckets: b[first:]})
	}
	if len(series.Cells)+len(series.Histograms) == 0 {
		return nil
	}
	return series
}

// poisson draws a number of this mean.
func poisson(rng *rand.Rand, mean float64) uint64 {
	if mean > 30 {
		return uint64(math.Max(0, math.Round(mean+math.Sqrt(mean)*rng.NormFloat64())))
	}
	limit, p := math.Exp(-mean), 1.0
	for n := uint64(0); ; n++ {
		if p *= rng.Float64(); p <= limit {
			return n
		}
	}
}

// factsOf is what an instance says of itself.
func (f *Fleet) factsOf(in *instance, h int64) *wire.Facts {
	version := f.releases[in.version(h)]
	os, arch, _ := strings.Cut(platforms[in.platform].name, "/")
	x := &wire.Facts{
		CaddyVersion: version.version, GoVersion: version.golang, Os: os, Arch: arch,
		Deployment: deployments[in.deployment].name,
		Modules:    []*wire.Module{{Path: wire.CaddyPath, Version: version.version}},
	}
	for _, n := range in.facts {
		fa := &f.facts.all[n]
		m := wire.MetricByID(fa.metric)
		name := ""
		if len(m.Dims) > 0 {
			name = m.Dims[0].ValueName(fa.dims[0])
		}
		switch fa.metric {
		case wire.InstancesKernel:
			x.Kernel = name
		case wire.InstancesCPUs:
			x.Cpus = leading(name)
		case wire.InstancesCPUFeatures:
			x.CpuFeatures = append(x.CpuFeatures, name)
		case wire.InstancesMemory:
			x.Memory = name
		case wire.InstancesContainer:
			x.Container = name
		case wire.InstancesInit:
			x.Init = name
		case wire.InstancesInstallation:
			x.Installation = name
		case wire.InstancesUptime:
			x.UptimeSeconds = uptimes[fa.dims[0]-1]
		case wire.InstancesSites:
			x.Sites = leading(name)
		case wire.InstancesListeners:
			x.Listeners = leading(name)
		case wire.InstancesServers:
			x.Servers = leading(name)
		case wire.InstancesAdapter:
			x.ConfigAdapter = name
		case wire.InstancesProtocols:
			x.Protocols = append(x.Protocols, name)
		case wire.InstancesFeatures:
			x.Features = append(x.Features, name)
		case wire.InstancesPlugins:
			path, version, _ := strings.Cut(fa.label, "@")
			x.Modules = append(x.Modules, &wire.Module{Path: path, Version: version, Plugin: true})
		}
	}
	return x
}

// uptimes are seconds in the classes of uptime, in their order.
var uptimes = []uint64{300, 1800, 3 * 3600, 12 * 3600, 2 * 86400, 5 * 86400, 14 * 86400, 60 * 86400, 180 * 86400, 500 * 86400}

// leading is the number that a class of counts begins with.
func leading(class string) uint32 {
	end := strings.IndexFunc(class, func(r rune) bool { return r < '0' || r > '9' })
	if end < 0 {
		end = len(class)
	}
	n, err := strconv.ParseUint(class[:end], 10, 32)
	if err != nil {
		return 0
	}
	return uint32(n)
}
