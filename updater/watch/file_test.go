package watch

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var internals = cmp.AllowUnexported(data{}, site{}, cell{}, moments{})

func TestSaved(t *testing.T) {
	w := newWorld(t, 2)
	b := w.baseline(2, load{slot: 7, perSecond: 3, fails: 0.1, shakes: 1, unshaken: 1})
	if err := b.Save(); err != nil {
		t.Fatal(err)
	}
	again, err := Open(b.path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(b.data, again.data, internals); d != "" {
		t.Errorf("what is read differs from what was written (-written +read):\n%s", d)
	}
	if again.Seed() != b.Seed() {
		t.Error("another seed")
	}
	if names, _ := filepath.Glob(filepath.Join(filepath.Dir(b.path), "*")); len(names) != 1 {
		t.Errorf("beside the baseline there is: %v", names)
	}
}

// The largest baseline there can be is read again.
func TestLargest(t *testing.T) {
	w := newWorld(t, 3)
	var loads []load
	for slot := range Sites {
		loads = append(loads, load{slot: slot, perSecond: 1e9, fails: 0.123456, panics: 0.123456, slow: 0.123456})
	}
	b := w.baseline(30, loads...)
	if err := b.Save(); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(b.path)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes", info.Size())
	if _, err := Open(b.path); err != nil {
		t.Error(err)
	}
}

func TestUnusable(t *testing.T) {
	for name, c := range map[string]struct{ text, says string }{
		"empty":             {"", "EOF"},
		"cut off":           {`{"version":1,"seed":`, "unexpected EOF"},
		"of the future":     {`{"version":2}`, "version 2"},
		"unknown field":     {`{"version":1,"names":[]}`, "unknown field"},
		"followed by more":  {`{"version":1}{}`, "follows"},
		"negative":          {`{"version":1,"recent":{"n":-1}}`, "can't be counts"},
		"more bad than all": {`{"version":1,"recent":{"n":5,"series":[{"k":500}]}}`, "can't be counts"},
		"too many series":   {`{"version":1,"handshakes":[{"series":[{},{}]},{}]}`, "can't be counts"},
		"slot":              {`{"version":1,"sites":{"256":{}}}`, "can't be counts"},
		"too large":         {strings.Repeat(" ", maxFile+1), "more than"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "baseline.json")
			if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			b, err := Open(path)
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("%v, want an error that says %q", err, c.says)
			}
			if v := b.Watch(Sample{Time: time.Unix(1e9, 0)}, Length).Look(Sample{Time: time.Unix(1e9+600, 0)}); v.Harm != "" {
				t.Error(v.Harm)
			}
			if err := b.Save(); err != nil { // a new one takes its place
				t.Fatal(err)
			}
			if _, err := Open(path); err != nil {
				t.Error(err)
			}
		})
	}
	if b, err := Open(filepath.Join(t.TempDir(), "none")); err != nil {
		t.Errorf("no file is no error: %v", err)
	} else if err := (&Baseline{path: filepath.Join(b.path, "below", "a", "file")}).Save(); err == nil {
		t.Error("nothing can be kept there")
	}
}

// Whatever is in the file, a baseline is usable: it learns, judges and is kept.
func FuzzParse(f *testing.F) {
	w := newWorld(f, 4)
	b := w.baseline(2, load{slot: 7, perSecond: 3, fails: 0.1, shakes: 1, unshaken: 1})
	text, err := json.Marshal(&b.data)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"version":1}`))
	f.Add([]byte(`{"version":1,"recent":{"at":9223372036854775807,"t":1e39,"m":1e39,"n":1e39,"nn":0,"series":[{"k":1e39,"kk":0,"nk":1e39}]}}`))
	f.Add([]byte(`{"version":1,"hours":[{"n":200,"series":[null,{"k":200}]}],"sites":{"3":{"lately":{"m":1,"n":1e-300}}},"memory":[1]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		d, err := parse(text)
		if err != nil {
			return
		}
		if d.Sites == nil {
			d.Sites = map[int]site{}
		}
		b := &Baseline{data: *d}
		w := newWorld(t, 5)
		bad := load{slot: 3, perSecond: 2, fails: 0.5, panics: 0.1, slow: 0.2, shakes: 1, unshaken: 1}
		w.learn(b, 3*time.Minute, bad)
		v, _ := w.watch(b, 3*time.Minute, bad)
		if strings.Contains(v.Harm, "NaN") || v.P < 0 || v.P != v.P {
			t.Errorf("%+v", v)
		}
		out, err := json.Marshal(&b.data)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parse(out); err != nil && d.Recent.N < 1e30 {
			t.Errorf("what is kept can't be read: %v", err)
		}
	})
}
