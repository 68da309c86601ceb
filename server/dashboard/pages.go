package dashboard

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/caddy-evergreen/evergreen/wire"
)

// A page is what every template is given.
type page struct {
	Deployment string // the dashboard's name
	Title      string
	Path       string // for the navigation
	Private    bool
	Live       bool   // worth refreshing
	Search     string // what was searched for
	Script     bool
	Style      string // of this page, beside style.css
	Ranges     []rangeLink
	Below      string     // the path of the page that this is one chart of
	Frame      *frameView // to filter and compare; nil where there is nothing to
	Pages      []navLink  // the navigation
	Beside     []navLink  // the pages beside this one, itself included; none if it is alone
	Nav        string     // what the navigation calls this page, or its entry
	Builds     bool       // is there a page to build Caddys?
	Simulated  bool       // says so
	Body       any
}

// A rangeLink is one choice of the switch.
type rangeLink struct {
	Title, Short, Href string
	Current            bool
}

func (d *Dashboard) render(w http.ResponseWriter, r *http.Request, name string, p page, status int) error {
	p.Deployment, p.Builds, p.Simulated = d.cfg.Name, d.cfg.Builds, d.cfg.Simulated
	if p.Pages, p.Beside, p.Nav = d.navigation(cmp.Or(p.Below, p.Path), p.Below == ""); p.Nav == "" {
		p.Nav = p.Title
	}
	t, err := d.assets.templates()
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := t.ExecuteTemplate(&b, name, p); err != nil {
		return err
	}
	if status != http.StatusOK {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.WriteHeader(status)
		w.Write(b.Bytes()) // an error means that nobody is listening
		return nil
	}
	cacheControl := "no-cache"
	if p.Private {
		cacheControl = ""
	}
	body := b.Bytes()
	if p.Live {
		body = stamp(body)
	}
	send(w, r, "text/html; charset=utf-8", body, cacheControl)
	return nil
}

// message is a page that says what went wrong.
func (d *Dashboard) message(w http.ResponseWriter, r *http.Request, f *fault) {
	err := d.render(w, r, "message.html", page{Title: capital(f.title), Body: f}, f.status)
	if err != nil {
		d.cfg.Logger.Error("rendering a message", "err", err)
	}
}

// switchTo makes the links of the range switch; extra are parameters to keep.
func switchTo(path string, s span, extra url.Values) []rangeLink {
	var links []rangeLink
	for _, r := range ranges {
		q := url.Values{"range": {r.Name}}
		for k, v := range extra {
			q[k] = v
		}
		links = append(links, rangeLink{capital(r.Title), r.Short, path + "?" + q.Encode(), r.Name == s.name})
	}
	return links
}

// spanOf is how the API is asked for a page's span. A range moves with time.
func spanOf(q url.Values, s span) url.Values {
	v := url.Values{}
	for _, k := range spanParams {
		if q.Has(k) {
			v[k] = q[k]
		}
	}
	if len(v) == 0 {
		v.Set("range", s.name)
	}
	return v
}

// A sectionView is a section with its figures.
type sectionView struct {
	section
	Figures []*figure
	Found   []finding // what the numbers answer
	More    string    // the page that has more of it
	Nothing string    // titles of figures that are left out since they are empty
}

// figuresFor asks the questions of those charts that on says, several at once.
func (d *Dashboard) figuresFor(ctx context.Context, on func(chart) bool, href func(chart) string,
	ask func(context.Context, chart, question) (*Answer, error)) ([]sectionView, error) {
	return d.figures(ctx, on, asking{href: href, ask: ask})
}

// An asking is how charts are asked for.
type asking struct {
	href  func(chart) string
	ask   func(context.Context, chart, question) (*Answer, error)
	frame *framing // nil where figures have nothing around them
}

func (d *Dashboard) figures(ctx context.Context, on func(chart) bool, how asking) ([]sectionView, error) {
	var wanted []chart
	for _, c := range charts {
		if on(c) {
			wanted = append(wanted, c)
		}
	}
	figures := make([]*figure, len(wanted))
	err := each(ctx, len(wanted), func(ctx context.Context, i int) (err error) {
		figures[i], err = d.figure(ctx, wanted[i], how)
		return err
	})
	if err != nil {
		return nil, err
	}
	var views []sectionView
	for _, s := range sections {
		v := sectionView{section: s}
		for _, f := range figures {
			if f.Section == s.ID {
				v.Figures = append(v.Figures, f)
			}
		}
		if len(v.Figures) > 0 {
			views = append(views, v)
		}
	}
	return views, nil
}

// figure asks c's question.
func (d *Dashboard) figure(ctx context.Context, c chart, how asking) (*figure, error) {
	a, ans, err := d.chartAnswer(ctx, c, how.href, how.ask)
	if err != nil {
		return nil, err
	}
	var base *Answer
	if c.Base != 0 {
		if _, base, err = d.chartAnswer(ctx, c.base(a), how.href, how.ask); err != nil {
			return nil, err
		}
	}
	f, err := newFigure(c, how.href(c), a, ans, base)
	if err != nil || how.frame == nil {
		return f, err
	}
	return f, how.frame.surround(ctx, f, a, how.ask)
}

// foldEmpty replaces figures that have nothing by their titles: one instance
// has no use for most of them.
func foldEmpty(views []sectionView) {
	for i := range views {
		v := &views[i]
		var none []string
		v.Figures = slices.DeleteFunc(v.Figures, func(f *figure) bool {
			if f.Empty {
				none = append(none, f.Title)
			}
			return f.Empty
		})
		v.Nothing = strings.Join(none, ", ")
	}
}

// chartAnswer asks what c asks.
func (d *Dashboard) chartAnswer(ctx context.Context, c chart, href func(chart) string,
	ask func(context.Context, chart, question) (*Answer, error)) (question, *Answer, error) {
	a, err := d.question(&c, href(c))
	if err != nil {
		return question{}, nil, err
	}
	ans, err := ask(ctx, c, a)
	return a, ans, err
}

// An overviewBody fills overview.html.
type overviewBody struct {
	Lead     string
	Tiles    []tile
	Sections []sectionView
	Changed  []finding
	News     []newsLine
	NewsHref string
	Range    string
	Empty    bool
}

type newsLine struct{ Of, Title, Count string }

const maxNews = 12

// pageSpan reads the span that a page of charts is asked for, and how the API
// is asked for it.
func (d *Dashboard) pageSpan(r *http.Request) (s span, at url.Values, err error) {
	q, err := query(r)
	if err != nil {
		return s, nil, err
	}
	if err := strict(q, append(slices.Clone(frameParams), spanParams...)); err != nil {
		return s, nil, err
	}
	if err := checkFrame(q); err != nil {
		return s, nil, err
	}
	if !slices.ContainsFunc(spanParams, q.Has) {
		name, err := d.defaultRange(r.Context())
		if err != nil {
			return s, nil, err
		}
		q.Set("range", name)
	}
	if s, err = d.parseSpan(q); err != nil {
		return s, nil, err
	}
	at = spanOf(q, s)
	maps.Copy(at, frameOf(q))
	return s, at, nil
}

// publicFigures are those figures of the store's sums that on says.
func (d *Dashboard) publicFigures(ctx context.Context, at url.Values, on func(chart) bool) ([]sectionView, error) {
	how, err := d.public(ctx, at)
	if err != nil {
		return nil, err
	}
	return d.figures(ctx, on, how)
}

// public asks the store.
func (d *Dashboard) public(ctx context.Context, at url.Values) (asking, error) {
	fr, err := d.framing(ctx, at)
	return asking{
		href: func(c chart) string { return c.path("/api/v1", at) },
		ask: func(ctx context.Context, _ chart, a question) (*Answer, error) {
			return d.answer(ctx, d.cfg.Store, "", a)
		},
		frame: fr,
	}, err
}

func (d *Dashboard) overview(w http.ResponseWriter, r *http.Request) error {
	s, at, err := d.pageSpan(r)
	if err != nil {
		return err
	}
	body := overviewBody{Range: rangeTitle(s), NewsHref: "/api/v1/new?" + without(at, frameParams...).Encode()}
	var news *News
	err = each(r.Context(), 4, func(ctx context.Context, i int) (err error) {
		switch i {
		case 0:
			body.Sections, err = d.publicFigures(ctx, at, func(c chart) bool { return c.Overview })
			body.Sections = byPlace(body.Sections, at)
		case 1:
			body.Tiles, body.Empty, err = d.tiles(ctx, s, at)
		case 2:
			news, err = d.news(ctx, s)
		case 3:
			body.Changed, err = d.changed(ctx, s, at)
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, it := range news.Items[:min(len(news.Items), maxNews)] {
		body.News = append(body.News, newsLine{it.of, it.title, whole(it.Count)})
	}
	frame, err := d.frameView(r.Context(), "/", at)
	if err != nil {
		return err
	}
	return d.render(w, r, "overview.html", page{
		Frame: frame,
		Title: "Now", Path: "/", Live: true, Script: true, Ranges: switchTo("/", s, frameOf(at)), Body: body,
	}, http.StatusOK)
}

// A topicBody fills topic.html.
type topicBody struct {
	Title, Lead string
	Notice      string
	Tiles       []tile
	Campaigns   *campaignsView
	Spread      *spreadView
	About       *aboutView
	Sections    []sectionView
}

// topic answers with the page of all charts of t.
func (d *Dashboard) topic(t topic) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		s, at, err := d.pageSpan(r)
		if err != nil {
			return err
		}
		body := topicBody{Title: t.Title, Lead: fmt.Sprintf(t.Lead, "in the "+rangeTitle(s)), Notice: t.Notice}
		var found []finding
		err = each(r.Context(), 4, func(ctx context.Context, i int) (err error) {
			switch {
			case i == 0:
				body.Sections, err = d.publicFigures(ctx, at, func(c chart) bool { return c.page() == t.Path })
			case i == 1:
				body.Tiles, err = d.topicTiles(ctx, t.Path, s, at)
			case i == 2:
				found, err = d.findings(ctx, s, at, func(p telling) bool { return pageOf(p.section) == t.Path })
			case t.Path == "/attacks":
				body.Campaigns, err = d.campaignsPage(ctx, s, at)
			case t.Path == "/updates":
				body.Spread, err = d.spreadPage(ctx)
			case t.Path == "/about":
				body.About = d.aboutPage(ctx)
			}
			return err
		})
		if err != nil {
			return err
		}
		frame, err := d.frameView(r.Context(), t.Path, at)
		if err != nil {
			return err
		}
		for i := range body.Sections {
			v := &body.Sections[i]
			for _, f := range found {
				if f.Section == v.ID {
					v.Found = append(v.Found, f)
				}
			}
		}
		return d.render(w, r, "topic.html", page{
			Frame: frame,
			Title: t.Title, Path: t.Path, Live: true, Script: true, Ranges: switchTo(t.Path, s, frameOf(at)), Body: body,
		}, http.StatusOK)
	}
}

// defaultRange is a day, or an hour where counting began less than two hours ago.
func (d *Dashboard) defaultRange(ctx context.Context) (string, error) {
	day, _ := rangeByName("24h")
	m := wire.MetricByID(wire.InstancesActive)
	s := day.span(d.cfg.Timing, d.cfg.Now())
	ans, err := d.answer(ctx, d.cfg.Store, "", question{span: s, metric: m, byTime: true, limit: defaultSeries})
	if err != nil {
		return "", err
	}
	if len(ans.Rows) == 0 || ans.Rows[0].Time.After(d.cfg.Now().Add(-2*time.Hour)) {
		return "1h", nil
	}
	return "24h", nil
}

func rangeTitle(s span) string {
	if r, ok := rangeByName(s.name); ok {
		return r.Title
	}
	return moment(s.from, s.grain) + " to " + moment(s.to, s.grain)
}

// rangeShort is a range's length, for narrow places.
func rangeShort(s span) string {
	if r, ok := rangeByName(s.name); ok && r.length > 0 {
		return r.Short
	}
	return "all this time"
}

// A dictionaryBody fills dictionary.html.
type dictionaryBody struct {
	Version    int
	Metrics    []*wire.Metric
	Dimensions []*wire.Dimension
}

func (d *Dashboard) dictionary(w http.ResponseWriter, r *http.Request) error {
	if err := plainURL(r); err != nil {
		return err
	}
	return d.render(w, r, "dictionary.html", page{
		Title: "Dictionary", Path: "/dictionary",
		Body: dictionaryBody{wire.DictionaryVersion, wire.Metrics(), wire.Dimensions()},
	}, http.StatusOK)
}

func (d *Dashboard) privacyPage(w http.ResponseWriter, r *http.Request) error {
	if err := plainURL(r); err != nil {
		return err
	}
	return d.render(w, r, "privacy.html", page{Title: "Privacy", Path: "/privacy", Body: d.cfg.Privacy}, http.StatusOK)
}
