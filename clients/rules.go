package clients

import (
	"strings"

	"github.com/caddy-evergreen/evergreen/wire"
)

// A rule is what one word says.
type rule struct {
	what     kindOfRule
	rank     uint8
	version  versionAt
	begins   bool       // may be the first word of a pair that has a rule
	slash    bool       // holds only if a slash follows: the word is too common
	anywhere bool       // a tool's word that holds behind others, too
	value    wire.Value // of the vocabulary, or a marker
	class    wire.Value // of a bot
	implies  wire.Value // system that a browser's word stands for, whatever else is said
}

type kindOfRule uint8

const (
	isBot kindOfRule = iota + 1
	isTool
	isBrowser
	isSystem
	isApp
	isMarker
)

// versionAt tells where a browser's major version is.
type versionAt uint8

const (
	ownVersion     versionAt = iota // after the word and a slash
	spacedVersion                   // after the word and a slash or space
	versionVersion                  // after the word Version
	operaVersion                    // after Version if there is one, else as spaced
	atVersion                       // after an @ in the next word
)

// Markers say something only together with other words.
const (
	markMozilla wire.Value = iota + 1
	markEngine
	markTrident
	markVersion
	markRV
	markFBAV
	markWebview
	markDarwin
	markIntel
	markCompatible
)

var markers = map[string]wire.Value{
	"mozilla": markMozilla,
	"gecko":   markEngine, "applewebkit": markEngine, "webkit": markEngine, "khtml": markEngine, "presto": markEngine, "goanna": markEngine,
	"trident": markTrident, "version": markVersion, "rv": markRV, "fbav": markFBAV, "wv": markWebview,
	"darwin": markDarwin, "x86_64": markIntel, "i386": markIntel, "compatible": markCompatible,
}

// rules are all of them, by word; the words of a pair are joined by +. It is
// written once, when the package is initialised.
var rules = makeRules()

// Values and ranks that finish and apply ask for.
var (
	family = struct {
		chrome, safari, ie, chromeWebview, safariWebview, androidBrowser, blackberry, nokia, facebook, messenger wire.Value
	}{
		wire.Browser.Value("chrome"), wire.Browser.Value("safari"), wire.Browser.Value("ie"),
		wire.Browser.Value("chrome-webview"), wire.Browser.Value("safari-webview"), wire.Browser.Value("android-browser"),
		wire.Browser.Value("blackberry"), wire.Browser.Value("nokia"), wire.Browser.Value("facebook"), wire.Browser.Value("messenger"),
	}
	system = struct{ ios, macos, android, blackberry, symbian wire.Value }{
		wire.ClientOS.Value("ios"), wire.ClientOS.Value("macos"), wire.ClientOS.Value("android"),
		wire.ClientOS.Value("blackberry"), wire.ClientOS.Value("symbian"),
	}
	browserRank = struct{ firefox uint8 }{rules["firefox"].rank}

	fragmentsBy, fragmentClass = indexFragments()
)

// makeRules panics on a word with two rules: a test sees it before anybody else.
func makeRules() map[string]rule {
	m := make(map[string]rule, 1024)
	add := func(words string, r rule) {
		for _, w := range strings.Fields(words) {
			r := r
			w, r.slash = strings.CutSuffix(w, "/")
			w, r.anywhere = strings.CutSuffix(w, "!")
			if old, dup := m[w]; dup && old.what != 0 {
				panic("clients: the word " + w + " has two rules")
			}
			r.begins = m[w].begins
			m[w] = r
			if first, _, pair := strings.Cut(w, "+"); pair {
				f := m[first] // possibly no rule of its own: what is 0, and apply does nothing
				f.begins = true
				m[first] = f
			}
		}
	}
	for _, r := range botRules {
		add(r.words, rule{what: isBot, class: wire.BotClass.Value(r.class), value: wire.Bot.Value(r.name)})
	}
	for _, r := range toolRules {
		add(r.words, rule{what: isTool, rank: toolRank(r.name), value: wire.Tool.Value(r.name)})
	}
	for _, r := range browserRules {
		add(r.words, rule{what: isBrowser, rank: r.rank, version: r.version, value: wire.Browser.Value(r.family)})
	}
	for _, r := range systemRules {
		add(r.words, rule{what: isSystem, rank: r.rank, value: wire.ClientOS.Value(r.system)})
	}
	add(appWords, rule{what: isApp})
	for w, v := range markers {
		add(w, rule{what: isMarker, value: v})
	}
	for w, name := range implied {
		r := m[w]
		r.implies = wire.ClientOS.Value(name)
		m[w] = r
	}
	return m
}

// toolRank puts a library before the language that it is written in.
func toolRank(name string) uint8 {
	switch name {
	case "python", "node", "java", "dotnet", "dart", "php", "ruby", "perl":
		return 0
	}
	return 1
}

// implied are systems of which a browser's word is the surest sign: on a tablet,
// the rest of the User-Agent may claim to be a desktop.
var implied = map[string]string{
	"crios": "ios", "fxios": "ios", "edgios": "ios", "opios": "ios",
	"edga": "android", "silk": "android", "oculusbrowser": "android", "twitterandroid": "android",
}

func indexFragments() (by [256][]int, class []wire.Value) {
	for i, f := range fragments {
		by[f.text[0]] = append(by[f.text[0]], i)
		class = append(class, wire.BotClass.Value(f.class))
	}
	return by, class
}
