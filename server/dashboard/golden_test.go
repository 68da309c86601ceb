package dashboard_test

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"

	"github.com/caddy-evergreen/evergreen/server/dashboard"
	"github.com/caddy-evergreen/evergreen/wire"
)

// TestSuppression has the API and the page keep small groups to themselves.
func TestSuppression(t *testing.T) {
	s := openStore(t)
	ro := rollup{}
	w := now.Add(-30 * time.Minute).Truncate(5 * time.Minute)
	for id := range uint64(100) {
		ro.active(w, id, wire.All, "")
		country := "DE"
		switch {
		case id >= 98:
			country = "AD"
		case id >= 60:
			country = "FR"
		}
		ro.active(w, id, wire.Country, country)
	}
	ro.commit(t, s)
	h := serve(t, dashboard.Config{Store: s, Reports: openLog(t), Privacy: dashboard.Privacy{MinInstances: 10}})
	const q = "/api/v1/query?metric=instances.active&facet=country&by=value&range=1h"
	ans := getJSON[dashboard.Answer](t, h, q)
	if len(ans.Rows) != 2 || ans.Rows[0].Group["value"] != "DE" || !ans.Rows[1].Suppressed || ans.Rows[1].Group != nil || ans.Suppressed != 2 {
		t.Errorf("two are too few, and alone they would show in the total: %+v", ans)
	}
	for value, rows := range map[string]int{"AD": 0, "FR": 0, "DE": 1, "FR&value=DE": 1} {
		ans := getJSON[dashboard.Answer](t, h, q+"&value="+value)
		if len(ans.Rows) != rows || rows == 1 && ans.Rows[0].Group["value"] != "DE" {
			t.Errorf("asked for %s: %+v", value, ans)
		}
	}
	if w := get(t, h, strings.Replace(q, "&by=value", "", 1)+"&value=DE&value=AD"); w.Code != http.StatusBadRequest {
		t.Errorf("adding up chosen groups: %d %s", w.Code, w.Body)
	}
	body := get(t, h, "/instances?range=1h").Body.String()
	if strings.Contains(body, "Andorra") || !strings.Contains(body, "Too few to show") {
		t.Error("the page shows what the API doesn't")
	}
	if body := get(t, h, "/privacy").Body.String(); !strings.Contains(body, "at least 10 instances") {
		t.Error("the thresholds aren't told")
	}
	golden(t, "figure.html", element(t, body, "chart-countries"))
}

func TestMessages(t *testing.T) {
	h := serve(t, dashboard.Config{Store: openStore(t), Reports: openLog(t)})
	w := get(t, h, wire.Link(ownKey, now.Add(-time.Minute)))
	if w.Code != http.StatusGone {
		t.Errorf("%d", w.Code)
	}
	golden(t, "expired.html", element(t, w.Body.String(), "main"))
}

// element renders the element of a page that has an id.
func element(t *testing.T, page, id string) string {
	t.Helper()
	doc, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	n := find(doc, func(n *html.Node) bool { return attr(n, "id") == id })
	if len(n) != 1 {
		t.Fatalf("%d elements have the id %s", len(n), id)
	}
	var b bytes.Buffer
	if err := html.Render(&b, n[0]); err != nil {
		t.Fatal(err)
	}
	return b.String() + "\n"
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *dashboard.Update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-update writes it anew):\n%s", name, diff)
	}
}
