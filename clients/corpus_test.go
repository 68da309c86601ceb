package clients

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/caddy-evergreen/evergreen/wire"
)

// corpusDir holds the test cases of ua-parser/uap-core (Apache-2.0).
const corpusDir = "../../shared/data/useragents/"

type corpusCase struct{ ua, family, major string }

// readCorpus reads the few forms of YAML that uap-core's test cases use: a list
// of flat mappings whose scalars are quoted, plain or empty.
func readCorpus(t *testing.T, name string) []corpusCase {
	t.Helper()
	text, err := os.ReadFile(corpusDir + name)
	if errors.Is(err, fs.ErrNotExist) {
		t.Logf("%s%s is not there: the agreement with the public corpus is not checked", corpusDir, name)
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	var cases []corpusCase
	for line := range strings.Lines(string(text)) {
		key, value, ok := strings.Cut(strings.TrimSpace(line), ": ")
		if !ok {
			continue
		}
		value = strings.TrimSpace(value)
		if len(value) >= 2 && (value[0] == '\'' || value[0] == '"') && value[len(value)-1] == value[0] {
			quote := value[:1]
			value = value[1 : len(value)-1]
			if quote == "'" {
				value = strings.ReplaceAll(value, "''", "'")
			}
		}
		switch key {
		case "- user_agent_string":
			cases = append(cases, corpusCase{ua: value})
		case "family":
			cases[len(cases)-1].family = value
		case "major":
			cases[len(cases)-1].major = value
		}
	}
	if len(cases) < 100 {
		t.Fatalf("read %d test cases from %s: its format has changed", len(cases), name)
	}
	return cases
}

// corpusBrowsers maps uap-core's families to ours, where both mean the same.
var corpusBrowsers = map[string]string{
	"Chrome": "chrome", "Chrome Mobile": "chrome", "Chrome Mobile iOS": "chrome-ios", "Chrome Mobile WebView": "chrome-webview",
	"Firefox": "firefox", "Firefox Mobile": "firefox", "Firefox Beta": "firefox", "Firefox (Shiretoko)": "firefox", "Firefox iOS": "firefox-ios",
	"Safari": "safari", "Mobile Safari": "safari", "Mobile Safari UI/WKWebView": "safari-webview",
	"Edge": "edge", "Edge Mobile": "edge",
	"Opera": "opera", "Opera Mobile": "opera", "Opera Tablet": "opera", "Opera GX": "opera", "Opera Touch": "opera", "Opera Mini": "opera-mini",
	"IE": "ie", "IE Mobile": "ie", "Samsung Internet": "samsung", "Brave": "brave", "Vivaldi": "vivaldi", "Yandex Browser": "yandex",
	"UC Browser": "uc", "QQ Browser": "qq", "QQ Browser Mobile": "qq", "QQ Browser Mini": "qq", "WeChat Browser": "wechat", "Whale": "whale",
	"DuckDuckGo": "duckduckgo", "DuckDuckGo Mobile": "duckduckgo", "Android": "android-browser", "Amazon Silk": "silk",
	"Facebook": "facebook", "Facebook Messenger": "messenger", "Instagram": "instagram", "LINE": "line", "Snapchat": "snapchat",
	"TikTok": "tiktok", "Twitter": "twitter", "Pinterest": "pinterest", "Telegram": "telegram", "Weibo": "weibo", "KakaoTalk": "kakaotalk",
	"Google": "google-app", "Baidu Browser": "baidu", "MiuiBrowser": "miui", "Mint Browser": "miui", "Huawei Browser": "huawei",
	"Honor Browser": "honor", "HeyTap Browser": "heytap", "VivoBrowser": "vivo", "Smart Lenovo Browser": "lenovo", "Coc Coc": "coc-coc",
	"360 Secure Browser": "360", "Maxthon": "maxthon", "Puffin": "puffin", "Ecosia Android": "ecosia", "Ecosia iOS": "ecosia",
	"Avast Secure Browser": "avast", "AVG": "avg", "Aloha Browser": "aloha", "Phoenix Browser": "phoenix", "Quark": "quark", "Quark PC": "quark",
	"Seznam prohlížeč": "seznam", "Sber Browser": "sber", "Chromium": "chromium", "Iron": "iron", "Waterfox": "waterfox", "Pale Moon": "pale-moon",
	"Basilisk": "basilisk", "IceCat": "icecat", "Konqueror": "konqueror", "QupZilla": "falkon", "qutebrowser": "qutebrowser", "Midori": "midori",
	"Otter": "otter", "Oculus Browser": "oculus", "Dolphin": "dolphin", "BlackBerry WebKit": "blackberry", "Nokia Browser": "nokia",
	"NetFront": "netfront", "Ladybird": "ladybird",
}

var corpusSystems = map[string]string{
	"Windows": "windows", "Mac OS X": "macos", "Mac OS": "macos", "iOS": "ios", "Android": "android", "Linux": "linux", "Ubuntu": "linux",
	"Debian": "linux", "Gentoo": "linux", "Mandriva": "linux", "Red Hat": "linux", "Chrome OS": "chromeos", "Windows Phone": "windows-phone",
	"Windows Mobile": "windows-mobile", "FreeBSD": "freebsd", "OpenBSD": "openbsd", "NetBSD": "netbsd", "Solaris": "solaris",
	"HarmonyOS": "harmonyos", "Tizen": "tizen", "webOS": "webos", "Web0S": "webos", "KaiOS": "kaios", "tvOS": "tvos", "ATV OS X": "tvos",
	"WatchOS": "watchos", "Roku": "roku", "Chromecast Fuchsia": "fuchsia", "BlackBerry OS": "blackberry", "BlackBerry Tablet OS": "blackberry",
	"Symbian OS": "symbian", "Symbian^3": "symbian", "Symbian^3 Anna": "symbian", "Symbian^3 Belle": "symbian", "Sailfish": "sailfish",
}

// corpusTools maps uap-core's families to our tools.
var corpusTools = map[string]string{
	"curl": "curl", "libcurl-agent": "curl", "PycURL": "curl", "Wget": "wget", "wget2": "wget", "Python Requests": "python-requests",
	"Python-urllib": "python-urllib", "urlgrabber": "python-urllib", "Python aiohttp": "aiohttp", "Go-http-client": "go-http-client",
	"go-resty": "go-resty", "okhttp": "okhttp", "axios": "axios", "got": "got", "Java": "java", "Apache-HttpClient": "apache-httpclient",
	"Apache-CXF": "apache-httpclient", "Jersey": "jersey", "ReactorNetty": "spring", "AHC": "async-http-client", "akka-http": "async-http-client",
	"Vert.x-WebClient": "netty", "WinHTTP": "winhttp", "libwww-perl": "perl", "GuzzleHttp": "guzzle", "WordPress": "wordpress",
	"http.rb": "httprb", "reqwest": "rust-reqwest", "ureq": "rust-ureq", "lua-resty-http": "lua-resty", "PostmanRuntime": "postman",
	"HTTPie": "httpie", "Scrapy": "scrapy", "HeadlessChrome": "headless-chrome", "PhantomJS": "phantomjs",
	"aws-sdk-java": "aws-sdk", "aws-sdk-ruby2": "aws-sdk", "aws-sdk-nodejs": "aws-sdk", "aws-sdk-go": "aws-sdk", "aws-sdk-go-v2": "aws-sdk",
	"aws-sdk-dotnet-45": "aws-sdk", "aws-sdk-cpp": "aws-sdk", "aws-cli": "aws-sdk", "Boto": "aws-sdk", "Boto3": "aws-sdk", "rusoto": "aws-sdk",
	"Google-HTTP-Java-Client": "google-api", "Debian APT-HTTP": "apt", "Ubuntu APT-HTTP": "apt", "rclone": "rclone", "aria2": "aria2",
	"Axel": "aria2", "lftp": "lftp", "Cyberduck": "webdav", "DAVdroid": "webdav",
}

type agreement struct{ right, of int }

func (a *agreement) add(right bool) {
	a.of++
	if right {
		a.right++
	}
}

func (a agreement) percent() float64 { return 100 * float64(a.right) / float64(a.of) }

// hold fails where the agreement is below the floor that was measured.
func (a agreement) hold(t *testing.T, what string, floor float64) {
	t.Helper()
	t.Logf("%s: %d of %d, %.1f %%", what, a.right, a.of, a.percent())
	if a.percent() < floor {
		t.Errorf("%s: the agreement is %.1f %%, and was at least %.0f %%", what, a.percent(), floor)
	}
}

func TestCorpusClients(t *testing.T) {
	cases := readCorpus(t, "test_ua.yaml")
	if cases == nil {
		return
	}
	var families, majors, tools, bots agreement
	for _, c := range cases {
		got := Classify(c.ua)
		if want, ok := corpusBrowsers[c.family]; ok {
			name := wire.Browser.ValueName(got.Browser)
			same := got.Kind == Browser && name == want
			families.add(same)
			if !same {
				t.Logf("family: want %s, got %s %s: %s", want, wire.ClientKind.ValueName(got.Kind), name, c.ua)
			} else if c.major != "" {
				want := wire.BrowserVersion.Value(c.major)
				majors.add(got.Version == want)
				if got.Version != want {
					t.Logf("major: want %s, got %s: %s", c.major, wire.BrowserVersion.ValueName(got.Version), c.ua)
				}
			}
		}
		if want, ok := corpusTools[c.family]; ok {
			name := wire.Tool.ValueName(got.Tool)
			same := got.Kind == Tool && name == want
			tools.add(same)
			if !same {
				t.Logf("tool: want %s, got %s %s: %s", want, wire.ClientKind.ValueName(got.Kind), name, c.ua)
			}
		}
		if botFamily(c.family) {
			bots.add(got.Kind == Bot)
			if got.Kind != Bot {
				t.Logf("bot: got %s: %s", wire.ClientKind.ValueName(got.Kind), c.ua)
			}
		}
	}
	families.hold(t, "browser family", 95)
	majors.hold(t, "browser major version", 94)
	tools.hold(t, "tool", 96)
	bots.hold(t, "is a bot", 99)
}

// botFamily reports whether the corpus's name of a family says that it is a bot.
func botFamily(family string) bool {
	f := strings.ToLower(family)
	for _, part := range []string{"crawl", "spider", "slurp"} {
		if strings.Contains(f, part) {
			return true
		}
	}
	return strings.HasSuffix(f, "bot")
}

func TestCorpusSystems(t *testing.T) {
	cases := readCorpus(t, "test_os.yaml")
	if cases == nil {
		return
	}
	var systems agreement
	for _, c := range cases {
		want, ok := corpusSystems[c.family]
		if !ok {
			continue
		}
		got := wire.ClientOS.ValueName(Classify(c.ua).OS)
		systems.add(got == want)
		if got != want {
			t.Logf("want %s, got %s: %s", want, got, c.ua)
		}
	}
	systems.hold(t, "operating system", 95)
}
