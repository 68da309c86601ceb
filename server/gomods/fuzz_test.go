package gomods

import (
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"
)

// FuzzVersions: whatever a proxy lists, versions come out in order, once each.
func FuzzVersions(f *testing.F) {
	f.Add([]byte("v1.2.0\nv1.0.0 2020-01-02T03:04:05Z\nv1.0.0\nnonsense\nv0.0.0-20200102030405-000000000000\r\n"))
	f.Add([]byte("\x00\nv1"))
	f.Fuzz(func(t *testing.T, b []byte) {
		vs := versions(b)
		if !slices.IsSortedFunc(vs, semver.Compare) {
			t.Errorf("%q is not in order", vs)
		}
		for i, v := range vs {
			if !semver.IsValid(v) || module.IsPseudoVersion(v) || i > 0 && vs[i-1] == v {
				t.Errorf("%q is among %q", v, vs)
			}
		}
	})
}

// FuzzFile: no path or version leads out of the folder.
func FuzzFile(f *testing.F) {
	f.Add("github.com/BurntSushi/toml", "v1.0.0")
	f.Add("../../etc", "v1.0.0/../../passwd")
	f.Fuzz(func(t *testing.T, path, version string) {
		name, err := file(path, version, ".mod")
		if err != nil {
			return
		}
		for part := range strings.SplitSeq(name, "/") {
			if part == "" || part == "." || part == ".." {
				t.Errorf("%q@%q is kept in %q", path, version, name)
			}
		}
	})
}
