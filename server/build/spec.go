package build

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/mod/module"

	"github.com/caddy-evergreen/evergreen/server/artifact"
	"github.com/caddy-evergreen/evergreen/wire"
)

// Systems are those that are built for.
var Systems = []wire.System{
	{OS: "linux", Arch: "amd64"}, {OS: "linux", Arch: "arm64"}, {OS: "linux", Arch: "arm", Variant: "v6"}, {OS: "linux", Arch: "arm", Variant: "v7"},
	{OS: "linux", Arch: "riscv64"}, {OS: "linux", Arch: "s390x"}, {OS: "linux", Arch: "ppc64le"},
	{OS: "darwin", Arch: "amd64"}, {OS: "darwin", Arch: "arm64"},
	{OS: "windows", Arch: "amd64"}, {OS: "windows", Arch: "arm64"},
	{OS: "freebsd", Arch: "amd64"}, {OS: "freebsd", Arch: "arm64"},
}

const (
	maxPlugins  = 100
	maxRequires = 500
	maxVersion  = 128
	maxPath     = 255
	maxService  = 255
)

var goVersion = regexp.MustCompile(`^go1\.[0-9]{1,3}(\.[0-9]{1,3}|rc[0-9]{1,2})?$`)

// ErrSpec is in the chain of errors that say what is wrong with a spec.
var ErrSpec = errors.New("this can't be built")

// Check refuses what is not a spec, and says why. What passes holds nothing
// that means more to `go`, to its linker or in Go source than a name.
func Check(s artifact.Spec) error {
	if err := check(s); err != nil {
		return fmt.Errorf("%w: %w", ErrSpec, err)
	}
	return nil
}

func check(s artifact.Spec) error {
	if !goVersion.MatchString(s.Go) {
		return fmt.Errorf(`go is %.40q: it should be a toolchain such as "go1.26.11"`, s.Go)
	}
	if err := checkSystem(s.System); err != nil {
		return err
	}
	if err := checkModule(wire.ModuleVersion{Path: wire.CaddyPath, Version: s.Caddy}); err != nil {
		return err
	}
	if s.Evergreen != "" {
		if err := checkModule(wire.ModuleVersion{Path: Module, Version: s.Evergreen}); err != nil {
			return err
		}
	}
	if len(s.Plugins) > maxPlugins || len(s.Requires) > maxRequires {
		return fmt.Errorf("there are %d plugins and %d requirements: at most %d and %d are taken", len(s.Plugins), len(s.Requires), maxPlugins, maxRequires)
	}
	seen := map[string]bool{wire.CaddyPath: true, Module: true}
	for _, m := range append(slices.Clone(s.Plugins), s.Requires...) {
		if err := checkModule(m); err != nil {
			return err
		}
		if seen[m.Path] {
			return fmt.Errorf("%s is named twice", m.Path)
		}
		seen[m.Path] = true
	}
	if s.Service != "" {
		if err := checkService(s.Service); err != nil {
			return err
		}
	}
	if b, err := hex.DecodeString(s.Root); err != nil || len(b) != 0 && len(b) != 32 || strings.ToLower(s.Root) != s.Root {
		return fmt.Errorf("root is %.80q: it should be a SHA-256 in hexadecimal", s.Root)
	}
	return nil
}

func checkSystem(s wire.System) error {
	s.Kernel = ""
	if slices.Contains(Systems, s) {
		return nil
	}
	var names []string
	for _, k := range Systems {
		names = append(names, k.String())
	}
	return fmt.Errorf("there are no builds for %.60q: there are for %s", s.String(), strings.Join(names, ", "))
}

// checkModule takes what a module proxy could serve: a path without tricks and
// an exact version.
func checkModule(m wire.ModuleVersion) error {
	if len(m.Path) > maxPath || len(m.Version) > maxVersion {
		return fmt.Errorf("%.300q has more than %d bytes, or its version more than %d", m.Path, maxPath, maxVersion)
	}
	err := module.Check(m.Path, m.Version)
	if err == nil && module.CanonicalVersion(m.Version) != m.Version {
		err = errors.New("the version is not exact")
	}
	if err != nil {
		return fmt.Errorf("%s %s is no module: %w (write a module's path and exact version, such as %s v2.11.9)", m.Path, m.Version, err, wire.CaddyPath)
	}
	return nil
}

func checkService(s string) error {
	u, err := url.Parse(s)
	if err != nil || len(s) > maxService || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.String() != s {
		return fmt.Errorf("service is %.300q: it should be a URL such as https://evergreen.example", s)
	}
	return nil
}
