package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/caddy-evergreen/evergreen/server/build/sandbox"
)

func TestMain(m *testing.M) {
	sandbox.Enter() // what serves builds as well tries its sandbox
	testscript.Main(m, map[string]func(){"evergreen": main})
}

func TestScripts(t *testing.T) {
	hellos, err := filepath.Abs("../../../clienthello/testdata")
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{Dir: "testdata", Setup: func(e *testscript.Env) error {
		e.Setenv("HELLOS", hellos)
		e.Setenv("EVERGREEN", self)
		return nil
	}})
}

func TestConfig(t *testing.T) {
	for in, want := range map[string]string{
		`{}`: "",
		`{"retention": {"raw": "48h"}, "trusted_proxies": ["10.0.0.0/8"]}`: "",
		`{"listn": ":80"}`:               `there is no setting "listn": did you mean "listen"?`,
		`{"retention": {"row": "1h"}}`:   `there is no setting "row": did you mean "raw"?`,
		`{"retention": {"raw": "-1h"}}`:  "negative",
		`{"report_every": "often"}`:      "invalid duration",
		`{"log": "xml"}`:                 `write "text" or "json"`,
		`{} {}`:                          "after the configuration's end",
		`{"trusted_proxies": ["proxy"]}`: "ParsePrefix",
	} {
		c := defaultConfig()
		err := parseConfig([]byte(in), &c)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", in, err, want)
		}
	}
}
