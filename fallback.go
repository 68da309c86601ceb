package evergreen

import (
	"context"
	"errors"
	"os"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
)

// With `admin off` Caddy makes no module of the admin.api namespace, so that an
// app which the configuration does not name is never loaded. What is left is to
// look at the running configuration from outside. Its servers have started by
// then and take no callbacks any more: the instance reports that it is alive
// and its facts, and no traffic. An operator who wants more names the app: the
// global option `evergreen` in the Caddyfile, or "evergreen": {} among the apps.

// lookout is the process's: a configuration that does not load our app can't
// bring one.
var lookout = new(sentry)

func init() { lookout.resume() }

// A sentry waits for a configuration that runs without our app. It does so only
// while there is neither an app nor a configuration known to be without one, and
// never where the environment says off: in most processes it ends with the first
// configuration.
type sentry struct {
	mu     sync.Mutex
	apps   int                // that Caddy has made
	beside context.Context    // of the configuration without our app, beside which we run one
	cancel context.CancelFunc // ends the goroutine; nil if there is none
}

// made notes that Caddy makes an app.
func (w *sentry) made() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.apps++
	w.stop()
}

// gone notes that Caddy is done with an app.
func (w *sentry) gone() {
	w.mu.Lock()
	w.apps--
	w.mu.Unlock()
	w.resume()
}

func (w *sentry) stop() {
	if w.cancel != nil {
		w.cancel()
		w.cancel = nil
	}
}

func (w *sentry) needed() bool {
	return w.apps == 0 && w.beside == nil && !caddy.Exiting() && (switchedOffBy(os.Getenv) == "" || updatesWanted(os.Getenv))
}

func (w *sentry) resume() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cancel != nil || !w.needed() {
		return
	}
	var ctx context.Context
	ctx, w.cancel = context.WithCancel(context.Background())
	go w.poll(ctx)
}

// poll looks for a configuration until there is one without our app, or until it
// is not needed any more.
func (w *sentry) poll(ctx context.Context) {
	for wait := 500 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		var found caddy.Context
		ended := false
		_ = guard("look for a configuration", func() error {
			found, ended = w.look(ctx)
			return nil
		})
		if found.Context != nil {
			w.runBeside(found)
		}
		if ended {
			return
		}
	}
}

// look returns the running configuration if it is without our app, and whether
// there is nothing more to look for.
func (w *sentry) look(ctx context.Context) (found caddy.Context, ended bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if ctx.Err() != nil {
		return caddy.Context{}, true
	}
	if !w.needed() {
		w.stop()
		return caddy.Context{}, true
	}
	active := caddy.ActiveContext()
	if active.Context == nil {
		return caddy.Context{}, false
	}
	if _, err := active.AppIfConfigured("evergreen"); !errors.Is(err, caddy.ErrNotConfigured) {
		return caddy.Context{}, false
	}
	w.stop()
	w.beside = active.Context
	return active, true
}

// runBeside runs an app beside a configuration until that is replaced.
func (w *sentry) runBeside(ctx caddy.Context) {
	a := &App{ctx: ctx, log: caddy.Log().Named("evergreen")}
	_ = guard("run beside the configuration", func() error {
		if err := a.prepareUpdates(); err != nil {
			return err
		}
		if a.prepare() {
			a.fallBack("load the app", "traffic and facts about the configuration are not reported, only that this instance is alive; "+
				"name the app in the configuration (global option `evergreen`) to count traffic with the admin endpoint off", nil)
			a.try("register metrics", "Caddy's Prometheus registry lacks our metrics", func() error {
				return a.ctx.GetMetricsRegistry().Register(a.proc.rec.Collector())
			})
		}
		if err := a.Start(); err != nil {
			a.log.Warn("nothing is reported; Caddy is not affected", zap.Error(err))
		}
		return nil
	})
	context.AfterFunc(ctx.Context, func() {
		_ = a.Stop()
		_ = a.Cleanup()
		w.mu.Lock()
		w.beside = nil
		w.mu.Unlock()
		w.resume()
	})
}
