package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/caddy-evergreen/evergreen/nearest"
	"github.com/caddy-evergreen/evergreen/server/campaigns"
	"github.com/caddy-evergreen/evergreen/server/goenv"
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
	// Simulated says that what is reported is made up, as by `evergreen bench
	// fleet`: every page and the data set say so; false. A data folder with a
	// file SIMULATED is.
	Simulated bool `json:"simulated"`
	// Log is the format of the log: "text" or "json"; "text".
	Log       string    `json:"log"`
	Limits    Limits    `json:"limits"`
	Retention Retention `json:"retention"`
	Privacy   Privacy   `json:"privacy"`
	Campaigns Campaigns `json:"campaigns"`
	Dataset   Dataset   `json:"dataset"`
	Alerts    Alerts    `json:"alerts"`
	Store     Store     `json:"store"`
	// Roles are what this server does; all of collect, dashboard, updates and
	// build.
	Roles   []string `json:"roles"`
	Updates Updates  `json:"updates"`
}

// The roles of a server.
const (
	roleCollect   = "collect"   // take reports and sum them up
	roleDashboard = "dashboard" // show them
	roleUpdates   = "updates"   // answer whether an update is needed, and serve it
	roleBuild     = "build"     // build and sign executables; needs updates
)

var roles = []string{roleCollect, roleDashboard, roleUpdates, roleBuild}

// storeFile is the store's, in the data folder.
const storeFile = "evergreen.duckdb"

// simulated tells whether what is in the data folder is made up.
func (c *Config) simulated() (bool, error) {
	if c.Simulated {
		return true, nil
	}
	_, err := os.Stat(filepath.Join(c.Data, simulatedFile))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("looking whether the data folder is simulated: %w", err)
	}
	return true, nil
}

func (c *Config) has(role string) bool { return slices.Contains(c.Roles, role) }

// Updates configure the update service.
type Updates struct {
	// URL is this service's own, as instances reach it; it is embedded in what
	// is built. "" leaves it out: such an executable asks where its
	// configuration says.
	URL string `json:"url"`
	// Control is where releases, rollouts and builds are kept: "sqlite:PATH" or
	// "postgres://USER@HOST/DATABASE"; a file in the data folder.
	Control string `json:"control"`
	// AdminToken is the file that gets the first administrator's token;
	// admin-token in the data folder.
	AdminToken string `json:"admin_token"`
	// TwoPeople asks for a second person's approval of what is tagged critical;
	// false.
	TwoPeople bool `json:"two_people"`
	// CheckEvery is how often instances are told to ask; "6h".
	CheckEvery Duration `json:"check_every"`
	// Advisories is the Go vulnerability database: a folder, a zip or a URL in
	// the published layout; "" is none. Scores is a source of severities, "".
	Advisories string `json:"advisories"`
	Scores     string `json:"scores"`
	// Proxy, SumDB, NoSumDB and Private are as GOPROXY, GOSUMDB, GONOSUMDB and
	// GOPRIVATE, and taken from them.
	Proxy   string `json:"proxy"`
	SumDB   string `json:"sumdb"`
	NoSumDB string `json:"no_sumdb"`
	Private string `json:"private"`
	// Keys is the folder of the online keys that `evergreen keys init` makes;
	// keys in the data folder. Without it nothing is signed.
	Keys string `json:"keys"`
	// Repository is where signed executables are: a folder, or the URL of a
	// bucket; tuf in the data folder.
	Repository string `json:"repository"`
	// RepositoryMiB is how much room signed executables may take, whole,
	// compressed and as deltas; those that nobody asked for lately go first, a
	// day after they were withdrawn; 65536, and 0 keeps all.
	RepositoryMiB int64 `json:"repository_mib"`
	// Builds is how many run at once, each in a GiB of memory; half the CPUs.
	Builds int `json:"builds"`
	// ExecutablesMiB is how much room executables may take; 20480.
	ExecutablesMiB int64 `json:"executables_mib"`
	// Plugins are those that are built, each with a word about it for the build
	// page: {"github.com/caddy-dns/cloudflare": "DNS challenges by Cloudflare"};
	// any. An empty object builds none.
	Plugins map[string]string `json:"plugins"`
	// BuildsPerHour is how many new builds one sender may ask for; 20. What is
	// built already can be had at any time.
	BuildsPerHour float64 `json:"builds_per_hour"`
	// Isolate refuses to build where the system has no namespaces; false.
	Isolate bool `json:"isolate"`
	// Source is a folder with our module's source, to build with; the copy in
	// this program. ModCache and GoCache are folders for `go`; in the data folder.
	Source   string `json:"source"`
	ModCache string `json:"mod_cache"`
	GoCache  string `json:"go_cache"`
	// Cache is a folder for the vulnerability database; in the data folder.
	Cache string `json:"cache"`
}

// complete fills in what follows from the data folder and the environment.
func (c *Config) complete() error {
	for _, r := range c.Roles {
		if !slices.Contains(roles, r) {
			return fmt.Errorf("there is no role %q%s: roles are %s", r, nearest.Hint(r, roles), strings.Join(roles, ", "))
		}
	}
	if c.has(roleBuild) && !c.has(roleUpdates) {
		return errors.New("the role build needs the role updates")
	}
	if c.has(roleCollect) != c.has(roleDashboard) {
		// They share the embedded database, which one process has.
		return errors.New("the roles collect and dashboard are had together, as long as the store is the embedded one")
	}
	u := &c.Updates
	in := func(field *string, name string) {
		if *field == "" {
			*field = filepath.Join(c.Data, name)
		}
	}
	in(&u.Keys, "keys")
	in(&u.Repository, "tuf")
	in(&u.AdminToken, "admin-token")
	in(&u.Cache, "vulndb")
	if u.Control == "" {
		u.Control = controlIn(c.Data)
	}
	for name, field := range map[string]*string{"GOPROXY": &u.Proxy, "GOSUMDB": &u.SumDB, "GOPRIVATE": &u.Private, "GONOSUMDB": &u.NoSumDB} {
		if *field == "" {
			*field = goenv.Get(name) // GONOSUMDB is GOPRIVATE by itself
		}
	}
	return nil
}

// controlIn is the control state of a service that keeps its data in a folder.
func controlIn(data string) string { return "sqlite:" + filepath.Join(data, "control.db") }

// Limits bound what senders can ask of the service.
type Limits struct {
	// PerSender is how many requests a second one sender (an IPv4 address or
	// an IPv6 /64) may make on average; 50. The burst is ten times that.
	PerSender float64 `json:"per_sender"`
	// Global is the same for all of them together; 20000.
	Global float64 `json:"global"`
	// Reading is how many answers a second one sender may have from the public
	// API on average, and how much of its pages, each of which counts as five
	// answers; 20. The burst is twenty times that; 0 is no limit.
	Reading float64 `json:"reading"`
	// LogBytes is how large the log of raw reports may grow before the
	// service answers that it is full; 0 is no limit but the disk's.
	LogBytes int64 `json:"log_bytes"`
}

// burst is how many requests a sender may make at once.
func (l Limits) burst() int { return max(1, int(10*l.PerSender)) }

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

// Dataset is what is published for anyone to have. Its privacy rule is Privacy's,
// or, where that hides nothing, that of a public data set.
type Dataset struct {
	Publish bool `json:"publish"` // false
	// Delay is how long after its end an hour or day is published; "1h". What
	// is reported later is left out.
	Delay       Duration `json:"delay"`
	Licence     string   `json:"licence"` // SPDX identifier; "CC-BY-4.0"
	Attribution string   `json:"attribution"`
}

// Alerts tell subscribers when a number departs from what is usual for it.
type Alerts struct {
	// Private lets webhooks go to private addresses, and without TLS: where all
	// who can subscribe are trusted; false.
	Private bool `json:"private"`
	Most    int  `json:"most"` // subscriptions; 5000
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
		Limits:         Limits{PerSender: 50, Global: 20_000, Reading: 20},
		Retention:      Retention{Raw: Duration{90 * 24 * time.Hour}},
		Campaigns:      Campaigns{MinInstances: campaigns.DefaultLeast, Keep: Duration{30 * 24 * time.Hour}},
		Dataset:        Dataset{Delay: Duration{time.Hour}, Licence: "CC-BY-4.0"},
		Alerts:         Alerts{Most: 5000},
		Store:          Store{MemoryMiB: 1024},
		Roles:          slices.Clone(roles),
		Updates:        Updates{CheckEvery: Duration{6 * time.Hour}, ExecutablesMiB: 20 << 10, RepositoryMiB: 64 << 10},
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
