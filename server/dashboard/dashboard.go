// Package dashboard serves pages and a JSON API.
//
// In come the rollups of package store, and the raw reports of one instance
// from package ingestlog for the page that belongs to that instance alone. Out
// go HTML pages that are complete without JavaScript, and under /api/v1 the
// numbers that every chart shows.
//
// # Guarantees
//
// A page and the API never disagree: a chart is a URL of the API (charts*.go),
// and the page's tables are made of the answer to that same URL.
//
// Parameters are strict: what is unknown, badly written or out of bounds gets
// an application/problem+json that names the nearest thing that is known.
// Every answer is bounded in points, groups and time of computation.
//
// Groups that too few instances contribute to are not shown: privacy.go.
//
// An instance's page and its part of the API need a link that the instance's
// own key has signed (wire.Link), and are not to be cached or indexed.
//
// Pages load nothing from other hosts and run under a Content-Security-Policy
// without inline script or style.
//
// # Extending
//
// A new chart is a line in a table in charts_*.go, a new page one in charts.go:
// the pages, the navigation, the API's links and the tests follow from them.
package dashboard

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/caddy-evergreen/evergreen/server/ingestlog"
	"github.com/caddy-evergreen/evergreen/server/senders"
	"github.com/caddy-evergreen/evergreen/server/store"
	"github.com/caddy-evergreen/evergreen/wire"
)

// Reports reads one instance's raw reports that hold a window in [from, to),
// in any order.
type Reports interface {
	Instance(id wire.InstanceID, from, to time.Time) iter.Seq2[ingestlog.Record, error]
}

// Config is what a Dashboard needs. Store and Reports are required.
type Config struct {
	Store   store.Store
	Reports Reports
	Timing  wire.Timing      // zero means wire.DefaultTiming
	Now     func() time.Time // nil means time.Now
	Name    string           // of the deployment, in titles; "" means Evergreen
	// Dev, when set, is this package's folder in a checkout: templates and
	// assets are read from there at every request.
	Dev    string
	Logger *slog.Logger // nil means slog.Default
	// Privacy is which groups are shown. The zero value, meant for a
	// deployment that is private to those who are counted, shows all.
	Privacy Privacy
	// Campaigns is asked for them; nil means that there are none.
	Campaigns Campaigns
	// Updates gives what is known of releases and vulnerabilities now; nil
	// means that there are no pages of them.
	Updates func() Updates
	// Rollouts gives all rollouts, the newest first; nil means that this server
	// has none.
	Rollouts func(context.Context) ([]Rollout, error)
	// Handouts gives how many executables were handed out on each day since one;
	// nil means that this server hands none out.
	Handouts func(ctx context.Context, since time.Time) ([]HandoutDay, error)
	// DataSet is the folder of the open data set, as it is served below
	// /dataset/; nil means that none is published.
	DataSet fs.FS
	// Alerts keep who is told when a number departs from what is usual; nil means
	// that nobody is.
	Alerts Alerts
	// Advise tells what is known of a build; nil means that nothing is.
	Advise func(context.Context, wire.Check) (*Advice, error)
	// Builds says that this server has a page to build Caddys, at /build.
	Builds bool
	// Simulated says that numbers are made up by package fleet, in part or as a
	// whole: every page says so, and every answer has the header
	// Evergreen-Simulated.
	Simulated bool
	// Sender is who sends a request; nil, and an invalid address, mean that
	// nobody is told apart and limited.
	Sender func(*http.Request) netip.Addr
	// Limits bound what a sender may read.
	Limits Limits
}

// A Dashboard answers requests. It keeps no state but a short-lived cache.
type Dashboard struct {
	pictures
	cfg       Config
	assets    *assets
	routes    []route
	answers   cache[*Answer]
	choices   cache[[]filterChoices]
	notes     cache[*Annotations]
	instances cache[*instanceSource]
	whole     cache[*recording] // pages, as they are sent
	live      *hub
	found     cache[[]Hit]
	known     func() []Hit   // the vocabulary
	rates     *senders.Rates // nil: nobody is limited
	// connections tells senders apart who have pages open.
	connections *senders.Rates
	pages       *http.ServeMux // those that may be watched
	data        *http.ServeMux // the API's paths that charts are drawn from
	advice      cache[*Advice]
}

// New makes a Dashboard. It starts nothing.
func New(cfg Config) (*Dashboard, error) {
	if cfg.Store == nil || cfg.Reports == nil {
		return nil, errors.New("the dashboard needs a store and an ingest log to read from")
	}
	if cfg.Timing.Window == 0 {
		cfg.Timing = wire.DefaultTiming
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Name == "" {
		cfg.Name = "Evergreen"
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if err := cfg.Privacy.check(); err != nil {
		return nil, err
	}
	cfg.Store = coarser{cfg.Store}
	a, err := loadAssets(cfg.Dev)
	if err != nil {
		return nil, err
	}
	d := &Dashboard{
		cfg:       cfg,
		assets:    a,
		answers:   cache[*Answer]{ttl: answerTTL, stale: answerStale, max: 512, now: cfg.Now},
		choices:   cache[[]filterChoices]{ttl: choicesTTL, stale: choicesStale, max: 1, now: cfg.Now},
		notes:     cache[*Annotations]{ttl: answerTTL, stale: answerStale, max: 64, now: cfg.Now},
		instances: cache[*instanceSource]{ttl: instanceTTL, max: 8, now: cfg.Now},
		advice:    cache[*Advice]{ttl: adviceTTL, max: 256, now: cfg.Now},
		whole:     cache[*recording]{ttl: answerTTL, stale: answerStale, max: keptPages, now: cfg.Now},
	}
	d.found = cache[[]Hit]{ttl: foundTTL, stale: foundStale, max: 1, now: cfg.Now}
	d.known = sync.OnceValue(d.vocabulary)
	d.rates, d.connections = newLimits(cfg.Limits), senders.NewRates(1, 1, 1)
	d.live = newHub(cfg.Timing.Window, d.renditionOf)
	d.answers.generation, d.instances.generation = d.live.count, d.live.count
	d.pictures = newPictures(cfg.Now)
	d.routes = d.table()
	d.pages = recorded(d.routes, func(rt route) bool { return rt.live })
	d.data = recorded(d.routes, func(rt route) bool { return rt.api && !rt.stream })
	return d, nil
}

const (
	// An answer is given again for answerTTL, and for answerStale after that
	// while the next one is computed. A report has to be on a page within a
	// minute, of which the aggregator takes a few seconds.
	answerTTL   = 5 * time.Second
	answerStale = 15 * time.Second
	instanceTTL = 10 * time.Second
	// queryTimeout bounds one question to the store.
	queryTimeout = 20 * time.Second
)

// A handler answers or says what is wrong; serve turns that into a response.
type handler func(w http.ResponseWriter, r *http.Request) error

// A route is a path of the dashboard. All are read with GET.
type route struct {
	path string // as http.ServeMux writes it
	api  bool   // errors are problem documents, not pages
	// private answers are for whoever holds a signed link.
	private bool
	live    bool // open pages are told what changes
	stream  bool // lasts
	free    bool // costs the sender nothing
	post    bool // is sent a form
	handle  handler
}

func (d *Dashboard) table() []route {
	routes := []route{
		{path: "/data", handle: d.dataPage},
		{path: "/data/sql", handle: d.sqlPage},
		{path: "/data/engine/{name}", handle: d.engine},
		{path: "/{$}", live: true, handle: d.overview},
		{path: "/instance/{id}", live: true, private: true, handle: d.instancePage},
		{path: "/chart/{id}", live: true, handle: d.chartPage},
		{path: "/instance", handle: d.yourPage},
		{path: "/dictionary", handle: d.dictionary},
		{path: "/questions", handle: d.questionsPage},
		{path: "/privacy", handle: d.privacyPage},
		{path: "/assets/{name}", free: true, handle: d.asset},
		{path: "/search", handle: d.searchPage},
		{path: "/api/v1/search", api: true, handle: d.apiSearch},
		{path: "/live", api: true, stream: true, handle: d.liveEvents},
		{path: "/api/v1/metrics", api: true, handle: d.apiMetrics},
		{path: "/api/v1/query", api: true, handle: d.apiQuery},
		{path: "/api/v1/query.csv", api: true, handle: d.apiQueryCSV},
		{path: "/api/v1/quantiles.csv", api: true, handle: d.apiQuantilesCSV},
		{path: "/api/v1/interception.csv", api: true, handle: d.apiInterceptionCSV},
		{path: "/api/v1/quantiles", api: true, handle: d.apiQuantiles},
		{path: "/api/v1/instances", api: true, handle: d.apiInstances},
		{path: "/api/v1/new", api: true, handle: d.apiNew},
		{path: "/api/v1/annotations", api: true, handle: d.apiAnnotations},
		{path: "/api/v1/campaigns", api: true, handle: d.apiCampaigns},
		{path: "/api/v1/interception", api: true, handle: d.apiInterception},
		{path: "/api/v1/instance/{id}", api: true, private: true, handle: d.apiInstance},
		{path: "/api/v1/instance/{id}/query", api: true, private: true, handle: d.apiInstanceQuery},
		{path: "/api/v1/instance/{id}/quantiles", api: true, private: true, handle: d.apiInstanceQuantiles},
		{path: "/api/v1/openapi.json", api: true, handle: d.apiOpenAPI},
	}
	if d.cfg.Updates != nil {
		routes = append(routes, route{path: "/releases", handle: d.releasesPage}, route{path: "/advisories", handle: d.advisoriesPage})
	}
	for _, v := range derivations {
		routes = append(routes, route{path: "/api/v1" + v.path, api: true, handle: d.apiDerived(v)},
			route{path: "/api/v1" + v.path + ".csv", api: true, handle: d.apiDerivedCSV(v)})
	}
	routes = append(routes, d.alertRoutes()...)
	routes = append(routes, route{path: "/embed/{id}", handle: d.embed})
	for _, t := range topics {
		routes = append(routes, route{path: t.Path, live: true, handle: d.topic(t)})
	}
	return routes
}

// Register adds the dashboard's paths to mux. It takes every path that no
// other pattern of mux is closer to, in order to answer what does not exist
// in its own words.
func (d *Dashboard) Register(mux *http.ServeMux) {
	for _, rt := range d.routes {
		method := "GET "
		if rt.post {
			method = "POST "
		}
		mux.Handle(method+rt.path, d.serve(rt))
	}
	mux.Handle("/", d.serve(route{handle: d.missing}))
	mux.Handle("/api/", d.serve(route{api: true, handle: d.missing}))
}

// contentSecurityPolicy allows what the pages need: their own files. Charts
// style elements through the CSSOM, which a policy does not govern.
const contentSecurityPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; " +
	"connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

func (d *Dashboard) serve(rt route) http.Handler {
	handle := d.keep(rt)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", contentSecurityPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		if d.cfg.Simulated {
			h.Set("Evergreen-Simulated", "yes")
		}
		switch {
		case rt.private:
			h.Set("Cache-Control", "private, no-store")
			h.Set("X-Robots-Tag", "noindex, nofollow")
		case rt.api:
			h.Set("Access-Control-Allow-Origin", "*")
			h.Set("Access-Control-Expose-Headers", exposed)
		}
		if !rt.stream {
			ctx, cancel := context.WithTimeout(r.Context(), 2*queryTimeout)
			defer cancel()
			r = r.WithContext(ctx)
		}
		err := d.admit(w, r, rt.cost())
		if err == nil {
			err = handle(w, r)
		}
		if err != nil {
			d.fail(w, r, rt, err)
		}
	})
}

func (rt route) cost() int {
	switch {
	case rt.free:
		return 0
	case rt.api && !rt.stream:
		return 1
	}
	return costPage
}

// exposed are the header fields that other origins' scripts may read.
const exposed = "ETag, RateLimit, RateLimit-Policy, Retry-After"

// preflight answers a browser that asks whether another origin's script may
// send header fields of its own: whatever is read may be read from anywhere.
func preflight(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Allow-Methods", "GET, HEAD")
	h.Set("Access-Control-Allow-Headers", "If-None-Match, Last-Event-ID")
	h.Set("Access-Control-Max-Age", "86400")
	w.WriteHeader(http.StatusNoContent)
}
