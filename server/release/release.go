// Package release knows which versions there are, and how much they matter.
//
// In come versions that the module proxy has, of every module that instances
// run and of Go's toolchain; what maintainers say of them (tags, withdrawals);
// the database of known vulnerabilities; and what the operator of the service
// says of those. Out goes a Snapshot: releases and advisories by module, each
// with a severity.
//
// # Guarantees
//
// A Snapshot never changes, and costs no query. Generation tells two apart;
// Superseded is closed when there is a newer one.
//
// Nothing changes without a line in the audit log, in the same transaction:
// who, when, what, from what, to what. Lines are only added, and each has the
// hash of the one before, so that VerifyAudit finds one that was changed or
// taken away.
//
// A person's word counts for the modules that the person was given, and only
// for as long as that role lasts: it is looked up in the transaction that
// obeys. With Config.TwoPeople, what makes a release critical, or no longer
// critical, counts for nobody until another person approves exactly that.
//
// What is not known is not made up: until a maintainer tags a version, its
// severity follows from its number (Found); an advisory that nobody rated
// stays unrated; without a database of vulnerabilities AsOf is zero.
//
// # Severity of an advisory
//
// The operator's override is final. Else it is the highest of what the release
// that fixes it was tagged with, if that is critical or important, and of the
// score from a database that has scores. Else it is unrated, and never
// critical by itself.
package release

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-evergreen/evergreen/server/control"
	"github.com/caddy-evergreen/evergreen/server/vulndb"
	"github.com/caddy-evergreen/evergreen/wire"
)

// Modules tells what instances run.
type Modules interface {
	// Modules lists the modules in build lists of instances, each in each
	// version that is run, in any order. Names come from strangers.
	Modules(ctx context.Context) ([]wire.ModuleVersion, error)
}

// Config is what a Service needs. DB is required.
type Config struct {
	DB *control.DB
	// TwoPeople asks for a second person where a tag makes a release critical,
	// or no longer critical.
	TwoPeople bool
	// AdminTokenFile gets the token of the first administrator, if nobody is
	// one yet. "" makes none.
	AdminTokenFile string

	// Proxy is the URL of the module proxy that is asked for versions; "" asks
	// none. Private are patterns, as of GOPRIVATE, of modules that it is never
	// asked for.
	Proxy   string
	Private string
	Modules Modules       // nil: Caddy and the toolchain only
	Every   time.Duration // between two questions for one module; 0 is an hour
	Pause   time.Duration // between two requests; 0 is a second

	// Vulndb is the path or URL of the database of vulnerabilities; "" is none.
	Vulndb        string
	VulndbOptions vulndb.Options
	VulndbEvery   time.Duration // 0 is six hours

	Client     *http.Client // asks the proxy; nil is one that gives up after 30 s
	Now        func() time.Time
	Logger     *slog.Logger
	Registerer prometheus.Registerer // nil: no metrics
}

// A Service keeps releases. Its methods may be called from several goroutines.
type Service struct {
	cfg     Config
	proxy   *proxy // nil: none is asked
	metrics *metrics

	snapshot atomic.Pointer[Snapshot]
	reload   sync.Mutex // one makes the next snapshot
	vulns    atomic.Pointer[vulndb.DB]

	quietUntil atomic.Int64 // microseconds: the proxy is asked for nothing before
}

//go:embed steps/*.sql
var stepFiles embed.FS

// refreshEvery is how soon a server sees what another one changed.
const refreshEvery = 3 * time.Second

// Open brings the tables up to date and loads what they hold. It asks nobody
// on the network: Run does.
func Open(ctx context.Context, cfg Config) (_ *Service, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("opening the releases: %w", err)
		}
	}()
	if cfg.DB == nil {
		return nil, errors.New("they need a place for the control state")
	}
	if cfg.Every <= 0 {
		cfg.Every = time.Hour
	}
	if cfg.Pause <= 0 {
		cfg.Pause = time.Second
	}
	if cfg.VulndbEvery <= 0 {
		cfg.VulndbEvery = 6 * time.Hour
	}
	if cfg.Client == nil {
		cfg.Client = &http.Client{Timeout: 30 * time.Second}
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	s := &Service{cfg: cfg}
	if cfg.Proxy != "" {
		if s.proxy, err = newProxy(cfg.Proxy, cfg.Client); err != nil {
			return nil, err
		}
	}
	sub, err := fs.Sub(stepFiles, "steps")
	if err != nil {
		return nil, err
	}
	steps, err := control.Steps(sub)
	if err != nil {
		return nil, err
	}
	if err := cfg.DB.Migrate(ctx, "release", steps); err != nil {
		return nil, err
	}
	if err := s.firstAdmin(ctx); err != nil {
		return nil, err
	}
	s.metrics = newMetrics(s)
	if cfg.Registerer != nil {
		if err := s.metrics.register(cfg.Registerer); err != nil {
			return nil, err
		}
	}
	return s, s.refresh(ctx)
}

// Snapshot is what is known now. It is never nil.
func (s *Service) Snapshot() *Snapshot { return s.snapshot.Load() }

// Run asks the module proxy for versions, reads the database of
// vulnerabilities, and sees what other servers change, until ctx is done.
// Whoever does not answer is asked again later; what is known stays.
func (s *Service) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	wg.Go(func() { s.watchDatabase(ctx) })
	if s.cfg.Vulndb != "" {
		wg.Go(func() { s.watchAdvisories(ctx) })
	}
	if s.proxy != nil {
		wg.Go(func() { s.poll(ctx) })
	}
	wg.Wait()
	return nil
}

func (s *Service) watchDatabase(ctx context.Context) {
	for sleep(ctx, refreshEvery) {
		if err := s.refresh(ctx); err != nil && ctx.Err() == nil {
			s.cfg.Logger.Warn("looking for changed releases", "err", err)
		}
	}
}

func (s *Service) watchAdvisories(ctx context.Context) {
	retry := time.Minute
	for {
		err := s.RefreshAdvisories(ctx)
		wait := jitter(s.cfg.VulndbEvery)
		if err != nil {
			if ctx.Err() == nil {
				s.cfg.Logger.Warn("advisories stay as they were", "as of", s.Snapshot().AsOf(), "err", err)
			}
			wait = min(wait, jitter(retry))
			retry = min(2*retry, s.cfg.VulndbEvery)
		} else {
			retry = time.Minute
		}
		if !sleep(ctx, wait) {
			return
		}
	}
}

// RefreshAdvisories reads the database of vulnerabilities again, if it
// changed. After an error the one before is still there.
func (s *Service) RefreshAdvisories(ctx context.Context) error {
	if s.cfg.Vulndb == "" {
		return nil
	}
	had := s.vulns.Load()
	next := had
	var err error
	if had == nil {
		next, err = vulndb.Open(ctx, s.cfg.Vulndb, s.cfg.VulndbOptions)
	} else {
		next, err = had.Refresh(ctx)
	}
	if err != nil || next == had {
		return err
	}
	s.vulns.Store(next)
	s.cfg.Logger.Info("read the database of vulnerabilities", "as of", next.AsOf(), "modules", next.Modules())
	return s.refresh(ctx)
}

// jitter spreads d over 0.8 to 1.2 of it, so that servers don't ask together.
func jitter(d time.Duration) time.Duration {
	return d - d/5 + rand.N(max(2*d/5, 1))
}

// sleep tells whether it was left alone.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
