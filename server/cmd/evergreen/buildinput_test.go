package main

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/wire"
)

// TestGoVersion reads what `go version -m` prints, with replaced modules.
func TestGoVersion(t *testing.T) {
	in, err := parseBuild([]byte("C:\\caddy.exe: go1.26.3 X:nocoverageredesign\r\n\tpath\tcaddy\r\n\tmod\tcaddy\t(devel)\t\r\n" +
		"\tdep\tgithub.com/caddyserver/caddy/v2\tv2.11.3\th1:1KrZg61W6TWSxuNZ37Xy49ps13NUovb66QLprthtwi4=\r\n" +
		"\tdep\texample.com/newer\tv1.0.0\r\n\t=>\texample.com/newer\tv1.1.0\th1:1KrZg61W6TWSxuNZ37Xy49ps13NUovb66QLprthtwi4=\r\n" +
		"\tdep\texample.com/forked\tv1.0.0\r\n\t=>\texample.com/fork\tv1.1.0\th1:1KrZg61W6TWSxuNZ37Xy49ps13NUovb66QLprthtwi4=\r\n" +
		"\tbuild\tGOOS=linux\r\n\tbuild\tGOARCH=arm\r\n\tbuild\tGOARM=7,softfloat\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := wire.Check{
		Build: wire.BuildList{Go: "go1.26.3 X:nocoverageredesign", Modules: []wire.ModuleVersion{
			{Path: "example.com/forked"}, {Path: "example.com/newer", Version: "v1.1.0"}, {Path: wire.CaddyPath, Version: "v2.11.3"},
		}},
		System: wire.System{OS: "linux", Arch: "arm", Variant: "v7"},
	}
	if d := cmp.Diff(want, in.check); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// TestReadURL reads an executable and a build list over HTTP, and tells what is
// wrong with what it gets.
func TestReadURL(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/self", func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, self) })
	mux.HandleFunc("/list", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, `{"go": "go1.26.3", "modules": [{"path": "`+wire.CaddyPath+`", "version": "v2.11.3"}]}`)
	})
	mux.HandleFunc("/page", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<!doctype html>") })
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: mux}
	go srv.Serve(ln)
	defer srv.Close()
	url := "http://" + ln.Addr().String()
	in, err := readBuild(t.Context(), url+"/self", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if in.names == nil || !in.names.Symbol("net/http", "ServeFile") || in.check.Build.Go != runtime.Version() || in.check.System.OS != runtime.GOOS {
		t.Errorf("of this test's own executable is known: %v, %s", in.check.Build.Go, in.check.System)
	}
	if in, err = readBuild(t.Context(), url+"/list", t.TempDir()); err != nil || in.check.Build.Version(wire.CaddyPath) != "v2.11.3" || in.names != nil {
		t.Errorf("a build list: %v, error %v", in.check, err)
	}
	for path, want := range map[string]string{"/none": "404 Not Found", "/page": "neither an executable, nor JSON"} {
		if _, err := readBuild(t.Context(), url+path, t.TempDir()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", path, err, want)
		}
	}
}

// FuzzParseBuild: whatever a file holds, what is taken from it is a build list
// that JSON can hold.
func FuzzParseBuild(f *testing.F) {
	f.Add([]byte("caddy: go1.26.3\n\tpath\tcaddy\n\tmod\tcaddy\t(devel)\n\tdep\tgithub.com/caddyserver/caddy/v2\tv2.11.3\th1:x=\n\tbuild\tGOOS=linux\n"))
	f.Add([]byte(`{"go": "go1.26.3", "modules": []}`))
	f.Add([]byte(": go"))
	f.Add([]byte("a: go1\n\t=>\tx\ty\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		in, err := parseBuild(b)
		if err != nil {
			return
		}
		if _, err := json.Marshal(in.check); err != nil {
			t.Error(err)
		}
	})
}
