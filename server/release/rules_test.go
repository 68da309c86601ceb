package release

import (
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"

	"github.com/caddy-evergreen/evergreen/wire"
)

func TestFound(t *testing.T) {
	for _, c := range []struct{ path, version, want string }{
		{"m", "v1.2.3", "minor stable"}, {"m", "v1.2.0", "feature stable"}, {"m", "v2.0.0+incompatible", "feature stable"},
		{"m", "v1.2.0-rc.1", "feature beta"}, {"m", "v1.2.3-beta.2", "minor beta"},
		{"m", "v0.0.0-20240101000000-80962887e4c6", "minor beta"}, {"m", "v1.2.4-0.20240101000000-80962887e4c6", "minor beta"},
		{wire.Toolchain, "go1.26.11", "minor stable"}, {wire.Toolchain, "go1.27.0", "feature stable"}, {wire.Toolchain, "go1.20", "feature stable"},
		{wire.Toolchain, "go1.20.1", "minor stable"}, {wire.Toolchain, "go1.27rc2", "feature beta"}, {wire.Toolchain, "go1.18beta1", "feature beta"},
	} {
		r := Found(c.path, c.version, time.Unix(0, 0))
		if got := string(r.Severity) + " " + string(r.Channel); got != c.want || r.Tagged {
			t.Errorf("%s %s is %s, not %s", c.path, c.version, got, c.want)
		}
	}
}

func TestCovers(t *testing.T) {
	for _, c := range []struct {
		pattern, path string
		want          bool
	}{
		{"*", "a/b", true}, {"*", "*", true}, {"a/b", "a/b", true}, {"a/b", "a/b/c", false}, {"a/b", "a/b/...", false}, {"a/b", "*", false},
		{"a/...", "a/b", true}, {"a/...", "a", true}, {"a/...", "ab", false}, {"a/...", "a/b/...", true}, {"a/...", "a/...", true},
		{"a/b/...", "a/...", false}, {"a/...", "*", false},
	} {
		if got := covers(c.pattern, c.path); got != c.want {
			t.Errorf("covers(%q, %q) = %v", c.pattern, c.path, got)
		}
	}
}

func TestProxyOf(t *testing.T) {
	for in, want := range map[string]string{
		"https://proxy.example,direct": "https://proxy.example", "direct": "", "off": "", "": "",
		"file:///x|http://127.0.0.1:3000/p": "http://127.0.0.1:3000/p",
	} {
		if got := ProxyOf(in); got != want {
			t.Errorf("ProxyOf(%q) = %q, not %q", in, got, want)
		}
	}
	if _, err := newProxy("https://user:secret@", nil); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("a proxy without a host gets %v", err)
	}
}

func FuzzParseList(f *testing.F) {
	f.Add("m.example/a", []byte("v1.0.0\nv1.2.3-rc.1 2026-01-01T00:00:00Z\nv0.0.0-20170512130425-ab89591268e0\n"))
	f.Add(wire.Toolchain, []byte("v0.0.1-go1.26.1.linux-amd64\nv0.0.1-go1.9rc2.windows-amd64"))
	f.Fuzz(func(t *testing.T, path string, body []byte) {
		seen := map[string]bool{}
		for _, v := range parseList(path, "linux-amd64", body) {
			if seen[v] || checkVersion(path, v) != nil || module.IsPseudoVersion(v) {
				t.Errorf("%q of %q", v, path)
			}
			seen[v] = true
			Found(path, v, time.Time{})
			number(path, v)
		}
	})
}

func FuzzParseInfo(f *testing.F) {
	f.Add([]byte(`{"Version": "v1.0.0", "Time": "2026-11-01T00:00:00Z"}`))
	f.Add([]byte(`{"Version": 1}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		if v, err := parseInfo(body); (v == "") != (err != nil) {
			t.Errorf("%q, %v", v, err)
		}
	})
}

func FuzzParseRetractions(f *testing.F) {
	f.Add([]byte("module m\n\n// all wrong\nretract (\n\tv1.0.0\n\t[v1.1.0, v1.2.0] // some\n)\n"))
	f.Fuzz(func(t *testing.T, mod []byte) {
		rs, err := parseRetractions(mod)
		if err != nil {
			return
		}
		for _, r := range rs {
			if !semver.IsValid(r.low) || !semver.IsValid(r.high) || r.why != "" && checkLine("why", r.why, maxReason) != nil {
				t.Errorf("%+v", r)
			}
		}
	})
}

func FuzzTag(f *testing.F) {
	f.Add([]byte(`{"path": "m.example/a", "version": "v1.2.3", "severity": "critical", "links": ["https://x.example/y"], "min_kernel": {"linux": "3.2"}}`))
	f.Add([]byte(`{"path": "toolchain", "version": "go1.26.11", "severity": "minor", "channel": "beta", "notes": "a\nb", "step": true}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		var tag Tag
		if decode(body, &tag) != nil {
			return
		}
		r, err := tag.release("x", time.Unix(0, 0))
		if err != nil {
			return
		}
		if checkVersion(r.Path, r.Version) != nil || !r.Tagged || len(r.Notes) > maxNotes || strings.ContainsRune(r.Notes, 0) || len(r.Links) > maxLinks {
			t.Errorf("%+v", r)
		}
	})
}
