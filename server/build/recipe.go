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

// mainGo is the program.
func mainGo(s artifact.Spec) ([]byte, error) {
	spec, err := json.Marshal(s.Canonical())
	if err != nil {
		return nil, err
	}
	standard, other := []string{wire.CaddyPath + "/modules/standard"}, []string{}
	for _, p := range s.Canonical().Plugins {
		other = append(other, p.Path)
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
		fmt.Fprintf(&b, "\n\t%q\n", Module)
	}
	fmt.Fprintf(&b, ")\n\nvar spec = %q\n\n", strings.TrimSuffix(specMark(), "{")+string(spec))
	if s.Evergreen == "" {
		// What nobody can be sure to be unused, the linker keeps.
		b.WriteString("var kept atomic.Pointer[string]\n\n")
	}
	b.WriteString("func main() {\n")
	if s.Evergreen == "" {
		b.WriteString("\tkept.Store(&spec)\n")
	} else {
		b.WriteString("\tevergreen.BuildSpec = spec\n")
	}
	b.WriteString("\tcaddycmd.Main()\n")
	b.WriteString("}\n")
	return b.Bytes(), nil
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
