package answer_test

import (
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/server/answer"
	"github.com/caddy-evergreen/evergreen/wire"
)

// A problem replaces what was to be kept of an answer, and asks for a token
// where one is missing.
func TestProblem(t *testing.T) {
	w := httptest.NewRecorder()
	w.Header().Set("ETag", `"1"`)
	w.Header().Set("Cache-Control", "max-age=60")
	answer.Problem(w, wire.Problem{Title: "who are you?", Status: 401, Detail: "Send a token."})
	want := map[string][]string{
		"Content-Type": {wire.TypeProblem}, "Content-Length": {"63"}, "X-Content-Type-Options": {"nosniff"},
		"Cache-Control": {"no-store"}, "Www-Authenticate": {"Bearer"},
	}
	if d := cmp.Diff(want, map[string][]string(w.Header())); d != "" {
		t.Error(d)
	}
	if got := w.Body.String(); w.Code != 401 || got != `{"title":"who are you?","status":401,"detail":"Send a token."}`+"\n" {
		t.Errorf("%d %s", w.Code, got)
	}
}
