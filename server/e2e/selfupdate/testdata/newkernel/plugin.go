// Package newkernel is a Caddy plugin whose second version its maintainer says
// to need a kernel that nobody has.
package newkernel

import "github.com/caddyserver/caddy/v2"

// bad is true in the second version.
const bad = false

func init() { caddy.RegisterModule(Module{}) }

// Module does nothing.
type Module struct{}

func (Module) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "newkernel", New: func() caddy.Module { return new(Module) }}
}
