package wire

import "encoding/json"

// TargetCustom is the custom metadata of a target in the repository of The
// Update Framework: what a client needs to know of a file before it trusts that
// it is the right one. It is signed as the file's hash is.
type TargetCustom struct {
	Kind TargetKind `json:"kind"`
	// SpecID and Spec are what an executable was built from. The spec is an
	// object with go, system, caddy, plugins, requires, evergreen, service, root.
	SpecID string          `json:"spec_id,omitempty"`
	Spec   json.RawMessage `json:"spec,omitempty"`
	System *System         `json:"system,omitempty"`
	// Severity is the gravest of what the executable fixes.
	Severity Severity `json:"severity,omitempty"`
	// Supersedes are SHA-256 of executables that this one is meant to replace.
	Supersedes []string `json:"supersedes,omitempty"`
	// MinKernel and MinOS are as in a Release.
	MinKernel map[string]string `json:"min_kernel,omitempty"`
	MinOS     map[string]string `json:"min_os,omitempty"`
	// Of is the SHA-256 of the executable that a file of another kind makes or
	// tells of; From is that of the executable that a delta is applied to.
	Of     string `json:"of,omitempty"`
	From   string `json:"from,omitempty"`
	Method string `json:"method,omitempty"` // of a delta, as in a TargetFile
}

// A TargetKind is what a target is.
type TargetKind string

const (
	TargetExecutable TargetKind = "executable"
	TargetCompressed TargetKind = "zstd"       // an executable as a Zstandard frame
	TargetDelta      TargetKind = "delta"      // a patch from one executable to another
	TargetProvenance TargetKind = "provenance" // an attestation of how an executable was built
)
