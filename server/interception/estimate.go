// Package interception turns counts of verdicts into the share of connections
// that are likely to be intercepted.
//
// What arrives is how many of the connections that could be judged were judged
// inconsistent with their User-Agent, and how well the judgement does: its
// sensitivity and specificity, measured with clients and interceptors whose
// nature was known ([Measured], docs/interception.md). What leaves is an
// estimate with its confidence interval. It is guaranteed to lie in [0, 1], to
// be wide where little is known, and not to take the judgement's own errors for
// interception.
//
// A browser whose User-Agent was changed by its user looks the same as one whose
// connection is intercepted: what is estimated is the share of User-Agent/TLS
// mismatches.
package interception

import (
	"errors"
	"fmt"
	"math"
)

// A Quality is how well a judgement does.
type Quality struct {
	Sensitivity float64 // the share of intercepted connections that are flagged
	Specificity float64 // the share of others that are not

	// How many known connections each was measured with; 0 if it is taken as exact.
	SensitivityOf, SpecificityOf int
}

// An Estimate is a share of connections with its confidence interval.
type Estimate struct {
	Share     float64
	Low, High float64
}

// ErrUseless is returned of a judgement that is no better than chance.
var ErrUseless = errors.New("the judgement is no better than chance")

// Prevalence is the Rogan–Gladen estimate of the share of connections that are
// intercepted, (p + Sp − 1) ÷ (Se + Sp − 1) for the share p = flagged ÷ judged,
// with the interval of Lang and Reiczigel for the given confidence (such as
// 0.95), which counts the uncertainty of the share, of the sensitivity and of
// the specificity. Connections that are judged unknown belong in neither count.
func Prevalence(flagged, judged uint64, q Quality, confidence float64) (Estimate, error) {
	switch {
	case !(q.Sensitivity >= 0 && q.Sensitivity <= 1 && q.Specificity >= 0 && q.Specificity <= 1):
		return Estimate{}, fmt.Errorf("sensitivity %v and specificity %v: both are shares", q.Sensitivity, q.Specificity)
	case q.Sensitivity+q.Specificity <= 1:
		return Estimate{}, ErrUseless
	case !(confidence > 0 && confidence < 1):
		return Estimate{}, fmt.Errorf("confidence %v is not between 0 and 1", confidence)
	case flagged > judged:
		return Estimate{}, fmt.Errorf("%d of %d connections flagged", flagged, judged)
	case judged == 0:
		return Estimate{0, 0, 1}, nil
	}
	z := math.Sqrt2 * math.Erfinv(confidence)
	n := float64(judged)
	share := clamp(corrected(float64(flagged)/n, q.Sensitivity, q.Specificity))

	// Agresti–Coull for the share, and one more of each kind for what was
	// measured, so that none is certain for want of a counterexample.
	n2 := n + z*z
	p := (float64(flagged) + z*z/2) / n2
	se, sp := q.Sensitivity, q.Specificity
	var varSe, varSp float64
	if m := float64(q.SensitivityOf); m > 0 {
		se = (m*se + 1) / (m + 2)
		varSe = se * (1 - se) / (m + 2)
	}
	if m := float64(q.SpecificityOf); m > 0 {
		sp = (m*sp + 1) / (m + 2)
		varSp = sp * (1 - sp) / (m + 2)
	}
	j := se + sp - 1
	if j <= 0 {
		return Estimate{share, 0, 1}, nil
	}
	mid := corrected(p, se, sp)
	// Lang and Reiczigel (2014) shift the middle for the errors of Se and Sp.
	mid += 2 * z * z * (mid*varSe - (1-mid)*varSp)
	sd := math.Sqrt(p*(1-p)/n2+(1-mid)*(1-mid)*varSp+mid*mid*varSe) / j
	low, high := clamp(mid-z*sd), clamp(mid+z*sd)
	return Estimate{share, min(low, share), max(high, share)}, nil
}

func corrected(p, se, sp float64) float64 { return (p + sp - 1) / (se + sp - 1) }

func clamp(x float64) float64 { return min(max(x, 0), 1) }

// FalseFlags is the share of flags that are false where the given share of
// connections is intercepted: with 97 % sensitivity and 99 % specificity, 16 %
// of flags at a prevalence of 5 %, and 51 % at 1 %.
func FalseFlags(prevalence float64, q Quality) float64 {
	wrong := (1 - prevalence) * (1 - q.Specificity)
	flags := prevalence*q.Sensitivity + wrong
	if flags == 0 {
		return 0
	}
	return wrong / flags
}

// Families are the families of clients that Measured was measured with, as the
// dimension client_family names them. Of others' verdicts (a bot's, a tool's)
// it is not known how often they err.
func Families() []string { return []string{"chromium", "firefox", "safari"} }

// Measured is how well package clients judges, by the matrix of
// docs/interception.md: of browsers none was flagged, of interceptors none was
// missed. It counts kinds of hello, not pairs of hello and User-Agent, which are
// no independent samples: so that an interval is as wide as it should be.
func Measured() Quality {
	return Quality{Sensitivity: 1, Specificity: 1, SensitivityOf: 11, SpecificityOf: 82}
}
