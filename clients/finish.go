package clients

import "github.com/caddy-evergreen/evergreen/wire"

// fragments are parts of words by which unknown bots give themselves away, with
// the class that they hint at.
var fragments = []struct {
	text  string
	class string
	whole bool // must not be followed by a letter
}{
	{"bot", "", true},
	{"bots", "", true},
	{"crawl", "", false},
	{"spider", "", false},
	{"scrape", "", false},
	{"slurp", "", false},
	{"harvest", "", false},
	{"indexer", "", false},
	{"fetcher", "", true},
	{"monitor", "monitor", false},
	{"checker", "monitor", true},
	{"validator", "monitor", true},
	{"healthcheck", "monitor", false},
	{"scanner", "scanner", true},
	{"archiver", "archive", true},
	{"previewer", "preview", true},
	{"rss", "feed", true},
	{"feed", "feed", true},
	{"feedparser", "feed", true},
}

// look searches a word that no rule knows for fragments.
func (s *scan) look(w string) {
	if s.hint && s.hintClass != 0 {
		return
	}
	for i := range len(w) {
		first := lower(w[i])
		for _, k := range fragmentsBy[first] {
			f := &fragments[k]
			if !hasPrefixFold(w[i:], f.text) {
				continue
			}
			end := i + len(f.text)
			if f.whole && end < len(w) && letter(w[end]) {
				continue
			}
			if f.text == "bot" && i >= 2 && lower(w[i-1]) == 'u' && lower(w[i-2]) == 'c' {
				continue // Cubot makes phones
			}
			s.hint = true
			if s.hintClass == 0 {
				s.hintClass = fragmentClass[k]
			}
		}
	}
}

func hasPrefixFold(s, prefix string) bool {
	if len(s) < len(prefix) {
		return false
	}
	for i := range len(prefix) {
		if lower(s[i]) != prefix[i] {
			return false
		}
	}
	return true
}

// finish decides what the words come to.
func (s *scan) finish() Client {
	c := Client{OS: s.os()}
	switch {
	case s.bot.what != 0:
		c.Kind, c.BotClass, c.Bot = Bot, s.bot.class, s.bot.value
	case s.toolFirst:
		c.Kind, c.Tool = Tool, s.tool.value
	case s.hint || s.plusURL || s.url && (s.compatible || c.OS == 0):
		c.Kind, c.BotClass = Bot, s.hintClass
	case s.tool.what != 0:
		c.Kind, c.Tool = Tool, s.tool.value
	case s.app:
		c.Kind = App
	case s.trident > 0 && (s.browser.rank <= browserRank.firefox || s.browser.value == family.ie):
		// In its compatibility view IE claims to be 7; Trident/4 was IE 8's, and 11 was the last.
		c.Kind, c.Browser, c.Version = Browser, family.ie, major(max(s.own, s.rv, min(s.trident+4, 11)))
		if s.browser.value != family.ie && s.rv > 0 {
			c.Version = major(s.rv)
		}
	case s.browser.what != 0:
		c.Kind = Browser
		c.Browser, c.Version = s.familyOf(c.OS)
	case s.engine && s.mozilla:
		c.Kind = Browser
		if c.OS == system.ios || c.OS == system.macos {
			c.Browser, c.Version = family.safariWebview, major(s.version)
		}
	case c.OS != 0 && !s.mozilla:
		c.Kind = App
	}
	return c
}

// os is the system, with what CFNetwork says of Apple's.
func (s *scan) os() wire.Value {
	if s.system.what == 0 && s.darwin {
		if s.intel {
			return system.macos
		}
		return system.ios
	}
	return s.system.value
}

// familyOf tells apart what shares the words Chrome and Safari.
func (s *scan) familyOf(os wire.Value) (browser, version wire.Value) {
	switch s.browser.value {
	case family.chrome:
		if os == system.android && (s.webview || s.versioned) {
			return family.chromeWebview, major(s.own)
		}
	case family.safari:
		switch {
		case os == system.android:
			return family.androidBrowser, major(s.android)
		case os == system.blackberry:
			return family.blackberry, major(s.version)
		case os == system.symbian:
			return family.nokia, wire.Other
		}
		return family.safari, major(s.version)
	case family.facebook, family.messenger:
		return s.browser.value, major(s.fbav)
	}
	v := s.own
	if s.browser.version == operaVersion && s.versioned {
		v = s.version
	}
	if v < 0 {
		v = s.chrome // Brave says its engine's version and not its own
	}
	return s.browser.value, major(v)
}

// major is the value of wire.BrowserVersion, whose names are 1 to 399 in order.
func major(v int) wire.Value {
	if v < 1 || v > 399 {
		return wire.Other
	}
	return wire.Value(v)
}
