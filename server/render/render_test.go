package render

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const answer = `{"metric":"http.requests","kind":"counter","unit":"","grain":"hour","from":"2026-11-20T00:00:00Z","to":"2026-11-21T00:00:00Z",
	"complete":"2026-11-20T20:00:00Z","by":["time","status"],"total":59,"rows":[
	{"time":"2026-11-20T00:00:00Z","group":{"status":"2xx"},"count":10},
	{"time":"2026-11-20T01:00:00Z","group":{"status":"2xx"},"count":20},
	{"time":"2026-11-20T02:00:00Z","group":{"status":"4xx"},"count":14},
	{"time":"2026-11-20T03:00:00Z","group":{"status":"2xx"},"count":15}]}`

func job(kind string) Job {
	return Job{
		Kind: kind, Theme: Light, Width: 640, Height: 300, Answer: json.RawMessage(answer),
		Spec: json.RawMessage(`{"id":"requests","kind":"` + kind + `","title":"Requests","unit":"","names":{"2xx":"Fine & <good>"},"order":[]}`),
	}
}

// texts are what an SVG's text elements say. It fails on what is no XML, and on
// what a picture must not have.
func texts(t *testing.T, svg []byte) []string {
	t.Helper()
	var all []string
	in := false
	for d := xml.NewDecoder(bytes.NewReader(svg)); ; {
		tok, err := d.Token()
		if err == io.EOF {
			return all
		}
		if err != nil {
			t.Fatalf("the SVG is no XML: %v\n%s", err, svg)
		}
		switch tok := tok.(type) {
		case xml.StartElement:
			in = tok.Name.Local == "text"
			if n := tok.Name.Local; n == "script" || n == "style" || n == "foreignObject" || n == "image" {
				t.Errorf("the SVG has a %s", n)
			}
			for _, a := range tok.Attr {
				if strings.HasPrefix(a.Name.Local, "on") || a.Name.Local == "href" && !strings.HasPrefix(a.Value, "#") {
					t.Errorf("the SVG has %s=%q", a.Name.Local, a.Value)
				}
			}
		case xml.EndElement:
			in = false
		case xml.CharData:
			if s := strings.TrimSpace(string(tok)); in && s != "" {
				all = append(all, s)
			}
		}
	}
}

func TestSVG(t *testing.T) {
	r := New(Config{})
	var first []byte
	for i := range 3 {
		svg, err := r.SVG(t.Context(), job("line"))
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			first = svg
		} else if d := cmp.Diff(string(first), string(svg)); d != "" {
			t.Fatalf("another drawing of the same differs: %s", d)
		}
	}
	fresh, err := New(Config{}).SVG(t.Context(), job("line"))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(first), string(fresh)); d != "" {
		t.Errorf("another engine draws otherwise: %s", d)
	}
	got := strings.Join(texts(t, first), "|")
	for _, want := range []string{"Fine & <good>", "4xx", "12:00", "20"} {
		if !strings.Contains(got, want) {
			t.Errorf("the picture says %q, without %q", got, want)
		}
	}
	dark := job("line")
	dark.Theme = Dark
	svg, err := r.SVG(t.Context(), dark)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(svg, first) {
		t.Error("light and dark are the same")
	}
}

// TestFrame: a picture that stands for itself says what it is, and one without
// numbers why.
func TestFrame(t *testing.T) {
	r := New(Config{})
	j := job("line")
	j.Width, j.Height = 480, 360
	j.Frame = &Frame{Title: "Requests & what was answered, a title that takes more than a single line", Note: "last 24 hours", Source: "Evergreen <test>, of 12 instances"}
	svg, err := r.SVG(t.Context(), j)
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Join(texts(t, svg), "|")
	for _, want := range []string{"Requests & what was answered", "single line", "last 24 hours", "Evergreen <test>", "4xx"} {
		if !strings.Contains(got, want) {
			t.Errorf("the picture says %q, without %q", got, want)
		}
	}
	j.Answer = json.RawMessage(`{"by":[],"rows":[]}`)
	j.Reason = "All that was counted in this range is in groups too small to be shown."
	if svg, err = r.SVG(t.Context(), j); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(texts(t, svg), " "); !strings.Contains(got, j.Reason) || !strings.Contains(got, "last 24 hours") {
		t.Errorf("the picture of nothing says %q", got)
	}
	j.Height = MinSize
	if _, err := r.SVG(t.Context(), j); err == nil || !strings.Contains(err.Error(), "no room") {
		t.Errorf("a picture without room: %v", err)
	}
}

// TestConcurrent draws more at once than there are engines.
func TestConcurrent(t *testing.T) {
	r := New(Config{Runtimes: 2})
	want, err := r.SVG(t.Context(), job("area"))
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			svg, err := r.SVG(t.Context(), job("area"))
			if err != nil || !bytes.Equal(svg, want) {
				t.Errorf("drawn beside others it is not the same, or: %v", err)
			}
		})
	}
	wg.Wait()
	if n := len(r.idle); n < 1 || n > 2 {
		t.Errorf("%d engines are kept", n)
	}
}

func TestErrors(t *testing.T) {
	r := New(Config{})
	for name, c := range map[string]struct {
		change func(*Job)
		want   string
	}{
		"theme":  {func(j *Job) { j.Theme = "blue" }, `theme is "blue"`},
		"size":   {func(j *Job) { j.Width = 1e6 }, "between 120 and 2400"},
		"json":   {func(j *Job) { j.Answer = json.RawMessage(`{`) }, "no JSON"},
		"shape":  {func(j *Job) { j.Answer = json.RawMessage(`{"rows":[{"time":3,"group":7}],"by":null}`) }, "drawing"},
		"amount": {func(j *Job) { j.Answer = json.RawMessage(`"` + strings.Repeat("x", MaxInput) + `"`) }, "too much"},
	} {
		j := job("line")
		c.change(&j)
		if _, err := r.SVG(t.Context(), j); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	if _, err := r.SVG(t.Context(), job("line")); err != nil {
		t.Errorf("after errors: %v", err)
	}
}

// TestLimits: a drawing that takes too long ends, and one that nobody can wait
// for is refused.
func TestLimits(t *testing.T) {
	rows := make([]string, 20000)
	for i := range rows {
		rows[i] = fmt.Sprintf(`{"time":%q,"group":{"status":"s%d"},"count":%d}`, time.Unix(1795000000+int64(i)*3600, 0).UTC().Format(time.RFC3339), i%100, i)
	}
	long := job("line")
	long.Answer = json.RawMessage(strings.Replace(answer, `"rows":[`, `"rows":[`+strings.Join(rows, ",")+",", 1))
	r := New(Config{Runtimes: 1, Waiting: 1, Timeout: 300 * time.Millisecond})
	if _, err := r.SVG(t.Context(), long); !errors.Is(err, ErrSlow) {
		t.Errorf("a drawing without an end: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r = New(Config{Runtimes: 1, Waiting: 1})
	if _, err := r.SVG(ctx, long); !errors.Is(err, context.Canceled) {
		t.Errorf("a drawing that nobody waits for: %v", err)
	}
	r.running <- struct{}{} // all that may run do
	waits, stop := context.WithCancel(t.Context())
	waited := make(chan error)
	go func() {
		_, err := r.SVG(waits, job("line"))
		waited <- err
	}()
	for r.waiting.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	if _, err := r.SVG(t.Context(), job("line")); !errors.Is(err, ErrBusy) {
		t.Errorf("one more than may wait: %v", err)
	}
	stop()
	if err := <-waited; !errors.Is(err, context.Canceled) {
		t.Errorf("one that gave up waiting: %v", err)
	}
	<-r.running
	if _, err := r.SVG(t.Context(), job("line")); err != nil {
		t.Errorf("after all that: %v", err)
	}
}

func BenchmarkSVG(b *testing.B) {
	r := New(Config{})
	for b.Loop() {
		if _, err := r.SVG(b.Context(), job("line")); err != nil {
			b.Fatal(err)
		}
	}
}
