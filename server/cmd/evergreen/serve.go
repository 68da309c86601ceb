package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/caddy-evergreen/evergreen/server/aggregate"
	"github.com/caddy-evergreen/evergreen/server/alerts"
	"github.com/caddy-evergreen/evergreen/server/campaigns"
	"github.com/caddy-evergreen/evergreen/server/collect"
	"github.com/caddy-evergreen/evergreen/server/control"
	"github.com/caddy-evergreen/evergreen/server/dashboard"
	"github.com/caddy-evergreen/evergreen/server/dataset"
	"github.com/caddy-evergreen/evergreen/server/geo"
	"github.com/caddy-evergreen/evergreen/server/ingestlog"
	"github.com/caddy-evergreen/evergreen/server/release"
	"github.com/caddy-evergreen/evergreen/server/senders"
	"github.com/caddy-evergreen/evergreen/server/store/duckdb"
	"github.com/caddy-evergreen/evergreen/wire"
)

const serveAbout = `Usage: evergreen serve [FLAGS]

Collects reports, keeps their sums and shows them; plans, builds, signs and
serves updates. Everything it keeps is in one folder; no configuration is
needed. It speaks plain HTTP: put a Caddy in front of it for the public.

  /                 pages          /healthz   200 while it works
  /api/v1/          JSON API       /metrics   its own metrics, for Prometheus

The configuration file is JSON; every setting is described in the operator's
guide. EVERGREEN_WINDOW, EVERGREEN_NOTICE and EVERGREEN_REPORT_EVERY shorten
the times for tests, on instances and here alike.`

func serve(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flags("serve", serveAbout, stderr)
	file := fs.String("config", "", "configuration `FILE`")
	listen := fs.String("listen", "", "`ADDRESS` to listen on (default 127.0.0.1:8400)")
	data := fs.String("data", "", "`FOLDER` for everything the service keeps (default ./evergreen-data)")
	only := fs.String("roles", "", "what this server does, of `collect,dashboard,updates,build` (default all)")
	dev := fs.String("dev", "", "read the pages' assets from this `FOLDER`, for whoever works on them")
	if err := parse(fs, args); err != nil {
		return err
	}
	config, err := readConfig(*file)
	if err != nil {
		return err
	}
	if *listen != "" {
		config.Listen = *listen
	}
	if *data != "" {
		config.Data = *data
	}
	if *only != "" {
		config.Roles = strings.Split(*only, ",")
	}
	if err := config.complete(); err != nil {
		return err
	}
	timing, err := wire.TimingFromEnv(os.Getenv)
	if err != nil {
		return err
	}
	if timing != wire.DefaultTiming {
		config.ReportEvery.Duration = timing.ReportEvery
	}
	var handler slog.Handler = slog.NewTextHandler(stderr, nil)
	if config.Log == "json" {
		handler = slog.NewJSONHandler(stderr, nil)
	}
	s, err := newService(ctx, config, timing, slog.New(handler), *dev)
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", config.Listen)
	if err != nil {
		return errors.Join(fmt.Errorf("listening: %w (choose another address with --listen)", err), s.Close())
	}
	fmt.Fprintf(stdout, "Evergreen listens on http://%s and keeps its data in %s\n", ln.Addr(), config.Data)
	return errors.Join(s.Run(ctx, ln), s.Close())
}

// A service is the stages of both flows behind the network, wired together.
type service struct {
	config     Config
	timing     wire.Timing
	log        *slog.Logger
	reports    *ingestlog.Log
	store      *duckdb.Store
	aggregator *aggregate.Aggregator
	campaigns  *campaigns.Correlator
	dataset    *dataset.Publisher // nil: nothing is published
	alerts     *alerts.Service
	alertsDB   *control.DB
	updates    *updateService
	pages      *dashboard.Dashboard
	handler    http.Handler
}

// newService opens everything below config.Data and starts nothing.
func newService(ctx context.Context, config Config, timing wire.Timing, log *slog.Logger, dev string) (_ *service, err error) {
	s := &service{config: config, timing: timing, log: log}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if err := os.MkdirAll(config.Data, 0o700); err != nil {
		return nil, fmt.Errorf("making the data folder: %w (choose another with --data)", err)
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))

	mux := http.NewServeMux()
	if config.has(roleCollect) {
		if err := s.collect(ctx, mux, timing, dev, registry); err != nil {
			return nil, err
		}
	}
	if config.has(roleUpdates) {
		var plugins release.Modules
		if s.store != nil {
			plugins = running{s.store}
		}
		if s.updates, err = newUpdateService(ctx, config, plugins, log, registry); err != nil {
			return nil, err
		}
		if err := s.updates.Register(mux); err != nil {
			return nil, err
		}
	}
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", s.healthz)
	s.handler = mux
	return s, nil
}

// collect opens the stages of flow A, from reports to pages.
func (s *service) collect(ctx context.Context, mux *http.ServeMux, timing wire.Timing, dev string, registry prometheus.Registerer) error {
	config, log := s.config, s.log
	countries, err := geo.Open(filepath.Join(config.Data, "geo"), log)
	if err != nil {
		return err
	}
	s.reports, err = ingestlog.Open(filepath.Join(config.Data, "log"), ingestlog.Options{
		MaxBytes: config.Limits.LogBytes, Logger: log, Registerer: registry,
	})
	if err != nil {
		return err
	}
	s.store, err = duckdb.Open(filepath.Join(config.Data, storeFile), duckdb.Options{
		Memory: config.Store.MemoryMiB << 20, Threads: config.Store.Threads,
	})
	if err != nil {
		return err
	}
	s.aggregator = aggregate.New(aggregate.Config{
		LogName: "local", Log: s.reports, Store: s.store, Timing: timing, Logger: log, Registerer: registry,
		CutFile: filepath.Join(config.Data, "aggregate.cut"),
		// Made after this, and before anything is aggregated.
		Committed: func() { s.pages.Tell() },
	})
	s.campaigns = campaigns.New(campaigns.Config{
		Source: s.store, Least: max(config.Campaigns.MinInstances, config.Privacy.MinInstances), Keep: config.Campaigns.Keep.Duration,
	})
	collector, err := collect.New(collect.Config{
		Log: s.reports, Geo: countries, Timing: timing, TrustedProxies: config.TrustedProxies,
		ReportEvery: config.ReportEvery.Duration, Retired: config.Retired,
		Limits: collect.Limits{Sender: config.Limits.PerSender, SenderBurst: config.Limits.burst(), Global: config.Limits.Global},
		Logger: log, Registerer: registry, Forget: s.forget,
	})
	if err != nil {
		return err
	}
	simulated, err := config.simulated()
	if err != nil {
		return err
	}
	cfg := dashboard.Config{
		Simulated: simulated, Store: s.store, Reports: s.reports, Timing: timing, Name: config.Name, Dev: dev, Logger: log,
		Privacy: dashboard.Privacy(config.Privacy), Campaigns: s.campaigns,
		Sender: func(r *http.Request) netip.Addr { return senders.Address(r, config.TrustedProxies) },
		Limits: dashboard.Limits{PerSecond: config.Limits.Reading, Burst: int(20 * config.Limits.Reading)},
	}
	if config.has(roleUpdates) {
		// Opened after this, and before anything is served.
		cfg.Updates = func() dashboard.Updates { return s.updates.releases.Snapshot() }
		cfg.Advise = func(ctx context.Context, c wire.Check) (*dashboard.Advice, error) { return s.updates.advise(ctx, c) }
		cfg.Builds = config.has(roleBuild)
		cfg.Rollouts = func(ctx context.Context) ([]dashboard.Rollout, error) { return s.updates.shownRollouts(ctx) }
		if cfg.Builds {
			cfg.Handouts = func(ctx context.Context, since time.Time) ([]dashboard.HandoutDay, error) {
				return s.updates.handouts(ctx, since)
			}
		}
	}
	if config.Dataset.Publish {
		c, err := datasetConfig(config, timing, s.store, log)
		if err != nil {
			return err
		}
		if s.dataset, err = dataset.Open(c); err != nil {
			return err
		}
		mux.Handle("GET /dataset/", datasetFiles(c.Folder))
		cfg.DataSet = os.DirFS(c.Folder)
	}
	// The subscriptions ask the pages, and the pages show them.
	cfg.Alerts = subscriptions{s}
	if s.pages, err = dashboard.New(cfg); err != nil {
		return err
	}
	if err := s.openAlerts(ctx, registry); err != nil {
		return err
	}
	collector.Register(mux)
	s.alerts.Register(mux)
	s.pages.Register(mux)
	return nil
}

// forget deletes an instance for its signed request: first its raw reports, so
// that none can be aggregated again, then its state, in step with commits.
func (s *service) forget(ctx context.Context, id wire.InstanceID) error {
	if err := s.reports.Erase(ctx, id); err != nil {
		return err
	}
	if err := s.aggregator.Forget(ctx, id); err != nil {
		return err
	}
	if err := s.alerts.Forget(ctx, id); err != nil {
		return err
	}
	return s.campaigns.Forget(ctx)
}

func (s *service) healthz(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	if s.store != nil {
		if _, err := s.store.Position(ctx, "local"); err != nil {
			s.log.Error("the store does not answer", "error", err)
			http.Error(w, "the store does not answer", http.StatusServiceUnavailable)
			return
		}
	}
	if s.updates != nil {
		if err := s.updates.Healthy(ctx); err != nil {
			s.log.Error("the control state does not answer", "error", err)
			http.Error(w, "the control state does not answer", http.StatusServiceUnavailable)
			return
		}
	}
	fmt.Fprintln(w, "ok")
}

// Run serves on ln until ctx is done, then ends requests and commits what was
// acknowledged.
func (s *service) Run(ctx context.Context, ln net.Listener) error {
	// The aggregator outlives the server, so that what was taken in last is still committed.
	stages, stopStages := context.WithCancel(context.WithoutCancel(ctx))
	defer stopStages()
	failed := make(chan error, 5)
	running := 0
	start := func(name string, run func(context.Context) error) {
		running++
		go func() {
			err := run(stages)
			if err != nil {
				err = fmt.Errorf("%s: %w", name, err)
			}
			failed <- err
		}()
	}
	if s.aggregator != nil {
		start("aggregating reports", s.aggregator.Run)
		start("dropping what is out of date", s.retain)
	}
	if s.alerts != nil {
		start("alerts", s.alerts.Run)
	}
	if s.dataset != nil {
		start("publishing the data set", s.dataset.Run)
	}
	if s.updates != nil {
		start("the update service", s.updates.Run)
	}

	server := &http.Server{
		Handler:           defaultPace.handler(s.handler),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      firstWrite,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          collect.QuietErrorLog(s.log),
	}
	if s.updates != nil {
		server.RegisterOnShutdown(s.updates.End)
	}
	if s.pages != nil {
		server.RegisterOnShutdown(s.pages.End)
	}
	serving := make(chan error, 1)
	go func() { serving <- server.Serve(ln) }()
	s.log.Info("serving", "address", ln.Addr().String(), "data", s.config.Data)

	var err error
	select {
	case <-ctx.Done():
		s.log.Info("stopping")
	case err = <-serving:
	case err = <-failed:
		running--
	}
	// The parent is done: give requests in flight a time of their own to end.
	timeout, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if shutdownErr := server.Shutdown(timeout); shutdownErr != nil {
		err = errors.Join(err, fmt.Errorf("ending requests: %w", shutdownErr))
	}
	stopStages()
	for range running {
		err = errors.Join(err, <-failed)
	}
	return err
}

func (s *service) Close() error {
	var errs []error
	if s.updates != nil {
		errs = append(errs, s.updates.Close())
	}
	if s.alertsDB != nil {
		errs = append(errs, s.alertsDB.Close())
	}
	if s.dataset != nil {
		errs = append(errs, s.dataset.Close())
	}
	if s.reports != nil {
		errs = append(errs, s.reports.Close())
	}
	if s.store != nil {
		errs = append(errs, s.store.Close())
	}
	return errors.Join(errs...)
}
