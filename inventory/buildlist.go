package inventory

import (
	"debug/buildinfo"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"runtime/debug"

	"github.com/caddy-evergreen/evergreen/wire"
)

// BuildList is what this executable was built from, for asking whether it needs
// an update. Modules that are not known to be public are left out: complete is
// then false.
//
// Plugins are the paths of the modules that it was built with on purpose; those
// that register Caddy modules are found without.
func BuildList(plugins []string) (b wire.BuildList, complete bool) {
	var f wire.Facts
	New("/", os.Getenv).WithPlugins(plugins).buildList(&f)
	b.Go, complete = runtime.Version(), true
	for _, m := range f.Modules {
		if m.Path == otherPath {
			complete = false
			continue
		}
		b.Modules = append(b.Modules, wire.ModuleVersion{Path: m.Path, Version: m.Version, Plugin: m.Plugin})
	}
	b.Sort()
	return b, complete
}

// kernelRelease is as much of the kernel's release as a minimum is written in.
var kernelRelease = regexp.MustCompile(`^[0-9]+\.[0-9]+`)

// System is what this executable runs on.
func System() wire.System {
	s := wire.System{OS: runtime.GOOS, Arch: runtime.GOARCH}
	if s.OS == "linux" {
		s.Kernel = kernelRelease.FindString(New("/", os.Getenv).read("/proc/sys/kernel/osrelease"))
	}
	return s
}

// BuildListOf is what another executable was built from, read from the file
// without running it. Plugins are as for BuildList, to which those that this
// executable's Caddy modules are from are added.
func BuildListOf(file string, plugins []string) (wire.BuildList, error) {
	info, err := buildinfo.ReadFile(file)
	if err != nil {
		return wire.BuildList{}, fmt.Errorf("reading what %s was built from: %w", file, err)
	}
	c := New("/", os.Getenv).WithPlugins(plugins)
	c.build = func() (*debug.BuildInfo, bool) { return info, true }
	var f wire.Facts
	c.buildList(&f)
	b := wire.BuildList{Go: info.GoVersion}
	for _, m := range f.Modules {
		if m.Path != otherPath {
			b.Modules = append(b.Modules, wire.ModuleVersion{Path: m.Path, Version: m.Version, Plugin: m.Plugin})
		}
	}
	b.Sort()
	return b, nil
}
