package interception

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/clienthello"
	"github.com/caddy-evergreen/evergreen/clients"
	"github.com/caddy-evergreen/evergreen/wire"
)

var update = flag.Bool("update", false, "write the measured tables into docs/interception.md")

const (
	hellos    = "../../clients/testdata/hellos/"
	programs  = "../testbed/programs/testdata/captures.jsonl"
	mitmFacts = "../../../shared/data/tls-signatures/mitm.txt"
	document  = "../../docs/interception.md"
)

type sample struct {
	Client    string `json:"client"`
	Name      string `json:"name"` // in the captures of package programs
	UserAgent string `json:"user_agent"`
	Hex       string `json:"hello"`
	hello     *clienthello.Hello
}

func read(t *testing.T, name string) (all []sample) {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 1<<16)
	for lines.Scan() {
		var s sample
		if err := json.Unmarshal(lines.Bytes(), &s); err != nil {
			t.Fatal(err)
		}
		msg, err := hex.DecodeString(s.Hex)
		if err != nil {
			t.Fatal(err)
		}
		s.hello = &clienthello.Hello{Transport: clienthello.TCP}
		if err := s.hello.Parse(msg); err != nil {
			t.Fatalf("%s%s: %v", s.Client, s.Name, err)
		}
		// What runs without a window calls itself headless; its hello is Chromium's.
		s.UserAgent = strings.ReplaceAll(s.UserAgent, "HeadlessChrome", "Chrome")
		all = append(all, s)
	}
	if len(all) == 0 {
		t.Fatalf("no hellos in %s", name)
	}
	return all
}

// A tally is a row of the confusion matrix.
type tally struct{ consistent, inconsistent, unknown int }

func (a *tally) add(h *clienthello.Hello, ua string) clients.Judgement {
	j := clients.Judge(h, clients.Classify(ua))
	switch wire.InterceptionVerdict.ValueName(j.Verdict) {
	case "consistent":
		a.consistent++
	case "inconsistent":
		a.inconsistent++
	default:
		a.unknown++
	}
	return j
}

func (a *tally) sum(b tally) {
	a.consistent += b.consistent
	a.inconsistent += b.inconsistent
	a.unknown += b.unknown
}

func (a tally) all() int { return a.consistent + a.inconsistent + a.unknown }

// userAgents are those of a browser in every version of the range.
func userAgents(format string, from, to int) (uas []string) {
	for v := from; v <= to; v++ {
		uas = append(uas, fmt.Sprintf(format, v))
	}
	return uas
}

const (
	chrome  = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/%d.0.0.0 Safari/537.36"
	edge    = chrome + " Edg/%[1]d.0.0.0"
	firefox = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:%d.0) Gecko/20100101 Firefox/%[1]d.0"
	safari  = "Mozilla/5.0 (iPhone; CPU iPhone OS %d_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/%[1]d.1 Mobile/15E148 Safari/604.1"
)

// everyBrowser are the User-Agents that interceptors are tried with.
func everyBrowser() map[string][]string {
	return map[string][]string{
		"Chrome 58–156": userAgents(chrome, 58, 156), "Edge 79–156": userAgents(edge, 79, 156),
		"Firefox 55–153": userAgents(firefox, 55, 153), "Safari 11–26": userAgents(safari, 11, 26),
		"newer": append(append(userAgents(chrome, 157, 300), userAgents(firefox, 154, 300)...), userAgents(safari, 27, 40)...),
	}
}

type table struct{ strings.Builder }

func (t *table) head(cells ...string) {
	t.row(cells...)
	t.WriteString("|" + strings.Repeat(" --- |", len(cells)) + "\n")
}

func (t *table) row(cells ...string) {
	t.WriteString("| " + strings.Join(cells, " | ") + " |\n")
}

func (t *table) tally(name string, a tally) {
	t.row(name, strconv.Itoa(a.all()), strconv.Itoa(a.consistent), strconv.Itoa(a.inconsistent), strconv.Itoa(a.unknown))
}

// The confusion matrix of docs/interception.md, and the goals of what is covered:
// false positives at most 0.5 %, misses at most 3 %, nothing new ever flagged.
func TestMatrix(t *testing.T) {
	captures, parrots, behind := read(t, hellos+"captures.jsonl"), read(t, hellos+"parrots.jsonl"), read(t, programs)

	var out table
	out.head("browsers, directly", "hellos", "consistent", "inconsistent", "unknown")
	groups, families := map[string]*tally{}, map[string]bool{}
	order := []string{"captured here", "Chrome", "Edge", "Opera", "Firefox", "Safari"}
	for _, g := range order {
		groups[g] = &tally{}
	}
	direct := func(s sample, group string) {
		families[wire.ClientFamily.ValueName(clients.Classify(s.UserAgent).Family())] = true
		if groups[group].add(s.hello, s.UserAgent); clients.Classify(s.UserAgent).Kind != clients.Browser {
			t.Errorf("%s%s has the User-Agent %q", s.Client, s.Name, s.UserAgent)
		}
	}
	for _, s := range captures {
		if s.Client == "chromium" || s.Client == "firefox" {
			direct(s, "captured here")
		}
	}
	for _, s := range behind {
		if strings.HasSuffix(s.Name, "-direct") {
			direct(s, "captured here")
		}
	}
	for _, s := range parrots {
		name, _, _ := strings.Cut(s.Client, "-")
		if g, ok := map[string]string{"chrome": "Chrome", "edge": "Edge", "opera": "Opera", "firefox": "Firefox", "safari": "Safari", "ios": "Safari"}[name]; ok {
			direct(s, g)
		}
	}
	var browsers tally
	for _, g := range order {
		name := g
		if g != "captured here" {
			name += ", as imitated by utls and tls-client"
		}
		out.tally(name, *groups[g])
		browsers.sum(*groups[g])
	}
	out.tally("**all**", browsers)

	// What they send today, from versions that don't exist yet.
	var newer tally
	for _, s := range append(captures, parrots...) {
		format := map[string]string{"chromium": chrome, "chrome-133": chrome, "firefox": firefox, "firefox-135": firefox, "safari-ios-18-5": safari}[s.Client]
		if format == "" {
			continue
		}
		from := map[string]int{chrome: 157, firefox: 154, safari: 27}[format]
		for _, ua := range userAgents(format, from, from+100) {
			newer.add(s.hello, ua)
		}
	}
	out.tally("the newest hellos, called by the next 100 versions", newer)

	out.WriteString("\n")
	out.head("behind an interceptor", "pairs", "consistent", "inconsistent", "unknown", "looks like")
	var intercepted tally
	one := func(name string, h *clienthello.Hello, uas map[string][]string) {
		var a tally
		var library wire.Value
		for _, list := range uas {
			for _, ua := range list {
				library = a.add(h, ua).Library
			}
		}
		intercepted.sum(a)
		out.row(name, strconv.Itoa(a.all()), strconv.Itoa(a.consistent), strconv.Itoa(a.inconsistent), strconv.Itoa(a.unknown), wire.TLSLibrary.ValueName(library))
	}
	for _, s := range behind {
		if browser, proxy, ok := strings.Cut(s.Name, "-"); ok && browser == "chromium" && proxy != "direct" {
			one(proxy, s.hello, everyBrowser())
		}
		// The browser that really was behind it.
		if browser, proxy, ok := strings.Cut(s.Name, "-"); ok && (browser == "chromium" || browser == "firefox") && proxy != "direct" {
			var a tally
			if a.add(s.hello, s.UserAgent); a.inconsistent != 1 {
				t.Errorf("%s is missed: %+v", s.Name, a)
			}
		}
	}
	for _, s := range captures {
		switch s.Client {
		case "gnutls", "java", "mbedtls", "wolfssl", "deno":
			one("another on the library of "+s.Client, s.hello, everyBrowser())
		}
	}
	a := intercepted
	out.row("**all**", strconv.Itoa(a.all()), strconv.Itoa(a.consistent), strconv.Itoa(a.inconsistent), strconv.Itoa(a.unknown), "")
	t.Log("\n" + out.String())

	if browsers.inconsistent*200 > browsers.all() {
		t.Errorf("%d of %d browsers are flagged", browsers.inconsistent, browsers.all())
	}
	if newer.inconsistent > 0 {
		t.Errorf("%d of %d are flagged for being new", newer.inconsistent, newer.all())
	}
	if missed := intercepted.all() - intercepted.inconsistent; missed*100 > 3*intercepted.all() {
		t.Errorf("%d of %d are missed", missed, intercepted.all())
	}
	if diff := cmp.Diff(slices.Sorted(slices.Values(Families())), slices.Sorted(maps.Keys(families))); diff != "" {
		t.Errorf("Families are not those that were measured (-Families +measured):\n%s", diff)
	}
	q := Measured()
	if q.SpecificityOf > browsers.all() || q.SensitivityOf > intercepted.all() {
		t.Errorf("Measured says more than was: %+v of %d and %d", q, browsers.all(), intercepted.all())
	}
	if got := share(browsers.all()-browsers.inconsistent, browsers.all()); q.Specificity > got {
		t.Errorf("Measured has the specificity %v, here it is %v", q.Specificity, got)
	}
	if got := share(intercepted.inconsistent, intercepted.all()); q.Sensitivity > got {
		t.Errorf("Measured has the sensitivity %v, here it is %v", q.Sensitivity, got)
	}
	inDocument(t, "matrix", out.String())
}

func share(a, of int) float64 { return float64(a) / float64(of) }

// inDocument compares text with what the document has between the markers of the name.
func inDocument(t *testing.T, name, text string) {
	t.Helper()
	doc, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	start, end := "<!-- "+name+" -->\n", "<!-- end of "+name+" -->\n"
	before, rest, ok := strings.Cut(string(doc), start)
	old, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s lacks the markers of %s", document, name)
	}
	if *update {
		if err := os.WriteFile(document, []byte(before+start+text+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(old, text); diff != "" {
		t.Errorf("%s is not what is measured; run go test -update (-document +measured):\n%s", document, diff)
	}
}

// The products of mitmengine's mitm.txt as facts: lists of suites, extensions,
// groups and point formats without the rest of a hello. They are from 2016 to 2018.
func TestOldProducts(t *testing.T) {
	text, err := os.ReadFile(mitmFacts)
	if errors.Is(err, fs.ErrNotExist) {
		t.Logf("%s is not there: older interceptors are not tried", mitmFacts)
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	uas := map[string]string{"1": chrome, "4": firefox}
	var a tally
	products := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		parts := strings.Split(strings.TrimSpace(line), "|")
		if strings.HasPrefix(line, "#") || len(parts) != 3 {
			continue
		}
		browser := strings.Split(parts[0], ":")
		hello := strings.Split(parts[1], ":")
		format, ok := uas[browser[0]]
		if !ok || len(hello) < 5 || strings.ContainsAny(parts[1], "~?") {
			continue
		}
		h := &clienthello.Hello{Transport: clienthello.TCP, LegacyVersion: 0x0303, CipherSuites: codes(t, hello[1]), Extensions: codes(t, hello[2]), Groups: codes(t, hello[3])}
		for _, p := range codes(t, hello[4]) {
			h.PointFormats = append(h.PointFormats, uint8(p))
		}
		product := strings.SplitN(parts[2], ":", 2)[0]
		products[product] = true
		for v := 58; v <= 156; v++ {
			j := a.add(h, fmt.Sprintf(format, v))
			if v == 156 && wire.InterceptionVerdict.ValueName(j.Verdict) != "inconsistent" {
				_, why := clients.Explain(h, clients.Classify(fmt.Sprintf(format, v)))
				t.Logf("%s with browser %s %d is missed: %s", product, browser[0], v, strings.Join(why, "; "))
			}
		}
	}
	t.Logf("%d products with Chrome and Firefox 58 to 156: %+v", len(products), a)
	if missed := a.all() - a.inconsistent; missed*100 > 3*a.all() {
		t.Errorf("%d of %d are missed", missed, a.all())
	}
}

func codes(t *testing.T, list string) (all []uint16) {
	t.Helper()
	for _, w := range strings.Split(list, ",") {
		if w == "" {
			continue
		}
		v, err := strconv.ParseUint(w, 16, 16)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, uint16(v))
	}
	return all
}
