package wire

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
)

func sampleReport() *Report {
	get := Dims{Protocol.Value("http/2"), Status.Value("200"), Role.Value("site")}
	return &Report{
		Dictionary: DictionaryVersion, Number: 7, Created: 1_790_000_100,
		Facts: &Facts{
			CaddyVersion: "v2.11.9", GoVersion: "go1.26.8", Os: "linux", Arch: "amd64", Kernel: "linux-6", Cpus: 2,
			CpuFeatures: []string{"aes", "avx2"}, Memory: "16G-32G", Container: "none", Init: "systemd",
			Installation: "unpackaged", UptimeSeconds: 60, Sites: 1, Listeners: 2, Servers: 1, Protocols: []string{"h1", "h2"},
			ConfigAdapter: "caddyfile", Features: []string{"http.handlers.file_server"}, Deployment: "local", Label: "fleet",
			EvergreenVersion: "v0.1.0", Modules: []*Module{{Path: "github.com/mholt/caddy-ratelimit", Version: "v0.1.0", Plugin: true}},
		},
		Windows: []*Window{{Start: 1_790_000_100 / 300 * 300, Seconds: 300, Series: []*Series{
			{Metric: uint32(HTTPRequests), Cells: []uint64{uint64(get.Cell()), 0}, Values: []uint64{12, 1}},
			{Metric: uint32(HTTPRequestsPeak), Cells: []uint64{0}, Values: []uint64{3}},
			{Metric: uint32(HTTPDuration), Histograms: []*Histogram{{Cell: uint64(Dims{3, 2}.Cell()), Sum: 900, First: 30, Buckets: []uint64{1, 0, 2}}}},
		}}},
	}
}

func TestJSONRoundTrip(t *testing.T) {
	for name, change := range map[string]func(*Report){
		"known":          func(*Report) {},
		"no facts":       func(r *Report) { r.Facts = &Facts{} },
		"no windows":     func(r *Report) { r.Windows = nil },
		"unknown metric": func(r *Report) { r.Windows[0].Series[0].Metric = 3999 },
		"unknown value": func(r *Report) {
			r.Windows[0].Series[0].Cells[0] = uint64(Dims{4094, 1}.Cell())
		},
		"unknown dimension": func(r *Report) {
			r.Windows[0].Series[0].Cells[0] = uint64(Dims{1, 1, 1, 1, 1}.Cell())
		},
	} {
		t.Run(name, func(t *testing.T) {
			want := sampleReport()
			change(want)
			b, err := EncodeJSON(want)
			if err != nil {
				t.Fatal(err)
			}
			got, err := DecodeJSON(b)
			if err != nil {
				t.Fatalf("%v in\n%s", err, b)
			}
			if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
				t.Errorf("decoded another report (-want +got):\n%s", diff)
			}
		})
	}
}

func TestJSONHasNames(t *testing.T) {
	b, err := EncodeJSON(sampleReport())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{`"http.requests"`, `"protocol": "http/2"`, `"status": "200"`, `"value": 12`} {
		if !strings.Contains(string(b), name) {
			t.Errorf("the JSON lacks %s:\n%s", name, b)
		}
	}
}

func TestDecodeJSONRefuses(t *testing.T) {
	for in, want := range map[string]string{
		``:                   "EOF",
		`{"number":"x"}`:     "cannot unmarshal",
		`{"colour":"green"}`: `unknown field "colour"`,
		`{"number":1} {}`:    "after its end",
		`{"windows":[{"series":[{"metric":"http.requests","cells":[{"of":{"planet":"mars"}}]}]}]}`: `windows[0]: http.requests: cells[0]: http.requests has no dimension "planet"`,
	} {
		if _, err := DecodeJSON([]byte(in)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("DecodeJSON(%s) = %v, want an error with %q", in, err, want)
		}
	}
}

// What the dictionary lacks must become something that is not valid, never
// another metric or value.
func TestDecodeJSONUnknownNames(t *testing.T) {
	r, err := DecodeJSON([]byte(`{"windows":[{"series":[
		{"metric":"http.future","cells":[{"of":{"planet":"mars"},"value":1}]},
		{"metric":"http.requests","cells":[{"of":{"protocol":"http/9"},"value":1}]}]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	series := r.Windows[0].Series
	if MetricByID(MetricID(series[0].Metric)) != nil {
		t.Errorf("an unknown metric became number %d", series[0].Metric)
	}
	if m := MetricByID(HTTPRequests); m.Valid(Cell(series[1].Cells[0])) {
		t.Errorf("an unknown value became the valid cell %v", Cell(series[1].Cells[0]).Dims())
	}
}

func FuzzDecodeJSON(f *testing.F) {
	b, _ := EncodeJSON(sampleReport())
	f.Add(b)
	b, _ = EncodeJSON(withIncidents(sampleIncident()))
	f.Add(b)
	f.Add([]byte(`{"windows":[{"series":[{"metric":"#12","cells":[{"of":{"#4":"#9"}}]}]}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := DecodeJSON(b)
		if err != nil {
			return
		}
		again, err := EncodeJSON(r)
		if err != nil {
			t.Fatal(err)
		}
		r2, err := DecodeJSON(again)
		if err != nil {
			t.Fatalf("can't read back what was written: %v\n%s", err, again)
		}
		if !proto.Equal(r, r2) {
			t.Errorf("reading back gives another report:\n%s", cmp.Diff(r, r2, protocmp.Transform()))
		}
	})
}
