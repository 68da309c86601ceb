package release

import (
	"errors"
	"fmt"
	"go/version"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"

	"github.com/caddy-evergreen/evergreen/wire"
)

// Limits of what a maintainer may say.
const (
	maxNotes  = 16 << 10 // bytes
	maxReason = 1 << 10
	maxName   = 64
	maxLinks  = 20
	maxLink   = 512
	maxLowest = 16 // operating systems in MinKernel
)

// Compare orders two versions of one path: those of the toolchain by Go's
// rules, others as semantic versions.
func Compare(path, a, b string) int {
	if path == wire.Toolchain {
		return version.Compare(a, b)
	}
	return semver.Compare(a, b)
}

// Found is what is said of a version that nobody tagged: what is new in its
// major or minor number is a feature, a patch is minor, and what comes before a
// release is for the beta channel.
func Found(path, v string, at time.Time) wire.Release {
	r := wire.Release{Path: path, Version: v, Severity: wire.SeverityMinor, Channel: wire.ChannelStable, Time: at.UTC()}
	if isPrerelease(path, v) {
		r.Channel = wire.ChannelBeta
	}
	if isFeature(path, v) {
		r.Severity = wire.SeverityFeature
	}
	return r
}

func isPrerelease(path, v string) bool {
	if path == wire.Toolchain {
		return strings.Contains(v, "rc") || strings.Contains(v, "beta")
	}
	return semver.Prerelease(v) != ""
}

func isFeature(path, v string) bool {
	if path == wire.Toolchain {
		// go1.20 was the first of its kind, as go1.21.0 is; go1.27rc1 comes before.
		return strings.TrimSuffix(v, ".0") == version.Lang(v) || isPrerelease(path, v)
	}
	if module.IsPseudoVersion(v) {
		return false
	}
	n := strings.SplitN(strings.TrimSuffix(semver.Canonical(v), semver.Prerelease(v)), ".", 3)
	return len(n) == 3 && n[2] == "0"
}

// checkVersion refuses what is no version of path.
func checkVersion(path, v string) error {
	if path == wire.Toolchain {
		if !version.IsValid(v) || !strings.HasPrefix(v, "go1.") || len(v) > 32 || strings.Contains(v, "-") {
			return fmt.Errorf(`version is %.70q: the toolchain's are such as "go1.26.11"`, v)
		}
		return nil
	}
	if err := checkPath(path); err != nil {
		return err
	}
	if len(v) > wire.MaxFactString || module.CanonicalVersion(v) != v || module.Check(path, v) != nil {
		return fmt.Errorf(`version is %.70q, which %s can't have: write it in full, such as "v1.2.3"`, v, path)
	}
	return nil
}

func checkPath(path string) error {
	if path == wire.Toolchain {
		return nil
	}
	if len(path) > wire.MaxFactString || module.CheckPath(path) != nil {
		return fmt.Errorf("path is %.70q: it should be a module's, or %q", path, wire.Toolchain)
	}
	return nil
}

// A Tag is what a maintainer says of a version.
type Tag struct {
	Path     string        `json:"path"`
	Version  string        `json:"version"`
	Severity wire.Severity `json:"severity"`
	// Channel is "stable" or "beta"; "" is what the version says.
	Channel wire.Channel `json:"channel,omitempty"`
	Notes   string       `json:"notes,omitempty"`
	Links   []string     `json:"links,omitempty"`
	// MinKernel is the lowest kernel or version of an operating system, by its
	// name in Go: {"linux": "3.2", "windows": "10"}.
	MinKernel map[string]string `json:"min_kernel,omitempty"`
	// Step says that what is older is updated to this version first.
	Step bool `json:"step,omitempty"`
}

var (
	osName    = regexp.MustCompile(`^[a-z][a-z0-9]{0,15}$`)
	osVersion = regexp.MustCompile(`^[0-9]{1,5}(\.[0-9]{1,5}){0,3}$`)
)

// release checks a tag and makes a release of it.
func (t Tag) release(by string, at time.Time) (wire.Release, error) {
	if err := checkVersion(t.Path, t.Version); err != nil {
		return wire.Release{}, err
	}
	if !slices.Contains(wire.Severities, t.Severity) {
		return wire.Release{}, fmt.Errorf("severity is %.40q: it is one of %s", t.Severity, joined(wire.Severities))
	}
	r := Found(t.Path, t.Version, at)
	switch t.Channel {
	case "":
	case wire.ChannelStable, wire.ChannelBeta:
		r.Channel = t.Channel
	default:
		return wire.Release{}, fmt.Errorf(`channel is %.40q: it is "stable" or "beta"`, t.Channel)
	}
	if err := checkText("notes", t.Notes, maxNotes); err != nil {
		return wire.Release{}, err
	}
	if len(t.Links) > maxLinks {
		return wire.Release{}, fmt.Errorf("there are %d links: at most %d are taken", len(t.Links), maxLinks)
	}
	for _, l := range t.Links {
		u, err := url.Parse(l)
		if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || len(l) > maxLink {
			return wire.Release{}, fmt.Errorf("link is %.70q: it should begin with https:// and have at most %d bytes", l, maxLink)
		}
	}
	if len(t.MinKernel) > maxLowest {
		return wire.Release{}, fmt.Errorf("min_kernel names %d systems: at most %d are taken", len(t.MinKernel), maxLowest)
	}
	for k, v := range t.MinKernel {
		if !osName.MatchString(k) || !osVersion.MatchString(v) {
			return wire.Release{}, fmt.Errorf(`min_kernel has %.20q: %.40q: write such as "linux": "3.2"`, k, v)
		}
	}
	r.Severity, r.Notes, r.Links, r.MinKernel, r.Step = t.Severity, t.Notes, t.Links, t.MinKernel, t.Step
	r.Tagged, r.By = true, by
	return r, nil
}

// checkText refuses what would garble a terminal or a page, and what is too long.
func checkText(what, s string, most int) error {
	if len(s) > most {
		return fmt.Errorf("%s has %d bytes: at most %d are taken", what, len(s), most)
	}
	if !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool {
		return r != '\n' && r != '\t' && !unicode.IsPrint(r)
	}) {
		return errors.New(what + " has characters that can't be printed")
	}
	return nil
}

func checkLine(what, s string, most int) error {
	if s == "" {
		return errors.New(what + " is missing")
	}
	if strings.ContainsAny(s, "\n\t") || strings.TrimSpace(s) != s {
		return errors.New(what + " should be one line")
	}
	return checkText(what, s, most)
}

func joined[S ~string](of []S) string {
	var s []string
	for _, o := range of {
		s = append(s, string(o))
	}
	return strings.Join(s, ", ")
}
