package wire_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/wire"
)

func goodCheck() wire.Check {
	return wire.Check{
		Build: wire.BuildList{Go: "go1.26.3", Modules: []wire.ModuleVersion{
			{Path: wire.CaddyPath, Version: "v2.11.3"}, {Path: "golang.org/x/net", Version: "v0.53.0"},
		}},
		System: wire.System{OS: "linux", Arch: "amd64", Kernel: "6.1.0-18-amd64"},
		Scope:  wire.ScopeCritical, Channel: wire.ChannelStable,
		Pins: map[string]string{"golang.org/x/net": "v0.53.0"}, SHA256: strings.Repeat("ab", 32),
	}
}

func TestParseCheck(t *testing.T) {
	want := goodCheck()
	b, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := wire.ParseCheck(b)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	for name, change := range map[string]func(*wire.Check){
		"scope":   func(c *wire.Check) { c.Scope = "some" },
		"channel": func(c *wire.Check) { c.Channel = "nightly" },
		"os":      func(c *wire.Check) { c.System.OS = "../etc" },
		"kernel":  func(c *wire.Check) { c.System.Kernel = "6.1; rm" },
		"hash":    func(c *wire.Check) { c.SHA256 = "abc" },
		"go":      func(c *wire.Check) { c.Build.Go = "1.26" },
		"pin":     func(c *wire.Check) { c.Pins = map[string]string{"": "v1"} },
	} {
		c := goodCheck()
		change(&c)
		b, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := wire.ParseCheck(b); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	for _, s := range []string{"", "{}", "[]", string(b) + "x", `{"unknown": 1}`} {
		if _, err := wire.ParseCheck([]byte(s)); err == nil {
			t.Errorf("%.20q: no error", s)
		}
	}
}

func FuzzParseCheck(f *testing.F) {
	b, err := json.Marshal(goodCheck())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"build":{"go":"go1","modules":[]}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := wire.ParseCheck(b)
		if err != nil {
			return
		}
		again, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		d, err := wire.ParseCheck(again)
		if err != nil {
			t.Fatalf("what was read is refused when written again: %v", err)
		}
		if diff := cmp.Diff(c, d); diff != "" {
			t.Error(diff)
		}
	})
}
