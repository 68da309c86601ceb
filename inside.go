package evergreen

import (
	"context"
	"errors"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/caddy-evergreen/evergreen/recorder"
	"github.com/caddy-evergreen/evergreen/wire"
)

// watchInside begins to count what goes wrong inside Caddy. What is loaded
// afterwards is seen.
func (a *App) watchInside() {
	a.proc.rec.Add(wire.CaddyConfigLoads, wire.Dims{loadTried}, 1)
	a.try("count log entries", "errors and warnings in the log are not counted", func() error {
		return counted.attach(a.ctx, a.proc.rec)
	})
	a.try("count errors of the admin API", "errors of the admin API are not counted", func() error {
		return a.proc.admin.find(a.ctx.GetMetricsRegistry())
	})
}

var (
	loadTried           = wire.ConfigLoad.Value("tried")
	loadFailedProvision = wire.ConfigLoad.Value("failed_provision")
	loadFailedStart     = wire.ConfigLoad.Value("failed_start")
)

// loaded counts a configuration that failed, when it is cleaned up: Caddy then
// gives the failure as the cause, which wraps an error; that of a configuration
// that ends in order doesn't.
func (a *App) loaded() {
	if !a.made || a.proc == nil {
		return
	}
	cause := context.Cause(a.ctx.Context)
	if cause == nil || errors.Unwrap(cause) == nil {
		return
	}
	load := loadFailedProvision
	// Apps start in random order: ours may not have had its turn.
	if a.started || strings.HasPrefix(cause.Error(), "configuration start error") {
		load = loadFailedStart
	}
	a.proc.rec.Add(wire.CaddyConfigLoads, wire.Dims{load}, 1)
}

// adminErrors reads Caddy's own counter of the admin API's errors, once a
// window.
type adminErrors struct {
	mu   sync.Mutex
	vec  *prometheus.CounterVec // nil: not found
	seen map[string]float64     // counted so far, by endpoint and method
}

// find finds the counter in a configuration's registry: it is the process's.
func (e *adminErrors) find(reg *prometheus.Registry) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.vec != nil {
		return nil
	}
	same := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "caddy_admin_http_request_errors_total", Help: "Number of requests resulting in middleware errors.",
	}, []string{"handler", "path", "method"})
	err := reg.Register(same)
	var known prometheus.AlreadyRegisteredError
	switch {
	case err == nil:
		reg.Unregister(same)
		return errors.New("this Caddy does not count them")
	case !errors.As(err, &known):
		return err
	}
	vec, ok := known.ExistingCollector.(*prometheus.CounterVec)
	if !ok {
		return errors.New("this Caddy counts them otherwise")
	}
	e.vec, e.seen = vec, map[string]float64{}
	e.read(func(wire.Value, uint64) {}) // what was before isn't ours
	return nil
}

// observe counts what came since the last time.
func (e *adminErrors) observe(rec *recorder.Recorder) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.vec != nil {
		e.read(func(endpoint wire.Value, n uint64) { rec.Add(wire.CaddyAdminErrors, wire.Dims{endpoint}, n) })
	}
}

// read calls f for each endpoint that has more than when it was last read. The
// endpoint /id/ is not one: Caddy counts its detour to /config/ as an error.
func (e *adminErrors) read(f func(endpoint wire.Value, n uint64)) {
	metrics := make(chan prometheus.Metric)
	go func() {
		defer close(metrics)
		e.vec.Collect(metrics)
	}()
	for m := range metrics {
		var d dto.Metric
		if m.Write(&d) != nil {
			continue
		}
		var path, method string
		for _, l := range d.GetLabel() {
			switch l.GetName() {
			case "path":
				path = l.GetValue()
			case "method":
				method = l.GetValue()
			}
		}
		key, value := method+" "+path, d.GetCounter().GetValue()
		if n := value - e.seen[key]; n > 0 && path != "/id/" {
			f(endpointOf(path), uint64(n))
		}
		e.seen[key] = value
	}
}

// endpointOf is the value of an admin route's pattern.
func endpointOf(path string) wire.Value {
	if strings.HasPrefix(path, "/evergreen/") {
		path = "/evergreen/"
	}
	return wire.AdminEndpoint.Value(path)
}
