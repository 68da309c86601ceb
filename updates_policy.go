package evergreen

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-evergreen/evergreen/inventory"
	"github.com/caddy-evergreen/evergreen/wire"
)

// managedFile is how a package manager, or whatever else brings executables,
// says that it does the updating.
const managedFile = "/etc/caddy/evergreen.managed"

// updatesDir is where all of updates is kept.
func updatesDir() string { return filepath.Join(caddy.AppDataDir(), "evergreen", "updates") }

// An updatesPolicy is what the configuration, the environment, the build and the
// machine together say of updates.
type updatesPolicy struct {
	Off     string // why nothing is asked or written; "": on
	Scope   wire.Scope
	Channel wire.Channel
	// Notify is why updates are only told of; "": they are installed.
	Notify string
	Said   bool          // the operator said notify
	Every  time.Duration // 0: as the service says
	Watch  time.Duration
	Window string
	Pins   map[string]string
	Server string
	Root   string // a file with root metadata; "": that of RootSum
	// RootSum is the SHA-256 of the root metadata that the build trusts, in
	// hexadecimal.
	RootSum string
}

// surroundings are what the machine says about who updates this Caddy.
type surroundings struct {
	os        string
	container string // kind of container; "none"
	managed   bool   // the marker file exists
	folder    error  // why the updates folder can't be used
}

func currentSurroundings() surroundings {
	s := surroundings{os: runtime.GOOS, container: inventory.ContainerKind()}
	_, err := os.Stat(managedFile)
	s.managed = err == nil
	s.folder = usableFolder(updatesDir())
	return s
}

// resolveUpdates gives a policy to go on with also if something can't be used,
// and says what.
func resolveUpdates(own, option *UpdatesConfig, getenv func(string) string, build buildSpec, around func() surroundings) (updatesPolicy, error) {
	env, err := updatesEnv(getenv)
	var c UpdatesConfig
	switch {
	case own != nil:
		c = *own
	case option != nil:
		c = *option
	}
	configured := c
	c = c.over(env)
	p := updatesPolicy{
		Channel: wire.Channel(cmp.Or(c.Channel, string(wire.ChannelStable))),
		Every:   time.Duration(c.CheckInterval), Watch: cmp.Or(time.Duration(c.Watch), defaultWatch),
		Window: c.Window, Pins: c.Pins, Root: c.Root,
	}
	p.Scope, _ = parseScope(cmp.Or(c.Scope, string(wire.ScopeCritical)))
	switch envScope, _ := parseScope(env.Scope); {
	case envScope == wire.ScopeNone:
		p.Scope, p.Off = wire.ScopeNone, "EVERGREEN_UPDATES in the environment"
	case p.Scope == wire.ScopeNone:
		p.Off = "updates none in the configuration"
	}
	if p.Off != "" {
		return p, err
	}
	// A service that was named and can't be understood is not the build's.
	p.Server = c.Server
	if p.Server == "" && strings.TrimSpace(getenv("EVERGREEN_UPDATES_SERVER")) == "" && checkURL("server", build.Service) == nil {
		p.Server = build.Service
	}
	if p.Server == "" {
		p.Off = "no update service is known: set `updates { server … }`, or EVERGREEN_UPDATES_SERVER"
		return p, err
	}
	if p.Root == "" {
		p.RootSum = build.Root
	}
	p.Notify = notifyWhy(c, configured, getenv, p, around)
	p.Said = c.Mode == modeNotify
	return p, err
}

// updatesWanted tells whether updates may be on in a configuration that does not
// speak of them.
func updatesWanted(getenv func(string) string) bool {
	p, _ := resolveUpdates(nil, nil, getenv, builtFrom(BuildSpec), func() surroundings { return surroundings{} })
	return p.Off == ""
}

// notifyWhy tells why updates are not installed; "" if they are.
func notifyWhy(c, configured UpdatesConfig, getenv func(string) string, p updatesPolicy, around func() surroundings) string {
	s := around()
	switch {
	case s.os == "windows":
		return "on Windows a process can't become another executable"
	case p.Root == "" && p.RootSum == "":
		return "there is no root of trust to verify updates with: set `updates { root FILE }`, or EVERGREEN_ROOT"
	case c.Mode == modeInstall:
		return ""
	case c.Mode == modeNotify && configured.Mode == modeNotify:
		return "the configuration says notify"
	case c.Mode == modeNotify:
		return "the environment says notify"
	case isTrue(getenv("EVERGREEN_MANAGED")):
		return "EVERGREEN_MANAGED is set: something else updates this Caddy"
	case s.managed:
		return managedFile + " exists: something else updates this Caddy"
	case s.container != "" && s.container != "none" && s.container != "wsl":
		return fmt.Sprintf("Caddy runs in a container (%s), and a new image brings what is in it: `updates %s install` overrides", s.container, p.Scope)
	case s.folder != nil:
		return s.folder.Error()
	}
	return ""
}

// usableFolder tells why executables can't be kept in a folder, which need not
// exist, and executed from there. It changes nothing.
func usableFolder(dir string) error {
	for at := filepath.Clean(dir); ; at = filepath.Dir(at) {
		info, err := os.Stat(at)
		switch {
		case err == nil && !info.IsDir():
			return fmt.Errorf("%s is no folder, so that nothing can be kept in %s", at, dir)
		case err == nil:
			return folderUse(at)
		case !errors.Is(err, os.ErrNotExist) || at == filepath.Dir(at):
			return fmt.Errorf("the folder for updates can't be used: %w", err)
		}
	}
}
