package build

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/server/artifact"
	"github.com/caddy-evergreen/evergreen/wire"
)

func exampleSpec() artifact.Spec {
	return artifact.Spec{Go: "go1.26.11", System: wire.System{OS: "linux", Arch: "amd64"}, Caddy: "v2.11.9", Service: "https://a.example",
		Plugins: []wire.ModuleVersion{{Path: "github.com/caddy-dns/cloudflare", Version: "v0.2.1"}}}
}

func written(t interface{ Fatal(...any) }, s artifact.Spec) []byte {
	b, err := json.Marshal(s.Canonical())
	if err != nil {
		t.Fatal(err)
	}
	return append([]byte(strings.TrimSuffix(specMark(), "{")), b...)
}

func TestFindSpec(t *testing.T) {
	want := exampleSpec()
	spec := written(t, want)
	other := want
	other.Caddy = "v2.11.8"
	pad := func(n int) []byte { return bytes.Repeat([]byte{0xcc}, n) }
	join := func(bs ...[]byte) []byte { return bytes.Join(bs, nil) }
	for name, c := range map[string]struct {
		in   []byte
		want string // of the error; "" is found
	}{
		"alone":               {spec, ""},
		"far in":              {join(pad(9<<20), spec, pad(1<<20)), ""},
		"at the end of piece": {join(pad(4<<20+maxSpec-20), spec, pad(100)), ""},
		"where pieces meet":   {join(pad(4<<20-5), spec, pad(100)), ""},
		"twice the same":      {join(spec, pad(5<<20), spec), ""},
		"after a bare mark":   {join([]byte(specMark()), pad(9), spec), ""},
		"two that differ":     {join(spec, pad(9), written(t, other)), "several specs"},
		"none":                {pad(5 << 20), ErrNoSpec.Error()},
		"cut off":             {spec[:len(spec)-1], ErrNoSpec.Error()},
		"not canonical":       {bytes.Replace(spec, []byte(`,"caddy"`), []byte(`, "caddy"`), 1), ErrNoSpec.Error()},
		"with something else": {bytes.Replace(spec, []byte(`"caddy"`), []byte(`"x":1,"caddy"`), 1), ErrNoSpec.Error()},
	} {
		got, err := FindSpec(bytes.NewReader(c.in))
		if c.want != "" {
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %v, want %q", name, err, c.want)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if d := cmp.Diff(want.Canonical(), got); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

// Any bytes give a spec that can be built and is written just so, or an error.
func FuzzFindSpec(f *testing.F) {
	f.Add(written(f, exampleSpec()))
	f.Add([]byte(specMark() + "}"))
	f.Add(append([]byte(specMark()), written(f, exampleSpec())...))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := FindSpec(bytes.NewReader(b))
		if err != nil {
			return
		}
		if err := Check(s); err != nil {
			t.Error(err)
		}
		if !bytes.Contains(b, written(t, s)) {
			t.Errorf("%+v is not in there", s)
		}
	})
}

// What passes Check means in go.mod and in Go source what it says.
func FuzzCheck(f *testing.F) {
	f.Add("github.com/caddy-dns/cloudflare", "v0.2.1", "https://a.example")
	f.Add("a.example/x\n\nreplace a => /b", "v1.0.0", "https://a.example -extld=x")
	f.Fuzz(func(t *testing.T, path, version, service string) {
		s := exampleSpec()
		s.Plugins = []wire.ModuleVersion{{Path: path, Version: version}}
		s.Service = service
		if err := Check(s); err != nil {
			if !errors.Is(err, ErrSpec) {
				t.Error(err)
			}
			return
		}
		if strings.ContainsAny(path+version+service, " \t\r\n\"`\\") {
			t.Errorf("%q %q %q passed", path, version, service)
		}
		mod := string(goMod(s))
		if got := strings.Count(mod, "\n"); got != 8 {
			t.Errorf("go.mod has %d lines:\n%s", got, mod)
		}
	})
}
