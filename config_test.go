package evergreen

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/wire"
)

// Each file is a Caddyfile, a line of dashes, and the JSON that it adapts to,
// or, where the name begins with error, a part of the error.
func TestAdapt(t *testing.T) {
	files, err := filepath.Glob("testdata/adapt/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			in, want, ok := strings.Cut(string(b), "----------\n")
			if !ok {
				t.Fatal("no line of dashes")
			}
			out, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(in), map[string]any{"filename": "Caddyfile"})
			if strings.HasPrefix(filepath.Base(file), "error") {
				if err == nil || !strings.Contains(err.Error(), strings.TrimSpace(want)) {
					t.Errorf("error = %v, want one with %q", err, strings.TrimSpace(want))
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var indented bytes.Buffer
			if err := json.Indent(&indented, out, "", "\t"); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(strings.TrimSpace(want), indented.String()); diff != "" {
				t.Errorf("adapted JSON (-want +got):\n%s", diff)
			}
		})
	}
}

func TestConfigJSON(t *testing.T) {
	for _, test := range []struct{ in, err string }{
		{`{}`, ""},
		{`{"telemetry":"off","endpoint":"https://a.example","metrics_off":["clients"],"label":"x"}`, ""},
		{`{"telemtry":"off"}`, `unknown option "telemtry": did you mean "telemetry"?`},
		{`{"Telemetry":"off"}`, `unknown option "Telemetry": did you mean "telemetry"?`},
		{`{"zzzzzzzzzz":1}`, `known are telemetry, endpoint, metrics_off, label`},
		{`[]`, `expected an object`},
		{`{"endpoint":3}`, `cannot unmarshal number`},
	} {
		var c Config
		err := json.Unmarshal([]byte(test.in), &c)
		if err == nil != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
			t.Errorf("%s: error %v, want %q", test.in, err, test.err)
		}
	}
}

func TestResolve(t *testing.T) {
	defer func(s string) { DefaultEndpoint = s }(DefaultEndpoint)
	DefaultEndpoint = "https://build.example"
	for _, test := range []struct {
		name string
		c    Config
		env  map[string]string
		want settings
		err  string
	}{
		{"default", Config{}, nil, settings{Endpoint: "https://build.example", Timing: wire.DefaultTiming}, ""},
		{"environment's endpoint", Config{}, map[string]string{"EVERGREEN_ENDPOINT": "https://env.example"}, settings{Endpoint: "https://env.example", Timing: wire.DefaultTiming}, ""},
		{
			"configuration's endpoint", Config{Endpoint: "https://config.example"},
			map[string]string{"EVERGREEN_ENDPOINT": "https://env.example"},
			settings{Endpoint: "https://config.example", Timing: wire.DefaultTiming}, "",
		},
		{"off by configuration", Config{Telemetry: "off"}, nil, settings{Off: "telemetry off in the configuration"}, ""},
		{"off by environment", Config{Telemetry: "on"}, map[string]string{"EVERGREEN_TELEMETRY": "OFF"}, settings{Off: "EVERGREEN_TELEMETRY in the environment"}, ""},
		{"do not track", Config{}, map[string]string{"DO_NOT_TRACK": "1"}, settings{Off: "DO_NOT_TRACK in the environment"}, ""},
		{"do track", Config{}, map[string]string{"DO_NOT_TRACK": "0"}, settings{Endpoint: "https://build.example", Timing: wire.DefaultTiming}, ""},
		{"bad endpoint", Config{}, map[string]string{"EVERGREEN_ENDPOINT": "ftp://x"}, settings{Timing: wire.DefaultTiming}, "EVERGREEN_ENDPOINT"},
		{"bad timing", Config{}, map[string]string{"EVERGREEN_WINDOW": "7m"}, settings{Endpoint: "https://build.example", Timing: wire.DefaultTiming}, "EVERGREEN_WINDOW"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := test.c.resolve(func(k string) string { return test.env[k] })
			if err == nil != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Errorf("error %v, want %q", err, test.err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("settings (-want +got):\n%s", diff)
			}
		})
	}
}
