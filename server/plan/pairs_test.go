package plan_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/server/control"
	"github.com/caddy-evergreen/evergreen/server/plan"
	"github.com/caddy-evergreen/evergreen/wire"
)

// TestPairs: what does not compile is known to another process, and after this
// one ended.
func TestPairs(t *testing.T) {
	ctx := context.Background()
	where := "sqlite:" + filepath.Join(t.TempDir(), "control.db")
	open := func() *plan.Pairs {
		t.Helper()
		db, err := control.Open(ctx, where)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		p, err := plan.NewPairs(ctx, db, nil)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	first := open()
	pair := plan.Pair{
		Module: wire.ModuleVersion{Path: full("dep"), Version: "v1.2.0"}, With: wire.ModuleVersion{Path: wire.CaddyPath, Version: "v2.0.0"},
		Words: "undefined: dep.X",
	}
	for range 2 {
		if err := first.Forbid(ctx, pair); err != nil {
			t.Fatal(err)
		}
	}
	w := chain().vulnerable("A", "dep ..v1.2.0 critical")
	for _, p := range []*plan.Pairs{first, open()} {
		got, err := p.Forbidden(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff([]plan.Pair{pair}, got); d != "" {
			t.Errorf("pairs (-want +got):\n%s", d)
		}
		planner, err := plan.New(plan.Config{Advisories: func() plan.Advisories { return w }, GoMods: w, Versions: w, Memory: p})
		if err != nil {
			t.Fatal(err)
		}
		found, err := planner.Plan(ctx, wire.Check{Build: build("caddy v2.0.0, dep v1.0.0"), Scope: wire.ScopeAll})
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff("dep v1.0.0>v1.3.0 A", short(found)); d != "" {
			t.Errorf("plan (-want +got):\n%s", d)
		}
	}
	if n, err := first.Forget(ctx, full("dep"), "v1.2.0"); n != 1 || err != nil {
		t.Errorf("forgot %d pairs, error %v", n, err)
	}
	if got, err := first.Forbidden(ctx); len(got) > 0 || err != nil {
		t.Errorf("pairs %v, error %v", got, err)
	}
}
