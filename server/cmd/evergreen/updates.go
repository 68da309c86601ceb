package main

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-evergreen/evergreen/server/artifact"
	"github.com/caddy-evergreen/evergreen/server/build"
	"github.com/caddy-evergreen/evergreen/server/control"
	"github.com/caddy-evergreen/evergreen/server/gomods"
	"github.com/caddy-evergreen/evergreen/server/linked"
	"github.com/caddy-evergreen/evergreen/server/plan"
	"github.com/caddy-evergreen/evergreen/server/release"
	"github.com/caddy-evergreen/evergreen/server/rollout"
	"github.com/caddy-evergreen/evergreen/server/senders"
	"github.com/caddy-evergreen/evergreen/server/updates"
	"github.com/caddy-evergreen/evergreen/wire"
)

// The update service is flow B, wired together: releases and advisories, the
// planner, rollouts, the builder, the signed repository, and the endpoint that
// answers checks from all of them.
type updateService struct {
	config Config
	log    *slog.Logger

	db       *control.DB
	releases *releases
	mods     *gomods.Source
	kept     *plan.Kept
	rollouts *rollout.Rollouts
	storage  *artifact.Storage
	repo     *artifact.Repository // nil: no keys, so nothing is signed
	maker    *build.Maker
	queue    *build.Queue // nil: nothing is built here
	front    *build.Front // has people and programs ask for builds
	own      string       // version of our module in builds
	ownGoMod []byte       // its go.mod file; nil: it is one that was released

	planner    *plan.Planner
	names      linkedNames // of executables that were published
	searching  sync.Mutex  // for a plan that compiles
	publishing sync.Mutex  // what is built, and was withdrawn

	registry prometheus.Registerer
	checks   *senders.Rates
}

// maxSenders is how many senders' rates of checks are remembered.
const maxSenders = 1 << 17

// newUpdateService opens what flow B keeps below config.Data, and starts nothing.
func newUpdateService(ctx context.Context, config Config, plugins release.Modules, log *slog.Logger, registry prometheus.Registerer) (_ *updateService, err error) {
	u := &updateService{
		config: config, log: log, registry: registry,
		checks: senders.NewRates(config.Limits.PerSender, config.Limits.burst(), maxSenders),
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, u.Close())
		}
	}()
	c := config.Updates
	if u.db, err = control.Open(ctx, c.Control); err != nil {
		return nil, err
	}
	if u.releases, err = openReleases(ctx, c, u.db, plugins, log, registry); err != nil {
		return nil, err
	}
	if u.kept, err = plan.OpenKept(ctx, u.db); err != nil {
		return nil, err
	}
	if u.rollouts, err = rollout.Open(ctx, u.db); err != nil {
		return nil, err
	}
	u.mods, err = gomods.New(gomods.Config{
		Dir: filepath.Join(config.Data, "mod"), Proxies: gomods.Proxies(c.Proxy), SumDB: c.SumDB, NoSumDB: c.NoSumDB,
	})
	if err != nil {
		return nil, err
	}
	if u.planner, err = plan.New(u.planConfig()); err != nil {
		return nil, err
	}
	if err := u.openRepository(ctx); err != nil {
		return nil, err
	}
	if config.has(roleBuild) {
		if err := u.openBuilder(ctx, registry); err != nil {
			return nil, err
		}
	}
	return u, nil
}

// openRepository opens the repository if there are keys for it.
func (u *updateService) openRepository(ctx context.Context) error {
	c := u.config.Updates
	if _, err := os.Stat(c.Keys); errors.Is(err, os.ErrNotExist) {
		u.log.Warn("nothing is signed, so that no update can be installed: there are no keys",
			"folder", c.Keys, "do", "evergreen keys init --help")
		return nil
	}
	secret, err := passphrase(os.Getenv("EVERGREEN_KEYS_PASSPHRASE_FILE"), os.Stderr)
	if err != nil {
		return err
	}
	if u.storage, err = artifact.OpenStorage(ctx, c.Repository); err != nil {
		return err
	}
	u.repo, err = artifact.Open(ctx, artifact.Options{
		Storage: u.storage,
		Keys: func() ([]*artifact.Key, error) {
			return artifact.LoadKeys(c.Keys, secret, artifact.RoleBuilds, artifact.RoleSnapshot, artifact.RoleTimestamp)
		},
		Log: u.log, Builder: c.URL, MaxBytes: c.RepositoryMiB << 20,
	})
	return err
}

func (u *updateService) openBuilder(ctx context.Context, registry prometheus.Registerer) error {
	c := u.config.Updates
	source, version, err := build.FindOwn(c.Source, ".")
	if err != nil {
		u.log.Warn("nothing is built here", "why", err)
		return nil
	}
	if source != nil {
		version, u.ownGoMod = source.Version, source.GoMod()
	}
	u.own = version
	folder := filepath.Join(u.config.Data, "build")
	u.maker, err = build.NewMaker(ctx, build.MakerConfig{
		Folder: folder, ModCache: c.ModCache, GoCache: c.GoCache, Source: source, Proxy: c.Proxy, SumDB: c.SumDB, NoSumDB: c.NoSumDB,
		User: c.buildUser(), Isolate: c.Isolate, Logger: u.log,
	})
	if err != nil {
		return err
	}
	cfg := build.QueueConfig{
		Maker: u.maker, DB: u.db, Folder: filepath.Join(u.config.Data, "executables"),
		MaxBytes: c.ExecutablesMiB << 20, Workers: c.Builds, Logger: u.log, Registerer: registry, Pins: rolledOut{u.rollouts},
	}
	if c.Plugins != nil {
		cfg.Registered = func(path string) bool { _, ok := c.Plugins[path]; return ok }
	}
	if u.repo != nil {
		cfg.Publish = publisher{u}
	}
	if u.queue, err = build.NewQueue(ctx, cfg); err != nil {
		return err
	}
	u.front, err = u.newFront()
	return err
}

// Register adds all paths of flow B.
func (u *updateService) Register(mux *http.ServeMux) error {
	answers, err := updates.New(updates.Config{
		Plan: u.plan, Generation: u.generation, Held: u.held, Builds: u.builds(), Recipe: u.recipe,
		Every: u.config.Updates.CheckEvery.Duration, Logger: u.log, Registerer: u.registry,
		Limit: func(r *http.Request) time.Duration {
			return u.checks.Wait(senders.Address(r, u.config.TrustedProxies), time.Now())
		},
	})
	if err != nil {
		return err
	}
	answers.Register(mux)
	u.releases.Register(mux)
	(&rollout.API{Rollouts: u.rollouts, Authorize: u.releases.Authorize, Logger: u.log}).Register(mux)
	plan.NewAPI(u.planner, 0, nil, u.log).Register(mux)
	if u.repo != nil {
		u.repo.Register(mux)
	}
	if u.front != nil {
		u.front.Register(mux)
	}
	return nil
}

// End lets those go who wait for builds.
func (u *updateService) End() {
	if u.front != nil {
		u.front.End()
	}
}

// Healthy tells whether the control state answers.
func (u *updateService) Healthy(ctx context.Context) error {
	return u.db.Read(ctx, func(tx *sql.Tx) error {
		var one int
		return tx.QueryRowContext(ctx, "SELECT 1").Scan(&one)
	})
}

// Run runs what works in the background until ctx is done.
func (u *updateService) Run(ctx context.Context) error {
	runs := map[string]func(context.Context) error{"releases": u.releases.Run, "rollouts": u.rollouts.Run}
	if u.repo != nil {
		runs["the signed repository"] = u.repo.Run
	}
	if u.queue != nil {
		runs["builds"] = u.queue.Run
		runs["prewarming"] = u.prewarm
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, len(runs))
	for name, run := range runs {
		go func() {
			err := run(ctx)
			if err != nil {
				err = fmt.Errorf("%s: %w", name, err)
			}
			cancel() // one that fails ends all
			ended <- err
		}()
	}
	var err error
	for range runs {
		err = errors.Join(err, <-ended)
	}
	return err
}

// Close gives back what newUpdateService opened.
func (u *updateService) Close() error {
	var errs []error
	if u.queue != nil {
		errs = append(errs, u.queue.Close())
	}
	if u.repo != nil {
		errs = append(errs, u.repo.Close())
	}
	if u.storage != nil {
		errs = append(errs, u.storage.Close())
	}
	if u.db != nil {
		errs = append(errs, u.db.Close())
	}
	return errors.Join(errs...)
}

// generation changes when an answer to a check may be another.
func (u *updateService) generation() string {
	return u.releases.generation() + "/" + u.kept.Generation()
}

// ownGoMods knows what our own module requires, which no proxy has the source of:
// else what it brings would look as if someone had asked for it.
type ownGoMods struct {
	plan.GoMods
	service *updateService
}

func (g ownGoMods) GoMod(ctx context.Context, path, version string) ([]byte, error) {
	if path == build.Module && g.service.ownGoMod != nil {
		return g.service.ownGoMod, nil
	}
	return g.GoMods.GoMod(ctx, path, version)
}

func (u *updateService) planConfig() plan.Config {
	return plan.Config{
		Advisories: u.releases.advisories,
		Releases:   func() plan.Releases { return u.releases.known() },
		GoMods:     ownGoMods{u.mods, u}, Versions: u.mods, Memory: u.kept,
		Linked: func(ctx context.Context, c wire.Check) *linked.Names {
			if u.repo == nil || c.SHA256 == "" {
				return nil
			}
			names, err := u.names.of(ctx, u.repo, c.SHA256)
			if err != nil {
				u.log.Warn("it is not known what is linked in a published executable, so that all counts as if it was", "error", err)
			}
			return names
		},
	}
}

// plan makes plans without trying whether they compile, which would take
// minutes: the build tells, and what it tells is remembered.
func (u *updateService) plan(ctx context.Context, c wire.Check, held []wire.ModuleVersion) (wire.Plan, error) {
	out, err := u.planner.PlanWithout(ctx, c, held)
	if errors.Is(err, plan.ErrNotReleased) {
		return wire.Plan{Build: c.Build}, nil
	}
	return out, err
}

func (u *updateService) held(id wire.InstanceID) (hs []updates.Held) {
	for _, h := range u.rollouts.Held(id) {
		hs = append(hs, updates.Held(h))
	}
	return hs
}

// recipe is what an executable is made of beside what was planned.
func (u *updateService) recipe(s artifact.Spec) artifact.Spec {
	s.Evergreen, s.Service, s.Root = u.own, u.config.Updates.URL, u.root()
	return s
}

// root is the SHA-256 of the root metadata; "" where nothing is signed.
func (u *updateService) root() string {
	if u.repo == nil {
		return ""
	}
	sum := sha256.Sum256(u.repo.RootMetadata())
	return hex.EncodeToString(sum[:])
}

// builds are the executables; nil if none are made here.
func (u *updateService) builds() updates.Builds {
	if u.queue == nil {
		return nil
	}
	return executables{u}
}

type executables struct{ *updateService }

// Target finds an executable in the repository, and has it made if it is not there.
func (e executables) Target(ctx context.Context, c wire.Check, p wire.Plan, spec artifact.Spec) (*wire.Target, *wire.BuildProgress, error) {
	if e.repo != nil {
		if t, ok := e.repo.Find(spec.ID(), c.SHA256); ok {
			if c.SHA256 != "" {
				e.repo.WantDelta(c.SHA256, t.SHA256)
			}
			return &t, nil, nil
		}
	}
	progress, err := e.queue.Ask(ctx, spec, build.PriorityOf(p.Severity))
	if errors.Is(err, build.ErrSpec) {
		return nil, &wire.BuildProgress{ID: spec.ID(), State: "failed", Error: err.Error()}, nil
	}
	if err != nil {
		return nil, nil, err
	}
	switch {
	case progress.State == "failed":
		go e.whyNot(context.WithoutCancel(ctx), c)
	case progress.State == "done" && e.repo != nil:
		// The repository made room, or is a new one.
		if !e.publishing.TryLock() {
			progress.State = "signing" // another one's; who asks again finds it, or takes a turn
			return nil, &progress, nil
		}
		defer e.publishing.Unlock()
		if err := e.publishAgain(ctx, spec.ID()); err != nil {
			return nil, nil, err
		}
		if t, ok := e.repo.Find(spec.ID(), c.SHA256); ok {
			return &t, nil, nil
		}
	}
	return nil, &progress, nil
}

// publishAgain signs an executable that was built some time ago.
func (u *updateService) publishAgain(ctx context.Context, id string) error {
	b, f, err := u.queue.Open(ctx, id)
	if err != nil {
		return err
	}
	defer f.Close()
	return publisher{u}.Publish(ctx, *b, f.Name())
}

// compileTime bounds the search for a plan that compiles.
const compileTime = 30 * time.Minute

// whyNot plans again and tries what compiles, so that what does not is
// remembered and the next check is planned around it.
func (u *updateService) whyNot(ctx context.Context, c wire.Check) {
	if !u.searching.TryLock() {
		return // one at a time; who asks again finds this one's result, or its turn
	}
	defer u.searching.Unlock()
	defer func() { // what a stranger asks must not end the server
		if p := recover(); p != nil {
			u.log.Error("looking for a plan that compiles", "panic", p, "stack", string(debug.Stack()))
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, compileTime)
	defer cancel()
	cfg := u.planConfig()
	cfg.Compiler = compiler{u.maker}
	p, err := plan.New(cfg)
	if err == nil {
		_, err = p.Plan(ctx, c)
	}
	if err != nil {
		u.log.Warn("no plan that compiles was found", "error", err)
	}
}
