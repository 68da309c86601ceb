package bridge

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var compareAddrs = cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })

func TestInheritance(t *testing.T) {
	given := inheritance{
		Protocol: Protocol, Role: roleNext, FD: 7, Helper: 42,
		Groups: []group{{Addr: netip.MustParseAddrPort("[::]:443")}, {UDP: true, Addr: netip.MustParseAddrPort("10.0.0.1:443"), Device: 3}},
		Ports:  []uint16{443}, Settle: time.Second, Patience: time.Minute, Began: 1,
		Back: &way{Path: "/usr/bin/caddy", Args: []string{"caddy", "run"}, Set: []string{"A=b"}, Unset: []string{"C"}},
	}
	kv, err := given.env()
	if err != nil {
		t.Fatal(err)
	}
	v, ok := strings.CutPrefix(kv, Variable+"=")
	if !ok {
		t.Fatalf("not a variable of ours: %s", kv)
	}
	got, err := parseInheritance(v)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(given, got, compareAddrs); d != "" {
		t.Errorf("what is inherited (-given +got):\n%s", d)
	}
}

func TestInheritanceRefused(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{``, "reading"},
		{`{"protocol":2,"role":"helper","fd":3,"new":1}`, "speaks version 2"},
		{`{"protocol":1,"role":"helper","fd":2}`, "can't be one"},
		{`{"protocol":1,"role":"helper","fd":-1}`, "can't be one"},
		{`{"protocol":1,"role":"king","fd":3}`, "no role"},
		{`{"protocol":1,"role":"next","fd":3,"crown":1}`, "unknown field"},
		{`{"protocol":1,"role":"next","fd":3,"grace":-1}`, "negative"},
		{`{"protocol":1,"role":"next","fd":3,"back":{"path":"/x"}}`, "without a command"},
	} {
		_, err := parseInheritance(tt.in)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("parseInheritance(%s) = %v, want an error with %q", tt.in, err, tt.want)
		}
	}
}

func TestWayBackEnvironment(t *testing.T) {
	next := []string{"A=1", "B=2", "PATH=/bin", "C=x=y"}
	back := []string{"A=1", "B=3", "PATH=/bin", "D="}
	w := way{}
	w.Set, w.Unset = difference(next, back)
	if d := cmp.Diff([]string{"A=1", "PATH=/bin", "B=3", "D="}, w.apply(append(next, Variable+"={}"))); d != "" {
		t.Errorf("environment of the way back (-want +got):\n%s", d)
	}
}

func TestMessages(t *testing.T) {
	for _, in := range []string{"hello 1", "up", "ok", "stopped", "ping", "take", "take-quic", "pin", "leave", "yield 0", `failed "a\nb"`, `no "x"`} {
		m, err := parseMessage(in + "\n")
		if err != nil {
			t.Errorf("parseMessage(%q): %v", in, err)
			continue
		}
		if d := cmp.Diff(in, m.String()); d != "" {
			t.Errorf("said again (-in +out):\n%s", d)
		}
	}
	for _, in := range []string{"", "up 1", "hello", "hello -1", "hello 01", "yield x", "no x", "no `x`", "exec /bin/sh"} {
		if m, err := parseMessage(in); err == nil {
			t.Errorf("parseMessage(%q) = %v, want an error", in, m)
		}
	}
}

func FuzzMessage(f *testing.F) {
	f.Add("hello 1\n")
	f.Add(`failed "\x00 \"why\""` + "\n")
	f.Add("yield 1")
	f.Fuzz(func(t *testing.T, line string) {
		m, err := parseMessage(line)
		if err != nil {
			return
		}
		out := m.String()
		if len(out) > maxLine-1 || strings.Contains(out, "\n") {
			t.Fatalf("%q is said as a line of %d bytes: %q", line, len(out), out)
		}
		again, err := parseMessage(out)
		if err != nil {
			t.Fatalf("%q is said as %q, which can't be read: %v", line, out, err)
		}
		if len(m.arg) <= 800 && again != m {
			t.Fatalf("%q becomes %q", m, again)
		}
	})
}

func FuzzInheritance(f *testing.F) {
	f.Add(`{"protocol":1,"role":"next","fd":7,"helper":42,"groups":[{"addr":"[::]:443"}],"settle":1,"grace":0,"patience":1}`)
	f.Add(`{"protocol":2,"fd":3}`)
	f.Fuzz(func(t *testing.T, in string) {
		i, err := parseInheritance(in)
		if err != nil {
			return
		}
		kv, err := i.env()
		if err != nil {
			return
		}
		if _, err := parseInheritance(strings.TrimPrefix(kv, Variable+"=")); err != nil {
			t.Fatalf("%s is handed on as %s, which can't be read: %v", in, kv, err)
		}
	})
}
