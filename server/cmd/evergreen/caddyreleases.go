package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"text/tabwriter"

	"golang.org/x/mod/semver"

	"github.com/caddy-evergreen/evergreen/server/gomods"
	"github.com/caddy-evergreen/evergreen/server/plan"
	"github.com/caddy-evergreen/evergreen/server/vulndb"
	"github.com/caddy-evergreen/evergreen/wire"
)

// caddyVersions are the releases of Caddy 2 that a module proxy serves. Lists of
// versions have gaps, so versions are asked for one by one: the next patch, and
// where two are missing the next minor, until three of those are missing.
func caddyVersions(ctx context.Context, mods *gomods.Source) ([]string, error) {
	listed, err := mods.Versions(ctx, wire.CaddyPath)
	if err != nil {
		return nil, err
	}
	known := map[string]bool{}
	for _, v := range listed {
		known[v] = semver.Prerelease(v) == ""
	}
	var found []string
	for minor, empty := 0, 0; empty < 3; minor++ {
		before := len(found)
		for patch, missing := 0, 0; missing < 2; patch++ {
			v := fmt.Sprintf("v2.%d.%d", minor, patch)
			_, err := mods.GoMod(ctx, wire.CaddyPath, v)
			switch {
			case err == nil:
				found, missing = append(found, v), 0
			case errors.Is(err, fs.ErrNotExist) && !known[v]:
				missing++
			case !errors.Is(err, fs.ErrNotExist):
				return nil, err
			}
		}
		if empty++; len(found) > before {
			empty = 0
		}
	}
	return found, nil
}

// caddyReleases prints a table of plans, a line for each release of Caddy and
// each scope.
func (f *planFlags) caddyReleases(ctx context.Context, stdout, stderr io.Writer) error {
	dir, err := f.folder()
	if err != nil {
		return err
	}
	mods, err := moduleSource(filepath.Join(dir, "mod"))
	if err != nil {
		return err
	}
	versions, err := caddyVersions(ctx, mods)
	if err != nil {
		return err
	}
	db, err := vulndb.Open(ctx, f.vulndb, vulndb.Options{Cache: dir, Scores: f.scores})
	if err != nil {
		return fmt.Errorf("%w (give another database with --vulndb)", err)
	}
	known := plan.Found{}
	for _, v := range versions {
		known[wire.CaddyPath] = append(known[wire.CaddyPath], plan.FoundRelease(wire.CaddyPath, v))
	}
	p, err := plan.New(plan.Config{
		Advisories: func() plan.Advisories { return db }, Releases: func() plan.Releases { return known }, GoMods: mods, Versions: mods,
		MaxGoMods: 50_000, // the first releases are of before Go 1.17
	})
	if err != nil {
		return err
	}
	scopes := []wire.Scope{wire.ScopeImportant, wire.ScopeAll}
	if f.scope != "" {
		scopes = []wire.Scope{wire.Scope(f.scope)}
	}
	var rows []releaseRow
	for _, v := range versions {
		build, err := p.Fresh(ctx, v)
		if err != nil {
			return fmt.Errorf("the build list of Caddy %s: %w", v, err)
		}
		for _, scope := range scopes {
			c := wire.Check{Build: build}
			f.scope = string(scope)
			if err := f.complete(&c); err != nil {
				return err
			}
			found, err := p.Plan(ctx, c)
			if err != nil {
				return fmt.Errorf("planning for Caddy %s: %w", v, err)
			}
			rows = append(rows, rowOf(v, scope, c, found))
			fmt.Fprintf(stderr, "Caddy %s, scope %s\n", v, scope)
		}
	}
	if f.json {
		return writeJSON(stdout, rows)
	}
	return printRows(stdout, asOf(db.AsOf()), rows)
}

// A releaseRow is the plan for one release of Caddy and one scope.
type releaseRow struct {
	Caddy   string     `json:"caddy"`
	Go      string     `json:"go"`      // the lowest that it can be built with
	Modules int        `json:"modules"` // in the build list
	Scope   wire.Scope `json:"scope"`
	Reasons int        `json:"reasons"` // of changes
	// What changes: Caddy and Go to a version, "" if not; dependencies that are
	// raised, and all that change.
	ToCaddy string   `json:"to_caddy,omitempty"`
	ToGo    string   `json:"to_go,omitempty"`
	Raised  []string `json:"raised,omitempty"`
	Changed int      `json:"changed"`
	Unfixed int      `json:"unfixed"`
}

func rowOf(v string, scope wire.Scope, c wire.Check, p wire.Plan) releaseRow {
	r := releaseRow{Caddy: v, Go: c.Build.Go, Modules: len(c.Build.Modules), Scope: scope, Changed: len(p.Changes), Unfixed: len(p.Unfixed)}
	for _, k := range p.Changes {
		r.Reasons += len(k.Reasons)
		switch k.Kind {
		case wire.ChangeCaddy:
			r.ToCaddy = k.To
		case wire.ChangeToolchain:
			r.ToGo = k.To
		}
	}
	for _, m := range p.Roots {
		if m.Path != wire.CaddyPath {
			r.Raised = append(r.Raised, m.String())
		}
	}
	slices.Sort(r.Raised)
	return r
}

func printRows(w io.Writer, database string, rows []releaseRow) error {
	fmt.Fprintf(w, "Database %s\n\n", database)
	t := tabwriter.NewWriter(w, 0, 0, 1, ' ', 0)
	fmt.Fprint(t, "| Caddy\t| Go\t| modules\t| scope\t| reasons\t| Caddy to\t| Go to\t| raised\t| changed\t| unfixed\t|\n")
	fmt.Fprint(t, "| ---\t| ---\t| ---:\t| ---\t| ---:\t| ---\t| ---\t| ---:\t| ---:\t| ---:\t|\n")
	for _, r := range rows {
		fmt.Fprintf(t, "| %s\t| %s\t| %d\t| %s\t| %d\t| %s\t| %s\t| %d\t| %d\t| %d\t|\n",
			r.Caddy, r.Go, r.Modules, r.Scope, r.Reasons, orDash(r.ToCaddy), orDash(r.ToGo), len(r.Raised), r.Changed, r.Unfixed)
	}
	return t.Flush()
}
