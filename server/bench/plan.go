package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/caddy-evergreen/evergreen/server/goenv"
	"github.com/caddy-evergreen/evergreen/server/gomods"
	"github.com/caddy-evergreen/evergreen/server/plan"
	"github.com/caddy-evergreen/evergreen/server/vulndb"
	"github.com/caddy-evergreen/evergreen/wire"
)

// planTimes is how often each plan is made.
const planTimes = 100

// plans measures planning for real releases of Caddy, with the real
// vulnerability database that is among the test data: with nothing parsed yet,
// and warm.
func plans(ctx context.Context) error {
	const zip = "../shared/data/vulndb/vulndb.zip"
	if _, err := os.Stat(zip); errors.Is(err, fs.ErrNotExist) {
		fmt.Println("plan: not measured, there is no", zip)
		return nil
	}
	db, err := vulndb.Open(ctx, zip, vulndb.Options{})
	if err != nil {
		return err
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return err
	}
	mods, err := gomods.New(gomods.Config{Dir: filepath.Join(dir, "evergreen", "mod"), Proxies: gomods.Proxies(goenv.Get("GOPROXY")), SumDB: goenv.Get("GOSUMDB"), ListTTL: 24 * time.Hour})
	if err != nil {
		return err
	}
	fmt.Println("| Caddy | scope | changes | first, from disk | warm p50 | warm p95 |\n| --- | --- | ---: | ---: | ---: | ---: |")
	for _, v := range []string{"v2.4.6", "v2.7.6", "v2.10.2", "v2.11.3", "v2.11.9"} {
		for _, scope := range []wire.Scope{wire.ScopeImportant, wire.ScopeAll} {
			if err := measurePlan(ctx, mods, db, v, scope); err != nil {
				return err
			}
		}
	}
	return nil
}

func measurePlan(ctx context.Context, mods *gomods.Source, db *vulndb.DB, v string, scope wire.Scope) error {
	releases, err := plan.FoundReleases(ctx, mods, []string{wire.CaddyPath})
	if err != nil {
		return err
	}
	cfg := plan.Config{Advisories: func() plan.Advisories { return db }, Releases: func() plan.Releases { return releases }, GoMods: mods, Versions: mods}
	made := func() (*plan.Planner, wire.Check, error) {
		p, err := plan.New(cfg)
		if err != nil {
			return nil, wire.Check{}, err
		}
		build, err := p.Fresh(ctx, v)
		return p, wire.Check{Build: build, System: wire.System{OS: "linux", Arch: "amd64"}, Scope: scope}, err
	}
	// Once so that everything is on disk, then with a planner that knows nothing.
	p, c, err := made()
	if err != nil {
		return err
	}
	if _, err := p.Plan(ctx, c); err != nil {
		return err
	}
	if p, c, err = made(); err != nil {
		return err
	}
	began := time.Now()
	found, err := p.Plan(ctx, c)
	if err != nil {
		return err
	}
	first := time.Since(began)
	var took []time.Duration
	for range planTimes {
		began := time.Now()
		if _, err := p.Plan(ctx, c); err != nil {
			return err
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	ms := func(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000) }
	fmt.Printf("| %s | %s | %d | %s | %s | %s |\n", v, scope, len(found.Changes), ms(first), ms(took[len(took)/2]), ms(took[len(took)*95/100]))
	return nil
}
