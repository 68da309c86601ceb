package clients

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/clienthello"
	"github.com/caddy-evergreen/evergreen/wire"
)

// A sample is a line of testdata/hellos.
type sample struct {
	Client    string `json:"client"`
	Version   string `json:"version"`
	UserAgent string `json:"user_agent"`
	Hex       string `json:"hello"`
	hello     *clienthello.Hello
}

func samples(t testing.TB, name string) []sample {
	t.Helper()
	text, err := os.ReadFile("testdata/hellos/" + name)
	if err != nil {
		t.Fatal(err)
	}
	var all []sample
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
			t.Fatalf("%s %s: %v", s.Client, s.Version, err)
		}
		all = append(all, s)
	}
	if len(all) == 0 {
		t.Fatalf("no hellos in %s", name)
	}
	return all
}

func describe(j Judgement) string {
	return wire.InterceptionVerdict.ValueName(j.Verdict) + " " + wire.TLSLibrary.ValueName(j.Library)
}

// What real clients sent, with the User-Agent that they send.
func TestJudgeCaptures(t *testing.T) {
	want := map[string]string{
		"curl": "consistent openssl", "wget": "consistent gnutls", "openssl": "unknown openssl", "gnutls": "unknown gnutls",
		"node": "consistent openssl", "node-https": "consistent openssl",
		"python": "consistent openssl", "python-requests": "consistent openssl",
		"java": "consistent java", "java-url": "consistent java",
		"go": "consistent go", "go-h1": "consistent go",
		"chromium": "consistent boringssl", "firefox": "consistent nss",
		"deno": "consistent rustls", "bun": "consistent boringssl",
		"mbedtls": "unknown mbedtls", "wolfssl": "unknown wolfssl",
	}
	got := map[string]string{}
	for _, s := range samples(t, "captures.jsonl") {
		j, why := Explain(s.hello, Classify(s.UserAgent))
		got[s.Client] = describe(j)
		if got[s.Client] != want[s.Client] {
			t.Errorf("%s %s: %s", s.Client, s.Version, strings.Join(why, "; "))
		}
	}
	for client := range want {
		if got[client] == "" {
			t.Errorf("no capture of %s", client)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestJudgeParrots(t *testing.T) {
	for _, s := range samples(t, "parrots.jsonl") {
		want := "consistent"
		if strings.HasPrefix(s.Client, "360") || strings.HasPrefix(s.Client, "qq") {
			want = "unknown" // nothing is said of these families
		}
		j, why := Explain(s.hello, Classify(s.UserAgent))
		if got := wire.InterceptionVerdict.ValueName(j.Verdict); got != want {
			t.Errorf("%s is %s: %s", s.Client, got, strings.Join(why, "; "))
		}
	}
}

const (
	chromeUA  = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/%d.0.0.0 Safari/537.36"
	edgeUA    = chromeUA + " Edg/%[1]d.0.0.0"
	firefoxUA = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:%d.0) Gecko/20100101 Firefox/%[1]d.0"
	safariUA  = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/%d.0 Mobile/15E148 Safari/604.1"
	criosUA   = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/%d.0.0.0 Mobile/15E148 Safari/604.1"
)

// browserOf is the engine of a browser's hello by the client that sent it, or "".
func browserOf(client string) string {
	name, _, _ := strings.Cut(client, "-")
	switch name {
	case "chromium", "chrome", "edge", "opera":
		return "chromium"
	case "firefox":
		return "firefox"
	case "safari", "ios":
		return "apple"
	}
	return ""
}

// Each browser's User-Agent with everybody else's hello, browser or not.
func TestJudgeCrossed(t *testing.T) {
	all := append(samples(t, "captures.jsonl"), samples(t, "parrots.jsonl")...)
	for _, ua := range []struct {
		engine, format string
		versions       []int
	}{
		{"chromium", chromeUA, []int{80, 100, 120, 140, 156, 200}},
		{"chromium", edgeUA, []int{90, 120, 156, 200}},
		{"firefox", firefoxUA, []int{65, 78, 102, 128, 153, 250}},
		{"apple", safariUA, []int{13, 14, 16, 18, 26, 40}},
		{"apple", criosUA, []int{100, 156}},
	} {
		for _, v := range ua.versions {
			c := Classify(fmt.Sprintf(ua.format, v))
			for _, s := range all {
				j, why := Explain(s.hello, c)
				got := wire.InterceptionVerdict.ValueName(j.Verdict)
				switch of := browserOf(s.Client); {
				case strings.HasPrefix(s.Client, "360") || strings.HasPrefix(s.Client, "qq"):
					// Built on Chromium.
				case of != ua.engine && got != "inconsistent":
					t.Errorf("%s %d with the hello of %s (%s) is %s: %s", ua.engine, v, s.Client, s.Version, got, strings.Join(why, "; "))
				}
			}
		}
	}
}

// Browsers that don't exist yet, with what they send today and with more.
func TestJudgeNeverFlagsTheNew(t *testing.T) {
	newest := map[string][]string{"chromium": {"chromium"}, "chrome-133": {"chromium"}, "firefox": {"firefox"}, "safari-16.0": {"apple"}}
	uas := map[string]string{"chromium": chromeUA, "firefox": firefoxUA, "apple": safariUA}
	now := map[string]int{"chromium": 156, "firefox": 153, "apple": 26}
	seen := map[string]bool{}
	for _, s := range append(samples(t, "captures.jsonl"), samples(t, "parrots.jsonl")...) {
		if newest[s.Client] == nil {
			continue
		}
		seen[s.Client] = true
		of := browserOf(s.Client)
		for _, v := range []int{now[of] - 1, now[of], now[of] + 1, now[of] + 14, 250, 399} {
			c := Classify(fmt.Sprintf(uas[of], v))
			for _, change := range []struct {
				name string
				make func(h *clienthello.Hello)
			}{
				{"nothing", func(*clienthello.Hello) {}},
				{"an extension", func(h *clienthello.Hello) { h.Extensions = append(slices.Clone(h.Extensions), 0xabcd) }},
				{"a group", func(h *clienthello.Hello) { h.Groups = slices.Insert(slices.Clone(h.Groups), 1, 0x11ff) }},
				{"schemes", func(h *clienthello.Hello) {
					h.SignatureSchemes = append([]uint16{0x0999}, h.SignatureSchemes...)
				}},
				{"a cipher suite", func(h *clienthello.Hello) { h.CipherSuites = slices.Insert(slices.Clone(h.CipherSuites), 1, 0x1306) }},
				{"certificate compression", func(h *clienthello.Hello) { h.CertCompressions = []uint16{3, 2, 1} }},
				{"a version", func(h *clienthello.Hello) { h.Versions = append([]uint16{0x0305}, h.Versions...) }},
			} {
				h := *s.hello
				change.make(&h)
				j, why := Explain(&h, c)
				if j.Verdict == verdicts.inconsistent {
					t.Errorf("%s as version %d with %s new is inconsistent: %s", s.Client, v, change.name, strings.Join(why, "; "))
				}
				if change.name == "nothing" && j.Verdict != verdicts.consistent && s.Client != "safari-16.0" {
					t.Errorf("%s as version %d is not consistent: %s", s.Client, v, strings.Join(why, "; "))
				}
			}
		}
	}
	if len(seen) != len(newest) {
		t.Errorf("tested only %v", seen)
	}
}

// Old hellos as mitmengine's browser.txt has them (see signatures/browsers.txt):
// lists without the rest.
func TestJudgeOld(t *testing.T) {
	list := func(s string) (l []uint16) {
		for _, w := range strings.Fields(s) {
			var v uint16
			if _, err := fmt.Sscanf(w, "%x", &v); err != nil {
				t.Fatal(err)
			}
			l = append(l, v)
		}
		return l
	}
	const (
		ie11    = "Mozilla/5.0 (Windows NT 10.0; WOW64; Trident/7.0; rv:11.0) like Gecko"
		edge18  = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/64.0.3282.140 Safari/537.36 Edge/18.17763"
		safari9 = "Mozilla/5.0 (iPhone; CPU iPhone OS 9_1 like Mac OS X) AppleWebKit/601.1.46 (KHTML, like Gecko) Version/9.0 Mobile/13B143 Safari/601.1"
	)
	for _, c := range []struct{ name, ua, ciphers, extensions, groups, want string }{
		{"IE 11, Windows 10", ie11, "c02c c02b c030 c02f c024 c023 c028 c027 c00a c009 c014 c013 9d 9c 3d 3c 35 2f a", "0 5 a b d 23 10 17 ff01", "1d 17 18", "consistent schannel"},
		{"IE 11, Windows 7", ie11, "c028 c027 c014 c013 9f 9e 39 33 9d 9c 3d 3c 35 2f c02c c02b c024 c023 c00a c009 6a 40 38 32 a 13", "0 5 a b d 23 10 3374 17 ff01", "17 18", "consistent schannel"},
		{"Edge 18", edge18, "c02c c02b c030 c02f c024 c023 c028 c027 c00a c009 c014 c013 9d 9c 3d 3c 35 2f a", "0 5 a b d 23 10 17 18 ff01", "1d 17 18", "consistent schannel"},
		{"SChannel as Chrome", fmt.Sprintf(chromeUA, 120), "c02c c02b c030 c02f c024 c023 c028 c027 c00a c009 c014 c013 9d 9c 3d 3c 35 2f a", "0 5 a b d 23 10 17 ff01", "1d 17 18", "inconsistent schannel"},
		{"Safari 9", safari9, "ff c02c c02b c024 c023 c00a c009 c008 c030 c02f c028 c027 c014 c013 c012 9d 9c 3d 3c 35 2f a c007 c011 5 4", "0 a b d 3374 10 5 12", "17 18 19", "consistent apple"},
		{"Firefox 48", fmt.Sprintf(firefoxUA, 48), "c02b c02f cca9 cca8 c00a c009 c013 c014 33 39 2f 35 a", "0 17 ff01 a b 23 3374 10 5 d", "17 18 19", "consistent nss"},
		{"Firefox 48 as Chrome 57", fmt.Sprintf(chromeUA, 57), "c02b c02f cca9 cca8 c00a c009 c013 c014 33 39 2f 35 a", "0 17 ff01 a b 23 3374 10 5 d", "17 18 19", "inconsistent nss"},
		{"nothing", fmt.Sprintf(chromeUA, 48), "", "", "", "unknown unknown"},
	} {
		h := &clienthello.Hello{Transport: clienthello.TCP, LegacyVersion: 0x0303, CipherSuites: list(c.ciphers), Extensions: list(c.extensions), Groups: list(c.groups), PointFormats: []uint8{0}}
		j, why := Explain(h, Classify(c.ua))
		if got := describe(j); got != c.want {
			t.Errorf("%s is %s, want %s: %s", c.name, got, c.want, strings.Join(why, "; "))
		}
	}
	for _, s := range samples(t, "captures.jsonl") {
		if j, _ := Explain(s.hello, Classify(ie11)); j.Verdict != verdicts.inconsistent {
			t.Errorf("Internet Explorer with the hello of %s is %s", s.Client, describe(j))
		}
	}
}

// Safari's TLS is that of the system below it: Safari 15 ran on macOS 10.15.
func TestJudgeSafariOnOldSystems(t *testing.T) {
	for _, s := range samples(t, "parrots.jsonl") {
		if s.Client != "ios-13" {
			continue
		}
		for _, v := range []int{13, 14, 15} {
			ua := fmt.Sprintf("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/%d.1 Safari/605.1.15", v)
			if j, why := Explain(s.hello, Classify(ua)); j.Verdict != verdicts.consistent {
				t.Errorf("Safari %d is %s: %s", v, describe(j), strings.Join(why, "; "))
			}
		}
		return
	}
	t.Error("no hello of iOS 13")
}

// What real clients sent over HTTP/3, and the browsers' hellos under another name.
func TestJudgeQUICCaptures(t *testing.T) {
	for _, s := range samples(t, "captures-quic.jsonl") {
		s.hello.Transport = clienthello.QUIC
		own := strings.ReplaceAll(s.UserAgent, "HeadlessChrome", "Chrome")
		for ua, want := range map[string]map[string]string{
			own:                         {"chromium": "consistent boringssl", "firefox": "consistent nss", "quic-go": "unknown go"},
			fmt.Sprintf(chromeUA, 156):  {"chromium": "consistent boringssl", "firefox": "inconsistent nss", "quic-go": "inconsistent go"},
			fmt.Sprintf(firefoxUA, 153): {"chromium": "inconsistent boringssl", "firefox": "consistent nss", "quic-go": "inconsistent go"},
			fmt.Sprintf(firefoxUA, 200): {"chromium": "inconsistent boringssl", "firefox": "consistent nss", "quic-go": "inconsistent go"},
		} {
			if j, why := Explain(s.hello, Classify(ua)); describe(j) != want[s.Client] {
				t.Errorf("%s as %q is %s, want %s: %s", s.Client, ua, describe(j), want[s.Client], strings.Join(why, "; "))
			}
		}
	}
}

// Over HTTP/3 the library alone is looked at, from what Go tells of a hello.
func TestJudgeQUIC(t *testing.T) {
	for _, s := range samples(t, "captures.jsonl") {
		h := clienthello.Hello{Transport: clienthello.QUIC, CipherSuites: []uint16{0x1301, 0x1302, 0x1303}, Groups: s.hello.Groups, SignatureSchemes: s.hello.SignatureSchemes,
			Extensions: []uint16{0, 10, 13, 16, 43, 45, 51, 57}, ALPN: []string{"h3"}, Versions: []uint16{0x0304}}
		want := map[string]string{"chromium": "consistent", "bun": "consistent"}[s.Client]
		if want == "" {
			want = "inconsistent"
		}
		j, why := Explain(&h, Classify(fmt.Sprintf(chromeUA, 156)))
		if got := wire.InterceptionVerdict.ValueName(j.Verdict); got != want {
			t.Errorf("Chrome over QUIC with the hello of %s is %s: %s", s.Client, got, strings.Join(why, "; "))
		}
	}
}

// Judge and Explain are one.
func FuzzJudge(f *testing.F) {
	for _, s := range append(samples(f, "captures.jsonl"), samples(f, "parrots.jsonl")...) {
		msg, err := hex.DecodeString(s.Hex)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(msg, s.UserAgent, false)
	}
	f.Add([]byte{}, "", true)
	f.Fuzz(func(t *testing.T, msg []byte, ua string, quic bool) {
		h := &clienthello.Hello{Transport: clienthello.TCP}
		if quic {
			h.Transport = clienthello.QUIC
		}
		_ = h.Parse(msg) // what came before an error is judged, too
		c := Classify(ua)
		j, why := Explain(h, c)
		if diff := cmp.Diff(j, Judge(h, c)); diff != "" {
			t.Errorf("Judge and Explain differ (-explain +judge):\n%s", diff)
		}
		if len(why) == 0 {
			t.Error("no reasons")
		}
		if int(j.Verdict) >= len(wire.InterceptionVerdict.Values) || int(j.Library) >= len(wire.TLSLibrary.Values) || j.Verdict == wire.Other {
			t.Errorf("outside the vocabulary: %+v", j)
		}
		if f := c.Family(); int(f) >= len(wire.ClientFamily.Values) {
			t.Errorf("family %d is outside the vocabulary", f)
		}
	})
}

var judgement Judgement

func TestJudgeAllocates(t *testing.T) {
	for _, s := range samples(t, "captures.jsonl") {
		c := Classify(s.UserAgent)
		if n := testing.AllocsPerRun(100, func() { judgement = Judge(s.hello, c) }); n != 0 {
			t.Errorf("Judge allocates %v times for %s", n, s.Client)
		}
	}
}

func BenchmarkJudge(b *testing.B) {
	unknown := *samples(b, "captures.jsonl")[0].hello
	unknown.CipherSuites, unknown.SignatureSchemes, unknown.PointFormats = []uint16{0x1301, 0xc02b}, []uint16{0x0403, 0x0503, 0x0777}, nil
	run := func(name string, h *clienthello.Hello, c Client) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				judgement = Judge(h, c)
			}
		})
	}
	for _, s := range samples(b, "captures.jsonl") {
		run(s.Client, s.hello, Classify(s.UserAgent))
	}
	run("unknown", &unknown, Classify(fmt.Sprintf(chromeUA, 156)))
}
