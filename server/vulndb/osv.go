package vulndb

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/mod/semver"

	"github.com/caddy-evergreen/evergreen/wire"
)

// An entry is what is used of https://ossf.github.io/osv-schema/. Fields that
// are not known are left out, as the schema asks.
type entry struct {
	ID        string     `json:"id"`
	Published time.Time  `json:"published"`
	Modified  time.Time  `json:"modified"`
	Withdrawn *time.Time `json:"withdrawn"`
	Aliases   []string   `json:"aliases"`
	Summary   string     `json:"summary"`
	Affected  []struct {
		Package struct {
			Name      string `json:"name"`
			Ecosystem string `json:"ecosystem"`
		} `json:"package"`
		Ranges []struct {
			Type   string  `json:"type"`
			Events []event `json:"events"`
		} `json:"ranges"`
		EcosystemSpecific struct {
			Imports []struct {
				Path    string   `json:"path"`
				GOOS    []string `json:"goos"`
				GOARCH  []string `json:"goarch"`
				Symbols []string `json:"symbols"`
			} `json:"imports"`
		} `json:"ecosystem_specific"`
	} `json:"affected"`
	Severity []struct {
		Type  string `json:"type"`
		Score string `json:"score"`
	} `json:"severity"`
	DatabaseSpecific struct {
		Severity string `json:"severity"` // of GitHub: "CRITICAL"
	} `json:"database_specific"`

	ranges [][]wire.Range // of Affected, each; nil: of another ecosystem
}

// An event begins or ends a range. Versions have no "v"; "0" is the first.
type event struct {
	Introduced string `json:"introduced"`
	Fixed      string `json:"fixed"`
}

// Limits of an entry that would let a database fill memory in spite of maxEntry.
const (
	maxSummary = 1 << 10
	maxPath    = wire.MaxFactString
)

var goodID = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9._-]{2,63}$`)

// parseEntry reads one entry, and checks all that is used of it.
func parseEntry(b []byte) (entry, error) {
	var e entry
	if err := json.Unmarshal(b, &e); err != nil {
		return entry{}, err
	}
	if !goodID.MatchString(e.ID) {
		return entry{}, fmt.Errorf("id is %.70q: it should be such as GO-2026-5346", e.ID)
	}
	if e.Modified.IsZero() {
		return entry{}, errors.New("modified is missing")
	}
	for _, a := range e.Aliases {
		if !goodID.MatchString(a) {
			return entry{}, fmt.Errorf("alias is %.70q: it should be such as CVE-2026-52845", a)
		}
	}
	if len(e.Summary) > maxSummary {
		cut := maxSummary
		for !utf8.RuneStart(e.Summary[cut]) {
			cut--
		}
		e.Summary = e.Summary[:cut] + "…"
	}
	e.ranges = make([][]wire.Range, len(e.Affected))
	for i, a := range e.Affected {
		if a.Package.Ecosystem != "Go" {
			continue
		}
		if a.Package.Name == "" || len(a.Package.Name) > maxPath {
			return entry{}, fmt.Errorf("affected module is %.70q: a path has 1 to %d bytes", a.Package.Name, maxPath)
		}
		for _, r := range a.Ranges {
			if r.Type != "SEMVER" {
				continue // commits of a repository, say
			}
			rs, err := rangesOf(r.Events)
			if err != nil {
				return entry{}, fmt.Errorf("affected module %s: %w", a.Package.Name, err)
			}
			e.ranges[i] = append(e.ranges[i], rs...)
		}
		if len(e.ranges[i]) == 0 {
			e.ranges[i] = []wire.Range{{}}
		}
		for _, p := range a.EcosystemSpecific.Imports {
			if p.Path == "" || len(p.Path) > maxPath {
				return entry{}, fmt.Errorf("affected package is %.70q: a path has 1 to %d bytes", p.Path, maxPath)
			}
		}
	}
	return e, nil
}

// rangesOf turns events into ranges, as the schema evaluates them: in the
// order of versions, the last event at or before a version decides. Events of
// other kinds (last_affected, limit) end nothing: the next fixed one does.
func rangesOf(events []event) ([]wire.Range, error) {
	type at struct {
		version string
		begins  bool
	}
	var ats []at
	for _, e := range events {
		switch {
		case e.Introduced == "0":
			ats = append(ats, at{"", true})
		case e.Introduced != "":
			ats = append(ats, at{"v" + strings.TrimPrefix(e.Introduced, "v"), true})
		case e.Fixed != "":
			ats = append(ats, at{"v" + strings.TrimPrefix(e.Fixed, "v"), false})
		}
	}
	for _, a := range ats {
		if a.version != "" && (!semver.IsValid(a.version) || len(a.version) > maxPath) {
			return nil, fmt.Errorf("%.70q is no semantic version", a.version)
		}
	}
	// "" is no version to semver, and below all others, as is wanted.
	slices.SortStableFunc(ats, func(x, y at) int { return semver.Compare(x.version, y.version) })
	var rs []wire.Range
	open := false
	for _, a := range ats {
		switch {
		case a.begins && !open:
			rs = append(rs, wire.Range{Introduced: a.version})
		case !a.begins && open:
			rs[len(rs)-1].Fixed = a.version
		}
		open = a.begins
	}
	// One that ends where it begins holds no version.
	return slices.DeleteFunc(rs, func(r wire.Range) bool { return r.Introduced != "" && r.Introduced == r.Fixed }), nil
}

// advisories are one for each Go module that is affected, by module; none of
// what was withdrawn.
func (e entry) advisories() []wire.Advisory {
	if e.Withdrawn != nil {
		return nil
	}
	byModule := map[string]int{}
	var as []wire.Advisory
	for i, aff := range e.Affected {
		if e.ranges[i] == nil {
			continue
		}
		// A module may be listed again, with other ranges and packages. Which
		// packages are affected in which range is then not told apart.
		n, ok := byModule[aff.Package.Name]
		if !ok {
			n = len(as)
			byModule[aff.Package.Name] = n
			as = append(as, wire.Advisory{
				ID: e.ID, Aliases: e.Aliases, Summary: e.Summary, Path: aff.Package.Name,
				Severity: wire.SeverityUnrated, Why: "unrated", Published: e.Published.UTC(), Modified: e.Modified.UTC(),
			})
		}
		a := &as[n]
		a.Ranges = append(a.Ranges, e.ranges[i]...)
		for _, p := range aff.EcosystemSpecific.Imports {
			a.Packages = append(a.Packages, wire.AffectedPackage{Path: p.Path, Symbols: p.Symbols, GOOS: p.GOOS, GOARCH: p.GOARCH})
		}
		if len(aff.EcosystemSpecific.Imports) == 0 {
			a.Packages = append(a.Packages, wire.AffectedPackage{}) // all: see below
		}
	}
	for i := range as {
		if slices.ContainsFunc(as[i].Packages, func(p wire.AffectedPackage) bool { return p.Path == "" }) {
			as[i].Packages = nil
		}
	}
	slices.SortFunc(as, func(x, y wire.Advisory) int { return strings.Compare(x.Path, y.Path) })
	return as
}
