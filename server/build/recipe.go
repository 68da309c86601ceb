package build

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/caddy-evergreen/evergreen/server/artifact"
	"github.com/caddy-evergreen/evergreen/wire"
)

// The recipe is fixed to the byte: whoever follows it gets the executable that
// we got. docs/building.md gives it for people.

// The flags of `go build`, beyond -o.
var recipeFlags = []string{
	"-trimpath", "-buildvcs=false", "-mod=readonly", "-tags=nobadger,nomysql,nopgx", "-ldflags=-s -w",
}

// specMark goes before the spec in an executable, so that it can be found
// there without running it. It is put together at run time, lest it be found
// in ours.
func specMark() string { return strings.Join([]string{"evergreen", "spec", "1", "{"}, ":") }

// program is what is compiled, by file name. With our module in it, the spec is
// in a package of its own, which is initialised before Caddy's packages are: at
// that time it is decided which executable is to run, by the root in the spec.
func program(s artifact.Spec) (map[string][]byte, error) {
	spec, err := json.Marshal(s.Canonical())
	if err != nil {
		return nil, err
	}
	text := strings.TrimSuffix(specMark(), "{") + string(spec)
	standard, other := []string{wire.CaddyPath + "/modules/standard"}, []string{}
	for _, p := range s.Canonical().Plugins {
		other = append(other, p.Path)
	}
	if s.Evergreen != "" && !slices.Contains(other, Module) {
		other = append(other, Module)
	}
	slices.Sort(other)
	var b bytes.Buffer
	b.WriteString("package main\n\nimport (\n")
	if s.Evergreen == "" {
		b.WriteString("\t\"sync/atomic\"\n\n")
	}
	fmt.Fprintf(&b, "\tcaddycmd %q\n\n", wire.CaddyPath+"/cmd")
	for _, i := range append(standard, other...) {
		fmt.Fprintf(&b, "\t_ %q\n", i)
	}
	if s.Evergreen != "" {
		b.WriteString("\n\t_ \"caddy/built\"\n)\n\nfunc main() { caddycmd.Main() }\n")
		built := fmt.Sprintf("package built\n\nimport %q\n\nfunc init() { spec.Build = %q }\n", Module+"/boot/spec", text)
		return map[string][]byte{"main.go": b.Bytes(), "built/built.go": []byte(built)}, nil
	}
	// What nobody can be sure to be unused, the linker keeps.
	fmt.Fprintf(&b, ")\n\nvar spec = %q\n\nvar kept atomic.Pointer[string]\n\n", text)
	b.WriteString("func main() {\n\tkept.Store(&spec)\n\tcaddycmd.Main()\n}\n")
	return map[string][]byte{"main.go": b.Bytes()}, nil
}

// goMod is what resolving begins with: lowest versions. `go` raises the go
// line to what the modules ask for.
func goMod(s artifact.Spec) []byte {
	roots := append([]wire.ModuleVersion{{Path: wire.CaddyPath, Version: s.Caddy}}, s.Plugins...)
	roots = append(roots, s.Requires...)
	if s.Evergreen != "" {
		roots = append(roots, wire.ModuleVersion{Path: Module, Version: s.Evergreen})
	}
	return requireAll(roots)
}

func requireAll(roots []wire.ModuleVersion) []byte {
	roots = slices.Clone(roots)
	slices.SortFunc(roots, func(a, b wire.ModuleVersion) int { return strings.Compare(a.Path, b.Path) })
	var b bytes.Buffer
	b.WriteString("module caddy\n\ngo 1.21\n\nrequire (\n")
	for _, r := range roots {
		fmt.Fprintf(&b, "\t%s %s\n", r.Path, r.Version)
	}
	b.WriteString(")\n")
	return b.Bytes()
}

// platformEnv names a system to `go`, with the oldest processors that Go's own
// defaults are for, whatever the builder's own are.
func platformEnv(s wire.System) []string {
	return []string{
		"GOOS=" + s.OS, "GOARCH=" + s.Arch, "GOARM=" + strings.TrimPrefix(s.Variant, "v"),
		"GOAMD64=v1", "GOARM64=v8.0", "GOPPC64=power8", "GORISCV64=rva20u64",
	}
}

// fixedEnv is what no configuration of the machine may change.
func fixedEnv(goroot, work, modcache, gocache string) []string {
	return []string{
		"GOROOT=" + goroot, "GOPATH=" + work + "/gopath", "GOMODCACHE=" + modcache, "GOCACHE=" + gocache,
		"GOTMPDIR=" + work + "/tmp", "TMPDIR=" + work + "/tmp", "HOME=" + work,
		"GOENV=off", "GOWORK=off", "GOFLAGS=", "GOEXPERIMENT=", "GODEBUG=", "GOFIPS140=off", "GOTOOLCHAIN=local",
		"GO111MODULE=on", "CGO_ENABLED=0", "GOVCS=*:off", "GOAUTH=off", "GOINSECURE=", "GOPRIVATE=", "GONOPROXY=none",
		"LC_ALL=C", "TZ=UTC", "PATH=" + goroot + "/bin",
	}
}
