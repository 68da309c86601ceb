package dashboard

import (
	"net/url"
	"slices"
)

// A place is an entry of the navigation, with the pages below it, of which the
// entry's own is the first. Pages that this deployment lacks are left out.
type place struct {
	Nav   string
	Lead  string // of its charts on the first page
	Pages []placePage
}

// A placePage is a page as the row below the navigation calls it.
type placePage struct{ Path, Nav string }

// places are the navigation, in order. A page that is in none of them, such as
// /search, is reached by links alone.
var places = []place{
	{"Now", "", []placePage{{"/", "Now"}}},
	{"Adoption", "What spreads: versions, protocols, protection.", []placePage{{"/adoption", "Over time"}, {"/instances", "Fleet"}}},
	{"TLS", "How connections are encrypted, and where they fail.", []placePage{{"/tls", "Handshakes"}, {"/certificates", "Certificates"}}},
	{"Clients", "Who asks.", []placePage{{"/clients", "Who asks"}, {"/interception", "Interception"}}},
	{"Health", "How servers answer, and how fast.", []placePage{{"/health", "Answers"}, {"/traffic", "Traffic"}, {"/inside", "Inside Caddy"}}},
	{"Attacks", "Who attacks, and how.", []placePage{{"/attacks", "Attacks"}}},
	{"Updates", "How fast fixes arrive.", []placePage{{"/updates", "Updates"}, {"/releases", "Releases"}, {"/advisories", "Advisories"}, {"/build", "Build"}}},
	{"Instance", "", []placePage{{"/instance", "Yours"}, {"/alerts", "Alerts"}}},
	{"Data", "", []placePage{{"/data", "The data set"}, {"/data/sql", "SQL"}, {"/questions", "Questions"}, {"/api/v1/openapi.json", "API"}}},
	{"Dictionary", "", []placePage{{"/dictionary", "Dictionary"}}},
	{"Privacy", "", []placePage{{"/privacy", "Privacy"}}},
	{"About", "Who takes part.", []placePage{{"/about", "About"}}},
}

// A navLink is a link of the navigation.
type navLink struct {
	Path, Nav string
	// Current says that the link is to the page itself, Within that the page
	// is below it.
	Current, Within bool
}

// has reports whether this deployment has a page.
func (d *Dashboard) has(path string) bool {
	if path == "/" {
		return true
	}
	return path == "/build" && d.cfg.Builds || slices.ContainsFunc(d.routes, func(rt route) bool { return rt.path == path })
}

// navigation makes the links of a page: all entries, and, where the page's
// entry has more than one page, those beside it. nav is what the entry is
// called. itself says that the page is at path, not below it.
func (d *Dashboard) navigation(path string, itself bool) (all, beside []navLink, nav string) {
	for _, p := range places {
		var pages []navLink
		within := false
		for _, pp := range p.Pages {
			if d.has(pp.Path) {
				pages = append(pages, navLink{Path: pp.Path, Nav: pp.Nav, Current: itself && pp.Path == path})
				within = within || pp.Path == path
			}
		}
		if len(pages) == 0 {
			continue
		}
		all = append(all, navLink{Path: pages[0].Path, Nav: p.Nav, Current: pages[0].Current, Within: within})
		if within {
			nav = p.Nav
			if len(pages) > 1 {
				beside = pages
			}
		}
	}
	return all, beside, nav
}

// byPlace puts sections of several pages together by the entries of the
// navigation, in their order, as the first page has them.
func byPlace(views []sectionView, at url.Values) []sectionView {
	var out []sectionView
	for _, p := range places {
		v := sectionView{section: section{Title: p.Nav}}
		for _, pp := range p.Pages {
			for _, s := range views {
				if s.Page == pp.Path {
					v.Figures = append(v.Figures, s.Figures...)
				}
			}
		}
		if len(v.Figures) == 0 {
			continue
		}
		for i, f := range v.Figures {
			// Two in a row, but for what needs the room, and for a last one alone.
			f.Wide = f.Form == worldmap || f.Form == sankey || i == len(v.Figures)-1 && narrow(v.Figures)%2 == 1
		}
		v.ID, v.Page, v.Lead = p.Pages[0].Path[1:], p.Pages[0].Path, p.Lead
		v.More = v.Page + "?" + at.Encode()
		out = append(out, v)
	}
	return out
}

// narrow is how many of figures do not need a row of their own.
func narrow(figures []*figure) (n int) {
	for _, f := range figures {
		if f.Form != worldmap && f.Form != sankey {
			n++
		}
	}
	return n
}
