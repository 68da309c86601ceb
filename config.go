package evergreen

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"github.com/caddy-evergreen/evergreen/nearest"
	"github.com/caddy-evergreen/evergreen/wire"
)

// DefaultEndpoint is where reports go unless the configuration or the
// environment names another place. A build sets it with
//
//	-ldflags "-X github.com/caddy-evergreen/evergreen.DefaultEndpoint=https://…"
//
// Where it is empty, it is the service that built the executable (BuildSpec).
// Where there is none and nothing else is set, nothing is sent; the local views
// (admin API, command, Prometheus) still work.
var DefaultEndpoint string

// Config is the app's configuration: the JSON below apps.evergreen, or the
// Caddyfile's global option evergreen. The zero value works.
//
// Any off switch wins: telemetry "off" here, EVERGREEN_TELEMETRY=off, or
// DO_NOT_TRACK=1 in the environment. For the endpoint, the configuration goes
// before EVERGREEN_ENDPOINT, and that before the build's DefaultEndpoint.
type Config struct {
	// Telemetry is "on" (the default) or "off". Off means that nothing is
	// recorded, written or sent. Where updates are not installed either,
	// Caddy's servers are left untouched; else requests are counted to judge
	// updates by, on this machine and for nothing else.
	Telemetry string `json:"telemetry,omitempty"`

	// Endpoint is the service's base URL.
	Endpoint string `json:"endpoint,omitempty"`

	// MetricsOff names metrics that are neither counted nor reported: exact
	// names of the dictionary, or prefixes of them up to a dot.
	MetricsOff []string `json:"metrics_off,omitempty"`

	// Label tells a fleet's instances from others: 1 to 32 of a-z, 0-9 and "-".
	Label string `json:"label,omitempty"`

	// Updates is which updates are installed, and how. It is independent of
	// Telemetry: each works without the other.
	Updates *UpdatesConfig `json:"updates,omitempty"`
}

var configKeys = []string{"telemetry", "endpoint", "metrics_off", "label", "updates"}

// UnmarshalJSON is strict, and names the nearest option to an unknown one.
func (c *Config) UnmarshalJSON(b []byte) error {
	type plain Config // without this method
	return decodeOptions(b, "evergreen", configKeys, (*plain)(c))
}

// decodeOptions decodes an object that has no other fields than keys.
func decodeOptions(b []byte, what string, keys []string, into any) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(b, &fields); err != nil {
		return fmt.Errorf("%s: expected an object with the options %s", what, strings.Join(keys, ", "))
	}
	for name := range fields {
		if !known(name, keys) {
			return fmt.Errorf("%s: unknown option %q%s", what, name, nearest.Hint(name, keys))
		}
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	return d.Decode(into)
}

func known(name string, names []string) bool {
	for _, n := range names {
		if n == name {
			return true
		}
	}
	return false
}

var labelForm = regexp.MustCompile(`^[a-z0-9-]{1,32}$`)

// check reports the first option whose value can't be used.
func (c *Config) check() error {
	switch c.Telemetry {
	case "", "on", "off":
	default:
		return fmt.Errorf("telemetry is %q: set on or off", c.Telemetry)
	}
	if err := checkEndpoint(c.Endpoint); err != nil {
		return err
	}
	if c.Label != "" && !labelForm.MatchString(c.Label) {
		return fmt.Errorf("label is %q: use 1 to 32 of a-z, 0-9 and -", c.Label)
	}
	for _, name := range c.MetricsOff {
		if len(wire.MetricsUnder(name)) == 0 {
			return fmt.Errorf("metrics_off: there is no metric %q%s", name, nearest.Hint(name, metricNames()))
		}
	}
	if c.Updates != nil {
		return c.Updates.check()
	}
	return nil
}

func checkEndpoint(s string) error { return checkURL("endpoint", s) }

// checkURL refuses what is no base URL; empty is none.
func checkURL(option, s string) error {
	if s == "" {
		return nil
	}
	u, err := url.Parse(s)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return fmt.Errorf("%s is %.200q: set a base URL such as https://evergreen.example.com", option, s)
	}
	return nil
}

// metricNames lists the names and prefixes that metrics_off takes.
func metricNames() []string {
	var names []string
	seen := map[string]bool{}
	for _, m := range wire.Metrics() {
		if m.Kind.FromServer() {
			continue
		}
		for name := m.Name; name != "" && !seen[name]; {
			seen[name] = true
			names = append(names, name)
			i := strings.LastIndexByte(name, '.')
			if i < 0 {
				break
			}
			name = name[:i]
		}
	}
	return names
}

// settings is a configuration together with what the environment and the build
// say.
type settings struct {
	Endpoint   string
	MetricsOff []string
	Label      string
	Timing     wire.Timing
	// Off tells which switch turned telemetry off; empty is on.
	Off string
}

// resolve returns settings to go on with also if a variable in the environment
// can't be used.
func (c *Config) resolve(getenv func(string) string) (settings, error) {
	s := settings{Endpoint: c.Endpoint, MetricsOff: c.MetricsOff, Label: c.Label}
	s.Off = switchedOffBy(getenv)
	if c.Telemetry == "off" {
		s.Off = "telemetry off in the configuration"
	}
	if s.Off != "" {
		return s, nil
	}
	var err error
	s.Timing, err = wire.TimingFromEnv(getenv)
	if s.Endpoint != "" {
		return s, err
	}
	s.Endpoint = getenv("EVERGREEN_ENDPOINT")
	if bad := checkEndpoint(s.Endpoint); bad != nil {
		// The operator meant another place than the build's default.
		s.Endpoint = ""
		return s, errors.Join(err, fmt.Errorf("EVERGREEN_ENDPOINT: %w", bad))
	}
	if s.Endpoint == "" {
		s.Endpoint = DefaultEndpoint
	}
	if service := builtFrom(BuildSpec).Service; s.Endpoint == "" && checkEndpoint(service) == nil {
		s.Endpoint = service
	}
	return s, err
}

// switchedOffBy tells what in the environment turns telemetry off; empty is nothing.
func switchedOffBy(getenv func(string) string) string {
	switch {
	case isOff(getenv("EVERGREEN_TELEMETRY")):
		return "EVERGREEN_TELEMETRY in the environment"
	case isTrue(getenv("DO_NOT_TRACK")):
		return "DO_NOT_TRACK in the environment"
	}
	return ""
}

func isOff(v string) bool {
	switch strings.ToLower(strings.TrimSpace(v)) {
	case "off", "0", "false", "no":
		return true
	}
	return false
}

func isTrue(v string) bool {
	switch strings.ToLower(strings.TrimSpace(v)) {
	case "1", "true", "yes", "on":
		return true
	}
	return false
}
