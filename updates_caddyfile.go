package evergreen

import (
	"encoding/json"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"

	"github.com/caddy-evergreen/evergreen/nearest"
)

func init() {
	caddy.RegisterModule(UpdatesApp{})
	httpcaddyfile.RegisterGlobalOption("updates", parseUpdatesOption)
}

// updatesApp is the name of the app that the Caddyfile's global option updates
// becomes: Caddy gives a global option no way into the app of another one.
const updatesApp = "evergreen_updates"

// UpdatesApp carries the options of the Caddyfile's global option updates to the
// app evergreen, which has them as "updates" in JSON. It does nothing itself.
type UpdatesApp struct{ UpdatesConfig }

// CaddyModule returns the Caddy module information.
func (UpdatesApp) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: updatesApp, New: func() caddy.Module { return new(UpdatesApp) }}
}

// Provision checks the options, and has the app evergreen loaded: with the admin
// API off, nothing else would.
func (u *UpdatesApp) Provision(ctx caddy.Context) error {
	if err := u.check(); err != nil {
		return err
	}
	_, err := ctx.App("evergreen")
	return err
}

// Start does nothing.
func (*UpdatesApp) Start() error { return nil }

// Stop does nothing.
func (*UpdatesApp) Stop() error { return nil }

func parseUpdatesOption(d *caddyfile.Dispenser, existing any) (any, error) {
	if existing != nil {
		return nil, d.Err("updates is set twice")
	}
	var c UpdatesConfig
	if err := c.UnmarshalCaddyfile(d); err != nil {
		return nil, err
	}
	b, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	return httpcaddyfile.App{Name: updatesApp, Value: b}, nil
}

// UnmarshalCaddyfile reads the global option, which can also be in the block of
// the option evergreen:
//
//	updates <all|feature|important|critical|none> [notify|install] {
//		notify | install
//		channel        stable|beta
//		check_interval <duration>
//		window         <days> <from>-<to> <time zone>
//		pin            <module> <version>
//		server         <url>
//		root           <file>
//		watch          <duration>
//	}
func (c *UpdatesConfig) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the option's name
	return c.unmarshalCaddyfile(d, d.Nesting())
}

func (c *UpdatesConfig) unmarshalCaddyfile(d *caddyfile.Dispenser, nesting int) error {
	if words := d.RemainingArgs(); len(words) > 0 {
		if err := c.takeWords(words); err != nil {
			return d.Errf("updates: %v", err)
		}
	}
	set := map[string]bool{}
	for d.NextBlock(nesting) {
		name := d.Val()
		if set[name] && name != "pin" {
			return d.Errf("updates: %s is set twice", name)
		}
		set[name] = true
		args := d.RemainingArgs()
		one := func(into *string) bool {
			if len(args) != 1 {
				return false
			}
			*into = args[0]
			return true
		}
		duration := func(into *caddy.Duration) error {
			if len(args) != 1 {
				return d.ArgErr()
			}
			v, err := caddy.ParseDuration(args[0])
			if err != nil {
				return d.Errf("updates: %s is %q: set a duration such as 6h", name, args[0])
			}
			*into = caddy.Duration(v)
			return nil
		}
		ok := true
		var err error
		switch name {
		case modeNotify, modeInstall:
			if c.Mode != "" {
				return d.Err("updates: set notify or install once")
			}
			c.Mode, ok = name, len(args) == 0
		case "channel":
			ok = one(&c.Channel)
		case "server":
			ok = one(&c.Server)
		case "root":
			ok = one(&c.Root)
		case "check_interval":
			err = duration(&c.CheckInterval)
		case "watch":
			err = duration(&c.Watch)
		case "window":
			ok = len(args) > 0
			c.Window = strings.Join(args, " ")
		case "pin":
			if ok = len(args) == 2; ok {
				if c.Pins == nil {
					c.Pins = map[string]string{}
				}
				if c.Pins[args[0]] != "" {
					return d.Errf("updates: %s is pinned twice", args[0])
				}
				c.Pins[args[0]] = args[1]
			}
		default:
			return d.Errf("updates: unknown option %q%s", name, nearest.Hint(name, updatesOptions))
		}
		if err != nil {
			return err
		}
		if !ok {
			return d.ArgErr()
		}
	}
	if err := c.check(); err != nil {
		return d.Err(err.Error())
	}
	return nil
}

// updatesOptions are what the block can have.
var updatesOptions = []string{"notify", "install", "channel", "check_interval", "window", "pin", "server", "root", "watch"}

var (
	_ caddyfile.Unmarshaler = (*UpdatesConfig)(nil)
	_ caddy.App             = (*UpdatesApp)(nil)
	_ caddy.Provisioner     = (*UpdatesApp)(nil)
)
