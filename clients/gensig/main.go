// Gensig turns the TLS signatures (clients/signatures/*.txt) into Go:
//
//	gensig OUT DIR
//
// The format is described in clients/signatures/README.md. What it cannot read
// it refuses with the file and line, so that a slip never becomes a verdict.
package main

import (
	"bytes"
	"fmt"
	"go/format"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/caddy-evergreen/evergreen/wire"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "gensig:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("usage: gensig OUT DIR")
	}
	files, err := filepath.Glob(filepath.Join(args[1], "*.txt"))
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return fmt.Errorf("no signatures in %s", args[1])
	}
	slices.Sort(files)
	var t table
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if err := t.read(filepath.Base(name), string(text)); err != nil {
			return err
		}
	}
	if err := t.check(); err != nil {
		return err
	}
	src, err := format.Source(t.source())
	if err != nil {
		return fmt.Errorf("formatting what was generated: %w", err)
	}
	return os.WriteFile(args[0], src, 0o644)
}

type (
	table struct {
		engines    []*engine
		signatures []*signature
		tools      []*tool
		extensions []uint64 // over 63, in the order of their bits
	}
	engine struct {
		name      string
		libraries []span
		rules     []rule
	}
	span struct {
		name     string
		from, to int
	}
	rule struct {
		from, to int
		what     string
		code     uint64
	}
	signature struct {
		name, engine, library, source string
		from, to                      int
		transport                     string
		lists                         map[string][][]string
		extensions                    []string
	}
	tool struct {
		name         string
		usual, never []string
	}
)

const forever = 0xffff

// lists are the patterns, with the bits of their code points.
var lists = map[string]int{"ciphers": 16, "groups": 16, "schemes": 16, "points": 8, "certificates": 16}

func (t *table) read(file, text string) error {
	var e *engine
	var s *signature
	var tl *tool
	formatted := false
	n := 0
	for line := range strings.Lines(text) {
		n++
		line, _, _ = strings.Cut(line, "#")
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		err := func() error {
			key, rest := f[0], f[1:]
			if !formatted {
				formatted = true
				if key != "format" || len(rest) != 1 || rest[0] != "1" {
					return fmt.Errorf("the first line is not \"format 1\"")
				}
				return nil
			}
			if len(rest) == 0 {
				return fmt.Errorf("%s has no value", key)
			}
			switch {
			case key == "engine" && (s == nil || s.engine != "" || s.library != ""):
				e, s, tl = &engine{name: rest[0]}, nil, nil
				t.engines = append(t.engines, e)
			case key == "signature":
				e, s, tl = nil, &signature{name: rest[0], to: forever, transport: "tcp", lists: map[string][][]string{}}, nil
				t.signatures = append(t.signatures, s)
			case key == "tool":
				e, s, tl = nil, nil, &tool{name: rest[0]}
				t.tools = append(t.tools, tl)
			case e != nil:
				return e.line(key, rest)
			case s != nil:
				return s.line(key, rest)
			case tl != nil:
				return tl.line(key, rest)
			default:
				return fmt.Errorf("%s is outside a block", key)
			}
			return nil
		}()
		if err != nil {
			return fmt.Errorf("%s:%d: %w", file, n, err)
		}
	}
	return nil
}

func (e *engine) line(key string, rest []string) error {
	switch key {
	case "library":
		s := span{rest[0], 0, forever}
		if len(rest) > 1 {
			var err error
			if s.from, s.to, err = versions(rest[1]); err != nil {
				return err
			}
		}
		e.libraries = append(e.libraries, s)
	case "rule":
		if len(rest) < 2 {
			return fmt.Errorf("a rule is VERSIONS WHAT")
		}
		r := rule{what: rest[1]}
		var err error
		if r.from, r.to, err = versions(rest[0]); err != nil {
			return err
		}
		switch r.what {
		case "grease", "no-grease", "tls1.3":
		case "extension", "no-extension", "no-cipher":
			if len(rest) != 3 {
				return fmt.Errorf("%s needs one code point", r.what)
			}
			if r.code, err = strconv.ParseUint(rest[2], 16, 16); err != nil {
				return err
			}
		default:
			return fmt.Errorf("unknown rule %q", r.what)
		}
		e.rules = append(e.rules, r)
	default:
		return fmt.Errorf("unknown word %q in an engine", key)
	}
	return nil
}

func (s *signature) line(key string, rest []string) error {
	var err error
	switch key {
	case "engine":
		s.engine = rest[0]
	case "library":
		s.library = rest[0]
	case "versions":
		s.from, s.to, err = versions(rest[0])
	case "transport":
		s.transport = rest[0]
		if s.transport != "tcp" && s.transport != "quic" {
			return fmt.Errorf("transport is tcp or quic")
		}
	case "source":
		s.source = strings.Join(rest, " ")
	case "extensions":
		s.extensions = rest
	default:
		bits, ok := lists[key]
		if !ok {
			return fmt.Errorf("unknown word %q in a signature", key)
		}
		for i, w := range rest {
			if w == "*" && i == len(rest)-1 {
				continue
			}
			if w = strings.TrimSuffix(w, "?"); w == "G" {
				continue
			}
			if _, err := strconv.ParseUint(w, 16, bits); err != nil {
				return fmt.Errorf("%s: %w", key, err)
			}
		}
		s.lists[key] = append(s.lists[key], rest)
	}
	return err
}

func (tl *tool) line(key string, rest []string) error {
	switch key {
	case "usual":
		tl.usual = append(tl.usual, rest...)
	case "never":
		tl.never = append(tl.never, rest...)
	default:
		return fmt.Errorf("unknown word %q in a tool", key)
	}
	return nil
}

func versions(s string) (from, to int, err error) {
	a, b, ok := strings.Cut(s, "-")
	if from, err = strconv.Atoi(a); err != nil {
		return 0, 0, fmt.Errorf("versions are FROM-TO or FROM-: %w", err)
	}
	switch {
	case !ok:
		to = from
	case b == "":
		to = forever
	default:
		if to, err = strconv.Atoi(b); err != nil {
			return 0, 0, fmt.Errorf("versions are FROM-TO or FROM-: %w", err)
		}
	}
	if to < from {
		return 0, 0, fmt.Errorf("versions %s end before they begin", s)
	}
	return from, to, nil
}

// check holds the names against the dictionary and each other, and collects the
// extensions that need a bit of their own.
func (t *table) check() error {
	library := func(where, name string) error {
		if wire.TLSLibrary.Value(name) == wire.Other {
			return fmt.Errorf("%s: the dictionary has no TLS library %q", where, name)
		}
		return nil
	}
	names := map[string]bool{}
	once := func(kind, name string) error {
		if names[kind+name] {
			return fmt.Errorf("%s%s is there twice", kind, name)
		}
		names[kind+name] = true
		return nil
	}
	add := func(code uint64) {
		if code > 63 && !slices.Contains(t.extensions, code) {
			t.extensions = append(t.extensions, code)
		}
	}
	for _, e := range t.engines {
		if err := once("engine ", e.name); err != nil {
			return err
		}
		for _, l := range e.libraries {
			if err := library("engine "+e.name, l.name); err != nil {
				return err
			}
		}
		for _, r := range e.rules {
			if r.what == "extension" || r.what == "no-extension" {
				add(r.code)
			}
		}
	}
	for _, s := range t.signatures {
		if err := once("signature ", s.name); err != nil {
			return err
		}
		if err := library("signature "+s.name, s.library); err != nil {
			return err
		}
		if s.engine != "" && !names["engine "+s.engine] {
			return fmt.Errorf("signature %s: there is no engine %q", s.name, s.engine)
		}
		if s.source == "" || s.extensions == nil || s.engine != "" && s.to == forever {
			return fmt.Errorf("signature %s: it needs a source, extensions, and versions with an end if it has an engine", s.name)
		}
		for _, x := range s.extensions {
			x = strings.TrimSuffix(x, "?")
			if x == "G" || x == "*" {
				continue
			}
			code, err := strconv.ParseUint(x, 16, 16)
			if err != nil {
				return fmt.Errorf("signature %s: %w", s.name, err)
			}
			add(code)
		}
	}
	for _, tl := range t.tools {
		if err := once("tool ", tl.name); err != nil {
			return err
		}
		if wire.Tool.Value(tl.name) == wire.Other {
			return fmt.Errorf("the dictionary has no tool %q", tl.name)
		}
		for _, l := range append(slices.Clone(tl.usual), tl.never...) {
			if err := library("tool "+tl.name, l); err != nil {
				return err
			}
			if slices.Contains(tl.usual, l) && slices.Contains(tl.never, l) {
				return fmt.Errorf("tool %s: %s is both usual and never", tl.name, l)
			}
		}
	}
	slices.Sort(t.extensions)
	if len(t.extensions) > 64 {
		return fmt.Errorf("more than 64 extensions over 63: widen extensionSet in clients/signature.go")
	}
	return nil
}

func (t *table) source() []byte {
	var b bytes.Buffer
	p := func(f string, a ...any) { fmt.Fprintf(&b, f, a...) }
	p("// Code generated by clients/gensig from clients/signatures. DO NOT EDIT.\n\npackage clients\n\n")
	p("const (\n_ engine = iota\n")
	for _, e := range t.engines {
		p("%s\n", engineName(e.name))
	}
	p(")\n\n")
	p("// extensionBit is an extension's place in an extensionSet.\nfunc extensionBit(id uint16) (bit uint8, ok bool) {\nif id < 64 {\nreturn uint8(id), true\n}\nswitch id {\n")
	for i, x := range t.extensions {
		p("case %#x:\nreturn %d, true\n", x, 64+i)
	}
	p("}\nreturn 0, false\n}\n\n")

	p("var engines = [...]engineData{\n{},\n")
	for _, e := range t.engines {
		newest := 0
		for _, s := range t.signatures {
			if s.engine == e.name {
				newest = max(newest, s.to)
			}
		}
		p("{name: %q, newest: %d, libraries: []libraryRange{", e.name, newest)
		for _, l := range e.libraries {
			p("{%d, %d, %d},", wire.TLSLibrary.Value(l.name), l.from, l.to)
		}
		p("}, rules: []engineRule{\n")
		for _, r := range e.rules {
			p("{%d, %d, %s, %#x},\n", r.from, r.to, ruleName(r.what), r.code)
		}
		p("}, signatures: []signature{\n")
		for _, s := range t.signatures {
			if s.engine == e.name {
				t.signature(p, s)
			}
		}
		p("}},\n")
	}
	p("}\n\nvar librarySignatures = [...]signature{\n")
	for _, s := range t.signatures {
		if s.engine == "" {
			t.signature(p, s)
		}
	}
	p("}\n\n// toolLibraries are by the tool's value in the dictionary.\nvar toolLibraries = [%d]libraries{\n", len(wire.Tool.Values))
	for _, tl := range t.tools {
		p("%d: {usual: %#x, never: %#x}, // %s\n", wire.Tool.Value(tl.name), mask(tl.usual), mask(tl.never), tl.name)
	}
	p("}\n")
	return b.Bytes()
}

func mask(names []string) (m uint32) {
	for _, n := range names {
		m |= 1 << wire.TLSLibrary.Value(n)
	}
	return m
}

func (t *table) signature(p func(string, ...any), s *signature) {
	p("// %s\n{name: %q, library: %d, from: %d, to: %d, quic: %v,\n", s.source, s.name, wire.TLSLibrary.Value(s.library), s.from, s.to, s.transport == "quic")
	for _, key := range []string{"ciphers", "groups", "schemes", "points", "certificates"} {
		if len(s.lists[key]) == 0 {
			continue
		}
		p("%s: []pattern{\n", key)
		for _, list := range s.lists[key] {
			p("{")
			for _, w := range list {
				name, optional := strings.CutSuffix(w, "?")
				switch name {
				case "*":
					p("anything,")
					continue
				case "G":
					p("grease")
				default:
					p("0x%s", name)
				}
				if optional {
					p("|optional")
				}
				p(",")
			}
			p("},\n")
		}
		p("},\n")
	}
	// Padding, early data, cookie and pre_shared_key depend on the connection.
	may := [2]uint64{1<<0x15 | 1<<0x29 | 1<<0x2a | 1<<0x2c, 0}
	var must [2]uint64
	for _, w := range s.extensions {
		name, optional := strings.CutSuffix(w, "?")
		switch {
		case name == "*":
			p("openExtensions: true,\n")
			p("greaseExtensions: greaseMay,\n")
		case name == "G" && optional:
			p("greaseExtensions: greaseMay,\n")
		case name == "G":
			p("greaseExtensions: greaseMust,\n")
		default:
			code, _ := strconv.ParseUint(name, 16, 16) // check has read it
			bit := int(code)
			if code > 63 {
				bit = 64 + slices.Index(t.extensions, code)
			}
			set := &must
			if optional {
				set = &may
			}
			set[bit/64] |= 1 << (bit % 64)
		}
	}
	p("must: extensionSet{%#x, %#x}, may: extensionSet{%#x, %#x}},\n", must[0], must[1], must[0]|may[0], must[1]|may[1])
}

func engineName(name string) string { return "engine" + strings.ToUpper(name[:1]) + name[1:] }

func ruleName(what string) string {
	switch what {
	case "grease":
		return "ruleGrease"
	case "no-grease":
		return "ruleNoGrease"
	case "tls1.3":
		return "ruleTLS13"
	case "extension":
		return "ruleExtension"
	case "no-extension":
		return "ruleNoExtension"
	}
	return "ruleNoCipher"
}
