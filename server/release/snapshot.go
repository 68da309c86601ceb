package release

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/caddy-evergreen/evergreen/server/control"
	"github.com/caddy-evergreen/evergreen/server/vulndb"
	"github.com/caddy-evergreen/evergreen/wire"
)

// A Snapshot is all that is known of releases and advisories at one moment. It
// never changes.
type Snapshot struct {
	generation uint64
	releases   map[string][]wire.Release // by path; by version
	proposals  []Proposal
	overrides  map[string]Override
	vulns      *vulndb.DB // nil: none
	// rated are the advisories of those modules of which any has another
	// severity than in vulns.
	rated      map[string][]wire.Advisory
	superseded chan struct{}

	// All of them, the latest first, for lists; made when first asked for.
	recent           func() []*wire.Release
	recentAdvisories func() []wire.Advisory
}

// A Proposal is a tag that waits for a second person.
type Proposal struct {
	Release wire.Release `json:"release"`
	// Sum stands for exactly this proposal: whoever approves says which.
	Sum       string    `json:"sum"`
	Time      time.Time `json:"time"`
	principal string
}

// An Override is what the operator says of an advisory.
type Override struct {
	ID       string        `json:"id"`
	Severity wire.Severity `json:"severity"`
	Reason   string        `json:"reason"`
	By       string        `json:"by"`
	Time     time.Time     `json:"time"`
}

// Generation is another whenever anything here is another.
func (s *Snapshot) Generation() string {
	g := strconv.FormatUint(s.generation, 10)
	if s.vulns != nil {
		g += "-" + s.vulns.Generation()
	}
	return g
}

// Superseded is closed when there is a newer snapshot.
func (s *Snapshot) Superseded() <-chan struct{} { return s.superseded }

// Releases are those of a path, the lowest version first. They are shared:
// whoever wants to change one copies it.
func (s *Snapshot) Releases(path string) []wire.Release { return slices.Clip(s.releases[path]) }

// Release is one of them.
func (s *Snapshot) Release(path, version string) (wire.Release, bool) {
	rs := s.releases[path]
	// Not by binary search: versions that differ may be equal in order.
	for _, r := range rs {
		if r.Version == version {
			return r, true
		}
	}
	return wire.Release{}, false
}

// Paths are those that have releases, in order.
func (s *Snapshot) Paths() []string { return slices.Sorted(maps.Keys(s.releases)) }

// Proposals wait for a second person, the oldest first.
func (s *Snapshot) Proposals() []Proposal { return slices.Clip(s.proposals) }

// Proposal is the one of a version.
func (s *Snapshot) Proposal(path, version string) (Proposal, bool) {
	for _, p := range s.proposals {
		if p.Release.Path == path && p.Release.Version == version {
			return p, true
		}
	}
	return Proposal{}, false
}

// AdvisoriesFor are those of a module (wire.Stdlib, wire.Toolchain), by id,
// with their severities. They are shared.
func (s *Snapshot) AdvisoriesFor(path string) []wire.Advisory {
	if as, ok := s.rated[path]; ok {
		return slices.Clip(as)
	}
	if s.vulns == nil {
		return nil
	}
	return s.vulns.Advisories(path)
}

// Advisories yields all, by module and id.
func (s *Snapshot) Advisories() iter.Seq[wire.Advisory] {
	return func(yield func(wire.Advisory) bool) {
		if s.vulns == nil {
			return
		}
		for a := range s.vulns.All() {
			if rated, ok := s.rated[a.Path]; ok {
				i, _ := slices.BinarySearchFunc(rated, a.ID, func(a wire.Advisory, id string) int {
					return cmp.Compare(a.ID, id)
				})
				a = rated[i]
			}
			if !yield(a) {
				return
			}
		}
	}
}

// Advisory are those of an id or an alias, one for each module.
func (s *Snapshot) Advisory(id string) []wire.Advisory {
	var found []wire.Advisory
	for a := range s.Advisories() {
		if a.ID == id || slices.Contains(a.Aliases, id) {
			found = append(found, a)
		}
	}
	return found
}

// Override is what the operator says of an advisory.
func (s *Snapshot) Override(id string) (Override, bool) {
	o, ok := s.overrides[id]
	return o, ok
}

// AsOf is how old the database of vulnerabilities is: of what was published
// later nothing is known. Zero means that there is none.
func (s *Snapshot) AsOf() time.Time {
	if s.vulns == nil {
		return time.Time{}
	}
	return s.vulns.AsOf()
}

// refresh makes the next snapshot, if anything changed.
func (s *Service) refresh(ctx context.Context) error {
	s.reload.Lock()
	defer s.reload.Unlock()
	had := s.snapshot.Load()
	if had == nil {
		had = &Snapshot{superseded: make(chan struct{})}
	}
	next := &Snapshot{vulns: s.vulns.Load(), superseded: make(chan struct{})}
	err := s.cfg.DB.Read(ctx, func(tx *sql.Tx) error {
		next.releases = maps.Clone(had.releases)
		if next.releases == nil {
			next.releases = map[string][]wire.Release{}
		}
		if err := tx.QueryRowContext(ctx, "SELECT n FROM release_generation WHERE one = 1").Scan(&next.generation); err != nil {
			return err
		}
		if next.generation == had.generation && s.snapshot.Load() != nil {
			next.proposals, next.overrides = had.proposals, had.overrides
			return nil
		}
		return next.load(ctx, tx, had.generation)
	})
	if err != nil {
		return fmt.Errorf("loading releases: %w", err)
	}
	if s.snapshot.Load() != nil && next.generation == had.generation && next.vulns == had.vulns {
		return nil
	}
	next.rate()
	next.recent, next.recentAdvisories = sync.OnceValue(next.sorted), sync.OnceValue(next.sortedAdvisories)
	s.snapshot.Store(next)
	close(had.superseded)
	return nil
}

// load reads what changed after a generation.
func (next *Snapshot) load(ctx context.Context, tx *sql.Tx, after uint64) error {
	changed := map[string][]wire.Release{}
	err := control.EachRow(ctx, tx, func(rows *sql.Rows) error {
		var body string
		if err := rows.Scan(&body); err != nil {
			return err
		}
		var r wire.Release
		if err := json.Unmarshal([]byte(body), &r); err != nil {
			return err
		}
		changed[r.Path] = append(changed[r.Path], r)
		return nil
	}, "SELECT body FROM releases WHERE generation > $1", int64(after))
	if err != nil {
		return err
	}
	for path, rs := range changed {
		next.releases[path] = merged(path, next.releases[path], rs)
	}
	err = control.EachRow(ctx, tx, func(rows *sql.Rows) error {
		p, err := scanProposal(rows)
		next.proposals = append(next.proposals, p)
		return err
	}, "SELECT body, principal, time FROM release_proposals ORDER BY time")
	if err != nil {
		return err
	}
	next.overrides = map[string]Override{}
	return control.EachRow(ctx, tx, func(rows *sql.Rows) error {
		var o Override
		var at int64
		if err := rows.Scan(&o.ID, &o.Severity, &o.Reason, &o.By, &at); err != nil {
			return err
		}
		o.Time = control.Time(at)
		next.overrides[o.ID] = o
		return nil
	}, "SELECT id, severity, reason, who, time FROM advisory_overrides")
}

// merged puts changed releases of a path among others, in a new slice.
func merged(path string, had, changed []wire.Release) []wire.Release {
	byVersion := map[string]wire.Release{}
	for _, r := range had {
		byVersion[r.Version] = r
	}
	for _, r := range changed {
		byVersion[r.Version] = r
	}
	return slices.SortedFunc(maps.Values(byVersion), func(a, b wire.Release) int {
		if c := Compare(path, a.Version, b.Version); c != 0 {
			return c
		}
		return cmp.Compare(a.Version, b.Version) // v1.0.0 and v1.0.0+incompatible
	})
}

// rate finds the modules whose advisories have another severity than the
// database says.
func (next *Snapshot) rate() {
	next.rated = map[string][]wire.Advisory{}
	if next.vulns == nil {
		return
	}
	paths := map[string]bool{}
	for id := range next.overrides {
		for _, a := range next.vulns.ByID(id) {
			paths[a.Path] = true
		}
	}
	for path, rs := range next.releases {
		if !slices.ContainsFunc(rs, ratesAdvisories) {
			continue
		}
		paths[path] = true
		if path == wire.Toolchain { // the standard library is released with it
			paths[wire.Stdlib] = true
		}
	}
	for path := range paths {
		as := slices.Clone(next.vulns.Advisories(path))
		for i := range as {
			next.rateOne(&as[i])
		}
		if len(as) > 0 {
			next.rated[path] = as
		}
	}
}

func ratesAdvisories(r wire.Release) bool {
	return r.Tagged && r.Yanked == "" && (r.Severity == wire.SeverityCritical || r.Severity == wire.SeverityImportant)
}

func (next *Snapshot) rateOne(a *wire.Advisory) {
	if o, ok := next.overrides[a.ID]; ok {
		a.Severity, a.Why = o.Severity, "override"
		return
	}
	for _, rg := range a.Ranges {
		if rg.Fixed == "" {
			continue
		}
		path, v := a.Path, rg.Fixed
		if path == wire.Stdlib || path == wire.Toolchain {
			path, v = wire.Toolchain, "go"+v[1:]
		}
		r, ok := next.Release(path, v)
		if ok && ratesAdvisories(r) && graver(r.Severity, a.Severity) {
			a.Severity, a.Why = r.Severity, "release"
		}
	}
}

// graver tells whether a is graver than b; anything is graver than unrated.
func graver(a, b wire.Severity) bool {
	i, j := slices.Index(wire.Severities, a), slices.Index(wire.Severities, b)
	return i >= 0 && (j < 0 || i < j)
}
