package evergreen

import (
	"context"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-evergreen/evergreen/boot"
)

// bootLate has the process become the active slot's executable, if it could not
// be decided when the process started because the root of trust, or the data
// directory, was not known before. It is called while the first configuration is
// provisioned, before any of it runs.
func (a *App) bootLate() {
	var root []byte
	if a.updates.Root != "" {
		b, err := readSmall(a.updates.Root, maxRoot)
		if err != nil {
			a.log.Warn("the root of trust can't be read: updates can't be verified until it can", zap.Error(err))
			return
		}
		root = b
	}
	if err := boot.Late(caddy.AppDataDir(), root); err != nil {
		a.log.Warn("the installed executable runs, and not the one that Caddy updated itself to", zap.Error(err))
	}
}

// tellUp tells boot when Caddy runs the configuration: all of its apps started.
func (a *App) tellUp() {
	ctx := a.ctx.Context
	if ctx == nil || asHelper() {
		return
	}
	go func() {
		_ = guard("tell that Caddy is up", func() error {
			for caddy.ActiveContext().Context != ctx {
				select {
				case <-ctx.Done():
					return nil
				case <-time.After(20 * time.Millisecond):
				}
			}
			if data := caddy.AppDataDir(); boot.Up(data) {
				caddy.OnExit(func(context.Context) { boot.Down(data) })
			}
			return nil
		})
	}()
}
