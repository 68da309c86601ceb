package clients

import (
	"fmt"

	"github.com/caddy-evergreen/evergreen/clienthello"
	"github.com/caddy-evergreen/evergreen/wire"
)

// A Judgement is what a ClientHello says about the client that sent it.
type Judgement struct {
	Verdict wire.Value // of wire.InterceptionVerdict
	Library wire.Value // of wire.TLSLibrary
}

var verdicts = struct{ consistent, inconsistent, unknown wire.Value }{
	wire.InterceptionVerdict.Value("consistent"), wire.InterceptionVerdict.Value("inconsistent"), wire.InterceptionVerdict.Value("unknown"),
}

var unknownLibrary = wire.TLSLibrary.Value("unknown")

// Judge tells which library a hello looks like, and whether it fits the client
// that the User-Agent names. It allocates nothing.
//
// A hello is inconsistent with a browser if it is known to be another library's,
// or if it breaks a rule of the browser's engine. It is consistent if it is what
// the engine sends in that version, or, of a version newer than the table, if
// the engine's library wrote it and no invariant is broken. All else is unknown:
// that a browser is new, or a hello is of another version of its engine, speaks
// against nobody. Of tools only what they cannot be built on is inconsistent.
func Judge(h *clienthello.Hello, c Client) Judgement { return judge(h, c, nil) }

// Explain is Judge with its reasons in words.
func Explain(h *clienthello.Hello, c Client) (Judgement, []string) {
	var why reasons
	j := judge(h, c, &why)
	return j, why
}

// reasons collect what led to a judgement; nil collects nothing.
type reasons []string

func (r *reasons) add(format string, args ...any) {
	*r = append(*r, fmt.Sprintf(format, args...))
}

func judge(h *clienthello.Hello, c Client, why *reasons) Judgement {
	f := featuresOf(h)
	j := Judgement{verdicts.unknown, libraryOf(h, &f, why)}
	switch c.Kind {
	case Tool:
		j.Verdict = judgeTool(c, j.Library, why)
	case Browser:
		e, version := c.engine()
		if e == 0 {
			if why != nil {
				why.add("%s is not known to be built on one engine", wire.Browser.ValueName(c.Browser))
			}
			break
		}
		j.Verdict = judgeEngine(h, &f, &engines[e], version, j.Library, why)
	default:
		if why != nil {
			why.add("nothing is known of the hellos of this kind of client (%s)", wire.ClientKind.ValueName(c.Kind))
		}
	}
	return j
}

// libraryOf is the library that the hello looks like.
func libraryOf(h *clienthello.Hello, f *features, why *reasons) wire.Value {
	for i := range librarySignatures {
		s := &librarySignatures[i]
		if s.fits(h, f) {
			if why != nil {
				why.add("looks like %s (signature %s)", wire.TLSLibrary.ValueName(s.library), s.name)
			}
			return s.library
		}
	}
	// Old browsers tell theirs by the whole.
	for i := range engines {
		for k := range engines[i].signatures {
			s := &engines[i].signatures[k]
			if s.library != unknownLibrary && s.carries(h) && s.fits(h, f) {
				if why != nil {
					why.add("looks like %s (signature %s)", wire.TLSLibrary.ValueName(s.library), s.name)
				}
				return s.library
			}
		}
	}
	if why != nil {
		why.add("looks like no library that is known")
	}
	return unknownLibrary
}

func judgeTool(c Client, library wire.Value, why *reasons) wire.Value {
	t := toolLibraries[c.Tool]
	name := wire.Tool.ValueName(c.Tool)
	switch {
	case t == libraries{}:
		if why != nil {
			why.add("nothing is known of the libraries of %s", name)
		}
	case t.never>>library&1 != 0:
		if why != nil {
			why.add("%s cannot be built on %s", name, wire.TLSLibrary.ValueName(library))
		}
		return verdicts.inconsistent
	case t.usual>>library&1 != 0:
		if why != nil {
			why.add("%s is often built on %s", name, wire.TLSLibrary.ValueName(library))
		}
		return verdicts.consistent
	default:
		if why != nil {
			why.add("%s may be built on other libraries", name)
		}
	}
	return verdicts.unknown
}

func judgeEngine(h *clienthello.Hello, f *features, e *engineData, version uint16, library wire.Value, why *reasons) wire.Value {
	overTCP := h.Transport != clienthello.QUIC
	var elsewhere *signature
	for i := range e.signatures {
		s := &e.signatures[i]
		if !s.carries(h) || !s.fits(h, f) {
			continue
		}
		if version == 0 || s.from <= version && version <= s.to {
			if why != nil {
				why.add("fits signature %s: %s %d to %d", s.name, e.name, s.from, s.to)
			}
			return verdicts.consistent
		}
		elsewhere = s
	}
	if library != unknownLibrary && !e.uses(library, version) {
		if why != nil {
			why.add("%s is not built on %s", e.name, wire.TLSLibrary.ValueName(library))
		}
		return verdicts.inconsistent
	}
	if overTCP && version > 0 {
		for i := range e.rules {
			r := &e.rules[i]
			if r.from <= version && version <= r.to && !r.holds(h, f) {
				if why != nil {
					why.add("%s %d %s", e.name, version, r)
				}
				return verdicts.inconsistent
			}
		}
	}
	switch {
	case library == unknownLibrary:
		if why != nil {
			why.add("breaks no rule of %s, but fits none of its signatures", e.name)
		}
		return verdicts.unknown
	case version > e.newest || e.newest == 0:
		if why != nil {
			why.add("%s %d is newer than the table; %s wrote the hello, and it breaks no invariant", e.name, version, wire.TLSLibrary.ValueName(library))
		}
		return verdicts.consistent
	case !overTCP:
		if why != nil {
			why.add("over QUIC, where only the library is looked at: %s has it", e.name)
		}
		return verdicts.consistent
	case elsewhere != nil:
		if why != nil {
			why.add("fits signature %s, of %s %d to %d", elsewhere.name, e.name, elsewhere.from, elsewhere.to)
		}
	case why != nil:
		why.add("has %s's library, but fits no signature of %s", e.name, e.name)
	}
	return verdicts.unknown
}

// carries reports whether the signature is of hellos over the transport that h came by.
func (s *signature) carries(h *clienthello.Hello) bool {
	return s.quic == (h.Transport == clienthello.QUIC)
}

// uses reports whether the engine is built on the library in that version, or in
// any if it is 0.
func (e *engineData) uses(library wire.Value, version uint16) bool {
	for _, l := range e.libraries {
		if l.library == library && (version == 0 || l.from <= version && version <= l.to) {
			return true
		}
	}
	return false
}

// String says what the engine does, as a predicate.
func (r *engineRule) String() string {
	switch r.what {
	case ruleGrease:
		return "sends GREASE in cipher suites, extensions and groups, which is missing"
	case ruleNoGrease:
		return "sends no GREASE in cipher suites, extensions and groups"
	case ruleTLS13:
		return "offers TLS 1.3, which is missing"
	case ruleExtension:
		return fmt.Sprintf("sends extension %d, which is missing", r.code)
	case ruleNoExtension:
		return fmt.Sprintf("does not send extension %d", r.code)
	}
	return fmt.Sprintf("does not offer cipher suite %#04x", r.code)
}
