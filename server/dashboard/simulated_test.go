package dashboard_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-evergreen/evergreen/server/dashboard"
)

// TestSimulated checks that no page can be taken for real that is not.
func TestSimulated(t *testing.T) {
	for _, simulated := range []bool{false, true} {
		h := serve(t, dashboard.Config{Store: openStore(t), Reports: openLog(t), Simulated: simulated})
		for _, path := range append([]string{"/", "/dictionary", "/questions", "/privacy", "/nothing"}, dashboard.Topics()...) {
			w := get(t, h, path)
			if w.Code != http.StatusOK && path != "/nothing" {
				t.Errorf("%s: %d", path, w.Code)
			}
			if got := strings.Contains(w.Body.String(), `id="simulated"`); got != simulated {
				t.Errorf("%s: marked as simulated: %v, want %v", path, got, simulated)
			}
			if got := w.Header().Get("Evergreen-Simulated") != ""; got != simulated {
				t.Errorf("%s: header: %v, want %v", path, got, simulated)
			}
		}
	}
}
