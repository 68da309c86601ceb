package dashboard

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/caddy-evergreen/evergreen/server/watch"
	"github.com/caddy-evergreen/evergreen/wire"
)

// Alerts keep who is told what. Their errors may have a method Problem.
type Alerts interface {
	// Allow refuses a sender who subscribes too often.
	Allow(r *http.Request) error
	Subscribe(ctx context.Context, r watch.Request) (watch.Created, error)
	Subscription(ctx context.Context, id string) (watch.Subscription, error)
	// OfInstance are an instance's subscriptions, the oldest first.
	OfInstance(ctx context.Context, id wire.InstanceID) ([]watch.Subscription, error)
	// End ends a subscription for its token, EndOf one of an instance.
	End(ctx context.Context, id, token string) error
	EndOf(ctx context.Context, instance wire.InstanceID, id string) error
}

// publicAlerts is the id of the subscription that everybody sees.
const publicAlerts = "public"

// An alertsBody fills alerts.html.
type alertsBody struct {
	ID, Name, State, Why, Host, Feed string
	Public                           bool
	Created                          string
	Watches                          []watchLine
	Events                           []eventLine
	Form                             *alertForm
	Departed                         int
	Link                             string // of the instance, to end it with
}

type watchLine struct {
	Name, State, Class, Value, Usual, Range, Since, Href, What string
	// Where the value is in a bar of 100, and where what is usual is; "" if unknown.
	At, From, Width string
}

type eventLine struct {
	ID, When, Text, Title, Delivery string
	Bad                             bool
}

// An alertForm is how to subscribe without a script.
type alertForm struct {
	Action  string
	Link    string // an instance's
	Choices []alertChoice
	// What a link asked to be watched, or was entered.
	Query, Measure, Name, URL string
	Own                       bool
}

type alertChoice struct {
	N       int
	Name    string
	Checked bool
}

// alertRoutes are there where alerts are.
func (d *Dashboard) alertRoutes() []route {
	if d.cfg.Alerts == nil {
		return nil
	}
	return []route{
		{path: "/alerts", live: true, handle: d.alertsPage},
		{path: "/alerts/{id}", live: true, private: true, handle: d.alertPage},
		{path: "/alerts/subscribe", post: true, private: true, handle: d.subscribe},
		{path: "/alerts/{id}/end", post: true, private: true, handle: d.endAlert},
	}
}

func (d *Dashboard) alertsPage(w http.ResponseWriter, r *http.Request) error {
	q, err := query(r)
	if err != nil {
		return err
	}
	if err := strict(q, []string{"query", "measure", "name"}); err != nil {
		return err
	}
	sub, err := d.cfg.Alerts.Subscription(r.Context(), publicAlerts)
	if err != nil {
		return err
	}
	body := newAlertsBody(sub)
	body.Public = true
	body.Form = &alertForm{Action: "/alerts/subscribe", Choices: choices(PublicWatches(), q.Get("query") == ""), Query: q.Get("query"), Measure: q.Get("measure"), Name: q.Get("name")}
	return d.render(w, r, "alerts.html", page{Title: "Alerts", Path: "/alerts", Live: true, Script: true, Body: body}, http.StatusOK)
}

// choices are watches to choose from; the first two, if any are, are chosen.
func choices(ws []watch.Watch, some bool) (cs []alertChoice) {
	for i, w := range ws {
		cs = append(cs, alertChoice{i, w.Name, some && i < 2})
	}
	return cs
}

func (d *Dashboard) alertPage(w http.ResponseWriter, r *http.Request) error {
	if err := plainURL(r); err != nil {
		return err
	}
	if r.PathValue("id") == publicAlerts {
		http.Redirect(w, r, "/alerts", http.StatusSeeOther)
		return nil
	}
	sub, err := d.cfg.Alerts.Subscription(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	return d.render(w, r, "alerts.html", page{
		Title: sub.Name, Path: "/alerts", Private: true, Live: true, Script: true, Body: newAlertsBody(sub),
	}, http.StatusOK)
}

func newAlertsBody(sub watch.Subscription) *alertsBody {
	b := &alertsBody{
		ID: sub.ID, Name: sub.Name, State: sub.State, Why: sub.Why, Host: sub.Host, Feed: sub.Feed,
		Created: sub.Created.UTC().Format("2 January 2006"),
	}
	for _, w := range sub.Watches {
		b.Watches = append(b.Watches, newWatchLine(w, sub.Instance == ""))
		if w.State == watch.Departed {
			b.Departed++
		}
	}
	for _, e := range sub.Events {
		title, text, _ := strings.Cut(e.Text, "; ")
		b.Events = append(b.Events, eventLine{
			ID: e.ID, When: e.Time.UTC().Format("2 Jan, 15:04"), Title: title, Text: capital(text), Delivery: e.Delivery, Bad: e.Type == watch.Departs,
		})
	}
	return b
}

func newWatchLine(w watch.Watched, public bool) watchLine {
	l := watchLine{Name: w.Name, Class: string(w.State), Since: w.Since.UTC().Format("2 Jan, 15:04")}
	switch w.State {
	case watch.Departed:
		l.State = "Unusually high"
		if w.Side == watch.Under {
			l.State = "Unusually low"
		}
		if w.Measure == watch.Silence {
			l.State = "Silent"
		}
	case watch.Usual:
		l.State = "As usual"
	case watch.Learning:
		l.State = "Learning"
		l.What = "There is too little to compare with: it takes a day."
	default:
		l.State = "Unknown"
		l.What = "Nothing was counted in the last hour, or too little."
	}
	if public && w.Query != "" {
		q := w.Query
		end := "/api/v1/query?"
		if w.Measure == watch.Quantile {
			end = "/api/v1/quantiles?"
		}
		if v, err := url.ParseQuery(q); err == nil {
			v.Set("by", "time")
			v.Set("range", "7d")
			if v.Has("facet") {
				v.Set("by", "time,value")
			}
			if v.Has("label") {
				v.Set("by", v.Get("by")+",label")
			}
			l.Href = end + v.Encode()
		}
	}
	j := w.Latest
	if j == nil {
		return l
	}
	l.Value = watch.Show(j.Value, w.Unit)
	if !j.Known || w.Measure == watch.Silence {
		return l
	}
	l.Usual = watch.Show(j.Usual, w.Unit)
	l.Range = watch.Show(j.Lowest, w.Unit) + " – " + watch.Show(j.Most, w.Unit)
	end := max(j.Most, j.Value) * 1.15
	if end <= 0 {
		return l
	}
	part := func(f float64) string { return strconv.FormatFloat(100*f/end, 'f', 1, 64) }
	l.At, l.From, l.Width = part(j.Value), part(j.Lowest), part(j.Most-j.Lowest)
	return l
}

// A createdBody fills alert_created.html.
type createdBody struct {
	watch.Created
	Host string
	Link string
}

const maxForm = 32 << 10

// postedForm reads a form that was sent, strictly.
func postedForm(w http.ResponseWriter, r *http.Request, known ...string) (url.Values, error) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if r.URL.RawQuery != "" {
		return nil, badParameter("a form is sent to this address without a query.")
	}
	if err := r.ParseForm(); err != nil {
		return nil, badParameter("the form can't be read: %v.", err)
	}
	for k, vs := range r.PostForm {
		if !slices.Contains(known, k) {
			return nil, badParameter("%.40q is in no form here.%s", k, guess(k, known))
		}
		if len(vs) > 1 && k != "watch" || len(vs) > maxValues {
			return nil, badParameter("%q is given %d times.", k, len(vs))
		}
	}
	return r.PostForm, nil
}

func (d *Dashboard) subscribe(w http.ResponseWriter, r *http.Request) error {
	f, err := postedForm(w, r, "watch", "direction", "sensitivity", "query", "measure", "name", "url", "link")
	if err != nil {
		return err
	}
	if err := d.cfg.Alerts.Allow(r); err != nil {
		return err
	}
	wish := watch.Request{Name: strings.TrimSpace(f.Get("name")), URL: strings.TrimSpace(f.Get("url"))}
	offered := PublicWatches()
	if f.Get("link") != "" {
		id, _, err := d.linked(f.Get("link"))
		if err != nil {
			return err
		}
		wish.Instance, offered = &id, OwnWatches()
	}
	for _, n := range f["watch"] {
		i, err := strconv.Atoi(n)
		if err != nil || i < 0 || i >= len(offered) {
			return badParameter("watch is %.20q: it is the number of one that is offered.", n)
		}
		one := offered[i]
		one.Sensitivity = watch.Sensitivity(f.Get("sensitivity"))
		wish.Watches = append(wish.Watches, one)
	}
	if q := strings.TrimSpace(f.Get("query")); q != "" {
		wish.Watches = append(wish.Watches, watch.Watch{
			Query: strings.TrimPrefix(q, "?"), Measure: watch.Measure(f.Get("measure")),
			Direction: watch.Direction(f.Get("direction")), Sensitivity: watch.Sensitivity(f.Get("sensitivity")),
		})
	}
	if wish.Name == "" {
		wish.Name = "Alerts of " + d.cfg.Name
		if wish.Instance != nil {
			wish.Name = "Alerts of my Caddy"
		}
	}
	c, err := d.cfg.Alerts.Subscribe(r.Context(), wish)
	if err != nil {
		return err
	}
	body := createdBody{Created: c, Link: f.Get("link")}
	if u, err := url.Parse(wish.URL); err == nil {
		body.Host = u.Hostname()
	}
	return d.render(w, r, "alert_created.html", page{Title: "You are subscribed", Path: "/alerts", Private: true, Body: body}, http.StatusOK)
}

func (d *Dashboard) endAlert(w http.ResponseWriter, r *http.Request) error {
	f, err := postedForm(w, r, "token", "link")
	if err != nil {
		return err
	}
	back := "/alerts"
	if f.Get("link") != "" {
		id, link, err := d.linked(f.Get("link"))
		if err != nil {
			return err
		}
		if err := d.cfg.Alerts.EndOf(r.Context(), id, r.PathValue("id")); err != nil {
			return err
		}
		back = link + "#alerts"
	} else if err := d.cfg.Alerts.End(r.Context(), r.PathValue("id"), strings.TrimSpace(f.Get("token"))); err != nil {
		return err
	}
	http.Redirect(w, r, back, http.StatusSeeOther)
	return nil
}

// linked checks an instance's link, as it is printed or without the server, and
// gives it without.
func (d *Dashboard) linked(link string) (id wire.InstanceID, path string, err error) {
	u, err := url.Parse(strings.TrimSpace(link))
	if err != nil || len(link) > 2000 {
		return id, "", wire.ErrSignature
	}
	if id, err = wire.ParseInstanceID(strings.TrimPrefix(u.Path, wire.PathInstance)); err != nil {
		return id, "", wire.ErrSignature
	}
	q := linkOf(u.Query())
	return id, wire.PathInstance + id.String() + "?" + q.Encode(), wire.VerifyLink(id, q, d.cfg.Now())
}
