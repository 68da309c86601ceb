package plan

import (
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/server/control"
	"github.com/caddy-evergreen/evergreen/wire"
)

// What one server found not to compile is known after a restart, and to another.
func TestKept(t *testing.T) {
	ctx, where := t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "control.db")
	open := func() *Kept {
		t.Helper()
		db, err := control.Open(ctx, where)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		k, err := OpenKept(ctx, db)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	first := open()
	p := Pair{wire.ModuleVersion{Path: "cel", Version: "v0.30.0"}, wire.ModuleVersion{Path: wire.CaddyPath, Version: "v2.11.4"}, "undefined: x"}
	q := Pair{wire.ModuleVersion{Path: "quic", Version: "v0.59.1"}, wire.ModuleVersion{Path: wire.CaddyPath, Version: "v2.9.1"}, "too many arguments"}
	before := first.Generation()
	for _, f := range []Pair{q, p, p} {
		if err := first.Forbid(ctx, f); err != nil {
			t.Fatal(err)
		}
	}
	for name, k := range map[string]*Kept{"the same": first, "another": open()} {
		got, err := k.Forbidden(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff([]Pair{p, q}, got); d != "" {
			t.Errorf("%s: %s", name, d)
		}
		if k.Generation() == before {
			t.Errorf("%s: the generation has not changed", name)
		}
	}
}
