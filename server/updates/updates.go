// Package updates answers Caddys that ask whether they need an update, and
// hands out what they download.
//
// In comes a wire.Check: a build list, a platform, a scope. Out goes a
// wire.Answer: what is to change and why, and the executable that was built for
// it, or how far building it is. A planner, the rollouts, the builds and the
// repository of artifacts are given as functions and small interfaces.
//
// # Guarantees
//
// Nothing of the asker is kept: neither the build list beyond the cache of
// answers, which knows no instance, nor the instance's id, which only decides
// whether a rollout has reached it.
//
// The checks of a fleet with one build are the same bytes, and are answered from
// memory by their hash: planning is done once for all of them, until a release,
// an advisory or a rollout changes.
package updates

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-evergreen/evergreen/server/artifact"
	"github.com/caddy-evergreen/evergreen/wire"
)

// Config is what the answers are made of. Plan is required.
type Config struct {
	// Plan plans for a check as if the releases in held were not there.
	Plan func(ctx context.Context, c wire.Check, held []wire.ModuleVersion) (wire.Plan, error)
	// Generation changes when an earlier answer may have become wrong: with
	// releases, advisories, and what is known not to compile.
	Generation func() string
	// Held lists the releases that rollouts keep from an instance, with why, in
	// an order that is the same for the same list; the zero id is of whoever has
	// none. Nil: none are kept.
	Held func(wire.InstanceID) []Held
	// Builds makes executables. Nil: the service tells, and does not build.
	Builds Builds
	// Recipe fills in what a plan does not tell: the version of our module, the
	// service's URL, the root of trust.
	Recipe func(artifact.Spec) artifact.Spec
	// Every is how often an instance is to ask; six hours if zero.
	Every time.Duration
	// Limit takes one request from its sender's share, or says after what time
	// there is some. Nil: senders are not limited.
	Limit func(*http.Request) time.Duration
	// Registerer gets the metrics; nil drops them.
	Registerer prometheus.Registerer
	// Planning is how many plans are made at a time, and ten times that how
	// many wait; 4 if zero.
	Planning int
	Logger   *slog.Logger
}

// Held is a release that is not offered for now.
type Held struct{ Path, Version, Why string }

// Builds are executables by their spec.
type Builds interface {
	// Target is the executable of a spec, which follows from a check and its
	// plan, with the ways to it from the asker's own, if it is published. If not,
	// its build is asked for, and how far it is comes back.
	Target(ctx context.Context, c wire.Check, p wire.Plan, spec artifact.Spec) (*wire.Target, *wire.BuildProgress, error)
}

// Updates is the endpoint for checks.
type Updates struct {
	cfg     Config
	answers *answers
	turns   chan struct{} // held while planning
	waiting chan struct{} // held while waiting for a turn, and planning
	wait    time.Duration // for how long an asker waits
	m       *metrics
}

// New makes the endpoint.
func New(cfg Config) (*Updates, error) {
	if cfg.Plan == nil || cfg.Generation == nil {
		return nil, errors.New("checks can't be answered without a planner")
	}
	if cfg.Every <= 0 {
		cfg.Every = 6 * time.Hour
	}
	if cfg.Planning <= 0 {
		cfg.Planning = 4
	}
	if cfg.Held == nil {
		cfg.Held = func(wire.InstanceID) []Held { return nil }
	}
	if cfg.Recipe == nil {
		cfg.Recipe = func(s artifact.Spec) artifact.Spec { return s }
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	u := &Updates{
		cfg: cfg, answers: newAnswers(),
		turns: make(chan struct{}, cfg.Planning), waiting: make(chan struct{}, 11*cfg.Planning), wait: waitTime,
	}
	var err error
	u.m, err = newMetrics(cfg.Registerer, u)
	return u, err
}

// Register puts the endpoint where wire says.
func (u *Updates) Register(mux *http.ServeMux) {
	mux.HandleFunc("POST "+wire.PathCheck, u.check)
}

// buildRetry is when to ask again for what is being built.
const buildRetry = 30 * time.Second

// answer makes the answer to a check.
func (u *Updates) answer(ctx context.Context, c wire.Check, held []Held) (wire.Answer, error) {
	a := wire.Answer{RetryAfter: int64(u.cfg.Every / time.Second)}
	if c.Scope == wire.ScopeNone {
		return a, nil
	}
	plan, err := u.plan(ctx, c, versions(held))
	if err != nil {
		return a, err
	}
	if len(plan.Changes) > 0 || len(plan.Unfixed) > 0 {
		a.Plan = &plan
	}
	a.NeedsUpdate = len(plan.Changes) > 0
	if len(held) > 0 {
		if a.Held, err = u.heldBack(ctx, c, plan, held); err != nil {
			return a, err
		}
	}
	if !a.NeedsUpdate || u.cfg.Builds == nil || c.Incomplete {
		return a, nil
	}
	a.Target, a.Build, err = u.cfg.Builds.Target(ctx, c, plan, u.cfg.Recipe(SpecOf(c, plan)))
	if a.Build != nil && a.Build.State != "failed" {
		a.RetryAfter = int64(buildRetry / time.Second)
	}
	return a, err
}

// plan plans, and measures it.
func (u *Updates) plan(ctx context.Context, c wire.Check, held []wire.ModuleVersion) (wire.Plan, error) {
	began := time.Now()
	p, err := u.cfg.Plan(ctx, c, held)
	u.m.planning.Observe(time.Since(began).Seconds())
	return p, err
}

// heldBack tells which rollouts keep something from the asker: those without
// which the plan would be another.
func (u *Updates) heldBack(ctx context.Context, c wire.Check, plan wire.Plan, held []Held) (string, error) {
	free, err := u.plan(ctx, c, nil)
	if err != nil {
		return "", err
	}
	var why []string
	for _, change := range free.Changes {
		if i := slices.IndexFunc(held, func(h Held) bool { return h.Path == change.Path && h.Version == change.To }); i >= 0 {
			why = append(why, fmt.Sprintf("%s %s: %s", change.Path, change.To, held[i].Why))
		}
	}
	return strings.Join(why, "; "), nil
}

func versions(held []Held) (vs []wire.ModuleVersion) {
	for _, h := range held {
		vs = append(vs, wire.ModuleVersion{Path: h.Path, Version: h.Version})
	}
	return vs
}

// SpecOf is the executable that a plan leads to, for the platform of the check.
func SpecOf(c wire.Check, p wire.Plan) artifact.Spec {
	s := artifact.Spec{Go: p.Build.Go, System: c.System}
	plugin := map[string]bool{}
	for _, m := range c.Build.Modules {
		plugin[m.Path] = m.Plugin
	}
	for _, m := range p.Roots {
		switch {
		case m.Path == wire.CaddyPath:
			s.Caddy = m.Version
		case m.Path == wire.EvergreenPath: // the recipe says which
		case m.Plugin || plugin[m.Path]:
			s.Plugins = append(s.Plugins, wire.ModuleVersion{Path: m.Path, Version: m.Version})
		default:
			s.Requires = append(s.Requires, wire.ModuleVersion{Path: m.Path, Version: m.Version})
		}
	}
	return s.Canonical()
}
