package wire

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// CaddyPath and EvergreenPath are the module paths of Caddy and of this module.
const (
	CaddyPath     = "github.com/caddyserver/caddy/v2"
	EvergreenPath = "github.com/caddy-evergreen/evergreen"
)

// A BuildList is what an executable was built from, as the executable knows it.
type BuildList struct {
	Go      string          `json:"go"`      // toolchain: "go1.26.3"
	Modules []ModuleVersion `json:"modules"` // all but the program's own; by path
}

// A ModuleVersion is a module at a version.
type ModuleVersion struct {
	Path    string `json:"path"`
	Version string `json:"version"`
	// Plugin is true for what was asked for when Caddy was built: its packages
	// are imported by the program's main package.
	Plugin bool `json:"plugin,omitempty"`
}

func (m ModuleVersion) String() string { return m.Path + "@" + m.Version }

// Version is that of the module with a path; "" if it is not in the list.
func (b BuildList) Version(path string) string {
	if i, ok := slices.BinarySearchFunc(b.Modules, path, func(m ModuleVersion, p string) int { return strings.Compare(m.Path, p) }); ok {
		return b.Modules[i].Version
	}
	return ""
}

// Sort brings the modules in their order.
func (b BuildList) Sort() {
	slices.SortFunc(b.Modules, func(x, y ModuleVersion) int { return strings.Compare(x.Path, y.Path) })
}

// Check refuses a build list that no executable has.
func (b BuildList) Check() error {
	if !strings.HasPrefix(b.Go, "go1.") || len(b.Go) > 64 {
		return fmt.Errorf(`go is %.70q: it should be a toolchain such as "go1.26.3"`, b.Go)
	}
	if len(b.Modules) > MaxModules {
		return fmt.Errorf("there are %d modules: at most %d are taken", len(b.Modules), MaxModules)
	}
	for i, m := range b.Modules {
		switch {
		case m.Path == "" || len(m.Path) > MaxFactString || len(m.Version) > MaxFactString:
			return fmt.Errorf("module %d: path %.70q and version %.70q must have 1 to %d bytes", i, m.Path, m.Version, MaxFactString)
		case i > 0 && b.Modules[i-1].Path >= m.Path:
			return fmt.Errorf("module %.70q: modules are listed once each, by path", m.Path)
		}
	}
	if b.Version(CaddyPath) == "" {
		return errors.New("modules has no " + CaddyPath)
	}
	return nil
}

// A System is what an executable runs on.
type System struct {
	OS      string `json:"os"`                // of Go: "linux"
	Arch    string `json:"arch"`              // of Go: "amd64"
	Variant string `json:"variant,omitempty"` // "v6", "v7" of arm
	Kernel  string `json:"kernel,omitempty"`  // release: "6.1"; "" if it is not known
}

func (s System) String() string {
	n := s.OS + "/" + s.Arch
	if s.Variant != "" {
		n += "/" + s.Variant
	}
	return n
}
