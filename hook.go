package evergreen

import (
	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
)

func init() {
	caddy.RegisterModule(Hook{})
}

// Hook is how the app starts in a Caddy whose configuration does not name it:
// Caddy makes every module of the admin.api namespace on every load, from
// v2.11.3 on before it loads any app.
type Hook struct{}

// CaddyModule returns the Caddy module information.
func (Hook) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "admin.api.evergreen", New: func() caddy.Module { return new(Hook) }}
}

// Provision loads the app. It never fails the configuration: what is wrong in
// the user's own options for the app, Caddy itself reports when it loads it.
func (h *Hook) Provision(ctx caddy.Context) error {
	err := guard("load the app", func() error {
		_, err := ctx.App("evergreen")
		return err
	})
	if err != nil {
		caddy.Log().Named("evergreen").Warn("not loaded; Caddy is not affected", zap.Error(err))
	}
	return nil
}

// Routes are the admin API's endpoints below /evergreen/.
func (h *Hook) Routes() []caddy.AdminRoute { return routes() }

var (
	_ caddy.Provisioner = (*Hook)(nil)
	_ caddy.AdminRouter = (*Hook)(nil)
)
