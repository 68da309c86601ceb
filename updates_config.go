package evergreen

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-evergreen/evergreen/nearest"
	"github.com/caddy-evergreen/evergreen/updater"
	"github.com/caddy-evergreen/evergreen/wire"
)

// UpdatesConfig is which updates are installed, and how: "updates" below
// apps.evergreen, or the Caddyfile's global option updates. The zero value
// installs critical updates where that is safe (see [UpdatesConfig.Mode]).
//
// Each option that is not set here is taken from the environment
// (EVERGREEN_UPDATES and others), and what is not set there has a default. Any
// off switch wins: the scope none here, or EVERGREEN_UPDATES=off.
type UpdatesConfig struct {
	// Scope is all, feature, important, critical (the default) or none. None
	// means off: no request is made and no file written.
	Scope string `json:"scope,omitempty"`

	// Mode is install or notify: tell of updates, and don't install them. The
	// default is install; it is notify in containers, where a package manager
	// has claimed the updating, and where the data directory can't be written or
	// executed from. Said here or in the environment, install overrides that.
	Mode string `json:"mode,omitempty"`

	// Channel is stable (the default) or beta.
	Channel string `json:"channel,omitempty"`

	// CheckInterval is how often the service is asked; 0: as often as it says,
	// within bounds. Each wait is jittered.
	CheckInterval caddy.Duration `json:"check_interval,omitempty"`

	// Window is when an update may be switched to: days, hours and a time zone,
	// such as "Sat,Sun 02:00-05:00 Europe/Berlin". Without one it is at any time.
	Window string `json:"window,omitempty"`

	// Pins are modules that keep a version: path → version.
	Pins map[string]string `json:"pins,omitempty"`

	// Server is the update service's base URL, if it is not the one that built
	// this executable.
	Server string `json:"server,omitempty"`

	// Root is a file with the root metadata to trust, if it is not that of the
	// service that built this executable.
	Root string `json:"root,omitempty"`

	// Watch is how long an update is watched before it is called good; 0 is ten
	// minutes.
	Watch caddy.Duration `json:"watch,omitempty"`
}

var updatesKeys = []string{"scope", "mode", "channel", "check_interval", "window", "pins", "server", "root", "watch"}

// The modes of updates.
const (
	modeNotify  = "notify"
	modeInstall = "install"
)

// Bounds of what can be set.
const (
	minCheckInterval = time.Minute
	maxCheckInterval = 30 * 24 * time.Hour
	minWatch         = 10 * time.Second
	maxWatch         = 24 * time.Hour
	defaultWatch     = 10 * time.Minute
)

// UnmarshalJSON is strict, and names the nearest option to an unknown one.
func (c *UpdatesConfig) UnmarshalJSON(b []byte) error {
	type plain UpdatesConfig // without this method
	return decodeOptions(b, "updates", updatesKeys, (*plain)(c))
}

// check reports the first option whose value can't be used.
func (c *UpdatesConfig) check() error {
	if c.Scope != "" {
		if _, err := parseScope(c.Scope); err != nil {
			return fmt.Errorf("updates: %w", err)
		}
	}
	switch c.Mode {
	case "", modeNotify, modeInstall:
	default:
		return fmt.Errorf("updates: mode is %.40q: set notify or install", c.Mode)
	}
	switch wire.Channel(c.Channel) {
	case "", wire.ChannelStable, wire.ChannelBeta:
	default:
		return fmt.Errorf("updates: channel is %.40q: set stable or beta", c.Channel)
	}
	if d := time.Duration(c.CheckInterval); d != 0 && (d < minCheckInterval || d > maxCheckInterval) {
		return fmt.Errorf("updates: check_interval is %s: set a minute to 30 days, or leave it to the service", d)
	}
	if d := time.Duration(c.Watch); d != 0 && (d < minWatch || d > maxWatch) {
		return fmt.Errorf("updates: watch is %s: set 10 seconds to a day", d)
	}
	if c.Window != "" {
		if _, err := updater.ParseWindow(c.Window); err != nil {
			return fmt.Errorf("updates: %w", err)
		}
	}
	if err := checkURL("server", c.Server); err != nil {
		return fmt.Errorf("updates: %w", err)
	}
	if len(c.Pins) > wire.MaxPins {
		return fmt.Errorf("updates: there are %d pins: at most %d are taken", len(c.Pins), wire.MaxPins)
	}
	for _, path := range slices.Sorted(maps.Keys(c.Pins)) {
		if err := checkPin(path, c.Pins[path]); err != nil {
			return fmt.Errorf("updates: %w", err)
		}
	}
	return nil
}

// parseScope reads a scope; off is none.
func parseScope(s string) (wire.Scope, error) {
	if s == "off" {
		return wire.ScopeNone, nil
	}
	scope, err := wire.ParseScope(s)
	if err != nil {
		var names []string
		for _, k := range wire.Scopes {
			names = append(names, string(k))
		}
		return "", fmt.Errorf("scope is %.40q%s", s, nearest.Hint(s, names))
	}
	return scope, nil
}

func checkPin(path, version string) error {
	switch {
	case path == "" || len(path) > wire.MaxFactString || strings.ContainsAny(path, " \t@"):
		return fmt.Errorf("pin: %.70q is no path of a module, such as github.com/mholt/caddy-ratelimit", path)
	case version == "" || len(version) > wire.MaxFactString || path != wire.Toolchain && !strings.HasPrefix(version, "v"):
		return fmt.Errorf("pin: %.70q is no version of %s: set one such as v1.2.3", version, path)
	}
	return nil
}

// updatesEnv is what the environment says of updates. What can't be read is
// left out, and named in the error.
func updatesEnv(getenv func(string) string) (UpdatesConfig, error) {
	var (
		c    UpdatesConfig
		errs []error
	)
	set := func(name string, take func(value string) error) {
		value := strings.TrimSpace(getenv(name))
		if value == "" {
			return
		}
		was := c
		err := take(value)
		if err == nil {
			err = c.check()
		}
		if err != nil {
			c = was
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
	}
	duration := func(d *caddy.Duration) func(string) error {
		return func(v string) error {
			parsed, err := caddy.ParseDuration(v)
			*d = caddy.Duration(parsed)
			return err
		}
	}
	set("EVERGREEN_UPDATES", func(v string) error {
		if isOff(v) {
			c.Scope = string(wire.ScopeNone)
			return nil
		}
		err := c.takeWords(strings.Fields(v))
		if c.Scope == "off" {
			c.Scope = string(wire.ScopeNone)
		}
		return err
	})
	set("EVERGREEN_UPDATES_CHANNEL", func(v string) error { c.Channel = v; return nil })
	set("EVERGREEN_UPDATES_CHECK_INTERVAL", duration(&c.CheckInterval))
	set("EVERGREEN_UPDATES_WINDOW", func(v string) error { c.Window = v; return nil })
	set("EVERGREEN_UPDATES_WATCH", duration(&c.Watch))
	set("EVERGREEN_UPDATES_SERVER", func(v string) error { c.Server = v; return nil })
	set("EVERGREEN_UPDATES_PINS", func(v string) error {
		pins := map[string]string{}
		for _, word := range strings.FieldsFunc(v, func(r rune) bool { return r == ' ' || r == ',' }) {
			path, version, _ := strings.Cut(word, "@")
			pins[path] = version
		}
		c.Pins = pins
		return nil
	})
	set("EVERGREEN_ROOT", func(v string) error { c.Root = v; return nil })
	if len(errs) > 0 {
		// Something else was meant than what holds now: what is least regretted?
		c.Mode = modeNotify
		errs = append(errs, errors.New("until it can be read, updates are only told of"))
	}
	return c, errors.Join(errs...)
}

// takeWords reads what the option and EVERGREEN_UPDATES have in common: a scope,
// and a mode.
func (c *UpdatesConfig) takeWords(words []string) error {
	if len(words) == 0 || len(words) > 2 {
		return errors.New("set a scope (all, feature, important, critical or none), and notify or install if you like")
	}
	for i, w := range words {
		switch w {
		case modeNotify, modeInstall:
			if c.Mode != "" {
				return errors.New("set notify or install once")
			}
			c.Mode = w
		default:
			if i > 0 {
				return fmt.Errorf("%.40q is neither notify nor install", w)
			}
			if _, err := parseScope(w); err != nil {
				return err
			}
			c.Scope = w
		}
	}
	return nil
}

// over is c, with what it leaves open taken from o.
func (c UpdatesConfig) over(o UpdatesConfig) UpdatesConfig {
	first := func(s *string, other string) {
		if *s == "" {
			*s = other
		}
	}
	first(&c.Scope, o.Scope)
	first(&c.Mode, o.Mode)
	first(&c.Channel, o.Channel)
	first(&c.Window, o.Window)
	first(&c.Server, o.Server)
	first(&c.Root, o.Root)
	if c.CheckInterval == 0 {
		c.CheckInterval = o.CheckInterval
	}
	if c.Watch == 0 {
		c.Watch = o.Watch
	}
	if c.Pins == nil {
		c.Pins = o.Pins
	}
	return c
}
