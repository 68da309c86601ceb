package wire

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Paths of flow B below the service's URL.
const (
	PathCheck    = "/api/v1/check"
	PathRollouts = "/api/v1/rollouts"
	PathAudit    = "/api/v1/audit"
	PathDownload = "/api/v1/download"
	// What maintainers say of releases, and operators of advisories.
	PathReleases   = "/api/v1/releases"
	PathAdvisories = "/api/v1/advisories"
	PathTUF        = "/tuf/" // metadata and, below targets/, artifacts
)

// HeaderInstance carries an instance's id in a check. It is not in the body, so
// that the checks of equal builds are the same bytes.
const HeaderInstance = "Evergreen-Instance"

// HeaderTime is when a maintainer's request was signed, in Unix milliseconds:
// part of what is signed (ChangeContent).
const HeaderTime = "Evergreen-Time"

// ChangeContent is what a maintainer's key signs, with PurposeChange, to
// change a release: the path that is asked for, the time as HeaderTime has it,
// and the body as sent.
func ChangeContent(path, time string, body []byte) []byte {
	return append([]byte("POST "+path+"\n"+time+"\n"), body...)
}

// A Severity is how much a release or advisory matters.
type Severity string

const (
	SeverityCritical  Severity = "critical"  // fixes a vulnerability of high risk
	SeverityImportant Severity = "important" // another security fix, or a great gain in performance
	SeverityFeature   Severity = "feature"   // something new
	SeverityMinor     Severity = "minor"     // all else
	SeverityUnrated   Severity = "unrated"   // an advisory that nobody rated
)

// Severities are those that a release can have, the gravest first.
var Severities = []Severity{SeverityCritical, SeverityImportant, SeverityFeature, SeverityMinor}

// A Scope is which updates an operator wants.
type Scope string

const (
	ScopeNone      Scope = "none"
	ScopeCritical  Scope = "critical"
	ScopeImportant Scope = "important"
	ScopeFeature   Scope = "feature"
	ScopeAll       Scope = "all"
)

// Scopes are all of them, the narrowest first.
var Scopes = []Scope{ScopeNone, ScopeCritical, ScopeImportant, ScopeFeature, ScopeAll}

// Covers tells whether s asks for updates of a severity. What is unrated is not
// covered: who knows whether it is linked rates it first.
func (s Scope) Covers(v Severity) bool {
	at := slices.Index(Severities, v)
	return at >= 0 && slices.Index(Scopes, s) > at
}

// ParseScope refuses what is no scope.
func ParseScope(s string) (Scope, error) {
	if slices.Contains(Scopes, Scope(s)) {
		return Scope(s), nil
	}
	var names []string
	for _, k := range Scopes {
		names = append(names, string(k))
	}
	return "", fmt.Errorf("scope is %.40q: it is one of %s", s, strings.Join(names, ", "))
}

// A Channel is which releases are offered.
type Channel string

const (
	ChannelStable Channel = "stable"
	ChannelBeta   Channel = "beta" // and stable ones
)

// A Release is a version of a module, or of Go's toolchain (path "toolchain",
// version "go1.26.11").
type Release struct {
	Path     string   `json:"path"`
	Version  string   `json:"version"`
	Severity Severity `json:"severity"`
	Channel  Channel  `json:"channel"`
	Notes    string   `json:"notes,omitempty"`
	Links    []string `json:"links,omitempty"`
	// MinKernel and MinOS are the lowest that it runs on, by operating system:
	// {"linux": "3.2"}.
	MinKernel map[string]string `json:"min_kernel,omitempty"`
	// Step says that what is older must be updated to this one first.
	Step bool `json:"step,omitempty"`
	// Yanked is why it was withdrawn; "" if it was not. Nothing is planned to
	// it, and what runs it is offered the way off.
	Yanked string `json:"yanked,omitempty"`
	// Tagged tells that a maintainer said all this; else it was found, and the
	// severity follows from the version.
	Tagged bool      `json:"tagged"`
	By     string    `json:"by,omitempty"`
	Time   time.Time `json:"time"` // when it was found or tagged
}

// Toolchain is the path of Go's toolchain among releases, advisories and
// changes; Stdlib is that of the standard library in advisories.
const (
	Toolchain = "toolchain"
	Stdlib    = "stdlib"
)

// An Advisory is a known vulnerability of one module, from the Go vulnerability
// database in OSV format.
type Advisory struct {
	ID        string            `json:"id"` // "GO-2026-5346"
	Aliases   []string          `json:"aliases,omitempty"`
	Summary   string            `json:"summary,omitempty"`
	Path      string            `json:"path"` // module; Stdlib, Toolchain
	Ranges    []Range           `json:"ranges"`
	Packages  []AffectedPackage `json:"packages,omitempty"` // none: all
	Severity  Severity          `json:"severity"`
	Why       string            `json:"why,omitempty"` // where the severity is from: "override", "release", "ghsa", "unrated"
	Published time.Time         `json:"published"`
	Modified  time.Time         `json:"modified"`
}

// A Range is the versions from Introduced ("" is the first) up to and without
// Fixed ("" is none), in semantic versions with "v".
type Range struct {
	Introduced string `json:"introduced,omitempty"`
	Fixed      string `json:"fixed,omitempty"`
}

// An AffectedPackage is a package with its vulnerable functions and methods
// ("Conn.Read"); no symbols: all.
type AffectedPackage struct {
	Path    string   `json:"path"`
	Symbols []string `json:"symbols,omitempty"`
	GOOS    []string `json:"goos,omitempty"`
	GOARCH  []string `json:"goarch,omitempty"`
}

// A Plan is the smallest change of a build that fixes what a scope covers.
type Plan struct {
	Changes []Change  `json:"changes"` // none: nothing to do
	Unfixed []Unfixed `json:"unfixed,omitempty"`
	// Build is the build list after the changes, as `go` resolves it.
	Build BuildList `json:"build"`
	// Roots are what the planned go.mod requires: Caddy, the plugins, and the
	// dependencies that are raised.
	Roots []ModuleVersion `json:"roots"`
	// Severity is the gravest of all reasons.
	Severity Severity `json:"severity,omitempty"`
	// AdvisoriesAsOf is how old the vulnerability database is. What was
	// published later is not known; zero if there is no database.
	AdvisoriesAsOf time.Time `json:"advisories_as_of"`
}

// A Change is a module or the toolchain at another version.
type Change struct {
	Path    string     `json:"path"`
	From    string     `json:"from"`
	To      string     `json:"to"`
	Kind    ChangeKind `json:"kind"`
	Reasons []Reason   `json:"reasons,omitempty"` // none: another change requires it
}

// A ChangeKind is what is changed.
type ChangeKind string

const (
	ChangeCaddy      ChangeKind = "caddy"
	ChangePlugin     ChangeKind = "plugin"
	ChangeDependency ChangeKind = "dependency"
	ChangeToolchain  ChangeKind = "toolchain"
)

// A Reason is a release or advisory that a scope covers.
type Reason struct {
	Kind     string   `json:"kind"` // "release", "advisory", "yanked"
	ID       string   `json:"id"`   // version, or the advisory's id
	Severity Severity `json:"severity"`
	Summary  string   `json:"summary,omitempty"`
	Link     string   `json:"link,omitempty"`
}

// Unfixed is what stays although the scope covers it.
type Unfixed struct {
	Path   string `json:"path"`
	Reason Reason `json:"reason"`
	Why    string `json:"why"` // "no fixed version", "pinned to v1.2.3", "v0.30.0 does not compile with …"
}

// A Check asks whether a build needs an update.
type Check struct {
	Build   BuildList         `json:"build"`
	System  System            `json:"system"`
	Scope   Scope             `json:"scope"`
	Channel Channel           `json:"channel,omitempty"` // "": stable
	Pins    map[string]string `json:"pins,omitempty"`    // module path → the version it must keep
	// Incomplete says that the build has modules that are not named here, such
	// as private ones. The service then tells, and builds nothing.
	Incomplete bool `json:"incomplete,omitempty"`
	// SHA256 is the running executable's, in hexadecimal, for a delta; "" if it
	// does not matter.
	SHA256 string `json:"sha256,omitempty"`
}

// An Answer to a Check comes with status 200, or with 202 while the executable
// is being built.
type Answer struct {
	NeedsUpdate bool `json:"needs_update"`
	// Plan is what would change; nil if nothing would.
	Plan *Plan `json:"plan,omitempty"`
	// Target is what to download; nil until it is built, and where the service
	// does not build.
	Target *Target `json:"target,omitempty"`
	// Build is how far building is, with status 202.
	Build *BuildProgress `json:"building,omitempty"`
	// Held says why an update that is there is not offered: a rollout has not
	// reached the instance, or is paused.
	Held string `json:"held,omitempty"`
	// RetryAfter is when to ask again, in seconds.
	RetryAfter int64 `json:"retry_after"`
}

// A Target is an executable in the repository of The Update Framework.
type Target struct {
	Name   string `json:"name"`   // of the target in the metadata
	SHA256 string `json:"sha256"` // of the executable, hexadecimal
	Size   int64  `json:"size"`   // of the executable, bytes
	// Files are ways to it, the smallest first: deltas from the running
	// executable, then the whole of it.
	Files []TargetFile `json:"files"`
}

// A TargetFile is a file to download.
type TargetFile struct {
	Name   string `json:"name"`           // of a target in the metadata
	Method string `json:"method"`         // "zstd", "zstd-patch", "bsdiff", or "" for the executable itself
	From   string `json:"from,omitempty"` // SHA-256 of the executable that a delta is from
	SHA256 string `json:"sha256"`
	Size   int64  `json:"size"`
}

// BuildProgress is how far a build is.
type BuildProgress struct {
	ID    string `json:"id"`
	State string `json:"state"` // "queued", "resolving", "compiling", "linking", "signing", "failed", "done"
	Ahead int    `json:"ahead,omitempty"`
	Error string `json:"error,omitempty"`
}
