package vulndb

import (
	"archive/zip"
	"fmt"
	"io"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/semver"

	"github.com/caddy-evergreen/evergreen/wire"
)

func TestRanges(t *testing.T) {
	for name, c := range map[string]struct {
		events []event
		want   []wire.Range
	}{
		"never fixed":           {[]event{{Introduced: "0"}}, []wire.Range{{}}},
		"in no order":           {[]event{{Fixed: "1.2.0"}, {Introduced: "2.0.0"}, {Introduced: "0"}}, []wire.Range{{Fixed: "v1.2.0"}, {Introduced: "v2.0.0"}}},
		"with v":                {[]event{{Introduced: "v1.0.0"}, {Fixed: "v1.0.1"}}, []wire.Range{{Introduced: "v1.0.0", Fixed: "v1.0.1"}}},
		"fixed twice":           {[]event{{Introduced: "0"}, {Fixed: "1.2.0"}, {Fixed: "1.3.0"}}, []wire.Range{{Fixed: "v1.2.0"}}},
		"introduced twice":      {[]event{{Introduced: "1.0.0"}, {Introduced: "1.1.0"}, {Fixed: "1.2.0"}}, []wire.Range{{Introduced: "v1.0.0", Fixed: "v1.2.0"}}},
		"fixed before":          {[]event{{Fixed: "1.0.0"}, {Introduced: "2.0.0"}}, []wire.Range{{Introduced: "v2.0.0"}}},
		"a prerelease":          {[]event{{Introduced: "1.27.0-0"}, {Fixed: "1.27.0-rc.2"}}, []wire.Range{{Introduced: "v1.27.0-0", Fixed: "v1.27.0-rc.2"}}},
		"an end of other kinds": {[]event{{Introduced: "1.0.0"}, {}}, []wire.Range{{Introduced: "v1.0.0"}}},
		"empty":                 {[]event{{Introduced: "1.0.0"}, {Fixed: "1.0.0"}}, []wire.Range{}},
		"nothing":               {nil, nil},
	} {
		got, err := rangesOf(c.events)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// TestAdvisories is of a module that is listed twice, and of one of another language.
func TestAdvisories(t *testing.T) {
	e, err := parseEntry([]byte(`{"id": "GO-1", "modified": "2026-08-02T00:00:00Z", "affected": [
		{"package": {"name": "b", "ecosystem": "Go"}, "ranges": [{"type": "SEMVER", "events": [{"introduced": "0"}, {"fixed": "1.0.0"}]}, {"type": "GIT", "events": [{"introduced": "abcdef"}]}],
			"ecosystem_specific": {"imports": [{"path": "b/x", "symbols": ["F"], "goos": ["windows"]}]}},
		{"package": {"name": "a", "ecosystem": "Go"}},
		{"package": {"name": "a", "ecosystem": "npm"}},
		{"package": {"name": "b", "ecosystem": "Go"}, "ranges": [{"type": "SEMVER", "events": [{"introduced": "2.0.0"}]}],
			"ecosystem_specific": {"imports": [{"path": "b/y"}]}},
		{"package": {"name": "c", "ecosystem": "Go"}, "ecosystem_specific": {"imports": [{"path": "c/y"}]}},
		{"package": {"name": "c", "ecosystem": "Go"}}
	]}`))
	if err != nil {
		t.Fatal(err)
	}
	of := func(path string, packages []wire.AffectedPackage, ranges ...wire.Range) wire.Advisory {
		return wire.Advisory{ID: "GO-1", Path: path, Packages: packages, Ranges: ranges, Severity: wire.SeverityUnrated, Why: "unrated", Modified: e.Modified.UTC()}
	}
	want := []wire.Advisory{
		of("a", nil, wire.Range{}),
		of("b", []wire.AffectedPackage{{Path: "b/x", Symbols: []string{"F"}, GOOS: []string{"windows"}}, {Path: "b/y"}}, wire.Range{Fixed: "v1.0.0"}, wire.Range{Introduced: "v2.0.0"}),
		of("c", nil, wire.Range{}, wire.Range{}), // the second time without naming packages: all
	}
	if diff := cmp.Diff(want, e.advisories()); diff != "" {
		t.Error("(-want +got):\n" + diff)
	}
}

// TestCVSS3 has the scores that FIRST and NVD give for these vectors.
func TestCVSS3(t *testing.T) {
	for vector, want := range map[string]string{
		"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H":                    "9.8",
		"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:C/C:H/I:H/A:H":                    "10.0",
		"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:N":                    "9.1",
		"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H":                    "7.5", // CVE-2023-44487
		"CVSS:3.0/AV:N/AC:L/PR:N/UI:R/S:C/C:L/I:L/A:N":                    "6.1",
		"CVSS:3.1/AV:N/AC:H/PR:N/UI:R/S:U/C:L/I:N/A:N":                    "3.1",
		"CVSS:3.1/AV:L/AC:L/PR:L/UI:N/S:C/C:H/I:H/A:H":                    "8.8",
		"CVSS:3.1/AV:P/AC:H/PR:H/UI:R/S:U/C:N/I:N/A:N":                    "0.0",
		"CVSS:3.1/AV:N/AC:L/PR:H/UI:N/S:C/C:H/I:H/A:H":                    "9.1",
		"CVSS:3.1/AV:N/AC:L/PR:L/UI:N/S:U/C:H/I:H/A:H/E:P":                "8.8",
		"CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N": "error",
		"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H":                        "error",
		"CVSS:3.1/AV:N/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H":               "error",
		"CVSS:3.1/": "error", "": "error", "9.8": "error", "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:X/C:H/I:H/A:H": "error",
	} {
		got := "error"
		if v, err := cvss3(vector); err == nil {
			got = fmt.Sprintf("%.1f", v)
		}
		if got != want {
			t.Errorf("%s is %s, not %s", vector, got, want)
		}
	}
}

func FuzzParseEntry(f *testing.F) {
	f.Add([]byte(`{"id": "GO-1", "modified": "2026-08-02T00:00:00Z", "affected": [{"package": {"name": "b", "ecosystem": "Go"}, "ranges": [{"type": "SEMVER", "events": [{"introduced": "0"}, {"fixed": "1.0.0"}]}]}]}`))
	f.Add([]byte(`{"id": "GO-1", "modified": "2026-08-02T00:00:00Z", "withdrawn": null, "severity": [{"score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}]}`))
	// Real ones, where they are.
	if z, err := zip.OpenReader("../../../shared/data/vulndb/vulndb.zip"); err == nil {
		defer z.Close()
		for i, file := range z.File {
			if i%500 != 7 {
				continue
			}
			if r, err := file.Open(); err == nil {
				if b, err := io.ReadAll(r); err == nil {
					f.Add(b)
				}
				r.Close()
			}
		}
	} else if !os.IsNotExist(err) {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := parseEntry(b)
		if err != nil {
			return
		}
		if v, ok := e.score(); ok && (v <= 0 || v > 10) {
			t.Errorf("its score is %v", v)
		}
		last := ""
		for _, a := range e.advisories() {
			if a.Path <= last {
				t.Errorf("%q comes after %q", a.Path, last)
			}
			last = a.Path
			for _, r := range a.Ranges {
				if r.Introduced != "" && !semver.IsValid(r.Introduced) || r.Fixed != "" && !semver.IsValid(r.Fixed) {
					t.Errorf("%s: a range is %+v", a.ID, r)
				}
				if r.Fixed != "" && semver.Compare(r.Introduced, r.Fixed) >= 0 {
					t.Errorf("%s: a range ends before it begins: %+v", a.ID, r)
				}
			}
		}
	})
}

func BenchmarkOpen(b *testing.B) {
	file := "../../../shared/data/vulndb/vulndb.zip"
	if _, err := os.Stat(file); err != nil {
		b.Log("the real database is not here:", err)
		return
	}
	for b.Loop() {
		if _, err := Open(b.Context(), file, Options{}); err != nil {
			b.Fatal(err)
		}
	}
}
