package dashboard_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/server/dashboard"
	"github.com/caddy-evergreen/evergreen/wire"
)

// TestChurn: with as few instances as in these hours the estimate is exact.
func TestChurn(t *testing.T) {
	s := openStore(t)
	ro := rollup{}
	hour := now.Truncate(time.Hour)
	for ago, ids := range map[int][]uint64{
		5: {1, 2, 3},
		4: {1, 2, 3, 4, 5}, // 4 and 5 join
		3: {4, 5, 6},       // 1, 2, 3 leave, 6 joins
		// two hours ago nothing was counted
		1: {7},
		0: {8}, // not complete
	} {
		for _, id := range ids {
			ro.active(hour.Add(-time.Duration(ago)*time.Hour), id, wire.All, "")
		}
	}
	ro.commit(t, s)
	h := serve(t, dashboard.Config{Store: s, Reports: openLog(t)})
	type change struct {
		Ago    int
		Change string
		Count  uint64
	}
	var got []change
	ans := getJSON[dashboard.Answer](t, h, "/api/v1/churn?range=24h")
	for _, r := range ans.Rows {
		got = append(got, change{int(hour.Sub(*r.Time) / time.Hour), r.Group["change"], r.Count})
	}
	want := []change{{4, "joined", 2}, {4, "left", 0}, {3, "joined", 1}, {3, "left", 3}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"time", "change"}, ans.By); diff != "" || ans.Total != 6 || ans.Grain != "hour" {
		t.Errorf("the answer is by %v, in all %d, of each %s", ans.By, ans.Total, ans.Grain)
	}
	for query, want := range map[string]string{"range=1h": "hour", "range=7d": "day", "range=all": "day", "from=2026-11-19&to=2026-11-20": "hour", "range=1h&grain=window": "hour"} {
		if got := getJSON[dashboard.Answer](t, h, "/api/v1/churn?"+query).Grain; got != want {
			t.Errorf("%s is of each %s", query, got)
		}
	}
	for path, want := range map[string]string{"/api/v1/churn?facet=country": "facet", "/api/v1/ways?by=client": "by", "/api/v1/churn?range=1x": "range"} {
		if w := get(t, h, path); w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
}

// TestWays: connections are in one way each, however many features they have.
func TestWays(t *testing.T) {
	s := openStore(t)
	ro := rollup{}
	at := now.Truncate(time.Hour).Add(-time.Hour)
	for _, c := range []struct {
		feature, family string
		n               uint64
	}{
		{"all", "chromium", 1100}, {"tls", "chromium", 1000}, {"tls13", "chromium", 900}, {"pq_negotiated", "chromium", 600}, {"sni", "chromium", 990},
		{"all", "curl", 50}, {"all", "tool", 50}, {"tls", "tool", 40}, {"tls13", "tool", 10},
		// A record that contradicts itself makes no way of less than nothing.
		{"tls", "go", 5}, {"tls13", "go", 7}, {"pq_negotiated", "go", 9},
	} {
		ro.count(at, wire.ConnectionFeatures, dims(wire.ConnectionFeatures, c.feature, c.family), c.n, 1)
	}
	ro.count(at, wire.TLSFailures, dims(wire.TLSFailures, "timeout", "openssl"), 7, 1)
	ro.count(at, wire.TLSFailures, dims(wire.TLSFailures, "plain_http", "unknown"), 3, 1)
	ro.commit(t, s)
	h := serve(t, dashboard.Config{Store: s, Reports: openLog(t)})
	ans := getJSON[dashboard.Answer](t, h, "/api/v1/ways?range=24h")
	got := map[string]uint64{}
	for _, r := range ans.Rows {
		got[r.Group["client"]+" > "+r.Group["handshake"]+" > "+r.Group["outcome"]] = r.Count
	}
	want := map[string]uint64{
		"chromium > TLS 1.3 > post_quantum": 600, "chromium > TLS 1.3 > classical": 300, "chromium > older > classical": 100,
		"tool > TLS 1.3 > classical": 10, "tool > older > classical": 30, "go > TLS 1.3 > post_quantum": 5,
		"library:openssl > failed > timeout": 7, "library:unknown > failed > plain_http": 3,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if ans.Total != 1055 {
		t.Errorf("in all %d", ans.Total)
	}
}
