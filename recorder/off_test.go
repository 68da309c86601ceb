package recorder

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/wire"
)

func TestOffNames(t *testing.T) {
	for _, c := range []struct {
		off  []string
		want string
	}{
		{nil, ""},
		{[]string{"clients", "http.requests", "tls.sni"}, ""},
		{[]string{"instances.platform"}, ""}, // the server's, but in the dictionary
		{[]string{"http", "http.request.sise"}, `metric "http.request.sise" is not in the dictionary: did you mean "http.request.size"?`},
		{[]string{"client"}, `metric "client" is not in the dictionary: did you mean "clients"?`},
		{[]string{""}, `metric "" is not in the dictionary: the data dictionary lists them`},
		{[]string{"HTTP.Duration"}, `metric "HTTP.Duration" is not in the dictionary: did you mean "http.duration"?`},
		{[]string{"http."}, `metric "http." is not in the dictionary: did you mean "http"?`},
	} {
		_, err := New(Options{Off: c.off})
		got := ""
		if err != nil {
			got = err.Error()
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", c.off, diff)
		}
	}
}

func TestEverythingOff(t *testing.T) {
	r := recorderAt(t, "http", "connections", "clients", "tls", "telemetry")
	r.Begin()
	r.ConnOpened()
	r.Request(aRequest())
	r.ConnClosed(1, 1, 1, 1)
	r.Handshake(&Handshake{})
	r.Add(wire.TelemetryDroppedReports, wire.Dims{1}, 1)
	r.Observe(wire.HTTPDuration, wire.Dims{1, 1}, 1)
	for i := range r.stripes {
		for k := range r.stripes[i] {
			if r.stripes[i][k].Load() != 0 {
				t.Fatalf("word %d was counted although all is off", k)
			}
		}
	}
	if families := gather(t, r.Collector()); len(families) != 0 {
		t.Errorf("Prometheus sees %v", families)
	}
	if got := closed(t, r, 5*time.Minute); got != nil {
		t.Errorf("reported: %q", got)
	}
}

func TestSetOff(t *testing.T) {
	r := recorderAt(t)
	setOff := func(names ...string) {
		t.Helper()
		if err := r.SetOff(names); err != nil {
			t.Fatal(err)
		}
	}
	count := func() {
		r.Add(wire.HTTPPanics, wire.Dims{2}, 1)
		r.Add(wire.TLSSNI, wire.Dims{1}, 1)
	}
	count()
	setOff("tls")
	count()
	if err := r.SetOff([]string{"clients", "nonsense"}); err == nil {
		t.Error("an unknown metric was accepted")
	}
	if diff := cmp.Diff([]string{"http.errors.panic{http/1.1} 2"}, closed(t, r, 5*time.Minute)); diff != "" {
		t.Errorf("off: what was counted before is not reported either (-want +got):\n%s", diff)
	}
	count()
	setOff()
	count()
	if diff := cmp.Diff([]string{"http.errors.panic{http/1.1} 2", "tls.sni{present} 1"}, closed(t, r, 10*time.Minute)); diff != "" {
		t.Errorf("on again (-want +got):\n%s", diff)
	}
	count()
	setOff("tls")
	setOff()
	if diff := cmp.Diff([]string{"http.errors.panic{http/1.1} 1"}, closed(t, r, 15*time.Minute)); diff != "" {
		t.Errorf("off and on within a window (-want +got):\n%s", diff)
	}
	r.Begin()
	setOff("http.requests.peak")
	if diff := cmp.Diff([]string(nil), closed(t, r, 20*time.Minute)); diff != "" {
		t.Errorf("peak off (-want +got):\n%s", diff)
	}
}
