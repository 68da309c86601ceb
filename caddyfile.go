package evergreen

import (
	"encoding/json"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"

	"github.com/caddy-evergreen/evergreen/nearest"
)

func init() {
	httpcaddyfile.RegisterGlobalOption("evergreen", parseGlobalOption)
}

func parseGlobalOption(d *caddyfile.Dispenser, _ any) (any, error) {
	var c Config
	if err := c.UnmarshalCaddyfile(d); err != nil {
		return nil, err
	}
	b, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	return httpcaddyfile.App{Name: "evergreen", Value: b}, nil
}

// UnmarshalCaddyfile reads the global option:
//
//	evergreen [off|on] {
//		telemetry   on|off
//		endpoint    <url>
//		metrics_off <name or prefix>...
//		label       <label>
//		updates     …  (see [UpdatesConfig.UnmarshalCaddyfile])
//	}
func (c *Config) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the option's name
	if d.NextArg() {
		switch d.Val() {
		case "on", "off":
			c.Telemetry = d.Val()
		default:
			return d.Errf("evergreen takes on, off or a block, not %q", d.Val())
		}
		if d.NextArg() {
			return d.ArgErr()
		}
	}
	for d.NextBlock(0) {
		name := d.Val()
		var one *string
		switch name {
		case "telemetry":
			one = &c.Telemetry
		case "endpoint":
			one = &c.Endpoint
		case "label":
			one = &c.Label
		case "metrics_off":
			names := d.RemainingArgs()
			if len(names) == 0 {
				return d.ArgErr()
			}
			c.MetricsOff = append(c.MetricsOff, names...)
			continue
		case "updates":
			if c.Updates != nil {
				return d.Err("evergreen: updates is set twice")
			}
			c.Updates = new(UpdatesConfig)
			if err := c.Updates.unmarshalCaddyfile(d, d.Nesting()); err != nil {
				return err
			}
			continue
		default:
			return d.Errf("evergreen: unknown option %q%s", name, nearest.Hint(name, configKeys))
		}
		if *one != "" {
			return d.Errf("evergreen: %s is set twice", name)
		}
		if !d.AllArgs(one) {
			return d.ArgErr()
		}
	}
	if err := c.check(); err != nil {
		return d.Errf("evergreen: %v", err)
	}
	return nil
}

var _ caddyfile.Unmarshaler = (*Config)(nil)
