package dashboard

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/caddy-evergreen/evergreen/wire"
)

// Updates is what is known of releases and vulnerabilities at one moment.
type Updates interface {
	// Recent are at most limit releases of a module ("": of all), a severity
	// ("": of any) and a channel ("": either), the latest first, and how many
	// there are in all.
	Recent(path string, severity wire.Severity, channel wire.Channel, limit int) ([]wire.Release, int)
	// RecentAdvisories are known vulnerabilities, the same.
	RecentAdvisories(path string, severity wire.Severity, limit int) ([]wire.Advisory, int)
	// AsOf is how old the database of vulnerabilities is; zero: there is none.
	AsOf() time.Time
}

// An updatesBody fills updates.html: a page of releases, or of advisories.
type updatesBody struct {
	Title, Lead, Notice string
	Other, OtherTitle   string // the page of the other kind
	Module              string // only of this one, whose column is left out; "" is all
	All                 string // the page without the module
	Head                []string
	Lines               []updateLine
	None                string
	More                int
	Href                string // of the data
}

// An updateLine is a release or an advisory.
type updateLine struct {
	Severity, Module, ModuleHref string
	Grave                        bool
	What, Href                   string // version, or id
	Date                         string
	Fixed                        string // of an advisory
	Said                         string // by whom a release was tagged
	Text                         string
	Warning                      string // why it was withdrawn
}

const maxUpdates = 200

// updateParams reads a page's parameters, and makes its switch of severities.
func (d *Dashboard) updateParams(r *http.Request, severities []wire.Severity) (module string, severity wire.Severity, links []rangeLink, err error) {
	q, err := query(r)
	if err != nil {
		return "", "", nil, err
	}
	if err := strict(q, []string{"module", "severity"}); err != nil {
		return "", "", nil, err
	}
	module, severity = q.Get("module"), wire.Severity(q.Get("severity"))
	if severity != "" && !slices.Contains(severities, severity) {
		names := make([]string, len(severities))
		for i, s := range severities {
			names[i] = string(s)
		}
		return "", "", nil, badParameter("severity is %.40q: it is one of %s.%s", severity, strings.Join(names, ", "), guess(string(severity), names))
	}
	for _, s := range append([]wire.Severity{""}, severities...) {
		name := capital(string(s))
		if s == "" {
			name = "All"
		}
		links = append(links, rangeLink{name, name, updatesHref(r.URL.Path, "module", module, s), s == severity})
	}
	return module, severity, links, nil
}

func updatesHref(path, moduleParam, module string, severity wire.Severity) string {
	q := url.Values{}
	if module != "" {
		q.Set(moduleParam, module)
	}
	if severity != "" {
		q.Set("severity", string(severity))
	}
	if len(q) == 0 {
		return path
	}
	return path + "?" + q.Encode()
}

func (d *Dashboard) releasesPage(w http.ResponseWriter, r *http.Request) error {
	module, severity, links, err := d.updateParams(r, wire.Severities)
	if err != nil {
		return err
	}
	found, all := d.cfg.Updates().Recent(module, severity, "", maxUpdates)
	body := updatesBody{
		Title: "Releases", Lead: "Versions of Caddy, of its plugins and libraries, and of Go, with how much each matters to whoever runs an older one.",
		Notice: "What no maintainer has tagged was found: a new patch is taken for minor, anything else for a feature.",
		Other:  updatesHref("/advisories", "module", module, ""), OtherTitle: "Known vulnerabilities",
		Module: module, All: updatesHref("/releases", "", "", severity), Head: []string{"Severity", "Module", "Version", "Since", "Tagged by", "Notes"},
		None: "No release is known here.", More: all - len(found), Href: updatesHref(wire.PathReleases, "path", module, severity),
	}
	for _, f := range found {
		l := updateLine{
			Severity: capital(string(f.Severity)), Grave: f.Severity == wire.SeverityCritical,
			Module: f.Path, ModuleHref: updatesHref("/releases", "module", f.Path, severity),
			What: f.Version, Date: f.Time.UTC().Format(time.DateOnly), Said: "nobody", Warning: f.Yanked,
		}
		if f.Tagged {
			l.Said = f.By
		}
		l.Text, _, _ = strings.Cut(f.Notes, "\n")
		if f.Channel == wire.ChannelBeta {
			l.What += " (beta)"
		}
		if len(f.Links) > 0 {
			l.Href = f.Links[0]
		}
		body.Lines = append(body.Lines, l)
	}
	return d.render(w, r, "updates.html", page{Title: body.Title, Path: "/releases", Ranges: links, Body: body}, http.StatusOK)
}

func (d *Dashboard) advisoriesPage(w http.ResponseWriter, r *http.Request) error {
	module, severity, links, err := d.updateParams(r, append(slices.Clone(wire.Severities), wire.SeverityUnrated))
	if err != nil {
		return err
	}
	now := d.cfg.Updates()
	found, all := now.RecentAdvisories(module, severity, maxUpdates)
	body := updatesBody{
		Title: "Advisories", Lead: "Known vulnerabilities of Go modules, of the standard library and of the toolchain, from the Go vulnerability database.",
		Notice: "There is no database of vulnerabilities here: whether anything is vulnerable is not known.",
		Other:  updatesHref("/releases", "module", module, ""), OtherTitle: "Releases",
		Module: module, All: updatesHref("/advisories", "", "", severity), Head: []string{"Severity", "Module", "Advisory", "Published", "Fixed in", "Summary"},
		None: "No advisory is known here.", More: all - len(found), Href: updatesHref(wire.PathAdvisories, "path", module, severity),
	}
	if at := now.AsOf(); !at.IsZero() {
		body.Notice = fmt.Sprintf("The database is of %s: what was published later is not known. An unrated advisory is one whose gravity nobody has stated.", at.UTC().Format("2 January 2006"))
	}
	for _, f := range found {
		l := updateLine{
			Severity: capital(string(f.Severity)), Grave: f.Severity == wire.SeverityCritical,
			Module: f.Path, ModuleHref: updatesHref("/advisories", "module", f.Path, severity),
			What: f.ID, Date: f.Published.UTC().Format(time.DateOnly), Text: f.Summary,
		}
		if strings.HasPrefix(f.ID, "GO-") {
			l.Href = "https://pkg.go.dev/vuln/" + url.PathEscape(f.ID)
		}
		var fixed []string
		for _, rg := range f.Ranges {
			if rg.Fixed != "" {
				fixed = append(fixed, rg.Fixed)
			}
		}
		if l.Fixed = strings.Join(fixed, ", "); l.Fixed == "" {
			l.Fixed = "not fixed"
		}
		body.Lines = append(body.Lines, l)
	}
	return d.render(w, r, "updates.html", page{Title: body.Title, Path: "/advisories", Ranges: links, Body: body}, http.StatusOK)
}
