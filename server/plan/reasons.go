package plan

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"

	"github.com/caddy-evergreen/evergreen/server/linked"
	"github.com/caddy-evergreen/evergreen/wire"
)

// An Exposure is how much of what an advisory is about is in an executable.
type Exposure string

const (
	ExposureSymbol  Exposure = "symbol"  // a vulnerable function is
	ExposurePackage Exposure = "package" // its package is, but none of the functions that are named
	ExposureAbsent  Exposure = "absent"  // nothing of the package is
	ExposureUnknown Exposure = "unknown" // nobody looked into the executable
)

// exposure looks for what an advisory names. Nil names know nothing.
func exposure(a wire.Advisory, system wire.System, names *linked.Names) Exposure {
	if a.Path == wire.Toolchain {
		// The compiler and the go command are not in what they make.
		return ExposureAbsent
	}
	if len(a.Packages) == 0 {
		return ExposureUnknown
	}
	found := ExposureAbsent
	for _, p := range a.Packages {
		switch {
		case len(p.GOOS) > 0 && system.OS != "" && !slices.Contains(p.GOOS, system.OS),
			len(p.GOARCH) > 0 && system.Arch != "" && !slices.Contains(p.GOARCH, system.Arch):
			continue // it is about other platforms
		case !names.Known():
			return ExposureUnknown
		case !names.Package(p.Path):
			continue
		case len(p.Symbols) == 0 || slices.ContainsFunc(p.Symbols, func(s string) bool { return names.Symbol(p.Path, s) }):
			return ExposureSymbol
		}
		found = ExposurePackage
	}
	return found
}

// rate is the severity that an advisory has for one executable. What nobody
// rated is important if a vulnerable function is linked, or if that is not
// known; minor if only its package is; and no more than information, which is
// unrated, if not even that is. An operator's override stands as it is.
func rate(a wire.Advisory, e Exposure) wire.Severity {
	switch {
	case a.Why == "override":
		return a.Severity
	case e == ExposureAbsent:
		return wire.SeverityUnrated
	case a.Severity != wire.SeverityUnrated && a.Severity != "":
		return a.Severity
	case e == ExposurePackage:
		return wire.SeverityMinor
	}
	return wire.SeverityImportant
}

// affects tells whether a version is vulnerable.
func affects(a wire.Advisory, version string) bool {
	return slices.ContainsFunc(a.Ranges, func(r wire.Range) bool {
		return (r.Introduced == "" || semver.Compare(version, r.Introduced) >= 0) && (r.Fixed == "" || semver.Compare(version, r.Fixed) < 0)
	})
}

// A reason is why a module should not stay at a version.
type reason struct {
	wire.Reason
	path string
}

const (
	kindAdvisory = "advisory"
	kindRelease  = "release"
	kindYanked   = "yanked"
)

// reasons are what the scope covers of what is wrong with a version.
func (s *session) reasons(path, version string) []reason {
	key := wire.ModuleVersion{Path: path, Version: version}
	if found, ok := s.reasoned[key]; ok {
		return found
	}
	var found []reason
	add := func(kind, id string, severity wire.Severity, summary, link string) {
		found = append(found, reason{wire.Reason{Kind: kind, ID: id, Severity: severity, Summary: summary, Link: link}, path})
	}
	for _, a := range s.known(path) {
		if !affects(a, version) {
			continue
		}
		if v := rate(a, exposure(a, s.check.System, s.namesOf(a))); s.check.Scope.Covers(v) {
			add(kindAdvisory, a.ID, v, a.Summary, "https://pkg.go.dev/vuln/"+a.ID)
		}
	}
	for _, r := range s.releasesOf(path) {
		switch c := semver.Compare(r.Version, version); {
		case c == 0 && r.Yanked != "":
			// The way off is offered whatever else the scope covers.
			if s.check.Scope != wire.ScopeNone {
				add(kindYanked, r.Version, r.Severity, "withdrawn: "+r.Yanked, first(r.Links))
			}
		case c > 0 && s.isWithout(path, r.Version):
		case c > 0 && r.Yanked == "" && s.offered(r) && s.counts(r) && s.check.Scope.Covers(r.Severity):
			add(kindRelease, r.Version, r.Severity, r.Notes, first(r.Links))
		}
	}
	s.reasoned[key] = found
	return found
}

// known are the advisories of a module; the standard library is the toolchain's.
func (s *session) known(path string) []wire.Advisory {
	if s.advisories == nil {
		return nil
	}
	if path != wire.Toolchain {
		return s.advisories.Advisories(path)
	}
	return append(slices.Clip(s.advisories.Advisories(wire.Stdlib)), s.advisories.Advisories(wire.Toolchain)...)
}

// namesOf are the functions of the executable, where they say something: of a
// module that a change brings they don't.
func (s *session) namesOf(a wire.Advisory) *linked.Names {
	if _, ok := s.have[a.Path]; ok || a.Path == wire.Stdlib {
		return s.names
	}
	return nil
}

// releasesOf are the releases of a module, with those of the toolchain named in
// semantic versions.
func (s *session) releasesOf(path string) []wire.Release {
	if s.releases == nil {
		return nil
	}
	rs := s.releases.Releases(path)
	if path != wire.Toolchain {
		return rs
	}
	rs = slices.Clone(rs)
	for i := range rs {
		rs[i].Version = goSemver(rs[i].Version)
	}
	return slices.DeleteFunc(rs, func(r wire.Release) bool { return r.Version == "" })
}

// offered tells whether a release is for the channel.
func (s *session) offered(r wire.Release) bool {
	if s.check.Channel == wire.ChannelBeta {
		return true
	}
	return r.Channel != wire.ChannelBeta && (r.Tagged || semver.Prerelease(r.Version) == "")
}

// counts tells whether a release is by itself a reason to update. Of a
// dependency it is only if somebody said so: which version of it suits is for
// Caddy and the plugins to say. And a new line of Go is no patch.
func (s *session) counts(r wire.Release) bool {
	switch s.kind(r.Path) {
	case wire.ChangeDependency:
		return r.Tagged
	case wire.ChangeToolchain:
		return r.Tagged || semver.MajorMinor(r.Version) == semver.MajorMinor(goSemver(s.check.Build.Go))
	}
	return true
}

// isWithout tells whether a version is not to be had for now.
func (s *session) isWithout(path, version string) bool {
	return s.heldBack[wire.ModuleVersion{Path: path, Version: version}]
}

// unusable says why a version can't be taken, or can't run where the build does;
// "" if it can.
func (s *session) unusable(path, version string) string {
	if s.isWithout(path, version) {
		return shown(path, version) + " is not offered yet"
	}
	if s.check.System.Kernel == "" {
		return ""
	}
	// What a release needs, later ones need too, unless they say otherwise.
	at, needs := "", ""
	for _, r := range s.releasesOf(path) {
		if k := r.MinKernel[s.check.System.OS]; k != "" && semver.Compare(r.Version, version) <= 0 && (at == "" || semver.Compare(r.Version, at) > 0) {
			at, needs = r.Version, k
		}
	}
	if needs == "" || !lower(s.check.System.Kernel, needs) {
		return ""
	}
	return shown(path, version) + " needs a kernel of " + needs + ", and this one is " + s.check.System.Kernel
}

// lower compares kernel releases such as "5.10.0-28-amd64" by their numbers.
func lower(a, b string) bool {
	return slices.Compare(numbers(a), numbers(b)) < 0
}

func numbers(s string) []int {
	var ns []int
	for part := range strings.SplitSeq(s, ".") {
		end := strings.IndexFunc(part, func(r rune) bool { return r < '0' || r > '9' })
		if end >= 0 {
			part = part[:end]
		}
		n, err := strconv.Atoi(part)
		if err != nil {
			break
		}
		ns = append(ns, n)
		if end >= 0 {
			break
		}
	}
	for len(ns) > 0 && ns[len(ns)-1] == 0 {
		ns = ns[:len(ns)-1] // 5.10.0 is 5.10
	}
	return ns
}

// A badness counts reasons, the gravest first: less is better.
type badness [4]int

func (b *badness) add(rs []reason) {
	for _, r := range rs {
		at := slices.Index(wire.Severities, r.Severity)
		if at < 0 {
			at = len(b) - 1 // withdrawn, and never rated
		}
		b[at]++
	}
}

func (b badness) cmp(c badness) int { return slices.Compare(b[:], c[:]) }

func (s *session) badnessOf(path, version string) badness {
	var b badness
	b.add(s.reasons(path, version))
	return b
}

// A candidate is a version that a module could be brought to.
type candidate struct {
	version string
	badness badness
}

// candidates are the versions above one that a module could be brought to, the
// least bad first and among equals the lowest.
func (s *session) candidates(path, above string) ([]candidate, error) {
	all, ok := s.listed[path]
	if !ok {
		versions, err := s.versions(path)
		if err != nil {
			return nil, err
		}
		for _, v := range versions {
			all = append(all, candidate{v, s.badnessOf(path, v)})
		}
		slices.SortStableFunc(all, func(a, b candidate) int { return a.badness.cmp(b.badness) })
		s.listed[path] = all
	}
	var found []candidate
	for _, c := range all {
		if semver.Compare(c.version, above) > 0 {
			found = append(found, c)
		}
	}
	return found, nil
}

// versions are those of a module above today's that are for the channel, are
// not withdrawn, run here and do not exceed a ceiling; in ascending order.
func (s *session) versions(path string) ([]string, error) {
	var names []string
	if s.cfg.Versions != nil {
		ask := path
		if path == wire.Toolchain {
			ask = toolchainModule
		}
		vs, err := s.cfg.Versions.Versions(s.ctx, ask)
		if err != nil {
			return nil, err
		}
		if path == wire.Toolchain {
			vs = s.toolchains(vs)
		}
		names = vs
	}
	yanked, tagged := map[string]bool{}, map[string]bool{}
	for _, r := range s.releasesOf(path) {
		names = append(names, r.Version)
		yanked[r.Version] = yanked[r.Version] || r.Yanked != ""
		tagged[r.Version] = tagged[r.Version] || s.offered(r)
	}
	for _, a := range s.known(path) {
		for _, r := range a.Ranges {
			names = append(names, withIncompatible(path, r.Fixed))
		}
	}
	today := s.have[path]
	if path == wire.Toolchain {
		today = goSemver(s.check.Build.Go)
	}
	retracted, err := s.retracted(path, names)
	if err != nil {
		return nil, err
	}
	var found []string
	for _, v := range names {
		beta := semver.Prerelease(v) != "" && !module.IsPseudoVersion(v) && !tagged[v]
		c, limited := s.ceilings[path]
		switch {
		case !semver.IsValid(v) || semver.Compare(v, today) <= 0:
		case yanked[v]:
			s.reject(path, v, shown(path, v)+" was withdrawn")
		case slices.ContainsFunc(retracted, func(r modfile.VersionInterval) bool {
			return semver.Compare(r.Low, v) <= 0 && semver.Compare(v, r.High) <= 0
		}):
			s.reject(path, v, v+" was taken back by its author")
		case beta && s.check.Channel != wire.ChannelBeta && semver.Prerelease(today) == "":
			s.reject(path, v, shown(path, v)+" is a beta version")
		case limited && semver.Compare(v, c.version) > 0:
			s.reject(path, v, c.why)
		case s.unusable(path, v) != "":
			s.reject(path, v, s.unusable(path, v))
		default:
			found = append(found, v)
		}
	}
	slices.SortFunc(found, compareVersions)
	return slices.Compact(found), nil
}

// retracted are the versions that the go.mod of the newest release takes back.
func (s *session) retracted(path string, names []string) ([]modfile.VersionInterval, error) {
	newest := ""
	for _, v := range names {
		if semver.IsValid(v) && semver.Prerelease(v) == "" && semver.Compare(v, newest) > 0 {
			newest = v
		}
	}
	if newest == "" || path == wire.Toolchain {
		return nil, nil
	}
	g, err := s.load(module.Version{Path: path, Version: newest})
	if err != nil {
		return nil, err
	}
	return g.retract, nil
}

// compareVersions orders versions of equal precedence, too.
func compareVersions(a, b string) int {
	if c := semver.Compare(a, b); c != 0 {
		return c
	}
	return strings.Compare(a, b)
}

// withIncompatible writes a version as modules without a major version in their
// path have it, which advisories leave out.
func withIncompatible(path, v string) string {
	_, major, ok := module.SplitPathVersion(path)
	if m := semver.Major(v); ok && major == "" && m != "v0" && m != "v1" && path != wire.Toolchain && semver.Build(v) == "" && semver.IsValid(v) {
		return v + "+incompatible"
	}
	return v
}

// reject notes why a version was not taken.
func (s *session) reject(path, version, why string) {
	s.rejected[path] = append(s.rejected[path], rejection{version, why})
}

// why explains a reason that stays: the lowest version without it that was not
// taken.
func (s *session) why(r reason, version string) string {
	best := rejection{}
	for _, c := range s.rejected[r.path] {
		if semver.Compare(c.version, version) <= 0 || best.version != "" && cmp.Or(semver.Compare(c.version, best.version), strings.Compare(c.why, best.why)) >= 0 {
			continue
		}
		if !slices.ContainsFunc(s.reasons(r.path, c.version), func(o reason) bool { return o.Kind == r.Kind && o.ID == r.ID }) {
			best = c
		}
	}
	switch {
	case best.why != "":
		return best.why
	case r.Kind == kindYanked:
		return "no later version"
	case r.Kind == kindRelease:
		return r.ID + " can't be had"
	}
	return "no fixed version"
}

// shown is a version as people write it.
func shown(path, v string) string {
	if path == wire.Toolchain {
		return goName(v)
	}
	return v
}

func first(s []string) string {
	if len(s) == 0 {
		return ""
	}
	return s[0]
}
