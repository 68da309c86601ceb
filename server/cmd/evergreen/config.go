package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"reflect"
	"strings"
	"time"

	"github.com/caddy-evergreen/evergreen/nearest"
	"github.com/caddy-evergreen/evergreen/server/campaigns"
)

// Config is the service's configuration: a JSON file, all of it optional. The
// zero value of a field takes the default that its comment names.
type Config struct {
	// Listen is the address to listen on; 127.0.0.1:8400. The service speaks
	// plain HTTP and is meant to stand behind a Caddy.
	Listen string `json:"listen"`
	// Data is the folder for everything the service keeps; ./evergreen-data.
	Data string `json:"data"`
	// Name is the service's name on its pages; "Evergreen".
	Name string `json:"name"`
	// TrustedProxies are the networks whose X-Forwarded-For is believed;
	// loopback addresses.
	TrustedProxies []netip.Prefix `json:"trusted_proxies"`
	// ReportEvery is how often instances are told to report; "5m".
	ReportEvery Duration `json:"report_every"`
	// Retired tells every instance to stop reporting for good.
	Retired bool `json:"retired"`
	// Log is the format of the log: "text" or "json"; "text".
	Log       string    `json:"log"`
	Limits    Limits    `json:"limits"`
	Retention Retention `json:"retention"`
	Privacy   Privacy   `json:"privacy"`
	Campaigns Campaigns `json:"campaigns"`
	Store     Store     `json:"store"`
}

// Limits bound what senders can ask of the service.
type Limits struct {
	// PerSender is how many requests a second one sender (an IPv4 address or
	// an IPv6 /64) may make on average; 50. The burst is ten times that.
	PerSender float64 `json:"per_sender"`
	// Global is the same for all of them together; 20000.
	Global float64 `json:"global"`
	// LogBytes is how large the log of raw reports may grow before the
	// service answers that it is full; 0 is no limit but the disk's.
	LogBytes int64 `json:"log_bytes"`
}

// Retention is how long things are kept; "0s" is for good.
type Retention struct {
	Raw    Duration `json:"raw"`    // raw reports; "2160h" (90 days)
	Window Duration `json:"window"` // sums of five minutes; "0s"
	Hour   Duration `json:"hour"`   // sums of an hour; "0s"
	Day    Duration `json:"day"`    // sums of a day; "0s"
}

// Privacy are the thresholds below which a public page shows no number that a
// country, network, version or the like was singled out for.
type Privacy struct {
	MinInstances uint64  `json:"min_instances"` // 0
	MinEvents    uint64  `json:"min_events"`    // 0
	MaxShare     float64 `json:"max_share"`     // greatest share of one instance, 0 to 1; 1
}

// Campaigns are attacks that many instances saw at the same time.
type Campaigns struct {
	// MinInstances is how many instances make a campaign; 5. If
	// privacy.min_instances is greater, that counts.
	MinInstances uint64 `json:"min_instances"`
	// Keep is for how long campaigns are listed; "720h" (30 days). Incidents
	// are kept a week longer, to compare with.
	Keep Duration `json:"keep"`
}

// Store configures the embedded database.
type Store struct {
	MemoryMiB int64 `json:"memory_mib"` // how much memory it may use; 1024
	Threads   int   `json:"threads"`    // how many; one for each CPU
}

// Duration is a time.Duration written as "5m" in JSON.
type Duration struct{ time.Duration }

// UnmarshalText reads what time.ParseDuration does.
func (d *Duration) UnmarshalText(b []byte) (err error) {
	d.Duration, err = time.ParseDuration(string(b))
	if err == nil && d.Duration < 0 {
		err = fmt.Errorf("duration %q is negative", b)
	}
	return err
}

func defaultConfig() Config {
	return Config{
		Listen:         "127.0.0.1:8400",
		Data:           "evergreen-data",
		Name:           "Evergreen",
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")},
		ReportEvery:    Duration{5 * time.Minute},
		Log:            "text",
		Limits:         Limits{PerSender: 50, Global: 20_000},
		Retention:      Retention{Raw: Duration{90 * 24 * time.Hour}},
		Campaigns:      Campaigns{MinInstances: campaigns.DefaultLeast, Keep: Duration{30 * 24 * time.Hour}},
		Store:          Store{MemoryMiB: 1024},
	}
}

// readConfig reads the file over the defaults. Unknown keys are refused with
// the nearest known one.
func readConfig(path string) (Config, error) {
	c := defaultConfig()
	if path == "" {
		return c, nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return c, fmt.Errorf("reading the configuration: %w", err)
	}
	if err := parseConfig(b, &c); err != nil {
		return c, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

func parseConfig(b []byte, c *Config) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(c); err != nil {
		if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
			name = strings.Trim(name, `"`)
			return fmt.Errorf("there is no setting %q%s", name, nearest.Hint(name, settings(reflect.TypeFor[Config]())))
		}
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is something after the configuration's end")
	}
	if c.Log != "text" && c.Log != "json" {
		return fmt.Errorf(`log is %q: write "text" or "json"`, c.Log)
	}
	return nil
}

func settings(t reflect.Type) []string {
	var names []string
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" {
			continue
		}
		names = append(names, name)
		if f.Type.Kind() == reflect.Struct {
			names = append(names, settings(f.Type)...)
		}
	}
	return names
}
