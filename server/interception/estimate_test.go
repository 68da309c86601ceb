package interception

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var rounded = cmpopts.EquateApprox(0, 5e-4)

func TestPrevalence(t *testing.T) {
	exact := Quality{Sensitivity: 0.97, Specificity: 0.99}
	for _, c := range []struct {
		name            string
		flagged, judged uint64
		q               Quality
		want            float64
	}{
		// 5 % intercepted: 0.05 × 0.97 + 0.95 × 0.01 = 5.8 % are flagged.
		{"the example of the documentation", 58_000, 1_000_000, exact, 0.05},
		{"only false flags", 10_000, 1_000_000, exact, 0},
		{"fewer than the false flags", 2_000, 1_000_000, exact, 0},
		{"all", 1_000_000, 1_000_000, exact, 1},
		{"a perfect judgement", 123, 1000, Quality{Sensitivity: 1, Specificity: 1}, 0.123},
	} {
		got, err := Prevalence(c.flagged, c.judged, c.q, 0.95)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if diff := cmp.Diff(c.want, got.Share, rounded); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
		if !(0 <= got.Low && got.Low <= got.Share && got.Share <= got.High && got.High <= 1) {
			t.Errorf("%s: the interval of %+v", c.name, got)
		}
	}
}

func TestPrevalenceKnowsLittle(t *testing.T) {
	q := Quality{Sensitivity: 0.97, Specificity: 0.99, SensitivityOf: 100, SpecificityOf: 100}
	nothing, err := Prevalence(0, 0, q, 0.95)
	if diff := cmp.Diff(Estimate{0, 0, 1}, nothing); diff != "" || err != nil {
		t.Errorf("of nothing (%v, -want +got):\n%s", err, diff)
	}
	width := func(flagged, judged uint64, q Quality) float64 {
		e, err := Prevalence(flagged, judged, q, 0.95)
		if err != nil {
			t.Fatal(err)
		}
		return e.High - e.Low
	}
	if few, many := width(2, 20, q), width(2000, 20_000, q); few < 2*many {
		t.Errorf("the interval is %.3f wide of 20 connections, and %.3f of 20,000", few, many)
	}
	vague := q
	vague.SpecificityOf = 30
	if sure, unsure := width(2000, 20_000, q), width(2000, 20_000, vague); unsure <= sure {
		t.Errorf("a specificity from 30 samples makes the interval %.3f wide, from 100 %.3f", unsure, sure)
	}
}

func TestPrevalenceRefuses(t *testing.T) {
	if _, err := Prevalence(1, 10, Quality{Sensitivity: 0.3, Specificity: 0.7}, 0.95); !errors.Is(err, ErrUseless) {
		t.Errorf("chance: %v", err)
	}
	for _, c := range []struct {
		flagged, judged uint64
		q               Quality
		confidence      float64
	}{
		{11, 10, Quality{Sensitivity: 1, Specificity: 1}, 0.95},
		{1, 10, Quality{Sensitivity: 1.1, Specificity: 1}, 0.95},
		{1, 10, Quality{Sensitivity: math.NaN(), Specificity: 1}, 0.95},
		{1, 10, Quality{Sensitivity: 1, Specificity: 1}, 1},
	} {
		if e, err := Prevalence(c.flagged, c.judged, c.q, c.confidence); err == nil {
			t.Errorf("%+v gives %+v", c, e)
		}
	}
}

// Over many surveys the interval holds the truth about as often as it says.
func TestPrevalenceCovers(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 14))
	binomial := func(n int, p float64) (k int) {
		for range n {
			if random.Float64() < p {
				k++
			}
		}
		return k
	}
	for _, truth := range []float64{0.01, 0.05, 0.2} {
		const surveys, connections, known = 1500, 2000, 300
		held := 0
		for range surveys {
			q := Quality{SensitivityOf: known, SpecificityOf: known}
			q.Sensitivity = float64(binomial(known, 0.97)) / known
			q.Specificity = float64(binomial(known, 0.99)) / known
			flagged := binomial(connections, truth*0.97+(1-truth)*0.01)
			e, err := Prevalence(uint64(flagged), connections, q, 0.95)
			if err != nil {
				t.Fatal(err)
			}
			if e.Low <= truth && truth <= e.High {
				held++
			}
		}
		if share := float64(held) / surveys; share < 0.93 {
			t.Errorf("at %.0f %% the interval holds the truth in %.1f %% of surveys", 100*truth, 100*share)
		}
	}
}

func TestFalseFlags(t *testing.T) {
	q := Quality{Sensitivity: 0.97, Specificity: 0.99}
	got := []float64{FalseFlags(0.05, q), FalseFlags(0.01, q), FalseFlags(1, q), FalseFlags(0, Quality{Sensitivity: 1, Specificity: 1})}
	if diff := cmp.Diff([]float64{0.1638, 0.5051, 0, 0}, got, rounded); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
