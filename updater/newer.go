package updater

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/version"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/mod/semver"

	"github.com/caddy-evergreen/evergreen/wire"
)

// acceptAnswer refuses an answer that makes no sense, before any of it is used.
func acceptAnswer(self wire.Check, a wire.Answer) error {
	if !a.NeedsUpdate {
		return nil
	}
	if a.Plan == nil || len(a.Plan.Changes) == 0 {
		return errors.New("it does not say what an update changes")
	}
	if n := len(a.Plan.Build.Modules); n > wire.MaxModules {
		return fmt.Errorf("it names %d modules", n)
	}
	// All of it is kept in the journal, and some of it said in the log.
	const most = 1 << 20
	b, err := json.Marshal(a)
	if err != nil {
		return err
	}
	if len(b) > most {
		return fmt.Errorf("it has %d bytes, over %d", len(b), most)
	}
	for _, c := range a.Plan.Changes {
		if c.Path == "" || len(c.Path) > wire.MaxFactString || len(c.To) > wire.MaxFactString {
			return fmt.Errorf("it changes %.80q to %.80q", c.Path, c.To)
		}
		if c.Kind == wire.ChangeDependency {
			continue
		}
		if have := self.Build.Version(c.Path); older(c.Path, c.To, have) {
			return fmt.Errorf("it offers %s %s, which is older than %s", c.Path, c.To, have)
		}
	}
	t := a.Target
	if t == nil {
		return nil
	}
	if !slotID.MatchString(t.SHA256) {
		return fmt.Errorf("its target has the SHA-256 %.80q", t.SHA256)
	}
	const maxExecutable, maxFiles = 1 << 30, 64
	if t.Name == "" || len(t.Name) > 1000 || t.Size <= 0 || t.Size > maxExecutable || len(t.Files) > maxFiles {
		return fmt.Errorf("its target %.80q has %d bytes in %d files", t.Name, t.Size, len(t.Files))
	}
	return nil
}

// older tells whether version of a module or toolchain is below another one.
// What is no version, such as "(devel)", is not.
func older(path, v, than string) bool {
	if path == wire.Toolchain {
		return version.IsValid(v) && version.IsValid(than) && version.Compare(v, than) < 0
	}
	return semver.IsValid(v) && semver.IsValid(than) && semver.Compare(v, than) < 0
}

// A spec is what is signed of how an executable was built.
type spec struct {
	Go      string               `json:"go"`
	Caddy   string               `json:"caddy"`
	Plugins []wire.ModuleVersion `json:"plugins"`
	// Evergreen is this module's version, or the hash of its source. It is in each
	// executable of a service, and not among the plugins.
	Evergreen string `json:"evergreen"`
}

// acceptVouched refuses an executable by what is signed of it: a service that is
// not honest can offer all that was ever signed.
func acceptVouched(self wire.Check, custom wire.TargetCustom) error {
	if custom.Kind != wire.TargetExecutable {
		return Lasting(CauseMismatch, fmt.Errorf("what is offered is a %.40q, no executable", custom.Kind))
	}
	if s := custom.System; s != nil && (s.OS != self.System.OS || s.Arch != self.System.Arch) {
		return Lasting(CauseMismatch, fmt.Errorf("what is offered is for %s, and this is %s", s, self.System))
	}
	if need, have := custom.MinKernel[self.System.OS], self.System.Kernel; need != "" && have != "" && lowerRelease(have, need) {
		return Passing(CauseKernel, fmt.Errorf("it needs a kernel of %.40s or newer, and this one is %s: update the system first", need, have))
	}
	if len(custom.Spec) == 0 {
		return nil
	}
	var s spec
	if err := json.Unmarshal(custom.Spec, &s); err != nil {
		return Lasting(CauseMismatch, fmt.Errorf("what is signed of how it was built is not understood: %w", err))
	}
	b := wire.BuildList{Go: s.Go, Modules: []wire.ModuleVersion{{Path: wire.CaddyPath, Version: s.Caddy}}}
	b.Modules = append(b.Modules, s.Plugins...)
	if s.Evergreen != "" {
		b.Modules = append(b.Modules, wire.ModuleVersion{Path: wire.EvergreenPath, Version: s.Evergreen})
	}
	b.Sort()
	return acceptBuild(self.Build, b, nil)
}

// acceptBuild refuses a build that lacks a plugin of the running one, has an
// older Caddy, plugin or toolchain, or, where the plan says so, another version
// of something.
func acceptBuild(running, candidate wire.BuildList, plan *wire.BuildList) error {
	if candidate.Version(wire.CaddyPath) == "" {
		return Lasting(CauseMismatch, errors.New("the candidate is no Caddy"))
	}
	if older(wire.Toolchain, candidate.Go, running.Go) {
		return Lasting(CauseOlder, fmt.Errorf("the candidate is built with %s, older than %s", candidate.Go, running.Go))
	}
	for _, m := range running.Modules {
		if !m.Plugin && m.Path != wire.CaddyPath {
			continue
		}
		have := candidate.Version(m.Path)
		if have == "" {
			return Lasting(CauseModules, fmt.Errorf("the candidate lacks the plugin %s, which this Caddy has", m.Path))
		}
		if older(m.Path, have, m.Version) {
			return Lasting(CauseOlder, fmt.Errorf("the candidate has %s %s, older than %s", m.Path, have, m.Version))
		}
	}
	if plan == nil {
		return nil
	}
	for _, m := range candidate.Modules {
		if want := plan.Version(m.Path); semver.IsValid(want) && m.Version != want {
			return Lasting(CauseMismatch, fmt.Errorf("the candidate has %s %s, and %s was announced", m.Path, m.Version, want))
		}
	}
	return nil
}

// lowerRelease compares releases such as "5.10.0-28-amd64" by their first numbers.
func lowerRelease(a, b string) bool { return slices.Compare(numbers(a), numbers(b)) < 0 }

func numbers(s string) []int {
	var ns []int
	for part := range strings.SplitSeq(s, ".") {
		end := strings.IndexFunc(part, func(r rune) bool { return r < '0' || r > '9' })
		last := end >= 0
		if last {
			part = part[:end]
		}
		n, err := strconv.Atoi(part)
		if err != nil {
			break
		}
		if ns = append(ns, n); last {
			break
		}
	}
	for len(ns) > 0 && ns[len(ns)-1] == 0 {
		ns = ns[:len(ns)-1] // 5.10.0 is 5.10
	}
	return ns
}
