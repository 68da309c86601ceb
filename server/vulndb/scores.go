package vulndb

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"strings"

	"github.com/caddy-evergreen/evergreen/wire"
)

// scores are the highest known, by id and alias.
type scores map[string]score

type score struct {
	severity wire.Severity
	why      string // "ghsa", "cve", "osv": whose it is
}

// critical is the lowest score of a vulnerability of high risk, as CVSS names them.
const critical = 9.0

// rate gives an advisory the highest score that is known of it.
func (s scores) rate(a *wire.Advisory) {
	for _, id := range append([]string{a.ID}, a.Aliases...) {
		got, ok := s[id]
		if ok && (a.Severity == wire.SeverityUnrated || got.severity == wire.SeverityCritical) {
			a.Severity, a.Why = got.severity, got.why
		}
	}
}

func (s scores) add(e entry) {
	v, ok := e.score()
	if !ok || e.Withdrawn != nil {
		return
	}
	severity := wire.SeverityImportant
	if v >= critical {
		severity = wire.SeverityCritical
	}
	why := "osv"
	for prefix, w := range map[string]string{"GHSA-": "ghsa", "CVE-": "cve"} {
		if strings.HasPrefix(e.ID, prefix) {
			why = w
		}
	}
	for _, id := range append([]string{e.ID}, e.Aliases...) {
		if had, ok := s[id]; !ok || had.severity != wire.SeverityCritical {
			s[id] = score{severity, why}
		}
	}
}

// score is the highest of what an entry says of its gravity, of 10.
func (e entry) score() (highest float64, ok bool) {
	for _, s := range e.Severity {
		if v, err := cvss3(s.Score); err == nil && v > 0 {
			highest, ok = max(highest, v), true
		}
	}
	// GitHub's word is of its own choice of the scores, and there also where
	// there is only one of CVSS 4.
	word := map[string]float64{"LOW": 0.1, "MODERATE": 4, "MEDIUM": 4, "HIGH": 7, "CRITICAL": 9}
	if v := word[strings.ToUpper(e.DatabaseSpecific.Severity)]; v > 0 {
		highest, ok = max(highest, v), true
	}
	return highest, ok
}

// readScores reads all entries of a folder or zip, in whatever layout.
func readScores(ctx context.Context, opts Options) (scores, error) {
	s := scores{}
	add := func(_ string, e entry) error {
		s.add(e)
		return nil
	}
	src := &source{place: opts.Scores, client: opts.Client}
	if u, ok := src.url(); ok {
		body, _, err := src.get(ctx, u, nil, maxZip)
		if err != nil {
			return nil, err
		}
		z, err := zip.NewReader(bytes.NewReader(body), int64(len(body)))
		if err != nil {
			return nil, err
		}
		return s, eachEntry(z, ".", add)
	}
	info, err := os.Stat(opts.Scores)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return s, eachEntry(os.DirFS(opts.Scores), ".", add)
	}
	z, err := zip.OpenReader(opts.Scores)
	if err != nil {
		return nil, err
	}
	return s, errors.Join(eachEntry(z, ".", add), z.Close())
}

// cvss3 is the base score of a vector of CVSS 3.0 or 3.1
// (https://www.first.org/cvss/v3-1/specification-document, section 7).
func cvss3(vector string) (float64, error) {
	rest, ok := strings.CutPrefix(vector, "CVSS:3.")
	if !ok || len(vector) > 256 || len(rest) < 2 || rest[0] != '0' && rest[0] != '1' || rest[1] != '/' {
		return 0, fmt.Errorf("%.70q is no vector of CVSS 3", vector)
	}
	m := map[string]string{}
	for part := range strings.SplitSeq(rest[2:], "/") {
		k, v, ok := strings.Cut(part, ":")
		if _, again := m[k]; !ok || again {
			return 0, fmt.Errorf("%.70q is no vector of CVSS 3: %.20q", vector, part)
		}
		m[k] = v
	}
	changed := m["S"] == "C"
	if !changed && m["S"] != "U" {
		return 0, fmt.Errorf("%.70q has no scope", vector)
	}
	var missing string
	weight := func(metric string, of map[string]float64) float64 {
		w, ok := of[m[metric]]
		if !ok {
			missing = metric
		}
		return w
	}
	privileges := map[string]float64{"N": 0.85, "L": 0.62, "H": 0.27}
	if changed {
		privileges = map[string]float64{"N": 0.85, "L": 0.68, "H": 0.5}
	}
	harm := map[string]float64{"H": 0.56, "L": 0.22, "N": 0}
	exploitability := 8.22 * weight("AV", map[string]float64{"N": 0.85, "A": 0.62, "L": 0.55, "P": 0.2}) *
		weight("AC", map[string]float64{"L": 0.77, "H": 0.44}) * weight("PR", privileges) *
		weight("UI", map[string]float64{"N": 0.85, "R": 0.62})
	iss := 1 - (1-weight("C", harm))*(1-weight("I", harm))*(1-weight("A", harm))
	if missing != "" {
		return 0, fmt.Errorf("%.70q lacks %s", vector, missing)
	}
	impact := 6.42 * iss
	if changed {
		impact = 7.52*(iss-0.029) - 3.25*math.Pow(iss-0.02, 15)
	}
	if impact <= 0 {
		return 0, nil
	}
	sum := impact + exploitability
	if changed {
		sum *= 1.08
	}
	// Rounded up to a tenth, as the specification's pseudocode does it, in integers.
	i := int(math.Round(min(sum, 10) * 100_000))
	if i%10_000 == 0 {
		return float64(i) / 100_000, nil
	}
	return float64(i/10_000+1) / 10, nil
}
