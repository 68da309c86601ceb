package release

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"

	"github.com/caddy-evergreen/evergreen/server/control"
	"github.com/caddy-evergreen/evergreen/wire"
)

const (
	maxModules = 10_000 // that are asked for
	maxProbes  = 40     // requests for exact versions, for one module at a time
	// askAgain is when a version that the proxy did not have is asked for again.
	askAgain = 24 * time.Hour
	maxWait  = 24 * time.Hour
	// Numbers of the toolchain's minor versions, from the highest, in whose
	// lists gaps are looked into.
	toolchainMinors = 3
)

func hostPlatform() string { return runtime.GOOS + "-" + runtime.GOARCH }

// poll asks round after round for what is due.
func (s *Service) poll(ctx context.Context) {
	for {
		if err := s.PollDue(ctx); err != nil && ctx.Err() == nil {
			s.cfg.Logger.Warn("looking for new versions", "err", err)
		}
		if !sleep(ctx, jitter(min(s.cfg.Every, time.Minute))) {
			return
		}
	}
}

// PollDue asks the module proxy, one question after the other, for the
// versions of each module whose time has come. If the proxy is at its limit,
// nothing more is asked until the time that it names.
func (s *Service) PollDue(ctx context.Context) error {
	if s.proxy == nil {
		return errors.New("there is no module proxy to ask")
	}
	if s.now().UnixMicro() < s.quietUntil.Load() {
		return nil
	}
	known := map[string][]string{wire.CaddyPath: nil, wire.EvergreenPath: nil, wire.Toolchain: nil}
	if s.cfg.Modules != nil {
		ms, err := s.cfg.Modules.Modules(ctx)
		if err != nil {
			return fmt.Errorf("asking which modules instances run: %w", err)
		}
		for _, m := range ms {
			if module.MatchPrefixPatterns(s.cfg.Private, m.Path) || checkVersion(m.Path, m.Version) != nil {
				continue
			}
			if _, ok := known[m.Path]; ok || len(known) < maxModules {
				known[m.Path] = append(known[m.Path], m.Version)
			}
		}
	}
	if module.MatchPrefixPatterns(s.cfg.Private, wire.EvergreenPath) {
		delete(known, wire.EvergreenPath)
	}
	states, err := s.pollStates(ctx)
	if err != nil {
		return err
	}
	paths := slices.Collect(maps.Keys(known))
	slices.SortFunc(paths, func(a, b string) int {
		return cmp.Or(states[a].next.Compare(states[b].next), cmp.Compare(a, b))
	})
	for i, path := range paths {
		st := states[path]
		if st.next.After(s.now()) {
			continue
		}
		if i > 0 && !sleep(ctx, jitter(s.cfg.Pause)) {
			return ctx.Err()
		}
		if err := s.pollOne(ctx, path, known[path], st); err != nil {
			return err
		}
	}
	return nil
}

// A pollState is what is kept of a module between questions.
type pollState struct {
	validators
	next     time.Time
	failures int
	misses   map[string]time.Time // versions, to when they are asked for again
}

func (s *Service) pollStates(ctx context.Context) (map[string]pollState, error) {
	var states map[string]pollState
	err := s.cfg.DB.Read(ctx, func(tx *sql.Tx) error {
		states = map[string]pollState{}
		return control.EachRow(ctx, tx, func(rows *sql.Rows) error {
			var path, misses string
			var st pollState
			var next int64
			if err := rows.Scan(&path, &st.etag, &st.modified, &next, &st.failures, &misses); err != nil {
				return err
			}
			st.next = control.Time(next)
			err := json.Unmarshal([]byte(misses), &st.misses)
			states[path] = st
			return err
		}, "SELECT path, etag, modified, next, failures, misses FROM release_polls")
	})
	return states, err
}

// pollOne asks for one module. Its error is of what concerns all of them; what
// concerns this one is kept in its state.
func (s *Service) pollOne(ctx context.Context, path string, running []string, st pollState) error {
	p := &polling{Service: s, path: path, state: st, known: map[string]bool{}}
	for _, v := range running {
		p.known[v] = true
	}
	for _, r := range s.Snapshot().Releases(path) {
		p.known[r.Version] = true
	}
	err := p.ask(ctx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	outcome := "ok"
	var r *refusal
	limited := errors.As(err, &r) && (r.status == http.StatusTooManyRequests || r.status == http.StatusServiceUnavailable)
	if err == nil {
		p.state.failures = 0
		p.state.next = s.now().Add(jitter(s.cfg.Every))
	} else {
		outcome = "failed"
		s.cfg.Logger.Warn("asking for versions", "module", path, "err", err)
		p.state.failures = min(p.state.failures+1, 10)
		wait := min(s.cfg.Every<<p.state.failures, maxWait)
		if r != nil {
			wait = max(wait, min(r.after, maxWait))
		}
		p.state.next = s.now().Add(jitter(wait))
	}
	s.metrics.polls.WithLabelValues(outcome).Inc()
	// What was found before an error is kept.
	if saveErr := p.save(ctx); saveErr != nil {
		return saveErr
	}
	if limited {
		wait := min(max(r.after, time.Minute), maxWait)
		s.quietUntil.Store(s.now().Add(wait).UnixMicro())
		return fmt.Errorf("%w: it is left alone for %v", err, wait)
	}
	return nil
}

// polling is one question for one module, which may take several requests.
type polling struct {
	*Service
	path    string
	state   pollState
	known   map[string]bool // versions, those that instances run too
	found   []string
	retract []retraction
	asked   bool // was the last version's go.mod?
	probes  int
}

type retraction struct{ low, high, why string }

// ask asks for the list; if there is none, for the latest version; if that is
// not to be had either, for those versions that would come next.
func (p *polling) ask(ctx context.Context) error {
	list, now, err := p.proxy.list(ctx, p.path, p.state.validators)
	switch {
	case errors.Is(err, errNotModified):
		return p.fillGaps(ctx, nil)
	case err == nil:
		p.state.validators = now
		slices.SortFunc(list, func(a, b string) int { return Compare(p.path, b, a) })
		p.take(list[:min(len(list), maxVersions)]...)
		if len(list) > 0 {
			if err := p.fillGaps(ctx, list); err != nil {
				return err
			}
			return p.retractions(ctx)
		}
		// No version was ever tagged: only the latest is to be had.
	case !absent(err):
		return err
	default:
		p.state.validators = validators{}
	}
	v, latestErr := p.proxy.latest(ctx, p.path)
	if latestErr == nil {
		p.take(v)
	} else if !absent(latestErr) {
		return latestErr
	}
	if err == nil { // the list says that there is none
		return nil
	}
	if err := p.probe(ctx); err != nil {
		return err
	}
	return p.retractions(ctx)
}

func (p *polling) take(versions ...string) {
	for _, v := range versions {
		if !slices.Contains(p.found, v) {
			p.found = append(p.found, v)
		}
	}
}

// try asks for an exact version, unless it was missing not long ago.
func (p *polling) try(ctx context.Context, v string) (bool, error) {
	if slices.Contains(p.found, v) || p.known[v] {
		return true, nil
	}
	if p.state.misses[v].After(p.now()) || p.probes >= maxProbes || checkVersion(p.path, v) != nil {
		return false, nil
	}
	p.probes++
	if !sleep(ctx, jitter(p.cfg.Pause)) {
		return false, ctx.Err()
	}
	ok, err := p.proxy.has(ctx, p.path, v)
	switch {
	case err != nil:
		return false, err
	case ok:
		p.take(v)
	default:
		if p.state.misses == nil {
			p.state.misses = map[string]time.Time{}
		}
		p.state.misses[v] = p.now().Add(jitter(askAgain))
	}
	return ok, nil
}

// probe looks for what comes after the highest version that is known: patches,
// then minor versions and their patches. A number may be left out.
func (p *polling) probe(ctx context.Context) error {
	base := highest(p.path, append(slices.Collect(maps.Keys(p.known)), p.found...))
	prefix, first, patch, ok := number(p.path, base)
	if base == "" || !ok {
		return nil
	}
	for minor, missed := first, 0; missed < 2 && p.probes < maxProbes; minor, patch = minor+1, -1 {
		some := minor == first
		for skipped := 0; skipped < 2 && p.probes < maxProbes; {
			patch++
			ok, err := p.try(ctx, fmt.Sprintf("%s%d.%d", prefix, minor, patch))
			if err != nil {
				return err
			}
			if ok {
				some, skipped = true, 0
			} else {
				skipped++
			}
		}
		if missed++; some {
			missed = 0
		}
	}
	if prefix == "v0." {
		_, err := p.try(ctx, "v1.0.0")
		return err
	}
	return nil
}

// fillGaps asks for what a list of toolchains leaves out, in the latest minor
// versions: proxies list those only that somebody asked for. Other modules'
// lists are complete.
func (p *polling) fillGaps(ctx context.Context, list []string) error {
	if p.path != wire.Toolchain {
		return nil
	}
	for v := range p.known {
		list = append(list, v)
	}
	prefix, newest, _, ok := number(p.path, highest(p.path, list))
	if !ok {
		return nil
	}
	for minor := newest; minor > newest-toolchainMinors; minor-- {
		last := -1
		for _, v := range list {
			if _, m, patch, ok := number(p.path, v); ok && m == minor && !isPrerelease(p.path, v) {
				last = max(last, patch)
			}
		}
		// From the last: what is newest is wanted most.
		for patch := last + 2; patch >= 0; patch-- {
			if _, err := p.try(ctx, fmt.Sprintf("%s%d.%d", prefix, minor, patch)); err != nil {
				return err
			}
		}
	}
	return nil
}

// retractions reads from the highest version's go.mod which versions their
// authors withdrew (https://go.dev/ref/mod#go-mod-file-retract), when that
// version is found.
func (p *polling) retractions(ctx context.Context) error {
	last := highest(p.path, p.found)
	if _, had := p.Snapshot().Release(p.path, last); had || last == "" || p.path == wire.Toolchain {
		return nil
	}
	if !sleep(ctx, jitter(p.cfg.Pause)) {
		return ctx.Err()
	}
	body, err := p.proxy.file(ctx, p.path, last, ".mod", maxMod)
	if err == nil {
		p.retract, err = parseRetractions(body)
		p.asked = err == nil
	}
	if err == nil || absent(err) {
		return nil
	}
	// To be found again the next time, and its go.mod with it.
	p.found = slices.DeleteFunc(p.found, func(v string) bool { return v == last })
	p.state.validators = validators{}
	return fmt.Errorf("reading the go.mod of %s: %w", last, err)
}

func parseRetractions(mod []byte) ([]retraction, error) {
	f, err := modfile.ParseLax("go.mod", mod, nil)
	if err != nil {
		return nil, err
	}
	var rs []retraction
	for _, r := range f.Retract {
		if !semver.IsValid(r.Low) || !semver.IsValid(r.High) {
			continue
		}
		why := strings.Join(strings.Fields(r.Rationale), " ")
		if checkText("", why, maxReason) != nil {
			why = ""
		}
		rs = append(rs, retraction{r.Low, r.High, why})
	}
	return rs, nil
}

// retracted begins the reason of what its authors withdrew, so that it is
// taken back when they do.
const retracted = "retracted by its authors"

func (p *polling) reason(v string) string {
	for _, r := range p.retract {
		if semver.Compare(r.low, v) <= 0 && semver.Compare(v, r.high) <= 0 {
			if r.why == "" {
				return retracted
			}
			return retracted + ": " + r.why
		}
	}
	return ""
}

// save keeps the state, and what is new, in one transaction.
func (p *polling) save(ctx context.Context) error {
	maps.DeleteFunc(p.state.misses, func(v string, until time.Time) bool { return !until.After(p.now()) })
	misses, err := json.Marshal(p.state.misses)
	if err != nil {
		return err
	}
	err = p.cfg.DB.Tx(ctx, func(tx *sql.Tx) error {
		c := &change{ctx: ctx, tx: tx, now: p.now(), who: person{name: "module proxy"}}
		if err := p.record(c); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO release_polls (path, etag, modified, next, failures, misses) VALUES ($1, $2, $3, $4, $5, $6)
			ON CONFLICT (path) DO UPDATE SET etag = excluded.etag, modified = excluded.modified, next = excluded.next,
			failures = excluded.failures, misses = excluded.misses`,
			p.path, p.state.etag, p.state.modified, control.Micros(p.state.next), p.state.failures, string(misses))
		return err
	})
	if err != nil {
		return fmt.Errorf("keeping the versions of %s: %w", p.path, err)
	}
	return p.refresh(ctx)
}

func (p *polling) record(c *change) error {
	had := map[string]wire.Release{}
	err := control.EachRow(c.ctx, c.tx, func(rows *sql.Rows) error {
		var body string
		if err := rows.Scan(&body); err != nil {
			return err
		}
		var r wire.Release
		err := json.Unmarshal([]byte(body), &r)
		had[r.Version] = r
		return err
	}, "SELECT body FROM releases WHERE path = $1", p.path)
	if err != nil {
		return err
	}
	var added []string
	for _, v := range p.found {
		if _, ok := had[v]; !ok {
			added = append(added, v)
			had[v] = Found(p.path, v, c.now)
			if err := c.put(had[v]); err != nil {
				return err
			}
		}
	}
	if len(added) > 0 {
		slices.SortFunc(added, func(a, b string) int { return Compare(p.path, a, b) })
		if err := c.audit("found", p.path, "", nil, added); err != nil {
			return err
		}
	}
	if !p.asked {
		return nil
	}
	for _, v := range slices.Sorted(maps.Keys(had)) {
		r, why := had[v], p.reason(v)
		if why == r.Yanked || r.Yanked != "" && !strings.HasPrefix(r.Yanked, retracted) {
			continue // a maintainer's own words stay
		}
		before := r
		r.Yanked = why
		if err := c.put(r); err != nil {
			return err
		}
		if err := c.audit("retract", p.path, v, before, r); err != nil {
			return err
		}
	}
	return nil
}

// exists refuses a tag of a version that the proxy surely does not have. If it
// can't be asked, the maintainer is believed.
func (s *Service) exists(ctx context.Context, path, version string) error {
	if _, ok := s.Snapshot().Release(path, version); ok || s.proxy == nil || module.MatchPrefixPatterns(s.cfg.Private, path) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	_, err := s.proxy.file(ctx, path, version, ".info", maxInfo)
	var r *refusal
	if errors.As(err, &r) && (r.status == http.StatusNotFound || r.status == http.StatusGone) {
		return invalid(fmt.Errorf("the module proxy does not have %s@%s: push the version's git tag first", path, version))
	}
	return nil
}
