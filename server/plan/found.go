package plan

import (
	"context"
	"slices"

	"golang.org/x/mod/semver"

	"github.com/caddy-evergreen/evergreen/wire"
)

// Found are the releases that nobody tagged: those that a list of versions has.
type Found map[string][]wire.Release

// Releases are those of one module.
func (f Found) Releases(path string) []wire.Release { return f[path] }

// FoundReleases lists the versions of modules, and takes a patch version for a
// minor release and a minor version for a feature; betas are of their channel.
func FoundReleases(ctx context.Context, versions Versions, modules []string) (Found, error) {
	f := Found{}
	for _, path := range modules {
		vs, err := versions.Versions(ctx, path)
		if err != nil {
			return nil, err
		}
		for _, v := range vs {
			f[path] = append(f[path], FoundRelease(path, v))
		}
		slices.SortFunc(f[path], func(a, b wire.Release) int { return semver.Compare(a.Version, b.Version) })
	}
	return f, nil
}

// FoundRelease is a release that nobody tagged.
func FoundRelease(path, version string) wire.Release {
	r := wire.Release{Path: path, Version: version, Severity: wire.SeverityMinor, Channel: wire.ChannelStable}
	if semver.Canonical(version) == semver.MajorMinor(version)+".0" {
		r.Severity = wire.SeverityFeature
	}
	if semver.Prerelease(version) != "" {
		r.Channel = wire.ChannelBeta
	}
	return r
}
