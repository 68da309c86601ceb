package early

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestEnv(t *testing.T) {
	for _, s := range []Start{
		{},
		{Slot: strings.Repeat("0a", 32), Installed: "/usr/bin/caddy"},
		{Slot: "a", Installed: "/opt/my caddy/=", Within: 90 * time.Second, Back: "/b", BackSlot: "c", Refused: "it was not up"},
	} {
		name, value, _ := strings.Cut(s.Env(), "=")
		if d := cmp.Diff(s, parse(value)); name != Variable || d != "" {
			t.Error(name, d)
		}
	}
	// What would end a field, or the variable, does not.
	s := Start{Installed: "/a\nb", Within: time.Second, Back: "/c\x00d", Refused: "two\nlines"}
	want := Start{Installed: "/a b", Within: time.Second, Back: "/c d", Refused: "two lines"}
	if d := cmp.Diff(want, parse(strings.TrimPrefix(s.Env(), Variable+"="))); d != "" {
		t.Error(d)
	}
}

// FuzzParse: whatever is in the environment, there is a path to go back to if there
// is a time after which to do so, and what is read is written the same.
func FuzzParse(f *testing.F) {
	f.Add("")
	f.Add("1\nslot\n/usr/bin/caddy\n60000\n/usr/bin/caddy\n\n")
	f.Add("1\n\n\n-1\n\n\n")
	f.Add("1\n\n\n9223372036854775807\n/x\n\n")
	f.Add("2\nslot\n/usr/bin/caddy\n60000\n/usr/bin/caddy\n\nmore")
	f.Fuzz(func(t *testing.T, value string) {
		s := parse(value)
		if s.Within < 0 || s.Within > 24*time.Hour || s.Within > 0 && s.Back == "" {
			t.Errorf("%+v", s)
		}
		if strings.Contains(value, "\x00") {
			return // no environment has it
		}
		if d := cmp.Diff(s, parse(strings.TrimPrefix(s.Env(), Variable+"="))); d != "" {
			t.Error(d)
		}
	})
}
