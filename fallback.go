package evergreen

import (
	"context"
	"errors"
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

func init() { go watchUnhooked() }

// watchUnhooked waits for configurations that run without our app.
func watchUnhooked() {
	var last context.Context
	for wait := 500 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		time.Sleep(wait)
		_ = guard("look for a configuration", func() error {
			ctx := caddy.ActiveContext()
			if ctx.Context == nil || ctx.Context == last {
				return nil
			}
			last = ctx.Context
			if _, err := ctx.AppIfConfigured("evergreen"); errors.Is(err, caddy.ErrNotConfigured) {
				runUnhooked(ctx)
			}
			return nil
		})
	}
}

// runUnhooked runs an app beside a configuration until that is replaced.
func runUnhooked(ctx caddy.Context) {
	a := &App{ctx: ctx, log: caddy.Log().Named("evergreen")}
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
	context.AfterFunc(ctx.Context, func() {
		_ = a.Stop()
		_ = a.Cleanup()
	})
}
