package clients

import (
	"testing"

	"github.com/caddy-evergreen/evergreen/wire"
)

func TestFamilyAndEngine(t *testing.T) {
	for _, c := range []struct {
		ua, family, engine string
		version            uint16
	}{
		{"", "none", "", 0},
		{"SomethingWeNeverKnewExisted", "other", "", 0},
		{"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/143.0.0.0 Safari/537.36", "chromium", "chromium", 143},
		{"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/143.0.0.0 Safari/537.36 Edg/143.0.0.0", "chromium", "chromium", 143},
		{"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/64.0.3282.140 Safari/537.36 Edge/18.17763", "chromium", "edgehtml", 18},
		{"Mozilla/5.0 (iPhone; CPU iPhone OS 17_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.0 EdgiOS/131.0 Mobile/15E148 Safari/605.1.15", "safari", "apple", 0},
		{"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36 OPR/125.0.0.0", "chromium", "chromium", 0},
		{"Opera/9.80 (Windows NT 6.1; WOW64) Presto/2.12.388 Version/12.18", "chromium", "", 0},
		{"Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:145.0) Gecko/20100101 Firefox/145.0", "firefox", "firefox", 145},
		{"Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) FxiOS/145.0 Mobile/15E148 Safari/605.1.15", "safari", "apple", 0},
		{"Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/142.0.7444.128 Mobile/15E148 Safari/604.1", "safari", "apple", 0},
		{"Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Mobile/15E148 Safari/604.1", "safari", "apple", 26},
		{"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/16.5 Safari/605.1.15", "safari", "", 0},
		{"Mozilla/5.0 (Windows NT 10.0; WOW64; Trident/7.0; rv:11.0) like Gecko", "internet-explorer", "trident", 11},
		{"Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "search-bot", "", 0},
		{"Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)", "bot", "", 0},
		{"curl/8.17.0", "curl", "", 0}, {"Wget/1.25.0", "wget", "", 0}, {"Go-http-client/2.0", "go", "", 0}, {"python-requests/2.32.5", "python", "", 0},
		{"okhttp/5.3.0", "java", "", 0}, {"node", "node", "", 0}, {"GuzzleHttp/7", "php", "", 0}, {"Ruby", "ruby", "", 0},
		{"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/156.0.0.0 Safari/537.36", "chromium", "", 0},
	} {
		client := Classify(c.ua)
		if got := wire.ClientFamily.ValueName(client.Family()); got != c.family {
			t.Errorf("%s: family %s, want %s", c.ua, got, c.family)
		}
		e, version := client.engine()
		if got := engines[e].name; got != c.engine || version != c.version {
			t.Errorf("%s: engine %q %d, want %q %d", c.ua, got, version, c.engine, c.version)
		}
	}
}

// Every family that has an engine is one that users of the dictionary would look for there.
func TestFamiliesOfTheCorpus(t *testing.T) {
	want := map[string]string{
		"Chrome": "chromium", "Chrome Mobile": "chromium", "Chrome Mobile WebView": "chromium", "Edge": "chromium", "Opera": "chromium",
		"Firefox": "firefox", "Firefox Mobile": "firefox", "Safari": "safari", "Mobile Safari": "safari", "Chrome Mobile iOS": "safari",
		"Firefox iOS": "safari", "IE": "internet-explorer", "curl": "curl", "Wget": "wget", "Python Requests": "python", "okhttp": "java",
		"Go-http-client": "go", "Googlebot": "search-bot", "bingbot": "search-bot",
	}
	var a agreement
	for _, c := range readCorpus(t, "test_ua.yaml") {
		family, ok := want[c.family]
		if !ok {
			continue
		}
		got := wire.ClientFamily.ValueName(Classify(c.ua).Family())
		if got != family {
			t.Logf("%s, want %s: %s", got, family, c.ua)
		}
		a.add(got == family)
	}
	if a.of > 0 {
		a.hold(t, "families", 92) // the rest are apps and previews that use the name, and a Chrome on an iPad
	}
}
