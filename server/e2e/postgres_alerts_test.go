//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/server/alerts"
	"github.com/caddy-evergreen/evergreen/server/control"
	"github.com/caddy-evergreen/evergreen/server/watch"
	"github.com/caddy-evergreen/evergreen/wire"
)

// A steady source has the same number each hour, and another now.
type steady struct {
	mu  sync.Mutex
	now float64
}

func (*steady) CheckWatch(*watch.Watch, bool) (string, error) { return "", nil }

func (*steady) HourlyReadings(_ context.Context, _ *wire.InstanceID, _ watch.Watch, from time.Time) (rs []watch.Reading, err error) {
	for h := from.Truncate(time.Hour).Add(time.Hour); h.Before(time.Now()); h = h.Add(time.Hour) {
		rs = append(rs, watch.Reading{Time: h, Value: 1000})
	}
	return rs, nil
}

func (s *steady) LatestReading(context.Context, *wire.InstanceID, watch.Watch) (*watch.Reading, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &watch.Reading{Time: time.Now(), Value: s.now}, nil
}

func (s *steady) set(v float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = v
}

// TestE2EPostgresAlerts: two servers that share their state in PostgreSQL tell of
// each departure once.
func TestE2EPostgresAlerts(t *testing.T) {
	where := startPostgres(t)(t)
	source := &steady{now: 1000}
	var mu sync.Mutex
	var types []string
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var m alerts.Message
		b, err := io.ReadAll(r.Body)
		if err != nil || json.Unmarshal(b, &m) != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		types = append(types, m.Type)
	}))
	defer hook.Close()
	told := func() []string {
		mu.Lock()
		defer mu.Unlock()
		return append([]string{}, types...)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 2)
	var first *alerts.Service
	for range 2 {
		db, err := control.Open(t.Context(), where)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		})
		s, err := alerts.Open(t.Context(), alerts.Config{
			DB: db, Source: source, Private: true, Every: 100 * time.Millisecond, Public: []watch.Watch{{Name: "Requests", Query: "metric=http.requests"}},
		})
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = s
		}
		go func() { ended <- s.Run(ctx) }()
	}
	defer func() {
		cancel()
		for range 2 {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	}()
	c, err := first.Subscribe(t.Context(), watch.Request{URL: hook.URL, Watches: []watch.Watch{{Name: "Requests", Query: "metric=http.requests"}}})
	if err != nil {
		t.Fatal(err)
	}
	state := func(want watch.State) func() error {
		return func() error {
			sub, err := first.Subscription(t.Context(), c.ID)
			if err != nil || sub.Watches[0].State != want || sub.State != "active" {
				return fmt.Errorf("%v: %+v", err, sub)
			}
			return nil
		}
	}
	eventually(t, time.Minute, state(watch.Usual))
	for range 3 {
		source.set(9000)
		eventually(t, time.Minute, state(watch.Departed))
		source.set(1000)
		eventually(t, time.Minute, state(watch.Usual))
	}
	want := []string{"alert.subscribed", "alert.departed", "alert.returned", "alert.departed", "alert.returned", "alert.departed", "alert.returned"}
	eventually(t, time.Minute, func() error {
		if n := len(told()); n < len(want) {
			return fmt.Errorf("%d messages", n)
		}
		return nil
	})
	count := map[string]int{}
	for _, x := range told() {
		count[x]++
	}
	if d := cmp.Diff(map[string]int{"alert.subscribed": 1, "alert.departed": 3, "alert.returned": 3}, count); d != "" {
		t.Error(d)
	}
	if err := first.End(t.Context(), c.ID, c.Token); err != nil {
		t.Error(err)
	}
}
