package build

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/caddy-evergreen/evergreen/server/answer"
	"github.com/caddy-evergreen/evergreen/server/artifact"
	"github.com/caddy-evergreen/evergreen/wire"
)

// Versions knows the newest version of a module that is to be offered, or of
// Go (the path wire.Toolchain).
type Versions interface {
	Latest(ctx context.Context, path string) (string, error)
}

// A Plugin is offered by name.
type Plugin struct {
	Path  string `json:"path"` // of the module
	About string `json:"about,omitempty"`
}

// FrontConfig is what a Front needs. Queue and Versions are required.
type FrontConfig struct {
	Queue    *Queue
	Versions Versions
	// Own is the version of our module that is compiled in; "" offers builds
	// without it only.
	Own string
	// Service is the URL that builds report to and ask; Root tells the SHA-256
	// of the root metadata that they trust, and may be nil.
	Service string
	Root    func() string
	// Plugins are offered by name. Those beyond them that the queue builds can
	// be asked for by path.
	Plugins []Plugin
	// Attestation is where that of an executable is, as a URL or a path; nil
	// says that there is none.
	Attestation func(artifact.Build) string
	// Operator tells whether a request may cancel and retry builds; nil lets
	// nobody.
	Operator func(*http.Request) bool
	// Sender names who sent a request, so that nobody fills the queue alone;
	// nil takes the peer's address. It is neither kept nor logged.
	Sender  func(*http.Request) string
	PerHour float64 // new builds of one sender; 0 is 20
	Name    string  // of the deployment; "" is Evergreen
	Logger  *slog.Logger
}

// A Front lets people and programs ask for builds over HTTP:
//
//	GET  /build, POST /build           a page to choose plugins and a system
//	GET  /build/{id}                   its progress, and the download
//	POST /api/v1/builds                a Request; answers an Answer
//	GET  /api/v1/builds                what can be asked for, and counts
//	GET  /api/v1/builds/{id}           an Answer
//	GET  /api/v1/builds/{id}/events    Answers, as server-sent events
//	GET  /api/v1/builds/{id}/download  the executable, with ranges
//	DELETE /api/v1/builds/{id}         cancels (operator)
//	POST /api/v1/builds/{id}/retry     forgets a failure (operator)
//	GET  /api/v1/download              as Caddy's own download API has it
//
// Errors are wire.Problem documents.
type Front struct {
	cfg   FrontConfig
	pages *frontPages

	ending context.Context // is done when nobody is to wait any more
	end    context.CancelFunc

	mu      sync.Mutex
	senders map[string]*rate.Limiter
}

var errEnding = errors.New("the server ends")

// End lets those go who wait for builds, so that a server can end.
func (f *Front) End() { f.end() }

// ended is err, unless it is only that the server ends.
func ended(ctx context.Context, err error) error {
	if err != nil && errors.Is(context.Cause(ctx), errEnding) {
		return errEnding
	}
	return err
}

// wait is a request's context, until the server ends.
func (f *Front) wait(r *http.Request) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(r.Context())
	stop := context.AfterFunc(f.ending, func() { cancel(errEnding) })
	return ctx, func() {
		stop()
		cancel(nil)
	}
}

const (
	defaultPerHour = 20
	maxSenders     = 10_000
	maxRequest     = 64 << 10
)

// NewFront starts nothing.
func NewFront(cfg FrontConfig) (*Front, error) {
	if cfg.Queue == nil || cfg.Versions == nil {
		return nil, errors.New("asking for builds needs a queue and versions")
	}
	if cfg.Service != "" {
		if err := checkService(cfg.Service); err != nil {
			return nil, err
		}
	}
	if cfg.PerHour == 0 {
		cfg.PerHour = defaultPerHour
	}
	if cfg.Sender == nil {
		cfg.Sender = func(r *http.Request) string {
			host, _, err := net.SplitHostPort(r.RemoteAddr)
			if err != nil {
				return r.RemoteAddr
			}
			return host
		}
	}
	if cfg.Root == nil {
		cfg.Root = func() string { return "" }
	}
	if cfg.Attestation == nil {
		cfg.Attestation = func(artifact.Build) string { return "" }
	}
	if cfg.Operator == nil {
		cfg.Operator = func(*http.Request) bool { return false }
	}
	if cfg.Name == "" {
		cfg.Name = "Evergreen"
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	pages, err := loadPages()
	if err != nil {
		return nil, err
	}
	f := &Front{cfg: cfg, pages: pages, senders: map[string]*rate.Limiter{}}
	f.ending, f.end = context.WithCancel(context.Background())
	return f, nil
}

// Register adds the paths to mux.
func (f *Front) Register(mux *http.ServeMux) {
	for pattern, h := range map[string]func(http.ResponseWriter, *http.Request) error{
		"POST /api/v1/builds":              f.postBuild,
		"GET /api/v1/builds":               f.offers,
		"GET /api/v1/builds/{id}":          f.getBuild,
		"DELETE /api/v1/builds/{id}":       f.deleteBuild,
		"POST /api/v1/builds/{id}/retry":   f.retryBuild,
		"GET /api/v1/builds/{id}/events":   f.events,
		"GET /api/v1/builds/{id}/download": f.download,
		"GET " + wire.PathDownload:         f.compatible,
	} {
		mux.Handle(pattern, f.serve(h, f.problem))
	}
	for pattern, h := range map[string]func(http.ResponseWriter, *http.Request) error{
		"GET /build":            f.formPage,
		"POST /build":           f.formPost,
		"GET /build/{id}":       f.buildPage,
		"GET /build/build.css":  f.pages.file("build.css", "text/css; charset=utf-8"),
		"GET /build/build.js":   f.pages.file("build.js", "text/javascript; charset=utf-8"),
		"GET /build/{id}/state": f.statePart,
	} {
		mux.Handle(pattern, f.serve(h, f.problemPage))
	}
}

func (f *Front) serve(h func(http.ResponseWriter, *http.Request) error, fail func(http.ResponseWriter, *http.Request, *refusal)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Referrer-Policy", "no-referrer")
		r.Body = http.MaxBytesReader(w, r.Body, maxRequest)
		err := h(w, r)
		if err == nil || r.Context().Err() != nil {
			return
		}
		ref := f.refusal(err)
		if ref.Status == http.StatusTooManyRequests || ref.Status == http.StatusServiceUnavailable {
			w.Header().Set("Retry-After", "60")
		}
		w.Header().Set("Cache-Control", "no-store")
		fail(w, r, ref)
	})
}

// A refusal is an error that whoever asked is told.
type refusal struct{ wire.Problem }

func (r *refusal) Error() string { return r.Title + ": " + r.Detail }

func refuse(status int, title, format string, args ...any) error {
	return &refusal{wire.Problem{Title: title, Status: status, Detail: fmt.Sprintf(format, args...)}}
}

// refusal is the one place where errors become statuses.
func (f *Front) refusal(err error) *refusal {
	var r *refusal
	var failure *Failure
	var tooLarge *http.MaxBytesError
	problem := func(status int, title, detail string) *refusal {
		return &refusal{wire.Problem{Title: title, Status: status, Detail: detail}}
	}
	switch {
	case errors.As(err, &r):
		return r
	case errors.As(err, &tooLarge):
		return problem(http.StatusRequestEntityTooLarge, "the request is too large", fmt.Sprintf("At most %d bytes are taken.", maxRequest))
	case errors.Is(err, ErrNotRegistered):
		return problem(http.StatusForbidden, "this plugin is not offered", err.Error()+". GET /api/v1/builds lists them.")
	case errors.Is(err, errEnding):
		return problem(http.StatusServiceUnavailable, "the server is about to end", "The build goes on when it is back: ask again in a minute.")
	case errors.Is(err, ErrSpec):
		return problem(http.StatusBadRequest, "this can't be built", err.Error())
	case errors.As(err, &failure):
		return problem(http.StatusUnprocessableEntity, "this could not be built", failure.Error())
	case errors.Is(err, ErrFull):
		return problem(http.StatusServiceUnavailable, "too many builds are waiting", "Try again in a minute.")
	case errors.Is(err, ErrNoBuild):
		return problem(http.StatusNotFound, "there is no such build", "It was never asked for here: ask for it with POST /api/v1/builds.")
	case errors.Is(err, ErrNotBuilt):
		return problem(http.StatusConflict, "the build is not done", "Its progress is at /api/v1/builds/{id}. If its executable had to make room for others, ask for it again.")
	}
	f.cfg.Logger.Error("answering a request for a build", "error", err)
	return problem(http.StatusInternalServerError, "something went wrong here", "The cause is in the server's log. Try again in a minute.")
}

func (f *Front) problem(w http.ResponseWriter, _ *http.Request, r *refusal) {
	answer.Problem(w, r.Problem)
}

// A Request is what people ask for. Empty fields take the newest, and this
// server's usual.
type Request struct {
	Caddy   string   `json:"caddy,omitempty"`   // version
	Plugins []string `json:"plugins,omitempty"` // modules: "path" or "path@version"
	OS      string   `json:"os"`
	Arch    string   `json:"arch"`
	Arm     string   `json:"arm,omitempty"` // "6" or "7" of arm
	Go      string   `json:"go,omitempty"`  // toolchain: "go1.26.11"
	// Telemetry compiles our module in, which also lets the executable be
	// updated. It is true where it is not given.
	Telemetry *bool `json:"telemetry,omitempty"`
}

// spec makes a Request exact.
func (f *Front) spec(ctx context.Context, r Request) (artifact.Spec, error) {
	s := artifact.Spec{Go: r.Go, Caddy: r.Caddy, System: wire.System{OS: r.OS, Arch: r.Arch}}
	if r.Arm != "" {
		s.System.Variant = "v" + strings.TrimPrefix(r.Arm, "v")
	} else if r.Arch == "arm" {
		s.System.Variant = "v7"
	}
	if err := checkSystem(s.System); err != nil {
		return s, fmt.Errorf("%w: %w", ErrSpec, err)
	}
	if len(r.Plugins) > maxPlugins {
		return s, fmt.Errorf("%w: at most %d plugins are taken", ErrSpec, maxPlugins)
	}
	if r.Telemetry == nil || *r.Telemetry {
		if f.cfg.Own == "" {
			return s, refuse(http.StatusBadRequest, "this can't be built", "This server has no module for telemetry and updates: ask for a build without telemetry.")
		}
		s.Evergreen, s.Service, s.Root = f.cfg.Own, f.cfg.Service, f.cfg.Root()
	}
	for _, p := range r.Plugins {
		path, version, _ := strings.Cut(strings.TrimSpace(p), "@")
		if path == wire.CaddyPath && s.Caddy == "" {
			s.Caddy = version // some name it among the plugins
			continue
		}
		if path == "" {
			continue
		}
		// Said before anybody is asked for its newest version.
		if registered := f.cfg.Queue.cfg.Registered; registered != nil && !registered(path) {
			return s, fmt.Errorf("%w: %.200q", ErrNotRegistered, path)
		}
		s.Plugins = append(s.Plugins, wire.ModuleVersion{Path: path, Version: version})
	}
	newest := func(path string, version *string) error {
		if *version != "" && *version != "latest" {
			return nil
		}
		v, err := f.cfg.Versions.Latest(ctx, path)
		if err != nil {
			f.cfg.Logger.Info("finding the newest version", "module", path, "error", err)
			return refuse(http.StatusUnprocessableEntity, "the newest version is not known", "Name the version of %.200q that you want: finding its newest failed. Is the path right?", path)
		}
		*version = v
		return nil
	}
	err := errors.Join(newest(wire.CaddyPath, &s.Caddy), newest(wire.Toolchain, &s.Go))
	for i := range s.Plugins {
		if err == nil {
			err = newest(s.Plugins[i].Path, &s.Plugins[i].Version)
		}
	}
	if err != nil {
		return s, err
	}
	s = s.Canonical()
	return s, Check(s)
}

// ask queues what is asked for, unless its sender asked for too much.
func (f *Front) ask(r *http.Request, req Request) (artifact.Spec, wire.BuildProgress, error) {
	ctx := r.Context()
	spec, err := f.spec(ctx, req)
	if err != nil {
		return spec, wire.BuildProgress{}, err
	}
	p, err := f.cfg.Queue.Progress(ctx, spec.ID())
	if errors.Is(err, ErrNoBuild) || err == nil && state(p.State) == evicted {
		if !f.limiter(f.cfg.Sender(r)).Allow() {
			return spec, p, refuse(http.StatusTooManyRequests, "you have asked for many builds", "Each takes minutes of computing: %v new ones an hour are for everyone. What is built already can be had at any time.", f.cfg.PerHour)
		}
	} else if err != nil {
		return spec, p, err
	}
	p, err = f.cfg.Queue.Ask(ctx, spec, PriorityDownload)
	return spec, p, err
}

func (f *Front) limiter(sender string) *rate.Limiter {
	f.mu.Lock()
	defer f.mu.Unlock()
	l := f.senders[sender]
	if l == nil {
		if len(f.senders) >= maxSenders {
			clear(f.senders)
		}
		l = rate.NewLimiter(rate.Limit(f.cfg.PerHour/time.Hour.Seconds()), max(1, int(f.cfg.PerHour)))
		f.senders[sender] = l
	}
	return l
}
