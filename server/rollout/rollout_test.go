package rollout

import (
	"context"
	"encoding/binary"
	"errors"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/caddy-evergreen/evergreen/server/control"
	"github.com/caddy-evergreen/evergreen/wire"
)

func instance(n int) (id wire.InstanceID) {
	binary.BigEndian.PutUint64(id[:], uint64(n)*0x9e3779b97f4a7c15)
	return id
}

// The share of instances is the one asked for, within what chance allows, and
// who was reached stays so.
func TestReached(t *testing.T) {
	const n = 100_000
	r := Rollout{ID: "0123456789abcdef", State: Running}
	before := make([]bool, n)
	for _, share := range []float64{0, 0.001, 0.01, 0.25, 0.5, 1} {
		r.Share = share
		reached := 0
		for i := range n {
			in := r.Reached(instance(i))
			if before[i] && !in {
				t.Fatalf("instance %d was reached and is not at %g", i, share)
			}
			if before[i] = in; in {
				reached++
			}
		}
		// Five standard deviations of a binomial distribution: one in two million.
		if off, most := math.Abs(float64(reached)-share*n), 5*math.Sqrt(n*share*(1-share)); off > most {
			t.Errorf("%g of instances should be %g, and is %d", share, share*n, reached)
		}
	}
	for share, want := range map[float64]bool{0: false, 0.999999: false, 1: true} {
		r.Share = share
		if got := r.Reached(wire.InstanceID{}); got != want {
			t.Errorf("who has no id is reached at %g: %v", share, got)
		}
	}
	// Another rollout begins with others.
	a, b, both := Rollout{ID: "a", Share: 0.1}, Rollout{ID: "b", Share: 0.1}, 0
	for i := range n {
		if a.Reached(instance(i)) && b.Reached(instance(i)) {
			both++
		}
	}
	if both < 800 || both > 1200 {
		t.Errorf("%d instances are first in two rollouts, not about 1000", both)
	}
}

func open(t *testing.T, where string) *Rollouts {
	t.Helper()
	db, err := control.Open(t.Context(), where)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	r, err := Open(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// A rollout's life, seen from two servers.
func TestLife(t *testing.T) {
	ctx := t.Context()
	where := "sqlite:" + filepath.Join(t.TempDir(), "control.db")
	here, there := open(t, where), open(t, where)
	o, err := here.Create(ctx, wire.CaddyPath, "v2.11.9", 0.05, "ann", "first")
	if err != nil {
		t.Fatal(err)
	}
	var in, out wire.InstanceID // of the first 5 %, of the last 50
	for i := 0; !o.Reached(in); i++ {
		in = instance(i)
	}
	half := o
	half.Share = 0.5
	for i := 1; out == (wire.InstanceID{}) || half.Reached(out); i++ {
		out = instance(i)
	}
	check := func(what string, forIn, forOut string) {
		t.Helper()
		if err := there.Refresh(ctx); err != nil {
			t.Fatal(err)
		}
		for id, want := range map[wire.InstanceID]string{in: forIn, out: forOut} {
			for server, r := range map[string]*Rollouts{"here": here, "there": there} {
				var got string
				for _, h := range r.Held(id) {
					got += h.Path + " " + h.Version + ": " + h.Why
				}
				if want != "" {
					want = wire.CaddyPath + " v2.11.9: " + strings.TrimPrefix(want, wire.CaddyPath+" v2.11.9: ")
				}
				if got != want {
					t.Errorf("%s, %s: held is %q, want %q", what, server, got, want)
				}
			}
		}
	}
	step := func(_ Rollout, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check("created", "", "its rollout has reached 5 % of instances")
	step(there.Ramp(ctx, o.ID, 0.5, "ben", ""))
	if err := here.Refresh(ctx); err != nil {
		t.Fatal(err)
	}
	check("ramped", "", "its rollout has reached 50 % of instances")
	step(here.Pause(ctx, o.ID, "ann", "errors rise"))
	check("paused", "its rollout is paused", "its rollout is paused")
	step(here.Resume(ctx, o.ID, "ann", ""))
	step(here.Ramp(ctx, o.ID, 1, "ann", ""))
	check("complete", "", "")
	step(here.Stop(ctx, o.ID, "ann", "withdrawn"))
	check("stopped", "its rollout is stopped", "its rollout is stopped")

	got, err := there.Get(ctx, o.ID)
	if err != nil {
		t.Fatal(err)
	}
	want := []Event{
		{By: "ann", What: "create", Share: 0.05, Why: "first"}, {By: "ben", What: "ramp", Share: 0.5},
		{By: "ann", What: "pause", Share: 0.5, Why: "errors rise"}, {By: "ann", What: "resume", Share: 0.5},
		{By: "ann", What: "ramp", Share: 1}, {By: "ann", What: "stop", Share: 1, Why: "withdrawn"},
	}
	if d := cmp.Diff(want, got.History, cmpopts.IgnoreFields(Event{}, "Time")); d != "" {
		t.Error(d)
	}

	// After a stop the release can be brought out anew, and the newest holds.
	step(here.Create(ctx, wire.CaddyPath, "v2.11.9", 1, "ann", ""))
	check("anew", "", "")
}

func TestRefused(t *testing.T) {
	ctx := t.Context()
	r := open(t, "sqlite:"+filepath.Join(t.TempDir(), "control.db"))
	o, err := r.Create(ctx, wire.CaddyPath, "v2.11.9", 0.5, "ann", "")
	if err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]func(context.Context) error{
		"second": func(ctx context.Context) error {
			_, err := r.Create(ctx, wire.CaddyPath, "v2.11.9", 1, "ben", "")
			return err
		},
		"lower":    func(ctx context.Context) error { _, err := r.Ramp(ctx, o.ID, 0.4, "ben", ""); return err },
		"over":     func(ctx context.Context) error { _, err := r.Ramp(ctx, o.ID, 1.1, "ben", ""); return err },
		"nan":      func(ctx context.Context) error { _, err := r.Ramp(ctx, o.ID, math.NaN(), "ben", ""); return err },
		"nameless": func(ctx context.Context) error { _, err := r.Create(ctx, "", "v1.0.0", 1, "ben", ""); return err },
	} {
		var refused *Refused
		if err := f(ctx); !errors.As(err, &refused) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := r.Pause(ctx, "nobody", "ben", ""); !errors.Is(err, ErrUnknown) {
		t.Errorf("unknown: %v", err)
	}
	if got, err := r.Get(ctx, o.ID); err != nil || got.Share != 0.5 || len(got.History) != 1 {
		t.Errorf("%+v, %v: what was refused changed something", got, err)
	}
}
