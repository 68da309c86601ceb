package wire

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode/utf8"
)

// MaxCount is the most events or observations that one window may claim of a
// metric. It is far beyond any machine, and so small that sums over all
// instances and years don't overflow.
const MaxCount = 1 << 48

// other stands for what a vocabulary or a grammar lacks.
const other = "other"

// Clean brings a report into the one form that may be counted, or says why it
// can't be. What it refuses is what no honest sender makes: the error names
// the place, such as windows[3].series[2]. What an honest sender of another
// age may send is dropped and counted in dropped: a series whose metric is
// unknown or made by the server counts one, and so do each cell that its
// metric doesn't have and each incident of an unknown kind.
//
// Afterwards Facts is not nil; every series has a known metric that instances
// report, and each cell once; counters and histograms have no zeros to store;
// histograms begin and end with a count, and their sum is possible for their
// buckets; all of Facts is in a vocabulary or a grammar, "other" or empty.
//
// The result depends on the report alone, and cleaning again changes nothing,
// so that collector and aggregator see the same.
func (r *Report) Clean() (dropped int, err error) {
	if r.Number == 0 {
		return 0, errors.New("number: reports are numbered from 1")
	}
	if r.Created <= 0 || r.Created > maxUnix {
		return 0, fmt.Errorf("created: %d is no time", r.Created)
	}
	switch n := len(r.Windows); {
	case n == 0:
		return 0, errors.New("windows: there is none")
	case n > MaxWindows:
		return 0, fmt.Errorf("windows: %d are more than %d", n, MaxWindows)
	}
	for i, w := range r.Windows {
		n, err := w.clean()
		if err != nil {
			return 0, fmt.Errorf("windows[%d]%w", i, err)
		}
		dropped += n
	}
	if r.Facts == nil {
		r.Facts = &Facts{}
	}
	if err := r.Facts.clean(); err != nil {
		return 0, fmt.Errorf("facts.%w", err)
	}
	return dropped, nil
}

// Span is from the start of the report's first window to the end of its last,
// in Unix seconds. It holds for a clean report.
func (r *Report) Span() (from, to int64) {
	for i, w := range r.Windows {
		end := w.Start + int64(w.Seconds)
		if i == 0 {
			from, to = w.Start, end
		}
		from, to = min(from, w.Start), max(to, end)
	}
	return from, to
}

// maxUnix keeps arithmetic with times away from overflow: the year 36812.
const maxUnix = 1 << 40

// clean returns errors that begin with ".field: " or ": ", to follow a place.
func (w *Window) clean() (dropped int, err error) {
	switch {
	case w == nil:
		return 0, errors.New(": it is null")
	case w.Seconds < 1 || w.Seconds > 3600 || 3600%w.Seconds != 0:
		return 0, fmt.Errorf(".seconds: %d does not divide an hour", w.Seconds)
	case w.Start < 0 || w.Start > maxUnix:
		return 0, fmt.Errorf(".start: %d is no time", w.Start)
	case w.Start%int64(w.Seconds) != 0:
		return 0, fmt.Errorf(".start: %d is not a multiple of %d seconds", w.Start, w.Seconds)
	}
	seen := make(map[MetricID]struct{}, len(w.Series))
	kept := w.Series[:0]
	for i, s := range w.Series {
		if s == nil {
			return 0, fmt.Errorf(".series[%d]: it is null", i)
		}
		m := metricOf(s.Metric)
		if m == nil || m.Kind.FromServer() {
			dropped++
			continue
		}
		if _, dup := seen[m.ID]; dup {
			return 0, fmt.Errorf(".series[%d]: metric %d is there twice", i, m.ID)
		}
		seen[m.ID] = struct{}{}
		n, err := s.clean(m)
		if err != nil {
			return 0, fmt.Errorf(".series[%d]%w", i, err)
		}
		dropped += n
		if len(s.Cells)+len(s.Histograms) > 0 {
			kept = append(kept, s)
		}
	}
	clear(w.Series[len(kept):])
	w.Series = kept
	n, err := w.cleanIncidents()
	return dropped + n, err
}

func metricOf(id uint32) *Metric {
	if id > math.MaxUint16 {
		return nil
	}
	return MetricByID(MetricID(id))
}

func (s *Series) clean(m *Metric) (dropped int, err error) {
	if m.Kind == KindHistogram {
		if len(s.Cells)+len(s.Values) > 0 {
			return 0, fmt.Errorf(": metric %d is a histogram, it has no values", m.ID)
		}
		return s.cleanHistograms(m)
	}
	if len(s.Histograms) > 0 {
		return 0, fmt.Errorf(": metric %d has no histograms", m.ID)
	}
	if len(s.Cells) != len(s.Values) {
		return 0, fmt.Errorf(": %d cells have %d values", len(s.Cells), len(s.Values))
	}
	seen := cells{list: make([]uint64, 0, len(s.Cells))}
	var total uint64
	n := 0
	for i, c := range s.Cells {
		if !m.Valid(Cell(c)) {
			dropped++
			continue
		}
		if !seen.add(c) {
			return 0, fmt.Errorf(".cells[%d]: cell %d is there twice", i, c)
		}
		v := s.Values[i]
		if v > MaxCount {
			return 0, fmt.Errorf(".values[%d]: %d is more than %d", i, v, uint64(MaxCount))
		}
		// A peak is an observation even if it is 0, an event that didn't happen is nothing.
		if v == 0 && m.Kind == KindCounter {
			continue
		}
		if total += v; total > MaxCount {
			return 0, fmt.Errorf(".values[%d]: the window's total is more than %d", i, uint64(MaxCount))
		}
		s.Cells[n], s.Values[n] = c, v
		n++
	}
	s.Cells, s.Values = s.Cells[:n], s.Values[:n]
	return dropped, nil
}

func (s *Series) cleanHistograms(m *Metric) (dropped int, err error) {
	seen := cells{list: make([]uint64, 0, len(s.Histograms))}
	var total uint64
	kept := s.Histograms[:0]
	for i, h := range s.Histograms {
		if h == nil {
			return 0, fmt.Errorf(".histograms[%d]: it is null", i)
		}
		if uint64(h.First)+uint64(len(h.Buckets)) > Buckets {
			return 0, fmt.Errorf(".histograms[%d]: buckets %d to %d are more than the %d that there are",
				i, h.First, uint64(h.First)+uint64(len(h.Buckets)), Buckets)
		}
		if !m.Valid(Cell(h.Cell)) {
			dropped++
			continue
		}
		if !seen.add(h.Cell) {
			return 0, fmt.Errorf(".histograms[%d]: cell %d is there twice", i, h.Cell)
		}
		for j, n := range h.Buckets {
			if n > MaxCount || total+n > MaxCount {
				return 0, fmt.Errorf(".histograms[%d].buckets[%d]: the window's total is more than %d", i, j, uint64(MaxCount))
			}
			total += n
		}
		if h.clean() {
			kept = append(kept, h)
		}
	}
	clear(s.Histograms[len(kept):])
	s.Histograms = kept
	return dropped, nil
}

// clean trims empty buckets at both ends and reports whether any is left.
//
// A recorder that doesn't lock may see an observation's bucket in one window
// and its value in the next. So a sum that is impossible for its buckets is
// not refused but moved to the nearest possible one, which also bounds what a
// made-up sum can do.
func (h *Histogram) clean() bool {
	for len(h.Buckets) > 0 && h.Buckets[0] == 0 {
		h.Buckets = h.Buckets[1:]
		h.First++
	}
	for len(h.Buckets) > 0 && h.Buckets[len(h.Buckets)-1] == 0 {
		h.Buckets = h.Buckets[:len(h.Buckets)-1]
	}
	if len(h.Buckets) == 0 {
		return false
	}
	var low, high float64
	for i, n := range h.Buckets {
		b := int(h.First) + i
		if n == 0 {
			continue // 0 times the open bucket's bound is not a number
		}
		if b > 0 {
			low += float64(n) * bounds[b-1]
		}
		high += float64(n) * bounds[b]
	}
	// The margin covers rounding, so that a sum that is right is never touched.
	lo, hi := bounded(low*(1-1e-9)), bounded(high*(1+1e-9)+1)
	h.Sum = min(max(h.Sum, lo), hi)
	return true
}

// bounds has what Bound computes.
var bounds = func() (b [Buckets]float64) {
	for i := range b {
		b[i] = Bound(i)
	}
	return b
}()

// bounded is f as an integer that years of sums don't overflow. Observations
// in the open bucket have no upper bound of their own.
func bounded(f float64) uint64 { return uint64(min(f, 1<<56)) }

// cells finds duplicates: cells in ascending order need no search, a few in
// any order a short one, and only many in any order a map.
type cells struct {
	list []uint64
	max  uint64
	seen map[uint64]struct{}
}

func (s *cells) add(c uint64) bool {
	switch {
	case s.seen != nil:
		n := len(s.seen)
		s.seen[c] = struct{}{}
		return len(s.seen) > n
	case len(s.list) == 0 || c > s.max:
		s.max = c
	case len(s.list) <= 32:
		if slices.Contains(s.list, c) {
			return false
		}
	default:
		s.seen = make(map[uint64]struct{}, 2*len(s.list))
		for _, old := range s.list {
			s.seen[old] = struct{}{}
		}
		return s.add(c)
	}
	s.list = append(s.list, c)
	return true
}

func (f *Facts) clean() error {
	for _, v := range []struct {
		name string
		s    *string
		norm func(string) string
	}{
		{"caddy_version", &f.CaddyVersion, cleanVersion},
		{"go_version", &f.GoVersion, cleanGoVersion},
		{"evergreen_version", &f.EvergreenVersion, cleanVersion},
		{"os", &f.Os, OS.clean},
		{"arch", &f.Arch, Arch.clean},
		{"kernel", &f.Kernel, Kernel.clean},
		{"memory", &f.Memory, MemoryClass.clean},
		{"container", &f.Container, Container.clean},
		{"init", &f.Init, Init.clean},
		{"installation", &f.Installation, Installation.clean},
		{"config_adapter", &f.ConfigAdapter, Adapter.clean},
		{"deployment", &f.Deployment, DeploymentKind.clean},
		{"label", &f.Label, cleanLabel},
	} {
		if err := checkString(*v.s); err != nil {
			return fmt.Errorf("%s: %w", v.name, err)
		}
		*v.s = v.norm(*v.s)
	}
	for _, v := range []struct {
		name string
		s    *[]string
		dim  *Dimension
	}{
		{"cpu_features", &f.CpuFeatures, CPUFeature},
		{"protocols", &f.Protocols, ServerProtocol},
		{"features", &f.Features, Feature},
	} {
		seen := make(map[string]struct{}, min(len(*v.s), len(v.dim.Values)))
		kept := (*v.s)[:0]
		for i, s := range *v.s {
			if err := checkString(s); err != nil {
				return fmt.Errorf("%s[%d]: %w", v.name, i, err)
			}
			s = v.dim.clean(s)
			if _, dup := seen[s]; !dup && s != "" {
				seen[s] = struct{}{}
				kept = append(kept, s)
			}
		}
		clear((*v.s)[len(kept):])
		*v.s = kept
	}
	return f.cleanModules()
}

// cleanModules leaves each path once: a build list has one version of each
// module. Of private modules one is left that is a plugin and one that is none.
// A build list that Go made is sorted, which makes looking for duplicates cheap.
func (f *Facts) cleanModules() error {
	if n := len(f.Modules); n > MaxModules {
		return fmt.Errorf("modules: %d are more than %d", n, MaxModules)
	}
	type key struct {
		path   string
		plugin bool
	}
	var seen map[key]struct{} // nil while in order
	var last key
	kept := f.Modules[:0]
	for i, m := range f.Modules {
		if m == nil {
			return fmt.Errorf("modules[%d]: it is null", i)
		}
		for _, s := range []string{m.Path, m.Version} {
			if err := checkString(s); err != nil {
				return fmt.Errorf("modules[%d]: %w", i, err)
			}
		}
		k := key{path: m.Path}
		if isModulePath(m.Path) {
			m.Version = cleanVersion(m.Version)
		} else {
			m.Path, m.Version = other, ""
			k = key{other, m.Plugin}
		}
		if seen == nil && k.path > last.path && k.path != other {
			last = k
			kept = append(kept, m)
			continue
		}
		if seen == nil {
			seen = make(map[key]struct{}, len(f.Modules))
			for _, m := range kept {
				seen[key{path: m.Path}] = struct{}{}
			}
		}
		if _, dup := seen[k]; !dup {
			seen[k] = struct{}{}
			kept = append(kept, m)
		}
	}
	clear(f.Modules[len(kept):])
	f.Modules = kept
	return nil
}

func checkString(s string) error {
	if len(s) > MaxFactString {
		return fmt.Errorf("%d bytes are more than %d", len(s), MaxFactString)
	}
	if !utf8.ValidString(s) {
		return errors.New("it is not UTF-8")
	}
	return nil
}

func (d *Dimension) clean(s string) string {
	if s == "" || d.Has(s) {
		return s
	}
	return other
}

// cleanVersion lets semantic versions of modules through: a release, a
// pre-release, a pseudo-version, each perhaps with build metadata.
func cleanVersion(s string) string {
	switch s {
	case "", other, "devel":
		return s
	case "(devel)":
		return "devel"
	case "unknown":
		return ""
	}
	if isSemver(s) {
		return s
	}
	return other
}

// cleanGoVersion lets go1.26, go1.26.8, go1.27rc1 through. Experiments and
// suffixes of distributions, after a space or a dash, are cut off.
func cleanGoVersion(s string) string {
	if s == "" || s == other {
		return s
	}
	if strings.HasPrefix(s, "devel") {
		return "devel"
	}
	s, _, _ = strings.Cut(s, " ")
	s, _, _ = strings.Cut(s, "-")
	rest, ok := strings.CutPrefix(s, "go1.")
	if !ok {
		return other
	}
	rest, ok = cutNumber(rest)
	if !ok {
		return other
	}
	for _, sep := range []string{".", "rc", "beta"} {
		if patch, found := strings.CutPrefix(rest, sep); found {
			if rest, ok = cutNumber(patch); !ok {
				return other
			}
			break
		}
	}
	if rest != "" {
		return other
	}
	return s
}

func cleanLabel(s string) string {
	if len(s) > 32 {
		return ""
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && !isDigit(c) && c != '-' {
			return ""
		}
	}
	return s
}

// isSemver reports whether s is "v" and a version of semver.org, of at most
// 64 bytes.
func isSemver(s string) bool {
	rest, ok := strings.CutPrefix(s, "v")
	if !ok || len(s) > 64 {
		return false
	}
	for i := range 3 {
		if i > 0 {
			if rest, ok = strings.CutPrefix(rest, "."); !ok {
				return false
			}
		}
		if rest, ok = cutNumber(rest); !ok {
			return false
		}
	}
	rest, build, hasBuild := strings.Cut(rest, "+")
	if hasBuild && !identifiers(build) {
		return false
	}
	if rest == "" {
		return true
	}
	pre, ok := strings.CutPrefix(rest, "-")
	return ok && identifiers(pre)
}

// cutNumber cuts a decimal number without leading zeros, of at most 9 digits, off s.
func cutNumber(s string) (rest string, ok bool) {
	n := 0
	for n < len(s) && isDigit(s[n]) {
		n++
	}
	if n == 0 || n > 9 || n > 1 && s[0] == '0' {
		return s, false
	}
	return s[n:], true
}

// identifiers reports whether s is a row of semver's dot-separated identifiers.
func identifiers(s string) bool {
	empty := true
	for _, c := range []byte(s) {
		switch {
		case c == '.':
			if empty {
				return false
			}
			empty = true
		case isAlnum(c) || c == '-':
			empty = false
		default:
			return false
		}
	}
	return !empty
}

// isModulePath reports whether s could be the path of a module that anyone can
// fetch: a host with a dot and a top-level domain, then path elements.
func isModulePath(s string) bool {
	start := 0 // of the element that i is in
	for i := 0; i <= len(s); i++ {
		if i < len(s) && s[i] != '/' {
			if !pathByte[s[i]] {
				return false
			}
			continue
		}
		element := s[start:i]
		if element == "" || element[0] == '.' || element[len(element)-1] == '.' {
			return false
		}
		if start == 0 && !isModuleHost(element) {
			return false
		}
		start = i + 1
	}
	return true
}

// isModuleHost looks at a path's first element, which is one otherwise.
func isModuleHost(s string) bool {
	dot := strings.LastIndexByte(s, '.')
	if dot < 0 || s[0] == '-' || s[dot+1] < 'a' || s[dot+1] > 'z' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c >= 'A' && c <= 'Z' || c == '_' || c == '~' {
			return false
		}
	}
	return true
}

// pathByte holds to golang.org/x/mod/module's rules for import paths, but for
// names that only Windows reserves.
var pathByte = func() (ok [256]bool) {
	for c := range ok {
		ok[c] = isAlnum(byte(c)) || strings.IndexByte("-._~+", byte(c)) >= 0
	}
	return ok
}()

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isAlnum(c byte) bool {
	return isDigit(c) || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}
