package updater

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/caddy-evergreen/evergreen/wire"
)

func TestLowerRelease(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"5.10", "6.1", true}, {"6.1", "5.10", false}, {"5.9", "5.10", true}, {"5.10.0-28-amd64", "5.10", false}, {"6.18", "6.18.1", true},
		{"5.10.0", "5.10", false}, {"", "1", true}, {"garbage", "0", false}, {"4.4.302+", "4.4.303", true}, {"99999999999999999999", "5", true},
	} {
		if got := lowerRelease(c.a, c.b); got != c.want {
			t.Errorf("%q below %q: %v", c.a, c.b, got)
		}
	}
}

func TestOlder(t *testing.T) {
	for _, c := range []struct {
		path, v, than string
		want          bool
	}{
		{wire.CaddyPath, "v2.11.3", "v2.11.9", true}, {wire.CaddyPath, "v2.11.10", "v2.11.9", false}, {wire.CaddyPath, "v2.11.9", "v2.11.9", false},
		{wire.CaddyPath, "v2.11.9-beta.1", "v2.11.9", true}, {wire.CaddyPath, "(devel)", "v2.11.9", false}, {wire.CaddyPath, "v2.11.3", "(devel)", false},
		{wire.Toolchain, "go1.26.3", "go1.26.11", true}, {wire.Toolchain, "go1.27.0", "go1.26.11", false}, {wire.Toolchain, "go1.26rc1", "go1.26.0", true},
		{"example.com/p", "v0.0.0-20260101000000-abcdefabcdef", "v0.0.0-20260201000000-abcdefabcdef", true},
	} {
		if got := older(c.path, c.v, c.than); got != c.want {
			t.Errorf("%s %s older than %s: %v", c.path, c.v, c.than, got)
		}
	}
}

// Whatever a service answers, what is accepted of it can be kept, and has a
// target that names no other place than its slot.
func FuzzAnswer(f *testing.F) {
	seed := offer("v2.11.3", "v2.11.9", wire.SeverityCritical)
	f.Add(marshal(f, seed), []byte(`{"go":"go1.26.3","caddy":"v2.11.9","plugins":[{"path":"example.com/plugin","version":"v1.0.0"}]}`))
	seed.Target.Size = -1
	f.Add(marshal(f, seed), []byte(`[]`))
	f.Add([]byte(`{"needs_update":true}`), []byte(`null`))
	f.Add([]byte(`{"needs_update":true,"plan":{"changes":[{"path":"toolchain","to":"go1"}]},"target":{"sha256":"`+strings.Repeat("A", 64)+`"}}`), []byte(`{"caddy":"v0"}`))
	self := wire.Check{Build: build("v2.11.3", "v1.0.0"), System: wire.System{OS: "linux", Arch: "amd64", Kernel: "6.1"}}
	f.Fuzz(func(t *testing.T, answer, spec []byte) {
		var a wire.Answer
		if json.Unmarshal(answer, &a) != nil {
			return
		}
		if err := acceptVouched(self, wire.TargetCustom{Kind: wire.TargetExecutable, Spec: spec}); err == nil && len(spec) > 0 {
			var s struct{ Caddy string }
			if json.Unmarshal(spec, &s) != nil || older(wire.CaddyPath, s.Caddy, "v2.11.3") {
				t.Errorf("%s is vouched for", spec)
			}
		}
		if acceptAnswer(self, a) != nil || !a.NeedsUpdate {
			return
		}
		j := journal{Version: journalVersion, State: Checked}
		n := noticeOf(*a.Plan, "v2.11.3")
		n.Why = reasonFor(self, a)
		j.Notice = &n
		if a.Target != nil {
			j.Attempt = &attempt{Candidate: Candidate{Slot: a.Target.SHA256, Target: *a.Target, Plan: *a.Plan, Version: versionOf(a.Plan, "v2.11.3")}}
		}
		b, err := json.MarshalIndent(j, "", "\t")
		if err != nil || len(b) > maxJournal {
			t.Fatalf("it can't be kept: %d bytes, %v", len(b), err)
		}
		if _, err := parseJournal(b); err != nil {
			t.Errorf("it is not read again: %v", err)
		}
	})
}
