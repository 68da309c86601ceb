package plan

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/mod/semver"

	"github.com/caddy-evergreen/evergreen/server/linked"
	"github.com/caddy-evergreen/evergreen/wire"
)

// DefaultMaxAge is how old a vulnerability database may be and still say that
// something is clean. The Go database changes every few days.
const DefaultMaxAge = 7 * 24 * time.Hour

// A Verdict is what an audit says of a build.
type Verdict string

const (
	// Vulnerable: something that is, or may be, linked has a known vulnerability.
	Vulnerable Verdict = "vulnerable"
	// Clean: the database is current and knows none.
	Clean Verdict = "clean"
	// Unknown: it knows none, but is too old to tell, or there is none.
	Unknown Verdict = "unknown"
)

// An Audit is what one build is vulnerable to and what fixes it.
type Audit struct {
	Verdict Verdict `json:"verdict"`
	// Says is the verdict in words: "unknown since 2026-08-21: …".
	Says string `json:"says"`
	// AdvisoriesAsOf is how old the database is; zero: there is none.
	AdvisoriesAsOf time.Time `json:"advisories_as_of"`
	// Old says that it is too old to call anything clean.
	Old bool `json:"old,omitempty"`
	// Findings are the vulnerabilities, the gravest first. Those whose packages
	// are not linked are among them, with the severity "unrated".
	Findings []Finding `json:"findings"`
	// Unchecked are modules of no released version, which nothing is known of.
	Unchecked []string `json:"unchecked,omitempty"`
	// Plan is what to change; nil if that can't be told, and then PlanError says why.
	Plan      *wire.Plan `json:"plan,omitempty"`
	PlanError string     `json:"plan_error,omitempty"`
}

// A Finding is one vulnerability of one module.
type Finding struct {
	ID       string        `json:"id"`
	Aliases  []string      `json:"aliases,omitempty"`
	Summary  string        `json:"summary,omitempty"`
	Link     string        `json:"link"`
	Path     string        `json:"path"` // module; wire.Stdlib, wire.Toolchain
	Version  string        `json:"version"`
	Severity wire.Severity `json:"severity"` // of this build; "unrated" is information only
	Why      string        `json:"why"`      // where the severity is from: "override", "release", "ghsa", "unrated"
	Linked   Exposure      `json:"linked"`
	// Symbols are vulnerable functions that are linked, "package.Name", at most
	// ten of them.
	Symbols []string `json:"symbols,omitempty"`
	// Called tells whether a vulnerable function can be called, where somebody
	// followed the calls: "called", "imported", "required"; else "".
	Called string `json:"called,omitempty"`
	// FixedIn is the lowest version without it; "" if there is none.
	FixedIn string `json:"fixed_in,omitempty"`
}

// maxSymbols is how many linked functions a finding names.
const maxSymbols = 10

// Audit tells what a build is vulnerable to. The check's scope says what its
// plan shall fix; important, if it has none. Names are the functions in the
// executable; nil if nobody looked. now is the time that the database's age is
// counted to.
func (p *Planner) Audit(ctx context.Context, c wire.Check, names *linked.Names, now time.Time, maxAge time.Duration) (Audit, error) {
	if c.Scope == "" {
		c.Scope = wire.ScopeImportant
	}
	if names == nil && p.cfg.Linked != nil {
		names = p.cfg.Linked(ctx, c)
	}
	goes := goSemver(c.Build.Go)
	if goes == "" {
		return Audit{}, fmt.Errorf(`go is %.70q: it should be a toolchain such as "go1.26.3"`, c.Build.Go)
	}
	a := Audit{Findings: []Finding{}}
	var known Advisories
	if p.cfg.Advisories != nil {
		known = p.cfg.Advisories()
	}
	if known != nil {
		a.AdvisoriesAsOf = known.AsOf()
	}
	a.Old = known == nil || now.Sub(a.AdvisoriesAsOf) > maxAge
	for _, m := range append(slices.Clip(c.Build.Modules), wire.ModuleVersion{Path: wire.Stdlib, Version: goes}, wire.ModuleVersion{Path: wire.Toolchain, Version: goes}) {
		if !semver.IsValid(m.Version) {
			a.Unchecked = append(a.Unchecked, m.Path)
			continue
		}
		if known == nil {
			continue
		}
		for _, v := range known.Advisories(m.Path) {
			if affects(v, m.Version) {
				a.Findings = append(a.Findings, finding(v, m, c.System, names))
			}
		}
	}
	slices.SortStableFunc(a.Findings, func(x, y Finding) int {
		return cmp.Or(severityRank(x.Severity)-severityRank(y.Severity), cmp.Compare(x.Path, y.Path), cmp.Compare(x.ID, y.ID))
	})
	a.conclude()
	plan, err := p.PlanLinked(ctx, c, names)
	switch {
	case err == nil:
		a.Plan = &plan
	case ctx.Err() != nil:
		return Audit{}, context.Cause(ctx)
	case errors.Is(err, ErrNotReleased) || c.Build.Version(wire.CaddyPath) == "":
		a.PlanError = "nothing is planned for this build: it is of no released version of Caddy"
	default:
		a.PlanError = err.Error()
	}
	return a, nil
}

// conclude makes the verdict.
func (a *Audit) conclude() {
	counts := slices.ContainsFunc(a.Findings, func(f Finding) bool { return f.Severity != wire.SeverityUnrated })
	since := "there is no vulnerability database"
	if !a.AdvisoriesAsOf.IsZero() {
		since = "the vulnerability database is of " + a.AdvisoriesAsOf.Format(time.DateOnly)
	}
	switch {
	case counts && a.Old:
		a.Verdict, a.Says = Vulnerable, "vulnerable, and perhaps to more: "+since
	case counts:
		a.Verdict, a.Says = Vulnerable, "vulnerable"
	case a.AdvisoriesAsOf.IsZero():
		a.Verdict, a.Says = Unknown, "unknown: "+since
	case a.Old:
		a.Verdict, a.Says = Unknown, "unknown since "+a.AdvisoriesAsOf.Format(time.DateOnly)+": "+since+", and what was found later is not in it"
	case len(a.Unchecked) > 0:
		a.Verdict, a.Says = Unknown, fmt.Sprintf("unknown: nothing is known of %d modules of no released version", len(a.Unchecked))
	default:
		a.Verdict, a.Says = Clean, "clean: "+since+", and knows no vulnerability of what is linked"
	}
}

func severityRank(s wire.Severity) int {
	if at := slices.Index(wire.Severities, s); at >= 0 {
		return at
	}
	return len(wire.Severities)
}

func finding(v wire.Advisory, m wire.ModuleVersion, system wire.System, names *linked.Names) Finding {
	f := Finding{
		ID: v.ID, Aliases: v.Aliases, Summary: v.Summary, Link: "https://pkg.go.dev/vuln/" + v.ID,
		Path: m.Path, Version: shownStd(m.Path, m.Version), Why: v.Why, Linked: exposure(v, system, names),
	}
	f.Severity = rate(v, f.Linked)
	if f.Linked == ExposureSymbol && names.Known() {
		for _, p := range v.Packages {
			for _, s := range p.Symbols {
				if names.Symbol(p.Path, s) && len(f.Symbols) < maxSymbols {
					f.Symbols = append(f.Symbols, p.Path+"."+s)
				}
			}
		}
	}
	// The lowest end of a range above, where it is in no other range of it.
	for _, r := range v.Ranges {
		if r.Fixed != "" && semver.Compare(r.Fixed, m.Version) > 0 && !affects(v, r.Fixed) && (f.FixedIn == "" || semver.Compare(r.Fixed, f.FixedIn) < 0) {
			f.FixedIn = r.Fixed
		}
	}
	if f.FixedIn != "" {
		f.FixedIn = shownStd(m.Path, f.FixedIn)
	}
	return f
}

// shownStd is shown, with the standard library in Go's versions, too.
func shownStd(path, v string) string {
	if path == wire.Stdlib {
		path = wire.Toolchain
	}
	return shown(path, v)
}
