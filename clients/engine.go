package clients

import "github.com/caddy-evergreen/evergreen/wire"

// Families that are built on one engine, on systems but iOS or there. Of the
// others nothing is said: they are many things, or load pages through somebody's
// servers or with a TLS library of their own.
var (
	// whose version is Chromium's
	chromiumVersioned = []string{"chrome", "chrome-webview", "chromium", "edge", "brave", "iron"}
	// whose version is their own
	chromiumBuilt = []string{"opera", "samsung", "vivaldi", "yandex", "whale", "duckduckgo", "ecosia", "avast", "avg", "coc-coc",
		"qutebrowser", "oculus", "seznam", "sber", "facebook", "messenger", "instagram", "snapchat", "twitter", "pinterest",
		"linkedin", "google-app"}
	firefoxBuilt = []string{"waterfox", "icecat", "seamonkey"}
	// Families that exist on iOS, where all are built on Apple's engine.
	appleBuilt = []string{"chrome", "chrome-ios", "firefox", "firefox-ios", "edge", "opera", "brave", "vivaldi", "yandex", "whale", "duckduckgo",
		"ecosia", "aloha", "safari", "safari-webview", "facebook", "messenger", "instagram", "snapchat", "twitter",
		"pinterest", "linkedin", "google-app"}
)

// A browserTrait is what a browser family is built on.
type browserTrait struct {
	family    wire.Value // of wire.ClientFamily, but on iOS
	engine    engine     // but on iOS
	versioned bool       // the browser's version is the engine's
	onIOS     bool       // is known to be Apple's engine there
}

// What the tables below are asked for with; they are written once, when the
// package is initialised.
var (
	browserTraits = makeBrowserTraits()
	toolFamily    = makeToolFamilies()

	families = struct{ none, safari, browser, searchBot, bot, tool, app wire.Value }{
		wire.ClientFamily.Value("none"), wire.ClientFamily.Value("safari"), wire.ClientFamily.Value("browser"),
		wire.ClientFamily.Value("search-bot"), wire.ClientFamily.Value("bot"), wire.ClientFamily.Value("tool"), wire.ClientFamily.Value("app"),
	}
	searchBot = wire.BotClass.Value("search")
	edge      = wire.Browser.Value("edge")
	opera     = wire.Browser.Value("opera")
	windows   = wire.ClientOS.Value("windows")
	applish   = appleSystems()
)

func appleSystems() (is [256]bool) {
	for _, os := range []string{"ios", "macos", "tvos", "visionos", "watchos"} {
		is[wire.ClientOS.Value(os)] = true
	}
	return is
}

func makeBrowserTraits() []browserTrait {
	t := make([]browserTrait, len(wire.Browser.Values))
	for i := range t {
		t[i].family = wire.ClientFamily.Value("browser")
	}
	set := func(names []string, f string, e engine, versioned bool) {
		for _, n := range names {
			b := &t[wire.Browser.Value(n)]
			b.family, b.engine, b.versioned = wire.ClientFamily.Value(f), e, versioned
		}
	}
	set(chromiumVersioned, "chromium", engineChromium, true)
	set(chromiumBuilt, "chromium", engineChromium, false)
	set([]string{"firefox"}, "firefox", engineFirefox, true)
	set(firefoxBuilt, "firefox", engineFirefox, false)
	set([]string{"safari"}, "safari", engineApple, true)
	set([]string{"safari-webview", "chrome-ios", "firefox-ios"}, "safari", engineApple, false)
	set([]string{"ie"}, "internet-explorer", engineTrident, true)
	for _, n := range appleBuilt {
		t[wire.Browser.Value(n)].onIOS = true
	}
	return t
}

// makeToolFamilies tells the families of tools by the language or program.
func makeToolFamilies() []wire.Value {
	t := make([]wire.Value, len(wire.Tool.Values))
	for i := range t {
		t[i] = wire.ClientFamily.Value("tool")
	}
	for f, tools := range map[string][]string{
		"curl": {"curl"}, "wget": {"wget"},
		"go":     {"go-http-client", "go-resty", "fasthttp", "caddy", "prometheus", "k6", "hey", "docker", "rclone"},
		"python": {"python-requests", "python-urllib", "aiohttp", "httpx", "python", "scrapy", "pip", "httpie", "locust"},
		"java":   {"java", "apache-httpclient", "jersey", "spring", "async-http-client", "netty", "okhttp", "jmeter"},
		"node":   {"axios", "node-fetch", "undici", "node", "got", "superagent", "deno", "bun", "npm"},
		"php":    {"php", "guzzle", "symfony-http", "wordpress"},
		"ruby":   {"ruby", "faraday", "rest-client", "httprb", "httparty"},
		"dotnet": {"dotnet", "restsharp", "powershell"},
		// a Chromium in all but its name
		"chromium": {"headless-chrome"},
	} {
		for _, n := range tools {
			t[wire.Tool.Value(n)] = wire.ClientFamily.Value(f)
		}
	}
	return t
}

// Family is the client's family, of wire.ClientFamily. Browsers are counted by
// their engine, and so those on iOS as safari; what is not known to be built on
// one of the four is browser.
func (c Client) Family() wire.Value {
	switch c.Kind {
	case None:
		return families.none
	case Browser:
		b := &browserTraits[c.Browser]
		if c.OS == system.ios && b.onIOS {
			return families.safari
		}
		return b.family
	case Bot:
		if c.BotClass == searchBot {
			return families.searchBot
		}
		return families.bot
	case Tool:
		return toolFamily[c.Tool]
	case App:
		return families.app
	}
	return wire.Other
}

// engine is what the client's claim to be a browser is measured by, with the
// engine's version, or 0 if it is not known. It is the zero engine where
// several could be meant.
func (c Client) engine() (engine, uint16) {
	if c.Kind != Browser {
		return 0, 0
	}
	b := &browserTraits[c.Browser]
	version := uint16(0)
	if b.versioned {
		version = uint16(c.Version)
	}
	switch {
	case c.OS == system.ios && b.onIOS:
		if b.engine != engineApple {
			version = 0
		}
		return engineApple, version
	case c.OS == system.ios:
		return 0, 0
	case b.engine == engineApple && !applish[c.OS]:
		return 0, 0 // WebKitGTK and its like call themselves Safari, with GnuTLS or OpenSSL
	case c.Browser == edge && version < 79:
		if c.OS == windows && version > 0 {
			return engineEdgehtml, version
		}
		return engineChromium, 0
	case c.Browser == opera && c.Version < 15:
		return 0, 0 // Presto, with a library of its own
	}
	return b.engine, version
}
