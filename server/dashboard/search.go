package dashboard

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/caddy-evergreen/evergreen/nearest"
	"github.com/caddy-evergreen/evergreen/wire"
)

// Found is what /api/v1/search gives: the best first.
type Found struct {
	Query string `json:"query"`
	// Total is how many there are; Hits has those up to the limit.
	Total int   `json:"total"`
	Hits  []Hit `json:"hits"`
	// Nearest is a name that may have been meant, where nothing was found.
	Nearest string `json:"nearest,omitempty"`
}

// A Hit is something that has a place on the pages.
type Hit struct {
	Kind string `json:"kind"` // of hitKinds
	Name string `json:"name"`
	Text string `json:"text"`           // a sentence about it
	Href string `json:"href"`           // its page
	Data string `json:"data,omitempty"` // its numbers, from the API

	words []string // it is found by, beside those of its name and text
}

// hitKinds are kinds of hits, the first of equally good ones first.
var hitKinds = []string{"page", "version", "country", "plugin", "chart", "metric", "dimension", "value"}

const (
	maxSearch   = 100 // bytes
	maxTerms    = 8
	defaultHits = 30
	maxHits     = 100
	// What was seen lately is asked for again after foundTTL; until foundStale
	// later, those who search don't wait for it.
	foundTTL   = 5 * time.Minute
	foundStale = 24 * time.Hour
)

// searched is what of the rollups is searched: names that are no vocabulary.
var searched = []struct {
	kind, text string
	metric     wire.MetricID
	ask        string
	href       func(name string) string
}{
	{"version", "A version of Caddy that reported in the last 30 days.", wire.InstancesActive, "facet=version&by=value&limit=300&range=30d", filteredBy(wire.Version)},
	{"plugin", "A plugin of Caddys that reported in the last 30 days.", wire.InstancesPlugins, "by=label&limit=1000&range=30d",
		func(name string) string { return "/instances#chart-plugins" }},
}

func filteredBy(f wire.Facet) func(string) string {
	return func(name string) string {
		return "/instances?" + url.Values{"filter": {filter{f, name}.String()}}.Encode()
	}
}

// vocabulary is what can be found without rollups, made when it is first searched.
func (d *Dashboard) vocabulary() []Hit {
	var hits []Hit
	for _, p := range places {
		for _, pp := range p.Pages {
			if d.has(pp.Path) {
				h := Hit{Kind: "page", Name: pp.Nav, Href: pp.Path}
				if p.Nav != pp.Nav {
					h.Name = p.Nav + ": " + pp.Nav
				}
				if i := slices.IndexFunc(topics, func(t topic) bool { return t.Path == pp.Path }); i >= 0 {
					h.Text = topics[i].Title + "."
				}
				hits = append(hits, h)
			}
		}
	}
	for _, c := range charts {
		h := Hit{Kind: "chart", Name: c.Title, Text: c.Doc, Href: c.page() + "#chart-" + c.ID, Data: c.path("/api/v1", url.Values{"range": {"24h"}})}
		if m := wire.MetricByID(c.Metric); m != nil {
			h.words = append(terms(m.Name), m.Name)
		}
		hits = append(hits, h)
	}
	for _, m := range wire.Metrics() {
		hits = append(hits, Hit{Kind: "metric", Name: m.Name, Text: m.Doc, Href: "/dictionary#" + m.Name,
			Data: "/api/v1/query?" + url.Values{"metric": {m.Name}, "by": {"time"}}.Encode()})
	}
	for _, dim := range wire.Dimensions() {
		hits = append(hits, Hit{Kind: "dimension", Name: dim.Name, Text: dim.Doc, Href: "/dictionary#" + dim.Name})
		for _, v := range dim.Values {
			shown := display(dim.Name, v, wire.All)
			hits = append(hits, Hit{Kind: "value", Name: v, Text: "A value of " + dim.Name + ": " + strings.TrimSuffix(dim.Doc, ".") + ".",
				Href: "/dictionary#" + dim.Name, words: terms(shown + " " + dim.Name)})
		}
	}
	for l := range strings.SplitSeq(strings.Trim(countries, "\n"), "\n") {
		code, name, _ := strings.Cut(l, " ")
		hits = append(hits, Hit{Kind: "country", Name: name, Text: "Instances that report from there (" + code + ").",
			Href:  filteredBy(wire.Country)(code),
			Data:  "/api/v1/query?" + url.Values{"metric": {"instances.active"}, "facet": {"country"}, "value": {code}, "by": {"time,value"}}.Encode(),
			words: []string{strings.ToLower(code)}})
	}
	return hits
}

// recent is what of searched may be shown.
func (d *Dashboard) recent(ctx context.Context) ([]Hit, error) {
	return d.found.get(ctx, "", queryTimeout, func(ctx context.Context) ([]Hit, error) {
		var hits []Hit
		for _, l := range searched {
			q, err := url.ParseQuery(l.ask)
			if err != nil {
				return nil, err
			}
			q.Set("metric", wire.MetricByID(l.metric).Name)
			a, err := d.parseQuestion(q, false)
			if err != nil {
				return nil, err
			}
			ans, err := d.answer(ctx, d.cfg.Store, "", a)
			if err != nil {
				return nil, err
			}
			word := a.words()[0]
			for _, r := range ans.Rows {
				if name := r.Group[word]; name != "" && name != "other" {
					hits = append(hits, Hit{Kind: l.kind, Name: name, Text: l.text, Href: l.href(name)})
				}
			}
		}
		return hits, nil
	})
}

// terms are the words of s, in lower case: a version stays one.
func terms(s string) []string {
	return strings.FieldsFunc(strings.ToLower(s), func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsNumber(r) && r != '.' && r != '-'
	})
}

// search finds what has each of the words of q, or words that begin with them.
func (d *Dashboard) search(ctx context.Context, q string, limit int) (*Found, error) {
	f := &Found{Query: q, Hits: []Hit{}}
	wanted := terms(q)
	if len(wanted) == 0 {
		return f, nil
	}
	if len(wanted) > maxTerms {
		return nil, badParameter("q has %d words; %d is the most.", len(wanted), maxTerms)
	}
	recent, err := d.recent(ctx)
	if err != nil {
		return nil, err
	}
	type scored struct {
		Hit
		score int
	}
	var found []scored
	for _, hits := range [][]Hit{d.known(), recent} {
		for _, h := range hits {
			if s := h.score(wanted, q); s > 0 {
				found = append(found, scored{h, s})
			}
		}
	}
	slices.SortStableFunc(found, func(a, b scored) int {
		return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(slices.Index(hitKinds, a.Kind), slices.Index(hitKinds, b.Kind)),
			cmp.Compare(len(a.Name), len(b.Name)), cmp.Compare(a.Name, b.Name))
	})
	f.Total = len(found)
	for _, s := range found[:min(limit, len(found))] {
		f.Hits = append(f.Hits, s.Hit)
	}
	if f.Total == 0 {
		var names []string
		for _, hits := range [][]Hit{d.known(), recent} {
			for _, h := range hits {
				names = append(names, h.Name)
			}
		}
		f.Nearest = nearest.Name(q, names)
	}
	return f, nil
}

// score is how well h fits: 0 if it lacks one of the words.
func (h *Hit) score(wanted []string, q string) int {
	name, text := terms(h.Name), terms(h.Text)
	score := 0
	for _, w := range wanted {
		best := max(4*fit(w, name), 3*fit(w, h.words), fit(w, text))
		if best == 0 && len(w) > 2 && strings.Contains(strings.ToLower(h.Name), w) {
			best = 2
		}
		if best == 0 {
			return 0
		}
		score += best
	}
	if strings.EqualFold(h.Name, strings.TrimSpace(q)) {
		score += 10
	}
	// There are many values, and few pages.
	switch h.Kind {
	case "page":
		score += 12
	case "value":
		score -= 6
	default:
		score += 4
	}
	return max(score, 1)
}

// fit is 3 if w is one of words, 2 if one begins with it, 1 if a part of one does.
func fit(w string, words []string) int {
	best := 0
	for _, have := range words {
		switch {
		case have == w || strings.TrimPrefix(have, "v") == w:
			return 3
		case strings.HasPrefix(have, w) || strings.HasPrefix(strings.TrimPrefix(have, "v"), w):
			best = 2
		case best < 1 && (strings.Contains(have, "."+w) || strings.Contains(have, "-"+w)):
			best = 1
		}
	}
	return best
}

// searchOf reads q and limit.
func (d *Dashboard) searchOf(r *http.Request) (*Found, error) {
	q, err := query(r)
	if err != nil {
		return nil, err
	}
	if err := strict(q, []string{"q", "limit"}); err != nil {
		return nil, err
	}
	if n := len(q.Get("q")); n > maxSearch {
		return nil, badParameter("q is %d bytes long; %d is the most.", n, maxSearch)
	}
	limit := defaultHits
	if s := q.Get("limit"); s != "" {
		if limit, err = strconv.Atoi(s); err != nil || limit < 1 || limit > maxHits {
			return nil, badParameter("limit is %.40q: it is how many hits to list, from 1 to %d.", s, maxHits)
		}
	}
	return d.search(r.Context(), strings.ToValidUTF8(q.Get("q"), "\ufffd"), limit)
}

func (d *Dashboard) apiSearch(w http.ResponseWriter, r *http.Request) error {
	f, err := d.searchOf(r)
	if err != nil {
		return err
	}
	return d.writeJSON(w, r, f, false)
}

// A searchBody fills search.html.
type searchBody struct {
	*Found
	More int
}

func (d *Dashboard) searchPage(w http.ResponseWriter, r *http.Request) error {
	f, err := d.searchOf(r)
	if err != nil {
		return err
	}
	return d.render(w, r, "search.html", page{
		Title: "Search", Path: "/search", Script: true, Search: f.Query, Body: searchBody{f, f.Total - len(f.Hits)},
	}, http.StatusOK)
}
