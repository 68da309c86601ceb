package dashboard

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/caddy-evergreen/evergreen/wire"
)

// Advice is what is known of a build: what it is vulnerable to and what would
// mend it.
type Advice struct {
	Verdict         string // "vulnerable", "clean", "unknown"
	Says            string // the verdict in words
	Vulnerabilities []Vulnerability
	Plan            *wire.Plan // for all that there is; nil if that can't be told
	PlanError       string     // why not
}

// A Vulnerability is a known one of a module of a build.
type Vulnerability struct {
	ID, Summary, Link string
	Path, Version     string
	Severity          wire.Severity
	FixedIn           string // "": nothing does
}

// An adviceView is the part of an instance's page about updates.
type adviceView struct {
	Advice
	Changes []changeLine
	Found   []vulnLine
	More    int
	None    string // why there is nothing to tell
}

type changeLine struct {
	Name, From, To, Why, Severity string
	Grave                         bool
}

type vulnLine struct {
	Severity, ID, Link, Module, Version, Fixed, Summary string
	Grave                                               bool
}

const (
	maxVulnLines = 50
	adviceTime   = 8 * time.Second
	adviceTTL    = 10 * time.Minute
)

// checkOf is what an instance with these facts would ask the update service.
// A report says no more of modules than their paths and versions.
func checkOf(f *wire.Facts) wire.Check {
	c := wire.Check{
		Build:  wire.BuildList{Go: f.GetGoVersion()},
		System: wire.System{OS: f.GetOs(), Arch: f.GetArch()},
		Scope:  wire.ScopeAll, Channel: wire.ChannelStable, Incomplete: true,
	}
	for _, m := range f.GetModules() {
		c.Build.Modules = append(c.Build.Modules, wire.ModuleVersion{Path: m.GetPath(), Version: m.GetVersion(), Plugin: m.GetPlugin()})
	}
	if c.Build.Sort(); c.Build.Version(wire.CaddyPath) == "" && f.GetCaddyVersion() != "" {
		c.Build.Modules = append(c.Build.Modules, wire.ModuleVersion{Path: wire.CaddyPath, Version: f.GetCaddyVersion()})
		c.Build.Sort()
	}
	return c
}

// adviceFor asks what there is to say about a build. That nothing can be said
// is said, and holds up nothing else of the page.
func (d *Dashboard) adviceFor(ctx context.Context, f *wire.Facts) *adviceView {
	if d.cfg.Advise == nil || f == nil {
		return nil
	}
	c := checkOf(f)
	if err := c.Validate(); err != nil {
		return &adviceView{None: "Nothing can be said of this build: " + err.Error() + "."}
	}
	b, err := json.Marshal(c)
	if err != nil { // of plain values: can't be
		return &adviceView{None: "Nothing can be said of this build."}
	}
	sum := sha256.Sum256(b)
	ctx, cancel := context.WithTimeout(ctx, adviceTime)
	defer cancel()
	a, err := d.advice.get(ctx, hex.EncodeToString(sum[:]), time.Minute, func(ctx context.Context) (a *Advice, err error) {
		return d.cfg.Advise(ctx, c)
	})
	switch {
	case ctx.Err() != nil:
		return &adviceView{None: "What to do about this build is still being worked out: look again in a minute."}
	case err != nil:
		d.cfg.Logger.Warn("what to do about an instance's build can't be told", "err", err)
		return &adviceView{None: "What to do about this build can't be told at the moment; the cause is in the server's log."}
	}
	return newAdviceView(a)
}

func newAdviceView(a *Advice) *adviceView {
	v := &adviceView{Advice: *a}
	if a.Plan != nil {
		for _, c := range a.Plan.Changes {
			l := changeLine{Name: shortModule(c.Path), From: c.From, To: c.To, Severity: "–"}
			var why []string
			worst := len(wire.Severities)
			for _, r := range c.Reasons {
				if i := slices.Index(wire.Severities, r.Severity); i >= 0 && i < worst {
					worst, l.Severity = i, capital(string(r.Severity))
				}
				switch r.Kind {
				case "advisory":
					why = append(why, "fixes "+r.ID)
				case "yanked":
					why = append(why, "leaves "+c.From+", which was withdrawn")
				case "release":
					why = append(why, "is a release of this severity")
				}
			}
			slices.Sort(why)
			why = slices.Compact(why)
			if len(why) > 6 {
				why = append(why[:5], "and more")
			}
			if l.Why = capital(strings.Join(why, ", ")); l.Why == "" {
				l.Why = "Required by another change"
			}
			l.Grave = worst == 0
			v.Changes = append(v.Changes, l)
		}
	}
	for _, f := range a.Vulnerabilities {
		l := vulnLine{
			Severity: capital(string(f.Severity)), ID: f.ID, Link: f.Link, Module: shortModule(f.Path), Version: f.Version,
			Fixed: f.FixedIn, Summary: f.Summary, Grave: f.Severity == wire.SeverityCritical,
		}
		if l.Fixed == "" {
			l.Fixed = "not fixed"
		}
		v.Found = append(v.Found, l)
	}
	v.More = max(0, len(v.Found)-maxVulnLines)
	v.Found = v.Found[:min(len(v.Found), maxVulnLines)]
	return v
}

// shortModule is what people call a module.
func shortModule(path string) string {
	switch path {
	case wire.CaddyPath:
		return "Caddy"
	case wire.Toolchain:
		return "Go"
	case wire.Stdlib:
		return "Go's standard library"
	}
	return path
}
