package called_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/server/called"
)

// Messages as govulncheck v1.8.0 prints them, shortened.
const messages = `{"config": {"protocol_version": "v1.0.0", "scanner_name": "govulncheck"}}
{"progress": {"message": "Checking the code against the vulnerabilities..."}}
{"osv": {"schema_version": "1.3.1", "id": "GO-2021-0113"}}
{"finding": {"osv": "GO-2021-0113", "fixed_version": "v0.3.7", "trace": [{"module": "golang.org/x/text", "version": "v0.3.5"}]}}
{"finding": {"osv": "GO-2021-0113", "fixed_version": "v0.3.7", "trace": [{"module": "golang.org/x/text", "version": "v0.3.5", "package": "golang.org/x/text/language", "function": "Parse", "position": {"filename": "language/parse.go", "line": 33}}, {"module": "example.com", "package": "example.com", "function": "main"}]}}
{"finding": {"osv": "GO-2021-0113", "fixed_version": "v0.3.7", "trace": [{"module": "golang.org/x/text", "version": "v0.3.5", "package": "golang.org/x/text/language"}]}}
{"finding": {"osv": "GO-2022-1059", "trace": [{"module": "golang.org/x/text", "version": "v0.3.5", "package": "golang.org/x/text/language"}]}}
{"finding": {"osv": "GO-2020-0015", "trace": [{"module": "golang.org/x/text", "version": "v0.3.5"}]}}
`

// TestParse takes the nearest level of each advisory.
func TestParse(t *testing.T) {
	got, err := called.Parse(strings.NewReader(messages))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]called.Level{"GO-2021-0113": called.Called, "GO-2022-1059": called.Imported, "GO-2020-0015": called.Required}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("levels (-want +got):\n%s", d)
	}
	if _, err := called.Parse(strings.NewReader("panic: out of memory")); err == nil {
		t.Error("a crash was taken for an answer")
	}
}

// FuzzParse: what is taken has levels that there are.
func FuzzParse(f *testing.F) {
	f.Add(messages)
	f.Add(`{"finding": null} {"finding": {"osv": "x", "trace": []}}`)
	f.Fuzz(func(t *testing.T, s string) {
		got, err := called.Parse(strings.NewReader(s))
		if err != nil {
			return
		}
		for id, l := range got {
			if id == "" || l != called.Called && l != called.Imported && l != called.Required {
				t.Errorf("%q has the level %q", id, l)
			}
		}
	})
}
