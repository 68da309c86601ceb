package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/server/dashboard"
	"github.com/caddy-evergreen/evergreen/server/ingestlog"
	"github.com/caddy-evergreen/evergreen/server/store"
	"github.com/caddy-evergreen/evergreen/server/store/duckdb"
	"github.com/caddy-evergreen/evergreen/wire"
)

// publicAPI is a service's public API over a few rollups.
func publicAPI(t *testing.T) string {
	t.Helper()
	s, err := duckdb.Open("", duckdb.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	l, err := ingestlog.Open(t.TempDir(), ingestlog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	at := time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC)
	b := store.Batch{Log: "test", To: 1}
	m := wire.MetricByID(wire.HTTPRequests)
	for _, r := range []struct {
		protocol, status string
		count            uint64
	}{{"http/2", "200", 300}, {"http/3", "200", 150}, {"http/3", "404", 2}} {
		k := store.Key{Grain: store.Hour, Start: at.Unix(), Metric: m.ID}
		for i, v := range []string{r.protocol, r.status, "site"} {
			k.Dims[i] = m.Dims[i].Value(v)
		}
		b.Rows = append(b.Rows, store.Row{Key: k, Count: r.count, Reports: 1, Top: r.count})
	}
	h := wire.MetricByID(wire.HTTPDuration)
	k := store.Key{Grain: store.Hour, Start: at.Unix(), Metric: h.ID}
	for i, v := range []string{"http/2", "2xx"} {
		k.Dims[i] = h.Dims[i].Value(v)
	}
	buckets := make([]uint64, wire.Buckets)
	buckets[wire.Bucket(2000)] = 10
	b.Rows = append(b.Rows, store.Row{Key: k, Count: 10, Sum: 20_000, Buckets: buckets, Reports: 1, Top: 10})
	if err := s.Commit(context.Background(), b); err != nil {
		t.Fatal(err)
	}
	d, err := dashboard.New(dashboard.Config{Store: s, Reports: l, Now: func() time.Time { return at.Add(83 * time.Minute) }})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	d.Register(mux)
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	return srv.URL
}

func TestQuery(t *testing.T) {
	server := publicAPI(t)
	const span = "from=2026-11-21T09:00:00Z to=2026-11-21T10:00:00Z grain=hour"
	for args, want := range map[string]string{
		"http.requests by=protocol " + span:                              "PROTOCOL  COUNT\nhttp/2    300\nhttp/3    152\n",
		"http.requests by=time,protocol --format csv limit=1 " + span:    "time,protocol,count\n2026-11-21T09:00:00Z,http/2,300\n2026-11-21T09:00:00Z,(rest),152\n",
		"metric=http.requests where.status=404 where.status=500 " + span: "COUNT\n2\n",
		"--find germany --format csv":                                    "kind,name,text,href\ncountry,Germany,Instances that report from there (DE).,/instances?filter=country%3ADE\n",
	} {
		var out, notes bytes.Buffer
		if err := run(t.Context(), append([]string{"query", "--server", server}, strings.Fields(args)...), &out, &notes); err != nil {
			t.Errorf("%s: %v", args, err)
		}
		if diff := cmp.Diff(want, out.String()); diff != "" {
			t.Errorf("%s: %s", args, diff)
		}
	}

	// As JSON it is what the API gives.
	var out, notes bytes.Buffer
	if err := run(t.Context(), strings.Fields("query --server "+server+" --format json http.duration by=protocol q=0.5,0.99 "+span), &out, &notes); err != nil {
		t.Fatal(err)
	}
	var mine, theirs any
	if err := (&client{server: server}).get(t.Context(), "/api/v1/quantiles", url.Values{
		"metric": {"http.duration"}, "by": {"protocol"}, "q": {"0.5,0.99"}, "from": {"2026-11-21T09:00:00Z"}, "to": {"2026-11-21T10:00:00Z"}, "grain": {"hour"},
	}, &theirs); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(out.Bytes(), &mine); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(theirs, mine); diff != "" {
		t.Errorf("the command and the API differ: %s", diff)
	}

	for args, want := range map[string]string{
		"":                               "name a metric",
		"http.requests http.duration":    "one metric more",
		"http.reqests":                   `Did you mean "http.requests"?`,
		"http.requests by=tiem":          `Did you mean "time"?`,
		"http.requests colour=red":       "is no parameter here",
		"http.requests --format xml":     "table, csv or json",
		"http.requests --find words":     "--find takes no argument",
		"--find zzzzzzzzzz":              "nothing is called that",
		"--find germaniy":                `did you mean "Germany"?`,
		"http.requests --server nowhere": "--server is",
		"http.requests range=90d grain=window by=time": "choose a shorter range",
	} {
		err := run(t.Context(), append([]string{"query", "--server", server}, strings.Fields(args)...), &out, &notes)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", args, err, want)
		}
	}
}
