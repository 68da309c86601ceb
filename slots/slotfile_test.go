package slots

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseRefuses(t *testing.T) {
	good := `{"id":"` + strings.Repeat("0a", 32) + `","target":"t","caddy":"v2.11.9","state":"good","tries":1,"most":3}`
	if _, _, err := parse([]byte(good)); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string][2]string{
		"an id that is a path":      {strings.Repeat("0a", 32), "../" + strings.Repeat("0a", 30) + "0"},
		"an id in capitals":         {"0a0a", "0A0A"},
		"a strange state":           {"good", "best"},
		"more tries than there are": {`"tries":1`, `"tries":4`},
		"negative tries":            {`"tries":1`, `"tries":-1`},
		"endless tries":             {`"most":3`, `"most":1e9`},
		"no target":                 {`"t"`, `""`},
		"from a path":               {`"tries"`, `"from":"../x","tries"`},
		"no JSON":                   {"{", "["},
	} {
		b := strings.Replace(good, change[0], change[1], 1)
		if b == good {
			t.Fatal(name)
		}
		if s, _, err := parse([]byte(b)); err == nil {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

// FuzzSlot: what is read is written and read again the same, and what is not
// known stays.
func FuzzSlot(f *testing.F) {
	f.Add([]byte(`{"id":"` + strings.Repeat("0a", 32) + `","target":"t","caddy":"v2.11.9","build":{"go":"go1.26.3","modules":[{"path":"a","version":"v1.0.0","plugin":true}]},"from":"","installed":{"path":"/usr/bin/caddy","build_id":"ff"},"state":"candidate","tries":1,"most":3,"why":"é","made":"2026-11-21T19:00:00Z","changed":"2026-11-21T19:00:00.5Z","mood":{"is":1}}`))
	f.Add([]byte(`{"ID":"` + strings.Repeat("00", 32) + `","id":1,"state":"bad"}`))
	f.Add([]byte(`{"made":"0000-01-01T00:00:00Z"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, rest, err := parse(b)
		if err != nil {
			return
		}
		out, err := format(s, rest)
		if err != nil {
			return // a time that can't be written, or grown beyond the limit
		}
		again, rest2, err := parse(out)
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		want, _ := json.Marshal(s)
		got, _ := json.Marshal(again)
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Fatal(diff)
		}
		for k := range rest {
			if _, ok := rest2[k]; !ok && !known(strings.ToLower(k)) {
				t.Fatalf("the field %q is lost", k)
			}
		}
	})
}
