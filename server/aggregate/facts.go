package aggregate

import (
	"slices"
	"strconv"
	"time"

	"github.com/caddy-evergreen/evergreen/server/ingestlog"
	"github.com/caddy-evergreen/evergreen/wire"
)

// The upper bounds of wire.CountClass and wire.UptimeClass, whose value i+1 is
// for what is at most, or less than, bound i.
var (
	countBounds  = []uint64{0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 1024, 4096, 16384}
	uptimeBounds = func() []uint64 {
		var s []uint64
		const day = 24 * time.Hour
		for _, d := range []time.Duration{10 * time.Minute, time.Hour, 6 * time.Hour, day, 3 * day, 7 * day, 30 * day, 90 * day, 365 * day} {
			s = append(s, uint64(d/time.Second))
		}
		return s
	}()
)

func countClass(n uint64) wire.Value {
	i, _ := slices.BinarySearch(countBounds, n)
	return wire.Value(i + 1)
}

func uptimeClass(seconds uint64) wire.Value {
	i, exact := slices.BinarySearch(uptimeBounds, seconds)
	if exact {
		i++ // classes begin with their lower bound
	}
	return wire.Value(i + 1)
}

// facetValues are the values of a report's facets, by wire.Facet.
type facetValues [wire.Deployment + 1]string

func facetsOf(r *ingestlog.Record, f *wire.Facts) facetValues {
	v := facetValues{
		wire.Country:    r.Country,
		wire.Version:    orUnknown(f.CaddyVersion),
		wire.Platform:   orUnknown(f.Os) + "/" + orUnknown(f.Arch),
		wire.Deployment: orUnknown(f.Deployment),
	}
	if r.Network > 0 {
		v[wire.Network] = "AS" + strconv.FormatUint(uint64(r.Network), 10)
	}
	return v
}

func orUnknown(s string) string {
	if s == "" {
		return unknown
	}
	return s
}

// A fact is what an instance counts for in a metric of kind Instances.
type fact struct {
	metric wire.MetricID
	dims   wire.Dims
	label  string
}

// factsOf lists what an instance counts for, each once.
func factsOf(f *wire.Facts) []fact {
	arch := wire.Arch.Value(f.Arch)
	facts := []fact{
		{wire.InstancesVersion, wire.Dims{}, orUnknown(f.CaddyVersion)},
		{wire.InstancesGo, wire.Dims{}, orUnknown(f.GoVersion)},
		{wire.InstancesPlatform, wire.Dims{wire.OS.Value(f.Os), arch}, ""},
		{wire.InstancesKernel, wire.Dims{wire.Kernel.Value(f.Kernel)}, ""},
		{wire.InstancesMemory, wire.Dims{wire.MemoryClass.Value(f.Memory)}, ""},
		{wire.InstancesContainer, wire.Dims{wire.Container.Value(f.Container)}, ""},
		{wire.InstancesInit, wire.Dims{wire.Init.Value(f.Init)}, ""},
		{wire.InstancesInstallation, wire.Dims{wire.Installation.Value(f.Installation)}, ""},
		{wire.InstancesUptime, wire.Dims{uptimeClass(f.UptimeSeconds)}, ""},
		{wire.InstancesSites, wire.Dims{countClass(uint64(f.Sites))}, ""},
		{wire.InstancesListeners, wire.Dims{countClass(uint64(f.Listeners))}, ""},
		{wire.InstancesServers, wire.Dims{countClass(uint64(f.Servers))}, ""},
		{wire.InstancesAdapter, wire.Dims{wire.Adapter.Value(f.ConfigAdapter)}, ""},
		{wire.InstancesDeployment, wire.Dims{wire.DeploymentKind.Value(f.Deployment)}, ""},
	}
	cpus := wire.Other // no machine has none
	if f.Cpus > 0 {
		cpus = countClass(uint64(f.Cpus))
	}
	facts = append(facts, fact{wire.InstancesCPUs, wire.Dims{cpus}, ""})
	for _, s := range f.CpuFeatures {
		facts = append(facts, fact{wire.InstancesCPUFeatures, wire.Dims{wire.CPUFeature.Value(s), arch}, ""})
	}
	for _, s := range f.Protocols {
		facts = append(facts, fact{wire.InstancesProtocols, wire.Dims{wire.ServerProtocol.Value(s)}, ""})
	}
	for _, s := range f.Features {
		facts = append(facts, fact{wire.InstancesFeatures, wire.Dims{wire.Feature.Value(s)}, ""})
	}
	for _, m := range f.Modules {
		label := m.Path
		if m.Version != "" {
			label += "@" + m.Version
		}
		facts = append(facts, fact{wire.InstancesModules, wire.Dims{}, label})
		if m.Plugin {
			facts = append(facts, fact{wire.InstancesPlugins, wire.Dims{}, label})
		}
	}
	return facts
}
