package dashboard_test

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-evergreen/evergreen/server/dashboard"
	"github.com/caddy-evergreen/evergreen/server/store"
)

// tallying counts queries.
type tallying struct {
	store.Store
	queries atomic.Int64
}

func (c *tallying) Query(ctx context.Context, q store.Query) ([]store.Row, error) {
	c.queries.Add(1)
	return c.Store.Query(ctx, q)
}

// TestKept has many readers open a page at once, in different ways.
func TestKept(t *testing.T) {
	s := &tallying{Store: openStore(t)}
	h := serve(t, dashboard.Config{Store: s, Reports: openLog(t), Now: func() time.Time { return now }})
	first := get(t, h, "/tls?range=24h", "Accept-Encoding", "gzip")
	asked := s.queries.Load()
	if first.Code != http.StatusOK || asked == 0 {
		t.Fatalf("%d, %d queries", first.Code, asked)
	}
	var wg sync.WaitGroup
	for range 500 {
		wg.Go(func() {
			if w := get(t, h, "/tls?range=24h", "Accept-Encoding", "gzip"); w.Code != http.StatusOK || w.Body.String() != first.Body.String() {
				t.Errorf("a reader got %d and another page", w.Code)
			}
		})
	}
	wg.Wait()
	if n := s.queries.Load(); n != asked {
		t.Errorf("500 readers of the same page cost %d more queries", n-asked)
	}
	tag := first.Header().Get("ETag")
	if w := get(t, h, "/tls?range=24h", "Accept-Encoding", "gzip", "If-None-Match", tag); w.Code != http.StatusNotModified || w.Body.Len() > 0 {
		t.Errorf("who has the page gets %d with %d bytes", w.Code, w.Body.Len())
	}
	if w := get(t, h, "/tls?range=24h"); w.Header().Get("Content-Encoding") != "" || w.Header().Get("ETag") == tag {
		t.Error("who can't decompress gets what is compressed")
	}
	if w := get(t, h, "/tls?range=nothing"); w.Code != http.StatusBadRequest {
		t.Errorf("a range that does not exist: %d", w.Code)
	}
	if a, b := get(t, h, "/tls?range=24h").Body.String(), get(t, h, "/tls?range=7d").Body.String(); a == b {
		t.Error("two ranges are one page")
	}
}
