package updater_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/caddy-evergreen/evergreen/updater"
	"github.com/caddy-evergreen/evergreen/wire"
)

// FuzzAudit: what a service answers is understood whole, or is an error.
func FuzzAudit(f *testing.F) {
	for _, seed := range []string{
		`{"verdict":"clean","says":"clean","findings":[]}`, `{"verdict":"vulnerable","findings":[{"id":"GO-2026-1","severity":"critical"}],"plan":{"changes":[]}}`,
		`{"verdict":"perhaps"}`, `{}`, `[]`, ``, `{"title":"no"}`,
	} {
		f.Add(seed, 200)
	}
	f.Add(`{"title":"too many audits at once","detail":"Try again."}`, 503)
	f.Fuzz(func(t *testing.T, body string, status int) {
		if status < 200 || status > 599 {
			status = 200
		}
		client := updater.Client{Service: "http://service.example", HTTP: &http.Client{Transport: answers(func(w http.ResponseWriter) {
			w.WriteHeader(status)
			w.Write([]byte(body))
		})}}
		a, raw, err := client.Audit(context.Background(), wire.Check{})
		switch {
		case err == nil && (status != 200 || string(raw) != body || a.Verdict != updater.Clean && a.Verdict != updater.Vulnerable && a.Verdict != updater.Unknown):
			t.Errorf("%d %q is taken as %+v", status, body, a)
		case err != nil && raw != nil:
			t.Errorf("%v, with an answer", err)
		}
	})
}

// answers is a service without a network.
type answers func(http.ResponseWriter)

func (a answers) RoundTrip(*http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	a(w)
	return w.Result(), nil
}
