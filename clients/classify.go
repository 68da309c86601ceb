package clients

import "github.com/caddy-evergreen/evergreen/wire"

const (
	maxLen  = 512 // how much of a User-Agent is looked at
	maxWord = 40  // longer words are looked at only for what makes a bot
)

// Classify tells what a User-Agent claims to be. It looks at the first 512
// bytes, takes time linear in them, and allocates nothing.
func Classify(ua string) Client {
	if ua == "" {
		return Client{Kind: None}
	}
	s := scan{ua: ua[:min(len(ua), maxLen)]}
	for s.next() {
		s.word()
	}
	return s.finish()
}

// A scan walks the words of a User-Agent once and keeps the best of what they say.
type scan struct {
	ua         string
	start, end int // of the present word
	words      int // before the present one

	low  [maxWord]byte // the present word in lower case
	n    int           // its length, or 0 if it is too long
	prev pairBuffer    // the word before it, if it may begin a pair

	browser, system, bot, tool rule // the best so far
	toolFirst                  bool // the tool is what the User-Agent begins with

	own, chrome, version     int // versions beside the browser's word, Chrome, Version
	android, rv, fbav        int // after Android, rv: and FBAV/
	trident                  int // after Trident/, at least 1 if it was there
	versioned                bool
	mozilla, engine, webview bool
	app, darwin, intel       bool
	compatible               bool
	url, plusURL             bool
	hint                     bool // of a bot
	hintClass                wire.Value
}

type pairBuffer struct {
	b [2*maxWord + 1]byte
	n int
}

// delimiter reports whether c ends a word. Some logs and proxies write + for a space.
func delimiter(c byte) bool {
	switch c {
	case ' ', '/', ';', '(', ')', ',', '[', ']', '{', '}', ':', '=', '"', '<', '>', '|', '\t', '+':
		return true
	}
	return false
}

// next moves to the next word.
func (s *scan) next() bool {
	i := s.end
	for i < len(s.ua) && delimiter(s.ua[i]) {
		i++
	}
	s.start = i
	for i < len(s.ua) && !delimiter(s.ua[i]) {
		i++
	}
	s.end = i
	return s.start < i
}

func (s *scan) word() {
	w := s.ua[s.start:s.end]
	s.n = 0
	if len(w) <= maxWord {
		for i := range len(w) {
			s.low[i] = lower(w[i])
		}
		s.n = len(w)
	}
	low := s.low[:s.n]
	if s.isURL(low) {
		s.prev.n = 0
		return
	}
	if numeric(w) {
		// "Windows 10 Phone" is no pair.
		s.prev.n = 0
		s.words++
		return
	}
	r, found := rule{}, false
	if s.prev.n > 0 && s.n > 0 {
		s.prev.b[s.prev.n] = '+'
		n := s.prev.n + 1 + copy(s.prev.b[s.prev.n+1:], low)
		r, found = rules[string(s.prev.b[:n])]
	}
	s.prev.n = 0
	version := -1
	if !found && s.n > 0 {
		r, found = rules[string(low)]
		if !found {
			r, version, found = s.shorter(low)
		}
		if found && r.begins {
			s.prev.n = copy(s.prev.b[:], low)
		}
	}
	if found && r.slash && (s.after() != '/' || s.start > 0 && s.ua[s.start-1] == '/') {
		found = false
	}
	if found {
		s.apply(r, version)
	} else {
		s.look(w)
	}
	s.words++
}

// shorter looks a word up without the version that is stuck to it (UCBrowser8.3,
// iPhone17), and, for bots and tools, without what follows a hyphen
// (Googlebot-Image, aws-sdk-go).
func (s *scan) shorter(low []byte) (r rule, version int, ok bool) {
	n := len(low)
	for n > 0 && (digit(low[n-1]) || separator(low[n-1])) {
		n--
	}
	if n > 0 && n < len(low) {
		if r, ok := rules[string(low[:n])]; ok {
			i := n
			for separator(low[i]) && i < len(low)-1 {
				i++
			}
			v, _ := number(string(low[i:]))
			return r, v, true
		}
	}
	n = len(low)
	for range 3 {
		for n--; n > 0 && !separator(low[n]); n-- {
		}
		if n <= 0 {
			break
		}
		if r, ok := rules[string(low[:n])]; ok && (r.what == isBot || r.what == isTool) {
			return r, -1, true
		}
	}
	return rule{}, -1, false
}

// after is the byte after the present word, or 0.
func (s *scan) after() byte {
	if s.end < len(s.ua) {
		return s.ua[s.end]
	}
	return 0
}

// beside is the number that follows the word after one of the separators, or -1.
func (s *scan) beside(separators string) int {
	c := s.after()
	for i := range len(separators) {
		if c == separators[i] {
			rest := s.ua[s.end+1:]
			if len(rest) > 1 && lower(rest[0]) == 'v' {
				rest = rest[1:]
			}
			if v, ok := number(rest); ok {
				return v
			}
		}
	}
	return -1
}

// behindAt is the number behind an @ in the next word ("Ecosia android@101"), or -1.
func (s *scan) behindAt() int {
	for i := s.end; i < min(s.end+10, len(s.ua)); i++ {
		if s.ua[i] == '@' {
			if v, ok := number(s.ua[i+1:]); ok {
				return v
			}
		}
	}
	return -1
}

// apply notes what a rule says of the present word. stuck is the version that was
// part of the word, or -1.
func (s *scan) apply(r rule, stuck int) {
	switch r.what {
	case isBot:
		if s.bot.what == 0 {
			s.bot = r
		}
	case isTool:
		if first := s.words == 0 || r.anywhere; first || s.beside("/") >= 0 {
			if s.tool.what == 0 || r.rank > s.tool.rank { // Python/3.12 aiohttp/3.9
				s.tool = r
			}
			s.toolFirst = s.toolFirst || first
		}
	case isSystem:
		if s.system.what == 0 || r.rank > s.system.rank {
			s.system = r
		}
		if r.value == system.android && s.android == 0 {
			s.android = max(s.beside(" "), 0)
		}
	case isApp:
		s.app = true
	case isBrowser:
		if r.implies != 0 {
			s.system = rule{what: isSystem, rank: 255, value: r.implies}
		}
		v := stuck
		switch {
		case v > 0:
		case r.version == spacedVersion || r.version == operaVersion:
			v = s.beside("/ :")
		case r.version == atVersion:
			v = s.behindAt()
		default:
			v = s.beside("/")
		}
		if r.value == family.chrome {
			s.chrome = v
		}
		switch {
		case s.browser.what == 0 || r.rank > s.browser.rank:
			s.browser, s.own = r, v
		case r.value == s.browser.value && s.own < 0:
			s.own = v
		}
	case isMarker:
		s.mark(r.value)
	}
}

// mark notes the words that say something only together with others.
func (s *scan) mark(m wire.Value) {
	switch m {
	case markMozilla:
		s.mozilla = true
	case markEngine:
		s.engine = true
	case markTrident:
		s.engine, s.trident = true, max(s.beside("/"), 1)
	case markVersion:
		if v := s.beside("/"); v >= 0 && !s.versioned {
			s.version, s.versioned = v, true
		}
	case markRV:
		s.rv = max(s.beside(":"), 0)
	case markFBAV:
		s.fbav = max(s.beside("/"), 0)
	case markWebview:
		s.webview = true
	case markDarwin:
		s.darwin = true
	case markIntel:
		s.intel = true
	case markCompatible:
		s.compatible = true
	}
}

// isURL skips the rest of a URL or a mail address, which say that somebody wants
// to be reached: as bots do. s.low holds the word.
func (s *scan) isURL(low []byte) bool {
	rest := s.ua[s.end:]
	switch {
	case len(rest) >= 3 && rest[:3] == "://":
		if s.start > 0 && s.ua[s.start-1] == '+' {
			s.plusURL = true
		}
	case len(low) > 4 && string(low[:4]) == "www.":
	case address(low):
		s.url = true
		return true
	default:
		return false
	}
	s.url = true
	for i := s.end; ; i++ {
		if i == len(s.ua) {
			s.end = i
			return true
		}
		switch s.ua[i] {
		case ' ', ')', ';', ',', '>', ']':
			s.end = i
			return true
		}
	}
}

// address reports whether a word is a mail address.
func address(low []byte) bool {
	at := -1
	for i, c := range low {
		if c == '@' {
			at = i
		} else if c == '.' && at > 0 && i > at+1 && i+1 < len(low) && letter(low[i+1]) {
			return true
		}
	}
	return false
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c | 0x20
	}
	return c
}

func digit(c byte) bool     { return '0' <= c && c <= '9' }
func letter(c byte) bool    { c |= 0x20; return 'a' <= c && c <= 'z' }
func separator(c byte) bool { return c == '-' || c == '_' || c == '.' }

// numeric reports whether w is a number or a version.
func numeric(w string) bool {
	for i := range len(w) {
		if !digit(w[i]) && !separator(w[i]) {
			return false
		}
	}
	return true
}

// number reads the decimal at the start of s; what is over 9999 stays 9999.
func number(s string) (v int, ok bool) {
	for i := 0; i < len(s) && digit(s[i]); i++ {
		v = min(v*10+int(s[i]-'0'), 9999)
		ok = true
	}
	return v, ok
}
