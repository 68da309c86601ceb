// Package build makes a Caddy with this project's module compiled in.
//
// In goes a Spec: which Caddy, which source of our module, which plugins, for
// which platform. Out comes an executable in a cache folder, named by a hash
// of everything that went into it, so that the same Spec is built once. Builds
// use no cgo and, given the same module cache, the same flags as Caddy's own
// releases.
package build

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// Module is the path of the client's module.
const Module = "github.com/caddy-evergreen/evergreen"

// A Spec names a build. The zero value of a field takes the default.
type Spec struct {
	Caddy    string   // version, such as "v2.11.9"; required
	Source   string   // folder with our module's source; "" builds Version from the module proxy
	Version  string   // of our module, where Source is ""
	Plugins  []string // further modules, "path@version"
	Endpoint string   // becomes evergreen.DefaultEndpoint
	OS, Arch string   // of this machine
	Without  bool     // leave our module out, for comparison
}

// A Builder builds into a cache folder. Several may share one.
type Builder struct {
	Cache    string    // folder for executables; DefaultCache() unless set
	Progress io.Writer // gets a line for each step and what `go` prints; nil drops them
}

// DefaultCache is the folder for builds below the user's cache folder.
func DefaultCache() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("finding a folder for builds: %w (set HOME or XDG_CACHE_HOME)", err)
	}
	return filepath.Join(dir, "evergreen", "builds"), nil
}

// Caddy builds spec, or finds it in the cache, and returns the executable's
// path. A failed build's error holds the compiler's own words.
func (b *Builder) Caddy(ctx context.Context, spec Spec) (string, error) {
	cache := b.Cache
	if cache == "" {
		var err error
		if cache, err = DefaultCache(); err != nil {
			return "", err
		}
	}
	key, err := spec.key(ctx)
	if err != nil {
		return "", err
	}
	exe := filepath.Join(cache, key, "caddy"+exeSuffix(spec.goos()))
	if _, err := os.Stat(exe); err == nil {
		b.say("using the %s built before", spec)
		return exe, nil
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", fmt.Errorf("making the folder for builds: %w", err)
	}
	work, err := os.MkdirTemp(cache, "building-")
	if err != nil {
		return "", fmt.Errorf("making a folder to build in: %w", err)
	}
	defer os.RemoveAll(work)
	if err := b.build(ctx, spec, work); err != nil {
		return "", fmt.Errorf("building %s: %w", spec, err)
	}
	// Whoever builds the same at the same time makes the same bytes: first come, first kept.
	if err := os.Rename(work, filepath.Dir(exe)); err != nil {
		if _, statErr := os.Stat(exe); statErr != nil {
			return "", fmt.Errorf("keeping the build: %w", err)
		}
	}
	return exe, nil
}

func (b *Builder) build(ctx context.Context, spec Spec, work string) error {
	b.say("building %s; the first time this takes a few minutes", spec)
	if err := os.WriteFile(filepath.Join(work, "main.go"), spec.mainGo(), 0o644); err != nil {
		return err
	}
	mod, err := spec.goMod()
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(work, "go.mod"), mod, 0o644); err != nil {
		return err
	}
	ldflags := "-s -w"
	if spec.Endpoint != "" {
		ldflags += " -X " + Module + ".DefaultEndpoint=" + spec.Endpoint
	}
	// -v names each package when it is compiled: that is the progress.
	return b.goTool(ctx, spec, work, "build", "-v", "-mod=mod", "-trimpath", "-buildvcs=false",
		"-tags", "nobadger,nomysql,nopgx", "-ldflags", ldflags, "-o", "caddy"+exeSuffix(spec.goos()), ".")
}

func (b *Builder) goTool(ctx context.Context, spec Spec, dir string, args ...string) error {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=", "GOOS="+spec.goos(), "GOARCH="+spec.goarch())
	var words bytes.Buffer
	packages := &packageCounter{say: b.say}
	cmd.Stderr = io.MultiWriter(&words, packages)
	cmd.Stdout = &words
	err := cmd.Run()
	if errors.Is(err, exec.ErrNotFound) {
		return errors.New("there is no `go` command: install Go 1.25 or newer and put it on PATH")
	}
	if err != nil {
		return fmt.Errorf("go %s: %w\n%s", args[0], err, tail(words.String(), 30))
	}
	return nil
}

func (b *Builder) say(format string, args ...any) {
	if b.Progress != nil {
		fmt.Fprintf(b.Progress, format+"\n", args...)
	}
}

// packageCounter turns what `go build -v` prints into a line now and then.
type packageCounter struct {
	say      func(string, ...any)
	rest     []byte
	compiled int
	fetched  int
}

func (p *packageCounter) Write(b []byte) (int, error) {
	p.rest = append(p.rest, b...)
	for {
		line, rest, found := bytes.Cut(p.rest, []byte("\n"))
		if !found {
			return len(b), nil
		}
		p.rest = rest
		if bytes.HasPrefix(line, []byte("go: downloading ")) {
			if p.fetched++; p.fetched%25 == 0 {
				p.say("  %d modules downloaded", p.fetched)
			}
		} else if !bytes.Contains(line, []byte(" ")) {
			if p.compiled++; p.compiled%200 == 0 {
				p.say("  %d packages compiled", p.compiled)
			}
		}
	}
}

func tail(s string, lines int) string {
	var kept []string
	sc := bufio.NewScanner(strings.NewReader(s))
	for sc.Scan() {
		if l := sc.Text(); strings.Contains(l, " ") && !strings.HasPrefix(l, "go: downloading ") {
			kept = append(kept, l)
		}
	}
	return strings.Join(kept[max(0, len(kept)-lines):], "\n")
}

func (s Spec) String() string {
	with := ""
	if !s.Without {
		with = " with Evergreen"
	}
	for _, p := range s.Plugins {
		with += ", " + p
	}
	return "Caddy " + s.Caddy + with
}

func (s Spec) goos() string {
	if s.OS == "" {
		return runtime.GOOS
	}
	return s.OS
}

func (s Spec) goarch() string {
	if s.Arch == "" {
		return runtime.GOARCH
	}
	return s.Arch
}

func exeSuffix(goos string) string {
	if goos == "windows" {
		return ".exe"
	}
	return ""
}

func (s Spec) mainGo() []byte {
	imports := []string{"github.com/caddyserver/caddy/v2/modules/standard"}
	if !s.Without {
		imports = append(imports, Module)
	}
	for _, p := range s.Plugins {
		path, _, _ := strings.Cut(p, "@")
		imports = append(imports, path)
	}
	slices.Sort(imports[1:])
	var b bytes.Buffer
	b.WriteString("package main\n\nimport (\n\tcaddycmd \"github.com/caddyserver/caddy/v2/cmd\"\n\n")
	for _, i := range imports {
		fmt.Fprintf(&b, "\t_ %q\n", i)
	}
	b.WriteString(")\n\nfunc main() { caddycmd.Main() }\n")
	return b.Bytes()
}

func (s Spec) goMod() ([]byte, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "module caddy\n\ngo 1.25.0\n\nrequire github.com/caddyserver/caddy/v2 %s\n", s.Caddy)
	if !s.Without {
		version := s.Version
		if s.Source != "" {
			dir, err := filepath.Abs(s.Source)
			if err != nil {
				return nil, err
			}
			version = "v0.0.0"
			fmt.Fprintf(&b, "\nreplace %s => %q\n", Module, dir)
		}
		fmt.Fprintf(&b, "\nrequire %s %s\n", Module, version)
	}
	for _, p := range s.Plugins {
		path, version, ok := strings.Cut(p, "@")
		if !ok {
			return nil, fmt.Errorf("plugin %q has no version: write path@version", p)
		}
		fmt.Fprintf(&b, "\nrequire %s %s\n", path, version)
	}
	return b.Bytes(), nil
}

// key hashes what the executable is made of.
func (s Spec) key(ctx context.Context) (string, error) {
	h := sha256.New()
	out, err := exec.CommandContext(ctx, "go", "env", "GOVERSION").Output()
	if err != nil {
		return "", fmt.Errorf("asking `go` for its version: %w (install Go 1.25 or newer and put it on PATH)", err)
	}
	fmt.Fprintf(h, "%s\n%s/%s\n%q\n%s\n", out, s.goos(), s.goarch(), s.Endpoint, s.mainGo())
	mod, err := s.goMod()
	if err != nil {
		return "", err
	}
	h.Write(mod)
	if s.Source != "" && !s.Without {
		if err := hashSource(h, s.Source); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:12]), nil
}

// sourceFiles are the extensions of Go files and of what they embed.
var sourceFiles = []string{".go", ".mod", ".sum", ".txt", ".tsv", ".json"}

// hashSource reads what a build of the root module can depend on, which the
// nested module, documentation and tests are not.
func hashSource(h io.Writer, dir string) error {
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() {
			skip := path != dir && (strings.HasPrefix(name, ".") || slices.Contains([]string{"server", "docs", "testdata", "bin", "tmp"}, name))
			if skip {
				return filepath.SkipDir
			}
			return nil
		}
		if !d.Type().IsRegular() || strings.HasSuffix(name, "_test.go") || !slices.Contains(sourceFiles, filepath.Ext(name)) {
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		fmt.Fprintf(h, "%s %d\n", rel, len(b))
		_, err = h.Write(b)
		return err
	})
	if err != nil {
		return fmt.Errorf("reading the module's source: %w", err)
	}
	return nil
}
