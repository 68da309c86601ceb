package build

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/caddy-evergreen/evergreen/server/artifact"
	"github.com/caddy-evergreen/evergreen/server/build/sandbox"
	"github.com/caddy-evergreen/evergreen/server/goenv"
	"github.com/caddy-evergreen/evergreen/wire"
)

// A Failure is a build that can't be made, in the words of `go`.
type Failure struct {
	Step  string // "resolving", "compiling", "linking"
	Words string
	// Remember is whether the same would happen again: what the modules do
	// not allow, as against a network that is down.
	Remember bool
}

func (f *Failure) Error() string { return f.Step + " failed: " + f.Words }

type goCommand struct {
	args      []string
	toolchain string // for GOTOOLCHAIN; "" is local
	network   bool   // and what it brings may be kept among the modules
	stdout    io.Writer
	stderr    io.Writer // gets a copy
	time      time.Duration
}

// command runs `go` in the sandbox.
func (w *workplace) command(ctx context.Context, step string, c goCommand) error {
	m := w.m
	env := fixedEnv(w.goroot, w.dir, m.cfg.ModCache, m.cfg.GoCache)
	env = append(env, platformEnv(w.system)...)
	proxies := "off"
	if c.network {
		proxies = m.proxies()
		env = append(env, networkEnv()...)
		if m.cfg.SumDB != "" {
			env = append(env, "GOSUMDB="+m.cfg.SumDB)
		}
	} else {
		env = append(env, "GOSUMDB=off")
	}
	none := m.cfg.NoSumDB
	if m.offer != "" {
		none = strings.TrimPrefix(none+","+Module, ",")
	}
	env = append(env, "GOPROXY="+proxies, "GONOSUMDB="+none)
	if c.toolchain != "" {
		env[slices.Index(env, "GOTOOLCHAIN=local")] = "GOTOOLCHAIN=" + c.toolchain
	}

	words := &sandbox.Tail{Keep: maxWords}
	stderr := io.Writer(words)
	if c.stderr != nil {
		stderr = io.MultiWriter(words, c.stderr)
	}
	if c.time == 0 {
		c.time = m.cfg.ResolveTime
	}
	folders := []sandbox.Folder{
		{Path: w.goroot}, {Path: m.cfg.ModCache, Write: c.network}, {Path: m.cfg.GoCache, Write: true}, {Path: w.dir, Write: true},
	}
	if c.network {
		folders = append(folders, proxyFolders(proxies)...)
		for _, v := range []string{"SSL_CERT_FILE", "SSL_CERT_DIR"} {
			if f := os.Getenv(v); f != "" {
				folders = append(folders, sandbox.Folder{Path: f})
			}
		}
	}
	err := m.box.Run(ctx, sandbox.Command{
		Path: filepath.Join(w.goroot, "bin", "go"+exeSuffix(runtime.GOOS)), Args: c.args, Env: env, Dir: w.dir,
		Folders: folders, Network: c.network, User: m.cfg.User, Stdout: c.stdout, Stderr: stderr,
		Bounds: sandbox.Bounds{Time: c.time, Memory: m.cfg.Memory, File: maxFile, Output: maxPrinted, Disk: w.disk},
	})
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, sandbox.ErrLimit):
		return &Failure{Step: step, Words: strings.TrimSpace(err.Error() + "\n" + w.clean(words.String())), Remember: true}
	case errors.As(err, &exit):
		said := w.clean(words.String())
		if said == "" {
			said = err.Error()
		}
		return &Failure{Step: step, Words: said, Remember: !passing(said, exit)}
	}
	return fmt.Errorf("%s: %w", step, err)
}

// proxies is GOPROXY: our own module's, then the configured, without what
// would ask a version control system.
func (m *Maker) proxies() string {
	configured := cmp.Or(m.cfg.Proxy, goenv.Get("GOPROXY"))
	var kept strings.Builder
	if m.offer != "" {
		kept.WriteString(m.offer + ",")
	}
	// "|" after an address has a meaning of its own: keep separators.
	rest := configured
	for rest != "" {
		end := strings.IndexAny(rest, ",|")
		one, sep := rest, ""
		if end >= 0 {
			one, sep = rest[:end], rest[end:end+1]
			rest = rest[end+1:]
		} else {
			rest = ""
		}
		if one = strings.TrimSpace(one); one != "direct" && one != "" && one != "off" {
			kept.WriteString(one + sep)
		}
	}
	if kept.Len() == 0 {
		return "off"
	}
	return strings.TrimRight(kept.String(), ",|")
}

// proxyFolders are those of proxies that are folders on this machine.
func proxyFolders(proxies string) []sandbox.Folder {
	var folders []sandbox.Folder
	for _, p := range strings.FieldsFunc(proxies, func(r rune) bool { return r == ',' || r == '|' }) {
		if u, err := url.Parse(p); err == nil && u.Scheme == "file" {
			folders = append(folders, sandbox.Folder{Path: filepath.FromSlash(u.Path)})
		}
	}
	return folders
}

// networkEnv is how this process reaches the network.
func networkEnv() []string {
	var env []string
	for _, v := range []string{"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR"} {
		if s := os.Getenv(v); s != "" {
			env = append(env, v+"="+s)
		}
	}
	return env
}

// clean leaves out what `go` says while it works and nothing went wrong, and
// where on this machine it works, which is nobody's business.
func (w *workplace) clean(words string) string {
	var hide []string
	for _, h := range []struct{ dir, as string }{
		{w.dir, "."}, {w.m.cfg.ModCache, "$GOMODCACHE"}, {w.m.cfg.GoCache, "$GOCACHE"}, {w.goroot, "$GOROOT"}, {w.m.proxy(), "own"}, {w.m.cfg.Folder, "$FOLDER"},
	} {
		hide = append(hide, h.dir, h.as)
		if rel, err := filepath.Rel(w.dir, h.dir); err == nil && rel != "." {
			hide = append(hide, rel, h.as)
		}
	}
	words = strings.NewReplacer(hide...).Replace(words)
	var kept []string
	for _, l := range strings.Split(words, "\n") {
		if l = strings.TrimRight(l, " \r\t"); l != "" && !strings.HasPrefix(l, "go: downloading ") && strings.ContainsAny(l, " :") {
			kept = append(kept, l)
		}
	}
	return strings.Join(kept, "\n")
}

// passingWords are of failures that say nothing about the modules.
var passingWords = []string{
	"dial tcp", "i/o timeout", "connection refused", "connection reset", "TLS handshake", "no such host", "unexpected EOF",
	"500 Internal", "502 Bad", "503 Service", "504 Gateway", "429 Too Many", "no space left", "cannot allocate memory", "out of memory",
	"resource temporarily unavailable", "signal: killed", "too many open files",
}

func passing(words string, exit *exec.ExitError) bool {
	return !exit.Exited() || slices.ContainsFunc(passingWords, func(w string) bool { return strings.Contains(words, w) })
}

// disk tells why a build must end for the disk's sake.
func (w *workplace) disk() error {
	if free, err := freeBytes(w.dir); err == nil && free < w.m.cfg.MinFree {
		return fmt.Errorf("the disk has %d MiB left, and builds leave %d MiB", free>>20, w.m.cfg.MinFree>>20)
	}
	var total int64
	_ = filepath.WalkDir(filepath.Join(w.dir, "tmp"), func(_ string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if info, err := d.Info(); err == nil {
				total += info.Size()
			}
		}
		return nil // files come and go
	})
	if total > maxWork {
		return fmt.Errorf("the build uses more than %d MiB of disk", maxWork>>20)
	}
	return nil
}

// A listed package is what `go list` tells of it.
type listed struct {
	ImportPath, Dir, Name string
	Standard              bool
	Module                *struct {
		Path, Version string
		Main          bool
		Replace       *struct{ Path string }
	}
	SysoFiles, SwigFiles   []string
	SwigCXXFiles, CgoFiles []string
}

// resolve lets `go` find every module that the program needs, from the
// network, and checks what it found. With locked, go.mod and go.sum are taken
// as they are.
func (w *workplace) resolve(ctx context.Context, locked bool) (wire.BuildList, error) {
	none := wire.BuildList{}
	if err := w.giveFiles("go.mod"); err != nil {
		return none, err
	}
	mod := "-mod=mod"
	if locked {
		mod = "-mod=readonly"
	}
	args := []string{"list", mod, "-deps", "-trimpath", "-tags=nobadger,nomysql,nopgx",
		"-json=ImportPath,Dir,Name,Standard,Module,SysoFiles,SwigFiles,SwigCXXFiles,CgoFiles", "."}
	var out bytes.Buffer
	if err := w.command(ctx, stepResolving, goCommand{args: args, network: true, stdout: &out}); err != nil {
		return none, err
	}
	if !locked {
		if err := w.fixGoMod(); err != nil {
			return none, fmt.Errorf("reading what was resolved: %w", err)
		}
	}
	list := wire.BuildList{}
	seen := map[string]bool{}
	for d := json.NewDecoder(&out); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return none, fmt.Errorf("reading what was resolved: %w", err)
		}
		if why := w.refuse(p); why != "" {
			return none, &Failure{Step: stepResolving, Words: why, Remember: true}
		}
		if m := p.Module; m != nil && !m.Main && !seen[m.Path] {
			seen[m.Path] = true
			list.Modules = append(list.Modules, wire.ModuleVersion{Path: m.Path, Version: m.Version})
		}
	}
	list.Sort()
	return list, nil
}

// refuse tells why a package is not compiled; "" is nothing.
func (w *workplace) refuse(p listed) string {
	if p.Standard {
		return ""
	}
	of := "package " + p.ImportPath
	if p.Module != nil && p.Module.Version != "" {
		of += " of " + p.Module.Path + " " + p.Module.Version
	}
	switch {
	case p.Module == nil:
		return of + " is in no module"
	case p.Module.Replace != nil:
		return of + " is replaced by " + p.Module.Replace.Path
	case len(p.CgoFiles) > 0:
		return of + " needs cgo, which builds here are without: " + strings.Join(p.CgoFiles, ", ")
	case len(p.SwigFiles)+len(p.SwigCXXFiles) > 0:
		return of + " needs SWIG, which builds here are without: " + strings.Join(append(p.SwigFiles, p.SwigCXXFiles...), ", ")
	case len(p.SysoFiles) > 0:
		return of + " brings object files, whose source nobody sees: " + strings.Join(p.SysoFiles, ", ")
	case !p.Module.Main && !within(p.Dir, w.m.cfg.ModCache):
		return of + " lies outside the modules, in " + p.Dir
	case !p.Module.Main && p.Name == "main":
		return of + " is a program of its own, not a plugin: it can't be imported"
	}
	return ""
}

func within(path, dir string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}

// matches holds what was resolved against what was asked for. Lowest versions
// are what `go` knows: another module may ask for a newer one.
func matches(spec artifact.Spec, list wire.BuildList) error {
	asked := append([]wire.ModuleVersion{{Path: wire.CaddyPath, Version: spec.Caddy}}, spec.Plugins...)
	if spec.Evergreen != "" {
		asked = append(asked, wire.ModuleVersion{Path: Module, Version: spec.Evergreen})
	}
	var wrong []string
	for _, a := range asked {
		if got := list.Version(a.Path); got != a.Version && got != "" {
			wrong = append(wrong, fmt.Sprintf("%s %s was asked for, but another of the modules needs %s or newer: ask for that version", a.Path, a.Version, got))
		} else if got == "" {
			wrong = append(wrong, fmt.Sprintf("%s has no package that is compiled in", a))
		}
	}
	if wrong != nil {
		return errors.New(strings.Join(wrong, "\n"))
	}
	return nil
}

// compile makes the executable tmp/caddy, without a network.
func (w *workplace) compile(ctx context.Context, on func(string)) error {
	// With -v, `go` names each package before it compiles it: the program's
	// own is the last, and what follows is linking.
	step := stepCompiling
	watch := &lines{each: func(l string) {
		if l == "caddy" {
			step = stepLinking
			on(step)
		}
	}}
	args := append([]string{"build", "-v", "-p=" + strconv.Itoa(w.m.cfg.Parallel)}, recipeFlags...)
	args = append(args, "-o", filepath.Join("tmp", "caddy"), ".")
	err := w.command(ctx, stepCompiling, goCommand{args: args, stderr: watch, time: w.m.cfg.CompileTime})
	var f *Failure
	if errors.As(err, &f) {
		f.Step = step
	}
	if err == nil && step != stepLinking {
		on(stepLinking) // its package was compiled before, and was not named
	}
	return err
}

// check compiles without linking.
func (w *workplace) check(ctx context.Context) error {
	args := append([]string{"list", "-export", "-deps", "-p=" + strconv.Itoa(w.m.cfg.Parallel), "-f="}, recipeFlags...)
	return w.command(ctx, stepCompiling, goCommand{args: append(args, "."), time: w.m.cfg.CompileTime})
}

// lines splits what is written, and drops lines that have no end.
type lines struct {
	mu   sync.Mutex
	rest []byte
	each func(string)
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rest = append(l.rest, b...)
	for {
		line, rest, ok := bytes.Cut(l.rest, []byte("\n"))
		if !ok {
			if len(l.rest) > 64<<10 {
				l.rest = nil
			}
			return len(b), nil
		}
		l.rest = rest
		l.each(string(line))
	}
}

// buildList is what an executable says of itself.
func buildList(info *buildinfo.BuildInfo, plugins []wire.ModuleVersion) wire.BuildList {
	list := wire.BuildList{Go: info.GoVersion}
	for _, d := range info.Deps {
		plugin := slices.ContainsFunc(plugins, func(p wire.ModuleVersion) bool { return p.Path == d.Path })
		list.Modules = append(list.Modules, wire.ModuleVersion{Path: d.Path, Version: d.Version, Plugin: plugin})
	}
	list.Sort()
	return list
}

// place copies a file to where it is kept, in one durable step, and tells its
// SHA-256 and size.
func place(from, to string) (sum string, size int64, err error) {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return "", 0, err
	}
	src, err := os.Open(from)
	if err != nil {
		return "", 0, err
	}
	defer src.Close()
	dst, err := os.CreateTemp(filepath.Dir(to), ".new-")
	if err != nil {
		return "", 0, err
	}
	defer os.Remove(dst.Name())
	h := sha256.New()
	size, err = io.Copy(io.MultiWriter(dst, h), src)
	if err = errors.Join(err, dst.Chmod(0o755), dst.Sync(), dst.Close()); err != nil {
		return "", 0, err
	}
	return hex.EncodeToString(h.Sum(nil)), size, os.Rename(dst.Name(), to)
}
