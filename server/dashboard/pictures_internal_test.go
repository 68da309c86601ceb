package dashboard

import (
	"net/url"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// FuzzLook: whatever is asked for is refused, or a picture within bounds that
// can be asked for again in the same words.
func FuzzLook(f *testing.F) {
	for _, s := range []string{"", "theme=dark&width=300&height=2000&frame=none&range=1h", "width=-1", "theme=&theme=", "height=00300", "%zz", "frame=none&frame"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		q, err := url.ParseQuery(s)
		if err != nil {
			return
		}
		l, rest, err := parseLook(q)
		if err != nil {
			return
		}
		if l.width < 240 || l.width > 2000 || l.height < 240 || l.height > 2000 || l.theme != "light" && l.theme != "dark" {
			t.Fatalf("%q: %+v", s, l)
		}
		q, err = url.ParseQuery(l.query(rest))
		if err != nil {
			t.Fatal(err)
		}
		again, left, err := parseLook(q)
		if err != nil || again != l || cmp.Diff(rest, left) != "" {
			t.Errorf("%q: %+v and %v, again %+v and %v: %v", s, l, rest, again, left, err)
		}
	})
}
