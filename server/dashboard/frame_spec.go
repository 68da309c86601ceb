package dashboard

import (
	"encoding/json"

	"github.com/caddy-evergreen/evergreen/wire"
)

// A spec is how an answer is to be drawn: what web/src/option.ts takes beside
// it, in pages and in pictures alike.
type spec struct {
	ID    string            `json:"id"`
	Kind  form              `json:"kind"`
	Title string            `json:"title"`
	Unit  string            `json:"unit"`
	Names map[string]string `json:"names"` // of series, for people
	Order []string          `json:"order"` // of series, as vocabularies have it
	Whole string            `json:"whole,omitempty"`
	Mean  bool              `json:"mean,omitempty"`
	Flow  []string          `json:"levels,omitempty"`  // of a sankey
	Col   string            `json:"columns,omitempty"` // of a heat
	// Wholes are, in pictures of a matrix whose columns overlap, its rows' counts.
	Wholes map[string]uint64 `json:"wholes,omitempty"`
	// Annotations and Before are only in pictures' specs: a page has their
	// addresses, and a script puts them in.
	Annotations []Annotation `json:"annotations,omitempty"`
	// Before is the same question's answer about the equally long time before.
	Before *Answer `json:"before,omitempty"`
}

// Spec is f's.
func (f *figure) spec() spec {
	s := spec{
		ID: f.ID, Kind: f.Form, Title: f.Title, Unit: string(wire.MetricByID(f.Metric).Unit),
		Names: f.valueNames(), Order: f.order, Mean: f.Mean, Flow: f.Flow, Col: f.Columns,
	}
	if f.Form == portion || f.Form == matrix || f.Form == heat {
		s.Whole = f.Whole
	}
	return s
}

// Spec is f's as JSON, for a page.
func (f *figure) Spec() (string, error) {
	b, err := json.Marshal(f.spec())
	return string(b), err
}
