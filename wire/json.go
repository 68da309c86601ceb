package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// The JSON form of a report has the same fields as the protobuf one, but names
// where that has the dictionary's numbers. What the dictionary lacks is
// written, and read, as "#" and the number.
type (
	reportJSON struct {
		Dictionary uint32       `json:"dictionary"`
		Number     uint64       `json:"number"`
		Created    int64        `json:"created"`
		Facts      factsJSON    `json:"facts"`
		Windows    []windowJSON `json:"windows"`
	}
	factsJSON struct {
		CaddyVersion     string       `json:"caddy_version,omitempty"`
		GoVersion        string       `json:"go_version,omitempty"`
		EvergreenVersion string       `json:"evergreen_version,omitempty"`
		OS               string       `json:"os,omitempty"`
		Arch             string       `json:"arch,omitempty"`
		Kernel           string       `json:"kernel,omitempty"`
		CPUs             uint32       `json:"cpus,omitempty"`
		CPUFeatures      []string     `json:"cpu_features,omitempty"`
		Memory           string       `json:"memory,omitempty"`
		Container        string       `json:"container,omitempty"`
		Init             string       `json:"init,omitempty"`
		Installation     string       `json:"installation,omitempty"`
		UptimeSeconds    uint64       `json:"uptime_seconds,omitempty"`
		Sites            uint32       `json:"sites,omitempty"`
		Listeners        uint32       `json:"listeners,omitempty"`
		Servers          uint32       `json:"servers,omitempty"`
		Protocols        []string     `json:"protocols,omitempty"`
		ConfigAdapter    string       `json:"config_adapter,omitempty"`
		Features         []string     `json:"features,omitempty"`
		Deployment       string       `json:"deployment,omitempty"`
		Label            string       `json:"label,omitempty"`
		Modules          []moduleJSON `json:"modules,omitempty"`
	}
	moduleJSON struct {
		Path    string `json:"path"`
		Version string `json:"version,omitempty"`
		Plugin  bool   `json:"plugin,omitempty"`
	}
	windowJSON struct {
		Start     int64          `json:"start"`
		Seconds   uint32         `json:"seconds"`
		Series    []seriesJSON   `json:"series,omitempty"`
		Incidents []incidentJSON `json:"incidents,omitempty"`
	}
	seriesJSON struct {
		Metric string     `json:"metric"`
		Cells  []cellJSON `json:"cells"`
	}
	cellJSON struct {
		Of      map[string]string `json:"of,omitempty"`    // dimension → value
		Value   uint64            `json:"value,omitempty"` // of counters and peaks
		Sum     uint64            `json:"sum,omitempty"`   // the rest is of histograms
		First   uint32            `json:"first,omitempty"`
		Buckets []uint64          `json:"buckets,omitempty"`
	}
)

// EncodeJSON writes a report as JSON with names, indented for people.
func EncodeJSON(r *Report) ([]byte, error) {
	j := reportJSON{
		Dictionary: r.GetDictionary(), Number: r.GetNumber(), Created: r.GetCreated(),
		Facts: factsToJSON(r.GetFacts()), Windows: make([]windowJSON, 0, len(r.GetWindows())),
	}
	for _, w := range r.GetWindows() {
		wj := windowJSON{Start: w.GetStart(), Seconds: w.GetSeconds()}
		for _, s := range w.GetSeries() {
			wj.Series = append(wj.Series, seriesToJSON(s))
		}
		for _, in := range w.GetIncidents() {
			wj.Incidents = append(wj.Incidents, incidentToJSON(in))
		}
		j.Windows = append(j.Windows, wj)
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(j); err != nil {
		return nil, fmt.Errorf("encoding report %d: %w", r.GetNumber(), err)
	}
	return b.Bytes(), nil
}

// DecodeJSON reads what EncodeJSON wrote. It refuses unknown fields, unknown
// dimensions and anything after the report. Metrics and values that the
// dictionary lacks become ones that are not valid, for the collector to drop.
func DecodeJSON(b []byte) (*Report, error) {
	var j reportJSON
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&j); err != nil {
		return nil, fmt.Errorf("decoding the report: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("decoding the report: there is something after its end")
	}
	r := &Report{Dictionary: j.Dictionary, Number: j.Number, Created: j.Created, Facts: factsFromJSON(j.Facts)}
	for i, wj := range j.Windows {
		w := &Window{Start: wj.Start, Seconds: wj.Seconds}
		for _, sj := range wj.Series {
			s, err := seriesFromJSON(sj)
			if err != nil {
				return nil, fmt.Errorf("decoding the report: windows[%d]: %w", i, err)
			}
			w.Series = append(w.Series, s)
		}
		for k, ij := range wj.Incidents {
			in, err := incidentFromJSON(ij)
			if err != nil {
				return nil, fmt.Errorf("decoding the report: windows[%d].incidents[%d]: %w", i, k, err)
			}
			w.Incidents = append(w.Incidents, in)
		}
		r.Windows = append(r.Windows, w)
	}
	return r, nil
}

func seriesToJSON(s *Series) seriesJSON {
	m := MetricByID(MetricID(s.GetMetric()))
	j := seriesJSON{Metric: "#" + strconv.FormatUint(uint64(s.GetMetric()), 10), Cells: []cellJSON{}}
	if m != nil && s.GetMetric() == uint32(m.ID) {
		j.Metric = m.Name
	} else {
		m = &Metric{}
	}
	values := s.GetValues()
	for i, c := range s.GetCells() {
		if i < len(values) {
			j.Cells = append(j.Cells, cellJSON{Of: cellToJSON(m, Cell(c)), Value: values[i]})
		}
	}
	for _, h := range s.GetHistograms() {
		j.Cells = append(j.Cells, cellJSON{Of: cellToJSON(m, Cell(h.GetCell())), Sum: h.GetSum(), First: h.GetFirst(), Buckets: h.GetBuckets()})
	}
	return j
}

func cellToJSON(m *Metric, c Cell) map[string]string {
	of := map[string]string{}
	for i, v := range c.Dims() {
		switch {
		case i < len(m.Dims) && int(v) < len(m.Dims[i].Values):
			of[m.Dims[i].Name] = m.Dims[i].Values[v]
		case i < len(m.Dims):
			of[m.Dims[i].Name] = number(v)
		case v != 0:
			of[number(Value(i))] = number(v)
		}
	}
	return of
}

func seriesFromJSON(j seriesJSON) (*Series, error) {
	m := MetricByName(j.Metric)
	s := &Series{}
	if m != nil {
		s.Metric = uint32(m.ID)
	} else {
		n, _ := parseNumber(j.Metric) // any other unknown name is metric 0, which is none
		s.Metric = uint32(n)
		m = &Metric{}
	}
	for i, cj := range j.Cells {
		c, err := cellFromJSON(m, cj.Of)
		if err != nil {
			return nil, fmt.Errorf("%.60s: cells[%d]: %w", j.Metric, i, err)
		}
		if len(cj.Buckets) > 0 || m.Kind == KindHistogram {
			s.Histograms = append(s.Histograms, &Histogram{Cell: uint64(c), Sum: cj.Sum, First: cj.First, Buckets: cj.Buckets})
		} else {
			s.Cells = append(s.Cells, uint64(c))
			s.Values = append(s.Values, cj.Value)
		}
	}
	return s, nil
}

func cellFromJSON(m *Metric, of map[string]string) (Cell, error) {
	var d Dims
	for name, value := range of {
		i := m.Dim(name)
		if i < 0 {
			n, ok := parseNumber(name)
			if !ok || int(n) >= MaxDims {
				if m.ID == 0 {
					continue // the metric is unknown and will be dropped
				}
				return 0, fmt.Errorf("%s has no dimension %.60q", m.Name, name)
			}
			i = int(n)
		}
		switch v, ok := parseNumber(value); {
		case ok:
			d[i] = v
		case i < len(m.Dims) && m.Dims[i].Has(value):
			d[i] = m.Dims[i].Value(value)
		default:
			d[i] = 1<<dimBits - 1
		}
	}
	return d.Cell(), nil
}

func number(v Value) string { return "#" + strconv.Itoa(int(v)) }

func parseNumber(s string) (Value, bool) {
	digits, ok := strings.CutPrefix(s, "#")
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, dimBits)
	return Value(n), err == nil
}

func factsToJSON(f *Facts) factsJSON {
	j := factsJSON{
		CaddyVersion: f.GetCaddyVersion(), GoVersion: f.GetGoVersion(), EvergreenVersion: f.GetEvergreenVersion(),
		OS: f.GetOs(), Arch: f.GetArch(), Kernel: f.GetKernel(), CPUs: f.GetCpus(), CPUFeatures: f.GetCpuFeatures(),
		Memory: f.GetMemory(), Container: f.GetContainer(), Init: f.GetInit(), Installation: f.GetInstallation(),
		UptimeSeconds: f.GetUptimeSeconds(), Sites: f.GetSites(), Listeners: f.GetListeners(), Servers: f.GetServers(),
		Protocols: f.GetProtocols(), ConfigAdapter: f.GetConfigAdapter(), Features: f.GetFeatures(),
		Deployment: f.GetDeployment(), Label: f.GetLabel(),
	}
	for _, m := range f.GetModules() {
		j.Modules = append(j.Modules, moduleJSON{m.GetPath(), m.GetVersion(), m.GetPlugin()})
	}
	return j
}

func factsFromJSON(j factsJSON) *Facts {
	f := &Facts{
		CaddyVersion: j.CaddyVersion, GoVersion: j.GoVersion, EvergreenVersion: j.EvergreenVersion,
		Os: j.OS, Arch: j.Arch, Kernel: j.Kernel, Cpus: j.CPUs, CpuFeatures: j.CPUFeatures,
		Memory: j.Memory, Container: j.Container, Init: j.Init, Installation: j.Installation,
		UptimeSeconds: j.UptimeSeconds, Sites: j.Sites, Listeners: j.Listeners, Servers: j.Servers,
		Protocols: j.Protocols, ConfigAdapter: j.ConfigAdapter, Features: j.Features,
		Deployment: j.Deployment, Label: j.Label,
	}
	for _, m := range j.Modules {
		f.Modules = append(f.Modules, &Module{Path: m.Path, Version: m.Version, Plugin: m.Plugin})
	}
	return f
}
