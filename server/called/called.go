// Package called tells which known vulnerabilities the code of a build can
// reach: whether a vulnerable function is called, or only its package imported,
// or only its module required.
//
// In goes what a build is made of: the modules that its go.mod requires, its
// toolchain, its platform; and a vulnerability database. Out comes a level for
// each advisory, from govulncheck (golang.org/x/vuln), which follows calls through the
// source of all packages. That takes half a minute and 3 GB of memory for a
// Caddy, so answers are kept on disk, once per build and database.
//
// Guaranteed: no code of a module is run, and no version control system is
// asked; one trace is made at a time, within a limit of time.
package called

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/caddy-evergreen/evergreen/wire"
)

// A Level is how near the code comes to a vulnerability.
type Level string

const (
	Called   Level = "called"   // a vulnerable function can be reached
	Imported Level = "imported" // its package is imported
	Required Level = "required" // its module is in the build list
)

// tool is the version of govulncheck. Its module asks for Go 1.26 or later.
const tool = "golang.org/x/vuln/cmd/govulncheck@v1.8.0"

const (
	defaultLimit = 15 * time.Minute
	maxOutput    = 256 << 20
	maxWords     = 8 << 10 // of what a failed command said
	maxDatabase  = 1 << 30
)

// Config says how to trace. Dir is required.
type Config struct {
	Dir   string        // for answers, govulncheck itself, and an unpacked database
	Limit time.Duration // of one trace; 15 minutes
	// Environment is added to that of the commands: "GOPROXY=…".
	Environment []string
}

// A Tracer traces. It may be used by several goroutines; one at a time is served.
type Tracer struct {
	cfg  Config
	turn sync.Mutex
}

// New makes a tracer, which needs the go command.
func New(cfg Config) (*Tracer, error) {
	if _, err := exec.LookPath("go"); err != nil {
		return nil, fmt.Errorf("following calls needs the go command: %w", err)
	}
	if cfg.Limit == 0 {
		cfg.Limit = defaultLimit
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, err
	}
	cfg.Dir = dir
	return &Tracer{cfg: cfg}, os.MkdirAll(dir, 0o755)
}

// A Build is what a program is made of.
type Build struct {
	// Roots are what go.mod requires: Caddy, the plugins, and raised dependencies.
	Roots  []wire.ModuleVersion
	Go     string // toolchain: "go1.26.3"
	System wire.System
}

// Caddy traces a Caddy. database is a folder, a zip or a URL in the layout of
// https://vuln.go.dev; asOf is its date.
func (t *Tracer) Caddy(ctx context.Context, b Build, database string, asOf time.Time) (map[string]Level, error) {
	t.turn.Lock()
	defer t.turn.Unlock()
	key := b.key(database, asOf)
	if found, err := t.kept(key); err == nil {
		return found, nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reading what was traced before: %w", err)
	}
	dir, err := os.MkdirTemp(t.cfg.Dir, "trace-")
	if err != nil {
		return nil, fmt.Errorf("making a folder to trace in: %w", err)
	}
	defer os.RemoveAll(dir)
	if err := b.write(dir); err != nil {
		return nil, err
	}
	found, err := t.folder(ctx, dir, b.Go, b.System, database)
	if err != nil {
		return nil, err
	}
	return found, t.keep(key, found)
}

// Folder traces the main package in a folder with a go.mod.
func (t *Tracer) Folder(ctx context.Context, dir, toolchain string, system wire.System, database string) (map[string]Level, error) {
	t.turn.Lock()
	defer t.turn.Unlock()
	return t.folder(ctx, dir, toolchain, system, database)
}

func (t *Tracer) folder(ctx context.Context, dir, toolchain string, system wire.System, database string) (map[string]Level, error) {
	ctx, cancel := context.WithTimeout(ctx, t.cfg.Limit)
	defer cancel()
	db, err := t.database(database)
	if err != nil {
		return nil, err
	}
	bin := filepath.Join(t.cfg.Dir, "bin")
	exe := filepath.Join(bin, "govulncheck")
	if _, err := os.Stat(exe); err != nil {
		// Built for this machine, with the Go that is installed.
		if _, err := t.run(ctx, dir, []string{"GOBIN=" + bin}, "go", "install", tool); err != nil {
			return nil, fmt.Errorf("building govulncheck: %w", err)
		}
	}
	env := []string{"GOOS=" + system.OS, "GOARCH=" + system.Arch}
	if v := strings.TrimPrefix(system.Variant, "v"); v != "" && system.Arch == "arm" {
		env = append(env, "GOARM="+v)
	}
	if toolchain != "" {
		env = append(env, "GOTOOLCHAIN="+toolchain)
	}
	if _, err := t.run(ctx, dir, append(env, "GOFLAGS=-mod=mod"), "go", "mod", "tidy"); err != nil {
		return nil, fmt.Errorf("resolving the build to follow its calls: %w", err)
	}
	out, err := t.run(ctx, dir, env, exe, "-format=json", "-db="+db, ".")
	if err != nil {
		return nil, fmt.Errorf("following calls: %w", err)
	}
	return Parse(bytes.NewReader(out))
}

// run runs a command, with an environment in which no version control system is
// asked and no C is compiled.
func (t *Tracer) run(ctx context.Context, dir string, env []string, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0", "GOVCS=*:off", "GOFLAGS=")
	cmd.Env = append(append(cmd.Env, t.cfg.Environment...), env...)
	cmd.WaitDelay = 10 * time.Second
	stdout, stderr := &bounded{limit: maxOutput}, &bounded{limit: maxWords}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("%s: %w", args[0], context.Cause(ctx))
		}
		return nil, fmt.Errorf("%w: %s", err, strings.TrimSpace(stderr.String()))
	}
	if stdout.cut {
		return nil, fmt.Errorf("more than %d bytes came out", maxOutput)
	}
	return stdout.Bytes(), nil
}

// bounded keeps the first bytes that are written to it, and takes the others.
type bounded struct {
	bytes.Buffer
	limit int
	cut   bool
}

func (b *bounded) Write(p []byte) (int, error) {
	room := b.limit - b.Len()
	if len(p) > room {
		b.cut = true
		b.Buffer.Write(p[:max(room, 0)])
		return len(p), nil
	}
	return b.Buffer.Write(p)
}

// Parse reads what `govulncheck -format=json` prints: the nearest level of each
// advisory.
func Parse(r io.Reader) (map[string]Level, error) {
	found := map[string]Level{}
	for d := json.NewDecoder(io.LimitReader(r, maxOutput)); ; {
		var message struct {
			Finding *struct {
				OSV   string `json:"osv"`
				Trace []struct {
					Package  string `json:"package"`
					Function string `json:"function"`
				} `json:"trace"`
			} `json:"finding"`
		}
		if err := d.Decode(&message); errors.Is(err, io.EOF) {
			return found, nil
		} else if err != nil {
			return nil, fmt.Errorf("reading what govulncheck says: %w", err)
		}
		f := message.Finding
		if f == nil || f.OSV == "" || len(f.Trace) == 0 {
			continue
		}
		level := Required
		switch {
		case f.Trace[0].Function != "":
			level = Called
		case f.Trace[0].Package != "":
			level = Imported
		}
		if nearer(level, found[f.OSV]) {
			found[f.OSV] = level
		}
	}
}

func nearer(a, b Level) bool {
	rank := map[Level]int{Called: 3, Imported: 2, Required: 1}
	return rank[a] > rank[b]
}

// write makes the main package of a Caddy.
func (b Build) write(dir string) error {
	var mod, imports strings.Builder
	fmt.Fprintf(&mod, "module caddy\n\ngo %s\n\n", strings.TrimPrefix(b.Go, "go"))
	for _, r := range b.Roots {
		fmt.Fprintf(&mod, "require %s %s\n", r.Path, r.Version)
		if r.Plugin {
			fmt.Fprintf(&imports, "\t_ %q\n", r.Path)
		}
	}
	main := fmt.Sprintf("package main\n\nimport (\n\tcaddycmd %q\n\t_ %q\n%s)\n\nfunc main() { caddycmd.Main() }\n",
		wire.CaddyPath+"/cmd", wire.CaddyPath+"/modules/standard", &imports)
	for name, text := range map[string]string{"go.mod": mod.String(), "main.go": main} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return fmt.Errorf("writing a program to follow: %w", err)
		}
	}
	return nil
}

// key is the same for the same question.
func (b Build) key(database string, asOf time.Time) string {
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%s\n%s\n%s\n%s\n", tool, b.Go, b.System, database, asOf.UTC().Format(time.RFC3339))
	for _, r := range b.Roots {
		fmt.Fprintf(h, "%s %v\n", r, r.Plugin)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

func (t *Tracer) kept(key string) (map[string]Level, error) {
	b, err := os.ReadFile(filepath.Join(t.cfg.Dir, key+".json"))
	if err != nil {
		return nil, err
	}
	var found map[string]Level
	return found, json.Unmarshal(b, &found)
}

func (t *Tracer) keep(key string, found map[string]Level) error {
	b, err := json.Marshal(found)
	if err != nil {
		return err
	}
	to := filepath.Join(t.cfg.Dir, key+".json")
	if err := os.WriteFile(to+".new", b, 0o644); err != nil {
		return fmt.Errorf("keeping what was traced: %w", err)
	}
	return os.Rename(to+".new", to)
}

// database is a URL that govulncheck takes: a zip is unpacked first.
func (t *Tracer) database(place string) (string, error) {
	if strings.HasPrefix(place, "http://") || strings.HasPrefix(place, "https://") {
		return place, nil
	}
	info, err := os.Stat(place)
	if err != nil {
		return "", fmt.Errorf("reading the vulnerability database: %w", err)
	}
	if !info.IsDir() {
		h := sha256.Sum256(fmt.Appendf(nil, "%s %d %d", place, info.Size(), info.ModTime().UnixNano()))
		to := filepath.Join(t.cfg.Dir, "db-"+hex.EncodeToString(h[:8]))
		if _, err := os.Stat(to); err != nil {
			if err := unpack(place, to); err != nil {
				return "", fmt.Errorf("unpacking the vulnerability database: %w", err)
			}
		}
		place = to
	}
	if place, err = filepath.Abs(place); err != nil {
		return "", err
	}
	return "file://" + filepath.ToSlash(place), nil
}

// unpack unpacks a database; to is there when all of it is.
func unpack(name, to string) error {
	z, err := zip.OpenReader(name)
	if err != nil {
		return err
	}
	defer z.Close()
	dir, err := os.MkdirTemp(filepath.Dir(to), "unpacking-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	total := int64(0)
	for _, f := range z.File {
		folder, base, _ := strings.Cut(f.Name, "/")
		if folder != "index" && folder != "ID" || !strings.HasSuffix(base, ".json") || strings.ContainsAny(base, "/\\") || !filepath.IsLocal(base) {
			continue
		}
		n, err := unpackFile(f, filepath.Join(dir, folder, base), maxDatabase-total)
		if err != nil {
			return err
		}
		total += n
	}
	return os.Rename(dir, to)
}

func unpackFile(f *zip.File, to string, room int64) (int64, error) {
	r, err := f.Open()
	if err != nil {
		return 0, err
	}
	defer r.Close()
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return 0, err
	}
	w, err := os.Create(to)
	if err != nil {
		return 0, err
	}
	n, err := io.Copy(w, io.LimitReader(r, room+1))
	if err == nil && n > room {
		err = fmt.Errorf("it has more than %d bytes", int64(maxDatabase))
	}
	return n, errors.Join(err, w.Close())
}
