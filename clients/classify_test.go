package clients

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/wire"
)

// named is a Client by the dictionary's names, without those that are other.
func named(c Client) string {
	var parts []string
	for _, p := range []struct {
		d *wire.Dimension
		v wire.Value
	}{{wire.ClientKind, c.Kind}, {wire.Browser, c.Browser}, {wire.BrowserVersion, c.Version}, {wire.ClientOS, c.OS},
		{wire.BotClass, c.BotClass}, {wire.Bot, c.Bot}, {wire.Tool, c.Tool}} {
		if p.v != wire.Other {
			parts = append(parts, p.d.ValueName(p.v))
		}
	}
	return strings.Join(parts, " ")
}

func TestClassify(t *testing.T) {
	for _, c := range []struct{ ua, want string }{
		{"", "none"},
		{"-", ""},
		{"Mozilla/5.0", ""},
		{"SomethingWeNeverKnewExisted", ""},
		{"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/143.0.0.0 Safari/537.36", "browser chrome 143 windows"},
		{"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36", "browser chrome 142 chromeos"},
		{"Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/143.0.0.0 Mobile Safari/537.36", "browser chrome 143 android"},
		{"Mozilla/5.0 (Linux; Android 15; Pixel 9 Build/AP4A; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/142.0.7444.102 Mobile Safari/537.36", "browser chrome-webview 142 android"},
		{"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/143.0.0.0 Safari/537.36 Edg/143.0.0.0", "browser edge 143 windows"},
		{"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36 OPR/125.0.0.0", "browser opera 125 macos"},
		{"Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0", "browser firefox 145 linux"},
		{"Mozilla/5.0 (Android 15; Mobile; rv:145.0) Gecko/145.0 Firefox/145.0", "browser firefox 145 android"},
		{"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.1 Safari/605.1.15", "browser safari 26 macos"},
		{"Mozilla/5.0 (iPhone; CPU iPhone OS 18_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.1 Mobile/15E148 Safari/604.1", "browser safari 26 ios"},
		{"Mozilla/5.0 (iPhone; CPU iPhone OS 18_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/143.0.7499.38 Mobile/15E148 Safari/604.1", "browser chrome-ios 143 ios"},
		{"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) FxiOS/145.0 Safari/605.1.15", "browser firefox-ios 145 ios"},
		{"Mozilla/5.0 (iPhone; CPU iPhone OS 18_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148", "browser safari-webview ios"},
		{"Mozilla/5.0 (Linux; Android 14; SAMSUNG SM-S918B) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/29.0 Chrome/136.0.0.0 Mobile Safari/537.36", "browser samsung 29 android"},
		{"Mozilla/5.0 (iPhone; CPU iPhone OS 18_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/22H20 Instagram 408.0.0.36.69 (iPhone14,5; iOS 18_7)", "browser instagram ios"},
		{"Mozilla/5.0 (Windows NT 10.0; WOW64; Trident/7.0; rv:11.0) like Gecko", "browser ie 11 windows"},
		{"Lynx/2.9.2 libwww-FM/2.14 SSL-MM/1.4.1 GNUTLS/3.8.9", "browser text 2"},

		{"Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "bot search googlebot"},
		{"Mozilla/5.0 (Linux; Android 6.0.1; Nexus 5X Build/MMB29P) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.7444.162 Mobile Safari/537.36 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "bot android search googlebot"},
		{"Googlebot-Image/1.0", "bot search googlebot"},
		{"AdsBot-Google (+http://www.google.com/adsbot.html)", "bot ads adsbot-google"},
		{"Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm) Chrome/136.0.0.0 Safari/537.36", "bot search bingbot"},
		{"Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.3; +https://openai.com/gptbot)", "bot ai gptbot"},
		{"Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; ClaudeBot/1.0; +claudebot@anthropic.com)", "bot ai claudebot"},
		{"Mozilla/5.0 (Linux; Android 5.0) AppleWebKit/537.36 (KHTML, like Gecko) Mobile Safari/537.36 (compatible; Bytespider; spider-feedback@bytedance.com)", "bot android ai bytespider"},
		{"CCBot/2.0 (https://commoncrawl.org/faq/)", "bot ai ccbot"},
		{"meta-externalagent/1.1 (+https://developers.facebook.com/docs/sharing/webmasters/crawler)", "bot ai meta-externalagent"},
		{"Mozilla/5.0 (compatible; Let's Encrypt validation server; +https://www.letsencrypt.org)", "bot monitor lets-encrypt"},
		{"kube-probe/1.31", "bot monitor kube-probe"},
		{"Blackbox Exporter/0.25.0", "bot monitor blackbox-exporter"},
		{"facebookexternalhit/1.1 Facebot Twitterbot/1.0", "bot preview facebookexternalhit"},
		{"Mozilla/5.0 (compatible; CensysInspect/1.1; +https://about.censys.io/)", "bot scanner censys"},
		{"Mozilla/5.0 zgrab/0.x", "bot scanner zgrab"},
		{"Expanse, a Palo Alto Networks company, searches across the global IPv4 space", "bot scanner palo-alto-expanse"},
		{"Mozilla/5.0 (compatible; Nmap Scripting Engine; https://nmap.org/book/nse.html)", "bot scanner nmap"},
		{"Mozilla/5.0 (compatible; NeverHeardOfBot/1.0; +https://example.com/bot)", "bot"},
		{"ExampleFeedFetcher/1.0 (me@example.org)", "bot"},

		{"curl/8.17.0", "tool curl"},
		{"Wget/1.25.0", "tool wget"},
		{"python-requests/2.32.5", "tool python-requests"},
		{"Python/3.12 aiohttp/3.13.2", "tool aiohttp"},
		{"Go-http-client/2.0", "tool go-http-client"},
		{"okhttp/5.3.0", "tool okhttp"},
		{"axios/1.13.2", "tool axios"},
		{"node", "tool node"},
		{"Java/21.0.9", "tool java"},
		{"PostmanRuntime/7.49.1", "tool postman"},
		{"Mozilla/5.0 (Windows NT; Windows NT 10.0; en-US) WindowsPowerShell/5.1.26100.7462", "tool windows powershell"},
		{"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/143.0.0.0 Safari/537.36", "tool linux headless-chrome"},
		{"WordPress/6.8.3; https://example.com", "tool wordpress"},

		{"MyApp/7 CFNetwork/3826.600.41 Darwin/24.6.0", "app ios"},
		{"Dalvik/2.1.0 (Linux; U; Android 15; Pixel 9 Build/BP1A)", "app android"},
		{"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Thunderbird/140.5.0", "app linux"},
		{"CUBOT_NOTE/1 (Linux; Android 9)", "app android"},
	} {
		if diff := cmp.Diff(c.want, named(Classify(c.ua))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.ua, diff)
		}
	}
}

// The rules name values by their names: each must be in the dictionary, and
// each of the dictionary must have a rule or be one of those that finish makes.
func TestRulesAndDictionary(t *testing.T) {
	seen := map[*wire.Dimension]map[string]bool{}
	check := func(d *wire.Dimension, name string) {
		if !d.Has(name) {
			t.Errorf("a rule says %s %q, which the dictionary lacks", d.Name, name)
		}
		if seen[d] == nil {
			seen[d] = map[string]bool{"other": true}
		}
		seen[d][name] = true
	}
	for _, r := range browserRules {
		check(wire.Browser, r.family)
	}
	for _, name := range []string{"chrome-webview", "safari-webview", "android-browser", "blackberry"} {
		check(wire.Browser, name)
	}
	for _, r := range systemRules {
		check(wire.ClientOS, r.system)
	}
	for _, name := range implied {
		check(wire.ClientOS, name)
	}
	for _, r := range botRules {
		check(wire.BotClass, r.class)
		check(wire.Bot, r.name)
	}
	for _, f := range fragments {
		if f.class != "" {
			check(wire.BotClass, f.class)
		}
	}
	for _, r := range toolRules {
		check(wire.Tool, r.name)
	}
	for d, names := range seen {
		for _, v := range d.Values {
			if !names[v] {
				t.Errorf("no rule makes %s %q", d.Name, v)
			}
		}
	}
	for i, name := range []string{"other", "browser", "bot", "tool", "app", "none"} {
		if wire.ClientKind.Value(name) != wire.Value(i) {
			t.Errorf("kind %s is not %d", name, i)
		}
	}
	for v := 1; v <= 399; v++ {
		if got := wire.BrowserVersion.ValueName(major(v)); got != wire.BrowserVersion.Values[v] || got == "other" {
			t.Errorf("version %d is %s", v, got)
		}
	}
	for word := range rules {
		if first, _, pair := strings.Cut(word, "+"); word != strings.ToLower(word) || len(word) > 2*maxWord || len(first) > maxWord {
			t.Errorf("the word %q can't be found (pair: %v)", word, pair)
		}
	}
}

// What is beyond the limit is not looked at, so that the time has a bound.
func TestLimit(t *testing.T) {
	long := "Mozilla/5.0 (" + strings.Repeat("x;", 300) + ") Chrome/143.0"
	if got := Classify(long); got.Browser != wire.Other {
		t.Errorf("what is beyond %d bytes was looked at: %s", maxLen, named(got))
	}
}

var sink Client

func TestClassifyAllocates(t *testing.T) {
	ua := "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/143.0.0.0 Safari/537.36 Edg/143.0.0.0"
	if n := testing.AllocsPerRun(100, func() { sink = Classify(ua) }); n != 0 {
		t.Errorf("Classify allocates %v times", n)
	}
}

func FuzzClassify(f *testing.F) {
	for _, ua := range []string{
		"", " ", "/", "+", "://", "Mozilla/5.0 (", "a@b.c", "www.", "Opera Mini/", "Ecosia @", "rv:", "x_1.", "-._", "MSIE 99999999999999999999",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/143.0.0.0 Safari/537.36",
		"Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "curl/8.17.0", "[FBAN/FBIOS;FBAV/6.5.1]",
		strings.Repeat("a-", 300), strings.Repeat("opera+", 100), strings.Repeat("\xff", 600),
	} {
		f.Add(ua)
	}
	cache := NewCache()
	f.Fuzz(func(t *testing.T, ua string) {
		c := Classify(ua)
		for _, v := range []struct {
			d *wire.Dimension
			v wire.Value
		}{{wire.ClientKind, c.Kind}, {wire.Browser, c.Browser}, {wire.BrowserVersion, c.Version}, {wire.ClientOS, c.OS},
			{wire.BotClass, c.BotClass}, {wire.Bot, c.Bot}, {wire.Tool, c.Tool}} {
			if int(v.v) >= len(v.d.Values) {
				t.Errorf("%s is %d, outside the vocabulary", v.d.Name, v.v)
			}
		}
		if (c.Kind == None) != (ua == "") {
			t.Errorf("kind is %s", wire.ClientKind.ValueName(c.Kind))
		}
		if c.Kind != Browser && (c.Browser != 0 || c.Version != 0) || c.Kind != Bot && (c.Bot != 0 || c.BotClass != 0) || c.Kind != Tool && c.Tool != 0 {
			t.Errorf("details of another kind: %s", named(c))
		}
		if diff := cmp.Diff(c, Classify(ua[:min(len(ua), maxLen)])); diff != "" {
			t.Errorf("depends on what is beyond the limit (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(c, unpack(c.pack())); diff != "" {
			t.Errorf("packing (-want +got):\n%s", diff)
		}
		for range 2 { // once stored, once found
			if diff := cmp.Diff(c, cache.Classify(ua)); diff != "" {
				t.Errorf("cached (-want +got):\n%s", diff)
			}
		}
	})
}

func BenchmarkClassify(b *testing.B) {
	ua := "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/143.0.0.0 Safari/537.36 Edg/143.0.0.0"
	b.Run("parsed", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			sink = Classify(ua)
		}
	})
	b.Run("cached", func(b *testing.B) {
		c := NewCache()
		b.ReportAllocs()
		for b.Loop() {
			sink = c.Classify(ua)
		}
	})
}
