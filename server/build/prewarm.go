package build

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"golang.org/x/mod/semver"

	"github.com/caddy-evergreen/evergreen/server/artifact"
	"github.com/caddy-evergreen/evergreen/wire"
)

const (
	maxPrewarm = 20
	// prewarmFrom is how many of the most popular builds are looked at.
	prewarmFrom = 500
)

// Prewarm asks for specs that nobody waits for yet, as many as there is room for.
func (q *Queue) Prewarm(ctx context.Context, specs []artifact.Spec) error {
	for _, s := range specs {
		if _, err := q.Ask(ctx, s, PriorityPrewarm); errors.Is(err, ErrFull) {
			return nil
		} else if err != nil {
			return err
		}
	}
	return nil
}

// Released prewarms the builds that were handed out most, with a release in
// the place of an older version. Their fleets ask for that soon.
func (q *Queue) Released(ctx context.Context, r wire.Release) error {
	if r.Yanked != "" || r.Channel == wire.ChannelBeta {
		return nil
	}
	var popular []row
	err := q.cfg.DB.Read(ctx, func(tx *sql.Tx) (err error) {
		popular, err = list(ctx, tx, "state IN "+quoted(done, evicted)+" AND handed > 0 ORDER BY handed DESC, used DESC LIMIT $1", prewarmFrom)
		return err
	})
	if err != nil {
		return fmt.Errorf("looking for popular builds: %w", err)
	}
	var specs []artifact.Spec
	seen := map[string]bool{}
	for _, p := range popular {
		s, ok := raise(p.spec, r)
		if !ok || seen[s.ID()] {
			continue
		}
		seen[s.ID()] = true
		if specs = append(specs, s); len(specs) == maxPrewarm {
			break
		}
	}
	return q.Prewarm(ctx, specs)
}

// raise is a spec with a release in the place of an older version; false if
// that is not in it.
func raise(s artifact.Spec, r wire.Release) (artifact.Spec, bool) {
	older := func(version *string) bool {
		if semver.Compare(*version, r.Version) >= 0 {
			return false
		}
		*version = r.Version
		return true
	}
	s = s.Canonical() // with lists of its own
	switch r.Path {
	case wire.CaddyPath:
		return s, older(&s.Caddy)
	case Module:
		return s, s.Evergreen != "" && older(&s.Evergreen)
	case wire.Toolchain:
		if semver.Compare(goSemver(s.Go), goSemver(r.Version)) >= 0 {
			return s, false
		}
		s.Go = r.Version
		return s, true
	}
	for _, ms := range [][]wire.ModuleVersion{s.Plugins, s.Requires} {
		for i := range ms {
			if ms[i].Path == r.Path {
				return s, older(&ms[i].Version)
			}
		}
	}
	return s, false
}

// goSemver is a toolchain as a semantic version: "go1.26rc1" is before
// "go1.26.0".
func goSemver(s string) string {
	m := goVersion.FindStringSubmatch(s)
	if m == nil {
		return ""
	}
	v := "v" + s[len("go"):]
	if len(m[1]) > 1 && m[1][:2] == "rc" {
		return v[:len(v)-len(m[1])] + ".0-rc." + m[1][2:]
	}
	return v
}
