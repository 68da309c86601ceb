package plan

import (
	"cmp"
	"go/version"
	"slices"
	"strings"

	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"

	"github.com/caddy-evergreen/evergreen/wire"
)

// toolchainModule is the module whose versions are toolchains:
// "v0.0.1-go1.26.3.linux-amd64".
const toolchainModule = "golang.org/toolchain"

// toolchains reads a list of the toolchain module's versions.
func (s *session) toolchains(versions []string) []string {
	var found []string
	for _, v := range versions {
		if name, ok := strings.CutPrefix(v, "v0.0.1-"); ok {
			if name, ok = strings.CutSuffix(name, "."+s.cfg.Host); ok {
				found = append(found, goSemver(name))
			}
		}
	}
	return found
}

// toolchain is the lowest toolchain that the modules accept, of those with the
// fewest faults, and never below today's. had is false if it can't be had.
func (s *session) toolchain(at *resolved) (v string, had bool, err error) {
	now := goSemver(s.check.Build.Go)
	least := now
	if needs := goSemver("go" + at.goLine); semver.Compare(needs, now) > 0 {
		least = needs
	}
	faults := s.badnessOf(wire.Toolchain, least)
	if least == now && faults == (badness{}) {
		return now, true, nil
	}
	cs, err := s.candidates(wire.Toolchain, now)
	if err != nil {
		return "", false, err
	}
	if least != now {
		// Nobody may have listed it.
		cs = append(cs, candidate{least, faults})
		slices.SortStableFunc(cs, func(a, b candidate) int {
			return cmp.Or(a.badness.cmp(b.badness), semver.Compare(a.version, b.version))
		})
	}
	for _, c := range cs {
		if semver.Compare(c.version, least) < 0 || least == now && c.badness.cmp(faults) >= 0 {
			continue
		}
		ok, err := s.available(c.version)
		if err != nil {
			return "", false, err
		}
		if ok {
			return c.version, true, nil
		}
		s.reject(wire.Toolchain, c.version, goName(c.version)+" can't be had")
	}
	return least, least == now, nil
}

// available tells whether a toolchain can be had: lists of them have gaps.
func (s *session) available(v string) (bool, error) {
	g, err := s.load(module.Version{Path: toolchainModule, Version: "v0.0.1-" + goName(v) + "." + s.cfg.Host})
	if err != nil {
		return false, err
	}
	return !g.missing, nil
}

// goSemver is a toolchain's version as semantic version, which advisories use:
// "go1.26.3" is v1.26.3, "go1.27rc1" v1.27.0-rc.1; "" if it is none.
func goSemver(s string) string {
	// What follows a space or a hyphen says how that Go was made.
	s, _, _ = strings.Cut(s, " ")
	s, _, _ = strings.Cut(s, "-")
	if !version.IsValid(s) {
		return ""
	}
	s = strings.TrimPrefix(s, "go")
	pre := ""
	for _, kind := range []string{"rc", "beta", "alpha"} {
		if n, k, ok := strings.Cut(s, kind); ok {
			s, pre = n, "-"+kind+"."+k
		}
	}
	for strings.Count(s, ".") < 2 {
		s += ".0"
	}
	return "v" + s + pre
}

// goName is the reverse: v1.26.3 is "go1.26.3", v1.20.0 "go1.20", since the
// first release of a line has a third number only since Go 1.21.
func goName(v string) string {
	v, pre, _ := strings.Cut(strings.TrimPrefix(v, "v"), "-")
	if n, ok := strings.CutSuffix(v, ".0"); ok && (pre != "" || semver.Compare("v"+v, "v1.21.0") < 0) {
		v = n
	}
	return "go" + v + strings.ReplaceAll(pre, ".", "")
}
