package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRaise(t *testing.T) {
	var got map[string]string
	first := map[string]string{"linux": "3.2", "darwin": "12"}
	for _, m := range []map[string]string{nil, first, {"linux": "3.10", "windows": "10"}, {"darwin": "11.7"}} {
		raise(&got, m)
	}
	if d := cmp.Diff(map[string]string{"linux": "3.10", "darwin": "12", "windows": "10"}, got); d != "" {
		t.Error(d)
	}
	if first["linux"] != "3.2" {
		t.Error("a release was changed")
	}
	for _, c := range []struct {
		a, b string
		want int
	}{{"6.1", "6.12", -1}, {"6.1", "6.1.0", -1}, {"6.1", "6.1", 0}, {"10", "9.9", 1}, {"1", "", 1}, {"x", "0", -1}} {
		if got := compareVersions(c.a, c.b); got != c.want {
			t.Errorf("%q and %q: %d, want %d", c.a, c.b, got, c.want)
		}
	}
}
