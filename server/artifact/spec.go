// Package artifact holds what the stages of flow B meet at: what is to be
// built, what was built, and the signed repository that it is published in.
package artifact

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"

	"github.com/caddy-evergreen/evergreen/wire"
)

// A Spec is all that determines an executable, to the byte.
type Spec struct {
	Go     string      `json:"go"`     // toolchain: "go1.26.11"
	System wire.System `json:"system"` // without Kernel
	Caddy  string      `json:"caddy"`  // version
	// Plugins are imported by the main package; by path.
	Plugins []wire.ModuleVersion `json:"plugins,omitempty"`
	// Requires are lowest versions of dependencies, beyond what Caddy and the
	// plugins ask for; by path.
	Requires []wire.ModuleVersion `json:"requires,omitempty"`
	// Evergreen is the version of our module; "" leaves it out.
	Evergreen string `json:"evergreen,omitempty"`
	// Service is the URL that the executable reports to and asks; Root is the
	// SHA-256 of the root metadata that it trusts, in hexadecimal.
	Service string `json:"service,omitempty"`
	Root    string `json:"root,omitempty"`
}

// Canonical brings what has no order of its own in one, and leaves out what
// says nothing: which list a module is in tells whether it is a plugin.
func (s Spec) Canonical() Spec {
	byPath := func(ms []wire.ModuleVersion) []wire.ModuleVersion {
		ms = slices.Clone(ms)
		for i := range ms {
			ms[i].Plugin = false
		}
		slices.SortFunc(ms, func(a, b wire.ModuleVersion) int { return strings.Compare(a.Path, b.Path) })
		return ms
	}
	s.Plugins, s.Requires = byPath(s.Plugins), byPath(s.Requires)
	s.System.Kernel = ""
	return s
}

// ID is the SHA-256 of the canonical spec, in hexadecimal: equal specs have
// equal ids, and are built once.
func (s Spec) ID() string {
	b, err := json.Marshal(s.Canonical())
	if err != nil {
		panic(err) // strings only
	}
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

// A Build is an executable that was built from a spec.
type Build struct {
	Spec   Spec           `json:"spec"`
	SHA256 string         `json:"sha256"` // of the executable, hexadecimal
	Size   int64          `json:"size"`   // of the executable, bytes
	List   wire.BuildList `json:"list"`   // as `go` resolved it
	GoMod  string         `json:"go_mod"` // the lockfile: go.mod and go.sum
	GoSum  string         `json:"go_sum"`
	// Severity, Supersedes and Releases are for the target's custom metadata.
	Severity   wire.Severity `json:"severity,omitempty"`
	Supersedes []string      `json:"supersedes,omitempty"` // SHA-256 of executables
	// MinKernel and MinOS are the lowest that it runs on, as in a wire.Release.
	MinKernel map[string]string `json:"min_kernel,omitempty"`
	MinOS     map[string]string `json:"min_os,omitempty"`
}
