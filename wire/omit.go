package wire

// omissions say what of Facts a metric of kind KindInstances is made from, but
// for the build list, from which two are made. InstancesActive needs nothing
// but the report itself.
var omissions = map[MetricID]func(*Facts){
	InstancesVersion:      func(f *Facts) { f.CaddyVersion = "" },
	InstancesGo:           func(f *Facts) { f.GoVersion = "" },
	InstancesPlatform:     func(f *Facts) { f.Os, f.Arch = "", "" },
	InstancesKernel:       func(f *Facts) { f.Kernel = "" },
	InstancesCPUs:         func(f *Facts) { f.Cpus = 0 },
	InstancesCPUFeatures:  func(f *Facts) { f.CpuFeatures = nil },
	InstancesMemory:       func(f *Facts) { f.Memory = "" },
	InstancesContainer:    func(f *Facts) { f.Container = "" },
	InstancesInit:         func(f *Facts) { f.Init = "" },
	InstancesInstallation: func(f *Facts) { f.Installation = "" },
	InstancesUptime:       func(f *Facts) { f.UptimeSeconds = 0 },
	InstancesSites:        func(f *Facts) { f.Sites = 0 },
	InstancesListeners:    func(f *Facts) { f.Listeners = 0 },
	InstancesServers:      func(f *Facts) { f.Servers = 0 },
	InstancesProtocols:    func(f *Facts) { f.Protocols = nil },
	InstancesAdapter:      func(f *Facts) { f.ConfigAdapter = "" },
	InstancesFeatures:     func(f *Facts) { f.Features = nil },
	InstancesDeployment:   func(f *Facts) { f.Deployment = "" },
}

// Omit takes out of f what the metrics are made from that names name, as
// MetricsUnder does: so an instance's operator switches off a single fact.
func (f *Facts) Omit(names []string) {
	modules, plugins := true, true
	for _, name := range names {
		for _, m := range MetricsUnder(name) {
			switch omit := omissions[m.ID]; {
			case omit != nil:
				omit(f)
			case m.ID == InstancesModules:
				modules = false
			case m.ID == InstancesPlugins:
				plugins = false
			}
		}
	}
	if modules && plugins {
		return
	}
	// The list may be shared with others' Facts: it is not changed, but made anew.
	var kept []*Module
	for _, m := range f.Modules {
		switch {
		case modules:
			kept = append(kept, &Module{Path: m.Path, Version: m.Version})
		case plugins && m.Plugin:
			kept = append(kept, m)
		}
	}
	f.Modules = kept
}
