package main

import (
	"bytes"
	"context"
	"debug/buildinfo"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"github.com/caddy-evergreen/evergreen/server/linked"
	"github.com/caddy-evergreen/evergreen/server/plan"
	"github.com/caddy-evergreen/evergreen/wire"
)

// Limits of what is read as a build.
const (
	maxBuildText     = 8 << 20
	maxExecutable    = 1 << 30
	downloadPatience = 10 * time.Minute
)

// A buildInput is one build to plan for or to audit.
type buildInput struct {
	check wire.Check
	// names are the functions in an executable; nil of anything else.
	names *linked.Names
	// file is the executable; "" of anything else.
	file string
}

// readBuild reads a build from a file, a URL, or, of "-", the standard input:
// an executable, what `go version -m` prints of one, or JSON. What it downloads
// it keeps in dir.
func readBuild(ctx context.Context, name, dir string) (buildInput, error) {
	if strings.HasPrefix(name, "http://") || strings.HasPrefix(name, "https://") {
		file, err := download(ctx, name, dir)
		if err != nil {
			return buildInput{}, err
		}
		name = file
	}
	if name == "-" {
		b, err := io.ReadAll(io.LimitReader(os.Stdin, maxBuildText+1))
		if err != nil {
			return buildInput{}, fmt.Errorf("reading the standard input: %w", err)
		}
		return parseBuild(b)
	}
	f, err := os.Open(name)
	if err != nil {
		return buildInput{}, fmt.Errorf("reading a build: %w", err)
	}
	defer f.Close()
	head := make([]byte, 4)
	if n, _ := io.ReadFull(f, head); isExecutable(head[:n]) {
		in, err := readExecutable(f)
		if err != nil {
			return buildInput{}, fmt.Errorf("%s: %w", name, err)
		}
		in.file = name
		return in, nil
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return buildInput{}, fmt.Errorf("reading a build: %w", err)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxBuildText+1))
	if err != nil {
		return buildInput{}, fmt.Errorf("reading %s: %w", name, err)
	}
	in, err := parseBuild(b)
	if err != nil {
		return buildInput{}, fmt.Errorf("%s: %w", name, err)
	}
	return in, nil
}

func isExecutable(head []byte) bool {
	for _, magic := range []string{"\x7fELF", "MZ", "\xcf\xfa\xed\xfe", "\xce\xfa\xed\xfe", "\xfe\xed\xfa\xcf", "\xfe\xed\xfa\xce"} {
		if bytes.HasPrefix(head, []byte(magic)) {
			return true
		}
	}
	return false
}

func readExecutable(f *os.File) (buildInput, error) {
	info, err := buildinfo.Read(f)
	if err != nil {
		return buildInput{}, fmt.Errorf("reading what it was built from: %w", err)
	}
	in := buildInput{check: checkOf(info)}
	in.names, err = linked.Read(f)
	if err != nil && !errors.Is(err, linked.ErrNoTable) {
		return buildInput{}, fmt.Errorf("reading its functions: %w", err)
	}
	return in, nil
}

// parseBuild reads JSON, or what `go version -m` prints.
func parseBuild(b []byte) (buildInput, error) {
	if len(b) > maxBuildText {
		return buildInput{}, fmt.Errorf("a build list has at most %d bytes", maxBuildText)
	}
	if bytes.HasPrefix(bytes.TrimSpace(b), []byte("{")) {
		c, err := plan.ParseCheck(b)
		if err != nil {
			return buildInput{}, fmt.Errorf("reading a build list: %w", err)
		}
		return buildInput{check: c}, nil
	}
	info, err := parseGoVersion(string(b))
	if err != nil {
		return buildInput{}, err
	}
	return buildInput{check: checkOf(info)}, nil
}

// parseGoVersion reads what `go version -m FILE` prints of one file:
//
//	caddy: go1.26.3
//		path	caddy
//		mod	caddy	(devel)
//		dep	github.com/caddyserver/caddy/v2	v2.11.3	h1:…
//		build	GOOS=linux
func parseGoVersion(text string) (*debug.BuildInfo, error) {
	first, rest, _ := strings.Cut(strings.TrimLeft(text, "\r\n"), "\n")
	at := strings.LastIndex(first, ": ")
	if at < 0 || !strings.HasPrefix(first[at+2:], "go") {
		return nil, errors.New("this is neither an executable, nor JSON, nor what `go version -m FILE` prints")
	}
	var b strings.Builder
	for line := range strings.Lines(rest) {
		if !strings.HasPrefix(line, "\t") {
			if strings.TrimSpace(line) == "" {
				continue
			}
			return nil, errors.New("this is the output of `go version -m` for several files: give that of one")
		}
		b.WriteString(strings.TrimRight(line[1:], "\r\n") + "\n")
	}
	info, err := debug.ParseBuildInfo(b.String())
	if err != nil {
		return nil, fmt.Errorf("reading what `go version -m` prints: %w", err)
	}
	info.GoVersion = strings.TrimSpace(first[at+2:])
	return info, nil
}

// checkOf is what an executable knows of its build.
func checkOf(info *debug.BuildInfo) wire.Check {
	c := wire.Check{Build: wire.BuildList{Go: info.GoVersion}}
	for _, s := range info.Settings {
		switch s.Key {
		case "GOOS":
			c.System.OS = s.Value
		case "GOARCH":
			c.System.Arch = s.Value
		case "GOARM":
			v, _, _ := strings.Cut(s.Value, ",")
			c.System.Variant = "v" + v
		}
	}
	seen := map[string]bool{}
	add := func(m *debug.Module) {
		path, version := m.Path, m.Version
		if r := m.Replace; r != nil {
			// Another version of the same module is as good as that; another
			// module is nothing that the name says something about.
			version = ""
			if r.Path == path {
				version = r.Version
			}
		}
		if path == "" || seen[path] {
			return
		}
		seen[path] = true
		c.Build.Modules = append(c.Build.Modules, wire.ModuleVersion{Path: path, Version: version})
	}
	if info.Main.Path == wire.CaddyPath {
		add(&info.Main) // Caddy built from its own checkout
	}
	for _, m := range info.Deps {
		if m != nil {
			add(m)
		}
	}
	c.Build.Sort()
	return c
}

// download fetches an executable or a build list into dir.
func download(ctx context.Context, url, dir string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, downloadPatience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", fmt.Errorf("reading a build: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", fmt.Errorf("reading a build: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("reading a build: %s answered %s", url, resp.Status)
	}
	f, err := os.Create(filepath.Join(dir, "build"))
	if err != nil {
		return "", fmt.Errorf("keeping a download: %w", err)
	}
	defer f.Close()
	n, err := io.Copy(f, io.LimitReader(resp.Body, maxExecutable+1))
	if err != nil {
		return "", fmt.Errorf("reading %s: %w", url, err)
	}
	if n > maxExecutable {
		return "", fmt.Errorf("reading %s: it is longer than %d bytes", url, int64(maxExecutable))
	}
	return f.Name(), nil
}
