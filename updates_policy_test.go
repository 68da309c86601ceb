package evergreen

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/wire"
)

func TestResolveUpdates(t *testing.T) {
	ours := buildSpec{Service: "https://built.example", Root: "abc"}
	machine := surroundings{os: "linux", container: "none"}
	on := func(change func(*updatesPolicy)) updatesPolicy {
		p := updatesPolicy{
			Scope: wire.ScopeCritical, Channel: wire.ChannelStable, Watch: 10 * time.Minute, Server: "https://built.example", RootSum: "abc",
		}
		if change != nil {
			change(&p)
		}
		return p
	}
	off := func(why string) updatesPolicy {
		return updatesPolicy{Off: why, Scope: wire.ScopeNone, Channel: wire.ChannelStable, Watch: 10 * time.Minute}
	}
	for _, test := range []struct {
		name        string
		own, option *UpdatesConfig
		env         map[string]string
		build       buildSpec
		around      surroundings
		want        updatesPolicy
		err         string
	}{
		{"default", nil, nil, nil, ours, machine, on(nil), ""},
		{"none", nil, &UpdatesConfig{Scope: "none"}, nil, ours, machine, off("updates none in the configuration"), ""},
		{"off in the environment wins", &UpdatesConfig{Scope: "all", Mode: "install"}, nil, map[string]string{"EVERGREEN_UPDATES": "off"}, ours, machine, off("EVERGREEN_UPDATES in the environment"), ""},
		{"none in the configuration wins", &UpdatesConfig{Scope: "none"}, nil, map[string]string{"EVERGREEN_UPDATES": "all"}, ours, machine, off("updates none in the configuration"), ""},
		{
			"the configuration goes first", &UpdatesConfig{Scope: "feature", Server: "https://c.example"}, nil,
			map[string]string{"EVERGREEN_UPDATES": "all", "EVERGREEN_UPDATES_SERVER": "https://e.example", "EVERGREEN_UPDATES_CHANNEL": "beta"}, ours, machine,
			on(func(p *updatesPolicy) {
				p.Scope, p.Server, p.Channel = wire.ScopeFeature, "https://c.example", wire.ChannelBeta
			}), "",
		},
		{
			"the global option", nil, &UpdatesConfig{Scope: "all", CheckInterval: caddy.Duration(time.Hour)}, nil, ours, machine,
			on(func(p *updatesPolicy) { p.Scope, p.Every = wire.ScopeAll, time.Hour }), "",
		},
		{
			"no service", nil, nil, nil, buildSpec{}, machine,
			updatesPolicy{
				Off: "no update service is known: set `updates { server … }`, or EVERGREEN_UPDATES_SERVER", Scope: wire.ScopeCritical,
				Channel: wire.ChannelStable, Watch: 10 * time.Minute,
			}, "",
		},
		{
			"no root", &UpdatesConfig{Server: "https://c.example", Mode: "install"}, nil, nil, buildSpec{}, machine,
			on(func(p *updatesPolicy) {
				p.Server, p.RootSum, p.Notify = "https://c.example", "", "there is no root of trust to verify updates with: set `updates { root FILE }`, or EVERGREEN_ROOT"
			}), "",
		},
		{
			"another root", &UpdatesConfig{Root: "/root.json"}, nil, nil, ours, machine,
			on(func(p *updatesPolicy) { p.Root, p.RootSum = "/root.json", "" }), "",
		},
		{
			"container", nil, nil, nil, ours, surroundings{os: "linux", container: "docker"},
			on(func(p *updatesPolicy) {
				p.Notify = "Caddy runs in a container (docker), and a new image brings what is in it: `updates critical install` overrides"
			}), "",
		},
		{"container, explicitly", nil, &UpdatesConfig{Mode: "install"}, nil, ours, surroundings{os: "linux", container: "docker"}, on(nil), ""},
		{"container, explicitly in the environment", nil, nil, map[string]string{"EVERGREEN_UPDATES": "critical install"}, ours, surroundings{os: "linux", container: "docker"}, on(nil), ""},
		{"wsl", nil, nil, nil, ours, surroundings{os: "linux", container: "wsl"}, on(nil), ""},
		{
			"claimed", nil, nil, nil, ours, surroundings{os: "linux", container: "none", managed: true},
			on(func(p *updatesPolicy) { p.Notify = managedFile + " exists: something else updates this Caddy" }), "",
		},
		{
			"claimed in the environment", nil, nil, map[string]string{"EVERGREEN_MANAGED": "1"}, ours, machine,
			on(func(p *updatesPolicy) { p.Notify = "EVERGREEN_MANAGED is set: something else updates this Caddy" }), "",
		},
		{"claimed, explicitly", nil, &UpdatesConfig{Mode: "install"}, map[string]string{"EVERGREEN_MANAGED": "1"}, ours, machine, on(nil), ""},
		{
			"folder", nil, nil, nil, ours, surroundings{os: "linux", container: "none", folder: errors.New("it is full")},
			on(func(p *updatesPolicy) { p.Notify = "it is full" }), "",
		},
		{
			"windows", &UpdatesConfig{Mode: "install"}, nil, nil, ours, surroundings{os: "windows", container: "none"},
			on(func(p *updatesPolicy) { p.Notify = "on Windows a process can't become another executable" }), "",
		},
		{
			"notify", &UpdatesConfig{Mode: "notify"}, nil, nil, ours, machine,
			on(func(p *updatesPolicy) { p.Notify, p.Said = "the configuration says notify", true }), "",
		},
		{
			"an unreadable scope", nil, nil, map[string]string{"EVERGREEN_UPDATES": "most"}, ours, machine,
			on(func(p *updatesPolicy) { p.Notify, p.Said = "the environment says notify", true }), "EVERGREEN_UPDATES",
		},
		{
			"an unreadable service", nil, nil, map[string]string{"EVERGREEN_UPDATES_SERVER": "here"}, ours, machine,
			updatesPolicy{
				Off: "no update service is known: set `updates { server … }`, or EVERGREEN_UPDATES_SERVER", Scope: wire.ScopeCritical,
				Channel: wire.ChannelStable, Watch: 10 * time.Minute,
			}, "EVERGREEN_UPDATES_SERVER",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := resolveUpdates(test.own, test.option, func(k string) string { return test.env[k] }, test.build, func() surroundings { return test.around })
			if err == nil != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Errorf("error %v, want %q", err, test.err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("policy (-want +got):\n%s", diff)
			}
		})
	}
}

func TestUsableFolder(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := usableFolder(filepath.Join(dir, "a", "b")); err != nil {
		t.Errorf("a folder that can be made: %v", err)
	}
	if err := usableFolder(filepath.Join(file, "b")); err == nil {
		t.Error("a folder below a file is usable")
	}
	if _, err := os.Stat(filepath.Join(dir, "a")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("looking made a folder: %v", err)
	}
}
