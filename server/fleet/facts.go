package fleet

import (
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/caddy-evergreen/evergreen/wire"
)

// A fact is what instances count for in a metric of kind Instances.
type fact struct {
	metric wire.MetricID
	dims   wire.Dims
	label  string
}

// facts numbers all that there are.
type facts struct {
	all       []fact
	numbers   map[fact]uint16
	byVersion [][]uint16 // that follow from what an instance runs
}

func (f *facts) number(x fact) uint16 {
	n, ok := f.numbers[x]
	if !ok {
		n = uint16(len(f.all))
		f.numbers[x] = n
		f.all = append(f.all, x)
	}
	return n
}

// A choice is what an instance says of itself, with one of these values. A
// share of "+" lists values that an instance may have all of, each in percent.
type choice struct {
	metric wire.MetricID
	many   bool
	values []weighted
}

// choices are the facts that do not follow from the version or the platform.
var choices = []choice{
	{wire.InstancesCPUs, false, []weighted{{"1", 22}, {"2", 31}, {"3-4", 26}, {"5-8", 12}, {"9-16", 6}, {"17-32", 2}, {"33-64", 1}}},
	{wire.InstancesMemory, false, []weighted{{"<256M", 2}, {"256M-512M", 6}, {"512M-1G", 15}, {"1G-2G", 18}, {"2G-4G", 24}, {"4G-8G", 17}, {"8G-16G", 10}, {"16G-32G", 5}, {"32G-64G", 2}, {"64G-128G", 1}}},
	{wire.InstancesContainer, false, []weighted{{"none", 37}, {"docker", 46}, {"kubernetes", 9}, {"podman", 4}, {"lxc", 4}}},
	{wire.InstancesInit, false, []weighted{{"systemd", 42}, {"container-entrypoint", 52}, {"openrc", 2}, {"supervisor", 1}, {"s6", 2}, {"terminal", 1}}},
	{wire.InstancesInstallation, false, []weighted{{"dpkg", 24}, {"rpm", 5}, {"apk", 4}, {"pacman", 2}, {"nix", 2}, {"image", 50}, {"unpackaged", 13}}},
	{wire.InstancesUptime, false, []weighted{{"<10m", 0.3}, {"10m-1h", 0.7}, {"1h-6h", 2}, {"6h-1d", 6}, {"1d-3d", 10}, {"3d-7d", 18}, {"7d-30d", 38}, {"30d-90d", 19}, {"90d-1y", 6}}},
	{wire.InstancesSites, false, []weighted{{"0", 2}, {"1", 21}, {"2", 14}, {"3-4", 18}, {"5-8", 18}, {"9-16", 13}, {"17-32", 8}, {"33-64", 4}, {"65-128", 1.4}, {"129-256", 0.6}}},
	{wire.InstancesListeners, false, []weighted{{"1", 12}, {"2", 80}, {"3-4", 7}, {"5-8", 1}}},
	{wire.InstancesServers, false, []weighted{{"1", 82}, {"2", 15}, {"3-4", 3}}},
	{wire.InstancesAdapter, false, []weighted{{"caddyfile", 86}, {"json", 13}, {"yaml", 1}}},
	{wire.InstancesProtocols, true, []weighted{{"h1", 100}, {"h2", 98}, {"h3", 90}, {"h2c", 4}}},
	{wire.InstancesFeatures, true, []weighted{{"automatic_https", 88}, {"https_redirects", 84}, {"http.handlers.reverse_proxy", 79}, {"http.handlers.headers", 52}, {"http.handlers.encode", 49},
		{"http.handlers.file_server", 46}, {"access_log", 38}, {"http.encoders.zstd", 30}, {"http.matchers.path", 57}, {"http.handlers.rewrite", 25}, {"dns_challenge", 21}, {"wildcard_site", 16},
		{"http.handlers.static_response", 19}, {"metrics", 12}, {"http.handlers.authentication", 11}, {"internal_issuer", 9}, {"on_demand_tls", 4}, {"client_auth", 2}, {"ech", 0.6}}},
	{wire.InstancesPlugins, true, []weighted{{"github.com/caddy-dns/cloudflare@v0.2.1", 17}, {"github.com/mholt/caddy-ratelimit@v0.1.0", 5}, {"github.com/mholt/caddy-l4@v0.0.1", 4},
		{"github.com/lucaslorentz/caddy-docker-proxy/v2@v2.9.2", 8}, {"github.com/caddyserver/cache-handler@v0.16.0", 2}, {"github.com/greenpau/caddy-security@v1.1.31", 3},
		{"github.com/hslatman/caddy-crowdsec-bouncer@v0.9.2", 3}, {"github.com/caddy-dns/route53@v1.6.0", 2}, {"github.com/dunglas/frankenphp@v1.9.1", 4}}},
}

func newFacts(rs []release) *facts {
	f := &facts{numbers: map[fact]uint16{}}
	for _, r := range rs {
		f.byVersion = append(f.byVersion, []uint16{
			f.number(fact{wire.InstancesVersion, wire.Dims{}, r.version}),
			f.number(fact{wire.InstancesGo, wire.Dims{}, r.golang}),
			f.number(fact{wire.InstancesModules, wire.Dims{}, wire.CaddyPath + "@" + r.version}),
		})
	}
	for _, c := range choices { // so that instances only look numbers up, several at once
		for _, v := range c.values {
			f.number(factOf(c.metric, v.name))
			if c.metric == wire.InstancesPlugins {
				f.number(fact{wire.InstancesModules, wire.Dims{}, v.name})
			}
		}
	}
	for _, p := range platforms {
		for _, x := range platformFacts(p.name) {
			f.number(x)
		}
	}
	for _, d := range deployments {
		f.number(factOf(wire.InstancesDeployment, d.name))
	}
	return f
}

func factOf(m wire.MetricID, name string) fact {
	metric := wire.MetricByID(m)
	if metric.Label != "" {
		return fact{m, wire.Dims{}, name}
	}
	return fact{m, wire.Dims{metric.Dims[0].Value(name)}, ""}
}

func platformFacts(platform string) []fact {
	os, arch, _ := strings.Cut(platform, "/")
	a := wire.Arch.Value(arch)
	xs := []fact{{wire.InstancesPlatform, wire.Dims{wire.OS.Value(os), a}, ""}}
	kernel := os
	if os == "linux" {
		kernel = "linux-6"
	}
	xs = append(xs, fact{wire.InstancesKernel, wire.Dims{wire.Kernel.Value(kernel)}, ""})
	for _, c := range cpuFeatures[arch] {
		xs = append(xs, fact{wire.InstancesCPUFeatures, wire.Dims{wire.CPUFeature.Value(c), a}, ""})
	}
	return xs
}

var cpuFeatures = map[string][]string{
	"amd64": {"aes", "pclmulqdq", "avx", "avx2", "bmi2", "sha"},
	"arm64": {"aes", "sha2"},
}

// of draws an instance's facts, but for those that follow from its version.
func (f *facts) of(rng *rand.Rand, in *instance) []uint16 {
	var ns []uint16
	for _, x := range platformFacts(platforms[in.platform].name) {
		ns = append(ns, f.numbers[x])
	}
	ns = append(ns, f.numbers[factOf(wire.InstancesDeployment, deployments[in.deployment].name)])
	for _, c := range choices {
		if !c.many {
			i := pick(rng, len(c.values), func(i int) float64 { return c.values[i].weight })
			ns = append(ns, f.numbers[factOf(c.metric, c.values[i].name)])
			continue
		}
		for _, v := range c.values {
			if 100*rng.Float64() >= v.weight {
				continue
			}
			ns = append(ns, f.numbers[factOf(c.metric, v.name)])
			if c.metric == wire.InstancesPlugins {
				ns = append(ns, f.numbers[fact{wire.InstancesModules, wire.Dims{}, v.name}])
			}
		}
	}
	return ns
}

// byMetric lists the facts of a metric in the order of their keys.
func (f *facts) byMetric(m wire.MetricID) []uint16 {
	var ns []uint16
	for i, x := range f.all {
		if x.metric == m {
			ns = append(ns, uint16(i))
		}
	}
	slices.SortFunc(ns, func(a, b uint16) int {
		x, y := f.all[a], f.all[b]
		if c := slices.Compare(x.dims[:], y.dims[:]); c != 0 {
			return c
		}
		return strings.Compare(x.label, y.label)
	})
	return ns
}
