package evergreen

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddytls"
	"go.uber.org/zap"
)

func init() {
	caddy.RegisterModule(App{})
}

// App is the Caddy app. One is made for every configuration that Caddy loads;
// what counts and reports is the process's, and outlives them.
//
// Nothing that goes wrong in here fails a configuration, except options that
// the user wrote and that can't be used.
type App struct {
	Config

	ctx      caddy.Context
	log      *zap.Logger
	set      settings
	proc     *process // nil: off, or it could not be made
	off      bool     // its settings are shown as being off
	made     bool     // by Caddy, and not by the lookout
	started  bool     // Start ran
	httpPort int      // of the http app, where there is no TLS
	raw      []byte   // the whole configuration as JSON, for the facts; nil if it can't be read

	updates   updatesPolicy
	updating  *updates // nil: off, or it could not be made
	noUpdates bool     // it is shown that updates are off

	tls    *caddytls.TLS   // the configuration's, or nil
	ownCAs map[string]bool // ids of the CAs that are Caddy's own

	sites     map[*caddyhttp.Server]*site
	injectErr error // why the http app could not be provisioned with our modules in it
}

// CaddyModule returns the Caddy module information.
func (App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "evergreen", New: func() caddy.Module { return new(App) }}
}

// fault is set by tests: every step of ours asks it whether to fail.
var fault atomic.Pointer[func(step string) error]

func failing(step string) error {
	if f := fault.Load(); f != nil {
		return (*f)(step)
	}
	return nil
}

// guard runs one step of ours and turns a panic in it into an error.
func guard(step string, f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("%s: panic: %v\n%s", step, v, debug.Stack())
		}
	}()
	if err := failing(step); err != nil {
		return fmt.Errorf("%s: %w", step, err)
	}
	if err := f(); err != nil {
		return fmt.Errorf("%s: %w", step, err)
	}
	return nil
}

// Provision checks the options, and prepares the configuration's servers. It
// starts nothing.
func (a *App) Provision(ctx caddy.Context) error {
	a.ctx, a.log = ctx, ctx.Logger()
	a.made = true
	lookout.made()
	if err := a.check(); err != nil {
		return err
	}
	if err := a.prepareUpdates(); err != nil {
		return err
	}
	if !a.prepare() {
		a.prepareSwitch()
		a.countForUpdates()
		return nil
	}
	a.try("read the configuration", "facts about the configuration are missing", func() (err error) {
		a.raw, err = readConfig(ctx)
		return err
	})
	a.watchInside()
	a.try("subscribe to events", "certificates are not counted", a.subscribe)
	if app, names := a.httpApp(); app != nil {
		a.try("register callbacks", "connections and HTTP/1 and HTTP/2 requests are not counted", func() error {
			for name, srv := range app.Servers {
				watchChains(a.proc.rec, srv)
				a.watch(srv, names != nil && !names[name] || names == nil && name == redirectServer)
			}
			return nil
		})
	}
	a.prepareSwitch()
	a.prepareCertificates()
	a.try("register metrics", "Caddy's Prometheus registry lacks our metrics", func() error {
		return a.ctx.GetMetricsRegistry().Register(a.proc.rec.Collector())
	})
	return nil
}

// prepare resolves the settings and joins the process's recorder; false is off.
func (a *App) prepare() bool {
	var err error
	a.set, err = a.resolve(os.Getenv)
	if err != nil {
		// The environment is not the configuration's fault: go on without it.
		a.log.Warn("a variable in the environment can't be used; going on without it", zap.Error(err))
	}
	if a.set.Off != "" {
		return false
	}
	err = guard("make the recorder", func() error {
		v, _, err := processes.LoadOrNew(processKey{}, func() (caddy.Destructor, error) { return newProcess(a.set) })
		if err == nil {
			a.proc = v.(*process)
		}
		return err
	})
	if err != nil {
		a.log.Warn("nothing is counted or reported; Caddy is not affected", zap.Error(err))
	}
	return a.proc != nil
}

// try runs a step; if it fails, the log says once in the process's life what
// is missing because of it.
func (a *App) try(step, missing string, f func() error) bool {
	err := guard(step, f)
	if err != nil {
		a.fallBack(step, missing, err)
	}
	return err == nil
}

func (a *App) fallBack(step, missing string, err error) {
	if a.proc.fellBack(step, missing) {
		a.log.Warn("falling back: "+missing+"; Caddy is not affected", zap.String("step", step), zap.Error(err))
	}
}

// httpApp is the configuration's provisioned http app, and the names of the
// servers that the user wrote if they are known; nil if there is none.
func (a *App) httpApp() (app *caddyhttp.App, names map[string]bool) {
	missing := "HTTP/3 requests and handler errors are not counted"
	err := guard("inject the handler", func() (err error) {
		app, names, err = a.inject()
		return err
	})
	switch {
	case err == nil:
		return app, names
	case errors.Is(err, errUserConfig):
		// Caddy loads the user's own JSON next and reports what is wrong with it.
		// If it then starts all the same, Start says what is missing.
		a.injectErr = err
		return nil, nil
	case errors.Is(err, errLoadedBefore):
		// Caddy forgets the JSON of what it has loaded.
		missing += ", and facts about the configuration are incomplete"
	}
	a.fallBack("inject the handler", missing, err)
	// Without the injection, the http app is whatever Caddy makes of it.
	err = guard("load the http app", func() error {
		v, err := a.ctx.AppIfConfigured("http")
		if errors.Is(err, caddy.ErrNotConfigured) {
			return nil
		}
		if err != nil {
			return err
		}
		app = v.(*caddyhttp.App)
		return nil
	})
	if err != nil {
		a.log.Debug("the http app can't be provisioned", zap.Error(err))
		return nil, nil
	}
	return app, nil
}

// Start makes this configuration's settings the process's.
func (a *App) Start() error {
	defer a.startUpdates() // after telemetry, whose id it uses
	if a.set.Off != "" {
		a.log.Info("telemetry is off", zap.String("by", a.set.Off))
		_ = guard("turn off", func() error {
			switchedOff(a.set.Off)
			a.off = true
			if p := currentProcess(); p != nil {
				return p.enter(a)
			}
			return nil
		})
	}
	if a.proc == nil {
		return nil
	}
	if a.tls != nil {
		a.proc.certificates.run(1)
	}
	if a.injectErr != nil {
		a.fallBack("inject the handler", "traffic is not counted", a.injectErr)
	}
	a.started = true
	if err := guard("start", func() error { return a.proc.enter(a) }); err != nil {
		a.log.Warn("nothing is reported; Caddy is not affected", zap.Error(err))
	}
	return nil
}

// Stop gives the settings back to the configuration that has them next.
func (a *App) Stop() error {
	a.stopUpdates()
	if a.tls != nil {
		a.proc.certificates.run(-1)
	}
	_ = guard("stop", func() error {
		if p := currentProcess(); p != nil {
			p.leave(a)
		}
		return nil
	})
	return nil
}

// Cleanup lets go of the process's recorder and reporter. The last
// configuration to do so ends them.
func (a *App) Cleanup() error {
	_ = guard("clean up", func() (err error) {
		a.loaded()
		if a.off {
			_, err = processes.Delete(offKey{})
		}
		if a.proc != nil {
			_, err = processes.Delete(processKey{})
		}
		return err
	})
	a.cleanUpdates()
	if a.made {
		a.made = false
		lookout.gone()
	}
	return nil
}

var (
	_ caddy.App          = (*App)(nil)
	_ caddy.Provisioner  = (*App)(nil)
	_ caddy.CleanerUpper = (*App)(nil)
)
