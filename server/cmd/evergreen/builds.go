package main

import (
	"cmp"
	"context"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-evergreen/evergreen/server/artifact"
	"github.com/caddy-evergreen/evergreen/server/build"
	"github.com/caddy-evergreen/evergreen/server/release"
	"github.com/caddy-evergreen/evergreen/server/rollout"
	"github.com/caddy-evergreen/evergreen/server/senders"
	"github.com/caddy-evergreen/evergreen/wire"
)

// buildsUser is who builds on a server that runs as root: a number that no
// system gives to anybody.
const buildsUser = 64123

// buildUser is 0, which changes nothing, where the caches are others' as well.
func (c Updates) buildUser() int {
	if c.ModCache != "" || c.GoCache != "" {
		return 0
	}
	return buildsUser
}

// newFront lets people and programs ask for builds.
func (u *updateService) newFront() (*build.Front, error) {
	c := u.config.Updates
	var plugins []build.Plugin
	for _, path := range slices.Sorted(maps.Keys(c.Plugins)) {
		plugins = append(plugins, build.Plugin{Path: path, About: c.Plugins[path]})
	}
	return build.NewFront(build.FrontConfig{
		Queue: u.queue, Own: u.own, Service: c.URL, Root: u.root, Plugins: plugins, PerHour: c.BuildsPerHour,
		Name: u.config.Name, Logger: u.log,
		Versions: newest{u.releases.Service, &build.ProxyVersions{Proxy: c.Proxy, Go: u.maker.GoVersion(), Client: &http.Client{Timeout: time.Minute}}},
		Attestation: func(b artifact.Build) string {
			if u.repo != nil {
				if path, ok := u.repo.Provenance(b.Spec.ID()); ok {
					return wire.PathTUF + path
				}
			}
			return ""
		},
		Operator: func(r *http.Request) bool {
			_, err := u.releases.Authorize(r, nil, wire.CaddyPath)
			return err == nil
		},
		Sender: func(r *http.Request) string {
			a := senders.Address(r, u.config.TrustedProxies)
			if a.Is6() {
				p, _ := a.Prefix(64)
				return p.String()
			}
			return a.String()
		},
	})
}

// newest is the newest stable release; of what has none here, what the module
// proxy says.
type newest struct {
	releases *release.Service
	proxy    *build.ProxyVersions
}

func (n newest) Latest(ctx context.Context, path string) (string, error) {
	all := n.releases.Snapshot().Releases(path)
	for _, r := range slices.Backward(all) {
		if r.Yanked == "" && r.Channel != wire.ChannelBeta {
			return r.Version, nil
		}
	}
	return n.proxy.Latest(ctx, path)
}

// rolledOut are the executables that live rollouts hand out.
type rolledOut struct{ rollouts *rollout.Rollouts }

func (p rolledOut) Pinned(ctx context.Context) (func(artifact.Spec) bool, error) {
	all, err := p.rollouts.List(ctx)
	if err != nil {
		return nil, err
	}
	live := map[wire.ModuleVersion]bool{}
	for _, r := range all {
		if r.State != rollout.Stopped {
			live[wire.ModuleVersion{Path: r.Path, Version: r.Version}] = true
		}
	}
	return func(s artifact.Spec) bool {
		return slices.ContainsFunc(versionsIn(s), func(m wire.ModuleVersion) bool { return live[m] })
	}, nil
}

// versionsIn are what a spec names that there can be a release of.
func versionsIn(s artifact.Spec) []wire.ModuleVersion {
	ms := []wire.ModuleVersion{{Path: wire.CaddyPath, Version: s.Caddy}, {Path: wire.Toolchain, Version: s.Go}, {Path: build.Module, Version: s.Evergreen}}
	for _, m := range slices.Concat(s.Plugins, s.Requires) {
		ms = append(ms, wire.ModuleVersion{Path: m.Path, Version: m.Version})
	}
	return ms
}

// publisher signs what is built.
type publisher struct{ *updateService }

func (p publisher) Publish(ctx context.Context, b artifact.Build, executable string) error {
	_, err := p.repo.Publish(ctx, p.described(b), executable)
	return err
}

// described says of a build what the releases in it say: the gravest severity,
// and the lowest kernels that all of them run on.
func (u *updateService) described(b artifact.Build) artifact.Build {
	snap := u.releases.Snapshot()
	for _, m := range versionsIn(b.Spec) {
		r, ok := snap.Release(m.Path, m.Version)
		if !ok {
			continue
		}
		if at := slices.Index(wire.Severities, r.Severity); at >= 0 && (b.Severity == "" || at < slices.Index(wire.Severities, b.Severity)) {
			b.Severity = r.Severity
		}
		raise(&b.MinKernel, r.MinKernel)
	}
	return b
}

// raise takes over what is higher, by operating system.
func raise(to *map[string]string, from map[string]string) {
	for system, version := range from {
		if compareVersions(version, (*to)[system]) > 0 {
			*to = maps.Clone(*to)
			if *to == nil {
				*to = map[string]string{}
			}
			(*to)[system] = version
		}
	}
}

// compareVersions compares those of systems: "6.1" and "6.12".
func compareVersions(a, b string) int {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i := range max(len(as), len(bs)) {
		if c := cmp.Compare(number(as, i), number(bs, i)); c != 0 {
			return c
		}
	}
	return 0
}

// number is -1 past the end, and of what is none.
func number(parts []string, i int) int {
	if i >= len(parts) {
		return -1
	}
	n, err := strconv.Atoi(parts[i])
	if err != nil {
		return -1
	}
	return n
}

// prewarmEvery is how soon after a release is tagged its popular builds begin.
const prewarmEvery = 5 * time.Second

// prewarm has popular builds made with each release that is tagged while the
// server runs.
func (u *updateService) prewarm(ctx context.Context) error {
	seen := map[wire.ModuleVersion]bool{}
	u.tagged(func(r wire.Release) { seen[wire.ModuleVersion{Path: r.Path, Version: r.Version}] = true })
	generation := u.releases.generation()
	t := time.NewTicker(prewarmEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		now := u.releases.generation()
		if now == generation {
			continue
		}
		generation = now
		var fresh []wire.Release
		u.tagged(func(r wire.Release) {
			m := wire.ModuleVersion{Path: r.Path, Version: r.Version}
			if !seen[m] {
				seen[m] = true
				fresh = append(fresh, r)
			}
		})
		for _, r := range fresh {
			if err := u.queue.Released(ctx, r); err != nil && ctx.Err() == nil {
				u.log.Warn("popular builds are not made ahead", "error", err)
			}
		}
	}
}

func (u *updateService) tagged(each func(wire.Release)) {
	snap := u.releases.Snapshot()
	for _, path := range snap.Paths() {
		for _, r := range snap.Releases(path) {
			if r.Tagged {
				each(r)
			}
		}
	}
}
