package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/caddy-evergreen/evergreen/server/artifact"
	"github.com/caddy-evergreen/evergreen/server/build"
	"github.com/caddy-evergreen/evergreen/wire"
)

const buildAbout = `Usage: evergreen build [FLAGS] caddy@VERSION [PLUGIN@VERSION…]
       evergreen build --spec FILE [FLAGS]
       evergreen build --verify EXECUTABLE [FLAGS]

Builds a Caddy by the build service's recipe: anyone who builds the same spec
gets the same bytes. With --verify, builds the spec inside an executable again
and compares; exit status 1 says that it differs.

  evergreen build caddy@v2.11.9 github.com/caddy-dns/cloudflare@v0.2.1
  evergreen build --os windows --arch arm64 --telemetry=false caddy@v2.11.9
  evergreen build --verify /usr/bin/caddy

Needs Go, and asks the module proxy that it is configured with. Each step runs
in a sandbox where the system has one.`

func buildCommand(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flags("build", buildAbout, stderr)
	var c buildFlags
	fs.StringVar(&c.out, "o", "", "write the executable to `FILE` (default caddy, or caddy.exe)")
	fs.StringVar(&c.about, "json", "", "write what was built to `FILE`: spec, hash, modules, lockfile")
	fs.StringVar(&c.os, "os", runtime.GOOS, "operating `SYSTEM` to build for")
	fs.StringVar(&c.arch, "arch", runtime.GOARCH, "`ARCHITECTURE` to build for")
	fs.StringVar(&c.arm, "arm", "7", "6 or 7: `VERSION` of arm, where that is the architecture")
	fs.StringVar(&c.toolchain, "go", "", "Go `TOOLCHAIN`, such as go1.26.11 (default the one that is installed)")
	fs.BoolVar(&c.telemetry, "telemetry", true, "compile this project's module in: telemetry and updates")
	fs.StringVar(&c.service, "service", "", "`URL` that the executable reports to and asks for updates")
	fs.StringVar(&c.root, "root", "", "`SHA-256` of the root metadata that it trusts")
	fs.Func("require", "raise a dependency to `MODULE@VERSION`; can be given several times", func(s string) error {
		m, err := parseModule(s)
		c.requires = append(c.requires, m)
		return err
	})
	fs.StringVar(&c.specFile, "spec", "", "build the spec in this JSON `FILE`, or in what --json wrote")
	fs.StringVar(&c.verify, "verify", "", "compare this `EXECUTABLE` with what its spec builds to")
	fs.StringVar(&c.source, "source", "", "`FOLDER` with this project's source (default this program's own, or the checkout around the current folder)")
	fs.BoolVar(&c.fresh, "fresh", false, "compile everything again, with empty caches")
	fs.BoolVar(&c.isolate, "isolate", false, "refuse to build where the system has no namespaces to keep builds apart")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return fmt.Errorf("%w: %w", err, errUsage)
	}
	ways := 0
	for _, set := range []bool{fs.NArg() > 0, c.specFile != "", c.verify != ""} {
		if set {
			ways++
		}
	}
	if ways != 1 {
		return fmt.Errorf("name what to build, or give --spec or --verify: %w", errUsage)
	}
	return c.run(ctx, fs.Args(), stdout, stderr)
}

type buildFlags struct {
	out, about, os, arch, arm, toolchain, service, root, specFile, verify, source string
	telemetry, fresh, isolate                                                     bool
	requires                                                                      []wire.ModuleVersion
}

func parseModule(s string) (wire.ModuleVersion, error) {
	path, version, ok := strings.Cut(s, "@")
	if !ok || path == "" || version == "" {
		return wire.ModuleVersion{}, fmt.Errorf("%q has no version: write path@version", s)
	}
	return wire.ModuleVersion{Path: path, Version: version}, nil
}

func (c *buildFlags) run(ctx context.Context, names []string, stdout, stderr io.Writer) (err error) {
	// What is wrong with the arguments is said before anything is prepared.
	spec, err := c.spec(names)
	if err != nil {
		return err
	}
	dir, err := os.Getwd()
	if err != nil {
		return err
	}
	var own *build.Source
	version := ""
	if c.verify != "" || spec.Evergreen != "" || c.telemetry {
		if own, version, err = build.FindOwn(c.source, dir); err != nil && spec.Evergreen == "" && c.telemetry && c.verify == "" {
			return err
		}
	}
	maker, cleanUp, err := c.maker(ctx, own, stderr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cleanUp()) }()

	began := time.Now()
	say := func(step string) { fmt.Fprintf(stderr, "%6.1f s  %s\n", time.Since(began).Seconds(), step) }
	if c.verify != "" {
		b, err := maker.Verify(ctx, c.verify, say)
		if err != nil {
			return err
		}
		fmt.Fprintf(stdout, "The same: %s is what its spec builds to, SHA-256 %s, %d bytes.\n", c.verify, b.SHA256, b.Size)
		return c.writeAbout(b)
	}
	if c.specFile == "" {
		if spec.Go == "" {
			spec.Go = maker.GoVersion()
		}
		if c.telemetry {
			if spec.Evergreen = version; own != nil {
				spec.Evergreen = own.Version
			}
			spec.Service, spec.Root = c.service, c.root
		}
	}
	if c.out == "" {
		if c.out = "caddy"; spec.System.OS == "windows" {
			c.out = "caddy.exe"
		}
	}
	b, err := maker.Make(ctx, spec, c.out, say)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%s: Caddy %s for %s, SHA-256 %s, %d bytes, build %s\n", c.out, b.Spec.Caddy, b.Spec.System, b.SHA256, b.Size, b.Spec.ID())
	return c.writeAbout(b)
}

// spec is what the arguments say, as far as they do.
func (c *buildFlags) spec(names []string) (artifact.Spec, error) {
	if c.verify != "" {
		return artifact.Spec{}, nil
	}
	if c.specFile != "" {
		return readSpec(c.specFile)
	}
	s := artifact.Spec{Go: c.toolchain, System: wire.System{OS: c.os, Arch: c.arch}, Requires: c.requires}
	if c.arch == "arm" {
		s.System.Variant = "v" + strings.TrimPrefix(c.arm, "v")
	}
	for _, n := range names {
		m, err := parseModule(n)
		if err != nil {
			return s, fmt.Errorf("%w: %w", err, errUsage)
		}
		if m.Path == "caddy" || m.Path == wire.CaddyPath {
			s.Caddy = m.Version
		} else {
			s.Plugins = append(s.Plugins, m)
		}
	}
	if s.Caddy == "" {
		return s, fmt.Errorf("name the version of Caddy, such as caddy@v2.11.9: %w", errUsage)
	}
	return s, nil
}

// readSpec reads a spec, or what was built from one.
func readSpec(file string) (artifact.Spec, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return artifact.Spec{}, fmt.Errorf("reading the spec: %w", err)
	}
	var b artifact.Build
	if err := json.Unmarshal(text, &b); err != nil {
		return artifact.Spec{}, fmt.Errorf("reading the spec: %w", err)
	}
	if b.Spec.Caddy != "" {
		return b.Spec, build.Check(b.Spec)
	}
	var s artifact.Spec
	if err := json.Unmarshal(text, &s); err != nil {
		return artifact.Spec{}, fmt.Errorf("reading the spec: %w", err)
	}
	return s, build.Check(s)
}

// maker builds with the caches of whoever runs this, or with none.
func (c *buildFlags) maker(ctx context.Context, own *build.Source, stderr io.Writer) (*build.Maker, func() error, error) {
	cache, err := build.DefaultCache()
	if err != nil {
		return nil, nil, err
	}
	cfg := build.MakerConfig{
		Folder: filepath.Join(filepath.Dir(cache), "made"), Source: own, Isolate: c.isolate, Logger: slog.New(slog.NewTextHandler(stderr, nil)),
	}
	cleanUp := func() error { return nil }
	if c.fresh {
		dir, err := os.MkdirTemp("", "evergreen-fresh-")
		if err != nil {
			return nil, nil, fmt.Errorf("making a folder to build in: %w", err)
		}
		cfg.Folder, cfg.ModCache, cfg.GoCache = dir, filepath.Join(dir, "modules"), filepath.Join(dir, "compiled")
		cleanUp = func() error { return removeModules(dir) }
	}
	m, err := build.NewUserMaker(ctx, cfg)
	if err != nil {
		return nil, nil, errors.Join(err, cleanUp())
	}
	return m, cleanUp, nil
}

// removeModules removes a folder that `go` has protected.
func removeModules(dir string) error {
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			err = os.Chmod(path, 0o700)
		}
		return err
	})
	return errors.Join(err, os.RemoveAll(dir))
}

func (c *buildFlags) writeAbout(b *artifact.Build) error {
	if c.about == "" {
		return nil
	}
	text, err := json.MarshalIndent(b, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(c.about, append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("writing what was built: %w", err)
	}
	return nil
}
