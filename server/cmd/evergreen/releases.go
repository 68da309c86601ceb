package main

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-evergreen/evergreen/server/control"
	"github.com/caddy-evergreen/evergreen/server/plan"
	"github.com/caddy-evergreen/evergreen/server/release"
	"github.com/caddy-evergreen/evergreen/server/store"
	"github.com/caddy-evergreen/evergreen/server/vulndb"
	"github.com/caddy-evergreen/evergreen/wire"
)

// releases are the releases and advisories, as planning wants them.
type releases struct{ *release.Service }

func openReleases(ctx context.Context, c Updates, db *control.DB, running release.Modules, log *slog.Logger, registry prometheus.Registerer) (*releases, error) {
	s, err := release.Open(ctx, release.Config{
		DB: db, TwoPeople: c.TwoPeople, AdminTokenFile: c.AdminToken,
		Proxy: release.ProxyOf(c.Proxy), Private: c.Private, Modules: running,
		Vulndb: c.Advisories, VulndbOptions: vulndb.Options{Cache: c.Cache, Scores: c.Scores},
		Logger: log, Registerer: registry,
	})
	if err != nil {
		return nil, err
	}
	return &releases{s}, nil
}

func (r *releases) generation() string { return r.Snapshot().Generation() }

func (r *releases) known() plan.Releases { return r.Snapshot() }

func (r *releases) advisories() plan.Advisories { return rated{r.Snapshot()} }

// rated are the advisories with their severities.
type rated struct{ *release.Snapshot }

func (r rated) Advisories(path string) []wire.Advisory { return r.AdvisoriesFor(path) }

// running are the modules of the instances that report.
type running struct{ store store.Store }

// maxRunning is how many versions of plugins are asked for.
const maxRunning = 5000

// Modules lists the plugins of the last two days.
func (r running) Modules(ctx context.Context) ([]wire.ModuleVersion, error) {
	now := time.Now()
	rows, err := r.store.Query(ctx, store.Query{
		Metric: wire.InstancesPlugins, Grain: store.Day, From: now.AddDate(0, 0, -2), To: now.AddDate(0, 0, 1), ByLabel: true, Limit: maxRunning,
	})
	if err != nil {
		return nil, err
	}
	var ms []wire.ModuleVersion
	for _, row := range rows {
		if path, version, ok := strings.Cut(row.Label, "@"); ok && path != "" && version != "" {
			ms = append(ms, wire.ModuleVersion{Path: path, Version: version})
		}
	}
	return ms, nil
}
