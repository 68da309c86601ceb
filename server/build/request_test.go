package build

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"testing"

	"github.com/caddy-evergreen/evergreen/wire"
)

// What a stranger asks for is a spec that can be built, or a refusal that says why.
func FuzzRequest(f *testing.F) {
	for _, s := range []string{
		`{"os":"linux","arch":"arm","arm":"6","plugins":["plugin.example/good","github.com/caddyserver/caddy/v2@v2.9.1"," @ "]}`,
		`{"os":"linux","arch":"amd64","plugins":["plugin.example/good@v1.0.0","plugin.example/good@v1.0.1"],"telemetry":false}`,
		`{"os":"linux","arch":"amd64","caddy":"v2.9.0\n","go":"go1.26.8;"}`,
		`{"os":"windows","arch":"arm64","go":"latest","caddy":"latest"}`,
	} {
		f.Add([]byte(s))
	}
	front := &Front{cfg: FrontConfig{
		Queue: &Queue{}, Own: "v0.1.0", Service: "https://service.example", Root: func() string { return "" }, Logger: slog.New(slog.DiscardHandler),
		Versions: newest{wire.CaddyPath: "v2.9.0", wire.Toolchain: "go1.26.8", "plugin.example/good": "v1.0.0"},
	}}
	f.Fuzz(func(t *testing.T, b []byte) {
		d := json.NewDecoder(bytes.NewReader(b))
		d.DisallowUnknownFields()
		var r Request
		if d.Decode(&r) != nil {
			return
		}
		spec, err := front.spec(t.Context(), r)
		if err != nil {
			var told *refusal
			if !errors.As(err, &told) && !errors.Is(err, ErrSpec) {
				t.Errorf("an error that whoever asked is not told: %v", err)
			}
			return
		}
		if err := Check(spec); err != nil {
			t.Error(err)
		}
		if (spec.Evergreen == "") != (spec.Service == "") {
			t.Errorf("a build reports to %q with %q", spec.Service, spec.Evergreen)
		}
		if _, err := program(spec); err != nil {
			t.Error(err)
		}
	})
}
