package dashboard_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"

	"github.com/caddy-evergreen/evergreen/server/dashboard"
)

// TestNavigation: every page of charts is reached from the first one, by links
// that work, and says where it is.
func TestNavigation(t *testing.T) {
	h := serve(t, dashboard.Config{Store: openStore(t), Reports: openLog(t)})
	links := func(path, class string) (hrefs, current []string) {
		for _, nav := range find(parsed(t, h, path), func(n *html.Node) bool { return n.Data == "nav" && attr(n, "class") == class }) {
			for _, a := range find(nav, func(n *html.Node) bool { return n.Data == "a" }) {
				hrefs = append(hrefs, attr(a, "href"))
				if attr(a, "aria-current") != "" {
					current = append(current, attr(a, "href"))
				}
			}
		}
		return hrefs, current
	}
	all, current := links("/", "main-nav")
	if diff := cmp.Diff([]string{"/"}, current); diff != "" {
		t.Errorf("the first page says that it is %s", diff)
	}
	reached := map[string]bool{}
	for _, entry := range all {
		beside, _ := links(entry, "beside")
		for _, path := range append(beside, entry) {
			reached[path] = true
			w := get(t, h, path)
			if w.Code != http.StatusOK {
				t.Errorf("%s is in the navigation: %d", path, w.Code)
			}
			if !strings.HasPrefix(w.Header().Get("Content-Type"), "text/html") {
				continue
			}
			if _, current := links(path, "main-nav"); len(current) != 1 || current[0] != entry {
				t.Errorf("%s says that it belongs to %v, it is reached by %s", path, current, entry)
			}
			if len(beside) > 0 {
				if _, current := links(path, "beside"); len(current) != 1 || current[0] != path {
					t.Errorf("%s says that it is %v", path, current)
				}
			}
		}
	}
	for _, path := range dashboard.Topics() {
		if !reached[path] {
			t.Errorf("%s is not reached", path)
		}
	}
}
